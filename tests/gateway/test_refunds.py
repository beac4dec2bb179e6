"""Giving money back: never more than was taken, never twice, and true to what Stripe shows."""

from __future__ import annotations

from datetime import timedelta

import pytest
from grpc import StatusCode

from batzen.gateway.v1 import refunds_pb2
from sandbox.control import SandboxControl
from tests.clock import Clock
from tests.gateway.conftest import Sink
from tests.gateway.samples import AMOUNT_MINOR, REFUND, SUCCEEDED, Payments, chf, new_id, refusal, refused
from tests.gateway.stubs import GatewayStubs

PENDING = refunds_pb2.Refund.STATE_PENDING
GIVEN_BACK = refunds_pb2.Refund.STATE_SUCCEEDED
FAILED = refunds_pb2.Refund.STATE_FAILED


async def listed(gateway: GatewayStubs, payment_id: str) -> list[refunds_pb2.Refund]:
    return list((await gateway.ListRefunds(refunds_pb2.ListRefundsRequest(payment_id=payment_id))).refunds)


async def test_a_part_and_then_the_rest_go_back(gateway: GatewayStubs, payments: Payments, clock: Clock) -> None:
    payment_id = await payments.paid()

    first = await gateway.CreateRefund(payments.refund_request(payment_id, 4_000))
    assert first.refund.state == GIVEN_BACK
    assert (first.refund.amount, first.refund.actor_id) == (chf(4_000), "operator_1")
    assert first.observation.amounts.refunded_minor == 4_000
    assert first.observation.refundable_minor == 6_000

    clock.advance(timedelta(seconds=1))
    rest = await gateway.CreateRefund(payments.refund_request(payment_id, 6_000, expected_minor=6_000))
    assert rest.observation.amounts.refunded_minor == AMOUNT_MINOR
    assert rest.observation.refundable_minor == 0
    assert rest.observation.intent_state == SUCCEEDED
    assert await listed(gateway, payment_id) == [first.refund, rest.refund]
    found = await gateway.GetRefund(refunds_pb2.GetRefundRequest(refund_id=first.refund.refund_id))
    assert found.refund == first.refund


async def test_without_a_fee_there_is_none_to_give_back(gateway: GatewayStubs, payments: Payments) -> None:
    payment_id = await payments.paid(application_fee=chf(0))

    answer = await gateway.CreateRefund(payments.refund_request(payment_id, 100))

    assert answer.refund.state == GIVEN_BACK


async def test_a_repeat_gives_nothing_back_twice(gateway: GatewayStubs, payments: Payments) -> None:
    payment_id = await payments.paid()
    request = payments.refund_request(payment_id, 4_000)
    first = await gateway.CreateRefund(request)

    assert await gateway.CreateRefund(request) == first
    assert len(await payments.refunds(payment_id)) == 1

    request.amount.amount_minor = 4_001
    assert await refusal(gateway.CreateRefund(request)) == (StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")


async def test_the_checks_of_a_refund_and_their_order(gateway: GatewayStubs, payments: Payments) -> None:
    unknown = payments.refund_request(new_id("pay"), 0)
    assert await refusal(gateway.CreateRefund(unknown)) == (StatusCode.NOT_FOUND, "INTENT_NOT_FOUND")

    payment_id = await payments.paid()
    for amount_minor in (0, -1):
        nothing = payments.refund_request(payment_id, amount_minor, expected_minor=1)
        assert (await refused(gateway.CreateRefund(nothing)))[:3] == (
            StatusCode.INVALID_ARGUMENT,
            "FIELD_INVALID",
            "amount.amount_minor",
        )
    euro = payments.refund_request(payment_id, 100)
    euro.amount.currency_code = "EUR"
    assert (await refused(gateway.CreateRefund(euro)))[:3] == (
        StatusCode.INVALID_ARGUMENT,
        "FIELD_INVALID",
        "amount.currency_code",
    )
    stale = payments.refund_request(payment_id, AMOUNT_MINOR + 2, expected_minor=AMOUNT_MINOR + 1)
    code, reason, _, metadata = await refused(gateway.CreateRefund(stale))
    assert (code, reason) == (StatusCode.FAILED_PRECONDITION, "REFUNDABLE_CHANGED")
    assert metadata == {"refundable_minor": str(AMOUNT_MINOR)}
    excess = payments.refund_request(payment_id, AMOUNT_MINOR + 1)
    code, reason, _, metadata = await refused(gateway.CreateRefund(excess))
    assert (code, reason) == (StatusCode.FAILED_PRECONDITION, "REFUND_EXCEEDS_REFUNDABLE")
    assert metadata == {"refundable_minor": str(AMOUNT_MINOR)}

    assert await payments.refunds(payment_id) == []
    assert (await payments.seen(payment_id)).refundable_minor == AMOUNT_MINOR


@pytest.mark.parametrize("flag", ["reverse_transfer", "refund_application_fee"])
async def test_how_money_moves_has_no_default(gateway: GatewayStubs, payments: Payments, flag: str) -> None:
    request = payments.refund_request(await payments.paid(), 100)
    request.ClearField(flag)  # type: ignore[arg-type]  # one of two names

    assert (await refused(gateway.CreateRefund(request)))[:3] == (StatusCode.INVALID_ARGUMENT, "FIELD_MISSING", flag)


async def test_a_fee_goes_back_only_with_the_transfer(gateway: GatewayStubs, payments: Payments) -> None:
    request = payments.refund_request(await payments.paid(), 100, reverse_transfer=False)

    assert (await refused(gateway.CreateRefund(request)))[:3] == (
        StatusCode.INVALID_ARGUMENT,
        "FIELD_INVALID",
        "refund_application_fee",
    )


async def test_what_was_not_taken_is_not_given_back(gateway: GatewayStubs, payments: Payments) -> None:
    payment_id = await payments.created()

    request = payments.refund_request(payment_id, 100, expected_minor=0)

    assert (await refusal(gateway.CreateRefund(request)))[1] == "REFUND_EXCEEDS_REFUNDABLE"


async def test_a_refund_on_its_way_is_reserved_until_it_arrives(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    payment_id = await payments.paid("pendingRefund")

    answer = await gateway.CreateRefund(payments.refund_request(payment_id, 4_000))
    assert answer.refund.state == PENDING
    assert answer.refund.stripe_refund_id
    assert answer.observation.amounts.refund_pending_minor == 4_000
    assert answer.observation.refundable_minor == 6_000

    await stripe.settle()
    seen = await payments.synced(payment_id)
    assert (seen.amounts.refund_pending_minor, seen.amounts.refunded_minor) == (0, 4_000)


async def test_a_refund_that_fails_later_can_be_made_again(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    payment_id = await payments.paid("refundFail")
    answer = await gateway.CreateRefund(payments.refund_request(payment_id, AMOUNT_MINOR))
    assert answer.observation.refundable_minor == 0

    await stripe.settle()
    seen = await payments.synced(payment_id)

    assert (seen.amounts.refunded_minor, seen.refundable_minor) == (0, AMOUNT_MINOR)
    (failed,) = await listed(gateway, payment_id)
    assert failed.state == FAILED
    assert failed.failure_reason
    again = await gateway.CreateRefund(payments.refund_request(payment_id, 100))
    assert again.refund.refund_id != failed.refund_id


async def test_a_refund_made_in_the_dashboard_is_seen_and_counts(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    payment_id = await payments.paid()
    await gateway.CreateRefund(payments.refund_request(payment_id, 1_000))
    await stripe.refund(await payments.intent_id(payment_id), amount=2_500)

    seen = await payments.synced(payment_id)

    assert (seen.amounts.refunded_minor, seen.refundable_minor) == (3_500, 6_500)
    ours, theirs = sorted(await listed(gateway, payment_id), key=lambda one: one.amount.amount_minor)
    assert (ours.actor_id, theirs.actor_id) == ("operator_1", "")
    assert theirs.amount == chf(2_500)
    assert theirs.refund_id.startswith("refund_")
    again = await payments.synced(payment_id)  # what its seller has may have been transferred meanwhile
    assert (again.amounts, again.refundable_minor) == (seen.amounts, seen.refundable_minor)
    assert len(await listed(gateway, payment_id)) == 2


async def test_more_refunds_than_a_page_of_stripes_holds_are_all_seen(
    payments: Payments, stripe: SandboxControl
) -> None:
    payment_id = await payments.paid()
    intent_id = await payments.intent_id(payment_id)
    for _ in range(101):
        await stripe.refund(intent_id, amount=1)

    assert (await payments.synced(payment_id)).amounts.refunded_minor == 101


async def test_a_refund_that_stripe_refuses_is_answered_with_the_balance_that_is_true(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl, delivered: Sink
) -> None:
    payment_id = await payments.paid()
    await stripe.refund(await payments.intent_id(payment_id), amount=7_000)  # and we have not seen it yet
    request = payments.refund_request(payment_id, 4_000)

    refused_with = await refused(gateway.CreateRefund(request))

    code, reason, field, metadata = refused_with
    assert (code, reason) == (StatusCode.FAILED_PRECONDITION, "REFUNDABLE_CHANGED")
    assert (field, metadata) == ("expected_refundable", {"refundable_minor": "3000"})
    seen = await payments.seen(payment_id)
    assert (seen.amounts.refund_pending_minor, seen.refundable_minor) == (0, 3_000)
    await delivered.hears(payment_id, lambda heard: heard.refundable_minor == 3_000)
    assert await refused(gateway.CreateRefund(request)) == refused_with
    assert len(await payments.refunds(payment_id)) == 1
    again = payments.refund_request(payment_id, 3_000, expected_minor=3_000)
    assert (await gateway.CreateRefund(again)).observation.refundable_minor == 0


async def test_a_refund_that_stripe_refuses_for_another_reason_says_which_and_stays_refundable(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    payment_id = await payments.paid()
    await stripe.fault("invalid", route=REFUND, code="balance_insufficient", param="amount")

    code, reason, _, metadata = await refused(gateway.CreateRefund(payments.refund_request(payment_id, 4_000)))

    assert (code, reason) == (StatusCode.FAILED_PRECONDITION, "STRIPE_REFUSED")
    assert metadata == {"code": "balance_insufficient", "param": "amount"}
    assert (await payments.seen(payment_id)).refundable_minor == AMOUNT_MINOR


async def test_a_refund_of_a_charge_that_was_disputed_meanwhile_says_so(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    payment_id = await payments.paid()
    await stripe.dispute(await payments.intent_id(payment_id))  # and we have not seen it yet

    request = payments.refund_request(payment_id, 4_000)

    assert await refusal(gateway.CreateRefund(request)) == (StatusCode.FAILED_PRECONDITION, "CHARGE_DISPUTED")


async def test_nobody_knows_a_refund_that_was_never_made(gateway: GatewayStubs, payments: Payments) -> None:
    nothing = refunds_pb2.GetRefundRequest(refund_id=new_id("refund"))
    assert await refusal(gateway.GetRefund(nothing)) == (StatusCode.NOT_FOUND, "REFUND_NOT_FOUND")
    nobody = refunds_pb2.ListRefundsRequest(payment_id=new_id("pay"))
    assert await refusal(gateway.ListRefunds(nobody)) == (StatusCode.NOT_FOUND, "INTENT_NOT_FOUND")
    assert await listed(gateway, await payments.created()) == []
