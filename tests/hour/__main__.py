"""`make hour`: the first hour of somebody new, in a clone of the last commit; ends non-zero if a sentence fails.

Nothing of it stays but its transcript. On a machine where it runs as root, the stranger is `nobody`.
"""

from __future__ import annotations

import sys
from typing import Final

from tests.hour import chapters
from tests.hour.chapters import Hour
from tests.hour.stranger import ROOT, new_stranger

TRANSCRIPT: Final = ROOT / ".batzen" / "hour.txt"


def main() -> int:
    """Play it, and return 0 if every sentence holds."""
    with new_stranger(TRANSCRIPT) as stranger:
        hour = Hour(stranger)
        chapters.first_minute(hour)
        chapters.coming_up(hour, lambda: chapters.beside_the_suite(hour))
        chapters.real_stripe(hour)
        chapters.offline(hour)
        chapters.other_languages(hour)
        chapters.coming_back(hour)
        chapters.leaving(hour)
        chapters.everything_said(hour)
        stranger.note("")
        for sentence in hour.failed:
            stranger.note(f"✗ {sentence}")
        stranger.note(f"{len(hour.failed)} sentences do not hold. All that was typed and seen: {TRANSCRIPT}")
    return 1 if hour.failed else 0


if __name__ == "__main__":
    sys.exit(main())
