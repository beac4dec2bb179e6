"""Disputes as they are listed. The mirror writes their rows, with the payment that they are of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from services.gateway.disputes import statements
from services.gateway.disputes.domain import Dispute, DisputeState
from services.gateway.errors import DisputeNotFound, PageTokenInvalid
from services.runtime.database.connections import DirectConnections
from services.shared import codec
from services.shared.paging import position_in, token_for

PAGE_SIZE_DEFAULT: Final = 50
PAGE_SIZE_MAX: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeFilter:
    """Which disputes are listed."""

    payment_id: str = ""
    open_only: bool = False
    states: tuple[DisputeState, ...] = ()
    due_before_time: datetime | None = None

    @property
    def walk(self) -> str:
        """Names the list that a page token is of."""
        states = ",".join(sorted(self.states))
        return f"{self.payment_id} {self.open_only} {states} {self.due_before_time}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A dispute with the payment and the attempt that it is of."""

    payment_id: str
    attempt: int
    dispute: Dispute


class DisputeStore:
    """Reads the table of disputes. Raises `DependencyUnavailable` when the database is away."""

    def __init__(self, connections: DirectConnections) -> None:
        self._connections = connections

    async def payment_of(self, tenant_id: str, dispute_id: str) -> str:
        """Return the payment that a dispute is of. Raises DisputeNotFound."""
        async with self._connections.statement("dispute.find") as connection:
            found: str | None = await connection.fetchval(statements.PAYMENT, tenant_id, dispute_id)
        if found is None:
            raise DisputeNotFound
        return found

    async def page(
        self, tenant_id: str, wanted: DisputeFilter, *, size: int, page_token: str
    ) -> tuple[Sequence[Listed], str]:
        """Return disputes, the newest first, and the token of the next page."""
        walk = f"disputes {tenant_id} {wanted.walk}"
        before = position_in(page_token, walk=walk, parse=_parsed, invalid=PageTokenInvalid) if page_token else None
        statement = statements.PAGE_OF_PAYMENT if wanted.payment_id else statements.PAGE
        async with self._connections.statement(None) as connection:
            rows = await connection.fetch(
                statement, tenant_id, wanted.payment_id or None, wanted.open_only, list(wanted.states) or None,
                wanted.due_before_time, *(before or (None, None)), size + 1,
            )  # fmt: skip
        found = [
            Listed(
                payment_id=row["payment_id"],
                attempt=row["attempt"],
                dispute=codec.from_json(Dispute, json.loads(row["mirrored"])),
            )
            for row in rows[:size]
        ]
        return found, token_for(_position(found[-1].dispute), walk=walk) if len(rows) > size else ""

    async def figures(self, tenant_id: str) -> tuple[int, datetime | None]:
        """Return how many disputes are open, and when the first answer is due."""
        async with self._connections.statement(None) as connection:
            row = await connection.fetchrow(statements.FIGURES, tenant_id)
        return row["open"], row["due_time"]


def _position(last: Dispute) -> str:
    return json.dumps([last.create_time.isoformat(), last.dispute_id])


def _parsed(position: str) -> tuple[datetime, str]:
    """Read a place in the list; raises ValueError for what is none."""
    match json.loads(position):
        case [str() as time, str() as name] if name.isprintable() and datetime.fromisoformat(time).tzinfo is not None:
            return datetime.fromisoformat(time), name
    raise ValueError("not a place")
