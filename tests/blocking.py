"""Waiting until somebody waits: for what one connection to the database holds, whatever else goes on at the server."""

from __future__ import annotations

from typing import Final

import asyncpg

from tests.eventually import eventually

_WAITERS: Final = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))"


async def until_waited_for(holder: asyncpg.Connection) -> None:
    """Wait until another connection waits for a lock of this one, which is in a transaction."""
    await eventually(lambda: holder.fetchval(_WAITERS), what="somebody waits for the holder")
