"""What is seen at Stripe without a call of ours: readings and the snapshots that webhooks bring."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

from services.gateway import domain
from services.gateway.call_log.engine import Calls
from services.gateway.disputes.apply import apply_disputes
from services.gateway.domain import Facts, IntentNotFound, Observation, StripeUnavailable
from services.gateway.intents.operations import apply_intent
from services.gateway.intents.operations import observe as conclude
from services.gateway.mirror.store import MirroredPayment, Store
from services.gateway.refunds.operations import apply_refund
from services.gateway.stripe_api.client import Provider, facts_of
from services.gateway.webhooks.events import id_of
from services.runtime import crash_points

Json = Mapping[str, Any]


class MirrorReader:
    """Keeps the mirror true. Everything it does is done under the payment's lease, so nothing overlaps."""

    def __init__(self, store: Store, calls: Calls, provider: Provider, *, now: Callable[[], datetime]) -> None:
        self._store = store
        self._calls = calls
        self._provider = provider
        self._now = now

    async def payment_of(self, tenant_id: str, stripe_id: str) -> str | None:
        """Return the payment that an intent, charge or refund of Stripe's belongs to."""
        return await self._store.payment_of(tenant_id, stripe_id)

    async def mirror_of(self, tenant_id: str, stripe_id: str) -> MirroredPayment | None:
        """Return the payment that an intent, charge or refund of Stripe's belongs to, as it was last seen."""
        payment_id = await self._store.payment_of(tenant_id, stripe_id)
        return None if payment_id is None else await self._store.read(tenant_id, payment_id)

    async def resync(self, tenant_id: str, payment_id: str, *, origin: str, with_disputes: bool = False) -> Observation:
        """Read a payment's intents, refunds and disputes at Stripe and apply what is seen.

        What is new is delivered, also when a caller asked: one who goes away before the answer asks no second time, and
        the webhook that follows finds nothing new. `origin` says what made us look. Disputes are read of each charge
        that ever had one, and `with_disputes` of each. Raises StripeUnavailable in silence.
        """
        observation, _ = await self.read_again(tenant_id, payment_id, origin=origin, with_disputes=with_disputes)
        return observation

    async def read_again(
        self, tenant_id: str, payment_id: str, *, origin: str, with_disputes: bool = False
    ) -> tuple[Observation, Json | None]:
        """Do as `resync`, and return the latest attempt's intent too, secrets included."""
        held = await self._calls.acquire(tenant_id, payment_id)
        before = held.observation.mirror_version
        latest: Json | None = None
        async with self._calls.holding(held):
            with suppress(StripeUnavailable):  # what stays unknown is said to be, and the reading goes on
                await self._calls.settle_open(held)
            for attempt in sorted(held.intents):
                if not held.intents[attempt].intent_id:
                    continue
                latest = await self._read(held, attempt, with_disputes=with_disputes)
            if latest is None:
                raise IntentNotFound
            await self._save(held, before, origin=origin)
        return held.observation, latest

    async def _read(self, held: MirroredPayment, attempt: int, *, with_disputes: bool) -> Json:
        """Put what Stripe shows of one attempt into `held`, and return its intent."""
        intent_id = held.intents[attempt].intent_id
        shown = await crash_points.call("observe.stripe", self._provider.retrieve_intent(intent_id))
        apply_intent(held, attempt, shown)
        if held.intents[attempt].refunded_at_stripe_minor or _refunds_of(held, attempt):
            for refund in reversed(await self._provider.list_refunds(intent_id)):
                apply_refund(held, attempt, refund)
        intent = held.intents[attempt]
        if intent.charge_id and (with_disputes or intent.disputed or intent.disputes):
            apply_disputes(held, attempt, await self._provider.list_disputes(intent.charge_id))
        return shown

    async def notice(
        self, tenant_id: str, payment_id: str, shown: Json, event_type: str, *, is_over: bool, origin: str
    ) -> None:
        """Keep with a payment that Stripe said something about it that nothing is done about, or that this is over."""
        held = await self._calls.acquire(tenant_id, payment_id)
        before = held.observation.mirror_version
        named = (id_of(shown.get("payment_intent")), id_of(shown.get("charge")))
        async with self._calls.holding(held):
            about = next(
                (one for one in held.intents.values() if one.intent_id in named or one.charge_id in named), held.latest
            )
            if about is not None:
                held.intents[about.attempt] = domain.noticed(about, str(shown["id"]), event_type, is_over=is_over)
                conclude(held)
            await self._save(held, before, origin=origin)

    async def apply_snapshot(self, tenant_id: str, payment_id: str, intent: Json, *, origin: str) -> Observation | None:
        """Apply an event's snapshot if it shows nothing new or only takes the intent further.

        None says that it does not: a tie, an older state or another amount is settled by `resync`.
        """
        facts = facts_of(intent)
        seen = await self._store.read(tenant_id, payment_id)
        if seen is not None and _is_current(seen, facts):
            return seen.observation
        held = await self._calls.acquire(tenant_id, payment_id)
        before = held.observation.mirror_version
        async with self._calls.holding(held):
            known = next((one for one in held.intents.values() if one.intent_id == facts.intent_id), None)
            advances = known is not None and domain.advances(known, facts)
            applies = known is not None and (advances or domain.is_current(known, facts))
            if known is not None and advances:
                apply_intent(held, known.attempt, intent)
            await self._save(held, before, origin=origin)
        return held.observation if applies else None

    async def _save(self, held: MirroredPayment, before: int, *, origin: str) -> None:
        is_new = held.observation.mirror_version > before
        await self._store.save(
            held,
            point="observe.record",
            now=self._now(),
            release=True,
            deliver=origin if is_new else None,
        )


def _is_current(held: MirroredPayment, facts: Facts) -> bool:
    known = next((one for one in held.intents.values() if one.intent_id == facts.intent_id), None)
    return known is not None and domain.is_current(known, facts)


def _refunds_of(held: MirroredPayment, attempt: int) -> bool:
    return any(refund.attempt == attempt for refund in held.refunds.values())
