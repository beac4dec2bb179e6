"""What we hold of the objects that are compared: by their ids, and by when they came to be. One statement a method."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

import asyncpg

from services.gateway.disputes.domain import Dispute
from services.gateway.reconciliation.domain import OPEN_MAX, Held, Shown, Stage
from services.gateway.reconciliation.position import Span
from services.gateway.refunds.domain import ON_ITS_WAY
from services.gateway.settlement.domain import MovementKind
from services.runtime.database.connections import DirectConnections
from services.shared import codec

_NAMES: Final[Mapping[str, str]] = {
    MovementKind.TRANSFER: "transferred",
    MovementKind.REVERSAL: "reversed",
    MovementKind.FEE: "fee",
    MovementKind.FEE_REFUND: "given back",
}
"""What the figure of a movement is called."""


class Ours:
    """Reads the mirror and the ledger. Raises `DependencyUnavailable` when the database is away."""

    def __init__(self, connections: DirectConnections) -> None:
        self._connections = connections

    async def held(self, tenant_id: str, stage: Stage, shown: Sequence[Shown]) -> dict[str, Held]:
        """Return what is held of objects that Stripe shows, by Stripe's ids."""
        ids = [one.stripe_id for one in shown]
        match stage:
            case Stage.CHARGES:
                return await self._charges(tenant_id, shown)
            case _:
                found = await self._fetch(_HELD[stage], tenant_id, ids)
                return {row["stripe_id"]: _HELD_OF[stage](row) for row in found}

    async def between(self, tenant_id: str, stage: Stage, span: Span, *, known: Sequence[str]) -> list[str]:
        """Return the ids of what is held of a span, without those that are known; at most `OPEN_MAX` + 1."""
        if stage is Stage.BALANCE:
            statement, kinds = _TRANSACTIONS_BETWEEN, None
        else:
            statement, kinds = _FACTS_BETWEEN, [f"{kind}:" for kind in _FACTS[stage]]
        found = await self._fetch(statement, tenant_id, span.since, span.until, list(known), kinds, OPEN_MAX + 1)
        return [str(row["stripe_id"]) for row in found]

    async def _charges(self, tenant_id: str, shown: Sequence[Shown]) -> dict[str, Held]:
        """An intent's charges are found by the intent; of those that it does not name for its own nothing is held."""
        intents = {intent_id: one.stripe_id for one in shown for intent_id in one.related_ids}
        ids = [one.stripe_id for one in shown]
        found: dict[str, Held] = {}
        for row in await self._fetch(_CHARGES, tenant_id, ids, list(intents)):
            by_intent = Held(
                stripe_id=intents.get(row["intent_id"], ""),
                currency_code=row["currency_code"],
                figures={},
                payment_id=row["payment_id"],
            )
            if by_intent.stripe_id:
                found.setdefault(by_intent.stripe_id, by_intent)
            if row["charge_id"] in ids:
                found[row["charge_id"]] = Held(
                    stripe_id=row["charge_id"],
                    currency_code=row["currency_code"],
                    figures={"captured": row["captured_minor"]},
                    payment_id=row["payment_id"],
                )
        return found

    async def _fetch(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        async with self._connections.statement(None) as connection:
            return list(await connection.fetch(statement, *arguments))


def _transaction(row: asyncpg.Record) -> Held:
    """What is booked counts, and its fee as it is kept."""
    return Held(
        stripe_id=row["stripe_id"],
        currency_code=row["currency_code"],
        figures={"net": row["booked_minor"], "fee": row["fee_minor"]},
        payment_id=row["payment_id"],
    )


def _refund(row: asyncpg.Record) -> Held:
    return Held(
        stripe_id=row["stripe_id"],
        currency_code=row["currency_code"],
        figures={"refunded": row["amount_minor"] if row["state"] in ON_ITS_WAY else 0},
        payment_id=row["payment_id"],
        is_known_otherwise=row["was_imported"],
    )


def _movement(row: asyncpg.Record) -> Held:
    is_first = row["kind"] in (MovementKind.TRANSFER, MovementKind.FEE)
    return Held(
        stripe_id=row["stripe_id"],
        currency_code=row["currency_code"],
        figures={_NAMES[row["kind"]]: row["amount_minor"]},
        payment_id=row["payment_id"],
        is_known_otherwise=row["was_imported"] or (is_first and row["is_destination"]),
    )


def _dispute(row: asyncpg.Record) -> Held:
    dispute = codec.from_json(Dispute, json.loads(row["mirrored"]))
    return Held(
        stripe_id=dispute.dispute_id,
        currency_code=dispute.currency_code,
        figures={"withdrawn": dispute.withdrawn_minor},
        payment_id=row["payment_id"],
    )


def _payout(row: asyncpg.Record) -> Held:
    return Held(
        stripe_id=row["stripe_id"], currency_code=row["currency_code"], figures={"paid out": row["amount_minor"]}
    )


_HELD_OF: Final = {
    Stage.BALANCE: _transaction,
    Stage.REFUNDS: _refund,
    Stage.TRANSFERS: _movement,
    Stage.FEES: _movement,
    Stage.DISPUTES: _dispute,
    Stage.PAYOUTS: _payout,
}
_FACTS: Final = {
    Stage.CHARGES: ("captured",),
    Stage.REFUNDS: ("refunded",),
    Stage.TRANSFERS: ("transfer",),
    Stage.FEES: ("application_fee",),
    Stage.DISPUTES: ("withdrawn",),
    Stage.PAYOUTS: ("payout",),
}
"""The facts by which it is known when something of ours came to be."""


def _was_imported(alias: str) -> str:
    """Return whether something was there when its payment was imported: an older system asked for it."""
    return f"""EXISTS (
        SELECT FROM imports j WHERE j.tenant_id = {alias}.tenant_id AND j.subject_id = {alias}.payment_id
            AND j.kind = 'PAYMENT' AND {alias}.create_time <= j.import_time)"""


_CHARGES: Final = """
SELECT i.charge_id, i.intent_id, i.payment_id, p.currency_code,
    coalesce((i.mirrored ->> 'captured_minor')::bigint, 0) AS captured_minor
FROM intents i JOIN payments p ON p.tenant_id = i.tenant_id AND p.payment_id = i.payment_id
WHERE i.tenant_id = $1 AND (i.charge_id = ANY($2::text[]) OR i.intent_id = ANY($3::text[]))"""

_BALANCE: Final = """
SELECT b.balance_transaction_id AS stripe_id, b.payment_id, b.currency_code, b.fee_minor, (
    SELECT coalesce(sum(e.amount_minor), 0)::bigint FROM ledger_entries e
    WHERE e.tenant_id = b.tenant_id AND e.fact = 'bt:' || b.balance_transaction_id AND e.account = 'stripe_balance'
        AND e.currency_code = b.currency_code) AS booked_minor
FROM balance_transactions b WHERE b.tenant_id = $1 AND b.balance_transaction_id = ANY($2::text[])"""

_REFUNDS: Final = f"""
SELECT r.stripe_refund_id AS stripe_id, r.payment_id, p.currency_code, r.amount_minor, r.state,
    {_was_imported("r")} AS was_imported
FROM refunds r JOIN payments p ON p.tenant_id = r.tenant_id AND p.payment_id = r.payment_id
WHERE r.tenant_id = $1 AND r.stripe_refund_id = ANY($2::text[])"""  # noqa: S608 our own names

_MOVEMENTS: Final = f"""
SELECT m.stripe_id, m.payment_id, m.kind, m.mirrored ->> 'currency_code' AS currency_code,
    {_was_imported("m")} AS was_imported,
    (m.mirrored ->> 'amount_minor')::bigint AS amount_minor, EXISTS (
        SELECT FROM intents i WHERE i.tenant_id = m.tenant_id AND i.payment_id = m.payment_id
            AND i.attempt = (m.mirrored ->> 'attempt')::integer AND i.mirrored ->> 'seller_id' <> '') AS is_destination
FROM movements m WHERE m.tenant_id = $1 AND m.stripe_id = ANY($2::text[]) AND m.mirrored ->> 'state' = 'MADE'"""  # noqa: S608 our own names

_DISPUTES: Final = """
SELECT d.dispute_id AS stripe_id, d.payment_id, d.mirrored
FROM disputes d WHERE d.tenant_id = $1 AND d.dispute_id = ANY($2::text[])"""

_PAYOUTS: Final = """
SELECT split_part(e.fact, ':', 2) AS stripe_id, e.currency_code, sum(e.amount_minor)::bigint AS amount_minor
FROM unnest($2::text[]) AS id CROSS JOIN unnest(ARRAY['payout', 'payout_failed', 'payout_canceled']) AS kind
JOIN ledger_entries e ON e.tenant_id = $1 AND e.fact = kind || ':' || id AND e.account = 'bank'
GROUP BY 1, 2"""

_HELD: Final = {
    Stage.BALANCE: _BALANCE,
    Stage.REFUNDS: _REFUNDS,
    Stage.TRANSFERS: _MOVEMENTS,
    Stage.FEES: _MOVEMENTS,
    Stage.DISPUTES: _DISPUTES,
    Stage.PAYOUTS: _PAYOUTS,
}

_TRANSACTIONS_BETWEEN: Final = """
SELECT b.balance_transaction_id AS stripe_id FROM balance_transactions b
WHERE b.tenant_id = $1 AND b.create_time >= $2 AND b.create_time < $3 AND b.balance_transaction_id <> ALL($4::text[])
    AND $5::text[] IS NULL
LIMIT $6"""

_FACTS_BETWEEN: Final = """
SELECT DISTINCT e.stripe_id FROM ledger_entries e
WHERE e.tenant_id = $1 AND e.value_time >= $2 AND e.value_time < $3 AND e.fact ^@ ANY($5::text[])
    AND e.stripe_id <> ALL($4::text[])
LIMIT $6"""
