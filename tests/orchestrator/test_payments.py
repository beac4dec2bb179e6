"""The ways of a payment through the orchestrator, with everything behind it."""

from __future__ import annotations

from datetime import UTC
from functools import partial

import pytest

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from batzen.type.v1 import money_pb2
from services.gateway.stripe_api.currencies import from_stripe
from services.orchestrator.domain.policies import ABANDONED_AFTER
from services.orchestrator.wire.requests import derived_payment_id
from tests.eventually import eventually
from tests.orchestrator.conftest import Journeys, Orchestrator
from tests.orchestrator.crash_injection import shop_key
from tests.orchestrator.samples import (
    BLOCKED,
    DECLINED,
    FEE_MINOR,
    OPENED,
    PAYER,
    SELLER,
    THREE_D_SECURE,
    TOTAL_MINOR,
    Clock,
    cancel,
    chf,
    line,
    refund,
    refused,
    start,
    state_of,
    submit,
)


async def test_a_payment_is_started_paid_and_refunded(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    session = (await orchestrator.StartPayment(start())).session
    payment_id = session.payment.payment_id
    assert state_of(session.payment) == "REQUIRES_PAYMENT_METHOD"
    assert session.client_secret.startswith("pi_")
    assert session.quote.total == chf(TOTAL_MINOR)

    paid = (await orchestrator.SubmitPayment(submit(payment_id))).payment
    assert state_of(paid) == "SUCCEEDED"
    assert paid.snapshot.amounts.captured_minor == TOTAL_MINOR
    assert (paid.snapshot.method.brand, paid.snapshot.method.last4) == ("visa", "4242")

    preview = await orchestrator.PreviewRefund(pb.PreviewRefundRequest(payment_id=payment_id, amount=chf(2_500)))
    assert (preview.amount, preview.refundable) == (chf(2_500), chf(TOTAL_MINOR))
    assert preview.seller_parts[0].platform_fee == chf(FEE_MINOR // 4)

    part = await orchestrator.RefundPayment(refund(payment_id, 2_500))
    assert state_of(part.payment) == "PARTIALLY_REFUNDED"
    rest = pb.PreviewRefundRequest(payment_id=payment_id)
    assert (await orchestrator.PreviewRefund(rest)).amount == chf(7_500)
    everything = refund(payment_id, expected_refundable=chf(7_500))
    everything.ClearField("amount")
    gone = await orchestrator.RefundPayment(everything)
    assert (state_of(gone.payment), gone.amount) == ("REFUNDED", chf(7_500))
    assert gone.refund_id != part.refund_id

    assert await journeys.states(payment_id) == [*OPENED, "PROCESSING", "SUCCEEDED", "PARTIALLY_REFUNDED", "REFUNDED"]
    assert len(await journeys.charges(payment_id)) == 1


async def test_what_a_refund_takes_of_the_fee_is_previewed_as_it_is_taken_in_whatever_steps(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await journeys.paid()
    [charge] = await journeys.charges(payment_id)
    gone_minor = 0

    async def is_back(fee_minor: int) -> bool:
        [fee] = await journeys.stripe.objects("application_fee", charge=charge["id"])
        return bool(fee["amount_refunded"] == fee_minor)

    for amount_minor in (3, 3, 3, 3_333, 1, 2_222, None):
        amount = None if amount_minor is None else chf(amount_minor)
        preview = await orchestrator.PreviewRefund(pb.PreviewRefundRequest(payment_id=payment_id, amount=amount))
        asked = refund(payment_id, preview.amount.amount_minor, expected_refundable=preview.refundable)
        await orchestrator.RefundPayment(asked)
        [part] = preview.seller_parts
        gone_minor += part.platform_fee.amount_minor
        await eventually(partial(is_back, gone_minor), what=f"{gone_minor} of the fee is back after {amount_minor}")
    assert gone_minor == FEE_MINOR


async def test_what_was_asked_for_is_found_in_plan_and_status(journeys: Journeys, clock: Clock) -> None:
    earliest = clock.now()
    payment_id = await journeys.started(
        booking_ids=["booking_1", "booking_2"], client_reference="order 7", labels={"course": "«Carving»"}
    )
    payment = await journeys.payment(payment_id)
    assert (payment.payer_id, payment.seller_ids, payment.total) == (PAYER, [SELLER], chf(TOTAL_MINOR))
    assert (payment.booking_ids, payment.client_reference) == (["booking_1", "booking_2"], "order 7")
    assert dict(payment.labels) == {"course": "«Carving»"}

    plan = await journeys.plan(payment_id)
    assert (plan.timing, plan.collection) == (pb.TIMING_IMMEDIATE, pb.COLLECTION_ELEMENTS)
    assert (plan.attempt, plan.revision, plan.pending_steps) == (1, payment.revision, [])
    assert plan.quote_id == payment.quote_id
    assert plan.seller_parts[0] == pb.SellerPart(
        seller_id=SELLER,
        gross=chf(TOTAL_MINOR),
        platform_fee=chf(FEE_MINOR),
        seller_share=chf(TOTAL_MINOR - FEE_MINOR),
    )
    assert earliest + ABANDONED_AFTER < plan.expire_time.ToDatetime(tzinfo=UTC) < clock.now() + ABANDONED_AFTER


async def test_a_decline_is_a_state_and_another_card_pays(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await journeys.started()
    declined = (await orchestrator.SubmitPayment(submit(payment_id, DECLINED))).payment
    assert state_of(declined) == "REQUIRES_PAYMENT_METHOD"
    error = declined.snapshot.last_error
    assert (error.code, error.decline_code, error.recoverable) == ("card_declined", "generic_decline", True)

    assert state_of((await orchestrator.SubmitPayment(submit(payment_id))).payment) == "SUCCEEDED"
    assert await journeys.states(payment_id) == [*OPENED, "PROCESSING", OPENED[-1], "PROCESSING", "SUCCEEDED"]
    assert not (await journeys.payment(payment_id)).snapshot.HasField("last_error")


@pytest.mark.parametrize("succeeds", [True, False])
async def test_a_payer_authenticates_and_the_return_page_syncs(
    succeeds: bool, as_payer: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await journeys.started()
    answer = await as_payer.SubmitPayment(submit(payment_id, THREE_D_SECURE))
    assert state_of(answer.payment) == "REQUIRES_ACTION"
    session = (await as_payer.GetPaymentSession(pb.GetPaymentSessionRequest(payment_id=payment_id))).session
    assert session.next_action == answer.next_action
    synced = await as_payer.SyncPayment(pb.SyncPaymentRequest(payment_id=payment_id))
    assert synced.next_action == answer.next_action

    await journeys.stripe.answer_3ds(answer.next_action.redirect_url, succeed=succeeds)
    after = await as_payer.SyncPayment(pb.SyncPaymentRequest(payment_id=payment_id))
    assert not after.HasField("next_action")
    if succeeds:
        assert state_of(after.payment) == "SUCCEEDED"
        assert await journeys.states(payment_id) == [*OPENED, "PROCESSING", "REQUIRES_ACTION", "SUCCEEDED"]
    else:
        assert state_of(after.payment) == "REQUIRES_PAYMENT_METHOD"
        assert after.payment.snapshot.last_error.code == "payment_intent_authentication_failure"


async def test_a_browser_that_confirms_by_itself_is_a_fact_from_outside(
    orchestrator: OrchestratorServiceStub, as_payer: OrchestratorServiceStub, journeys: Journeys
) -> None:
    session = (await orchestrator.StartPayment(start())).session
    payment_id = session.payment.payment_id
    await journeys.stripe.browser_confirm(
        session.client_secret, payment_method="pm_card_visa", return_url="https://shop.example/back"
    )
    answer = await as_payer.SyncPayment(pb.SyncPaymentRequest(payment_id=payment_id))
    assert state_of(answer.payment) == "SUCCEEDED"
    assert await journeys.states(payment_id) == [*OPENED, "SUCCEEDED"]
    [*_, last] = await journeys.transitions(payment_id)
    assert last.snapshot.cause == last.snapshot.CAUSE_OBSERVATION


async def test_a_submit_after_the_browser_was_quicker_finds_what_it_did(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    session = (await orchestrator.StartPayment(start())).session
    payment_id = session.payment.payment_id
    await journeys.stripe.browser_confirm(
        session.client_secret, payment_method="pm_card_visa", return_url="https://shop.example/back"
    )
    refusal = await refused(orchestrator.SubmitPayment(submit(payment_id)))
    assert (refusal.reason, refusal.metadata) == ("PAYMENT_STATE", {"state": "SUCCEEDED"})
    assert (await journeys.states(payment_id))[-1] == "SUCCEEDED"
    assert len(await journeys.charges(payment_id)) == 1


async def test_a_payer_calls_a_payment_off(as_payer: OrchestratorServiceStub, journeys: Journeys) -> None:
    payment_id = await journeys.started()
    canceled = (await as_payer.CancelPayment(cancel(payment_id, reason="changed my mind"))).payment
    assert state_of(canceled) == "CANCELED"
    assert [one["status"] for one in await journeys.intents(payment_id)] == ["canceled"]
    # One that is cancelled is cancelled, whoever asks again.
    assert (await as_payer.CancelPayment(cancel(payment_id))).payment == canceled


async def test_a_payment_that_waits_for_3d_secure_can_be_called_off(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await journeys.started()
    await orchestrator.SubmitPayment(submit(payment_id, THREE_D_SECURE))
    assert state_of((await orchestrator.CancelPayment(cancel(payment_id))).payment) == "CANCELED"


async def test_a_cancel_that_comes_after_the_money_is_refused_and_the_money_seen(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await journeys.started()
    [intent] = await journeys.intents(payment_id)
    await journeys.stripe.succeed(intent["id"])
    refusal = await refused(orchestrator.CancelPayment(cancel(payment_id)))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "PAYMENT_STATE")
    assert refusal.metadata == {"state": "SUCCEEDED"}
    assert await journeys.states(payment_id) == [*OPENED, "SUCCEEDED"]


async def test_nothing_to_pay_succeeds_without_stripe(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    session = (await orchestrator.StartPayment(start(lines=[line(unit_amount=chf(0))]))).session
    payment_id = session.payment.payment_id
    assert (state_of(session.payment), session.client_secret) == ("SUCCEEDED", "")
    assert await journeys.states(payment_id) == ["INITIALIZED", "SUCCEEDED"]
    assert await journeys.intents(payment_id) == []
    synced = await orchestrator.SyncPayment(pb.SyncPaymentRequest(payment_id=payment_id))
    assert state_of(synced.payment) == "SUCCEEDED"


@pytest.mark.parametrize("amount_minor", [1, 49, 10**8, 2**53 - 1])
async def test_a_total_that_stripe_cannot_charge_is_refused_before_a_payment_is_opened(
    orchestrator: OrchestratorServiceStub, journeys: Journeys, amount_minor: int
) -> None:
    request = start(lines=[line(unit_amount=chf(amount_minor))])
    for _ in range(2):  # a repeat is answered alike
        refusal = await refused(orchestrator.StartPayment(request))
        assert (refusal.code, refusal.reason, refusal.field) == ("INVALID_ARGUMENT", "AMOUNT_NOT_CHARGEABLE", "lines")
        assert (refusal.metadata["minimum_minor"], refusal.metadata["maximum_minor"]) == ("50", "99999999")
    assert await journeys.intents(derived_payment_id(shop_key(request))) == []


@pytest.mark.parametrize(("amount_minor", "quantity"), [(2**53, "1"), (2**53 + 1, "1"), (2**63 - 1, "1"), (2**50, "9")])
async def test_an_amount_beyond_the_integers_of_json_is_refused_by_its_field(
    orchestrator: OrchestratorServiceStub, amount_minor: int, quantity: str
) -> None:
    request = start(lines=[line(unit_amount=chf(amount_minor), quantity=quantity)])

    refusal = await refused(orchestrator.StartPayment(request))

    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "AMOUNT_OVERFLOW")
    assert str(refusal.field).startswith("lines[0].unit_amount")


@pytest.mark.parametrize(
    ("currency_code", "amount_minor", "fee_minor"), [("KWD", 10_010, 1_500), ("MGA", 1_234_500, 185_200)]
)
async def test_a_fee_that_would_have_more_digits_than_stripe_takes_is_rounded_to_those_it_takes(
    orchestrator: OrchestratorServiceStub, journeys: Journeys, currency_code: str, amount_minor: int, fee_minor: int
) -> None:
    """15 % are KWD 1.5015 and MGA 1,851.75; KWD must end in 0, and MGA has no digits after the point at all."""
    price = money_pb2.Money(amount_minor=amount_minor, currency_code=currency_code)
    session = (await orchestrator.StartPayment(start(lines=[line(unit_amount=price)]))).session
    payment_id = session.payment.payment_id
    assert session.quote.sellers[0].platform_fee_minor == fee_minor

    paid = (await orchestrator.SubmitPayment(submit(payment_id))).payment
    assert (state_of(paid), paid.snapshot.amounts.captured_minor) == ("SUCCEEDED", amount_minor)
    [intent] = await journeys.intents(payment_id)
    taken = from_stripe(intent["application_fee_amount"], intent["currency"])
    assert (intent["status"], taken) == ("succeeded", fee_minor)


async def test_what_its_payer_abandoned_expires(
    orchestrator: OrchestratorServiceStub, replica: Orchestrator, journeys: Journeys, clock: Clock
) -> None:
    payment_id, paid_id = await journeys.started(), await journeys.paid()
    await replica.sweep()
    assert state_of(await journeys.payment(payment_id)) == "REQUIRES_PAYMENT_METHOD"

    clock.advance(ABANDONED_AFTER)
    await replica.sweep()
    assert await journeys.states(payment_id) == [*OPENED, "EXPIRED"]
    assert [one["status"] for one in await journeys.intents(payment_id)] == ["canceled"]
    assert state_of(await journeys.payment(paid_id)) == "SUCCEEDED"
    refusal = await refused(orchestrator.SubmitPayment(submit(payment_id)))
    assert refusal.metadata == {"state": "EXPIRED"}


async def test_ten_declines_end_a_payment(
    orchestrator: OrchestratorServiceStub, replica: Orchestrator, journeys: Journeys
) -> None:
    payment_id = await journeys.started()
    for count in range(1, 11):
        payment = (await orchestrator.SubmitPayment(submit(payment_id, DECLINED))).payment
        assert (state_of(payment), payment.snapshot.decline_count) == ("REQUIRES_PAYMENT_METHOD", count)
    await replica.sweep()
    failed = await journeys.payment(payment_id)
    assert state_of(failed) == "FAILED"
    assert (failed.snapshot.last_error.code, failed.snapshot.last_error.recoverable) == ("card_declined", False)
    assert [one["status"] for one in await journeys.intents(payment_id)] == ["canceled"]


async def test_a_decline_for_good_ends_a_payment(
    orchestrator: OrchestratorServiceStub, replica: Orchestrator, journeys: Journeys
) -> None:
    payment_id = await journeys.started()
    payment = (await orchestrator.SubmitPayment(submit(payment_id, BLOCKED))).payment
    assert not payment.snapshot.last_error.recoverable
    await replica.sweep()
    assert state_of(await journeys.payment(payment_id)) == "FAILED"


async def test_what_an_ended_payment_offers(orchestrator: OrchestratorServiceStub, journeys: Journeys) -> None:
    payment_id = await journeys.paid()
    session = (await orchestrator.GetPaymentSession(pb.GetPaymentSessionRequest(payment_id=payment_id))).session
    assert session.client_secret == ""
    assert not session.HasField("next_action")
    assert session.quote.total == chf(TOTAL_MINOR)
    plan = await journeys.plan(payment_id)
    assert not plan.HasField("expire_time")
