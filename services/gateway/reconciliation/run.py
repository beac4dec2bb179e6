"""One run: what it is to compare, how far it has come, and what it has counted. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from services.gateway.reconciliation.domain import Sums
from services.gateway.reconciliation.position import Position, Span

Counted = Mapping[str, Mapping[str, tuple[int, int, int, int]]]
"""By stage and currency: how many match and what they come to, how many are in transit and what they come to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A reconciliation."""

    tenant_id: str
    reconciliation_id: str
    request_hash: bytes
    actor_id: str
    span: Span
    repairs: bool
    steps: int
    position: Position | None
    """Where the next step begins; None once it has come to its end."""
    counted: Counted
    cut_short: str
    problem: str
    create_time: datetime
    finish_time: datetime | None

    def with_sums(self, stage: str, sums: Sums) -> Counted:
        """Return what is counted after a step."""
        before = dict(self.counted.get(stage, {}))
        for currency_code in dict.fromkeys((*sums.matched, *sums.in_transit)):
            added = (*sums.matched.get(currency_code, (0, 0)), *sums.in_transit.get(currency_code, (0, 0)))
            known = before.get(currency_code, (0, 0, 0, 0))
            before[currency_code] = _added(known, added)
        return {**self.counted, stage: before} if before else self.counted

    @property
    def currencies(self) -> list[str]:
        """The currencies that were seen on both sides."""
        return sorted({currency_code for by_currency in self.counted.values() for currency_code in by_currency})


def _added(one: Iterable[int], other: Iterable[int]) -> tuple[int, int, int, int]:
    matched, matched_minor, transit, transit_minor = (a + b for a, b in zip(one, other, strict=True))
    return matched, matched_minor, transit, transit_minor
