"""What an account has: the sum of its balance transactions, what is available apart from what is pending."""

import heapq
from collections.abc import Iterable
from typing import Any

_SOURCE = "card"  # Stripe keeps balances by the kind of payment they came from; the stand-in puts all in one


class Balance:
    """One account's balance in each currency, in minor units; below zero it owes."""

    def __init__(self) -> None:
        self.available: dict[str, int] = {}
        self.pending: dict[str, int] = {}
        self._maturing: list[tuple[int, int, dict[str, Any]]] = []
        self._number = 0

    def count(self, row: dict[str, Any]) -> None:
        """Count one balance transaction."""
        if row["status"] == "available":
            _add(self.available, row, row["net"])
            return
        _add(self.pending, row, row["net"])
        self._number += 1
        heapq.heappush(self._maturing, (row["available_on"], self._number, row))

    def mature(self, now: float) -> None:
        """Make available what is due by now."""
        while self._maturing and self._maturing[0][0] <= now:
            row = heapq.heappop(self._maturing)[2]
            row["status"] = "available"
            _add(self.pending, row, -row["net"])
            _add(self.available, row, row["net"])

    def recount(self, rows: Iterable[dict[str, Any]]) -> None:
        """Start anew from these balance transactions."""
        self.available.clear()
        self.pending.clear()
        self._maturing.clear()
        for row in rows:
            self.count(row)

    def total(self, currency: str) -> int:
        """Return what there is in a currency, available or not."""
        return self.available.get(currency, 0) + self.pending.get(currency, 0)

    def shown(self) -> dict[str, Any]:
        """Return the balance as Stripe answers it."""
        currencies = sorted({*self.available, *self.pending}) or ["usd"]
        return {
            "object": "balance",
            "available": [_part(currency, self.available.get(currency, 0)) for currency in currencies],
            "connect_reserved": [],
            "livemode": False,
            "pending": [_part(currency, self.pending.get(currency, 0)) for currency in currencies],
        }


def _part(currency: str, amount: int) -> dict[str, Any]:
    return {"amount": amount, "currency": currency, "source_types": {_SOURCE: amount}}


def _add(amounts: dict[str, int], row: dict[str, Any], amount: int) -> None:
    amounts[row["currency"]] = amounts.get(row["currency"], 0) + amount
