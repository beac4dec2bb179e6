"""Receivables as they are listed. The mirror writes their rows, with the payment that they are of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from services.gateway.errors import PageTokenInvalid
from services.gateway.receivables.domain import Receivable
from services.runtime.database.connections import DirectConnections
from services.shared.paging import position_in, token_for

PAGE_SIZE_DEFAULT: Final = 50
PAGE_SIZE_MAX: Final = 200

PAGE: Final = """
SELECT payment_id, attempt, seller_id, currency_code, amount_minor, since FROM receivables
WHERE tenant_id = $1 AND ($2::text IS NULL OR seller_id = $2)
    AND ($3::timestamptz IS NULL OR (since, payment_id, attempt, seller_id) > ($3, $4::text, $5::integer, $6::text))
ORDER BY since, payment_id, attempt, seller_id LIMIT $7"""

COUNT: Final = "SELECT count(*) FROM receivables WHERE tenant_id = $1"

Place = tuple[datetime, str, int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A receivable with the payment that it is of."""

    payment_id: str
    currency_code: str
    owed: Receivable


class ReceivableStore:
    """Reads the table of receivables. Raises `DependencyUnavailable` when the database is away."""

    def __init__(self, connections: DirectConnections) -> None:
        self._connections = connections

    async def page(self, tenant_id: str, *, seller_id: str, size: int, page_token: str) -> tuple[Sequence[Listed], str]:
        """Return what sellers, or one of them, owe, for the longest first, and the token of the next page."""
        walk = f"receivables {tenant_id} {seller_id}"
        after: Place | None = None
        if page_token:
            after = position_in(page_token, walk=walk, parse=_parsed, invalid=PageTokenInvalid)
        async with self._connections.statement(None) as connection:
            rows = await connection.fetch(PAGE, tenant_id, seller_id or None, *(after or (None,) * 4), size + 1)
        found = [
            Listed(
                payment_id=row["payment_id"],
                currency_code=row["currency_code"],
                owed=Receivable(
                    attempt=row["attempt"],
                    seller_id=row["seller_id"],
                    amount_minor=row["amount_minor"],
                    since=row["since"],
                ),
            )
            for row in rows[:size]
        ]
        return found, token_for(_position(found[-1]), walk=walk) if len(rows) > size else ""

    async def count(self, tenant_id: str) -> int:
        """Return how many receivables are open."""
        async with self._connections.statement(None) as connection:
            found: int = await connection.fetchval(COUNT, tenant_id)
        return found


def _position(last: Listed) -> str:
    return json.dumps([last.owed.since.isoformat(), last.payment_id, last.owed.attempt, last.owed.seller_id])


def _parsed(position: str) -> Place:
    """Read a place in the list; raises ValueError for what is none."""
    match json.loads(position):
        case [str() as time, str() as payment_id, int() as attempt, str() as seller_id] if (
            payment_id.isprintable() and seller_id.isprintable() and datetime.fromisoformat(time).tzinfo is not None
        ):
            return datetime.fromisoformat(time), payment_id, attempt, seller_id
    raise ValueError("not a place")
