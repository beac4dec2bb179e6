"""The platform's balance transactions are read in their order, and each is kept and booked once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import asyncpg
import pytest

from services.gateway.balance import importer as importing
from services.gateway.balance.importer import BalanceImport
from services.gateway.balance.store import BalanceStore
from services.runtime import crash_points
from tests.gateway.conftest import Gateway
from tests.gateway.samples import Payments


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What is kept of the balance."""

    connection: asyncpg.Connection
    imports: BalanceImport

    async def kept(self) -> Counter[str]:
        """Return how many balance transactions of each type are kept."""
        return Counter(row["type"] for row in await self.connection.fetch("SELECT type FROM balance_transactions"))

    async def balance_minor(self) -> int:
        """Return what the books say that the platform has at Stripe."""
        query = "SELECT coalesce(sum(amount_minor), 0) FROM ledger_entries WHERE account = 'stripe_balance'"
        return int(await self.connection.fetchval(query))
