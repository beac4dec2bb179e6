"""What the options before the command say, looked up when a command needs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from batzen.cli.connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What the options before the command say."""

    connect: Callable[[], Connection]
