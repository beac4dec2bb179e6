"""Paths and commands as they are typed at the terminal."""

from __future__ import annotations

from pathlib import Path

from batzen.cli.program import program as command_line
from batzen.cli.program import short

__all__ = ["command_line", "logs_command", "short"]


def logs_command(folder: Path) -> str:
    """Return the command that shows the logs of the processes."""
    return f"{command_line()} logs --folder {short(folder)}"
