"""The policies of notifications, every one that was ever put; the newest of a tenant holds."""

from __future__ import annotations

import json
from typing import Final

import asyncpg

from services.orchestrator.notifications.domain import NotificationPolicy
from services.runtime.database.connections import DirectConnections
from services.shared import codec

WITHOUT: Final = NotificationPolicy()
"""What holds where none was put."""


class NotificationPolicyStore:
    """Reads and writes them, one statement a method. Raises `DependencyUnavailable` when the database is away."""

    def __init__(self, held: DirectConnections) -> None:
        self._held = held

    async def current(self, tenant_id: str) -> NotificationPolicy:
        """Return what holds now."""
        async with self._held.statement(None) as connection:
            return await current_policy(connection, tenant_id)


async def current_policy(connection: asyncpg.Connection, tenant_id: str) -> NotificationPolicy:
    """Return what holds now, on a connection that somebody has."""
    stored = await connection.fetchval(CURRENT, tenant_id)
    return WITHOUT if stored is None else codec.from_json(NotificationPolicy, json.loads(stored))


CURRENT: Final = """
SELECT policy FROM notification_policies WHERE tenant_id = $1 ORDER BY revision DESC LIMIT 1"""
