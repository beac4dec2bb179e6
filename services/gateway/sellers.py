"""Sellers' accounts at Stripe: one each, made here or taken over, kept as last seen."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import asyncpg

from services.errors import RequestIdReused
from services.gateway.domain import SellerExists, SellerNotFound, SellerNotPayable, StripeKeySpent, StripeUnavailable
from services.gateway.provider import Provider, Unanswered
from services.runtime import points
from services.runtime.database import HeldConnections, violated_constraint

_COLUMNS: Final = "seller_id, call_id, stripe_account_id, charges_enabled, payouts_enabled, requirements_due"


@dataclass(frozen=True, slots=True, kw_only=True)
class SellerAccount:
    """A seller's account, as last seen."""

    seller_id: str
    stripe_account_id: str
    charges_enabled: bool
    payouts_enabled: bool
    requirements_due: tuple[str, ...]


class Sellers:
    """Finds, makes and mirrors sellers' accounts."""

    def __init__(self, held: HeldConnections, provider: Provider, *, now: Callable[[], datetime]) -> None:
        self._held = held
        self._provider = provider
        self._now = now

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
        await self._claim(tenant_id, request_id, request_hash)
        row = await self._row(tenant_id, seller_id)
        known = row["stripe_account_id"]
        if known is not None:
            if stripe_account_id and stripe_account_id != known:
                raise SellerExists(field="stripe_account_id")
            return _account(row)
        try:
            if stripe_account_id:
                account = await points.call("seller.read.stripe", self._provider.retrieve_account(stripe_account_id))
            else:
                asked = _asked(seller_id, country_code=country_code, email=email)
                # What is asked is part of the key: Stripe refuses other details under the same one.
                key = f"account.create:{uuid.uuid5(row['call_id'], repr(asked))}"
                account = await points.call("seller.create.stripe", self._provider.create_account(asked, key=key))
        except Unanswered as silence:
            if silence.is_replay:
                await self._new_key(tenant_id, seller_id, row["call_id"])
                raise StripeKeySpent from silence
            raise StripeUnavailable from silence
        try:
            return await self._record(tenant_id, seller_id, account)
        except asyncpg.UniqueViolationError as error:
            if violated_constraint(error) != "seller_accounts_stripe_account_id":
                raise
            raise SellerExists(field="stripe_account_id") from error

    async def get(self, tenant_id: str, seller_id: str) -> SellerAccount:
        """Return the seller's account as last seen."""
        async with self._held.statement("seller.read") as connection:
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
        """Return the account of a seller who can be paid; one who could not be is looked at again first."""
        account = await self.get(tenant_id, seller_id)
        if not account.charges_enabled:
            try:
                seen = await self._provider.retrieve_account(account.stripe_account_id)
            except Unanswered as silence:
                raise StripeUnavailable from silence
            account = await self._record(tenant_id, seller_id, seen)
            if not account.charges_enabled:
                raise SellerNotPayable(field="seller_id")
        return account

    async def read_again(self, tenant_id: str, stripe_account_id: str) -> bool:
        """Mirror an account as it is at Stripe now; False if it is no seller's of ours.

        What an event shows is not taken: it is dated in whole seconds, and may be older than what was seen since.
        """
        async with self._held.statement(None) as connection:
            seller_id = await connection.fetchval(
                "SELECT seller_id FROM seller_accounts WHERE tenant_id = $1 AND stripe_account_id = $2",
                tenant_id,
                stripe_account_id,
            )
        if seller_id is None:
            return False
        try:
            account = await points.call("seller.read.stripe", self._provider.retrieve_account(stripe_account_id))
        except Unanswered as silence:
            raise StripeUnavailable from silence
        await self._record(tenant_id, seller_id, account)
        return True

    async def _row(self, tenant_id: str, seller_id: str) -> asyncpg.Record:
        async with self._held.statement("seller.begin") as connection:
            await connection.execute(
                """INSERT INTO seller_accounts (tenant_id, seller_id, call_id, create_time) VALUES ($1, $2, $3, $4)
                   ON CONFLICT ON CONSTRAINT seller_accounts_pkey DO NOTHING""",
                tenant_id,
                seller_id,
                uuid.uuid4(),
                self._now(),
            )
            return await connection.fetchrow(
                f"SELECT {_COLUMNS} FROM seller_accounts WHERE tenant_id = $1 AND seller_id = $2",  # noqa: S608
                tenant_id,
                seller_id,
            )

    async def _record(self, tenant_id: str, seller_id: str, account: Mapping[str, Any]) -> SellerAccount:
        async with self._held.statement("seller.record") as connection:
            row = await connection.fetchrow(
                f"""UPDATE seller_accounts SET stripe_account_id = $3,
                        charges_enabled = $4, payouts_enabled = $5, requirements_due = $6, seen_time = $7
                    WHERE tenant_id = $1 AND seller_id = $2
                        AND (stripe_account_id IS NULL OR stripe_account_id = $3)
                    RETURNING {_COLUMNS}""",  # noqa: S608 our own names
                tenant_id,
                seller_id,
                str(account["id"]),
                *_seen(account),
                self._now(),
            )
        if row is None:  # another request was first, with another account
            raise SellerExists(field="stripe_account_id")
        return _account(row)

    async def _claim(self, tenant_id: str, request_id: uuid.UUID, request_hash: bytes) -> None:
        """Remember what was asked under a request id; raise RequestIdReused if it was something else."""
        async with self._held.statement("seller.claim") as connection:
            await connection.execute(
                """INSERT INTO calls (tenant_id, call_id, operation, request_id, request_hash, payment_id, params,
                       state, create_time)
                   VALUES ($1, $2, 'seller.put', $3, $4, '', '{}', 'ANSWERED', $5)
                   ON CONFLICT ON CONSTRAINT calls_request DO NOTHING""",
                tenant_id,
                uuid.uuid4(),
                request_id,
                request_hash,
                self._now(),
            )
            kept = await connection.fetchval(
                """SELECT request_hash FROM calls
                   WHERE tenant_id = $1 AND operation = 'seller.put' AND request_id = $2""",
                tenant_id,
                request_id,
            )
        if kept != request_hash:
            raise RequestIdReused(field="request_id")

    async def _new_key(self, tenant_id: str, seller_id: str, call_id: uuid.UUID) -> None:
        """Let the next try use another key, since Stripe stored a failure under this one. An account holds no money."""
        async with self._held.statement("seller.key") as connection:
            await connection.execute(
                "UPDATE seller_accounts SET call_id = $4 WHERE tenant_id = $1 AND seller_id = $2 AND call_id = $3",
                tenant_id,
                seller_id,
                call_id,
                uuid.uuid4(),
            )


def _asked(seller_id: str, *, country_code: str, email: str) -> dict[str, Any]:
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


def _seen(account: Mapping[str, Any]) -> tuple[bool, bool, list[str]]:
    requirements = account.get("requirements") or {}
    due = [str(one) for one in requirements.get("currently_due") or ()]
    return bool(account.get("charges_enabled")), bool(account.get("payouts_enabled")), due


def _account(row: asyncpg.Record) -> SellerAccount:
    return SellerAccount(
        seller_id=row["seller_id"],
        stripe_account_id=row["stripe_account_id"],
        charges_enabled=row["charges_enabled"],
        payouts_enabled=row["payouts_enabled"],
        requirements_due=tuple(row["requirements_due"]),
    )
