"""The rows of sellers' accounts. What a statement means is said where `operations` runs it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import asyncpg

from services.errors import RequestIdReused
from services.gateway.errors import SellerExists
from services.gateway.notices import notice_rows
from services.gateway.notices.noticed import of_account
from services.gateway.sellers.domain import AccountDetails, Particulars, SellerAccount
from services.runtime.database.connections import DirectConnections, violated_constraint
from services.runtime.process.clock import Clock
from services.runtime.rpc import call_context
from services.runtime.work.kinds import WorkClass
from services.shared import codec

_COLUMNS: Final = (
    "seller_id, generation, stripe_account_id, gone, charges_enabled, payouts_enabled, transfers_enabled, mirrored,"
    " statement_descriptor_suffix, receipt_name, vat_id, observe_time"
)


FIRST: Final = 0
"""Before all readings: of the call that makes an account, or takes one over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A reading of an account that has begun."""

    seller_id: str
    number: int
    """Counted up from `FIRST`: of an account, one that began later has a higher one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SellerContact:
    """How a seller is reached, encrypted."""

    stripe_account_id: str
    gone: bool
    sealed: bytes | None
    """None where it was not read yet, or the account is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A seller's place for an account."""

    generation: int
    """Which account of the seller is in it, or is to be made."""
    stripe_account_id: str | None
    gone: bool


class SellerStore:
    """Reads and writes sellers' accounts, in one statement or two each, which may be repeated.

    What was seen is kept in a transaction with what people are told of it; `wake` is called when that became due.
    """

    def __init__(self, connections: DirectConnections, *, clock: Clock, wake: Callable[[WorkClass], None]) -> None:
        self._connections = connections
        self._clock = clock
        self._now: Callable[[], datetime] = clock.now
        self._wake = wake

    async def find(
        self, tenant_id: str, seller_id: str, *, receipt_time: datetime | None = None
    ) -> SellerAccount | None:
        """Return a seller's account as last seen; None if there is none.

        With `receipt_time` it is called as on a receipt of then: as was said last before, or else first afterwards.
        """
        async with self._connections.statement("seller.read") as connection:
            row = await connection.fetchrow(FIND, tenant_id, seller_id, receipt_time)
        if row is None or row["name_then"] is None:
            return None if row is None else _account(row)
        return replace(_account(row), receipt_name=row["name_then"], vat_id=row["vat_id_then"])

    async def begin(self, tenant_id: str, seller_id: str) -> Slot:
        """Return a seller's slot, made if there was none."""
        async with self._connections.statement("seller.begin") as connection:
            await connection.execute(
                """INSERT INTO seller_accounts (tenant_id, seller_id, create_time) VALUES ($1, $2, $3)
                   ON CONFLICT ON CONSTRAINT seller_accounts_pkey DO NOTHING""",
                tenant_id,
                seller_id,
                self._now(),
            )
            row = await connection.fetchrow(
                """SELECT generation, stripe_account_id, gone FROM seller_accounts
                   WHERE tenant_id = $1 AND seller_id = $2""",
                tenant_id,
                seller_id,
            )
        return Slot(generation=row["generation"], stripe_account_id=row["stripe_account_id"], gone=row["gone"])

    async def seller_of(self, tenant_id: str, stripe_account_id: str) -> str | None:
        """Return whose account this is; None if it is no seller's of ours."""
        async with self._connections.statement(None) as connection:
            seller_id: str | None = await connection.fetchval(
                "SELECT seller_id FROM seller_accounts WHERE tenant_id = $1 AND stripe_account_id = $2",
                tenant_id,
                stripe_account_id,
            )
        return seller_id

    async def begin_reading(self, tenant_id: str, stripe_account_id: str) -> Reading | None:
        """Begin a reading of an account, before Stripe is asked; None if it is no seller's of ours."""
        async with self._connections.statement("seller.reading") as connection:
            row = await connection.fetchrow(
                """UPDATE seller_accounts SET readings = readings + 1
                   WHERE tenant_id = $1 AND stripe_account_id = $2
                   RETURNING seller_id, readings""",
                tenant_id,
                stripe_account_id,
            )
        return None if row is None else Reading(seller_id=row["seller_id"], number=row["readings"])

    async def record(
        self, tenant_id: str, account: SellerAccount, *, contact: bytes, reading: int
    ) -> SellerAccount | None:
        """Mirror an account as a reading shows it, and return what is true now; None if the seller has another by now.

        One that is new has the reading `FIRST`: once there is an account, what made it says nothing any more. Of
        readings that overlap the one that began last counts.
        """
        try:
            recorded = await self._keep(
                tenant_id,
                account.seller_id,
                "seller.record",
                RECORD,
                account.stripe_account_id,
                account.charges_enabled,
                account.payouts_enabled,
                account.transfers_enabled,
                json.dumps(codec.to_json(account.details)),
                self._now(),
                reading,
                contact,
            )
        except asyncpg.UniqueViolationError as error:
            if violated_constraint(error) != "seller_accounts_stripe_account_id":
                raise
            raise SellerExists(field="stripe_account_id") from error
        known = recorded or await self.find(tenant_id, account.seller_id)
        return known if known is not None and known.stripe_account_id == account.stripe_account_id else None

    async def lose(self, tenant_id: str, stripe_account_id: str, reading: Reading) -> None:
        """Keep that an account is gone at Stripe, as a reading shows."""
        await self._keep(
            tenant_id, reading.seller_id, "seller.lose", LOSE, stripe_account_id, self._now(), reading.number
        )

    async def contact(self, tenant_id: str, seller_id: str) -> SellerContact | None:
        """Return how a seller is reached; None if there is no account of one."""
        async with self._connections.statement(None) as connection:
            row = await connection.fetchrow(CONTACT, tenant_id, seller_id)
        if row is None:
            return None
        return SellerContact(stripe_account_id=row["stripe_account_id"], gone=row["gone"], sealed=row["contact"])

    async def _keep(
        self, tenant_id: str, seller_id: str, point: str, statement: str, *seen: object
    ) -> SellerAccount | None:
        """Write what was seen, and what people are told of it; None if it says nothing any more."""
        async with self._connections.transaction(point) as connection:
            before = await connection.fetchrow(LOCKED, tenant_id, seller_id)
            row = await connection.fetchrow(statement, tenant_id, seller_id, *seen)
            if row is None:
                return None
            known = _account(before) if before is not None and before["stripe_account_id"] is not None else None
            account = _account(row)
            notices = list(of_account(known, account, now=self._now()))
            if notices:
                told = notice_rows.as_json(notices)
                await connection.execute(NOTICE, tenant_id, told, self._clock.shift, call_context.origin())
        if notices:
            self._wake(WorkClass.DELIVERIES)
        return account

    async def claim(
        self,
        tenant_id: str,
        seller_id: str,
        request_id: uuid.UUID,
        request_hash: bytes,
        particulars: Particulars,
    ) -> None:
        """Remember what was asked under a request id, with what it says beside the account, if it says something.

        Only the first of its repeats says so, so that a late one takes nothing back. Raises RequestIdReused if
        something else was asked under the id.
        """
        now = self._now()
        async with self._connections.transaction("seller.claim") as connection:
            is_first = await connection.fetchval(
                """INSERT INTO calls (tenant_id, call_id, operation, request_id, request_hash, subject_type, subject_id,
                       params, state, create_time)
                   VALUES ($1, $2, 'seller.put', $3, $4, 'seller', $6, '{}', 'ANSWERED', $5)
                   ON CONFLICT ON CONSTRAINT calls_request DO NOTHING
                   RETURNING true""",
                tenant_id,
                uuid.uuid4(),
                request_id,
                request_hash,
                now,
                seller_id,
            )
            if is_first and particulars.says_something:
                said = (particulars.receipt_name, particulars.vat_id)
                await connection.execute(LOCKED, tenant_id, seller_id)  # names end in the order in which they are put
                await connection.execute(KEEP_NAMES, tenant_id, seller_id, self._now(), *said)
                await connection.execute(
                    NAME, tenant_id, seller_id, now, *said, particulars.statement_descriptor_suffix
                )
            kept = await connection.fetchval(
                """SELECT request_hash FROM calls
                   WHERE tenant_id = $1 AND operation = 'seller.put' AND request_id = $2""",
                tenant_id,
                request_id,
            )
        if kept != request_hash:
            raise RequestIdReused(field="request_id")

    async def next(self, tenant_id: str, seller_id: str, generation: int, *, instead_of: str | None = None) -> None:
        """Begin the next generation, instead of an account that is gone or of a key that says no more.

        Nothing happens when another try has done so.
        """
        async with self._connections.statement("seller.next") as connection:
            await connection.execute(
                """UPDATE seller_accounts
                   SET generation = generation + 1, stripe_account_id = NULL, gone = false, contact = NULL
                   WHERE tenant_id = $1 AND seller_id = $2 AND generation = $3
                       AND stripe_account_id IS NOT DISTINCT FROM $4""",
                tenant_id,
                seller_id,
                generation,
                instead_of,
            )


def _account(row: asyncpg.Record) -> SellerAccount:
    return SellerAccount(
        seller_id=row["seller_id"],
        stripe_account_id=row["stripe_account_id"],
        charges_enabled=row["charges_enabled"],
        payouts_enabled=row["payouts_enabled"],
        transfers_enabled=row["transfers_enabled"],
        gone=row["gone"],
        details=codec.from_json(AccountDetails, json.loads(row["mirrored"])),
        statement_descriptor_suffix=row["statement_descriptor_suffix"],
        receipt_name=row["receipt_name"],
        vat_id=row["vat_id"],
        observe_time=row["observe_time"],
    )


FIND: Final = f"""
SELECT {_COLUMNS}, name_then, vat_id_then
FROM seller_accounts
LEFT JOIN LATERAL (
    SELECT receipt_name AS name_then, vat_id AS vat_id_then FROM seller_receipt_names
    WHERE tenant_id = $1 AND seller_id = $2 AND until_time > $3
    ORDER BY until_time LIMIT 1) AS kept ON true
WHERE tenant_id = $1 AND seller_id = $2 AND stripe_account_id IS NOT NULL"""  # noqa: S608 our own column names

# Under the lock of the account, so that of two at once the later keeps what the earlier said, until after that, also if
# its process's clock is behind. Nothing is kept of a time at which nothing was said: receipts of then have what is said
# next.
KEEP_NAMES: Final = """
INSERT INTO seller_receipt_names (tenant_id, seller_id, until_time, receipt_name, vat_id)
SELECT tenant_id, seller_id, greatest($3, (
    SELECT max(until_time) + interval '1 microsecond' FROM seller_receipt_names
    WHERE tenant_id = $1 AND seller_id = $2)), receipt_name, vat_id
FROM seller_accounts
WHERE tenant_id = $1 AND seller_id = $2 AND (receipt_name <> '' OR vat_id <> '')
    AND (receipt_name, vat_id) IS DISTINCT FROM (coalesce($4, receipt_name), coalesce($5, vat_id))"""

NAME: Final = """
INSERT INTO seller_accounts AS s (tenant_id, seller_id, create_time, receipt_name, vat_id, statement_descriptor_suffix)
VALUES ($1, $2, $3, coalesce($4, ''), coalesce($5, ''), coalesce($6, ''))
ON CONFLICT ON CONSTRAINT seller_accounts_pkey
DO UPDATE SET receipt_name = coalesce($4, s.receipt_name), vat_id = coalesce($5, s.vat_id),
    statement_descriptor_suffix = coalesce($6, s.statement_descriptor_suffix)"""

LOCKED: Final = f"""
SELECT {_COLUMNS} FROM seller_accounts WHERE tenant_id = $1 AND seller_id = $2 FOR UPDATE"""  # noqa: S608 our own names

RECORD: Final = f"""
UPDATE seller_accounts SET stripe_account_id = $3, gone = false, charges_enabled = $4, payouts_enabled = $5,
    transfers_enabled = $6, mirrored = $7, observe_time = $8, contact = $10,
    kept_reading = CASE WHEN $9 = {FIRST} THEN readings ELSE $9 END
WHERE tenant_id = $1 AND seller_id = $2
    AND (stripe_account_id IS NULL OR (stripe_account_id = $3 AND kept_reading < $9))
RETURNING {_COLUMNS}"""  # noqa: S608 our own names

LOSE: Final = f"""
UPDATE seller_accounts SET gone = true, charges_enabled = false, payouts_enabled = false, transfers_enabled = false,
    mirrored = '{{}}', observe_time = $4, kept_reading = $5, contact = NULL
WHERE tenant_id = $1 AND seller_id = $2 AND stripe_account_id = $3 AND kept_reading < $5
RETURNING {_COLUMNS}"""  # noqa: S608 our own names

NOTICE: Final = notice_rows.inserting(tenant="$1", notices="$2::jsonb", shift="$3::interval", origin="$4::text")

CONTACT: Final = """
SELECT stripe_account_id, gone, contact FROM seller_accounts
WHERE tenant_id = $1 AND seller_id = $2 AND stripe_account_id IS NOT NULL"""
