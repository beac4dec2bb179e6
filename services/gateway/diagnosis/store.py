"""Reads what is kept of payments beside their mirrors: one statement for all of it, which holds nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import asyncpg

from services.gateway.diagnosis.records import Booked, Delivery, OpenCall, Records, Settlement
from services.gateway.ledger.domain import Account, Entry, Place
from services.gateway.mirror.payment import MirroredPayment
from services.gateway.mirror.store import Store
from services.runtime.database.connections import DirectConnections
from services.runtime.process.clock import Clock

NOT_OF_THE_MIRROR: Final = ("bt", "fx_closed", "opening")
"""Kinds of facts that are booked of a payment by something else than what is mirrored of it."""


class RecordStore:
    """Reads. Raises `DependencyUnavailable` when the database is away."""

    def __init__(self, connections: DirectConnections, payments: Store, *, clock: Clock) -> None:
        self._connections = connections
        self._payments = payments
        self._clock = clock

    async def read(self, tenant_id: str, payment_ids: Sequence[str]) -> dict[str, Records]:
        """Return what is kept of payments; without those that are not known.

        The mirror is read before and after the rest: of a payment that moved in between it is said that it is held.
        """
        before = await self._mirrored(tenant_id, payment_ids)
        async with self._connections.statement(None) as connection:
            rows = await connection.fetch(
                _RECORDS, tenant_id, list(payment_ids), self._clock.shift, list(NOT_OF_THE_MIRROR)
            )
        after = await self._mirrored(tenant_id, payment_ids)
        beside = {row["payment_id"]: row for row in rows}
        return {
            payment_id: _records(payment, beside[payment_id], is_held=not _is_same(payment, before.get(payment_id)))
            for payment_id, payment in after.items()
            if payment_id in beside
        }

    async def booked(self, tenant_id: str, *, since: datetime, until: datetime, after: str, at_most: int) -> list[str]:
        """Return the payments of which something was booked in a span, in the order of their ids."""
        async with self._connections.statement(None) as connection:
            rows = await connection.fetch(_BOOKED, tenant_id, since, until, after, at_most)
        return [str(row["payment_id"]) for row in rows]

    async def _mirrored(self, tenant_id: str, payment_ids: Sequence[str]) -> dict[str, MirroredPayment]:
        return {one.payment_id: one for one in await self._payments.read_many(tenant_id, payment_ids)}


def _is_same(one: MirroredPayment, other: MirroredPayment | None) -> bool:
    return other is not None and (one.fence, one.observation) == (other.fence, other.observation)


def _records(payment: MirroredPayment, row: asyncpg.Record, *, is_held: bool) -> Records:
    kept = json.loads(row["kept"])
    settlement, delivery = kept["settlement"], kept["delivery"]
    return Records(
        payment=payment,
        is_held=is_held or row["is_held"] or row["fence"] != payment.fence,
        entries=tuple(map(_entry, kept["entries"])),
        balances=tuple(map(_entry, kept["balances"])),
        unbalanced=tuple((fact, currency_code, minor) for fact, currency_code, minor in kept["unbalanced"]),
        found_by=tuple((number, *ids) for number, *ids in kept["found_by"]),
        movements_found_by=tuple((movement_id, stripe_id) for movement_id, stripe_id in kept["movements"]),
        receivables=tuple((attempt, seller_id, minor) for attempt, seller_id, minor in kept["receivables"]),
        transactions=tuple(Booked(**one) for one in kept["transactions"]),
        calls=tuple(OpenCall(**one) for one in kept["calls"]),
        settlement=_settlement(settlement) if settlement is not None else None,
        delivery=Delivery(**delivery) if delivery is not None else None,
    )


def _entry(kept: tuple[str, str, str, str, int, int]) -> Entry:
    account, currency_code, seller_id, country, amount_minor, vat_minor = kept
    place = Place(account=Account(account), currency_code=currency_code, seller_id=seller_id, country=country)
    return Entry(place=place, amount_minor=amount_minor, vat_minor=vat_minor)


def _settlement(kept: Mapping[str, Any]) -> Settlement:
    return Settlement(**{**kept, "create_time": datetime.fromisoformat(kept["create_time"])})


_DUE: Final = """'is_due', {w}.due_time IS NOT NULL, 'is_dead', {w}.dead_time IS NOT NULL,
        'problem', coalesce({w}.problem, '')"""


def _sums(of: str) -> str:
    return f"""(SELECT coalesce(json_agg(json_build_array(
            s.account, s.currency_code, s.seller_id, s.country, s.amount_minor, s.vat_minor)), '[]')
        FROM (SELECT e.account, e.currency_code, e.seller_id, e.country, sum(e.amount_minor) AS amount_minor,
                sum(e.vat_minor) AS vat_minor
            FROM ledger_entries e WHERE e.tenant_id = p.tenant_id AND e.payment_id = p.payment_id AND {of}
            GROUP BY 1, 2, 3, 4 HAVING sum(e.amount_minor) <> 0 OR sum(e.vat_minor) <> 0) s)"""  # noqa: S608 our own


_RECORDS: Final = f"""
SELECT p.payment_id, p.fence, p.held_until > now() + $3::interval AS is_held, json_build_object(
    'entries', {_sums("split_part(e.fact, ':', 1) <> ALL($4::text[])")},
    'balances', {_sums("true")},
    'unbalanced', (SELECT coalesce(json_agg(json_build_array(s.fact, s.currency_code, s.amount_minor)), '[]')
        FROM (SELECT e.fact, e.currency_code, sum(e.amount_minor) AS amount_minor FROM ledger_entries e
            WHERE e.tenant_id = p.tenant_id AND e.payment_id = p.payment_id
            GROUP BY 1, 2 HAVING sum(e.amount_minor) <> 0) s),
    'found_by', (SELECT coalesce(json_agg(json_build_array(i.attempt, coalesce(i.intent_id, ''),
            coalesce(i.charge_id, ''), coalesce(i.session_id, ''))), '[]')
        FROM intents i WHERE i.tenant_id = p.tenant_id AND i.payment_id = p.payment_id),
    'movements', (SELECT coalesce(json_agg(json_build_array(m.movement_id, coalesce(m.stripe_id, ''))), '[]')
        FROM movements m WHERE m.tenant_id = p.tenant_id AND m.payment_id = p.payment_id),
    'receivables', (SELECT coalesce(json_agg(json_build_array(r.attempt, r.seller_id, r.amount_minor)), '[]')
        FROM receivables r WHERE r.tenant_id = p.tenant_id AND r.payment_id = p.payment_id),
    'transactions', (SELECT coalesce(json_agg(json_build_object('balance_transaction_id', b.balance_transaction_id,
            'currency_code', b.currency_code, 'net_minor', b.net_minor, 'booked_minor', (
                SELECT coalesce(sum(e.amount_minor), 0) FROM ledger_entries e
                WHERE e.tenant_id = b.tenant_id AND e.fact = 'bt:' || b.balance_transaction_id
                    AND e.account = 'stripe_balance' AND e.currency_code = b.currency_code))), '[]')
        FROM balance_transactions b
        WHERE b.tenant_id = p.tenant_id AND b.source_id = ANY(ARRAY(
            SELECT i.charge_id FROM intents i WHERE i.tenant_id = p.tenant_id AND i.payment_id = p.payment_id
            UNION ALL SELECT r.stripe_refund_id FROM refunds r
            WHERE r.tenant_id = p.tenant_id AND r.payment_id = p.payment_id
            UNION ALL SELECT d.dispute_id FROM disputes d
            WHERE d.tenant_id = p.tenant_id AND d.payment_id = p.payment_id
            UNION ALL SELECT m.stripe_id FROM movements m
            WHERE m.tenant_id = p.tenant_id AND m.payment_id = p.payment_id))),
    'calls', (SELECT coalesce(json_agg(json_build_object('operation', c.operation, 'request_id', c.request_id,
            {_DUE.format(w="c")}) ORDER BY c.create_time), '[]')
        FROM calls c WHERE c.tenant_id = p.tenant_id AND c.subject_type = 'payment' AND c.subject_id = p.payment_id
            AND c.state IN ('STARTED', 'UNKNOWN')),
    'settlement', (SELECT json_build_object('missing', s.missing, 'create_time', s.create_time, {_DUE.format(w="s")})
        FROM settlements s WHERE s.tenant_id = p.tenant_id AND s.payment_id = p.payment_id),
    'delivery', (SELECT json_build_object('wanted_version', d.wanted_version,
            'delivered_version', d.delivered_version, {_DUE.format(w="d")})
        FROM deliveries d WHERE d.tenant_id = p.tenant_id AND d.payment_id = p.payment_id)) AS kept
FROM payments p WHERE p.tenant_id = $1 AND p.payment_id = ANY($2::text[])"""  # noqa: S608 our own names

_BOOKED: Final = """
SELECT DISTINCT e.payment_id FROM ledger_entries e
WHERE e.tenant_id = $1 AND e.record_time >= $2 AND e.record_time < $3 AND e.payment_id > $4
ORDER BY e.payment_id LIMIT $5"""
