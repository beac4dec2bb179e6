"""Moves a held payment: starts it, applies what was seen, has status record it, ends what was abandoned.

What survives a crash at any line: the plan and the outbox are saved before anything is asked of others that could not
be asked again; everything that is asked carries an id derived from the payment, so asking twice is asking once. Whoever
takes the payment after the lease of a dead process goes on from what was saved.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from batzen.gateway.v1 import observation_pb2, payer_pb2
from batzen.pricing.v1 import pricing_pb2
from batzen.status.v1 import status_pb2
from services.errors import DependencyUnavailable, PeerUnavailable, ServiceError
from services.orchestrator import domain
from services.orchestrator.domain import Attention, Observation, Snapshot
from services.orchestrator.peers import REQUEST_EXPIRED, Peers, Refused, RevisionMoved, observation, snapshot
from services.orchestrator.store import LeaseLost, Plan, Request, Store, Transition
from services.runtime import crash_points
from services.runtime.work.kinds import problem_of
from services.runtime.work.waiting_room import WaitingRoom

RENEW_EVERY_S: Final = domain.LEASE.total_seconds() / 3

_logger = logging.getLogger(__name__)


class UnitOfWork:
    """A held payment on its way: its plan, and what this holder learned and has not saved yet."""

    def __init__(self, plan: Plan, *, waits_until: Callable[[], datetime | None] = lambda: None) -> None:
        """Move `plan`; `waits_until` says how long a payer is waited for who gives a sign of life now."""
        self.plan = plan
        self._waits_until = waits_until
        self.added: list[Transition] = []
        self.recorded: list[Transition] = []
        self.rejection: tuple[Transition, str] | None = None
        self.quote_state: str | None = None
        """What has become of the quote, if that is new."""
        self.quote_operator_notified = False
        """Whether an operator is notified of what pricing answered."""
        self.payment: status_pb2.Payment | None = None
        """As status last answered."""
        self.quote: pricing_pb2.Quote | None = None
        self.client_secret = ""
        self.renewal = asyncio.Lock()
        """Held while the lease is renewed or let go, so that no renewal comes after the end."""
        self.released = False

    @property
    def has_pending(self) -> bool:
        """Whether status has not heard everything yet."""
        return bool(self.pending)

    @property
    def pending(self) -> list[Transition]:
        """What status has not heard yet, the oldest first."""
        return [transition for transition in [*self.plan.pending, *self.added] if transition not in self.recorded]

    def enqueue(self, snapshot: Snapshot, fact: str) -> None:
        """Put what is true now into the outbox; `fact` names what made it so."""
        pending = [*self.plan.pending, *self.added]
        request_id = domain.derived_id(self.plan.payment_id, fact)
        if any(one.request_id == request_id for one in pending):
            # It is so once more, before status has recorded the first time: another revision.
            fact = f"{fact}:{self.plan.revision}:{len(pending)}"
            request_id = domain.derived_id(self.plan.payment_id, fact)
        self.added.append(Transition(request_id=request_id, fact=fact, snapshot=snapshot))
        if domain.is_sign_of_life(self.plan.latest_snapshot, snapshot):
            self.keep_alive()
        self.plan.latest_snapshot = snapshot
        self.end_quote(domain.quote_state(self.plan.quote_state, snapshot.collection))

    def keep_alive(self) -> None:
        """Wait for the payer anew: they gave a sign of life, or the turn came back to them."""
        plan = self.plan
        until = self._waits_until()
        if plan.stage == "COLLECTING" and until is not None:
            plan.expire_time = until if plan.expire_time is None else max(plan.expire_time, until)

    def adopt(self, payment: status_pb2.Payment) -> None:
        """Go on from what status holds of a payment that a plan of which nothing is left has moved before."""
        self.plan.revision, self.plan.latest_snapshot = payment.revision, snapshot(payment.snapshot)
        self.end_quote(domain.quote_state(self.plan.quote_state, self.plan.latest_snapshot.collection))

    def end_quote(self, state: str | None) -> None:
        """Put into the outbox what has become of the quote, if that is new; pricing hears it in its own time."""
        if state != self.plan.quote_state:
            self.quote_state = self.plan.quote_state = state

    def apply_first(self, seen: Observation) -> None:
        """Say what follows from an intent that was just made: it waits for a method, whatever has come of it since."""
        if self.plan.latest_snapshot.collection != domain.INITIALIZED:
            pass  # it was made long ago, for a plan of which nothing is left
        elif seen.intent_state == "REQUIRES_PAYMENT_METHOD":
            # Nobody had the secret yet, so no call on it but the one that made it can be unanswered.
            seen = replace(seen, outcome_unknown=False)
        else:
            self.enqueue(domain.opened(self.plan.latest_snapshot, attempt=seen.attempt), f"step:intent:{seen.attempt}")
        self.apply(seen)

    def apply(self, seen: Observation) -> None:
        """Say what follows from an observation, unless it is not newer than the last that was applied."""
        plan = self.plan
        if seen.mirror_version <= plan.mirror_version:
            return
        plan.mirror_version = seen.mirror_version
        snapshot = domain.observed(plan.latest_snapshot, seen, cancel_outcome=plan.cancel_outcome)
        if domain.says_something_new(plan.latest_snapshot, snapshot):
            self.enqueue(snapshot, f"mirror:{seen.mirror_version}")
        if snapshot.collection == domain.SUCCEEDED or snapshot.collection in domain.ENDED_WITHOUT_MONEY:
            plan.stage, plan.expire_time = "ENDED", None


class Driver:
    """Moves held payments."""

    def __init__(self, store: Store, peers: Peers, *, abandoned_after: timedelta, now: Callable[[], datetime]) -> None:
        self._store = store
        self._peers = peers
        self._abandoned_after = abandoned_after
        self._now = now
        self.room = WaitingRoom()
        """Those who wait for a payment of (tenant, payment)."""

    @asynccontextmanager
    async def holding(self, plan: Plan) -> AsyncIterator[UnitOfWork]:
        """Keep the lease while inside. On an error let the payment go, to be looked at again soon."""
        work = UnitOfWork(plan, waits_until=partial(self.waits_until, plan))
        renewing = asyncio.create_task(self._renew(work))
        try:
            yield work
        except LeaseLost:
            # Somebody else goes on with it from what was saved; the caller may ask them.
            raise DependencyUnavailable(dependency="lease") from None
        except asyncio.CancelledError:
            await self._let_go(work)
            raise
        except Exception as error:
            plan.failures += 1
            await self._let_go(work, error, delay=domain.retry_delay(plan.failures))
            raise
        finally:
            renewing.cancel()
            self.room.wake((plan.tenant_id, plan.payment_id))

    def waits_until(self, plan: Plan) -> datetime:
        """Return how long the payer of a plan is waited for if they give a sign of life now."""
        return min(self._now() + self._abandoned_after, plan.create_time + domain.life_max(self._abandoned_after))

    def _is_late(self, plan: Plan) -> bool:
        return plan.expire_time is not None and plan.expire_time <= self._now()

    async def hear_from_payer(self, plan: Plan) -> None:
        """Wait anew for a payer who reads a payment that nobody holds, if it moves the end far enough to be written."""
        until = self.waits_until(plan)
        is_turn = plan.stage == "COLLECTING" and plan.latest_snapshot.collection in domain.EXPIRABLE
        if is_turn and domain.is_worth_writing(plan.expire_time, until, abandoned_after=self._abandoned_after):
            await self._store.keep_alive(plan, expire_time=until)

    async def start(self, work: UnitOfWork, payer: payer_pb2.Payer | None) -> None:
        """Quote, open, create the intent: from whatever was reached to COLLECTING, or to the end of the plan.

        Each of the steps can be asked again and answers the same: the quote by its request id, the opened payment and
        the intent by ids derived from the payment. No money moves here. That the payment was opened is saved when the
        next step fails, so that it can be said to be stuck. Raises `Refused` when pricing or status refuses what was
        asked for, `SellerPartNotCovered` when the seller would not get what the quote says, `AmountNotChargeable` when
        Stripe cannot charge it; the plan ends there and no payment was opened.

        A start that is too old when it gets here ends EXPIRED: no intent is made for it any more, and the payer's time
        with one that was made before, and of which nobody heard, is up.
        """
        plan = work.plan
        try:
            quote = await crash_points.call("start.quote", self._peers.create_quote(plan.quote_request))
            work.quote = quote
            plan.quote_id, plan.currency_code = quote.quote_id, quote.currency_code
            plan.total_minor = quote.total.amount_minor
            plan.platform_fee_minor = sum(seller.platform_share_minor for seller in quote.sellers)
            if plan.platform_fee_minor < 0:  # the seller gets what is charged less the fee, and never more
                raise domain.SellerPartNotCovered(platform_share_minor=plan.platform_fee_minor)
            await self._refuse_what_cannot_be_charged(plan)
            work.payment = await crash_points.call("start.open", self._peers.open_payment(plan))
        except (Refused, domain.SellerPartNotCovered, domain.AmountNotChargeable):
            plan.stage = "REFUSED"
            if work.quote is not None:
                work.end_quote(domain.RELEASED)
            raise
        is_first_time = plan.revision == 0
        if work.payment.revision > max(plan.revision, 1) and not plan.pending:
            work.adopt(work.payment)
        plan.revision = max(plan.revision, 1)
        if plan.total_minor == 0:
            if self._is_late(plan) and plan.latest_snapshot.collection == domain.INITIALIZED:
                work.enqueue(domain.start_expired(plan.latest_snapshot), "step:start_expired:1")
            else:
                work.enqueue(domain.paid_nothing(plan.latest_snapshot), "step:nothing_to_pay:1")
            plan.stage, plan.expire_time = "ENDED", None
        else:
            try:
                await self._create_intent(work, payer)
            except DependencyUnavailable:
                if is_first_time:
                    await self.save(work, "start.opened")
                raise
            self.apply_delivered(work)
        await self.save(work, "start.intent")

    async def _refuse_what_cannot_be_charged(self, plan: Plan) -> None:
        """Raise why Stripe cannot charge the total, unless the payment is open already: then it fails instead.

        It is open when a process that could not ask for the limits opened it, and died.
        """
        if not plan.total_minor:
            return
        problem = await self._peers.not_chargeable(plan.total_minor, plan.currency_code or "")
        if problem is not None and not await self._peers.is_open(plan.payment_id):
            raise problem

    async def _create_intent(self, work: UnitOfWork, payer: payer_pb2.Payer | None) -> None:
        plan = work.plan
        try:
            seen = await crash_points.call("start.gateway", self._peers.create_intent(plan, payer))
        except Refused as refusal:
            if refusal.reason == REQUEST_EXPIRED:
                work.enqueue(domain.start_expired(plan.latest_snapshot), "step:start_expired:1")
            else:
                # Its words may name what is Stripe's, and are not for the payer.
                _logger.warning("%s is not set up: %s %s", plan.payment_id, refusal.reason, refusal.metadata)
                work.enqueue(
                    domain.refused(plan.latest_snapshot, refusal.reason.lower() or "refused"), "step:refused:1"
                )
            plan.stage, plan.expire_time = "ENDED", None
            return
        is_late = self._is_late(plan)
        plan.attempt += 1
        plan.stage, plan.expire_time = "COLLECTING", self.waits_until(plan)
        work.client_secret = seen.client_secret
        work.apply_first(seen.observation)
        if is_late and plan.stage == "COLLECTING":
            plan.expire_time = self._now()

    def apply_delivered(self, work: UnitOfWork) -> None:
        """Apply what gateway and pricing have brought since the last time; before the start is done it waits."""
        plan = work.plan
        if plan.stage == "STARTING":
            return
        if plan.observation is not None and plan.observed_version > plan.mirror_version:
            work.apply(observation(observation_pb2.PaymentObservation.FromString(plan.observation)))
        if plan.quote_problem is not None:
            if plan.revision > 0:  # a payment that was never opened has nobody who looks
                work.enqueue(
                    domain.quote_problem(plan.latest_snapshot, plan.quote_problem), f"quote:{plan.quote_unheard}"
                )
            work.quote_operator_notified, plan.quote_problem = True, None

    async def park_if_stuck(self, work: UnitOfWork) -> None:
        """Say that what did not move for too long needs an operator; it is tried on all the same."""
        plan = work.plan
        if plan.failures < domain.PARKED_AFTER_TRIES or plan.latest_snapshot.is_stuck or plan.revision == 0:
            return
        attention = Attention(reason=domain.STUCK, detail=f"It did not move in {plan.failures} tries.")
        work.enqueue(
            domain.parked(plan.latest_snapshot, attention), f"step:stuck:{plan.mirror_version}:{plan.revision}"
        )
        await self.save(work, "stuck.outcome")
        await self.try_flush_outbox(work)  # what is tried now may fail once more

    async def unpark_if_moving(self, work: UnitOfWork) -> None:
        """Say that what was stuck moves again, once all that was to be done on it is done and recorded."""
        plan = work.plan
        if plan.latest_snapshot.is_stuck:
            work.enqueue(domain.moving(plan.latest_snapshot), f"step:moving:{plan.mirror_version}:{plan.revision}")
            await self.flush_outbox(work)

    async def end_if_due(self, work: UnitOfWork) -> None:
        """Expire what its payer abandoned, give up what is declined for good, and look again at what takes too long."""
        plan = work.plan
        if plan.stage != "COLLECTING":
            return
        is_late = self._is_late(plan)
        if plan.latest_snapshot.collection not in domain.EXPIRABLE:
            if is_late:
                seen = await crash_points.call("late.sync", self._peers.sync_intent(plan.payment_id))
                work.apply(seen.observation)
            return
        if domain.is_given_up(plan.latest_snapshot):
            await self.cancel(work, cancel_outcome=domain.FAILED, reason="FRAUDULENT")
        elif is_late:
            await self.cancel(work, cancel_outcome=domain.EXPIRED, reason="ABANDONED")

    async def cancel(
        self, work: UnitOfWork, *, cancel_outcome: str, reason: str, request: Request | None = None
    ) -> None:
        """Cancel the intent and with it the payment; if money was or may be taken, see what is true instead.

        What the cancelled intent will mean is saved first, since its webhook may be faster than our answer. The
        gateway keeps what came of a try under its request id, also that nothing did, so each try has an id of its own.
        Raises `DependencyUnavailable` when the intent can still be cancelled, and is not.
        """
        plan = work.plan
        plan.cancel_outcome = cancel_outcome
        await self.save(work, f"{cancel_outcome.lower()}.begin", request=request)
        fact = f"step:{cancel_outcome.lower()}:{plan.attempt}:{plan.mirror_version}:{plan.failures}"
        request_id = str(domain.derived_id(plan.payment_id, fact))
        try:
            seen = await crash_points.call(
                f"{cancel_outcome.lower()}.gateway",
                self._peers.cancel_intent(plan, request_id=request_id, reason=reason),
            )
            work.apply(seen.observation)
        except Refused as refusal:
            _logger.warning("%s is not called off: %s %s", plan.payment_id, refusal.reason, refusal.metadata)
            seen = await crash_points.call(f"{cancel_outcome.lower()}.sync", self._peers.sync_intent(plan.payment_id))
            work.apply(seen.observation)
            plan.cancel_outcome = None
        if plan.latest_snapshot.is_cancelable:
            raise PeerUnavailable(dependency="gateway")

    async def flush_outbox(self, work: UnitOfWork) -> None:
        """Send the outbox to status, oldest first; nothing is sent that is not saved.

        Raises `DependencyUnavailable` and keeps the rest when status is away. What status refuses for good is
        rejected and needs an operator; what comes later is still sent.
        """
        if work.added:
            await self.save(work, "say.outbox")
        for transition in work.pending:
            await self._record(work, transition)
        if work.plan.rejected:
            await self._notify_operator(work)

    async def try_flush_outbox(self, work: UnitOfWork) -> None:
        """Send the outbox as far as status can be reached; whoever holds the payment next sends the rest."""
        try:
            await self.flush_outbox(work)
        except DependencyUnavailable:
            _logger.warning("status does not hear of %s yet", work.plan.payment_id)

    async def _record(self, work: UnitOfWork, transition: Transition) -> None:
        """Have status record a transition, or reject it if status refuses it for good."""
        plan = work.plan
        try:
            try:
                answer = await crash_points.call("say.status", self._peers.record(plan, transition))
            except RevisionMoved as moved:
                # Nobody but us writes, so the answer to an earlier one of ours was lost. Saving makes sure that it
                # still is ours to go on.
                plan.revision = moved.current_revision
                await self.save(work, "say.revision")
                answer = await crash_points.call("say.status", self._peers.record(plan, transition))
        except Refused as refusal:
            if refusal.status == "NOT_FOUND":
                raise PeerUnavailable(dependency="status") from refusal  # it was opened: status lost something
            _logger.error("status refused %s of %s: %s", transition.fact, plan.payment_id, refusal.reason)
            work.rejection = (transition, refusal.reason)
            plan.rejected.append(transition.fact)
            await self.save(work, "say.refused")
            return
        plan.revision = max(plan.revision, answer.transition.revision)
        work.payment = answer.payment
        work.recorded.append(transition)

    async def _notify_operator(self, work: UnitOfWork) -> None:
        """Say that something was refused, on the ground of what status holds for true."""
        plan = work.plan
        truth = await self._peers.payment(plan.payment_id)
        # What asks for an operator is ours to keep, whether status has it or not.
        plan.revision, plan.latest_snapshot = (
            truth.revision,
            replace(snapshot(truth.snapshot), attentions=plan.latest_snapshot.attentions),
        )
        attention = Attention(reason=domain.TRANSITION_REFUSED, detail=f"Status refused {', '.join(plan.rejected)}.")
        work.enqueue(domain.parked(plan.latest_snapshot, attention), f"refused:{plan.rejected[-1]}")
        plan.rejected = []
        await self.save(work, "say.parked", operator_notified=True)
        await self._record(work, work.pending[-1])
        if plan.rejected:  # that, too: it is asked again, ever more seldom
            raise PeerUnavailable(dependency="status")

    async def save(
        self,
        work: UnitOfWork,
        point: str,
        *,
        operator_notified: bool = False,
        request: Request | None = None,
        release: bool = False,
    ) -> None:
        """Keep what was decided and learned so far; with `release` let the payment go, due when its plan says."""
        plan, rejection = work.plan, work.rejection
        async with work.renewal:
            if release:
                work.released = True
                plan.failures = 0
                plan.due_time, plan.work_class = self._due(work)
            await self._store.save(
                plan,
                point=point,
                now=self._now(),
                added=work.added,
                recorded=[transition.request_id for transition in work.recorded],
                rejection=(rejection[0].request_id, rejection[1]) if rejection else None,
                operator_notified=operator_notified,
                quote_state=work.quote_state,
                quote_operator_notified=work.quote_operator_notified,
                request=request,
                release=release,
            )
        gone = [*work.recorded, *([rejection[0]] if rejection else [])]
        plan.pending = [transition for transition in [*plan.pending, *work.added] if transition not in gone]
        work.added, work.recorded, work.rejection = [], [], None
        work.quote_state, work.quote_operator_notified = None, False

    def _due(self, work: UnitOfWork) -> tuple[datetime | None, str]:
        """Return when somebody has to look at a payment again that is let go in order, and what for."""
        plan = work.plan
        if work.has_pending:
            return self._now() + domain.RETRY_FIRST, domain.MONEY
        # Whoever held it did not come to notify an operator, or to say that it moves again.
        if plan.rejected or plan.quote_problem is not None or plan.latest_snapshot.is_stuck:
            return self._now(), domain.MONEY
        if plan.stage != "COLLECTING" or plan.expire_time is None:
            return None, domain.MONEY
        if (
            plan.latest_snapshot.collection not in domain.EXPIRABLE
        ):  # not the payer's turn; what it comes to will be delivered
            return max(plan.expire_time, self._now()) + domain.LOOK_AGAIN_AFTER, domain.EXPIRY
        if domain.is_given_up(plan.latest_snapshot):
            return self._now(), domain.MONEY
        return plan.expire_time, domain.EXPIRY

    async def _let_go(
        self, work: UnitOfWork, error: Exception | None = None, *, delay: timedelta = timedelta(0)
    ) -> None:
        """Let a payment go that could not be moved: what is saved stays, the rest is done again after `delay`."""
        plan = work.plan
        plan.due_time = self._now() + delay
        try:
            async with work.renewal:
                work.released = True
                await self._store.release(plan, now=self._now(), problem=None if error is None else problem_of(error))
        except ServiceError:
            _logger.warning("%s could not be let go; it is due when its lease ends", plan.payment_id)

    async def _renew(self, work: UnitOfWork) -> None:
        while True:
            await asyncio.sleep(RENEW_EVERY_S)
            try:
                async with work.renewal:
                    if work.released or not await self._store.renew(work.plan):
                        return
            except ServiceError:
                _logger.warning("the lease of %s could not be renewed", work.plan.payment_id)
