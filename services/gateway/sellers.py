"""Sellers' accounts at Stripe: one each, made here or taken over, kept as last seen."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import asyncpg

from services.gateway.domain import SellerExists, SellerNotFound, SellerNotPayable, StripeUnavailable
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
        self, tenant_id: str, seller_id: str, *, country_code: str, email: str, stripe_account_id: str
    ) -> SellerAccount:
        """Return the seller's account, making it or taking `stripe_account_id` over when there is none."""
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
                account = await points.call(
                    "seller.create.stripe",
                    self._provider.create_account(
                        _asked(seller_id, country_code=country_code, email=email),
                        key=f"account.create:{row['call_id']}",
                    ),
                )
        except Unanswered as silence:
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

    async def account_updated(self, tenant_id: str, account: Mapping[str, Any], *, seen_time: datetime) -> bool:
        """Mirror an account as an event showed it, unless it was seen later; False if it is no seller's of ours."""
        async with self._held.statement("seller.seen") as connection:
            known = await connection.fetchval(
                """WITH seen AS (
                       UPDATE seller_accounts SET charges_enabled = $3, payouts_enabled = $4, requirements_due = $5,
                           seen_time = $6
                       WHERE tenant_id = $1 AND stripe_account_id = $2 AND (seen_time IS NULL OR seen_time <= $6))
                   SELECT count(*) FROM seller_accounts WHERE tenant_id = $1 AND stripe_account_id = $2""",
                tenant_id,
                str(account["id"]),
                *_seen(account),
                seen_time,
            )
        return bool(known)

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
                f"""UPDATE seller_accounts SET stripe_account_id = coalesce(stripe_account_id, $3),
                        charges_enabled = $4, payouts_enabled = $5, requirements_due = $6, seen_time = $7
                    WHERE tenant_id = $1 AND seller_id = $2 RETURNING {_COLUMNS}""",  # noqa: S608 our own names
                tenant_id,
                seller_id,
                str(account["id"]),
                *_seen(account),
                self._now(),
            )
        return _account(row)


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
