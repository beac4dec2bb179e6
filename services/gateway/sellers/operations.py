"""Sellers' accounts at Stripe: one each, made here or taken over, kept as last seen.

The key under which an account is made is of tenant, seller and generation, and of nothing that a lost commit could take
with it. An account that is gone at Stripe (deleted, or its seller took our access away) is kept as one that cannot be
paid, until another is put.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Final

import asyncpg

from services.errors import RequestIdReused
from services.gateway.errors import (
    SellerExists,
    SellerNotFound,
    SellerNotPayable,
    StripeKeySpent,
    StripeRefused,
    StripeUnavailable,
)
from services.gateway.sellers.domain import SellerAccount
from services.gateway.sellers.recent import RecentAccounts
from services.gateway.stripe_api import idempotency_keys
from services.gateway.stripe_api.client import Provider
from services.gateway.stripe_api.objects import seller_account
from services.gateway.stripe_api.outcomes import Unanswered
from services.runtime import crash_points
from services.runtime.database.connections import DirectConnections, violated_constraint
from services.shared.codec import Json

GONE: Final = frozenset({"account_invalid", "resource_missing"})
"""Codes with which Stripe refuses what names an account that is not there, or is closed to us."""
TRIES_MAX: Final = 4
"""Generations of one call: some that Stripe knows from before a lost commit."""

_COLUMNS: Final = (
    "seller_id, generation, stripe_account_id, gone, charges_enabled, payouts_enabled, transfers_enabled, "
    "requirements_due"
)


class Sellers:
    """Finds, makes and mirrors sellers' accounts."""

    def __init__(self, connections: DirectConnections, provider: Provider, *, now: Callable[[], datetime]) -> None:
        self._connections = connections
        self._provider = provider
        self._now = now
        self._recent = RecentAccounts(now=now)

    async def put(
        self,
        tenant_id: str,
        seller_id: str,
        *,
        request_id: uuid.UUID,
        request_hash: bytes,
        country_code: str,
        email: str,
        stripe_account_id: str,
    ) -> SellerAccount:
        """Return the seller's account, making it or taking `stripe_account_id` over when there is none.

        If the process dies in between, a repeat sends the same under the same key: Stripe makes one account.
        """
        await self._claim(tenant_id, seller_id, request_id, request_hash)
        asked = _asked(seller_id, country_code=country_code, email=email)
        for _ in range(TRIES_MAX):
            row = await self._row(tenant_id, seller_id)
            generation, known = int(row["generation"]), row["stripe_account_id"]
            if known is not None:
                is_another = stripe_account_id not in ("", known)
                if (row["gone"] or is_another) and not await self._is_there(tenant_id, known):
                    await self._next(tenant_id, seller_id, generation, instead_of=known)
                    continue
                if is_another:
                    raise SellerExists(field="stripe_account_id")
                return await self.get(tenant_id, seller_id)
            if stripe_account_id:
                account: Json | None = await self._read(stripe_account_id)
            else:
                account = await self._make(tenant_id, seller_id, generation, asked)
            recorded = None if account is None else await self._record(tenant_id, seller_id, account)
            if recorded is not None:
                return recorded
        raise StripeKeySpent

    async def get(self, tenant_id: str, seller_id: str) -> SellerAccount:
        """Return the seller's account as last seen."""
        async with self._connections.statement("seller.read") as connection:
            row = await connection.fetchrow(
                f"SELECT {_COLUMNS} FROM seller_accounts"  # noqa: S608 our own column names
                " WHERE tenant_id = $1 AND seller_id = $2 AND stripe_account_id IS NOT NULL",
                tenant_id,
                seller_id,
            )
        if row is None:
            raise SellerNotFound(field="seller_id")
        return _account(row)

    async def payable(self, tenant_id: str, seller_id: str) -> SellerAccount:
        """Return the account of a seller who can be paid; one who could not be is looked at again first.

        It may have been read up to `AGE_MAX` ago.
        """
        recent = self._recent.find(tenant_id, seller_id)
        if recent is not None:
            return recent
        read_time, changes = self._now(), self._recent.changes
        account = await self.get(tenant_id, seller_id)
        if account.missing:
            return await self.payable_now(tenant_id, seller_id)
        self._recent.keep(tenant_id, account, read_time=read_time, changes=changes)
        return account

    async def payable_now(self, tenant_id: str, seller_id: str) -> SellerAccount:
        """Return the account of a seller who can be paid, as it is at Stripe now."""
        await self.read_again(tenant_id, (await self.get(tenant_id, seller_id)).stripe_account_id)
        account = await self.get(tenant_id, seller_id)
        if account.missing:
            raise SellerNotPayable(field="seller_id", missing=account.missing)
        return account

    async def read_again(self, tenant_id: str, stripe_account_id: str) -> bool:
        """Mirror an account as it is at Stripe now; False if it is no seller's of ours.

        What an event shows is not taken: it is dated in whole seconds, and may be older than what was seen since.
        """
        async with self._connections.statement(None) as connection:
            seller_id = await connection.fetchval(
                "SELECT seller_id FROM seller_accounts WHERE tenant_id = $1 AND stripe_account_id = $2",
                tenant_id,
                stripe_account_id,
            )
        if seller_id is None:
            return False
        try:
            account = await self._read(stripe_account_id)
        except StripeRefused as refusal:
            if refusal.metadata.get("code") not in GONE:
                raise
            await self._lose(tenant_id, seller_id, stripe_account_id)
        else:
            await self._record(tenant_id, seller_id, account)
        return True

    async def _is_there(self, tenant_id: str, stripe_account_id: str) -> bool:
        """Whether an account of a seller of ours can be read at Stripe."""
        await self.read_again(tenant_id, stripe_account_id)
        async with self._connections.statement(None) as connection:
            gone = await connection.fetchval(
                "SELECT gone FROM seller_accounts WHERE tenant_id = $1 AND stripe_account_id = $2",
                tenant_id,
                stripe_account_id,
            )
        return gone is False

    async def _read(self, stripe_account_id: str) -> Json:
        return await crash_points.call("seller.read.stripe", self._provider.accounts.retrieve(stripe_account_id))

    async def _make(self, tenant_id: str, seller_id: str, generation: int, asked: Json) -> Json | None:
        """Make the account of a generation; None when another generation has to be tried."""
        key = idempotency_keys.idempotency_key("account.create", tenant_id, seller_id, generation)
        try:
            return await crash_points.call("seller.create.stripe", self._provider.accounts.create(asked, key=key))
        except Unanswered as silence:
            if not silence.is_replay:
                raise StripeUnavailable from silence
            # A failure that Stripe has stored, or other details under this key: by an earlier request whose answer is
            # not known, or from before a lost commit. An account that no charge names holds no money.
            await self._next(tenant_id, seller_id, generation)
            return None
        except StripeRefused:
            # Nothing was made, and under this key nothing ever will be; the next request may ask for something else.
            await self._next(tenant_id, seller_id, generation)
            raise

    async def _row(self, tenant_id: str, seller_id: str) -> asyncpg.Record:
        async with self._connections.statement("seller.begin") as connection:
            await connection.execute(
                """INSERT INTO seller_accounts (tenant_id, seller_id, create_time) VALUES ($1, $2, $3)
                   ON CONFLICT ON CONSTRAINT seller_accounts_pkey DO NOTHING""",
                tenant_id,
                seller_id,
                self._now(),
            )
            return await connection.fetchrow(
                f"SELECT {_COLUMNS} FROM seller_accounts WHERE tenant_id = $1 AND seller_id = $2",  # noqa: S608
                tenant_id,
                seller_id,
            )

    async def _record(self, tenant_id: str, seller_id: str, shown: Json) -> SellerAccount | None:
        """Mirror an account as Stripe shows it now; None if the seller has another by now."""
        account = seller_account(shown, seller_id=seller_id)
        try:
            async with self._connections.statement("seller.record") as connection:
                row = await connection.fetchrow(
                    f"""UPDATE seller_accounts SET stripe_account_id = $3, gone = false, charges_enabled = $4,
                            payouts_enabled = $5, transfers_enabled = $6, requirements_due = $7, observe_time = $8
                        WHERE tenant_id = $1 AND seller_id = $2
                            AND (stripe_account_id IS NULL OR stripe_account_id = $3)
                        RETURNING {_COLUMNS}""",  # noqa: S608 our own names
                    tenant_id,
                    seller_id,
                    account.stripe_account_id,
                    account.charges_enabled,
                    account.payouts_enabled,
                    account.transfers_enabled,
                    list(account.requirements_due),
                    self._now(),
                )
        except asyncpg.UniqueViolationError as error:
            if violated_constraint(error) != "seller_accounts_stripe_account_id":
                raise
            raise SellerExists(field="stripe_account_id") from error
        self._recent.drop(tenant_id, seller_id)
        return None if row is None else _account(row)

    async def _claim(self, tenant_id: str, seller_id: str, request_id: uuid.UUID, request_hash: bytes) -> None:
        """Remember what was asked under a request id; raise RequestIdReused if it was something else."""
        async with self._connections.statement("seller.claim") as connection:
            await connection.execute(
                """INSERT INTO calls (tenant_id, call_id, operation, request_id, request_hash, subject_type,
                       subject_id, params, state, create_time)
                   VALUES ($1, $2, 'seller.put', $3, $4, 'seller', $6, '{}', 'ANSWERED', $5)
                   ON CONFLICT ON CONSTRAINT calls_request DO NOTHING""",
                tenant_id,
                uuid.uuid4(),
                request_id,
                request_hash,
                self._now(),
                seller_id,
            )
            kept = await connection.fetchval(
                """SELECT request_hash FROM calls
                   WHERE tenant_id = $1 AND operation = 'seller.put' AND request_id = $2""",
                tenant_id,
                request_id,
            )
        if kept != request_hash:
            raise RequestIdReused(field="request_id")

    async def _lose(self, tenant_id: str, seller_id: str, stripe_account_id: str) -> None:
        """Keep that an account is gone at Stripe."""
        async with self._connections.statement("seller.lose") as connection:
            await connection.execute(
                """UPDATE seller_accounts SET gone = true, charges_enabled = false, payouts_enabled = false,
                       transfers_enabled = false, observe_time = $4
                   WHERE tenant_id = $1 AND seller_id = $2 AND stripe_account_id = $3""",
                tenant_id,
                seller_id,
                stripe_account_id,
                self._now(),
            )
        self._recent.drop(tenant_id, seller_id)

    async def _next(self, tenant_id: str, seller_id: str, generation: int, *, instead_of: str | None = None) -> None:
        """Begin the next generation, instead of an account that is gone or of a key that says no more.

        Nothing happens when another try has done so.
        """
        async with self._connections.statement("seller.next") as connection:
            await connection.execute(
                """UPDATE seller_accounts SET generation = generation + 1, stripe_account_id = NULL, gone = false
                   WHERE tenant_id = $1 AND seller_id = $2 AND generation = $3
                       AND stripe_account_id IS NOT DISTINCT FROM $4""",
                tenant_id,
                seller_id,
                generation,
                instead_of,
            )
        self._recent.drop(tenant_id, seller_id)


def _asked(seller_id: str, *, country_code: str, email: str) -> Json:
    """The platform answers for losses and fees, Stripe for the seller's papers; the seller sees Stripe's own pages."""
    return {
        "country": country_code,
        "email": email,
        "controller": {
            "fees": {"payer": "application"},
            "losses": {"payments": "application"},
            "stripe_dashboard": {"type": "express"},
        },
        "capabilities": {"card_payments": {"requested": True}, "transfers": {"requested": True}},
        "metadata": {"seller_id": seller_id},
    }


def _account(row: asyncpg.Record) -> SellerAccount:
    return SellerAccount(
        seller_id=row["seller_id"],
        stripe_account_id=row["stripe_account_id"],
        charges_enabled=row["charges_enabled"],
        payouts_enabled=row["payouts_enabled"],
        transfers_enabled=row["transfers_enabled"],
        requirements_due=tuple(row["requirements_due"]),
        gone=row["gone"],
    )
