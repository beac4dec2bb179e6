"""Keeps records, and says which are here. Raises `DependencyUnavailable` when the database is away."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import asyncpg

from services.errors import RequestInProgress
from services.gateway.imports import statements
from services.gateway.imports.domain import CustomerRecord, Mirrored, PaymentRecord, RecordKind, SellerRecord
from services.gateway.ledger import books
from services.gateway.ledger.entry_rows import rows
from services.gateway.mirror.written_rows import intent_row, movement_row
from services.runtime.database.connections import DirectConnections
from services.runtime.process.clock import Clock
from services.shared import codec

_KEEP: Final = {
    RecordKind.PAYMENT: statements.KEEP_PAYMENTS,
    RecordKind.CUSTOMER: statements.KEEP_CUSTOMERS,
    RecordKind.SELLER: statements.KEEP_SELLERS,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """What tells a record from others."""

    record_id: str
    digest: bytes
    """Of all its content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A record that was taken over."""

    digest: bytes
    subject_id: str


Row = dict[str, object]


class ImportStore:
    """Reads and writes the tables."""

    def __init__(self, connections: DirectConnections, *, clock: Clock) -> None:
        self._connections = connections
        self._clock = clock

    async def known(self, tenant_id: str, kind: RecordKind, record_ids: Sequence[str]) -> Mapping[str, Known]:
        """Return the records that were taken over before, by their ids."""
        found = await self._fetch(statements.KNOWN, tenant_id, kind, list(record_ids))
        return {row["record_id"]: Known(digest=row["digest"], subject_id=row["subject_id"]) for row in found}

    async def keep(self, tenant_id: str, kind: RecordKind, given: Sequence[Row], *, actor_id: str) -> None:
        """Keep records that are new, all of them or none.

        Raises RequestInProgress where another call took one of them over, or what belongs to it, at the same moment.
        """
        shift: tuple[timedelta, ...] = (self._clock.shift,) if kind is RecordKind.PAYMENT else ()
        try:
            async with self._connections.transaction("import.keep") as connection:
                kept = await connection.fetch(
                    _KEEP[kind], tenant_id, json.dumps(list(given)), actor_id, self._clock.now(), *shift
                )
                if len(kept) < len(given):
                    raise RequestInProgress
        except asyncpg.UniqueViolationError as error:
            raise RequestInProgress from error

    async def payments_of(self, tenant_id: str, stripe_ids: Sequence[str]) -> Mapping[str, str]:
        """Return the payments that objects of Stripe's belong to, by their ids."""
        found = await self._fetch(statements.PAYMENTS_OF, tenant_id, list(stripe_ids))
        return {row["stripe_id"]: row["payment_id"] for row in found}

    async def customers(
        self, tenant_id: str, payer_ids: Sequence[str], customer_ids: Sequence[str]
    ) -> list[tuple[str, str | None]]:
        """Return payers with their customers, of these payers or customers."""
        found = await self._fetch(statements.CUSTOMERS, tenant_id, list(payer_ids), list(customer_ids))
        return [(row["payer_id"], row["customer_id"]) for row in found]

    async def sellers(
        self, tenant_id: str, seller_ids: Sequence[str], account_ids: Sequence[str]
    ) -> list[tuple[str, str | None]]:
        """Return sellers with their accounts, of these sellers or accounts."""
        found = await self._fetch(statements.SELLERS, tenant_id, list(seller_ids), list(account_ids))
        return [(row["seller_id"], row["stripe_account_id"]) for row in found]

    async def _fetch(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        async with self._connections.statement(None) as connection:
            return list(await connection.fetch(statement, *arguments))


def payment_row(named: Named, record: PaymentRecord, mirrored: Mirrored | None) -> Row:
    """Return a payment; of one that never came to an intent nothing is mirrored."""
    row = _named(named, record.payment_id)
    if mirrored is None:
        return row
    payment = mirrored.payment
    return row | {
        "payer_id": payment.payer_id,
        "seller_id": payment.seller_id,
        "currency_code": payment.currency_code,
        "mirror_version": payment.observation.mirror_version,
        "observation": codec.to_json(payment.observation),
        "books": books.to_json(mirrored.books),
        "create_time": min(one.create_time for one in payment.intents.values()).isoformat(),
        "intents": [intent_row(one, payer_id=payment.payer_id) for one in payment.intents.values()],
        "refunds": [codec.to_json(one) for one in payment.refunds.values()],
        "movements": [movement_row(one) for one in payment.movements.values()],
        "entries": rows(mirrored.opening),
    }


def customer_row(named: Named, record: CustomerRecord) -> Row:
    """Return a customer."""
    return _named(named, record.payer_id) | {
        "customer_id": record.customer_id,
        "default_method_id": record.default_method_id,
        "consents": [codec.to_json(one) for one in record.consents],
    }


def seller_row(named: Named, record: SellerRecord) -> Row:
    """Return a seller's account."""
    return _named(named, record.seller_id) | {"stripe_account_id": record.stripe_account_id}


def _named(named: Named, subject_id: str) -> Row:
    return {"record_id": named.record_id, "digest": f"\\x{named.digest.hex()}", "subject_id": subject_id}
