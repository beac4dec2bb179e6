"""What callers ask for, once each: a request is written down, carried out under the payment's lease, and answered.

A repeat of a request gets its answer: at once when there is one, together with the first when that still runs here, or
by carrying it on when the process that ran it is gone. Refusals that stand for good are kept like answers. A request
that meets an outage stays open; the sweep carries it on, whether its caller comes back or not.

The work on a request does not end with its caller's call: a caller that disconnects, or has little time, only stops
waiting. What a request does is its command's to say (commands/).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Final, cast

from google.protobuf.message import Message

from services.errors import (
    Aborted,
    RequestIdReused,
    RequestInProgress,
    ResourceExhausted,
    ServiceError,
    Unavailable,
)
from services.orchestrator.commands.command import Command, RequestT, ResponseT, Withdrawn
from services.orchestrator.commands.registry import AnyCommand, Registry
from services.orchestrator.domain.errors import PaymentNotFound
from services.orchestrator.domain.operator_action import Action
from services.orchestrator.domain.plan import Plan, Request, Stage
from services.orchestrator.held_payments import WAIT_MAX_S, HeldPayments
from services.orchestrator.steps import Steps
from services.orchestrator.storage.store import Store
from services.orchestrator.transition_outbox import TransitionOutbox
from services.orchestrator.unit_of_work import UnitOfWork
from services.orchestrator.wire.requests import own_payer, request_key
from services.runtime.database.idempotency import request_hash
from services.runtime.database.lease import patience
from services.runtime.rpc import call_context
from services.runtime.rpc.identity import OPERATOR
from services.runtime.work.loops import detached
from services.shared import refusals
from services.shared.refusals import Refusal

DRAIN_S: Final = 1.0
"""What a request under way gets when the process ends; what is not done then is carried on elsewhere."""
ACCEPTED_MAX: Final = 3
"""Times that a request is written down which another holder of the payment withdrew while its caller waited."""
TRANSIENT: Final = (Unavailable, Aborted, ResourceExhausted)
"""Never kept as an answer: the same request may come to another."""


class RequestRunner:
    """Carries out the requests of callers."""

    def __init__(
        self,
        store: Store,
        payments: HeldPayments,
        steps: Steps,
        outbox: TransitionOutbox,
        commands: Registry,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._payments = payments
        self._steps = steps
        self._outbox = outbox
        self._commands = commands
        self._now = now
        self._running: dict[object, tuple[bytes, asyncio.Task[Message]]] = {}

    async def run(self, command: Command[RequestT, ResponseT], message: RequestT) -> ResponseT:
        """Carry out a request of the current call, which was validated, or wait for the same one that runs already.

        A payer reaches only payments that are theirs.
        """
        request, payer_id = self._request_from(command, message), own_payer()
        key = (request.key, payer_id)
        call_context.about(request.payment_id)
        running = self._running.get(key)
        if running is None:
            with call_context.acting_for(request.key.tenant_id, correlation=call_context.correlation_id()):
                task = detached(self._first_run(command, request, message, payer_id=payer_id), name=command.name)
            self._running[key] = (request.request_hash, cast("asyncio.Task[Message]", task))
            task.add_done_callback(lambda _: self._running.pop(key, None))
        else:
            hash_of_running, same = running
            if hash_of_running != request.request_hash:
                raise RequestIdReused(field="request_id")
            task = cast("asyncio.Task[ResponseT]", same)  # the key has the method's name
        patience_s = patience(wait_max_s=WAIT_MAX_S) - asyncio.get_running_loop().time()
        if running is None and patience_s <= 0:  # too late to be told anything: it waits for its answer until its end
            return await asyncio.shield(task)
        done, _ = await asyncio.wait({task}, timeout=max(patience_s, 0))
        if not done:
            raise RequestInProgress
        return task.result()

    @asynccontextmanager
    async def draining(self) -> AsyncIterator[None]:
        """At the end of the block, give what still runs `DRAIN_S`, then stop it where it is."""
        try:
            yield
        finally:
            tasks = {task for _, task in self._running.values()}
            if tasks:
                _, late = await asyncio.wait(tasks, timeout=DRAIN_S)
                for task in late:
                    task.cancel()
                await asyncio.wait(tasks)

    async def finish(self, work: UnitOfWork) -> None:
        """Carry on all requests on a held payment that have no answer yet, the urgent ones before the others."""
        await self._finish(work, only_urgent=False)

    async def _finish(self, work: UnitOfWork, *, only_urgent: bool) -> None:
        plan = work.plan
        for request in await self._store.open_requests(plan.tenant_id, plan.payment_id):
            if only_urgent and not request.is_urgent:
                continue
            command: AnyCommand = self._commands[request.key.method]
            with suppress(Refusal, Withdrawn):  # kept as the request's answer, or the request is forgotten
                message = command.request_type.FromString(request.command)
                await self._answer(work, command, request, message, release=False)
            self._payments.answered(request)

    def _request_from(self, command: Command[RequestT, ResponseT], message: RequestT) -> Request:
        key = request_key(message)
        return Request(
            key=key,
            request_hash=request_hash(message),
            payment_id=command.payment_id(message, key),
            command=command.stored(message),
            is_urgent=command.is_urgent,
            send_before_time=None if command.age_max is None else self._now() + command.age_max,
            actor_id=self._operator(command, message),
        )

    @staticmethod
    def _operator(command: Command[RequestT, ResponseT], message: RequestT) -> str:
        """Return which operator decided; empty where the caller is none."""
        caller = call_context.current_caller()
        return (command.actor_id(message) or caller.subject) if OPERATOR in caller.roles else ""

    async def _first_run(
        self, command: Command[RequestT, ResponseT], request: Request, message: RequestT, *, payer_id: str | None
    ) -> ResponseT:
        """Write a request down and carry it out; answer it as a repeat where it is known."""
        self._payments.check_room(request)  # or it would be written down, too
        for _ in range(ACCEPTED_MAX):
            now = self._now()
            request = replace(request, accept_time=now)
            accepted = await command.accept(self._store, request, message, payer_id=payer_id, now=now)
            if not accepted.found:
                raise PaymentNotFound
            with suppress(Withdrawn):  # by another holder: whoever writes it down anew is told why, if it is still so
                if not accepted.is_new or accepted.plan is None:
                    return await self._repeated(command, request, message)
                taken = accepted.is_step_taken
                request = replace(request, calling=taken)
                return await self._carry_out(command, accepted.plan, request, message, is_step_taken=taken)
        raise RequestInProgress

    async def _repeated(self, command: Command[RequestT, ResponseT], request: Request, message: RequestT) -> ResponseT:
        """Answer a request that was written down before, here or elsewhere, carrying it on if nobody does."""
        until = patience(wait_max_s=WAIT_MAX_S)
        while True:
            answered = partial(self._answered, command, request)
            first, plan = await self._payments.acquire_or_answer(request, answer=answered, until=until)
            if first is not None:
                if first.refusal is not None:
                    raise Refusal.from_json(first.refusal)
                answer = command.response_type.FromString(first.answer or b"")
                await command.refresh(first, message, answer)
                return answer
            assert plan is not None, "one of both is there"  # noqa: S101
            current = await self._store.request(request.key)
            if current is not None and not current.done:
                return await self._carry_out(command, plan, current, message)
            async with self._payments.holding(plan) as work:
                await work.save("request.nothing", release=True)

    async def _answered(self, command: Command[RequestT, ResponseT], request: Request) -> Request | None:
        """Return the request with its answer once it has one.

        Raises `RequestIdReused` if its id was used for another, and `Withdrawn` if it was, by another holder.
        """
        first = await self._store.request(request.key)
        if first is None and await self._store.is_known(request.key.tenant_id, request.payment_id):
            first = await self._store.request(request.key)
            if first is None and not command.starts_payment:
                raise Withdrawn(RequestInProgress())
            if first is None:  # the payment is there, and the request so old that it was forgotten
                raise RequestIdReused(field="request_id")
        if first is None:
            raise RequestInProgress  # it was seen and is not readable yet: its transaction ends any moment
        if first.request_hash != request.request_hash or first.payment_id != request.payment_id:
            raise RequestIdReused(field="request_id")
        return first if first.done else None

    async def _carry_out(
        self,
        command: Command[RequestT, ResponseT],
        plan: Plan,
        request: Request,
        message: RequestT,
        *,
        is_step_taken: bool = False,
    ) -> ResponseT:
        try:
            async with self._payments.holding(plan) as work:
                if is_step_taken:
                    work.keep_alive()
                elif plan.has_urgent_request and command.yields_to_urgent:
                    await self._finish(work, only_urgent=True)
                answer = await self._answer(work, command, request, message, release=True, is_step_taken=is_step_taken)
        except Withdrawn as withdrawn:
            self._payments.answered(request)
            raise withdrawn.refusal from None
        self._payments.answered(request)
        return answer

    async def _answer(
        self,
        work: UnitOfWork,
        command: Command[RequestT, ResponseT],
        request: Request,
        message: RequestT,
        *,
        release: bool,
        is_step_taken: bool = False,
    ) -> ResponseT:
        """Do what a request asks for and keep its answer, or the refusal if it stands for good."""
        point = f"{command.point}.answer"
        try:
            if not is_step_taken:
                await self._prepare(work, command)
            answer = await command.perform(work, request, message)
        except Withdrawn:
            await work.save(point, request=request, is_withdrawn=True, release=release)
            raise
        except ServiceError as refusal:
            if isinstance(refusal, TRANSIENT):
                raise
            kept = refusals.to_json(refusal)
            action = action_of(command, request, message)
            await work.save(point, request=replace(request, refusal=kept), action=action, release=release)
            raise Refusal.from_json(kept) from refusal
        if work.has_pending:
            # Status is away: the outbox keeps what it has to record, the request stays open, and its repeat hears more.
            await work.save(point, release=release)
        else:
            kept_answer = command.response_type()
            kept_answer.CopyFrom(answer)
            command.redact(kept_answer)
            stored = kept_answer.SerializeToString(deterministic=True)
            action = action_of(command, request, message)
            await work.save(point, request=replace(request, answer=stored), action=action, release=release)
        return answer

    async def _prepare(self, work: UnitOfWork, command: Command[RequestT, ResponseT]) -> None:
        """Do what comes before a request that nothing was done for when it was written down."""
        if work.plan.stage is Stage.STARTING and not command.starts_payment:
            await self._steps.start(work, None)
        self._steps.apply_delivered(work)
        if work.has_pending:
            await self._outbox.try_flush_outbox(work)


def action_of(command: Command[RequestT, ResponseT], request: Request, message: RequestT) -> Action | None:
    """Return what an operator did by a request that is answered; None where it was none."""
    if not request.actor_id:
        return None
    asked = json.dumps(command.asked(message), ensure_ascii=False, sort_keys=True)
    return Action(reason=command.why(message), asked_json=asked)
