"""The attempts of a held payment: what its payer pays with is made anew where it is over, of another kind, of another
timing than the payer chose, or of a price that does not stand any more.

Never are two attempts open. The one that is there is cancelled or expired at Stripe first, and Stripe's answer awaited;
while that is not known, none is made. The process may die

- before the old one is cancelled: nothing has changed, and the request is carried on;
- after that, before it is saved: what a cancelled attempt means was saved before, so whoever sees it next, by the same
  request or by its webhook, takes it for the payer's turn without an attempt;
- after the new price was taken: it was saved, under the number of its quote;
- before the new timing was saved: the payment has the one before and nothing to pay with, and what is made for whoever
  comes next is of that; the request that is carried on ends it once more. An old attempt that was paid has its timing;
- after that: what is made next is of the new timing, whoever has it made (`domain/timings.py`);
- after the new one was made, before that is saved: it has the number after the old one's, and a request id that is
  derived from it and from the bookings. Whoever goes on asks the gateway what there is first, and finds it; after a
  choice they end it and make another, since it may have been asked for with the timing before.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from batzen.pricing.v1 import pricing_pb2
from services.errors import FailedPrecondition, FieldInvalid, InvalidRequest, PeerUnavailable, ServiceError
from services.orchestrator.domain import timings, transitions
from services.orchestrator.domain.errors import AttemptOpen, PaymentState
from services.orchestrator.domain.payment import EXPIRABLE, OUTCOME_UNKNOWN, derived_id
from services.orchestrator.domain.plan import Plan, Request
from services.orchestrator.domain.price import Price
from services.orchestrator.domain.terms import Collection, Timing
from services.orchestrator.peers import Peers
from services.orchestrator.peers.refusals import ATTEMPT_OPEN, REQUEST_EXPIRED, REQUEST_ID_REUSED
from services.orchestrator.steps import Steps
from services.orchestrator.transition_outbox import TransitionOutbox
from services.orchestrator.unit_of_work import UnitOfWork
from services.orchestrator.wire.prices import price, quote_request
from services.runtime import crash_points
from services.shared.refusals import Refusal
from services.shared.states import AttemptKind, State

QUOTES_TRIED_MAX: Final = 3
"""Of one request. The next quote was made already where a request before died over it; it may have expired since."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What has to change before the payer can go on."""

    quote: pricing_pb2.Quote | None = None
    """Another one, where the payment's does not stand any more."""
    quote_number: int = 0
    is_new_price: bool = False
    """It says something else than what the attempt would charge."""

    @property
    def price(self) -> Price | None:
        """What the other quote says."""
        return None if self.quote is None else price(self.quote)


class Attempts:
    """Makes the attempts of payments that are under way."""

    def __init__(self, steps: Steps, outbox: TransitionOutbox, peers: Peers, *, now: Callable[[], datetime]) -> None:
        self._steps = steps
        self._outbox = outbox
        self._peers = peers
        self._now = now

    @asynccontextmanager
    async def changing(self, work: UnitOfWork) -> AsyncIterator[None]:
        """Have status record what came of the block, also where that is refused."""
        try:
            yield
        except (FailedPrecondition, InvalidRequest):
            await self._outbox.try_flush_outbox(work)
            raise
        await self._outbox.try_flush_outbox(work)

    async def look(
        self, work: UnitOfWork, *, point: str, collection: Collection | None = None, timing: Timing | None = None
    ) -> Change:
        """See how the attempt of a payment stands that waits for its payer, and whether its price does; change nothing.

        Raises `PaymentState` where it is not the payer's turn, `AttemptOpen` where that is not known, what the platform
        says of its bookings, what pricing and Stripe's limits refuse of a new price, `MetadataTooLarge` where it
        could not be collected as `collection` says, and `FieldInvalid` where `timing` is not the payer's to choose.
        """
        _refuse_unless_payers_turn(work)
        # A page ends by itself, and Stripe's word of it may be on its way, or lost: the payer would be sent nowhere.
        read = self._peers.gateway.sync_intent if _is_page(work.plan) else self._peers.gateway.intent
        seen = read(work.plan.payment_id)
        work.apply((await crash_points.call(f"{point}.look", seen)).observation)
        _refuse_unless_payers_turn(work)
        if timing is not None:
            self._refuse_unless_offered(work.plan, timing)
        await self._peers.bookings.check_payable(work.plan)
        if collection is not None:
            await self._refuse_too_much_metadata(work.plan, collection)
        change = await self._quoted(work.plan, point)
        if change.price is not None:
            try:
                await self._refuse_what_cannot_be_charged(change.price)
            except ServiceError:
                await self._let_go(work, change, point=point)
                raise
        return change

    async def renew(
        self, work: UnitOfWork, change: Change, request: Request, *, point: str, timing: Timing | None = None
    ) -> None:
        """See that the payer has an attempt to pay with, of the kind, the timing and the price that it has to have now.

        One that is open and right stays as it is. What `look` saw must have been saved with the request. Raises
        `AttemptOpen` when Stripe does not say that the old one is over, `PaymentState` when that took or holds money,
        which is applied, or when there never will be another.
        """
        plan, price_now = work.plan, change.price
        is_chosen = timing is not None and timing is not plan.terms.timing
        is_wrong = change.is_new_price or _is_page(plan) is not (plan.collection is Collection.CHECKOUT)
        is_wrong = is_wrong or is_chosen or not timings.is_proven(plan)
        if is_wrong and not plan.latest_snapshot.needs_attempt:
            try:
                await self._end_current(work, request, point=point)
            except FailedPrecondition:
                await self._let_go(work, change, point=point)
                raise
        if timing is not None and is_chosen:
            plan.terms, plan.course = timings.chosen(plan, timing, now=self._now())
            await work.save(f"{point}.timing", request=request)
        if price_now is not None:
            await self._take(work, change, price_now, request, point=point)
        if plan.latest_snapshot.needs_attempt:
            await self._begin(work, point=point)

    def _refuse_unless_offered(self, plan: Plan, timing: Timing) -> None:
        """Refuse what is not the payer's to choose. The timing that the payment has is no choice."""
        if timing is plan.terms.timing:
            return
        offered = [one for one in timings.open_to(plan) if not timings.is_over(plan.terms, one, self._now())]
        if timing not in offered:
            names = ", ".join(f"TIMING_{one}" for one in dict.fromkeys((plan.terms.timing, *offered)))
            raise FieldInvalid(field="timing", detail=f"must be one that the payer may choose: {names}")

    async def _quoted(self, plan: Plan, point: str) -> Change:
        """Return another quote where the payment's does not stand any more: the same for whoever asks next."""
        course = plan.course
        if course.quote_expire_time is None or course.quote_expire_time > self._now():
            return Change()
        for number in range(course.quote_count + 1, course.quote_count + 1 + QUOTES_TRIED_MAX):
            asked = quote_request(plan.quote_request, plan.payment_id, number=number)
            quote = await crash_points.call(f"{point}.quote", self._peers.pricing.create_quote(asked))
            price_now = price(quote)
            if price_now.expire_time is None or price_now.expire_time > self._now():
                return Change(quote=quote, quote_number=number, is_new_price=not plan.costs(price_now))
        raise PeerUnavailable(dependency="pricing")

    async def _refuse_too_much_metadata(self, plan: Plan, collection: Collection) -> None:
        wanted = replace(plan, course=replace(plan.course, collection=collection))
        self._steps.refuse_too_much_metadata(wanted, await self._peers.pricing.quote(plan.quote_id or ""))

    async def _refuse_what_cannot_be_charged(self, price_now: Price) -> None:
        self._steps.refuse_what_is_not_covered(price_now)
        problem = await self._peers.gateway.not_chargeable(price_now.total_minor, price_now.currency_code)
        if problem is not None:
            raise problem

    async def _end_current(self, work: UnitOfWork, request: Request, *, point: str) -> None:
        """Have the attempt cancelled or expired at Stripe. Afterwards the payer has nothing to pay with."""
        plan = work.plan
        plan.cancel_outcome = State.REQUIRES_PAYMENT_METHOD
        await work.save(f"{point}.replace", request=request)
        fact = f"step:replace:{plan.attempt}:{plan.mirror_version}:{plan.failures}"
        is_setup_theirs = plan.terms.timing is Timing.SCHEDULED  # what came late of a timing that was given up is not
        canceling = self._peers.gateway.cancel_intent(
            plan,
            request_id=str(derived_id(plan.payment_id, fact)),
            reason="UNSPECIFIED",
            unless_kept=is_setup_theirs,
        )
        try:
            work.apply((await crash_points.call(f"{point}.cancel", canceling)).observation)
        except Refusal as refusal:
            _logger.warning("%s keeps its attempt: %s %s", plan.payment_id, refusal.reason, refusal.metadata)
            sync = self._peers.gateway.sync_intent(plan.payment_id)
            work.apply((await crash_points.call(f"{point}.sync", sync)).observation)
        if plan.latest_snapshot.needs_attempt:
            return
        if plan.latest_snapshot.reason != OUTCOME_UNKNOWN:
            plan.cancel_outcome = None
        _refuse_unless_payers_turn(work)
        raise AttemptOpen

    async def _take(self, work: UnitOfWork, change: Change, price_now: Price, request: Request, *, point: str) -> None:
        """Charge what the new quote says from now on. The one before has expired, and holds nothing any more."""
        work.quote = change.quote
        work.price_anew(price_now, number=change.quote_number, priced_by=request.derived_id)
        await work.save(f"{point}.price", request=request)

    async def _let_go(self, work: UnitOfWork, change: Change, *, point: str) -> None:
        """Give back what a new quote holds that is not taken; the next one has another number."""
        plan, price_now = work.plan, change.price
        if price_now is None or not price_now.holds_uses:
            return
        releasing = self._peers.pricing.release_quote(payment_id=plan.payment_id, quote_id=price_now.quote_id)
        await crash_points.call(f"{point}.release", releasing)
        plan.course = replace(plan.course, quote_count=change.quote_number)

    async def _begin(self, work: UnitOfWork, *, point: str) -> None:
        """Make the next attempt: there is one of each number."""
        plan = work.plan
        try:
            made = await crash_points.call(f"{point}.gateway", self._steps.create_attempt(work))
        except Refusal as refusal:
            if refusal.reason in (ATTEMPT_OPEN, REQUEST_ID_REUSED):  # another one is being made, for a request before
                raise AttemptOpen from refusal
            if refusal.reason != REQUEST_EXPIRED:
                _logger.warning("%s gets no other attempt: %s %s", plan.payment_id, refusal.reason, refusal.metadata)
                code = refusal.reason.lower()
                work.enqueue(transitions.refused(plan.latest_snapshot, code), f"step:refused:{plan.attempt + 1}")
                work.end()
            raise PaymentState(state=plan.latest_snapshot.state) from refusal
        plan.cancel_outcome = None
        work.apply(made.observation)
        plan.terms = timings.proven(plan)
        work.client_secret, work.checkout_url = made.client_secret, made.checkout_url


def _is_page(plan: Plan) -> bool:
    return plan.attempt_kind is AttemptKind.CHECKOUT_SESSION


def _refuse_unless_payers_turn(work: UnitOfWork) -> None:
    latest = work.plan.latest_snapshot
    if latest.reason == OUTCOME_UNKNOWN:
        raise AttemptOpen
    if latest.collection not in EXPIRABLE:
        raise PaymentState(state=latest.state)
