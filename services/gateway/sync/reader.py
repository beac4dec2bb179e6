"""What is known of Stripe without a call of ours: readings, and the snapshots that webhooks bring."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from services.gateway.call_log.engine import WAIT_MAX_S, Calls
from services.gateway.checkout.claims import Claim
from services.gateway.errors import IntentNotFound, StripeRateLimited, StripeUnavailable
from services.gateway.intents.attempts import apply_page
from services.gateway.intents.domain import IntentFacts, advances, is_current
from services.gateway.mirror.observation import Observation
from services.gateway.mirror.payment import MirroredPayment
from services.gateway.mirror.store import Store
from services.gateway.stripe_api.client import Provider
from services.gateway.stripe_api.intent_objects import attempt_facts
from services.gateway.stripe_api.movement_objects import charge_facts, moved_facts
from services.gateway.stripe_api.objects import disputes_in, part, reference, refund_facts
from services.gateway.stripe_api.session_objects import intent_in
from services.gateway.sync.is_current import is_of_charge
from services.gateway.sync.movements import MovementReader
from services.runtime import crash_points
from services.runtime.database.lease import patience
from services.runtime.rpc import call_context
from services.shared.codec import Json
from services.shared.states import AttemptKind


class MirrorReader:
    """Keeps the mirror current. It works under the payment's lease, so that nothing overlaps."""

    def __init__(
        self,
        store: Store,
        calls: Calls,
        provider: Provider,
        movements: MovementReader,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._calls = calls
        self._provider = provider
        self._movements = movements
        self._now = now

    async def payment_of(self, tenant_id: str, stripe_id: str) -> str | None:
        """Return the payment that an intent of either kind, a session, charge or refund of Stripe's belongs to.

        It is the same for ever, so whoever saved it last need not ask.
        """
        recent = self._store.recent_of(tenant_id, stripe_id)
        return recent.payment_id if recent is not None else await self._store.payment_of(tenant_id, stripe_id)

    def recent_of(self, tenant_id: str, stripe_id: str) -> MirroredPayment | None:
        """Return the payment of something of Stripe's as this process saved it last, if it still knows."""
        return self._store.recent_of(tenant_id, stripe_id)

    async def mirror_of(self, tenant_id: str, stripe_id: str) -> MirroredPayment | None:
        """Return the payment that something of Stripe's belongs to (`payment_of`), as it was last known."""
        return await self._store.find(tenant_id, stripe_id)

    async def is_known(self, tenant_id: str, payment_id: str) -> bool:
        """Whether there is such a payment here."""
        return await self._store.read(tenant_id, payment_id) is not None

    async def resync(
        self,
        tenant_id: str,
        payment_id: str,
        *,
        origin: str,
        with_disputes: bool = False,
        with_movements: bool = False,
    ) -> Observation:
        """Read a payment's intents, refunds and disputes at Stripe and apply what they show.

        What is new is delivered, also when a caller asked: a caller that disconnects does not retry, and the webhook
        that follows finds nothing new. `origin` says what made us look. Disputes are read of each charge that ever had
        one, and `with_disputes` of each; transfers and fees where a charge has moved more than was seen or was refunded
        by no call of ours, and `with_movements` of each. Raises StripeUnavailable in silence.
        """
        observation, _ = await self.read_again(
            tenant_id, payment_id, origin=origin, with_disputes=with_disputes, with_movements=with_movements
        )
        return observation

    async def read_again(
        self,
        tenant_id: str,
        payment_id: str,
        *,
        origin: str,
        with_disputes: bool = False,
        with_movements: bool = False,
        claim: Claim | None = None,
    ) -> tuple[Observation, Json | None]:
        """Do as `resync`, and return the latest attempt's intent too, secrets included; nothing of a hosted page's.

        `claim` is of an intent that may be a page's which does not show it yet.
        """
        payment = await self._acquire(tenant_id, payment_id)
        before = payment.observation.mirror_version
        latest: Json | None = None
        async with self._store.leases.holding(payment):
            with suppress(StripeUnavailable):  # what stays unknown is observed as unknown, and the reading goes on
                await self._calls.settle_open(self._store, payment)
            for attempt in sorted(payment.intents):
                if not payment.intents[attempt].is_made:
                    continue
                known = frozenset(payment.refunds)
                shown = await self._read(payment, attempt, with_disputes=with_disputes, claim=claim)
                # Who refunds at the dashboard may have taken the seller's part back with it: what is seen of the one
                # alone would have that taken back once more.
                is_refunded = payment.refunds.keys() > known
                if with_movements or is_refunded or _moved_unseen(payment, attempt, shown):
                    await self._movements.read(payment, attempt, part(shown, "latest_charge"))
                latest = {} if payment.intents[attempt].session_id else shown
            if latest is None:
                raise IntentNotFound
            await self._save(payment, before, origin=origin)
        return payment.observation, latest

    async def bind(self, tenant_id: str, claim: Claim, *, origin: str) -> str | None:
        """Read the hosted page that an intent claims to be of, deliver what is new, and return its payment if it is."""
        payment = await self._store.read(tenant_id, claim.payment_id)
        page = payment.intents.get(claim.attempt) if payment is not None else None
        if page is None or page.kind is not AttemptKind.CHECKOUT_SESSION or page.intent_id:
            return None
        await self.read_again(tenant_id, claim.payment_id, origin=origin, claim=claim)
        return await self.payment_of(tenant_id, claim.intent_id)

    async def _read(self, payment: MirroredPayment, attempt: int, *, with_disputes: bool, claim: Claim | None) -> Json:
        """Mirror what Stripe shows of one attempt, and return its intent; nothing where there is none."""
        shown = await crash_points.call("observe.stripe", self._shown(payment, attempt, claim))
        if not shown:
            return shown
        payment.apply_intent(attempt, attempt_facts(shown))
        intent = payment.intents[attempt]
        intent_id = intent.intent_id
        # What is released of a hold counts as given back on its charge; without a capture there is nothing to refund.
        may_be_refunded = intent.captured_minor > 0 and intent.refunded_at_stripe_minor > 0
        if may_be_refunded or payment.has_refunds(attempt):
            for refund in reversed(await self._provider.refunds.of_intent(intent_id)):
                payment.apply_refund(attempt, refund_facts(refund))
        if intent.charge_id and (with_disputes or intent.disputed or intent.disputes):
            found = await self._provider.disputes.of_charge(intent.charge_id)
            disputes = disputes_in(found, currency_code=payment.currency_code, captured_minor=intent.captured_minor)
            payment.apply_disputes(attempt, disputes)
        for object_id, event_type in intent.notices:
            # The event that says it is over may be lost, and until then money waits.
            if await self._provider.radar.is_over(object_id):
                payment.notice(object_id, event_type, about=[intent_id], is_over=True)
        return shown

    async def _shown(self, payment: MirroredPayment, attempt: int, claim: Claim | None) -> Json:
        """Return the intent of an attempt as Stripe shows it now, after its page; nothing where there is none."""
        one = payment.intents[attempt]
        if one.is_page_to_be_read:
            session = await self._provider.sessions.retrieve(one.session_id)
            one = apply_page(payment, attempt, session)
            if intent := intent_in(session):
                return intent
        if one.intent_id:
            return await self._provider.intents.retrieve_attempt(one.intent_id)
        if claim is None or claim.attempt != attempt:
            return {}
        claimed = await self._provider.intents.retrieve_attempt(claim.intent_id)
        return claimed if claim.is_borne_out_by(claimed) else {}

    async def notice(
        self, tenant_id: str, payment_id: str, shown: Json, event_type: str, *, is_over: bool, origin: str
    ) -> bool:
        """Keep with a payment what an operator is to decide, or that this is over.

        An event that says it is not may come after the one that says it is, which left nothing behind. So Stripe is
        asked, under the lease that either event is applied under. False if it does not answer: then it is not over, as
        far as we know.
        """
        about = [one for one in (reference(shown, "payment_intent"), reference(shown, "charge")) if one]
        object_id, is_sure = str(shown["id"]), True
        payment = await self._acquire(tenant_id, payment_id)
        before = payment.observation.mirror_version
        async with self._store.leases.holding(payment):
            if not is_over:
                try:
                    is_over = await crash_points.call("observe.radar.stripe", self._provider.radar.is_over(object_id))
                except (StripeUnavailable, StripeRateLimited):
                    is_sure = False
            payment.notice(object_id, event_type, about=about, is_over=is_over)
            await self._save(payment, before, origin=origin)
        return is_sure

    async def change(
        self, tenant_id: str, payment_id: str, change: Callable[[MirroredPayment], None], *, origin: str
    ) -> MirroredPayment:
        """Change what is known of a payment without a reading, deliver it if that makes it another, and return it."""
        payment = await self._acquire(tenant_id, payment_id)
        before = payment.observation.mirror_version
        async with self._store.leases.holding(payment):
            change(payment)
            await self._save(payment, before, origin=origin)
        return payment

    async def apply_snapshot(self, tenant_id: str, payment_id: str, intent: Json, *, origin: str) -> Observation | None:
        """Apply an event's snapshot if it shows nothing new or only takes the intent further.

        None says that it does not: a tie, an older state or another amount is settled by `resync`.
        """
        facts = attempt_facts(intent)
        known = await self._store.read(tenant_id, payment_id)
        if known is not None and _is_current(known, facts):
            return known.observation
        payment = await self._acquire(tenant_id, payment_id)
        before = payment.observation.mirror_version
        async with self._store.leases.holding(payment):
            attempt = payment.intent_of(facts.intent_id)
            is_further = attempt is not None and advances(attempt, facts)
            applies = is_further or _is_current(payment, facts)
            if attempt is not None and is_further:
                payment.apply_intent(attempt.attempt, facts)
            await self._save(payment, before, origin=origin)
        return payment.observation if applies else None

    async def apply_booked(self, tenant_id: str, payment_id: str, charge: Json, *, origin: str) -> bool:
        """Apply what an event says that Stripe booked and moved with a charge; False if that is to be read instead."""
        facts = charge_facts(charge)
        if facts is None:
            return True
        payment = await self._acquire(tenant_id, payment_id)
        before = payment.observation.mirror_version
        async with self._store.leases.holding(payment):
            intent = payment.intent_of(reference(charge, "payment_intent"))
            if intent is not None:
                payment.apply_charge(intent.attempt, facts)
            is_all = intent is not None and not (facts.transfer_id and payment.lacks_movements(intent.attempt))
            await self._save(payment, before, origin=origin)
        return is_all

    async def apply_moved(self, tenant_id: str, payment_id: str, shown: Json, *, origin: str) -> bool:
        """Apply a transfer or a fee with what went back on it; False if more went back than an event shows."""
        facts = moved_facts(shown)
        payment = await self._acquire(tenant_id, payment_id)
        before = payment.observation.mirror_version
        async with self._store.leases.holding(payment):
            if facts.is_whole and not is_of_charge(payment, facts):
                await self._movements.apply(payment, facts)
            await self._save(payment, before, origin=origin)
        return facts.is_whole

    async def _acquire(self, tenant_id: str, payment_id: str) -> MirroredPayment:
        async def check() -> None:
            await self._store.require(tenant_id, payment_id)

        until = patience(wait_max_s=WAIT_MAX_S)
        payment = await self._store.leases.acquire((tenant_id, payment_id), until=until, check=check)
        call_context.about(payment_id, origin=payment.trace_context)
        return payment

    async def _save(self, payment: MirroredPayment, before: int, *, origin: str) -> None:
        is_new = payment.observation.mirror_version > before
        await self._store.save(
            payment,
            point="observe.record",
            now=self._now(),
            release=True,
            deliver=origin if is_new else None,
        )


def _moved_unseen(payment: MirroredPayment, attempt: int, intent: Json) -> bool:
    """Whether a charge is shown to have moved more than is known: one that was captured in parts."""
    return bool(reference(part(intent, "latest_charge"), "transfer")) and payment.lacks_movements(attempt)


def _is_current(payment: MirroredPayment, facts: IntentFacts) -> bool:
    intent = payment.intent_of(facts.intent_id)
    return intent is not None and is_current(intent, facts)
