"""The steps of a held payment: it starts, what was delivered is applied, it is cancelled or expires.

Everything that is asked of others carries an id derived from the payment, so asking twice is asking once.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Sequence
from typing import Final

from batzen.gateway.v1 import payer_pb2
from batzen.pricing.v1 import pricing_pb2
from services.errors import DependencyUnavailable, PeerUnavailable, ServiceError
from services.orchestrator.booking_claims import BookingClaims
from services.orchestrator.domain import policies, stripe_metadata, transitions
from services.orchestrator.domain.attempts import next_attempt
from services.orchestrator.domain.checkout_lines import CheckoutLine, PriceRow, checkout_lines
from services.orchestrator.domain.errors import (
    AmountNotChargeable,
    BookingHasPayment,
    BookingNotPayable,
    MetadataTooLarge,
    SellerNotFound,
    SellerNotPayable,
    SellerPartNotCovered,
)
from services.orchestrator.domain.payment import derived_id
from services.orchestrator.domain.plan import Plan, Request, Stage
from services.orchestrator.domain.price import Price
from services.orchestrator.domain.quote import QuoteState
from services.orchestrator.peers import Peers
from services.orchestrator.peers.gateway import GatewayAnswer
from services.orchestrator.peers.refusals import PAYMENT_EXISTS, REQUEST_EXPIRED, RevisionMoved, of_the_seller
from services.orchestrator.transition_outbox import TransitionOutbox
from services.orchestrator.unit_of_work import UnitOfWork
from services.orchestrator.wire.payments import delivered_observation, snapshot
from services.orchestrator.wire.prices import line_totals, price, rows
from services.runtime import crash_points
from services.shared.payment import Attention
from services.shared.refusals import Refusal
from services.shared.states import AttemptKind, AttentionReason, IntentState, State

PAID_FOR: Final = "Payment"
"""What a row of a hosted page is called of a payment without a name."""
REFUSALS: Final = (
    Refusal,
    SellerPartNotCovered,
    AmountNotChargeable,
    MetadataTooLarge,
    BookingHasPayment,
    BookingNotPayable,
    SellerNotFound,
    SellerNotPayable,
)
"""For which a start is refused for good."""

_logger = logging.getLogger(__name__)


class Steps:
    """Moves held payments."""

    def __init__(self, outbox: TransitionOutbox, peers: Peers, claims: BookingClaims) -> None:
        self._outbox = outbox
        self._peers = peers
        self.claims = claims

    async def quote(self, quote_request: bytes) -> pricing_pb2.Quote:
        """Have the lines of a start priced; the same bytes give the same quote."""
        return await crash_points.call("start.quote", self._peers.pricing.create_quote(quote_request))

    async def start(
        self, work: UnitOfWork, payer: payer_pb2.Payer | None, *, quoting: Awaitable[pricing_pb2.Quote] | None = None
    ) -> None:
        """Quote, create the intent, open: from whatever was reached to COLLECTING, or to the end of the plan.

        Each of the steps can be asked again and answers the same: the quote by its request id, the intent and the
        opened payment by ids derived from the payment. No money moves here. So nothing is saved in between: who goes
        on after a crash asks for all of it again, and hears from status how far the payment came (ADR 13).

        The payment is opened together with its first transition, once there is an intent that waits for a method.
        While the gateway does not answer it is opened without, and that is saved, so that it can be seen, and be
        recorded as stuck. Raises `Refusal` when pricing or status refuses what was asked for, `SellerPartNotCovered`
        when the seller would not get what the quote says, `AmountNotChargeable` when Stripe cannot charge it,
        `SellerNotFound` and `SellerNotPayable` of its sellers, `BookingHasPayment` and `BookingNotPayable` of its
        bookings; the plan ends there and no payment was opened. One that a try before had opened fails instead. If
        there is an intent, it takes no money: nobody has its secret.

        `quoting` is the quote of a start that was asked for already.

        A start that is too old when it gets here ends EXPIRED: no intent is made for it any more, and the payer's time
        with one that was made before, and of which nobody heard, is up.
        """
        plan = work.plan
        made: GatewayAnswer | Refusal | None = None
        try:
            work.quote = await (quoting or self.quote(plan.quote_request))
            price_now = price(work.quote)
            plan.take(price_now)
            self.refuse_what_is_not_covered(price_now)
            self.refuse_too_much_metadata(plan, work.quote)
            await self._refuse_what_cannot_be_charged(plan)
            await self.claims.check_held(plan)
            await self._peers.bookings.check_payable(plan)
            if plan.total_minor:
                made = await self._create_intent(work, payer)
            await self._open(work, made)
        except REFUSALS as refusal:
            if await self._was_opened(work, refusal):
                self._end_refused(work, refusal)
                return
            plan.stage = Stage.REFUSED
            if work.quote is not None:
                work.end_quote(QuoteState.RELEASED)
            raise
        if made is None:
            self._charge_nothing(work)
        elif isinstance(made, Refusal):
            self._end_refused(work, made)
        else:
            work.client_secret, work.checkout_url = made.client_secret, made.checkout_url
            work.begin_collecting(made.observation)
            self.apply_delivered(work)

    @staticmethod
    def refuse_what_is_not_covered(price_now: Price) -> None:
        """Raise `SellerPartNotCovered` where sellers are due something, and nothing is charged.

        What a charge does not cover of their parts the platform adds; without one there is nothing to transfer by.
        """
        if price_now.is_uncovered:
            raise SellerPartNotCovered(
                seller_share_minor=sum(line.seller_minor for line in price_now.split.lines if not line.is_platform)
            )

    async def _refuse_what_cannot_be_charged(self, plan: Plan) -> None:
        """Raise why Stripe cannot charge the total, unless the payment is open already: then it fails instead.

        It is open when a process that could not ask for the limits opened it, and died.
        """
        if not plan.total_minor:
            return
        problem = await self._peers.gateway.not_chargeable(plan.total_minor, plan.currency_code or "")
        if problem is not None and not await self._peers.status.is_open(plan.payment_id):
            raise problem

    def _charge_nothing(self, work: UnitOfWork) -> None:
        latest = work.plan.latest_snapshot
        if work.is_late and latest.collection is State.INITIALIZED:
            work.enqueue(transitions.start_expired(latest), "step:start_expired:1")
        else:
            work.enqueue(transitions.paid_nothing(latest), "step:nothing_to_pay:1")
        work.end()

    async def create_attempt(self, work: UnitOfWork, payer: payer_pb2.Payer | None = None) -> GatewayAnswer:
        """Have the gateway make the plan's next attempt. `payer` is known only while the starting call runs."""
        plan, gateway = work.plan, self._peers.gateway
        if next_attempt(plan).kind is not AttemptKind.CHECKOUT_SESSION:
            return await gateway.create_intent(plan, payer)
        quote = work.quote or await self._peers.pricing.quote(plan.quote_id or "")
        return await gateway.create_session(
            plan,
            payer,
            lines=await self._lines(plan, rows(quote)),
            metadata=stripe_metadata.of_session(plan, line_totals(quote)),
            expire_time=work.page_ends(),
        )

    async def _lines(self, plan: Plan, shown: Sequence[PriceRow]) -> Sequence[CheckoutLine]:
        """Return what a hosted page lists: what it collects, or nothing where it only keeps a method."""
        if next_attempt(plan).setup_only:
            return ()
        step_minor = await self._peers.gateway.step_minor(plan.currency_code or "")
        return checkout_lines(shown, plan.total_minor or 0, name=plan.session_name or PAID_FOR, step_minor=step_minor)

    @staticmethod
    def refuse_too_much_metadata(plan: Plan, quote: pricing_pb2.Quote) -> None:
        """Raise `MetadataTooLarge` where an attempt of the plan could not be given all that it has to say."""
        stripe_metadata.of_intent(plan)
        if next_attempt(plan).kind is AttemptKind.CHECKOUT_SESSION:
            stripe_metadata.of_session(plan, line_totals(quote))

    async def _create_intent(self, work: UnitOfWork, payer: payer_pb2.Payer | None) -> GatewayAnswer | Refusal:
        """Return the intent, or why there will never be one.

        Raises why a seller cannot be paid, unless the payment is open already: then it fails instead.
        """
        try:
            return await crash_points.call("start.gateway", self.create_attempt(work, payer))
        except Refusal as refusal:
            problem = of_the_seller(refusal)
            if problem is not None and not await self._peers.status.is_open(work.plan.payment_id):
                raise problem from refusal
            return refusal
        except DependencyUnavailable:
            if work.plan.revision == 0:
                await self._open(work, None)
                await work.save("start.opened")
            raise

    async def _open(self, work: UnitOfWork, made: GatewayAnswer | Refusal | None) -> None:
        """Open the payment, and go on from what status holds of it if it was opened before."""
        plan = work.plan
        first = None if made is None or isinstance(made, Refusal) else work.first_transition(made.observation)
        opening = self._peers.status.open_payment(plan, first)
        try:
            work.payment = await crash_points.call("start.open", opening)
        except RevisionMoved:  # it was opened before, and is past revision 1
            work.payment = await crash_points.call("start.open", self._peers.status.open_payment(plan, None))
        if work.payment.revision > max(plan.revision, 1) and not plan.pending:
            work.adopt(work.payment, snapshot(work.payment.snapshot))
        plan.revision = max(plan.revision, 1)

    async def _was_opened(self, work: UnitOfWork, refusal: ServiceError) -> bool:
        """Whether the payment of a start that is refused is open already, and everybody sees it: then it fails.

        It is open when a try before came further. It is refused now where pricing has lost the quote of that try, and
        makes another one, or none. All but the quote and its total is the same then; else it is somebody else's.
        """
        plan = work.plan
        if plan.revision == 0 and refusal.reason != PAYMENT_EXISTS:
            return False
        payment = await self._peers.status.payment(plan.payment_id)
        asked = (plan.payer_id, set(plan.seller_ids), plan.client_reference)
        if (payment.payer_id, set(payment.seller_ids), payment.client_reference) != asked:
            return False
        work.payment = payment
        if work.payment.revision > plan.revision and not plan.pending:
            work.adopt(work.payment, snapshot(work.payment.snapshot))
        return True

    def _end_refused(self, work: UnitOfWork, refusal: ServiceError) -> None:
        plan = work.plan
        if refusal.reason == REQUEST_EXPIRED:
            work.enqueue(transitions.start_expired(plan.latest_snapshot), "step:start_expired:1")
        else:
            # Its words may name what is Stripe's, and are not for the payer.
            _logger.warning("%s is not set up: %s %s", plan.payment_id, refusal.reason, refusal.metadata)
            code = refusal.reason.lower() or "refused"
            work.enqueue(transitions.refused(plan.latest_snapshot, code), "step:refused:1")
        work.end()

    def apply_delivered(self, work: UnitOfWork) -> None:
        """Apply what gateway and pricing have brought since the last time; before the start is done it waits."""
        plan = work.plan
        if plan.stage is Stage.STARTING:
            return
        if plan.observation is not None and plan.observed_version > plan.mirror_version:
            work.apply(delivered_observation(plan.observation))
        work.apply_quote_problem()

    async def park_if_stuck(self, work: UnitOfWork) -> None:
        """Record that what did not move for too long needs an operator; it is tried on all the same."""
        plan = work.plan
        if plan.failures < policies.PARKED_AFTER_TRIES or plan.latest_snapshot.is_stuck or plan.revision == 0:
            return
        if work.has_pending:
            await self._outbox.try_flush_outbox(work)  # its answer may have more than the plan
        attention = Attention(reason=AttentionReason.STUCK, detail=f"It did not move in {plan.failures} tries.")
        parked = transitions.parked(plan.latest_snapshot, attention)
        work.enqueue(parked, f"step:stuck:{plan.mirror_version}:{plan.revision}")
        await work.save("stuck.outcome")
        await self._outbox.try_flush_outbox(work)  # what is tried now may fail once more

    async def unpark_if_moving(self, work: UnitOfWork) -> None:
        """Record that what was stuck moves again, once all that was to be done on it is done and recorded."""
        plan = work.plan
        if plan.latest_snapshot.is_stuck:
            work.enqueue(transitions.moving(plan.latest_snapshot), f"step:moving:{plan.mirror_version}:{plan.revision}")
            await self._outbox.flush_outbox(work)

    async def cancel(
        self, work: UnitOfWork, *, cancel_outcome: State, reason: str, request: Request | None = None
    ) -> None:
        """Cancel the intent and with it the payment; if money was or may be taken, see what is true instead.

        Where a part of a hold was captured, what is left of it is released, and the payment has SUCCEEDED. What the
        cancelled intent will mean is saved first, since its webhook may be faster than our answer. The gateway keeps
        what came of a try under its request id, also that nothing did, so each try has an id of its own.
        Raises `DependencyUnavailable` when the intent can still be cancelled, and is not.
        """
        plan, point = work.plan, cancel_outcome.lower()
        if not _keeps_a_part(plan):
            plan.cancel_outcome = cancel_outcome
        else:
            plan.cancel_outcome = State.SUCCEEDED
        await work.save(f"{point}.begin", request=request)
        fact = f"step:{point}:{plan.attempt}:{plan.mirror_version}:{plan.failures}"
        request_id = str(derived_id(plan.payment_id, fact))
        try:
            canceling = self._peers.gateway.cancel_intent(plan, request_id=request_id, reason=reason)
            seen = (await crash_points.call(f"{point}.gateway", canceling)).observation
            work.apply(seen)
            if plan.latest_snapshot.needs_attempt and seen.intent_state is IntentState.CANCELED:
                # There was nothing to cancel any more, and this was known: its end is no news of the attempt's.
                work.enqueue(transitions.canceled(plan.latest_snapshot, cancel_outcome), fact)
                work.end()
        except Refusal as refusal:
            _logger.warning("%s is not cancelled: %s %s", plan.payment_id, refusal.reason, refusal.metadata)
            sync = self._peers.gateway.sync_intent(plan.payment_id)
            work.apply((await crash_points.call(f"{point}.sync", sync)).observation)
            if plan.cancel_outcome is not State.SUCCEEDED:  # or a try before released what was left
                plan.cancel_outcome = None
        if plan.latest_snapshot.is_cancelable:
            raise PeerUnavailable(dependency="gateway")


def _keeps_a_part(plan: Plan) -> bool:
    """Whether a cancel releases what is left of a hold: of what was paid otherwise nothing is let go by it."""
    is_held = plan.latest_snapshot.collection is State.AUTHORIZED or plan.cancel_outcome is State.SUCCEEDED
    return is_held and plan.latest_snapshot.amounts.captured_minor > 0
