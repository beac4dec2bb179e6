"""A held payment: its plan under a lease, and what its holder learned and has not saved yet.

The plan and the outbox are saved before anything is asked of others that could not be asked again. Whoever takes the
payment after the lease of a dead process goes on from what was saved, and from what status answers (`rebase`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from batzen.pricing.v1 import pricing_pb2
from batzen.status.v1 import status_pb2
from services.orchestrator.domain import agenda, attempts, charge_plan, policies, quote, transitions
from services.orchestrator.domain.operator_action import Action
from services.orchestrator.domain.payment import (
    ENDED_WITHOUT_MONEY,
    TAKEN,
    Observation,
    Snapshot,
    derived_id,
)
from services.orchestrator.domain.plan import (
    OBSERVED,
    NextStep,
    Plan,
    Request,
    Stage,
    Transition,
)
from services.orchestrator.domain.price import Price
from services.orchestrator.domain.quote import QuoteState
from services.orchestrator.metrics import UNCOUNTED, OrchestratorMetrics
from services.orchestrator.planning import Planning
from services.orchestrator.storage.store import Store
from services.runtime.database.lease import LEASE
from services.shared.states import IntentState, State

CERTAINLY_HELD_FOR = LEASE / 2
"""After the last statement that named our fence. Whoever stood still for longer may have been overtaken, and saves
before anything else, which tells."""


class UnitOfWork(Planning):
    """A held payment on its way: its plan, and what this holder learned and has not saved yet."""

    def __init__(
        self,
        plan: Plan,
        store: Store,
        *,
        abandoned_after: timedelta,
        now: Callable[[], datetime],
        metrics: OrchestratorMetrics = UNCOUNTED,
    ) -> None:
        """Wait for a payer `abandoned_after` each sign of life."""
        super().__init__(plan, abandoned_after=abandoned_after, now=now)
        self._store = store
        self._metrics = metrics
        self._saved = (plan.latest_snapshot, plan.revision)
        """As the row has it."""
        self._held_time = now()
        """When the payment was ours for certain."""
        self._added: list[Transition] = []
        self._recorded: list[Transition] = []
        self._rejection: tuple[Transition, str] | None = None
        self._observation: Observation | None = None
        """The newest that was applied since the last save."""
        self._quote_state: QuoteState | None = None
        """What has become of the quote, if that is new."""
        self._quote_operator_notified = False
        """Whether the payment now asks for an operator over what pricing answered."""
        self.payment: status_pb2.Payment | None = None
        """As status last answered."""
        self.quote: pricing_pb2.Quote | None = None
        self.client_secret = ""
        self.checkout_url = ""

    @property
    def pending(self) -> list[Transition]:
        """What status has not recorded yet, the oldest first."""
        return [transition for transition in [*self.plan.pending, *self._added] if transition not in self._recorded]

    @property
    def has_pending(self) -> bool:
        """Whether there is something that status has not recorded yet."""
        return bool(self.pending)

    @property
    def has_unsaved(self) -> bool:
        """Whether something was enqueued that is not saved yet."""
        return bool(self._added)

    @property
    def may_record_first(self) -> bool:
        """Whether what was enqueued since the last save may be recorded by status before it is saved.

        It must be one transition that whoever goes on from the last save derives again, under the same id and with the
        same snapshot. And they must hear from status first: they do while something is pending as it was saved, since
        they send that, and its answer has the payment as it stands (ADR 13).
        """
        is_held = self._now() < self._held_time + CERTAINLY_HELD_FOR
        return is_held and bool(self.plan.pending) and len(self._added) == 1 and self._added[0].is_derived

    def is_unsaved(self, transition: Transition) -> bool:
        """Whether a transition was enqueued since the last save."""
        return transition in self._added

    def enqueue(self, snapshot: Snapshot, fact: str, *, is_derived: bool = False) -> None:
        """Put what is true now into the outbox; `fact` names what made it so."""
        pending = [*self.plan.pending, *self._added]
        request_id = derived_id(self.plan.payment_id, fact)
        if any(one.request_id == request_id for one in pending):
            # It is so once more, before status has recorded the first time: another revision.
            fact = f"{fact}:{self.plan.revision}:{len(pending)}"
            request_id = derived_id(self.plan.payment_id, fact)
        self._added.append(Transition(request_id=request_id, fact=fact, snapshot=snapshot, is_derived=is_derived))
        before, self.plan.latest_snapshot = self.plan.latest_snapshot, snapshot
        if policies.is_sign_of_life(before, snapshot):
            self.keep_alive()
        if before.collection is not snapshot.collection:
            self.plan_next()
        self.end_quote(quote.next_state(self.plan.quote_state, snapshot))

    def recorded(self, transition: Transition, answer: status_pb2.RecordTransitionResponse) -> None:
        """Note that status has recorded a transition."""
        self.plan.revision = max(self.plan.revision, answer.transition.revision)
        self.payment = answer.payment
        self._recorded.append(transition)

    def rejected(self, transition: Transition, reason: str) -> None:
        """Note that status refused a transition for good."""
        self._rejection = (transition, reason)
        self.plan.rejected.append(transition.fact)

    def adopt(self, payment: status_pb2.Payment, snapshot: Snapshot) -> None:
        """Go on from what status holds of a payment that a plan of which nothing is left has moved before."""
        self.plan.revision, self.plan.latest_snapshot = payment.revision, snapshot
        self.end_quote(quote.next_state(self.plan.quote_state, snapshot))

    @property
    def has_seen_intent(self) -> bool:
        """Whether there is an intent of which the gateway can say what was seen."""
        return self.plan.has_intent or self._observation is not None

    def is_superseded(self, *, recorded: Transition | None = None) -> bool:
        """Whether all that is pending beside `recorded` follows from observations: the newest one has all of that."""
        return all(one.follows_observation for one in self.pending if one is not recorded)

    def rebase(self, payment: status_pb2.Payment, snapshot: Snapshot, newest: Observation | None) -> None:
        """Go on from what status holds, where a holder before us had it record more than was saved, and died.

        Status does not say of which observation it has that, and what we hold may be older. So what follows from the
        `newest` that the gateway has takes the place of what follows from ours; attention that is ours stays. A step
        that waits in the outbox was decided on, and is sent as it is; so is all while the gateway has forgotten what
        was applied.
        """
        plan = self.plan
        is_forgotten = newest is not None and newest.mirror_version < plan.mirror_version
        if is_forgotten or not self.is_superseded():
            plan.revision = payment.revision
            return
        was_seen = self._observation is not None or self.has_pending
        self._recorded += self.pending
        self._added = []
        self.adopt(payment, replace(snapshot, attentions=plan.latest_snapshot.attentions or snapshot.attentions))
        self.payment = payment
        if newest is not None and (was_seen or newest.mirror_version > plan.mirror_version):
            self._see(newest)
            self._follow(newest, after_revision=payment.revision)

    def repeat(self, payment: status_pb2.Payment) -> None:
        """Enqueue once more what is true, of which status has less than it had."""
        plan = self.plan
        fact = f"step:repeat:{plan.revision}:{payment.revision}"
        plan.revision = payment.revision
        self.enqueue(plan.latest_snapshot, fact)

    def end_quote(self, state: QuoteState | None) -> None:
        """Decide what has become of the quote, if that is new.

        Of a quote that holds uses pricing hears it, in its own time; of any other there is nothing that it could do.
        """
        if state != self.plan.quote_state:
            self._quote_state = self.plan.quote_state = state

    def apply_quote_problem(self) -> None:
        """Enqueue that what pricing answered to the quote's end needs an operator, if it does."""
        plan = self.plan
        if plan.quote_problem is None:
            return
        if plan.revision > 0:  # a payment that was never opened has nobody who looks
            snapshot = transitions.quote_problem(plan.latest_snapshot, plan.quote_problem)
            self.enqueue(snapshot, f"quote:{plan.quote_pending}")
        self._quote_operator_notified, plan.quote_problem = True, None

    def first_transition(self, observation: Observation) -> Transition | None:
        """Return what is recorded as the payment is opened, once its intent waits for a method.

        None where it is not as plain. It is not saved before: who goes on after a crash derives it again.
        """
        plan = self.plan
        is_waiting = observation.intent_state is IntentState.REQUIRES_PAYMENT_METHOD and not observation.outcome_unknown
        if not is_waiting or plan.latest_snapshot != Snapshot():
            return None
        fact = f"step:intent:{observation.attempt}"
        return Transition(
            request_id=derived_id(plan.payment_id, fact),
            fact=fact,
            snapshot=transitions.opened(plan.latest_snapshot, attempt=observation.attempt),
        )

    def begin_collecting(self, observation: Observation) -> None:
        """Enqueue what follows from an intent that was just made: it waits for a method, whatever came of it since.

        The payer's time begins; where the start came too late, it is up at once.
        """
        plan, was_late = self.plan, self.is_late
        plan.attempt, plan.attempt_kind = plan.attempt + 1, attempts.next_attempt(plan).kind
        plan.stage = Stage.COLLECTING
        until = agenda.waiting_ends(plan, self._abandoned_after, self._now())
        plan.next_step, plan.next_time = NextStep.EXPIRE, until
        if plan.latest_snapshot.collection != State.INITIALIZED:
            pass  # it was recorded when the payment was opened, or long ago, for a plan of which nothing is left
        elif observation.intent_state is IntentState.REQUIRES_PAYMENT_METHOD:
            # Nobody had the secret yet, so no call on it but the one that made it can be unanswered.
            observation = replace(observation, outcome_unknown=False)
        else:
            opened = transitions.opened(plan.latest_snapshot, attempt=observation.attempt)
            self.enqueue(opened, f"step:intent:{observation.attempt}")
        self.apply(observation)
        if was_late and plan.stage is Stage.COLLECTING:
            plan.next_time = self._now()

    def apply(self, observation: Observation) -> None:
        """Enqueue what follows from an observation, unless it is not newer than the last that was applied."""
        plan = self.plan
        if observation.mirror_version <= plan.mirror_version:
            return
        self._see(observation)
        self._follow(observation)

    def settle(self, observation: Observation, fact: str) -> None:
        """Enqueue what a call that moves money led to, also where it led to where the payment stood before."""
        self.apply(observation)
        if self.plan.latest_snapshot.is_unheard:
            self.enqueue(self._concluded(observation, is_answer=True), fact)

    def _concluded(self, observation: Observation, *, is_answer: bool = False) -> Snapshot:
        """Return what is true after an observation, by the plan of charges where there is one."""
        plan = self.plan
        reading = charge_plan.read(plan, observation, now=self._now(), is_answer=is_answer)
        if reading.is_nothing_new:
            return plan.latest_snapshot
        plan.course = reading.course
        return transitions.observed(
            plan.latest_snapshot,
            observation,
            cancel_outcome=plan.cancel_outcome,
            collection=reading.collection,
            charge_time=reading.charge_time,
        )

    def _see(self, observation: Observation) -> None:
        plan = self.plan
        plan.mirror_version, self._observation = observation.mirror_version, observation
        if observation.attempt > plan.attempt:  # asked for by a holder who died before that was saved
            plan.attempt, plan.attempt_kind = observation.attempt, observation.attempt_kind
            self._forget_replacing()
        course = plan.course.with_hold(observation.hold_expire_time, can_capture_again=observation.can_capture_again)
        plan.course = replace(
            course, is_held_back=observation.is_held_back, fraud_warned=observation.early_fraud_warning
        )

    def _forget_replacing(self) -> None:
        """Take the attempt for one that nobody replaces: it is the next one, or was not over after all."""
        if self.plan.cancel_outcome is State.REQUIRES_PAYMENT_METHOD:
            self.plan.cancel_outcome = None

    def _follow(self, observation: Observation, *, after_revision: int | None = None) -> None:
        """Enqueue what follows from an observation.

        With `after_revision` it is said of what status held then: the same may have been recorded before, and have
        been followed by something older.
        """
        plan = self.plan
        snapshot = self._concluded(observation)
        if snapshot.collection in TAKEN or snapshot.collection is State.SCHEDULED:
            self._forget_replacing()
        if transitions.has_changed(plan.latest_snapshot, snapshot):
            fact = f"{OBSERVED}{observation.mirror_version}"
            if after_revision is not None:
                fact = f"{fact}:{after_revision}"
            # What a cancelled intent means was decided beside it; all else follows from the observation alone.
            is_derived = snapshot.collection not in ENDED_WITHOUT_MONEY
            self.enqueue(snapshot, fact, is_derived=is_derived)
        if snapshot.collection is State.SUCCEEDED or snapshot.collection in ENDED_WITHOUT_MONEY:
            self.end()
        elif snapshot.collection is State.AUTHORIZED:
            plan.stage = Stage.COLLECTING  # also of money that came after the end: a hold has an end of its own
            self.plan_next()
        elif snapshot.collection is State.SCHEDULED:
            self.plan_next()  # also where a holder before us had status record that, and died

    def resume(self, recovered_from: str, *, fact: str) -> None:
        """Enqueue that its payer has picked the payment up again, and wait for them anew."""
        plan = self.plan
        self.enqueue(transitions.resumed(plan.latest_snapshot, recovered_from=recovered_from), fact)
        plan.course = replace(
            plan.course,
            preserve_time=None,
            preserve_reason="",
            recovery_count=plan.latest_snapshot.recovery_count,
            recovered_from=recovered_from,
        )
        self.keep_alive()

    def price_anew(self, price: Price, *, number: int, priced_by: str) -> None:
        """Charge what another quote says from now on, and enqueue that."""
        plan = self.plan
        before_minor = plan.total_minor or 0
        plan.take(price)
        plan.course = replace(
            plan.course,
            quote_count=number,
            priced_by=priced_by,
            priced_time=self._now() if price.total_minor != before_minor else plan.course.priced_time,
            total_before_minor=before_minor,
        )
        changed = transitions.priced_anew(plan.latest_snapshot, total_minor=price.total_minor, quote_id=price.quote_id)
        self.enqueue(changed, f"step:price:{number}")

    async def save(
        self,
        point: str,
        *,
        operator_notified: bool = False,
        request: Request | None = None,
        is_withdrawn: bool = False,
        action: Action | None = None,
        release: bool = False,
    ) -> None:
        """Keep what was decided and learned so far; with `release` release the payment, due when its plan says.

        `operator_notified` says that the payment now asks for an operator over what status rejected, `is_withdrawn`
        that the `request` is forgotten, for which nothing was done; `action` is what the operator did whose `request`
        is answered.
        """
        plan, rejection = self.plan, self._rejection
        if release:
            plan.failures = 0
            plan.due_time, plan.work_class = self.due(has_pending=self.has_pending)
        await self._store.save(
            plan,
            point=point,
            now=self._now(),
            added=[transition for transition in self._added if transition not in self._recorded],
            recorded=[transition.request_id for transition in self._recorded if transition not in self._added],
            rejection=(rejection[0].request_id, rejection[1]) if rejection else None,
            operator_notified=operator_notified,
            quote_state=self._quote_state,
            quote_operator_notified=self._quote_operator_notified,
            request=request,
            is_withdrawn=is_withdrawn,
            action=action,
            release=release,
        )
        self._count()
        gone = [*self._recorded, *([rejection[0]] if rejection else [])]
        plan.pending = [transition for transition in [*plan.pending, *self._added] if transition not in gone]
        self._added, self._recorded, self._rejection = [], [], None
        self._quote_state, self._quote_operator_notified = None, False
        self._observation, self._held_time = None, self._now()

    def _count(self) -> None:
        """Count what the save just made true for everybody."""
        plan, (snapshot, revision) = self.plan, self._saved
        self._saved = (plan.latest_snapshot, plan.revision)
        if revision == 0 and plan.revision > 0:
            self._metrics.opened(currency=plan.currency_code)
        self._metrics.moved(snapshot, plan.latest_snapshot, currency=plan.currency_code)
