"""Capturing what is held: whole or in part, never more than that, and nothing that is not held any more."""

from __future__ import annotations

from datetime import timedelta

import pytest
from grpc import StatusCode

from sandbox.control import SandboxControl
from services.gateway.intents.holds import LIMITS
from services.runtime.rpc import call_context
from tests.gateway.conftest import Gateway
from tests.gateway.samples import (
    AMOUNT_MINOR,
    CAPTURE,
    REQUIRES_CAPTURE,
    SUCCEEDED,
    Payments,
    chf,
    new_id,
    refused,
)
from tests.gateway.stubs import GatewayStubs

PRECONDITION = StatusCode.FAILED_PRECONDITION
PART_MINOR = 4_000
PART_FEE_MINOR = 601
"""Not what the share of the part would be: what is given counts."""


async def test_a_hold_says_until_when(payments: Payments) -> None:
    seen = await payments.seen(await payments.held())

    ends_after = seen.hold_expire_time.ToDatetime() - seen.observe_time.ToDatetime()
    assert LIMITS["card"] - timedelta(minutes=5) < ends_after < timedelta(days=7, minutes=5)
    assert not seen.hold_lapsed


async def test_the_whole_is_captured(gateway: GatewayStubs, payments: Payments) -> None:
    payment_id = await payments.held()
    request = payments.capture_request(payment_id, final_capture=False)  # nothing is left that could be captured later

    seen = (await gateway.CaptureIntent(request)).observation

    assert (seen.intent_state, seen.amounts.captured_minor, seen.amounts.capturable_minor) == (
        SUCCEEDED,
        AMOUNT_MINOR,
        0,
    )
    assert not seen.HasField("hold_expire_time")
    assert (await gateway.CaptureIntent(request)).observation == seen


async def test_a_part_is_captured_with_its_own_fee_and_the_rest_is_released(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    payment_id = await payments.held()
    request = payments.capture_request(payment_id, PART_MINOR, application_fee=chf(PART_FEE_MINOR))

    seen = (await gateway.CaptureIntent(request)).observation

    assert (seen.intent_state, seen.amounts.captured_minor, seen.refundable_minor) == (
        SUCCEEDED,
        PART_MINOR,
        PART_MINOR,
    )
    assert (seen.amounts.authorized_minor, seen.amounts.capturable_minor) == (AMOUNT_MINOR, 0)
    (charge,) = await payments.charges(payment_id)
    (fee,) = await stripe.objects("application_fee", charge=charge["id"])
    assert (charge["amount_captured"], fee["amount"]) == (PART_MINOR, PART_FEE_MINOR)
    assert await payments.synced(payment_id) == seen


async def test_a_part_without_a_fee_is_given_back_without_one(gateway: GatewayStubs, payments: Payments) -> None:
    payment_id = await payments.held()
    request = payments.capture_request(payment_id, PART_MINOR, application_fee=chf(0))
    await gateway.CaptureIntent(request)

    refund = payments.refund_request(payment_id, PART_MINOR, expected_minor=PART_MINOR)

    assert (await gateway.CreateRefund(refund)).observation.amounts.refunded_minor == PART_MINOR


async def test_what_stripe_would_release_unasked_is_refused_before_it_is_asked(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    payment_id = await payments.held()
    await stripe.fault("invalid", route=CAPTURE, times=None)

    part = gateway.CaptureIntent(payments.capture_request(payment_id, PART_MINOR, final_capture=False))
    code, reason, field, _ = await refused(part)
    assert (code, reason, field) == (PRECONDITION, "CAPTURE_NOT_REPEATABLE", "final_capture")

    more = gateway.CaptureIntent(payments.capture_request(payment_id, AMOUNT_MINOR + 1))
    assert await refused(more) == (
        PRECONDITION,
        "CAPTURE_EXCEEDS_CAPTURABLE",
        "amount",
        {"capturable_minor": str(AMOUNT_MINOR)},
    )

    assert [fault["hits"] for fault in await stripe.faults()] == [0]
    await stripe.clear_faults()
    assert (await payments.seen(payment_id)).intent_state == REQUIRES_CAPTURE


async def test_only_what_is_held_is_captured(gateway: GatewayStubs, payments: Payments) -> None:
    released = await payments.held()
    await gateway.CancelIntent(payments.cancel_request(released))
    for payment_id, state in (
        (await payments.created(capture_manually=True), "REQUIRES_PAYMENT_METHOD"),
        (await payments.paid(), "SUCCEEDED"),
        (released, "CANCELED"),
    ):
        code, reason, _, metadata = await refused(gateway.CaptureIntent(payments.capture_request(payment_id)))
        assert (code, reason, metadata) == (PRECONDITION, "INTENT_STATE", {"intent_state": state})

    unknown = gateway.CaptureIntent(payments.capture_request(new_id("pay")))
    assert (await refused(unknown))[:2] == (StatusCode.NOT_FOUND, "INTENT_NOT_FOUND")


async def test_a_hold_that_was_captured_in_the_dashboard_is_not_captured_again(
    replica: Gateway, gateway: GatewayStubs, payments: Payments
) -> None:
    payment_id = await payments.held()
    intent_id, part = await payments.intent_id(payment_id), {"amount_to_capture": PART_MINOR}
    with call_context.acting_for("main"):
        await replica.parts.provider.capture_intent(intent_id, part, key=new_id("key"))

    code, reason, _, metadata = await refused(gateway.CaptureIntent(payments.capture_request(payment_id, PART_MINOR)))

    assert (code, reason, metadata) == (PRECONDITION, "INTENT_STATE", {"intent_state": "SUCCEEDED"})
    assert (await payments.seen(payment_id)).amounts.captured_minor == PART_MINOR


async def test_a_refusal_of_stripes_that_is_not_explained_by_what_is_held_is_said(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    payment_id = await payments.held()
    await stripe.fault("invalid", route=CAPTURE, code="odd", param="amount_to_capture")

    code, reason, _, metadata = await refused(gateway.CaptureIntent(payments.capture_request(payment_id)))

    assert (code, reason) == (PRECONDITION, "STRIPE_REFUSED")
    assert (metadata["code"], metadata["param"]) == ("odd", "amount_to_capture")
    assert (await payments.seen(payment_id)).intent_state == REQUIRES_CAPTURE


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"amount": chf(0)}, "amount.amount_minor"),
        ({"application_fee": chf(AMOUNT_MINOR + 1)}, "application_fee.amount_minor"),
    ],
)
async def test_a_wrong_request_names_its_field(
    gateway: GatewayStubs, payments: Payments, changes: dict[str, object], field: str
) -> None:
    request = payments.capture_request(new_id("pay"), **changes)

    assert (await refused(gateway.CaptureIntent(request)))[:3] == (
        StatusCode.INVALID_ARGUMENT,
        "FIELD_INVALID",
        field,
    )
