"""Sellers' accounts at Stripe: one each, made here or taken over, kept as last seen.

The key under which an account is made is of tenant, seller and generation, and of nothing that a lost commit could take
with it. An account that is gone at Stripe (deleted, or its seller took our access away) is kept as one that cannot be
paid, until another is put.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final

from services.gateway.contacts.domain import Contact
from services.gateway.errors import (
    SellerExists,
    SellerNotFound,
    SellerNotPayable,
    StripeKeySpent,
    StripeRefused,
    StripeUnavailable,
)
from services.gateway.personal.sealed import SealedDetails
from services.gateway.sellers.domain import Particulars, SellerAccount
from services.gateway.sellers.recent import RecentAccounts
from services.gateway.sellers.store import FIRST, SellerStore
from services.gateway.stripe_api import idempotency_keys
from services.gateway.stripe_api.account_objects import account_contact, seller_account
from services.gateway.stripe_api.client import Provider
from services.gateway.stripe_api.outcomes import Unanswered
from services.runtime import crash_points
from services.runtime.database.connections import DirectConnections
from services.runtime.process.clock import Clock
from services.runtime.work.kinds import WorkClass
from services.shared import codec
from services.shared.codec import Json

GONE: Final = frozenset({"account_invalid", "resource_missing"})
"""Codes with which Stripe refuses what names an account that is not there, or is closed to us."""
TRIES_MAX: Final = 4
"""Generations of one call: some that Stripe knows from before a lost commit."""

AccountChanged = Callable[[str, str], Awaitable[None]]
"""Told of a tenant's seller whose account was read at Stripe or is gone: what waited for it may go on."""


class Sellers:
    """Finds, makes and mirrors sellers' accounts."""

    def __init__(
        self,
        connections: DirectConnections,
        provider: Provider,
        details: SealedDetails,
        *,
        clock: Clock,
        wake: Callable[[WorkClass], None],
        changed: AccountChanged | None = None,
    ) -> None:
        """`changed` is told after what was seen is kept, at each reading: one that a crash took away comes again.

        `wake` is called when a notice became due.
        """
        self._store = SellerStore(connections, clock=clock, wake=wake)
        self._provider = provider
        self._details = details
        now = clock.now
        self._now: Callable[[], datetime] = now
        self._changed = changed
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
        particulars: Particulars,
    ) -> SellerAccount:
        """Return the seller's account, making it or taking `stripe_account_id` over when there is none.

        If the process dies in between, a repeat sends the same under the same key: Stripe makes one account.
        """
        await self._store.claim(tenant_id, seller_id, request_id, request_hash, particulars)
        self._recent.drop(tenant_id, seller_id)
        asked = _asked(seller_id, country_code=country_code, email=email)
        for _ in range(TRIES_MAX):
            slot = await self._store.begin(tenant_id, seller_id)
            known = slot.stripe_account_id
            if known is not None:
                is_another = stripe_account_id not in ("", known)
                if (slot.gone or is_another) and not await self._is_there(tenant_id, seller_id, known):
                    await self._next(tenant_id, seller_id, slot.generation, instead_of=known)
                    continue
                if is_another:
                    raise SellerExists(field="stripe_account_id")
                return await self.get(tenant_id, seller_id)
            if stripe_account_id:
                account: Json | None = await self._read(stripe_account_id)
            else:
                account = await self._make(tenant_id, seller_id, slot.generation, asked)
            recorded = None if account is None else await self._record(tenant_id, seller_id, account, reading=FIRST)
            if recorded is not None:
                return recorded
        raise StripeKeySpent

    async def get(self, tenant_id: str, seller_id: str, *, receipt_time: datetime | None = None) -> SellerAccount:
        """Return the seller's account as last seen; with `receipt_time` called as it is on a receipt of then."""
        account = await self._store.find(tenant_id, seller_id, receipt_time=receipt_time)
        if account is None:
            raise SellerNotFound(field="seller_id", seller_id=seller_id)
        return account

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
            raise SellerNotPayable(field="seller_id", seller_id=seller_id, missing=account.missing)
        return account

    async def contact(self, tenant_id: str, seller_id: str) -> Contact | None:
        """Return how a seller is reached, by its account as last seen; None if there is none, or it is gone.

        An account of which that is not kept is read.
        """
        kept = await self._store.contact(tenant_id, seller_id)
        if kept is None or kept.gone:
            return None
        opened = await self._details.opened(tenant_id, seller_id, kept.sealed)
        if opened is None:
            await self.read_again(tenant_id, kept.stripe_account_id)
            kept = await self._store.contact(tenant_id, seller_id)
            opened = None if kept is None else await self._details.opened(tenant_id, seller_id, kept.sealed)
        return None if opened is None else codec.from_json(Contact, opened)

    async def seller_of(self, tenant_id: str, stripe_account_id: str) -> str | None:
        """Return whose account this is; None if it is no seller's of ours."""
        return await self._store.seller_of(tenant_id, stripe_account_id)

    async def read_again(self, tenant_id: str, stripe_account_id: str) -> bool:
        """Mirror an account as it is at Stripe now; False if it is no seller's of ours.

        What an event shows is not taken: it is dated in whole seconds, and may be older than what was seen since.
        Readings may overlap, a payment's and an event's: what began before the one that is kept changes nothing.
        """
        reading = await self._store.begin_reading(tenant_id, stripe_account_id)
        if reading is None:
            return False
        try:
            account = await self._read(stripe_account_id)
        except StripeRefused as refusal:
            if refusal.metadata.get("code") not in GONE:
                raise
            await self._store.lose(tenant_id, stripe_account_id, reading)
            await self._written(tenant_id, reading.seller_id)
        else:
            await self._record(tenant_id, reading.seller_id, account, reading=reading.number)
        return True

    async def _is_there(self, tenant_id: str, seller_id: str, stripe_account_id: str) -> bool:
        """Whether the account of a seller of ours can be read at Stripe."""
        await self.read_again(tenant_id, stripe_account_id)
        slot = await self._store.begin(tenant_id, seller_id)
        return slot.stripe_account_id == stripe_account_id and not slot.gone

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

    async def _record(self, tenant_id: str, seller_id: str, shown: Json, *, reading: int) -> SellerAccount | None:
        """Mirror an account as Stripe shows it; None if the seller has another by now."""
        contact = await self._details.sealed(tenant_id, seller_id, codec.to_json(account_contact(shown)))
        recorded = await self._store.record(
            tenant_id, seller_account(shown, seller_id=seller_id), contact=contact, reading=reading
        )
        await self._written(tenant_id, seller_id)
        return recorded

    async def _next(self, tenant_id: str, seller_id: str, generation: int, *, instead_of: str | None = None) -> None:
        await self._store.next(tenant_id, seller_id, generation, instead_of=instead_of)
        self._recent.drop(tenant_id, seller_id)

    async def _written(self, tenant_id: str, seller_id: str) -> None:
        self._recent.drop(tenant_id, seller_id)
        if self._changed is not None:
            await self._changed(tenant_id, seller_id)


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
