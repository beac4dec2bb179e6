"""Who takes facts or moves, and writes down what follows from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import asyncpg

from services.orchestrator.facts.domain import Fact
from services.orchestrator.facts.rules import Move

AfterCommit = Callable[[], object]


class FactSink(Protocol):
    """Takes what is new."""

    async def take(self, connection: asyncpg.Connection, facts: Sequence[Fact]) -> AfterCommit | None:
        """Write down what follows, in the transaction that keeps the facts; each is new. In their order.

        What is returned is called once that has committed. It may be lost with the process, so nothing depends on it.
        """
        ...


class MoveSink(Protocol):
    """Takes each move of a payment, whether anything is told of it or not."""

    async def take(self, connection: asyncpg.Connection, tenant_id: str, moves: Sequence[Move]) -> None:
        """Write down what follows, in the transaction that hears them; each is heard once. In their order."""
        ...
