"""Keeps the plans of payments that were taken over: one statement for many, each with the claims of its bookings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from services.orchestrator.domain.course import Course
from services.orchestrator.domain.payment import Snapshot
from services.orchestrator.domain.terms import Terms
from services.orchestrator.imports.domain import PaymentRecord
from services.runtime.database.connections import DirectConnections
from services.shared import codec


class ImportStore:
    """Writes the tables. Raises `DependencyUnavailable` when the database is away."""

    def __init__(self, held: DirectConnections) -> None:
        self._held = held

    async def keep(self, tenant_id: str, rows: Sequence[dict[str, object]], *, now: datetime) -> set[str]:
        """Keep plans that are not here yet, and return their payments. Only those with something to apply are due."""
        async with self._held.statement("import.plan") as connection:
            kept = await connection.fetch(_KEEP, tenant_id, json.dumps(list(rows)), now)
        return {row["payment_id"] for row in kept}

    async def known(self, tenant_id: str, payment_ids: Sequence[str]) -> set[str]:
        """Return those of which a plan is here."""
        async with self._held.statement(None) as connection:
            found = await connection.fetch(_KNOWN, tenant_id, list(payment_ids))
        return {row["payment_id"] for row in found}


def plan_row(
    record: PaymentRecord, *, latest: Snapshot, revision: int, mirror_version: int, to_apply: bytes | None = None
) -> dict[str, object]:
    """Return the plan of a payment that is over. It knows all that was observed of it, or has it `to_apply`."""
    return {
        "payment_id": record.payment_id,
        "payer_id": record.payer_id,
        "session_type": record.session_type,
        "session_name": record.session_name,
        "client_reference": record.client_reference,
        "seller_ids": list(dict.fromkeys(line.seller_id for line in record.split.lines)),
        "booking_ids": list(record.booking_ids),
        "labels": dict(record.labels),
        "terms": codec.to_json(Terms(import_record_id=record.record_id)),
        "course": codec.to_json(Course()),
        "currency_code": record.currency_code,
        "total_minor": record.total_minor,
        "split": codec.to_json(record.split),
        "attempt": record.attempt,
        "observed_version": mirror_version,
        "mirror_version": mirror_version if to_apply is None else 0,
        "observation": f"\\x{to_apply.hex()}" if to_apply is not None else None,
        "latest_snapshot": latest.to_json(),
        "revision": revision,
        "create_time": record.open_time.isoformat(),
        "is_standing": record.is_paid and latest.amounts.refunded_minor < record.captured_minor,
    }


# A booking that is paid is claimed; one that another payment has stays that one's.
_KEEP: Final = """
WITH given AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset($2::jsonb) AS g (payment_id text, payer_id text, session_type text,
        session_name text, client_reference text, seller_ids text[], booking_ids text[], labels jsonb, terms jsonb,
        course jsonb, currency_code text, total_minor bigint, split jsonb, attempt integer, observed_version bigint,
        mirror_version bigint, observation bytea, latest_snapshot jsonb, revision bigint, create_time timestamptz,
        is_standing boolean)),
kept AS (
    INSERT INTO payments (tenant_id, payment_id, payer_id, quote_request, session_type, session_name, client_reference,
        return_url, seller_ids, booking_ids, labels, terms, course, stage, currency_code, total_minor, split, attempt,
        observed_version, mirror_version, observation, latest_snapshot, revision, create_time, due_time)
    SELECT $1, payment_id, payer_id, '', session_type, session_name, client_reference, '', seller_ids, booking_ids,
        labels, terms, course, 'ENDED', currency_code, total_minor, split, attempt, observed_version, mirror_version,
        observation, latest_snapshot, revision, create_time,
        CASE WHEN observed_version > mirror_version THEN $3::timestamptz END
    FROM given
    ON CONFLICT ON CONSTRAINT payments_pkey DO NOTHING
    RETURNING payment_id),
claimed AS (
    INSERT INTO booking_claims (tenant_id, booking_id, payment_id, claim_time)
    SELECT $1, unnest(g.booking_ids), g.payment_id, $3 FROM kept k JOIN given g USING (payment_id) WHERE g.is_standing
    ON CONFLICT ON CONSTRAINT booking_claims_pkey DO NOTHING)
SELECT payment_id FROM kept"""

_KNOWN: Final = "SELECT payment_id FROM payments WHERE tenant_id = $1 AND payment_id = ANY ($2::text[])"
