"""What things took, for whoever reads the end of a run; no test asserts it."""

from __future__ import annotations

import time
from typing import Final

TOOK: Final[list[str]] = []


def took(begun: float, what: str) -> None:
    """Note how long `what` took since `begun`, by the monotonic clock."""
    TOOK.append(f"{time.monotonic() - begun:7.1f} s  {what}")
