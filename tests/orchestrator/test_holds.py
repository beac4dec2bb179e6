"""Holds: captured whole or in part, once or several times, released, and refused when there is nothing to capture."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from services.orchestrator.domain.policies import RETRY_MAX
from services.wire import timestamp
from tests.eventually import WITHIN_S
from tests.orchestrator.conftest import Journeys, Orchestrator, World
from tests.orchestrator.samples import (
    CAPTURE,
    FEE_MINOR,
    HELD,
    TOTAL_MINOR,
    Clock,
    cancel,
    capture,
    chf,
    hold,
    refused,
    start,
    state_of,
)

NOBODYS = "pay_00000000000000000000000000"
PART_MINOR = 3_333
PART_FEE_MINOR = 500
"""15 % of the part, rounded half up."""


async def fees(journeys: Journeys, payment_id: str) -> list[int]:
    """Return what Stripe took as the platform's, charge by charge."""
    return [
        fee["amount"]
        for charge in await journeys.charges(payment_id)
        for fee in await journeys.stripe.objects("application_fee", charge=charge["id"])
    ]


async def captures(journeys: Journeys, payment_id: str) -> int:
    """Return how often Stripe was asked to capture a payment since its figures were cleared."""
    [intent] = await journeys.intents(payment_id)
    return (await journeys.stripe.calls(intent["id"])).get(CAPTURE, 0)


async def test_what_is_held_is_captured_whole(orchestrator: OrchestratorServiceStub, journeys: Journeys) -> None:
    payment_id = await journeys.held()
    held = (await journeys.payment(payment_id)).snapshot
    assert (held.amounts.authorized_minor, held.amounts.capturable_minor) == (TOTAL_MINOR, TOTAL_MINOR)
    assert held.HasField("hold_expire_time")
    assert (await journeys.plan(payment_id)).next_step == "WARN_HOLD"

    asked = capture(payment_id)
    payment = (await orchestrator.CapturePayment(asked)).payment

    assert state_of(payment) == "SUCCEEDED"
    assert (payment.snapshot.amounts.capturable_minor, payment.snapshot.amounts.captured_minor) == (0, TOTAL_MINOR)
    assert not payment.snapshot.HasField("hold_expire_time")
    assert await journeys.states(payment_id) == [*HELD, "SUCCEEDED"]
    assert await fees(journeys, payment_id) == [FEE_MINOR]
    assert (await orchestrator.CapturePayment(asked)).payment == payment, "a repeat is answered, and captures nothing"
    assert (await journeys.plan(payment_id)).next_step == ""


async def test_a_part_is_captured_and_the_rest_released(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await journeys.held()
    payment = (await orchestrator.CapturePayment(capture(payment_id, PART_MINOR, final_capture=True))).payment

    assert state_of(payment) == "SUCCEEDED"
    amounts = payment.snapshot.amounts
    assert (amounts.authorized_minor, amounts.capturable_minor, amounts.captured_minor) == (TOTAL_MINOR, 0, PART_MINOR)
    assert await fees(journeys, payment_id) == [PART_FEE_MINOR], "the platform's part follows what is captured"
    preview = await orchestrator.PreviewRefund(pb.PreviewRefundRequest(payment_id=payment_id))
    [given_back] = preview.seller_parts
    assert (given_back.gross.amount_minor, given_back.platform_fee.amount_minor) == (PART_MINOR, PART_FEE_MINOR)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"actor_id": ""}, "actor_id"),
        ({"amount": chf(0)}, "amount.amount_minor"),
        ({"payment_id": "nothing"}, "payment_id"),
    ],
)
async def test_a_capture_that_says_not_what_is_wanted(
    fields: dict[str, Any], field: str, orchestrator: OrchestratorServiceStub
) -> None:
    refusal = await refused(orchestrator.CapturePayment(capture(**({"payment_id": NOBODYS} | fields))))
    assert (refusal.code, refusal.field) == ("INVALID_ARGUMENT", field)


async def test_a_capture_of_nobodys_payment(orchestrator: OrchestratorServiceStub) -> None:
    refusal = await refused(orchestrator.CapturePayment(capture(NOBODYS)))
    assert (refusal.code, refusal.reason) == ("NOT_FOUND", "PAYMENT_NOT_FOUND")


async def test_a_capture_in_another_currency(orchestrator: OrchestratorServiceStub, journeys: Journeys) -> None:
    payment_id = await journeys.held()
    asked = capture(payment_id, 100)
    asked.amount.currency_code = "EUR"
    refusal = await refused(orchestrator.CapturePayment(asked))
    assert (refusal.code, refusal.field) == ("INVALID_ARGUMENT", "amount.currency_code")


async def test_a_payer_captures_nothing(as_payer: OrchestratorServiceStub, journeys: Journeys) -> None:
    refusal = await refused(as_payer.CapturePayment(capture(await journeys.held())))
    assert refusal.code == "PERMISSION_DENIED"


async def test_more_than_is_held_is_refused_before_stripe_is_asked(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await journeys.held()
    await journeys.stripe.clear_metrics()
    refusal = await refused(orchestrator.CapturePayment(capture(payment_id, TOTAL_MINOR + 1)))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "CAPTURE_EXCEEDS_CAPTURABLE")
    assert refusal.metadata == {"capturable_minor": str(TOTAL_MINOR)}
    assert await captures(journeys, payment_id) == 0
    assert state_of(await journeys.payment(payment_id)) == "AUTHORIZED"


async def test_nothing_is_captured_of_what_is_not_held(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    started, paid, canceled, captured = (
        await journeys.started(timing=pb.TIMING_MANUAL_CAPTURE),
        await journeys.paid(),
        await journeys.held(),
        await journeys.held(),
    )
    await orchestrator.CancelPayment(cancel(canceled))
    await orchestrator.CapturePayment(capture(captured))
    for payment_id, state in (
        (started, "REQUIRES_PAYMENT_METHOD"),
        (paid, "SUCCEEDED"),
        (canceled, "CANCELED"),
        (captured, "SUCCEEDED"),
    ):
        refusal = await refused(orchestrator.CapturePayment(capture(payment_id)))
        assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "PAYMENT_STATE")
        assert refusal.metadata == {"state": state}


async def test_a_hold_that_was_captured_in_stripes_dashboard_is_not_captured_twice(
    world: World, orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    """We have not heard of it: Stripe refuses, and what is true is seen by that."""
    payment_id = await journeys.held()
    [intent] = await journeys.intents(payment_id)
    async with httpx.AsyncClient(base_url=journeys.stripe.base_url, timeout=WITHIN_S) as dashboard:
        answer = await dashboard.post(
            f"/v1/payment_intents/{intent['id']}/capture",
            data={"amount_to_capture": PART_MINOR},
            headers={"Authorization": f"Bearer {world.stripe_key}"},
        )
    answer.raise_for_status()
    refusal = await refused(orchestrator.CapturePayment(capture(payment_id)))
    assert (refusal.reason, refusal.metadata) == ("PAYMENT_STATE", {"state": "SUCCEEDED"})
    assert (await journeys.payment(payment_id)).snapshot.amounts.captured_minor == PART_MINOR
    assert await journeys.states(payment_id) == [*HELD, "SUCCEEDED"]


async def test_a_payer_does_not_release_a_hold(as_payer: OrchestratorServiceStub, journeys: Journeys) -> None:
    payment_id = await journeys.held()
    refusal = await refused(as_payer.CancelPayment(cancel(payment_id)))
    assert (refusal.reason, refusal.metadata["state"]) == ("PAYMENT_STATE", "AUTHORIZED")
    assert (await journeys.payment(payment_id)).snapshot.amounts.capturable_minor == TOTAL_MINOR


async def test_a_cancel_releases_what_is_held(orchestrator: OrchestratorServiceStub, journeys: Journeys) -> None:
    payment_id = await journeys.held()
    payment = (await orchestrator.CancelPayment(cancel(payment_id))).payment
    assert state_of(payment) == "CANCELED"
    assert (payment.snapshot.amounts.capturable_minor, payment.snapshot.amounts.captured_minor) == (0, 0)
    assert [one["status"] for one in await journeys.intents(payment_id)] == ["canceled"]


async def test_a_capture_whose_outcome_is_not_known_stays_open_until_it_is(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, clock: Clock
) -> None:
    payment_id = await journeys.held()
    asked = capture(payment_id, PART_MINOR, final_capture=True)
    await journeys.silence(CAPTURE)
    refusal = await refused(orchestrator.CapturePayment(asked))
    assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "DEPENDENCY_UNAVAILABLE")
    payment = await journeys.payment(payment_id)
    assert (state_of(payment), payment.snapshot.reason) == ("PROCESSING", "OUTCOME_UNKNOWN")
    assert (await refused(orchestrator.CapturePayment(capture(payment_id)))).code == "UNAVAILABLE"
    assert (await refused(orchestrator.CancelPayment(cancel(payment_id)))).code == "UNAVAILABLE"

    await journeys.stripe.clear_faults()
    clock.advance(RETRY_MAX)
    await replica.sweep()
    assert state_of((await orchestrator.CapturePayment(asked)).payment) == "SUCCEEDED"
    assert await journeys.states(payment_id) == [*HELD, "PROCESSING", "SUCCEEDED"]
    assert [one["amount_captured"] for one in await journeys.charges(payment_id)] == [PART_MINOR]
    assert (await journeys.plan(payment_id)).pending_steps == []


async def test_what_stripe_refuses_to_capture_is_still_held(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await journeys.held()
    await journeys.stripe.fault("invalid", route=CAPTURE, code="charge_disputed")
    refusal = await refused(orchestrator.CapturePayment(capture(payment_id)))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "CAPTURE_REFUSED")
    assert refusal.metadata == {"code": "charge_disputed"}
    assert state_of((await orchestrator.CapturePayment(capture(payment_id))).payment) == "SUCCEEDED", "another, later"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"capture_time": timestamp(datetime(2099, 1, 1, tzinfo=UTC))}, "capture_time"),
        ({"release_before_lapse": True}, "release_before_lapse"),
    ],
)
async def test_only_a_hold_is_captured_later_or_released(
    changes: dict[str, Any], field: str, orchestrator: OrchestratorServiceStub
) -> None:
    refusal = await refused(orchestrator.StartPayment(start(**changes)))
    assert (refusal.code, refusal.reason, refusal.field) == ("INVALID_ARGUMENT", "FIELD_INVALID", field)


async def test_a_hold_is_captured_in_the_future_and_a_start_is_repeated_at_any_time(
    orchestrator: OrchestratorServiceStub, clock: Clock
) -> None:
    past = hold(capture_time=timestamp(clock.now() - timedelta(seconds=1)))
    refusal = await refused(orchestrator.StartPayment(past))
    assert (refusal.code, refusal.reason, refusal.field) == ("INVALID_ARGUMENT", "FIELD_INVALID", "capture_time")
    never = hold()
    never.capture_time.seconds = 2**60
    assert (await refused(orchestrator.StartPayment(never))).field == "capture_time"

    asked = hold(capture_time=timestamp(clock.now() + timedelta(hours=1)))
    first = (await orchestrator.StartPayment(asked)).session.payment
    clock.advance(timedelta(hours=2))
    assert (await orchestrator.StartPayment(asked)).session.payment.payment_id == first.payment_id
