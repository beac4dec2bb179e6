"""Who takes facts, and writes down what follows from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import asyncpg

from services.orchestrator.facts.domain import Fact

AfterCommit = Callable[[], object]


class FactSink(Protocol):
    """Takes what is new."""

    async def take(self, connection: asyncpg.Connection, facts: Sequence[Fact]) -> AfterCommit | None:
        """Write down what follows, in the transaction that keeps the facts; each is new. In their order.

        What is returned is called once that has committed. It may be lost with the process, so nothing depends on it.
        """
        ...
