"""Capturing what is held: whole or in part, never more than that, and nothing that is not held any more."""

from __future__ import annotations

import asyncio

import pytest
from grpc import StatusCode, aio

from batzen.gateway.v1 import observation_pb2
from sandbox.control import SandboxControl
from services.gateway.call_log import backoff
from services.gateway.call_log.execution import IN_FLIGHT_MAX
from services.gateway.stripe_api.transport import TRIES_MAX
from services.runtime.rpc import call_context
from tests.clock import Clock
from tests.gateway.conftest import Gateway, Sink
from tests.gateway.receiving import event_of, receiving
from tests.gateway.samples import (
    AMOUNT_MINOR,
    CANCELED,
    CAPTURE,
    REQUIRES_CAPTURE,
    SUCCEEDED,
    Payments,
    chf,
    new_id,
    reason_of,
    refusal,
    refused,
)
from tests.gateway.stubs import GatewayStubs

pytestmark = pytest.mark.usefixtures("settles_late")

PRECONDITION = StatusCode.FAILED_PRECONDITION
CAPTURED_ONCE = "jcb"
PART_MINOR = 4_000
PART_FEE_MINOR = 601
"""Not what the share of the part would be: what is given counts."""


async def test_a_hold_ends_when_stripe_says(payments: Payments) -> None:
    payment_id = await payments.held()

    seen = await payments.seen(payment_id)

    (charge,) = await payments.charges(payment_id)
    assert seen.hold_expire_time.seconds == charge["payment_method_details"]["card"]["capture_before"]
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
    payment_id = await payments.held(CAPTURED_ONCE)
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
    payment_id = await payments.held(CAPTURED_ONCE)
    assert not (await payments.seen(payment_id)).can_capture_again
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
        await replica.parts.provider.intents.capture(intent_id, part, key=new_id("key"))

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


# Several captures of one hold. A card of JCB's is captured once, one of Visa's often.


async def test_parts_are_captured_one_after_another_until_the_final_one(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    payment_id = await payments.held()
    assert (await payments.seen(payment_id)).can_capture_again

    first = payments.capture_request(payment_id, 3_000, final_capture=False, application_fee=chf(401))
    seen = (await gateway.CaptureIntent(first)).observation
    assert (seen.intent_state, seen.can_capture_again) == (REQUIRES_CAPTURE, True)
    assert (seen.amounts.captured_minor, seen.amounts.capturable_minor, seen.refundable_minor) == (3_000, 7_000, 3_000)
    assert seen.HasField("hold_expire_time")

    too_much = gateway.CaptureIntent(payments.capture_request(payment_id, 7_001, final_capture=False))
    assert (await refused(too_much))[1:] == ("CAPTURE_EXCEEDS_CAPTURABLE", "amount", {"capturable_minor": "7000"})

    last = payments.capture_request(payment_id, 2_000, application_fee=chf(300))
    seen = (await gateway.CaptureIntent(last)).observation
    assert (seen.intent_state, seen.can_capture_again) == (SUCCEEDED, False)
    assert (seen.amounts.captured_minor, seen.amounts.capturable_minor) == (5_000, 0)
    assert seen.amounts.authorized_minor == AMOUNT_MINOR
    assert not seen.HasField("hold_expire_time")
    again = await payments.synced(payment_id)  # what its seller has may have been transferred meanwhile
    assert (again.intent_state, again.amounts, again.can_capture_again) == (SUCCEEDED, seen.amounts, False)
    assert not again.HasField("hold_expire_time")
    (charge,) = await payments.charges(payment_id)
    fees = await stripe.objects("application_fee", charge=charge["id"])
    assert [fee["amount"] for fee in fees] == [401, 300]


async def test_a_part_is_given_back_while_more_is_held(gateway: GatewayStubs, payments: Payments) -> None:
    payment_id = await payments.held()
    await gateway.CaptureIntent(payments.capture_request(payment_id, PART_MINOR, final_capture=False))

    refund = payments.refund_request(payment_id, PART_MINOR, expected_minor=PART_MINOR)
    seen = (await gateway.CreateRefund(refund)).observation

    assert (seen.amounts.refunded_minor, seen.amounts.captured_minor) == (PART_MINOR, PART_MINOR)
    assert seen.amounts.capturable_minor == AMOUNT_MINOR - PART_MINOR
    rest = payments.capture_request(payment_id, AMOUNT_MINOR - PART_MINOR, final_capture=False)
    seen = (await gateway.CaptureIntent(rest)).observation
    assert (seen.intent_state, seen.amounts.captured_minor, seen.refundable_minor) == (
        SUCCEEDED,
        AMOUNT_MINOR,
        AMOUNT_MINOR - PART_MINOR,
    )


@pytest.mark.parametrize("after", [False, True])
async def test_two_captures_of_one_amount_are_told_apart_when_an_answer_is_lost(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl, clock: Clock, *, after: bool
) -> None:
    payment_id = await payments.held()
    await gateway.CaptureIntent(payments.capture_request(payment_id, PART_MINOR, final_capture=False))
    second = payments.capture_request(payment_id, PART_MINOR, final_capture=False)
    # What its key keeps is a failure: whether it was made is read, and the first looks just like it.
    await stripe.fault("server_error", route=CAPTURE, stored=True, after=after)

    seen = (await gateway.CaptureIntent(second)).observation
    assert seen.outcome_unknown is not after, "what is not there may come yet"
    clock.advance(IN_FLIGHT_MAX)
    for _ in range(2):
        seen = (await gateway.CaptureIntent(second)).observation

    assert (seen.outcome_unknown, seen.amounts.captured_minor) == (False, 2 * PART_MINOR)
    (charge,) = await payments.charges(payment_id)
    assert charge["amount_captured"] == 2 * PART_MINOR


async def test_of_captures_at_once_only_what_is_held_is_made(gateway: GatewayStubs, payments: Payments) -> None:
    payment_id = await payments.held()

    answers = await asyncio.gather(
        *(
            gateway.CaptureIntent(payments.capture_request(payment_id, PART_MINOR, final_capture=False))
            for _ in range(4)
        ),
        return_exceptions=True,
    )

    refusals = [reason_of(one) for one in answers if isinstance(one, aio.AioRpcError)]
    assert refusals == ["CAPTURE_EXCEEDS_CAPTURABLE"] * 2
    assert (await payments.synced(payment_id)).amounts.captured_minor == 2 * PART_MINOR


@pytest.mark.parametrize("how", ["cancelled", "lapsed"])
async def test_with_something_captured_the_rest_is_released_and_the_payment_has_succeeded(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl, how: str
) -> None:
    payment_id = await payments.held()
    await gateway.CaptureIntent(payments.capture_request(payment_id, PART_MINOR, final_capture=False))

    if how == "cancelled":
        seen = (await gateway.CancelIntent(payments.cancel_request(payment_id))).observation
    else:
        await stripe.lapse_hold(await payments.intent_id(payment_id))
        code = await refusal(gateway.CaptureIntent(payments.capture_request(payment_id, 1_000)))
        assert code == (PRECONDITION, "INTENT_STATE")
        seen = await payments.seen(payment_id)

    assert seen.intent_state == SUCCEEDED
    assert (seen.amounts.captured_minor, seen.amounts.capturable_minor) == (PART_MINOR, 0)
    (charge,) = await payments.charges(payment_id)
    assert charge["amount_captured"] == PART_MINOR


# Holds that end without us.


async def test_a_hold_that_lapsed_is_not_captured_and_the_observation_says_that_it_lapsed(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl, delivered: Sink
) -> None:
    payment_id = await payments.held()
    await stripe.lapse_hold(await payments.intent_id(payment_id))

    code, reason, _, metadata = await refused(gateway.CaptureIntent(payments.capture_request(payment_id)))

    assert (code, reason, metadata) == (PRECONDITION, "INTENT_STATE", {"intent_state": "CANCELED"})
    heard = (await delivered.hears(payment_id, lambda seen: seen.hold_lapsed)).observation
    assert (heard.intent_state, heard.amounts.capturable_minor) == (CANCELED, 0)
    assert not heard.HasField("hold_expire_time")
    assert (await payments.synced(payment_id)).hold_lapsed


async def test_a_hold_that_was_called_off_has_not_lapsed(gateway: GatewayStubs, payments: Payments) -> None:
    payment_id = await payments.held()

    seen = (await gateway.CancelIntent(payments.cancel_request(payment_id))).observation

    assert (seen.intent_state, seen.hold_lapsed) == (CANCELED, False)


async def test_what_happens_to_a_hold_without_us_comes_in_by_its_events(
    replica: Gateway, gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    request = payments.create_request(capture_manually=True)
    created = await gateway.CreateIntent(request)
    await stripe.browser_confirm(created.client_secret, payment_method="pm_card_visa")
    (held,) = await payments.intents(request.payment_id)

    async with receiving(replica.parts.inbox, clock=replica.parts.clock) as sender:

        async def seen_after(shown: dict[str, object], event_type: str) -> observation_pb2.PaymentObservation:
            await sender.send(event_of(shown, event_type, at=replica.parts.clock.now()))
            await replica.parts.work.once()
            return await payments.seen(request.payment_id)

        seen = await seen_after(held, "payment_intent.amount_capturable_updated")
        assert (seen.intent_state, seen.amounts.capturable_minor) == (REQUIRES_CAPTURE, AMOUNT_MINOR)
        assert seen.HasField("hold_expire_time")
        (charge,) = await payments.charges(request.payment_id)

        await stripe.lapse_hold(held["id"])
        seen = await seen_after(charge, "charge.expired")
        assert (seen.intent_state, seen.hold_lapsed) == (CANCELED, True)

        assert await seen_after(held, "payment_intent.amount_capturable_updated") == seen  # it is older


# Answers that are lost, late, or never come.


async def test_a_capture_that_is_not_answered_is_settled_by_itself_and_made_once(
    replica: Gateway, payments: Payments, stripe: SandboxControl, clock: Clock, delivered: Sink
) -> None:
    gateway = payments.gateway
    for after in (False, True):
        payment_id = await payments.held()
        await stripe.fault("reset", route=CAPTURE, after=after, times=None)
        request = payments.capture_request(payment_id, PART_MINOR)
        answer = (await gateway.CaptureIntent(request)).observation
        assert (answer.outcome_unknown, answer.intent_state) == (True, REQUIRES_CAPTURE)
        await stripe.clear_faults()

        clock.advance(backoff.SETTLE_MAX)
        await replica.parts.work.once()

        heard = (await delivered.hears(payment_id, lambda seen: seen.intent_state == SUCCEEDED)).observation
        assert (heard.outcome_unknown, heard.amounts.captured_minor) == (False, PART_MINOR)
        again = (await gateway.CaptureIntent(request)).observation  # its seller may have its part meanwhile
        assert (again.intent_state, again.amounts, again.outcome_unknown) == (SUCCEEDED, heard.amounts, False)
        (charge,) = await payments.charges(payment_id)
        assert charge["amount_captured"] == PART_MINOR


async def test_a_capture_that_stripe_never_got_and_cannot_make_any_more_is_refused(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    payment_id = await payments.held()
    await stripe.fault("reset", route=CAPTURE, times=TRIES_MAX)
    request = payments.capture_request(payment_id)
    assert (await gateway.CaptureIntent(request)).observation.outcome_unknown
    await stripe.lapse_hold(await payments.intent_id(payment_id))

    code, reason, _, metadata = await refused(gateway.CaptureIntent(request))

    assert (code, reason, metadata) == (PRECONDITION, "INTENT_STATE", {"intent_state": "CANCELED"})
    assert not (await payments.seen(payment_id)).outcome_unknown


async def test_of_a_capture_and_a_cancel_at_once_one_is_true(gateway: GatewayStubs, payments: Payments) -> None:
    payment_id = await payments.held()

    answers = await asyncio.gather(
        gateway.CaptureIntent(payments.capture_request(payment_id)),
        gateway.CancelIntent(payments.cancel_request(payment_id)),
        return_exceptions=True,
    )

    refusals = [reason_of(one) for one in answers if isinstance(one, aio.AioRpcError)]
    assert refusals == ["INTENT_STATE"]
    seen = await payments.synced(payment_id)
    assert (seen.intent_state, seen.amounts.captured_minor) in ((SUCCEEDED, AMOUNT_MINOR), (CANCELED, 0))
