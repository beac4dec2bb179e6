"""Tables of the command side, one statement per method: the plan, its lease, the outbox and callers' requests.

Every method is one statement over a held connection and commits by itself; a statement that writes several tables
writes all of them or none. Only whoever holds a payment's lease writes its plan; `save` writes nothing under an older
fence and says so.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from services.orchestrator.domain.operator_action import Action
from services.orchestrator.domain.payment import Snapshot
from services.orchestrator.domain.plan import (
    DueFor,
    FirstStep,
    NewPayment,
    Plan,
    QuoteEnd,
    Request,
    RequestKey,
    Transition,
)
from services.orchestrator.domain.policies import START_AGE_MAX
from services.orchestrator.domain.quote import QuoteState
from services.orchestrator.storage import rows, statements
from services.runtime.database.connections import DirectConnections
from services.runtime.database.lease import LEASE, LeaseLost
from services.runtime.process.clock import Clock
from services.runtime.rpc import call_context
from services.runtime.work.kinds import WorkClass
from services.shared import codec

WORK_CLASSES: Final = {DueFor.MONEY: WorkClass.MONEY, DueFor.EXPIRY: WorkClass.EXPIRIES}
"""What a payment is due for → the engine's class of that work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """What came of writing a request down."""

    found: bool
    """Whether there is such a payment, and it is of the payer who asks."""
    is_new: bool
    """Whether the request id was not used before."""
    plan: Plan | None
    """The payment's, if it is held now."""
    is_step_taken: bool = False
    """Whether the request's first step was saved with it."""


class Store:
    """Reads and writes the tables. Raises `DependencyUnavailable` when the database is away."""

    def __init__(self, held: DirectConnections, *, clock: Clock, wake: Callable[[WorkClass], None]) -> None:
        """Call `wake` when something of a class of work is due now."""
        self._held = held
        self._clock = clock
        self._wake = wake

    async def start(self, request: Request, payment: NewPayment, *, now: datetime) -> Plan | None:
        """Write request and plan down, held by the caller. None if the request id was used before.

        Raises `StartsPaused` for a new one while an operator stops them.
        """
        arguments = statements.START.arguments(
            **_request_arguments(request, now),
            payer_id=payment.payer_id,
            quote_request=payment.quote_request,
            session_type=payment.session_type,
            session_name=payment.session_name,
            client_reference=payment.client_reference,
            return_url=payment.return_url,
            seller_ids=list(payment.seller_ids),
            booking_ids=list(payment.booking_ids),
            labels=json.dumps(payment.labels),
            terms=json.dumps(codec.to_json(payment.terms)),
            course=json.dumps(codec.to_json(payment.course)),
            latest_snapshot=json.dumps(Snapshot().to_json()),
            start_ends=now + START_AGE_MAX,
            shift=self._clock.shift,
            lease=LEASE,
        )
        async with self._held.statement("start.plan") as connection:
            row = await connection.fetchrow(statements.START.text, *arguments)
        if row["payment_id"] is not None:
            return rows.plan(row)
        if row["public_message"] is not None and not row["was_there"]:
            raise rows.starts_paused(row)
        return None

    async def accept(
        self, request: Request, *, payer_id: str | None, point: str, now: datetime, first_step: FirstStep | None = None
    ) -> Acceptance:
        """Write a request on a payment, of `payer_id` unless None, down and take the payment if it is free.

        Where the payment waits for nothing else, the request's first step is saved with it: the request is calling, and
        what the step makes true is in the outbox.
        """
        arguments = statements.ACCEPT.arguments(
            **_request_arguments(request, now),
            payer_id=payer_id,
            is_urgent=request.is_urgent,
            shift=self._clock.shift,
            lease=LEASE,
            step_from=list(first_step.collections) if first_step else None,
            step_without=list(first_step.without) if first_step else None,
            step_kinds=list(first_step.kinds) if first_step else None,
            step_decline_count=first_step.decline_count if first_step else None,
            step_total=first_step.total_minor if first_step else None,
            step_currency=first_step.currency_code if first_step else None,
            step_timing=first_step.timing if first_step else None,
            step_changes=json.dumps(first_step.changes) if first_step else None,
            step_course_changes=json.dumps(first_step.course_changes) if first_step else None,
            step_id=first_step.request_id if first_step else None,
            step_fact=first_step.fact if first_step else None,
        )
        async with self._held.statement(point) as connection:
            row = await connection.fetchrow(statements.ACCEPT.text, *arguments)
        call_context.about(request.payment_id, origin=row["led_by"])
        plan = rows.plan(row) if row["free"] else None
        is_step_taken = bool(row["is_taken"])
        if plan is not None and first_step is not None and is_step_taken:
            plan.pending = [first_step.transition(plan.latest_snapshot)]
        return Acceptance(
            found=bool(row["found"]), is_new=bool(row["accepted"]), plan=plan, is_step_taken=is_step_taken
        )

    async def take(self, tenant_id: str, payment_id: str) -> Plan | None:
        """Take a payment's lease for a caller that waits; None while another holds it, or if there is none."""
        async with self._held.statement("lease.take") as connection:
            row = await connection.fetchrow(statements.TAKE, tenant_id, payment_id, self._clock.shift, LEASE)
        return rows.plan(row) if row is not None else None

    async def held(self, tenant_id: str, payment_id: str, *, fence: int) -> Plan | None:
        """Return the plan of a payment whose lease the engine took; None if it is another's by now."""
        async with self._held.statement(None) as connection:
            row = await connection.fetchrow(statements.HELD, tenant_id, payment_id, fence)
        return rows.plan(row) if row is not None else None

    async def renew(self, plan: Plan) -> bool:
        """Hold the payment for another `LEASE`; False if it was released, or is another's by now."""
        async with self._held.statement("lease.renew") as connection:
            status = await connection.execute(
                statements.RENEW, plan.tenant_id, plan.payment_id, plan.fence, self._clock.shift, LEASE
            )
        return bool(status == "UPDATE 1")

    async def save(
        self,
        plan: Plan,
        *,
        point: str,
        now: datetime,
        added: Sequence[Transition] = (),
        recorded: Sequence[uuid.UUID] = (),
        rejection: tuple[uuid.UUID, str] | None = None,
        operator_notified: bool = False,
        quote_state: QuoteState | None = None,
        quote_operator_notified: bool = False,
        request: Request | None = None,
        is_withdrawn: bool = False,
        action: Action | None = None,
        release: bool = False,
    ) -> None:
        """Write the plan, the outbox and a request in one go; with `release` also release the payment.

        `rejection` names a transition that status refused, and why; with `operator_notified` the payment asks for an
        operator over all such. With `quote_state` the quote has come to its end, of which pricing has to hear if it
        holds uses, and with `quote_operator_notified` the payment asks for an operator over what it answered.

        A request with answer or refusal is done by it; one without is marked as calling: what it asks for was decided
        and is now asked of others. One that `is_withdrawn`, for which nothing was done, is forgotten. With `action`
        what its operator did is kept for ever.

        Raises `LeaseLost` and writes nothing when the payment is another's by now. A released payment is due at
        `plan.due_time`, or at once when something newer was delivered meanwhile or another request on it is open.
        """
        key = request.key if request is not None else None
        refused_id, refusal = rejection or (None, None)
        statement = statements.SAVE if action is None else statements.SAVE_ACTION
        arguments = statement.arguments(
            tenant_id=plan.tenant_id,
            payment_id=plan.payment_id,
            fence=plan.fence,
            stage=plan.stage,
            quote_id=plan.quote_id,
            currency_code=plan.currency_code,
            total_minor=plan.total_minor,
            split=json.dumps(codec.to_json(plan.split)),
            attempt=plan.attempt,
            attempt_kind=plan.attempt_kind,
            cancel_outcome=plan.cancel_outcome,
            mirror_version=plan.mirror_version,
            latest_snapshot=json.dumps(plan.latest_snapshot.to_json()),
            revision=plan.revision,
            failures=plan.failures,
            next_step=plan.next_step,
            next_time=plan.next_time,
            course=json.dumps(codec.to_json(plan.course)),
            choice=rows.choice(plan.terms),
            booking_ids=list(plan.booking_ids),
            request_count=plan.request_count,
            work_class=plan.work_class,
            added_ids=[one.request_id for one in added],
            added_facts=[one.fact for one in added],
            added_snapshots=[json.dumps(one.snapshot.to_json()) for one in added],
            recorded_ids=list(recorded),
            rejected_id=refused_id,
            rejection=refusal,
            operator_notified=operator_notified,
            quote_state=quote_state,
            quote_holds_uses=plan.quote_holds_uses,
            quote_operator_notified=quote_operator_notified and quote_state is None,
            request_tenant_id=key.tenant_id if key else None,
            caller=key.caller if key else None,
            method=key.method if key else None,
            request_id=key.request_id if key else None,
            answer=request.answer if request else None,
            refusal=json.dumps(request.refusal) if request and request.refusal is not None else None,
            withdrawn=is_withdrawn,
            action_reason=action.reason if action else None,
            action_asked=action.asked_json if action else None,
            release=release,
            rest=_rest(plan, now),
            shift=self._clock.shift,
            now=now,
            trace_context=call_context.origin(),
        )
        async with self._held.statement(point) as connection:
            due_for = await connection.fetchval(statement.text, *arguments)
        if due_for is None:
            raise LeaseLost
        if release:
            self._wake_for(due_for)

    async def release(self, plan: Plan, *, now: datetime, problem: str | None = None) -> None:
        """Release a payment as it was last saved: only `failures`, their `problem` and `due_time` are kept.

        It is due earlier, at once, when something newer was delivered or asked since it was taken. What status
        has not recorded yet makes it MONEY. Does nothing when the payment is another's by now.
        """
        async with self._held.statement("lease.release") as connection:
            due_for = await connection.fetchval(
                statements.RELEASE, plan.tenant_id, plan.payment_id, plan.fence, plan.failures, self._clock.shift,
                plan.observed_version, plan.request_count, _rest(plan, now), bool(plan.pending), problem,
            )  # fmt: skip
        self._wake_for(due_for)

    def _wake_for(self, due_for: str | None) -> None:
        if due_for:
            self._wake(WORK_CLASSES[DueFor(due_for)])

    async def request(self, key: RequestKey) -> Request | None:
        """Return a caller's request."""
        async with self._held.statement(None) as connection:
            row = await connection.fetchrow(statements.REQUEST, key.tenant_id, key.caller, key.method, key.request_id)
        return rows.request(row) if row is not None else None

    async def open_requests(self, tenant_id: str, payment_id: str) -> list[Request]:
        """Return the requests on a payment that were accepted and have no answer yet: the urgent ones, then by age."""
        async with self._held.statement(None) as connection:
            found = await connection.fetch(statements.OPEN_REQUESTS, tenant_id, payment_id)
        return [rows.request(row) for row in found]

    async def keep_alive(self, plan: Plan, *, next_time: datetime) -> None:
        """Let a payment that nobody holds wait for its payer until `next_time`; who holds it decides by itself."""
        async with self._held.statement("life.keep") as connection:
            await connection.execute(
                statements.KEEP_ALIVE, plan.tenant_id, plan.payment_id, next_time, self._clock.shift
            )

    async def observe(self, tenant_id: str, payment_id: str, *, mirror_version: int, observation: bytes) -> bool:
        """Keep the newest observation of a payment, and make the payment due. False if there is no such payment.

        An observation is complete in itself, so an older one is not needed once there is a newer one.
        """
        async with self._held.statement("sink.observation") as connection:
            is_new = await connection.fetchval(
                statements.OBSERVE,
                tenant_id,
                payment_id,
                mirror_version,
                observation,
                self._clock.shift,
                call_context.origin(),
            )
        if is_new:
            self._wake(WorkClass.MONEY)
        return is_new is not None

    async def give_up(self, plan: Plan, *, given_up_by: uuid.UUID) -> None:
        """Note that an operator gave up what status refused of a held payment; the rows stay."""
        async with self._held.statement("resolve.give_up") as connection:
            await connection.execute(statements.GIVE_UP, plan.tenant_id, plan.payment_id, plan.fence, given_up_by)

    async def quote_end(self, tenant_id: str, payment_id: str, *, fence: int) -> QuoteEnd | None:
        """Return what pricing has to hear by whoever took the lease; None if it is another's by now."""
        async with self._held.statement(None) as connection:
            row = await connection.fetchrow(statements.QUOTE_END, tenant_id, payment_id, fence)
        return rows.quote_end(row) if row is not None else None

    async def quote_heard(self, one: QuoteEnd) -> None:
        """Forget what pricing has heard, unless something else has become of the quote since."""
        async with self._held.statement("quote.heard") as connection:
            await connection.execute(statements.QUOTE_HEARD, one.tenant_id, one.payment_id, one.quote_state)

    async def quote_problem(self, one: QuoteEnd, problem: str) -> None:
        """Keep what pricing answered that needs an operator, and make the payment due, which says so."""
        async with self._held.statement("quote.problem") as connection:
            await connection.execute(
                statements.QUOTE_PROBLEM,
                one.tenant_id,
                one.payment_id,
                one.quote_state,
                problem,
                self._clock.shift,
                call_context.origin(),
            )
        self._wake(WorkClass.MONEY)

    async def is_known(self, tenant_id: str, payment_id: str) -> bool:
        """Whether there is such a payment, also one whose start was refused."""
        async with self._held.statement(None) as connection:
            return bool(await connection.fetchval(statements.KNOWN, tenant_id, payment_id))

    async def read(self, tenant_id: str, payment_id: str, *, payer_id: str | None) -> Plan | None:
        """Return a plan without holding it; None if there is none, or it is not of `payer_id`."""
        async with self._held.statement(None) as connection:
            row = await connection.fetchrow(statements.READ, tenant_id, payment_id, payer_id)
        return rows.plan(row) if row is not None else None


def _rest(plan: Plan, now: datetime) -> timedelta | None:
    """Return how long a payment rests that is released: a span, since our clock is not the database's."""
    return None if plan.due_time is None else plan.due_time - now


def _request_arguments(request: Request, now: datetime) -> dict[str, object]:
    key = request.key
    return {
        "tenant_id": key.tenant_id,
        "caller": key.caller,
        "method": key.method,
        "request_id": key.request_id,
        "request_hash": request.request_hash,
        "payment_id": request.payment_id,
        "command": request.command,
        "send_before_time": request.send_before_time,
        "actor_id": request.actor_id,
        "now": now,
        "trace_context": call_context.origin(),
    }
