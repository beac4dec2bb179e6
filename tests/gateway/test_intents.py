"""Intents through the gateway: created, confirmed, declined, authenticated, cancelled, read again."""

from __future__ import annotations

import httpx
import pytest
from grpc import StatusCode

from batzen.gateway.v1 import intents_pb2, payer_pb2, sellers_pb2
from batzen.type.v1 import money_pb2
from sandbox.control import SandboxControl
from tests.eventually import WITHIN_S
from tests.gateway.conftest import Sink
from tests.gateway.samples import (
    AMOUNT_MINOR,
    CANCELED,
    FEE_MINOR,
    REQUIRES_ACTION,
    REQUIRES_CAPTURE,
    REQUIRES_PAYMENT_METHOD,
    SUCCEEDED,
    Payments,
    chf,
    new_id,
    refusal,
    refused,
)
from tests.gateway.stubs import GatewayStubs


async def test_an_intent_is_what_was_asked_for(gateway: GatewayStubs, payments: Payments) -> None:
    request = payments.create_request()

    answer = await gateway.CreateIntent(request)

    (intent,) = await payments.intents(request.payment_id)
    account = (
        await gateway.GetSellerAccount(sellers_pb2.GetSellerAccountRequest(seller_id=payments.seller_id))
    ).account
    assert (intent["amount"], intent["currency"], intent["application_fee_amount"]) == (AMOUNT_MINOR, "chf", FEE_MINOR)
    assert intent["transfer_data"]["destination"] == account.stripe_account_id
    assert intent["capture_method"] == "automatic_async"
    assert answer.client_secret == intent["client_secret"]
    seen = answer.observation
    assert (seen.payment_id, seen.attempt, seen.mirror_version > 0) == (request.payment_id, 1, True)
    assert seen.intent_state == REQUIRES_PAYMENT_METHOD
    assert seen.HasField("observe_time")
    assert not seen.HasField("attention")
    assert seen.amounts.captured_minor == 0


async def test_a_fee_of_nothing_is_left_out(payments: Payments) -> None:
    payment_id = await payments.created(application_fee=chf(0))

    (intent,) = await payments.intents(payment_id)
    assert intent["application_fee_amount"] is None


async def test_a_payer_has_one_customer_with_what_is_known_of_the_person(
    payments: Payments, stripe: SandboxControl
) -> None:
    payer = payer_pb2.Payer(payer_id=new_id("payer"), email="grace@example.org", name="Grace", locale="fr-CH")

    first = await payments.created(payer=payer)
    second = await payments.created(payer=payer_pb2.Payer(payer_id=payer.payer_id))

    (customer,) = await stripe.objects("customer", **{"metadata.payer_id": payer.payer_id})
    assert (customer["email"], customer["name"], customer["preferred_locales"]) == (
        "grace@example.org",
        "Grace",
        ["fr-CH"],
    )
    intents = await payments.intents(first) + await payments.intents(second)
    assert {intent["customer"] for intent in intents} == {customer["id"]}


async def test_a_repeat_returns_the_same_intent_and_its_secret(gateway: GatewayStubs, payments: Payments) -> None:
    request = payments.create_request()
    first = await gateway.CreateIntent(request)

    assert await gateway.CreateIntent(request) == first
    assert len(await payments.intents(request.payment_id)) == 1


async def test_a_repeat_after_a_crash_of_the_caller_may_leave_the_person_out(
    gateway: GatewayStubs, payments: Payments
) -> None:
    request = payments.create_request()
    first = await gateway.CreateIntent(request)
    request.payer.CopyFrom(payer_pb2.Payer(payer_id=request.payer.payer_id))

    assert await gateway.CreateIntent(request) == first


async def test_a_request_id_is_good_for_one_body(gateway: GatewayStubs, payments: Payments) -> None:
    request = payments.create_request()
    await gateway.CreateIntent(request)
    request.amount.amount_minor += 1

    assert await refusal(gateway.CreateIntent(request)) == (StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")

    elsewhere = payments.create_request(request_id=request.request_id)
    assert await refusal(gateway.CreateIntent(elsewhere)) == (StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")
    assert await payments.intents(elsewhere.payment_id) == []


async def test_a_paid_intent_shows_what_was_paid_with(gateway: GatewayStubs, payments: Payments) -> None:
    payment_id = await payments.created()

    answer = await gateway.ConfirmIntent(payments.confirm_request(payment_id, "mastercard"))

    seen = answer.observation
    assert seen.intent_state == SUCCEEDED
    assert (seen.amounts.authorized_minor, seen.amounts.captured_minor) == (AMOUNT_MINOR, AMOUNT_MINOR)
    assert seen.refundable_minor == AMOUNT_MINOR
    assert (seen.method.type, seen.method.brand, seen.method.last4) == ("card", "mastercard", "4444")
    assert seen.method.payment_method_id.startswith("pm_")
    assert not seen.HasField("last_error")
    assert not answer.HasField("next_action")
    assert len(await payments.charges(payment_id)) == 1


async def test_a_decline_is_an_observation_and_another_card_may_be_tried(
    gateway: GatewayStubs, payments: Payments
) -> None:
    payment_id = await payments.created()

    declined = await gateway.ConfirmIntent(payments.confirm_request(payment_id, "visa_chargeDeclinedInsufficientFunds"))
    seen = declined.observation
    assert (seen.intent_state, seen.decline_count) == (REQUIRES_PAYMENT_METHOD, 1)
    assert (seen.last_error.code, seen.last_error.decline_code) == ("card_declined", "insufficient_funds")
    assert seen.last_error.message
    assert seen.last_error.recoverable
    assert seen.method.last4 == "9995"

    again = await gateway.ConfirmIntent(payments.confirm_request(payment_id, "visa_chargeDeclined"))
    assert again.observation.decline_count == 2

    paid = (await gateway.ConfirmIntent(payments.confirm_request(payment_id))).observation
    assert (paid.intent_state, paid.decline_count, paid.method.last4) == (SUCCEEDED, 2, "4242")
    assert not paid.HasField("last_error")
    assert paid.mirror_version > again.observation.mirror_version > seen.mirror_version


async def test_the_repeat_of_a_declined_confirm_is_not_a_second_try(gateway: GatewayStubs, payments: Payments) -> None:
    payment_id = await payments.created()
    request = payments.confirm_request(payment_id, "chargeDeclined")
    first = await gateway.ConfirmIntent(request)

    assert await gateway.ConfirmIntent(request) == first
    assert first.observation.decline_count == 1


async def test_a_blocked_card_says_that_another_try_is_of_no_use(gateway: GatewayStubs, payments: Payments) -> None:
    payment_id = await payments.created()

    seen = (await gateway.ConfirmIntent(payments.confirm_request(payment_id, "radarBlock"))).observation

    assert seen.last_error.decline_code == "fraudulent"
    assert not seen.last_error.recoverable


async def test_authentication_is_asked_for_and_its_success_is_seen(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    payment_id = await payments.created()
    request = payments.confirm_request(payment_id, "threeDSecure2Required")

    answer = await gateway.ConfirmIntent(request)
    assert answer.observation.intent_state == REQUIRES_ACTION
    assert answer.next_action.redirect_url.startswith(stripe.base_url)
    assert await gateway.ConfirmIntent(request) == answer  # with the address fetched again
    synced = await gateway.SyncIntent(intents_pb2.SyncIntentRequest(payment_id=payment_id))
    assert synced.next_action == answer.next_action

    await stripe.answer_3ds(answer.next_action.redirect_url, succeed=True)
    seen = await payments.synced(payment_id)
    assert (seen.intent_state, seen.method.last4) == (SUCCEEDED, "3220")


async def test_each_failed_authentication_is_a_decline(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    payment_id = await payments.created()

    for count in (1, 2):
        await gateway.ConfirmIntent(payments.confirm_request(payment_id, "authenticationRequired"))
        await stripe.authenticate(await payments.intent_id(payment_id), succeed=False)
        seen = await payments.synced(payment_id)
        assert (seen.intent_state, seen.decline_count) == (REQUIRES_PAYMENT_METHOD, count)
        assert seen.last_error.code == "payment_intent_authentication_failure"
        assert seen.last_error.recoverable


async def test_what_a_browser_confirmed_is_seen_by_reading_and_delivered(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl, delivered: Sink
) -> None:
    request = payments.create_request()
    secret = (await gateway.CreateIntent(request)).client_secret

    await stripe.browser_confirm(secret, payment_method="pm_card_visa", return_url="https://shop.example")

    seen = await payments.synced(request.payment_id)
    assert (seen.intent_state, seen.method.last4) == (SUCCEEDED, "4242")
    # Who asked may be gone, and the webhook will find nothing new.
    heard = await delivered.hears(request.payment_id, lambda one: one.intent_state == SUCCEEDED)
    assert (heard.origin, heard.observation) == ("sync", seen)


async def test_a_confirm_that_a_browser_overtook_is_refused_and_what_is_true_is_delivered(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl, delivered: Sink
) -> None:
    request = payments.create_request()
    secret = (await gateway.CreateIntent(request)).client_secret
    await stripe.browser_confirm(secret, payment_method="pm_card_visa", return_url="https://shop.example")

    confirm = payments.confirm_request(request.payment_id)
    code, reason, _, metadata = await refused(gateway.ConfirmIntent(confirm))

    assert (code, reason) == (StatusCode.FAILED_PRECONDITION, "INTENT_STATE")
    assert metadata == {"intent_state": "SUCCEEDED"}
    heard = await delivered.hears(request.payment_id, lambda seen: seen.intent_state == SUCCEEDED)
    assert heard.observation == await payments.seen(request.payment_id)
    assert await refusal(gateway.ConfirmIntent(confirm)) == (code, reason)
    assert len(await payments.charges(request.payment_id)) == 1


async def test_an_unknown_method_is_refused_for_good(gateway: GatewayStubs, payments: Payments) -> None:
    payment_id = await payments.created()
    request = payments.confirm_request(payment_id, payment_method_id="pm_nothing")

    code, reason, _, metadata = await refused(gateway.ConfirmIntent(request))

    assert (code, reason) == (StatusCode.FAILED_PRECONDITION, "STRIPE_REFUSED")
    assert metadata["code"] == "resource_missing"
    assert metadata["param"] == "payment_method"
    assert (await payments.seen(payment_id)).intent_state == REQUIRES_PAYMENT_METHOD
    assert (await gateway.ConfirmIntent(payments.confirm_request(payment_id))).observation.intent_state == SUCCEEDED


async def test_only_the_current_attempt_of_a_known_payment_is_confirmed(
    gateway: GatewayStubs, payments: Payments
) -> None:
    nobody = payments.confirm_request(new_id("pay"))
    assert await refusal(gateway.ConfirmIntent(nobody)) == (StatusCode.NOT_FOUND, "INTENT_NOT_FOUND")

    payment_id = await payments.created()
    later = payments.confirm_request(payment_id, attempt=2)
    assert await refusal(gateway.ConfirmIntent(later)) == (StatusCode.NOT_FOUND, "INTENT_NOT_FOUND")

    await gateway.CancelIntent(payments.cancel_request(payment_id))
    await payments.created(payment_id=payment_id, attempt=2)
    code, reason, _, metadata = await refused(gateway.ConfirmIntent(payments.confirm_request(payment_id)))
    assert (code, reason) == (StatusCode.FAILED_PRECONDITION, "INTENT_STATE")
    assert metadata["intent_state"] == "CANCELED"


async def test_what_was_paid_is_not_confirmed_again(gateway: GatewayStubs, payments: Payments) -> None:
    payment_id = await payments.paid()

    code, reason, _, metadata = await refused(gateway.ConfirmIntent(payments.confirm_request(payment_id)))

    assert (code, reason, metadata["intent_state"]) == (StatusCode.FAILED_PRECONDITION, "INTENT_STATE", "SUCCEEDED")


async def test_a_cancelled_intent_takes_no_money_and_stays_cancelled(gateway: GatewayStubs, payments: Payments) -> None:
    payment_id = await payments.created()
    request = payments.cancel_request(payment_id, reason=intents_pb2.CancelIntentRequest.REASON_ABANDONED)

    seen = (await gateway.CancelIntent(request)).observation

    assert seen.intent_state == CANCELED
    assert (await payments.intents(payment_id))[0]["cancellation_reason"] == "abandoned"
    assert (await gateway.CancelIntent(request)).observation == seen
    assert (await gateway.CancelIntent(payments.cancel_request(payment_id))).observation == seen
    assert (await refusal(gateway.ConfirmIntent(payments.confirm_request(payment_id))))[1] == "INTENT_STATE"


async def test_money_that_was_taken_is_not_cancelled(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl, delivered: Sink
) -> None:
    paid = await payments.paid()
    assert await refusal(gateway.CancelIntent(payments.cancel_request(paid))) == (
        StatusCode.FAILED_PRECONDITION,
        "INTENT_STATE",
    )

    overtaken = await payments.created()
    await stripe.succeed(await payments.intent_id(overtaken))
    code, reason, _, metadata = await refused(gateway.CancelIntent(payments.cancel_request(overtaken)))
    assert (code, reason, metadata["intent_state"]) == (StatusCode.FAILED_PRECONDITION, "INTENT_STATE", "SUCCEEDED")
    await delivered.hears(overtaken, lambda seen: seen.intent_state == SUCCEEDED)


async def test_a_cancel_nobody_knows_is_refused(gateway: GatewayStubs, payments: Payments) -> None:
    assert await refusal(gateway.CancelIntent(payments.cancel_request(new_id("pay")))) == (
        StatusCode.NOT_FOUND,
        "INTENT_NOT_FOUND",
    )


async def test_a_new_attempt_begins_only_after_the_old_one_is_cancelled(
    gateway: GatewayStubs, payments: Payments
) -> None:
    payment_id = await payments.created()
    code, reason, _, metadata = await refused(
        gateway.CreateIntent(payments.create_request(payment_id=payment_id, attempt=2))
    )
    assert (code, reason) == (StatusCode.FAILED_PRECONDITION, "ATTEMPT_OPEN")
    assert metadata["attempt"] == "1"

    await gateway.CancelIntent(payments.cancel_request(payment_id))
    seen = (await gateway.CreateIntent(payments.create_request(payment_id=payment_id, attempt=2))).observation
    assert (seen.attempt, seen.intent_state) == (2, REQUIRES_PAYMENT_METHOD)

    known = await gateway.GetIntent(intents_pb2.GetIntentRequest(payment_id=payment_id))
    assert [(one.attempt, one.state) for one in known.intents] == [(1, CANCELED), (2, REQUIRES_PAYMENT_METHOD)]
    assert all(one.HasField("create_time") for one in known.intents)


async def test_an_attempt_that_was_refused_before_it_began_is_not_in_the_way_of_another(
    gateway: GatewayStubs, payments: Payments
) -> None:
    def kwd(amount_minor: int) -> money_pb2.Money:
        return money_pb2.Money(amount_minor=amount_minor, currency_code="KWD")

    request = payments.create_request(amount=kwd(50_000), application_fee=kwd(7_501))  # Stripe counts in tens
    code, reason, field, _ = await refused(gateway.CreateIntent(request))
    assert (code, reason, field) == (StatusCode.INVALID_ARGUMENT, "AMOUNT_NOT_CHARGEABLE", "application_fee")

    again = payments.create_request(payment_id=request.payment_id, amount=kwd(50_000), application_fee=kwd(7_500))
    assert (await gateway.CreateIntent(again)).observation.intent_state == REQUIRES_PAYMENT_METHOD


async def test_attempts_are_counted_without_gaps_and_in_one_currency(gateway: GatewayStubs, payments: Payments) -> None:
    payment_id = await payments.created()
    await gateway.CancelIntent(payments.cancel_request(payment_id))

    gap = await refused(gateway.CreateIntent(payments.create_request(payment_id=payment_id, attempt=3)))
    assert gap[:3] == (StatusCode.INVALID_ARGUMENT, "FIELD_INVALID", "attempt")

    euro = payments.create_request(payment_id=payment_id, attempt=2)
    euro.amount.currency_code = euro.application_fee.currency_code = "EUR"
    other = await refused(gateway.CreateIntent(euro))
    assert other[:3] == (StatusCode.INVALID_ARGUMENT, "FIELD_INVALID", "amount.currency_code")


@pytest.mark.parametrize("number", [1, 2], ids=["asked for again", "counted"])
async def test_after_an_attempt_that_stripe_refused_to_make_another_is_made(
    number: int, gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    await stripe.fault("invalid", route="POST /v1/payment_intents", code="odd")
    request = payments.create_request()
    assert (await refused(gateway.CreateIntent(request)))[1] == "STRIPE_REFUSED"

    await payments.created(payment_id=request.payment_id, attempt=number)
    again = await refused(gateway.CreateIntent(payments.create_request(payment_id=request.payment_id, attempt=number)))
    paid = await gateway.ConfirmIntent(payments.confirm_request(request.payment_id, attempt=number))

    assert again[1] == "ATTEMPT_OPEN"
    assert (paid.observation.attempt, paid.observation.intent_state) == (number, SUCCEEDED)


async def test_money_on_two_attempts_is_surplus_and_wants_attention(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    payment_id = await payments.created()
    first = await payments.intent_id(payment_id)
    await gateway.CancelIntent(payments.cancel_request(payment_id))
    await payments.created(payment_id=payment_id, attempt=2)
    await gateway.ConfirmIntent(payments.confirm_request(payment_id, attempt=2))

    await stripe.succeed(first)
    seen = await payments.synced(payment_id)

    assert (seen.attempt, seen.intent_state) == (2, SUCCEEDED)
    assert (seen.amounts.captured_minor, seen.amounts.surplus_minor) == (AMOUNT_MINOR, AMOUNT_MINOR)
    assert seen.refundable_minor == AMOUNT_MINOR
    assert seen.attention.reason == "SURPLUS"

    await stripe.refund(first, amount=AMOUNT_MINOR)
    given_back = await payments.synced(payment_id)
    assert (given_back.amounts.surplus_minor, given_back.amounts.refunded_minor) == (0, 0)
    assert not given_back.HasField("attention")


async def test_late_money_on_a_cancelled_attempt_is_seen(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    payment_id = await payments.created()
    await gateway.CancelIntent(payments.cancel_request(payment_id))
    await stripe.succeed(await payments.intent_id(payment_id))

    seen = await payments.synced(payment_id)

    assert (seen.intent_state, seen.amounts.captured_minor) == (SUCCEEDED, AMOUNT_MINOR)


async def test_a_held_amount_waits_to_be_captured(gateway: GatewayStubs, payments: Payments) -> None:
    payment_id = await payments.created(capture_manually=True)

    seen = (await gateway.ConfirmIntent(payments.confirm_request(payment_id))).observation
    assert seen.intent_state == REQUIRES_CAPTURE
    assert (seen.amounts.authorized_minor, seen.amounts.capturable_minor) == (AMOUNT_MINOR, AMOUNT_MINOR)
    assert seen.amounts.captured_minor == seen.refundable_minor == 0

    gone = (await gateway.CancelIntent(payments.cancel_request(payment_id))).observation
    assert (gone.intent_state, gone.amounts.capturable_minor) == (CANCELED, 0)


async def test_a_payment_is_found_by_any_id_at_stripe(gateway: GatewayStubs, payments: Payments) -> None:
    payment_id = await payments.paid()
    await gateway.CreateRefund(payments.refund_request(payment_id, 100))
    ids = [
        await payments.intent_id(payment_id),
        (await payments.charges(payment_id))[0]["id"],
        (await payments.refunds(payment_id))[0]["id"],
    ]

    for stripe_id in ids:
        found = await gateway.GetIntent(intents_pb2.GetIntentRequest(stripe_id=stripe_id))
        assert found.observation.payment_id == payment_id

    for nothing in (
        intents_pb2.GetIntentRequest(stripe_id="pi_nothing"),
        intents_pb2.GetIntentRequest(payment_id=new_id("pay")),
    ):
        assert await refusal(gateway.GetIntent(nothing)) == (StatusCode.NOT_FOUND, "INTENT_NOT_FOUND")


async def test_the_secret_is_fetched_only_when_asked_for_and_of_use(gateway: GatewayStubs, payments: Payments) -> None:
    request = payments.create_request()
    created = await gateway.CreateIntent(request)
    wanted = intents_pb2.GetIntentRequest(payment_id=request.payment_id, with_secret=True)

    assert (await gateway.GetIntent(wanted)).client_secret == created.client_secret
    assert (await gateway.GetIntent(intents_pb2.GetIntentRequest(payment_id=request.payment_id))).client_secret == ""

    await gateway.ConfirmIntent(payments.confirm_request(request.payment_id, "threeDSecure2Required"))
    assert (await gateway.GetIntent(wanted)).next_action.redirect_url

    await gateway.CancelIntent(payments.cancel_request(request.payment_id))
    gone = await gateway.GetIntent(wanted)
    assert gone.client_secret == ""
    assert not gone.HasField("next_action")


async def test_reading_without_news_changes_nothing(gateway: GatewayStubs, payments: Payments) -> None:
    payment_id = await payments.paid()
    before = await payments.seen(payment_id)

    assert await payments.synced(payment_id) == before
    assert await refusal(gateway.SyncIntent(intents_pb2.SyncIntentRequest(payment_id=new_id("pay")))) == (
        StatusCode.NOT_FOUND,
        "INTENT_NOT_FOUND",
    )


async def test_an_amount_that_changed_at_stripe_parks_the_payment(
    payments: Payments, stripe: SandboxControl, stripe_key: str
) -> None:
    payment_id = await payments.created()
    await stripe_update(stripe, stripe_key, await payments.intent_id(payment_id), amount=AMOUNT_MINOR - 1)

    seen = await payments.synced(payment_id)

    assert seen.attention.reason == "AMOUNT_MISMATCH"
    assert "Asked for 100.00 CHF" in seen.attention.detail


async def stripe_update(stripe: SandboxControl, stripe_key: str, intent_id: str, *, amount: int) -> None:
    """Change an intent as somebody with the platform's key could."""
    async with httpx.AsyncClient(
        base_url=stripe.base_url, headers={"authorization": f"Bearer {stripe_key}"}, timeout=WITHIN_S
    ) as client:
        answer = await client.post(f"/v1/payment_intents/{intent_id}", data={"amount": str(amount)})
        answer.raise_for_status()


async def test_a_seller_who_was_stopped_since_the_start_is_not_paid(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    account = await payments.prepare_seller(new_id("seller"))
    payment_id = await payments.created(seller_id=account.seller_id)
    await stripe.set_capability(account.stripe_account_id, "transfers", active=False)

    code, reason, _, metadata = await refused(gateway.ConfirmIntent(payments.confirm_request(payment_id)))

    assert (code, reason) == (StatusCode.FAILED_PRECONDITION, "STRIPE_REFUSED")
    assert metadata["code"] == "insufficient_capabilities_for_transfer"
    assert await payments.charges(payment_id) == []
    seen = await payments.seen(payment_id)
    assert (seen.intent_state, seen.outcome_unknown) == (REQUIRES_PAYMENT_METHOD, False)

    await stripe.set_capability(account.stripe_account_id, "transfers", active=True)
    paid = (await gateway.ConfirmIntent(payments.confirm_request(payment_id))).observation
    assert paid.intent_state == SUCCEEDED
