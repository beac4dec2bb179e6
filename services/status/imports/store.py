"""Keeps payments with their whole history: one statement for many, each payment wholly or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from services.runtime.database.connections import DirectConnections
from services.status.domain.records import open_month
from services.status.domain.snapshot import is_settled, state_of
from services.status.imports.domain import History
from services.status.storage.rows import snapshot_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A payment that is here already."""

    open_digest: bytes
    revision: int

    def is_same(self, history: History) -> bool:
        """Whether it was opened with the same content, and came as far at least."""
        return self.open_digest == history.opening.digest() and self.revision >= history.revision


class ImportStore:
    """Reads and writes the tables. Raises `DependencyUnavailable` when the database is away."""

    def __init__(self, held: DirectConnections) -> None:
        self._held = held

    async def keep(self, tenant_id: str, histories: Sequence[History]) -> set[str]:
        """Keep those that are not here yet, and return their ids."""
        given = json.dumps([_row(one) for one in histories])
        async with self._held.statement("status.import") as connection:
            rows = await connection.fetch(_KEEP, tenant_id, given)
        return {row["payment_id"] for row in rows}

    async def known(self, tenant_id: str, payment_ids: Sequence[str]) -> Mapping[str, Known]:
        """Return those that are here, by their ids."""
        async with self._held.statement(None) as connection:
            rows = await connection.fetch(_KNOWN, tenant_id, list(payment_ids))
        return {row["payment_id"]: Known(open_digest=row["open_digest"], revision=row["revision"]) for row in rows}


def _row(history: History) -> dict[str, object]:
    opening, latest = history.opening, history.latest
    return {
        "payment_id": opening.payment_id,
        "open_month": open_month(history.open_time).isoformat(),
        "revision": history.revision,
        "collection": str(latest.snapshot.collection),
        "state": str(state_of(latest.snapshot)),
        "settled": is_settled(latest.snapshot),
        "snapshot": snapshot_json(latest.snapshot),
        "payer_id": opening.payer_id,
        "seller_ids": list(opening.seller_ids),
        "booking_ids": list(opening.booking_ids),
        "client_reference": opening.client_reference,
        "quote_id": opening.quote_id,
        "total_amount_minor": opening.total_amount_minor,
        "currency_code": opening.currency_code,
        "labels": dict(opening.labels),
        "open_digest": f"\\x{opening.digest().hex()}",
        "open_time": history.open_time.isoformat(),
        "update_time": latest.record_time.isoformat(),
        "complete_time": history.complete_time.isoformat(),
        "revisions": [
            {
                "revision": number,
                "request_id": one.request_id,
                "state": str(state_of(one.snapshot)),
                "snapshot": snapshot_json(one.snapshot),
                "record_time": one.record_time.isoformat(),
            }
            for number, one in enumerate((history.first, *history.revisions), start=1)
        ],
    }


_KEEP: Final = """
WITH given AS MATERIALIZED (
  SELECT * FROM jsonb_to_recordset($2::jsonb) AS g (
    payment_id text, open_month date, revision bigint, collection text, state text, settled boolean, snapshot text,
    payer_id text, seller_ids text[], booking_ids text[], client_reference text, quote_id text,
    total_amount_minor bigint, currency_code text, labels jsonb, open_digest bytea, open_time timestamptz,
    update_time timestamptz, complete_time timestamptz, revisions jsonb
  )
), kept AS (
  INSERT INTO payments (
    tenant_id, payment_id, open_month, revision, collection, state, settled, snapshot, payer_id, seller_ids,
    booking_ids, client_reference, quote_id, total_amount_minor, currency_code, labels, open_digest, open_time,
    update_time, complete_time
  )
  SELECT $1, payment_id, open_month, revision, collection, state, settled, snapshot::jsonb, payer_id, seller_ids,
    booking_ids, client_reference, quote_id, total_amount_minor, currency_code, labels, open_digest, open_time,
    update_time, complete_time
  FROM given
  ON CONFLICT ON CONSTRAINT payments_pkey DO NOTHING
  RETURNING tenant_id, payment_id, open_month, seller_ids, booking_ids, open_time
), history AS (
  INSERT INTO transitions (tenant_id, payment_id, open_month, revision, request_id, state, snapshot, record_time)
  SELECT k.tenant_id, k.payment_id, k.open_month, r.revision, r.request_id, r.state, r.snapshot::jsonb, r.record_time
  FROM kept k JOIN given g USING (payment_id), jsonb_to_recordset(g.revisions) AS r (
    revision bigint, request_id uuid, state text, snapshot text, record_time timestamptz
  )
), sellers AS (
  INSERT INTO payment_sellers (tenant_id, seller_id, open_time, payment_id)
  SELECT tenant_id, unnest(seller_ids), open_time, payment_id FROM kept
), bookings AS (
  INSERT INTO payment_bookings (tenant_id, booking_id, open_time, payment_id)
  SELECT tenant_id, unnest(booking_ids), open_time, payment_id FROM kept
)
SELECT payment_id FROM kept
"""

_KNOWN: Final = "SELECT payment_id, open_digest, revision FROM payments WHERE tenant_id = $1 AND payment_id = ANY ($2)"
