"""One open payment per booking, bookings that come later, the platform's own check, and what payments are found by."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import grpc
import pytest
from grpc import aio

from batzen._channel import make_channel
from batzen.orchestrator.v1 import booking_check_pb2
from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.orchestrator.v1.booking_check_pb2_grpc import (
    BookingCheckServiceServicer,
    BookingCheckServiceStub,
    add_BookingCheckServiceServicer_to_server,
)
from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from services.orchestrator.domain.booking_claim import ORPHANED_AFTER
from services.runtime.observability.metrics import Meter
from services.runtime.rpc.error_status import refusal_of
from services.shared.refusals import Refusal
from tests.eventually import WITHIN_S
from tests.metrics import Figures
from tests.orchestrator.conftest import Journeys, Orchestrator, World
from tests.orchestrator.crash_injection import ask, mortal_orchestrator
from tests.orchestrator.lives import Life, Lives
from tests.orchestrator.samples import (
    TOTAL_MINOR,
    Clock,
    cancel,
    chf,
    line,
    new_id,
    new_payment_id,
    refund,
    refused,
    retry,
    start,
    state_of,
    submit,
)

STARTS = 200
HOST = "127.0.0.1"


def attach(payment_id: str, *booking_ids: str, **changes: Any) -> pb.AttachBookingRequest:
    return pb.AttachBookingRequest(
        **({"request_id": new_id(), "payment_id": payment_id, "booking_ids": booking_ids} | changes)
    )


def booking() -> str:
    return new_payment_id().replace("pay_", "booking_")  # without digits, which may pass for a card number


async def either(call: Awaitable[pb.StartPaymentResponse]) -> str:
    """Return the payment that was started, or the one that stands in its way."""
    try:
        return (await call).session.payment.payment_id
    except aio.AioRpcError as error:
        return refusal_of(error).metadata["payment_id"]


# One open payment.


async def test_a_second_payment_of_a_booking_is_refused_with_the_first_ones_id(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    booked = booking()
    first = await journeys.started(booking_ids=[booked])
    refusal = await refused(orchestrator.StartPayment(start(booking_ids=[booking(), booked])))
    assert (refusal.code, refusal.reason) == ("ALREADY_EXISTS", "BOOKING_HAS_PAYMENT")
    assert refusal.metadata == {"payment_id": first, "booking_id": booked}


async def test_of_a_start_that_is_refused_for_one_booking_no_other_booking_stays_taken(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    free, taken = booking(), booking()
    await journeys.started(booking_ids=[taken])
    await refused(orchestrator.StartPayment(start(booking_ids=[free, taken])))
    assert await journeys.started(booking_ids=[free])


async def test_a_refused_start_is_not_kept_and_starts_once_the_booking_is_free(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    booked = booking()
    first = await journeys.started(booking_ids=[booked])
    asked = start(booking_ids=[booked])
    await refused(orchestrator.StartPayment(asked))
    await orchestrator.CancelPayment(cancel(first))
    assert (await orchestrator.StartPayment(asked)).session.payment.payment_id != first


async def test_a_booking_is_taken_while_money_is_there_and_free_once_all_of_it_went_back(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    booked = booking()
    paid = await journeys.paid(booking_ids=[booked])
    assert (await refused(orchestrator.StartPayment(start(booking_ids=[booked])))).metadata["payment_id"] == paid

    await orchestrator.RefundPayment(refund(paid, TOTAL_MINOR - 100))
    await refused(orchestrator.StartPayment(start(booking_ids=[booked])))
    await orchestrator.RefundPayment(refund(paid, 100, expected_refundable=chf(100)))
    assert await journeys.started(booking_ids=[booked])


async def test_a_repeat_of_a_start_has_its_answer_also_when_another_payment_has_the_booking_since(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    booked = booking()
    asked = start(booking_ids=[booked])
    first = (await orchestrator.StartPayment(asked)).session.payment.payment_id
    await orchestrator.CancelPayment(cancel(first))
    await journeys.started(booking_ids=[booked])
    assert (await orchestrator.StartPayment(asked)).session.payment.payment_id == first


async def test_two_hundred_starts_at_once_and_one_payment(orchestrator: OrchestratorServiceStub) -> None:
    booked = booking()
    found = await asyncio.gather(
        *(either(orchestrator.StartPayment(start(booking_ids=[booked]))) for _ in range(STARTS))
    )
    assert len(set(found)) == 1


async def test_bookings_in_opposite_orders_do_not_block_each_other(orchestrator: OrchestratorServiceStub) -> None:
    one, other = booking(), booking()
    asked = [start(booking_ids=[one, other] if place % 2 else [other, one]) for place in range(20)]
    found = await asyncio.gather(*(either(orchestrator.StartPayment(each)) for each in asked))
    assert len(set(found)) == 1


# The open payment instead.


async def test_the_open_payment_is_returned_where_the_same_payer_pays_the_same(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    booked = booking()
    first = await journeys.started(booking_ids=[booked])
    again = start(booking_ids=[booked], on_open_payment=pb.ON_OPEN_PAYMENT_RETURN_EXISTING)
    session = (await orchestrator.StartPayment(again)).session
    assert (session.payment.payment_id, bool(session.client_secret)) == (first, True)


@pytest.mark.parametrize(
    "changes",
    [
        {"payer": pb.Payer(payer_id="payer_other")},
        {"lines": [line(unit_amount=chf(1))]},
        {"coupon_codes": ["SPRING"]},
    ],
    ids=["payer", "lines", "coupons"],
)
async def test_the_open_payment_of_another_cart_is_refused(
    orchestrator: OrchestratorServiceStub, journeys: Journeys, changes: dict[str, Any]
) -> None:
    booked = booking()
    await journeys.started(booking_ids=[booked])
    again = start(booking_ids=[booked], on_open_payment=pb.ON_OPEN_PAYMENT_RETURN_EXISTING, **changes)
    assert (await refused(orchestrator.StartPayment(again))).reason == "BOOKING_HAS_PAYMENT"


# A process that dies.


async def test_a_start_that_died_with_a_booking_and_is_repeated(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, lives: Lives
) -> None:
    for life in lives():
        asked = start(booking_ids=[booking()])
        async with mortal_orchestrator(replica, life) as (parts, _):
            await ask(parts, asked)
        payment_id = (await orchestrator.StartPayment(asked)).session.payment.payment_id
        assert len(await journeys.intents(payment_id)) == 1, life.place
        assert (await journeys.payment(payment_id)).booking_ids == asked.booking_ids, life.place


async def test_a_booking_whose_start_died_before_the_payment_was_written_is_free_after_a_while(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, clock: Clock
) -> None:
    booked = booking()
    died = start(booking_ids=[booked])
    async with mortal_orchestrator(replica, Life(ends_at="after claim")) as (parts, _):
        await ask(parts, died)

    another = start(booking_ids=[booked])
    await refused(orchestrator.StartPayment(another))
    clock.advance(ORPHANED_AFTER + timedelta(seconds=1))
    taken = (await orchestrator.StartPayment(another)).session.payment.payment_id
    assert (await refused(orchestrator.StartPayment(died))).metadata["payment_id"] == taken


async def test_who_was_overtaken_between_claim_and_payment_makes_no_intent(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, clock: Clock
) -> None:
    """The slower one has written its payment; carrying it on, it finds that the booking is another's."""
    booked = booking()
    slow = start(booking_ids=[booked])
    async with mortal_orchestrator(replica, Life(ends_at="after start")) as (parts, _):
        await ask(parts, slow)
    store = replica.parts.claim_store
    [claim] = await store.claims("main", [booked])
    assert await store.take_over("main", claim, payment_id="pay_another", now=clock.now())

    refusal = await refused(orchestrator.StartPayment(slow))
    assert (refusal.reason, refusal.metadata["payment_id"]) == ("BOOKING_HAS_PAYMENT", "pay_another")
    assert await journeys.intents(claim.payment_id) == []


# Bookings that come later.


async def test_bookings_are_attached_and_seen_by_everybody(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id, booked, more = await journeys.started(), booking(), booking()
    assert (await orchestrator.AttachBooking(attach(payment_id, booked))).payment.booking_ids == [booked]
    await orchestrator.AttachBooking(attach(payment_id, booked, more))
    assert (await journeys.payment(payment_id)).booking_ids == [booked, more]
    assert (await journeys.plan(payment_id)).booking_ids == [booked, more]
    assert (await refused(orchestrator.StartPayment(start(booking_ids=[more])))).reason == "BOOKING_HAS_PAYMENT"


async def test_attaching_ends_with_a_hundred(orchestrator: OrchestratorServiceStub, journeys: Journeys) -> None:
    payment_id, many = await journeys.started(), [booking() for _ in range(100)]
    await orchestrator.AttachBooking(attach(payment_id, *many))
    refusal = await refused(orchestrator.AttachBooking(attach(payment_id, booking())))
    assert (refusal.reason, refusal.metadata) == ("TOO_MANY_BOOKINGS", {"bookings": "101"})


async def test_what_is_attached_must_be_free_and_the_payment_alive(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    booked, payment_id = booking(), await journeys.started()
    other = await journeys.started(booking_ids=[booked])
    assert (await refused(orchestrator.AttachBooking(attach(payment_id, booked)))).metadata["payment_id"] == other

    await orchestrator.CancelPayment(cancel(payment_id))
    refusal = await refused(orchestrator.AttachBooking(attach(payment_id, booking())))
    assert (refusal.reason, refusal.metadata["state"]) == ("PAYMENT_STATE", "CANCELED")
    assert (
        await refused(orchestrator.AttachBooking(attach(f"pay_{'0' * 26}", booking())))
    ).reason == "PAYMENT_NOT_FOUND"


async def test_a_paid_payment_still_gets_its_booking(orchestrator: OrchestratorServiceStub, journeys: Journeys) -> None:
    payment_id, booked = await journeys.paid(), booking()
    assert (await orchestrator.AttachBooking(attach(payment_id, booked))).payment.booking_ids == [booked]


@pytest.mark.parametrize("is_swept", [False, True])
async def test_an_attachment_that_died(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, *, is_swept: bool, lives: Lives
) -> None:
    for life in lives():
        asked = attach(await journeys.started(), booking())
        async with mortal_orchestrator(replica, life) as (parts, _):
            await ask(parts, asked)
        if is_swept:
            await replica.sweep()
        assert (await orchestrator.AttachBooking(asked)).payment.booking_ids == asked.booking_ids, life.place
        assert (await journeys.payment(asked.payment_id)).booking_ids == asked.booking_ids, life.place


# The platform's own check.


class Platform(BookingCheckServiceServicer):
    """A platform that says what a test wants."""

    def __init__(self) -> None:
        self.asked: list[booking_check_pb2.CheckPayableRequest] = []
        self.answer = booking_check_pb2.CheckPayableResponse(payable=True)
        self.is_silent = False
        self.meter = Meter()

    async def answers(self, outcome: str) -> float:
        """Return how often a replica counted an answer of this kind."""
        return Figures.read(await self.meter.text()).of("batzen_booking_checks_total", outcome=outcome)

    async def CheckPayable(self, request: booking_check_pb2.CheckPayableRequest, context: Any) -> Any:
        self.asked.append(request)
        if self.is_silent:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "away")
        return self.answer


@asynccontextmanager
async def checked(world: World, platform: Platform, *, allow: bool = False) -> AsyncIterator[OrchestratorServiceStub]:
    """Run a replica whose platform checks bookings, and call it."""
    async with checking(world, platform, allow=allow) as replica, replica.connect() as stub:
        yield stub


@asynccontextmanager
async def checking(world: World, platform: Platform, *, allow: bool = False) -> AsyncIterator[Orchestrator]:
    """Run a replica whose platform checks bookings."""
    server = aio.server()
    add_BookingCheckServiceServicer_to_server(platform, server)
    port = server.add_insecure_port(f"{HOST}:0")
    await server.start()
    async with (
        make_channel(f"{HOST}:{port}", timeout_s=WITHIN_S, metadata=lambda: ()) as channel,
        world.orchestrator(
            booking_check=BookingCheckServiceStub(channel), allow_on_silence=allow, meter=platform.meter
        ) as replica,
    ):
        yield replica
    await server.stop(None)


async def test_the_platform_is_asked_before_an_intent_is_made_and_before_a_submit(world: World) -> None:
    platform, booked = Platform(), booking()
    async with checked(world, platform) as stub:
        payment = (await stub.StartPayment(start(booking_ids=[booked]))).session.payment
        assert state_of((await stub.SubmitPayment(submit(payment.payment_id))).payment) == "SUCCEEDED"
    first, second = platform.asked
    assert first == second
    assert await platform.answers("payable") == 2
    assert (first.payment_id, list(first.booking_ids), first.total) == (payment.payment_id, [booked], payment.total)


async def test_a_start_that_the_platform_refuses_makes_nothing(world: World) -> None:
    platform, booked = Platform(), booking()
    platform.answer = booking_check_pb2.CheckPayableResponse(booking_id=booked, detail="It was cancelled.")
    async with checked(world, platform) as stub:
        refusal = await refused(stub.StartPayment(start(booking_ids=[booked])))
        assert (refusal.reason, refusal.metadata) == (
            "BOOKING_NOT_PAYABLE",
            {"booking_id": booked, "explanation": "It was cancelled."},
        )
        assert await platform.answers("refused") == 1
        platform.answer = booking_check_pb2.CheckPayableResponse(payable=True)
        assert (await stub.StartPayment(start(booking_ids=[booked]))).session.client_secret


async def test_a_submit_that_the_platform_refuses_is_the_payers_turn_still_and_is_asked_about_again(
    world: World, journeys: Journeys
) -> None:
    platform, booked = Platform(), booking()
    async with checked(world, platform) as stub:
        payment_id = (await stub.StartPayment(start(booking_ids=[booked]))).session.payment.payment_id
        platform.answer = booking_check_pb2.CheckPayableResponse(booking_id=booked)
        asked = submit(payment_id)
        assert (await refused(stub.SubmitPayment(asked))).reason == "BOOKING_NOT_PAYABLE"
        assert state_of(await journeys.payment(payment_id)) == "REQUIRES_PAYMENT_METHOD"
        assert await journeys.charges(payment_id) == []
        platform.answer = booking_check_pb2.CheckPayableResponse(payable=True)
        assert state_of((await stub.SubmitPayment(asked)).payment) == "SUCCEEDED"
    assert len(await journeys.charges(payment_id)) == 1


async def test_a_charge_that_the_platform_refuses_is_put_off_and_an_operator_sees_it(
    world: World, replica: Orchestrator, journeys: Journeys, clock: Clock
) -> None:
    platform, booked, at = Platform(), booking(), clock.now() + timedelta(hours=1)
    payment_id = await journeys.scheduled(at, booking_ids=[booked])
    platform.answer = booking_check_pb2.CheckPayableResponse(booking_id=booked)
    async with checking(world, platform) as checked_replica, checked_replica.connect() as stub:
        assert (await refused(stub.RetryPayment(retry(payment_id)))).reason == "BOOKING_NOT_PAYABLE"
        assert state_of(await journeys.payment(payment_id)) == "SCHEDULED"
        clock.advance(timedelta(hours=1, seconds=1))
        await checked_replica.sweep()
    snapshot = (await journeys.payment(payment_id)).snapshot
    assert (snapshot.attention.reason, snapshot.last_error.code) == ("CHARGE_REFUSED", "booking_not_payable")
    assert await journeys.intents(payment_id) == []
    clock.advance(timedelta(days=1))
    await replica.sweep()
    assert state_of(await journeys.payment(payment_id)) == "SUCCEEDED"


async def test_what_the_platform_refuses_is_not_attached_and_stays_free(world: World, journeys: Journeys) -> None:
    platform, booked = Platform(), booking()
    async with checked(world, platform) as stub:
        payment_id = (await stub.StartPayment(start())).session.payment.payment_id
        platform.answer = booking_check_pb2.CheckPayableResponse(booking_id=booked)
        assert (await refused(stub.AttachBooking(attach(payment_id, booked)))).reason == "BOOKING_NOT_PAYABLE"
    assert (await journeys.plan(payment_id)).booking_ids == []
    assert await journeys.started(booking_ids=[booked])


async def test_a_silent_platform_lets_nothing_through(world: World) -> None:
    platform, asked = Platform(), start(booking_ids=[booking()])
    platform.is_silent = True
    async with checked(world, platform) as stub:
        assert (await refused(stub.StartPayment(asked))).reason == "DEPENDENCY_UNAVAILABLE"
        assert await platform.answers("silent") == 1
        platform.is_silent = False
        assert (await stub.StartPayment(asked)).session.client_secret


async def test_a_silent_platform_lets_everything_through_where_the_setting_says_so(world: World) -> None:
    platform = Platform()
    platform.is_silent = True
    async with checked(world, platform, allow=True) as stub:
        assert (await stub.StartPayment(start(booking_ids=[booking()]))).session.client_secret


# What payments are found by.


async def test_payments_are_found_by_what_callers_know(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    asked = start(booking_ids=[booking()], client_reference=f"order {new_id()}")
    payment = (await orchestrator.StartPayment(asked)).session.payment
    [intent] = await journeys.intents(payment.payment_id)
    for by in (
        {"booking_id": asked.booking_ids[0]},
        {"client_reference": asked.client_reference},
        {"stripe_id": intent["id"]},
        {"start_request_id": asked.request_id},
    ):
        [found] = (await orchestrator.FindPayments(pb.FindPaymentsRequest(**by))).payments
        assert found.payment_id == payment.payment_id, by


@pytest.mark.parametrize(
    "by",
    [
        {"booking_id": "none"},
        {"client_reference": "none"},
        {"stripe_id": "pi_none"},
        {"stripe_id": "none"},
        {"start_request_id": new_id()},
    ],
    ids=lambda by: next(iter(by)),
)
async def test_what_is_not_there_is_not_found(orchestrator: OrchestratorServiceStub, by: dict[str, str]) -> None:
    assert not (await orchestrator.FindPayments(pb.FindPaymentsRequest(**by))).payments


async def test_something_must_be_named(orchestrator: OrchestratorServiceStub) -> None:
    refusal: Refusal = await refused(orchestrator.FindPayments(pb.FindPaymentsRequest()))
    assert (refusal.reason, refusal.field) == ("FIELD_MISSING", "by")
