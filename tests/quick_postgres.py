"""A database server whose data nobody needs after the tests: it writes everything and waits for no disk."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from local.postgres import EmbeddedPostgres

SETTINGS: Final = {"fsync": "off", "full_page_writes": "off", "max_connections": "500"}
"""What the first two guard is lost with the machine, not with a process: a killed server recovers as ever."""


def quick_postgres(directory: Path) -> EmbeddedPostgres:
    return EmbeddedPostgres(directory, settings=SETTINGS)
