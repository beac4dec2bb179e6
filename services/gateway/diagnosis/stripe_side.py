"""Reads what Stripe shows of a payment now, beside what is mirrored. Applies nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from services.errors import ServiceError
from services.gateway.checkout.domain import with_session
from services.gateway.diagnosis.records import AtStripe, AttemptSeen, Seen
from services.gateway.disputes.domain import Dispute
from services.gateway.intents.domain import Intent, IntentFacts, apply
from services.gateway.mirror.payment import MirroredPayment
from services.gateway.refunds.domain import ON_ITS_WAY, Refund, RefundFacts
from services.gateway.settlement.domain import NOT_AT_STRIPE, MovementState
from services.gateway.settlement.seen import MovedFacts
from services.gateway.stripe_api import stripe_ids
from services.gateway.stripe_api.calls.lists import Listed
from services.gateway.stripe_api.client import Provider
from services.gateway.stripe_api.intent_objects import attempt_facts
from services.gateway.stripe_api.metadata import PAYMENT_ID
from services.gateway.stripe_api.objects import disputes_in, metadata, part, refund_facts
from services.gateway.stripe_api.session_objects import intent_in, session_facts
from services.gateway.sync.movements import MovementReader
from services.runtime import crash_points
from services.shared.codec import Json
from services.shared.diagnosis import money

INTENTS: Final = Listed(
    path="/v1/payment_intents",
    of_type="payment_intent",
    prefixes=stripe_ids.INTENT,
    expand=("latest_charge", "payment_method"),
)
SETUPS: Final = Listed(
    path="/v1/setup_intents", of_type="setup_intent", prefixes=stripe_ids.SETUP_INTENT, expand=("payment_method",)
)


class StripeSide:
    """Reads payments at Stripe."""

    def __init__(self, provider: Provider, movements: MovementReader) -> None:
        self._provider = provider
        self._movements = movements

    async def read(self, payment: MirroredPayment) -> AtStripe:
        """Return what Stripe shows of a payment; where it does not answer, that and why."""
        try:
            return await crash_points.call("diagnosis.stripe", self._read(payment))
        except ServiceError as error:
            return AtStripe(problem=str(error))

    async def _read(self, payment: MirroredPayment) -> AtStripe:
        attempts: list[AttemptSeen] = []
        refunds: dict[str, RefundFacts] = {}
        disputes: dict[str, Dispute] = {}
        moved: dict[str, MovedFacts] = {}
        for intent in (one for _, one in sorted(payment.intents.items()) if one.is_made):
            shown, seen = await self._attempt(payment, intent)
            attempts.append(seen)
            if not shown:
                continue
            if intent.intent_id and stripe_ids.is_setup(intent.intent_id):
                continue
            refunds |= {
                facts.stripe_refund_id: facts
                for facts in map(refund_facts, await self._provider.refunds.of_intent(str(shown["id"])))
            }
            if charge := part(shown, "latest_charge"):
                found = await self._provider.disputes.of_charge(str(charge["id"]))
                captured_minor = intent.captured_minor
                for one in disputes_in(found, currency_code=payment.currency_code, captured_minor=captured_minor):
                    disputes[one.dispute_id] = one
                for each in await self._movements.shown(payment, intent.attempt, charge):
                    moved[each.stripe_id] = each
        counting = payment.observation.attempt
        counted = {one.stripe_refund_id for one in payment.refunds.values() if one.attempt != counting}
        return AtStripe(
            attempts=tuple(attempts),
            refunds=tuple(_refunds(payment.refunds.values(), refunds, payment.currency_code)),
            disputes=tuple(_disputes(payment, disputes)),
            movements=tuple(_movements(payment, moved)),
            refunded_minor=sum(
                one.amount_minor
                for one in refunds.values()
                if one.state in ON_ITS_WAY and one.stripe_refund_id not in counted
            ),
            disputed_minor=sum(one.withdrawn_minor for one in disputes.values()),
        )

    async def _attempt(self, payment: MirroredPayment, intent: Intent) -> tuple[Json, AttemptSeen]:
        """Return the intent of an attempt, if it has one, and how it stands beside what is mirrored."""
        stripe_id = intent.intent_id or intent.session_id
        now: Intent = intent
        shown: Json = {}
        if intent.is_page_to_be_read:
            session = await self._provider.sessions.retrieve(intent.session_id)
            now = with_session(intent, session_facts(session), currency_code=payment.currency_code)
            shown = intent_in(session)
        if not shown and intent.intent_id:
            listed = SETUPS if stripe_ids.is_setup(intent.intent_id) else INTENTS
            shown = await self._provider.lists.find(listed, intent.intent_id) or {}
            if not shown:
                return {}, AttemptSeen(attempt=intent.attempt, stripe_id=stripe_id, is_there=False)
        if not shown:
            return {}, _beside(intent, now, None, payment.currency_code)
        facts = attempt_facts(shown)
        after = apply(now, facts, currency_code=payment.currency_code)
        return shown, _beside(intent, after, facts, payment.currency_code, payment_id=metadata(shown, PAYMENT_ID))


def _beside(
    before: Intent, after: Intent, facts: IntentFacts | None, currency_code: str, *, payment_id: str = ""
) -> AttemptSeen:
    """Return an attempt as it is mirrored and as a reading would mirror it."""
    has_amount = facts is not None and not facts.is_setup
    return AttemptSeen(
        attempt=before.attempt,
        stripe_id=before.intent_id or before.session_id,
        payment_id=payment_id,
        state_here=_state(before),
        state=_state(after),
        asked=money(before.amount_minor, currency_code) if has_amount else "",
        amount=money(facts.amount_minor, facts.currency_code) if has_amount and facts is not None else "",
        captured_minor=after.captured_minor,
        capturable_minor=after.capturable_minor,
    )


def _state(intent: Intent) -> str:
    page = f", page {intent.session_state}" if intent.session_state is not None else ""
    return f"{intent.state}{page}"


def _refunds(ours: Iterable[Refund], theirs: Mapping[str, RefundFacts], currency_code: str) -> Iterator[Seen]:
    here = {one.stripe_refund_id: one for one in ours if one.stripe_refund_id}
    for stripe_id in dict.fromkeys((*here, *theirs)):
        one, other = here.get(stripe_id), theirs.get(stripe_id)
        yield Seen(
            stripe_id=stripe_id,
            ours="" if one is None else f"{money(one.amount_minor, currency_code)} {one.state}",
            theirs="" if other is None else f"{money(other.amount_minor, currency_code)} {other.state}",
            create_time=None if other is None else other.create_time,
        )


def _disputes(payment: MirroredPayment, theirs: Mapping[str, Dispute]) -> Iterator[Seen]:
    here = {one.dispute_id: one for intent in payment.intents.values() for one in intent.disputes}
    for dispute_id in dict.fromkeys((*here, *theirs)):
        other = theirs.get(dispute_id)
        yield Seen(
            stripe_id=dispute_id,
            ours=_dispute(here.get(dispute_id)),
            theirs=_dispute(other),
            create_time=None if other is None else other.create_time,
        )


def _dispute(one: Dispute | None) -> str:
    if one is None:
        return ""
    return f"{one.status}, {money(one.amount_minor, one.currency_code)}, {one.withdrawn_minor} withdrawn"


def _movements(payment: MirroredPayment, theirs: Mapping[str, MovedFacts]) -> Iterator[Seen]:
    """Compare what moved by Stripe's ids; what a charge alone names has its amount by that, and may have another."""
    made = [one for one in payment.movements.values() if one.state is MovementState.MADE]
    here = {one.stripe_id: one for one in made if one.kind not in NOT_AT_STRIPE}
    shown = {
        stripe_id: (f"{money(minor, one.currency_code)}", create_time)
        for one in theirs.values()
        for stripe_id, minor, create_time in (
            (one.stripe_id, one.amount_minor, one.create_time),
            *((back.stripe_id, back.amount_minor, back.create_time) for back in one.back),
        )
    }
    for stripe_id in dict.fromkeys((*here, *shown)):
        one, (text, create_time) = here.get(stripe_id), shown.get(stripe_id, ("", None))
        ours = "" if one is None else money(one.amount_minor, one.currency_code)
        is_same = one is not None and one.is_assumed and text
        yield Seen(stripe_id=stripe_id, ours=text if is_same else ours, theirs=text, create_time=create_time)
