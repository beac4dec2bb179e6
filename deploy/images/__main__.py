"""`make image`: builds the images of the last commit, lists their parts, and says what it made."""

from __future__ import annotations

import os
import sys
import time
from argparse import ArgumentParser

from deploy.images.build import Built, TooLarge, build
from deploy.images.parts import write_list
from deploy.images.settings import ImageSettingRefused, Settings
from deploy.images.tools import Store, ToolFailed, ToolMissing
from local.command_lines import short


def main() -> int:
    """Build, and say so; 1 with the reason if that cannot be."""
    parser = ArgumentParser(prog="python -m deploy.images", description=__doc__)
    parser.parse_args()
    begun = time.monotonic()

    def report(step: str) -> None:
        print(f"{time.monotonic() - begun:7.1f} s  {step}", flush=True)

    store = Store()
    try:
        built = build(store, Settings.from_environ(os.environ), report=report)
        report(f"parts of the services' image, {short(write_list(store, built, built.images[0]))}")
    except (ToolMissing, ToolFailed, TooLarge, ImageSettingRefused) as error:
        print(error, file=sys.stderr)
        return 1
    _tell(built)
    return 0


def _tell(built: Built) -> None:
    if not built.commit.is_whole:
        print("What is not committed is not in the images.")
    for image in built.images:
        print(f"localhost/{image.name}:{built.commit.version}  sha256:{image.id}")


if __name__ == "__main__":
    sys.exit(main())
