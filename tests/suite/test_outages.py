"""Somebody is away: status, pricing, the gateway, Stripe, the database, or a process that is told to end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, Final, TypeVar

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from batzen._channel import make_channel
from batzen.client import new_request_id
from batzen.orchestrator.v1 import orchestrator_pb2
from batzen.status.v1 import status_pb2
from batzen.type.v1 import money_pb2, payment_pb2
from local.environments import SERVICES
from local.suite import Suite
from sandbox.faults import Kind
from tests.eventually import WITHIN_S, eventually, persistently
from tests.status.restarts import RestartablePostgres
from tests.suite.journeys import (
    AGAIN,
    CALL_TIMEOUT_S,
    REFUND_MINOR,
    TOTAL_MINOR,
    Ends,
    Traveller,
    pay,
    state_name,
    stubbornly,
)

CREATE: Final = "POST /v1/payment_intents"
CONFIRM: Final = "POST /v1/payment_intents/*/confirm"
REFUND: Final = "POST /v1/refunds"

SUBMIT_TIMEOUT_S: Final = 15.0
"""More than Stripe may keep silent before it is asked again."""
IMPATIENT_S: Final = 1.0
HURRIED_S: Final = 3.0
"""Of a try that meets an outage."""
LATE_S_MAX: Final = 10.0
"""How much later than its deadline a caller may hear of it on a busy machine; without a deadline it never would."""
WORKERS: Final = 6

PAID: Final = Ends(state="SUCCEEDED", states=("INITIALIZED", "SUCCEEDED"))
REFUNDED: Final = Ends(state="PARTIALLY_REFUNDED", refunds=1, states=("SUCCEEDED",))

Answer = TypeVar("Answer")


def _submit_request(payment_id: str) -> orchestrator_pb2.SubmitPaymentRequest:
    return orchestrator_pb2.SubmitPaymentRequest(
        request_id=new_request_id(), payment_id=payment_id, payment_method_id="pm_card_visa"
    )


def _refund_request(payment_id: str) -> orchestrator_pb2.RefundPaymentRequest:
    return orchestrator_pb2.RefundPaymentRequest(
        request_id=new_request_id(),
        payment_id=payment_id,
        amount=money_pb2.Money(amount_minor=REFUND_MINOR, currency_code="CHF"),
        expected_refundable=money_pb2.Money(amount_minor=TOTAL_MINOR, currency_code="CHF"),
        actor_id="clerk",
    )


async def _charged_minor(traveller: Traveller, payment_id: str) -> int:
    return int((await traveller.intent_of(payment_id))["amount_received"])


def _is_not_recorded_yet(payment: status_pb2.Payment) -> bool:
    return (
        payment.state == payment_pb2.PAYMENT_STATE_PROCESSING and payment.snapshot.reason == "OUTCOME_NOT_RECORDED_YET"
    )


async def test_what_succeeds_while_status_is_down_is_processing_until_status_hears_of_it(
    suite: Suite, traveller: Traveller
) -> None:
    payment_id = (await traveller.start()).payment.payment_id
    refunded = await pay(traveller)
    submit, refund = _submit_request(payment_id), _refund_request(refunded)

    async with asyncio.timeout(2 * WITHIN_S), traveller.payer.watch(payment_id, until_settled=True) as updates:
        assert state_name((await anext(updates)).state) == "REQUIRES_PAYMENT_METHOD"
        await suite.stop("status")
        submitted, given_back = await asyncio.gather(
            traveller.payer.orchestrator.SubmitPayment(submit, timeout=SUBMIT_TIMEOUT_S),
            traveller.shop.orchestrator.RefundPayment(refund, timeout=SUBMIT_TIMEOUT_S),
        )
        repeated = await traveller.payer.orchestrator.SubmitPayment(submit, timeout=SUBMIT_TIMEOUT_S)
        assert await _charged_minor(traveller, payment_id) == TOTAL_MINOR
        await suite.start("status")
        seen = [state_name(update.state) async for update in updates]

    assert all(_is_not_recorded_yet(answer.payment) for answer in (submitted, repeated, given_back))
    assert given_back.amount.amount_minor == REFUND_MINOR
    assert seen == ["PROCESSING", "SUCCEEDED"]
    again = await traveller.payer.orchestrator.SubmitPayment(submit, timeout=SUBMIT_TIMEOUT_S)
    assert state_name(again.payment.state) == "SUCCEEDED"
    await traveller.until(payment_id, "SUCCEEDED")
    await traveller.check(payment_id, PAID)
    await traveller.until(refunded, "PARTIALLY_REFUNDED")
    await traveller.check(refunded, REFUNDED)
    assert (await traveller.shop.orchestrator.RefundPayment(refund)).refund_id == given_back.refund_id


@pytest.mark.faults
async def test_a_start_that_meets_one_outage_after_the_other_is_one_payment(suite: Suite, traveller: Traveller) -> None:
    request = traveller.start_request()
    request.client_reference = f"order {request.request_id}"

    async def start(timeout_s: float) -> orchestrator_pb2.PaymentSession:
        return (await traveller.shop.orchestrator.StartPayment(request, timeout=timeout_s)).session

    away = ("pricing", "status", "gateway")
    await asyncio.gather(*(suite.stop(service) for service in away))
    for service in away:
        with pytest.raises(AGAIN):
            await start(IMPATIENT_S)
        await suite.start(service)
    payment_id = (await stubbornly(lambda: start(CALL_TIMEOUT_S))).payment.payment_id

    await traveller.until(payment_id, "REQUIRES_PAYMENT_METHOD")
    await traveller.check(payment_id, Ends(state="REQUIRES_PAYMENT_METHOD", charges=0, states=("INITIALIZED",)))
    listed = await traveller.shop.status.ListPayments(
        status_pb2.ListPaymentsRequest(filter=status_pb2.PaymentFilter(client_reference=request.client_reference))
    )
    assert [payment.payment_id for payment in listed.payments] == [payment_id]


@pytest.mark.parametrize("kind", [Kind.RESET, Kind.SERVER_ERROR])
async def test_what_stripe_did_without_saying_so_is_done_once(kind: Kind, traveller: Traveller) -> None:
    submitted = (await traveller.start()).payment.payment_id
    refunded = await pay(traveller)
    await traveller.until(refunded, "SUCCEEDED")
    await traveller.sandbox.webhooks(drop=1.0)  # nobody but our own asking tells what became of it
    for route in (CREATE, CONFIRM, REFUND):
        await traveller.sandbox.fault(kind, route=route, after=True, stored=False)

    session, answer, _ = await asyncio.gather(
        traveller.start(),
        traveller.submit(submitted, "pm_card_visa"),
        traveller.refund(refunded, amount_minor=REFUND_MINOR, refundable_minor=TOTAL_MINOR),
    )

    assert state_name(answer.payment.state) == "SUCCEEDED"
    for payment_id, ends in (
        (submitted, PAID),
        (refunded, REFUNDED),
        (session.payment.payment_id, Ends(state="REQUIRES_PAYMENT_METHOD", charges=0)),
    ):
        await traveller.until(payment_id, ends.state)
        await traveller.check(payment_id, ends)
    assert [fault["hits"] for fault in await traveller.sandbox.faults()] == [1, 1, 1]


@pytest.mark.parametrize("after", [True, False], ids=["after the charge", "before the charge"])
async def test_an_unknown_outcome_is_processing_until_stripe_says_more(after: bool, traveller: Traveller) -> None:
    payment_id = (await traveller.start()).payment.payment_id
    await traveller.sandbox.webhooks(drop=1.0)
    await traveller.sandbox.fault(Kind.SERVER_ERROR, route=CONFIRM, after=after, should_retry=False, stored=False)

    answer = await traveller.payer.orchestrator.SubmitPayment(_submit_request(payment_id), timeout=SUBMIT_TIMEOUT_S)

    assert (state_name(answer.payment.state), answer.payment.snapshot.reason) == ("PROCESSING", "OUTCOME_UNKNOWN")
    await traveller.until(payment_id, "SUCCEEDED")
    await traveller.check(payment_id, PAID)


class Clocked:
    """Makes calls over and over until each is answered, and keeps how long each try took."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self.failed = 0

    async def ask(self, call: Callable[[], Awaitable[Answer]]) -> Answer:
        async def clocked() -> Answer:
            began = time.monotonic()
            try:
                return await call()
            finally:
                self.longest_s = max(self.longest_s, time.monotonic() - began)

        def note(_: Exception) -> None:
            self.failed += 1

        return await persistently(clocked, again=AGAIN, noting=note)


@pytest.mark.faults
async def test_a_database_that_is_restarted_under_payments_in_flight_is_found_again(
    suite: Suite, suite_postgres: RestartablePostgres, traveller: Traveller
) -> None:
    pids = {service: suite.pid(service) for service in SERVICES}
    clocked = Clocked()
    paid: list[str] = []
    is_over = asyncio.Event()

    async def work() -> None:
        while not is_over.is_set():
            start = traveller.start_request()
            started = await clocked.ask(
                lambda: traveller.shop.orchestrator.StartPayment(start, timeout=HURRIED_S)  # noqa: B023 awaited here
            )
            submit = _submit_request(started.session.payment.payment_id)
            await clocked.ask(
                lambda: traveller.payer.orchestrator.SubmitPayment(submit, timeout=HURRIED_S)  # noqa: B023
            )
            paid.append(submit.payment_id)

    async def until_more(count: int) -> None:
        goal = len(paid) + count

        async def is_more() -> bool:
            return len(paid) >= goal

        await eventually(is_more, what="payments go on")

    async def meets_the_outage() -> bool:
        return clocked.failed >= WORKERS

    async with asyncio.TaskGroup() as group:
        for _ in range(WORKERS):
            group.create_task(work())
        await until_more(WORKERS)
        await asyncio.to_thread(suite_postgres.stop)
        await eventually(meets_the_outage, what="callers meet the outage")
        await asyncio.to_thread(suite_postgres.start)
        await until_more(2 * WORKERS)
        is_over.set()

    assert {service: suite.pid(service) for service in SERVICES} == pids
    assert clocked.longest_s < HURRIED_S + LATE_S_MAX
    for payment_id in paid:
        await traveller.until(payment_id, "SUCCEEDED")
        await traveller.check(payment_id, PAID)


@pytest.fixture
async def health(suite: Suite) -> AsyncIterator[dict[str, Any]]:
    """A stream of each service's health, open and SERVING."""
    async with AsyncExitStack() as stack:
        streams = {}
        for service in SERVICES:
            address = getattr(suite.addresses, service)
            channel = await stack.enter_async_context(make_channel(address, timeout_s=CALL_TIMEOUT_S, metadata=tuple))
            stub: Any = health_pb2_grpc.HealthStub(channel)  # its types lack Watch
            streams[service] = stub.Watch(health_pb2.HealthCheckRequest())
            assert (await streams[service].read()).status == health_pb2.HealthCheckResponse.SERVING
        yield streams


@pytest.mark.faults
async def test_services_that_are_told_to_end_do_so_in_time_under_open_streams(
    suite: Suite, traveller: Traveller, health: dict[str, Any]
) -> None:
    payment_id = (await traveller.start()).payment.payment_id

    async with (
        asyncio.timeout(2 * WITHIN_S),
        traveller.payer.watch(payment_id, after_revision=0, until_settled=True) as updates,
    ):
        seen = [(await anext(updates)).revision]
        ended = {service: await suite.stop(service) for service in SERVICES}
        told = [(await stream.read()).status for stream in health.values()]
        await asyncio.gather(*(suite.start(service) for service in SERVICES))
        await traveller.submit(payment_id, "pm_card_visa")
        seen += [update.revision async for update in updates]

    assert ended == dict.fromkeys(SERVICES, 0)  # one that takes too long is killed
    assert told == [health_pb2.HealthCheckResponse.NOT_SERVING] * len(SERVICES)
    assert seen == [transition.revision for transition in await traveller.history(payment_id)]
    await traveller.until(payment_id, "SUCCEEDED")
    await traveller.check(payment_id, PAID)


async def test_what_is_at_stripe_when_a_process_is_told_to_end_gets_its_answer(
    suite: Suite, traveller: Traveller, health: dict[str, Any]
) -> None:
    payment_id = (await traveller.start()).payment.payment_id
    await traveller.sandbox.fault(Kind.PAUSE, route=CONFIRM)

    submitting = asyncio.ensure_future(
        traveller.payer.orchestrator.SubmitPayment(_submit_request(payment_id), timeout=SUBMIT_TIMEOUT_S)
    )
    await traveller.sandbox.until_paused()
    stopping = asyncio.ensure_future(suite.stop("gateway"))
    assert (await health["gateway"].read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
    await traveller.sandbox.resume()

    assert state_name((await submitting).payment.state) == "SUCCEEDED"
    assert await stopping == 0
    await suite.start("gateway")
    await traveller.until(payment_id, "SUCCEEDED")
    await traveller.check(payment_id, PAID)
