"""Who takes facts, and writes down what follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import asyncpg

from services.orchestrator.facts.domain import Fact


class FactSink(Protocol):
    """Takes what is new."""

    async def take(self, connection: asyncpg.Connection, facts: Sequence[Fact]) -> None:
        """Write down what follows, in the transaction that keeps the facts; each is new. In their order."""
        ...
