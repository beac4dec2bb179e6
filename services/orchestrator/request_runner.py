"""What callers ask for, once each: a request is written down, carried out under the payment's lease, and answered.

A repeat of a request gets its answer: at once when there is one, together with the first when that still runs here, or
by carrying it on when the process that ran it is gone. Refusals that stand for good are kept like answers. A request
that meets an outage stays open; the sweep carries it on, whether its caller comes back or not.

The work on a request does not end with its caller's call: who gives up, or has little time, only stops waiting.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from google.protobuf.message import Message

from batzen.gateway.v1 import payer_pb2
from batzen.orchestrator.v1 import orchestrator_pb2
from batzen.type.v1 import payment_pb2
from services.errors import (
    Aborted,
    RequestIdReused,
    RequestInProgress,
    ResourceExhausted,
    ServiceError,
    Unavailable,
)
from services.orchestrator.actions import Actions
from services.orchestrator.domain import AGE_MAX, PaymentNotFound
from services.orchestrator.peers import Peers, Refused, refusal_to_json
from services.orchestrator.steps import Driver, UnitOfWork
from services.orchestrator.store import NewPayment, Plan, Request, Store
from services.runtime.rpc import call_context

ANSWER_MARGIN_S: Final = 0.1
"""How long before its deadline a waiting repeat gives up, so that its answer still arrives."""
WAIT_MAX_S: Final = 20.0
"""How long to wait for a payment that somebody else holds, when no deadline says less."""
DRAIN_S: Final = 1.0
"""What a request under way gets when the process ends; what is not done then is carried on elsewhere."""
TRANSIENT: Final = (Unavailable, Aborted, ResourceExhausted)
"""Never kept as an answer: the same request may come to another."""

_logger = logging.getLogger(__name__)


class RequestRunner:
    """Carries out the requests of callers."""

    def __init__(self, store: Store, driver: Driver, peers: Peers, *, now: Callable[[], datetime]) -> None:
        self._store = store
        self._driver = driver
        self._peers = peers
        self._now = now
        self._room = driver.room
        self._running: dict[object, tuple[bytes, asyncio.Task[Any]]] = {}
        self._actions = Actions(driver, peers, now=now)

    async def start(self, request: Request, payment: NewPayment, payer: payer_pb2.Payer) -> Message:
        """Start a payment; a repeat answers with the payment that the first one started."""

        async def begin() -> Message:
            plan = await self._store.start(request, payment, now=self._now())
            if plan is None:
                return await self._repeated(request, payer.SerializeToString())
            return await self._carry_out(plan, request, payer.SerializeToString())

        return await self._once(request, begin)

    async def on_payment(self, request: Request, *, payer_id: str | None) -> Message:
        """Carry out a request on a payment, which must be `payer_id`'s unless that is None."""

        age_max = AGE_MAX.get(request.key.method)
        if age_max is not None:
            request = replace(request, send_before_time=self._now() + age_max)

        async def begin() -> Message:
            point = f"{request.key.method.removesuffix('Payment').lower()}.accept"
            self._room.check_room((request.key.tenant_id, request.payment_id))  # or it would be written down, too
            found, accepted, plan = await self._store.accept(request, payer_id=payer_id, point=point, now=self._now())
            if not found:
                raise PaymentNotFound
            if not accepted or plan is None:
                return await self._repeated(request)
            return await self._carry_out(plan, request)

        return await self._once(request, begin, owner=payer_id)

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
        """Carry on all requests on a held payment that have no answer yet, the cancels before the others.

        A submit of which nothing was heard may have been followed by a cancel, which then is what its payer wants.
        """
        await self._finish(work, only=None)

    async def _finish(self, work: UnitOfWork, *, only: str | None) -> None:
        plan = work.plan
        for request in await self._store.open_requests(plan.tenant_id, plan.payment_id):
            if only is not None and request.key.method != only:
                continue
            with suppress(Refused):  # kept as the request's answer
                await self._answer(work, request, b"", release=False)
            self._room.answered(request.key)

    async def acquire(self, tenant_id: str, payment_id: str) -> Plan:
        """Take a payment, waiting for whoever has it; raises `RequestInProgress` shortly before the deadline."""
        plan = await self._store.take(tenant_id, payment_id)
        if plan is not None:
            return plan
        until = self._patience()
        with self._room.place((tenant_id, payment_id)) as place:
            while True:
                # Again at once: it may have been let go before there was anybody in line to wake.
                plan = await self._store.take(tenant_id, payment_id)
                if plan is not None:
                    place.served()
                    return plan
                if not await place.until_worth_a_look(until):
                    raise RequestInProgress

    async def _once(
        self, request: Request, begin: Callable[[], Coroutine[Any, Any, Message]], owner: str | None = None
    ) -> Message:
        """Run `begin`, or wait for the same request that already runs here."""
        key = (request.key, owner)
        running = self._running.get(key)
        if running is None:
            with call_context.acting_for(request.key.tenant_id, correlation=call_context.correlation_id()):
                task = asyncio.create_task(begin())
            self._running[key] = (request.request_hash, task)
            task.add_done_callback(lambda _: self._running.pop(key, None))
            task.add_done_callback(_retrieve)
        else:
            request_hash, task = running
            if request_hash != request.request_hash:
                raise RequestIdReused(field="request_id")
        patience_s = self._patience() - asyncio.get_running_loop().time()
        done, _ = await asyncio.wait({task}, timeout=max(patience_s, 0))
        if not done:
            raise RequestInProgress
        answer: Message = task.result()
        return answer

    async def _repeated(self, request: Request, payer: bytes = b"") -> Message:
        """Answer a request that was written down before, here or elsewhere, carrying it on if nobody does."""
        until = self._patience()
        while True:
            first = await self._first(request)
            plan: Plan | None = None
            if not first.done:
                first, plan = await self._turn(request, first, until=until)
            if first.refusal is not None:
                raise Refused(**first.refusal)
            if first.answer is not None:
                return await self._replayed(first, first.answer)
            if plan is None:
                raise RequestInProgress
            current = await self._store.request(request.key)
            if current is not None and not current.done:
                return await self._carry_out(plan, current, payer)
            async with self._driver.holding(plan) as work:
                await self._driver.save(work, "request.nothing", release=True)

    async def _first(self, request: Request) -> Request:
        """Return what was written down under the request's id; raise RequestIdReused if that was something else."""
        first = await self._store.request(request.key)
        if first is None and await self._store.is_known(request.key.tenant_id, request.payment_id):
            first = await self._store.request(request.key)
            if first is None:  # the payment is there, and the request so old that it was forgotten
                raise RequestIdReused(field="request_id")
        if first is None:
            raise RequestInProgress  # seen and not readable yet: its transaction ends any moment
        if first.request_hash != request.request_hash or (
            request.payment_id and request.key.method != "StartPayment" and first.payment_id != request.payment_id
        ):
            raise RequestIdReused(field="request_id")
        return first

    async def _turn(self, request: Request, first: Request, *, until: float) -> tuple[Request, Plan | None]:
        """Wait until a request has its answer, or its payment is ours, or the time is up."""
        with self._room.place((first.key.tenant_id, first.payment_id), question=first.key) as place:
            while True:
                plan = await self._store.take(first.key.tenant_id, first.payment_id)
                if plan is not None:
                    place.served()
                    return first, plan
                # Also after the first look: what was answered before we stood in line woke nobody.
                first = await self._first(request)
                if first.done or not await place.until_worth_a_look(until):
                    return first, None

    async def _replayed(self, request: Request, answer: bytes) -> Message:
        """Return the first answer, with secrets fetched anew where the payer may still need them."""
        message: Message = getattr(orchestrator_pb2, f"{request.key.method}Response").FromString(answer)
        if isinstance(message, orchestrator_pb2.StartPaymentResponse):
            if message.session.payment.state == payment_pb2.PAYMENT_STATE_REQUIRES_PAYMENT_METHOD:
                seen = await self._peers.secrets(request.payment_id)
                message.session.client_secret = seen.client_secret
        elif (
            isinstance(message, orchestrator_pb2.SubmitPaymentResponse)
            and message.payment.state == payment_pb2.PAYMENT_STATE_REQUIRES_ACTION
        ):
            seen = await self._peers.secrets(request.payment_id)
            if seen.redirect_url is not None:
                message.next_action.redirect_url = seen.redirect_url
        return message

    async def _carry_out(self, plan: Plan, request: Request, payer: bytes = b"") -> Message:
        async with self._driver.holding(plan) as work:
            if plan.is_canceling and request.key.method == "SubmitPayment":
                await self._finish(work, only="CancelPayment")
            answer = await self._answer(work, request, payer, release=True)
        self._room.answered(request.key)
        return answer

    async def _answer(self, work: UnitOfWork, request: Request, payer: bytes, *, release: bool) -> Message:
        """Do what a request asks for and keep its answer, or the refusal if it stands for good."""
        point = f"{request.key.method.removesuffix('Payment').lower()}.answer"
        try:
            if work.plan.stage == "STARTING" and request.key.method != "StartPayment":
                await self._driver.start(work, None)
            self._driver.apply_delivered(work)
            if work.has_pending:
                await self._driver.try_flush_outbox(work)
            message = await self._actions.perform(work, request, payer)
        except ServiceError as refusal:
            if isinstance(refusal, TRANSIENT):
                raise
            kept = refusal_to_json(refusal)
            await self._driver.save(work, point, request=replace(request, refusal=kept), release=release)
            raise Refused(**kept) from refusal
        if work.has_pending:
            # Status is away: the outbox keeps what is to be said, the request stays open, and its repeat hears more.
            await self._driver.save(work, point, release=release)
        else:
            kept_answer = _without_secrets(message).SerializeToString(deterministic=True)
            await self._driver.save(work, point, request=replace(request, answer=kept_answer), release=release)
        return message

    @staticmethod
    def _patience() -> float:
        """Return the loop's time at which a waiting call should answer that the first still runs."""
        remaining_s = call_context.time_remaining()
        wait_s = WAIT_MAX_S if remaining_s is None else remaining_s - ANSWER_MARGIN_S
        return asyncio.get_running_loop().time() + wait_s


def _without_secrets(message: Message) -> Message:
    kept = type(message)()
    kept.CopyFrom(message)
    if isinstance(kept, orchestrator_pb2.StartPaymentResponse):
        kept.session.ClearField("client_secret")
        kept.session.ClearField("next_action")
    elif isinstance(kept, orchestrator_pb2.SubmitPaymentResponse):
        kept.ClearField("next_action")
    return kept


def _retrieve(task: asyncio.Task[Any]) -> None:
    """Look at how a task ended: when all who waited for it went away, nobody else does."""
    if not task.cancelled() and task.exception() is not None and not isinstance(task.exception(), ServiceError):
        _logger.error("a request failed", exc_info=task.exception())
