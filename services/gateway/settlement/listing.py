"""Transfers as they are listed. The mirror writes their rows, with the payment that they are of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from services.gateway.errors import PageTokenInvalid, TransferNotFound
from services.gateway.settlement.domain import Movement
from services.runtime.database.connections import DirectConnections
from services.shared import codec
from services.shared.paging import position_in, token_for

PAGE_SIZE_DEFAULT: Final = 50
PAGE_SIZE_MAX: Final = 200

_LISTED: Final = """
SELECT m.payment_id, p.currency_code, m.mirrored, m.create_time, m.movement_id, (
    SELECT coalesce(sum((r.mirrored ->> 'charge_minor')::bigint), 0) FROM movements r
    WHERE r.tenant_id = m.tenant_id AND r.payment_id = m.payment_id AND r.kind = 'REVERSAL'
        AND r.mirrored ->> 'of_movement_id' = m.movement_id
        AND r.mirrored ->> 'state' <> 'REFUSED') AS reversed_minor
FROM movements m JOIN payments p ON p.tenant_id = m.tenant_id AND p.payment_id = m.payment_id
WHERE m.tenant_id = $1 AND m.kind = 'TRANSFER'"""

_PAGE: Final = """
    AND ($3::timestamptz IS NULL OR (m.create_time, m.movement_id) < ($3, $4::text))
ORDER BY m.create_time DESC, m.movement_id DESC LIMIT $5"""

OF_PAYMENT: Final = f"{_LISTED} AND m.payment_id = $2 AND ($6::text IS NULL OR m.seller_id = $6) {_PAGE}"

OF_SELLER: Final = f"{_LISTED} AND m.seller_id = $2 AND $6::text IS NULL {_PAGE}"

TRANSFER: Final = f"{_LISTED} AND m.movement_id = $2"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedTransfer:
    """A transfer with what of it was taken back, in minor units of the payment's currency."""

    payment_id: str
    currency_code: str
    transfer: Movement
    reversed_minor: int


class TransferList:
    """Reads the table of movements. Raises `DependencyUnavailable` when the database is away."""

    def __init__(self, connections: DirectConnections) -> None:
        self._connections = connections

    async def find(self, tenant_id: str, transfer_id: str) -> ListedTransfer:
        """Return one transfer. Raises TransferNotFound."""
        async with self._connections.statement("transfer.find") as connection:
            row = await connection.fetchrow(TRANSFER, tenant_id, transfer_id)
        if row is None:
            raise TransferNotFound(field="transfer_id")
        return _listed(row)

    async def page(
        self, tenant_id: str, *, payment_id: str, seller_id: str, size: int, page_token: str
    ) -> tuple[Sequence[ListedTransfer], str]:
        """Return the transfers of a payment, or else of a seller, the newest first, and the token of the next page."""
        walk = f"transfers {tenant_id} {payment_id} {seller_id}"
        before = position_in(page_token, walk=walk, parse=_parsed, invalid=PageTokenInvalid) if page_token else None
        statement, of = (OF_PAYMENT, payment_id) if payment_id else (OF_SELLER, seller_id)
        within = seller_id or None if payment_id else None
        async with self._connections.statement(None) as connection:
            rows = await connection.fetch(statement, tenant_id, of, *(before or (None, None)), size + 1, within)
        found = [_listed(row) for row in rows[:size]]
        if len(rows) <= size:
            return found, ""
        last = rows[size - 1]
        return found, token_for(json.dumps([last["create_time"].isoformat(), last["movement_id"]]), walk=walk)


def _parsed(position: str) -> tuple[datetime, str]:
    time, movement_id = json.loads(position)
    return datetime.fromisoformat(time), str(movement_id)


def _listed(row: dict[str, object]) -> ListedTransfer:
    return ListedTransfer(
        payment_id=str(row["payment_id"]),
        currency_code=str(row["currency_code"]),
        transfer=codec.from_json(Movement, json.loads(str(row["mirrored"]))),
        reversed_minor=int(str(row["reversed_minor"])),
    )
