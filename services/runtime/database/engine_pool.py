"""How the connections of an engine are used, for the figures of the process."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from services.runtime.observability.process_metrics import Occupancy


class EnginePool:
    """The connections of an engine, as a `Pool` of which can be shown how it is used."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._pool = engine.pool

    def occupancy(self) -> Occupancy:
        """Say how the connections are used; who waits is not known."""
        pool = self._pool
        if not isinstance(pool, sa.pool.QueuePool):
            return Occupancy(busy=0, idle=0, waiting=0, size=0)
        return Occupancy(busy=pool.checkedout(), idle=pool.checkedin(), waiting=0, size=pool.size())
