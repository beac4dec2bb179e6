"""Attempts that keep a method, and the charges without the payer that follow from them."""

from __future__ import annotations

import json
from typing import Any

import asyncpg
import pytest
from grpc import StatusCode

from batzen.gateway.v1 import intents_pb2, observation_pb2, payer_pb2, payment_methods_pb2
from batzen.type.v1 import money_pb2
from local.databases import ServiceDatabase
from sandbox.control import SandboxControl
from services.runtime.database.connections import plain_dsn
from tests.eventually import eventually
from tests.gateway.conftest import Gateway
from tests.gateway.receiving import event_of, receiving
from tests.gateway.samples import (
    AMOUNT_MINOR,
    CANCELED,
    CONFIRM,
    PROCESSING,
    REQUIRES_ACTION,
    REQUIRES_PAYMENT_METHOD,
    RETURN_URL,
    SUCCEEDED,
    Payments,
    new_id,
    new_request_id,
    refusal,
    refused,
)
from tests.gateway.stubs import GatewayStubs


def eur(amount_minor: int) -> money_pb2.Money:
    return money_pb2.Money(amount_minor=amount_minor, currency_code="EUR")


PRECONDITION = StatusCode.FAILED_PRECONDITION
ASKING = "authenticationRequiredOnSetup"
ALWAYS_ASKING = "authenticationRequired"


async def kept_method(payments: Payments, payment_id: str) -> str:
    return str((await payments.seen(payment_id)).method.payment_method_id)


async def needs(database: ServiceDatabase, payment_id: str) -> list[str | None]:
    connection = await asyncpg.connect(plain_dsn(database.runtime_url))
    try:
        rows = await connection.fetch(
            "SELECT needs_method_id FROM intents WHERE payment_id = $1 ORDER BY attempt", payment_id
        )
    finally:
        await connection.close()
    return [row["needs_method_id"] for row in rows]


def off_session(payments: Payments, payment_id: str, method_id: str, **fields: Any) -> intents_pb2.ConfirmIntentRequest:
    asked: dict[str, Any] = {"attempt": 2, "payment_method_id": method_id, "off_session": True}
    return payments.confirm_request(payment_id, **{**asked, **fields})


async def charging(payments: Payments, card: str = "visa", **fields: Any) -> tuple[str, str]:
    """Return a payment that kept a method and has the attempt that charges it; and the method."""
    payer = payer_pb2.Payer(payer_id=new_id("payer"))
    payment_id = await payments.kept(card, payer=payer)
    method_id = await kept_method(payments, payment_id)
    await payments.created(payment_id=payment_id, attempt=2, payer=payer, **fields)
    return payment_id, method_id


# Keeping.


async def test_a_setup_keeps_a_method_and_takes_nothing(gateway: GatewayStubs, payments: Payments) -> None:
    request = payments.create_request(setup_only=True, metadata={"bookingId": "booking_1"})
    created = await gateway.CreateIntent(request)
    assert (created.observation.is_setup, created.observation.intent_state) == (True, REQUIRES_PAYMENT_METHOD)
    assert created.observation.attempt_kind == observation_pb2.ATTEMPT_KIND_SETUP_INTENT
    assert created.client_secret.startswith("seti_")

    seen = (await gateway.ConfirmIntent(payments.confirm_request(request.payment_id))).observation

    assert (seen.intent_state, seen.is_setup, seen.amounts.captured_minor) == (SUCCEEDED, True, 0)
    assert (seen.method.brand, seen.method.last4) == ("visa", "4242")
    (setup,) = await payments.setups(request.payment_id)
    assert (setup["usage"], setup["metadata"]["bookingId"]) == ("off_session", "booking_1")
    assert await payments.intents(request.payment_id) == []
    assert (await gateway.CreateIntent(request)).client_secret == created.client_secret
    assert await payments.synced(request.payment_id) == seen

    found = await gateway.GetIntent(intents_pb2.GetIntentRequest(stripe_id=setup["id"]))
    assert [(one.intent_id, one.is_setup) for one in found.intents] == [(setup["id"], True)]


async def test_a_kept_method_is_the_payers_with_their_consent(gateway: GatewayStubs, payments: Payments) -> None:
    payer = payer_pb2.Payer(payer_id=new_id("payer"))
    payment_id = await payments.kept(payer=payer, consent_actor_id="clerk_1")

    listed = await gateway.ListPaymentMethods(payment_methods_pb2.ListPaymentMethodsRequest(payer_id=payer.payer_id))

    (method,) = listed.payment_methods
    assert method.payment_method_id == await kept_method(payments, payment_id)
    assert method.consent_actor_id == "clerk_1"
    assert method.HasField("consent_time")


async def test_a_method_that_a_payment_keeps_is_the_payers_with_their_consent(
    gateway: GatewayStubs, payments: Payments
) -> None:
    at_creation, at_confirm, not_at_all = (payer_pb2.Payer(payer_id=new_id("payer")) for _ in range(3))
    await payments.paid(payer=at_creation, keep_method=True)
    created = await payments.created(payer=at_confirm)
    await gateway.ConfirmIntent(payments.confirm_request(created, keep_method=True, consent_actor_id="clerk_1"))
    await payments.paid(payer=not_at_all)

    consents = []
    for payer in (at_creation, at_confirm, not_at_all):
        request = payment_methods_pb2.ListPaymentMethodsRequest(payer_id=payer.payer_id)
        consents.append([one.consent_actor_id for one in (await gateway.ListPaymentMethods(request)).payment_methods])

    assert consents == [[at_creation.payer_id], ["clerk_1"], []]


async def test_a_setup_whose_bank_asks_goes_on_at_the_banks_page(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    payment_id = await payments.created(setup_only=True)
    answer = await gateway.ConfirmIntent(payments.confirm_request(payment_id, ASKING))
    assert answer.observation.intent_state == REQUIRES_ACTION
    again = await gateway.GetIntent(intents_pb2.GetIntentRequest(payment_id=payment_id, with_secret=True))
    assert again.next_action.redirect_url == answer.next_action.redirect_url

    target = await stripe.answer_3ds(answer.next_action.redirect_url, succeed=True)

    assert target.startswith(RETURN_URL)
    seen = await payments.synced(payment_id)
    assert (seen.intent_state, seen.is_setup) == (SUCCEEDED, True)


async def test_a_setup_that_is_declined_says_why_and_takes_another_method(
    gateway: GatewayStubs, payments: Payments
) -> None:
    payment_id = await payments.created(setup_only=True)
    declined = await gateway.ConfirmIntent(payments.confirm_request(payment_id, "visa_chargeDeclined"))
    assert declined.observation.intent_state == REQUIRES_PAYMENT_METHOD
    assert declined.observation.last_error.code == "card_declined"
    assert (declined.observation.decline_count, declined.observation.is_setup) == (1, True)

    again = await gateway.ConfirmIntent(payments.confirm_request(payment_id, "visa_chargeDeclined"))
    assert again.observation.decline_count == 2

    seen = (await gateway.ConfirmIntent(payments.confirm_request(payment_id))).observation
    assert (seen.intent_state, seen.HasField("last_error")) == (SUCCEEDED, False)


async def test_a_failed_authentication_is_the_payers_turn_again(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    payment_id = await payments.created(setup_only=True)
    answer = await gateway.ConfirmIntent(payments.confirm_request(payment_id, ASKING))
    await stripe.answer_3ds(answer.next_action.redirect_url, succeed=False)

    seen = await payments.synced(payment_id)

    assert (seen.intent_state, seen.last_error.code) == (
        REQUIRES_PAYMENT_METHOD,
        "setup_intent_authentication_failure",
    )


async def test_what_happens_to_a_setup_without_us_comes_in_by_its_events(
    replica: Gateway, payments: Payments, stripe: SandboxControl
) -> None:
    payment_id = await payments.created(setup_only=True)
    request = intents_pb2.GetIntentRequest(payment_id=payment_id, with_secret=True)
    secret = (await payments.gateway.GetIntent(request)).client_secret
    await stripe.browser_confirm(secret, payment_method="pm_card_visa")
    (setup,) = await payments.setups(payment_id)

    async with receiving(replica.parts.inbox, clock=replica.parts.clock) as sender:
        await sender.send(event_of(setup, "setup_intent.succeeded", at=replica.parts.clock.now()))

    async def is_applied() -> bool:
        return (await payments.seen(payment_id)).intent_state == SUCCEEDED

    await eventually(is_applied)  # by the engine of the replica, or of another
    assert (await payments.seen(payment_id)).method.last4 == "4242"


async def test_a_setup_is_cancelled(gateway: GatewayStubs, payments: Payments) -> None:
    for reason in intents_pb2.CancelIntentRequest.Reason.values():
        payment_id = await payments.created(setup_only=True)
        seen = (await gateway.CancelIntent(payments.cancel_request(payment_id, reason=reason))).observation
        assert seen.intent_state == CANCELED
        (setup,) = await payments.setups(payment_id)
        assert setup["status"] == "canceled"


# The need of a kept method.


async def test_a_kept_method_is_let_go_when_its_payment_is_called_off(
    gateway: GatewayStubs, payments: Payments, database: ServiceDatabase
) -> None:
    payer = payer_pb2.Payer(payer_id=new_id("payer"))
    payment_id = await payments.kept(payer=payer)
    method_id = await kept_method(payments, payment_id)
    assert await needs(database, payment_id) == [method_id]
    detach = payment_methods_pb2.DetachPaymentMethodRequest(
        request_id=new_request_id(), payer_id=payer.payer_id, payment_method_id=method_id
    )
    assert (await refusal(gateway.DetachPaymentMethod(detach)))[1] == "METHOD_IN_USE"

    request = payments.cancel_request(payment_id)
    seen = (await gateway.CancelIntent(request)).observation

    assert (seen.intent_state, seen.is_setup) == (CANCELED, True)
    assert (await gateway.CancelIntent(request)).observation == seen
    assert await needs(database, payment_id) == [None]
    (setup,) = await payments.setups(payment_id)
    assert setup["status"] == "succeeded"
    assert await payments.synced(payment_id) == seen
    detach.request_id = new_request_id()
    await gateway.DetachPaymentMethod(detach)


async def test_a_kept_method_is_not_let_go_by_who_cancels_unless_one_was_kept(
    gateway: GatewayStubs, payments: Payments, database: ServiceDatabase
) -> None:
    payment_id = await payments.kept(payer=payer_pb2.Payer(payer_id=new_id("payer")))
    seen = await payments.synced(payment_id)
    request = payments.cancel_request(payment_id, unless_kept=True)
    for _ in range(2):
        assert (await refusal(gateway.CancelIntent(request)))[1] == "INTENT_STATE"
    assert await needs(database, payment_id) == [await kept_method(payments, payment_id)]
    assert await payments.synced(payment_id) == seen
    waiting = await payments.created(setup_only=True)
    request = payments.cancel_request(waiting, unless_kept=True)
    assert (await gateway.CancelIntent(request)).observation.intent_state == CANCELED


async def test_a_kept_method_is_let_go_when_it_has_paid(
    gateway: GatewayStubs, payments: Payments, database: ServiceDatabase
) -> None:
    payment_id, method_id = await charging(payments)
    assert await needs(database, payment_id) == [method_id, None]

    await gateway.ConfirmIntent(off_session(payments, payment_id, method_id))

    assert await needs(database, payment_id) == [None, None]


# Charging.


async def test_a_kept_method_is_charged_without_the_payer(gateway: GatewayStubs, payments: Payments) -> None:
    payment_id, method_id = await charging(payments)

    seen = (await gateway.ConfirmIntent(off_session(payments, payment_id, method_id))).observation

    assert (seen.attempt, seen.is_setup, seen.intent_state) == (2, False, SUCCEEDED)
    assert seen.amounts.captured_minor == AMOUNT_MINOR
    assert len(await payments.charges(payment_id)) == 1


async def test_a_charge_that_needs_the_payer_waits_for_them_on_the_same_intent(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    payer = payer_pb2.Payer(payer_id=new_id("payer"))
    payment_id = await payments.created(payer=payer, setup_only=True)
    answer = await gateway.ConfirmIntent(payments.confirm_request(payment_id, ALWAYS_ASKING))
    await stripe.answer_3ds(answer.next_action.redirect_url, succeed=True)
    method_id = (await payments.synced(payment_id)).method.payment_method_id
    await payments.created(payment_id=payment_id, attempt=2, payer=payer)

    for tries in (1, 2):
        seen = (await gateway.ConfirmIntent(off_session(payments, payment_id, method_id))).observation
        assert (seen.intent_state, seen.last_error.code) == (REQUIRES_PAYMENT_METHOD, "authentication_required")
        assert (seen.decline_count, seen.last_error.recoverable) == (tries, True)
        assert await payments.synced(payment_id) == seen

    there = off_session(payments, payment_id, method_id, off_session=False)
    answer = await gateway.ConfirmIntent(there)
    assert answer.observation.intent_state == REQUIRES_ACTION
    await stripe.answer_3ds(answer.next_action.redirect_url, succeed=True)

    assert (await payments.synced(payment_id)).intent_state == SUCCEEDED
    assert len(await payments.intents(payment_id)) == 1
    assert len(await payments.charges(payment_id)) == 1


async def test_a_charge_that_is_declined_without_asking_the_bank_counts_each_time(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    payment_id, method_id = await charging(payments)
    (intent,) = await payments.intents(payment_id)
    error = {"type": "card_error", "code": "authentication_required", "payment_method": {"id": method_id}}
    shown = intent | {"last_payment_error": error}  # without a charge

    for tries in (1, 2):
        body = json.dumps({"error": error | {"payment_intent": shown}})
        await stripe.fault("invalid", route=CONFIRM, status=402, body=body)
        request = off_session(payments, payment_id, method_id)
        seen = (await gateway.ConfirmIntent(request)).observation
        assert (seen.last_error.code, seen.decline_count) == ("authentication_required", tries)
        assert (await gateway.ConfirmIntent(request)).observation == seen


async def test_a_declined_charge_is_tried_again_on_the_same_intent(gateway: GatewayStubs, payments: Payments) -> None:
    payment_id, method_id = await charging(payments, "chargeCustomerFail")

    for tries in (1, 2):
        seen = (await gateway.ConfirmIntent(off_session(payments, payment_id, method_id))).observation
        assert (seen.intent_state, seen.last_error.code, seen.decline_count) == (
            REQUIRES_PAYMENT_METHOD,
            "card_declined",
            tries,
        )
    assert await payments.charges(payment_id) == []


async def test_what_the_issuer_advises_is_said_until_the_charge_succeeds(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    payment_id, method_id = await charging(payments)
    await stripe.decline_charges(method_id, "insufficient_funds", advice_code="try_again_later")
    seen = (await gateway.ConfirmIntent(off_session(payments, payment_id, method_id))).observation
    assert (seen.last_error.decline_code, seen.advice_code) == ("insufficient_funds", "try_again_later")
    assert (await payments.synced(payment_id)).advice_code == "try_again_later"

    await stripe.decline_charges(method_id, "insufficient_funds", advice_code=None)
    seen = (await gateway.ConfirmIntent(off_session(payments, payment_id, method_id))).observation
    assert (seen.decline_count, seen.advice_code) == (2, "")

    await stripe.decline_charges(method_id, "do_not_honor", advice_code="do_not_try_again")
    assert (
        await gateway.ConfirmIntent(off_session(payments, payment_id, method_id))
    ).observation.advice_code == "do_not_try_again"
    seen = (await gateway.ConfirmIntent(off_session(payments, payment_id, method_id))).observation
    assert (seen.intent_state, seen.advice_code) == (SUCCEEDED, "")


async def test_a_debit_is_kept_with_its_mandate_and_charged_by_it(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    payer = payer_pb2.Payer(payer_id=new_id("payer"), email="payer@example.org", name="Ada")
    euros: dict[str, Any] = {"payer": payer, "amount": eur(AMOUNT_MINOR), "application_fee": eur(0)}
    request = payments.create_request(setup_only=True, **euros)
    created = await gateway.CreateIntent(request)
    # The payer agrees on the page: Stripe's library sends the mandate, which a server could not.
    await stripe.browser_confirm(created.client_secret, payment_method="pm_sepaDebit_success_de", return_url=RETURN_URL)
    kept = await payments.synced(request.payment_id)
    assert (kept.intent_state, kept.method.type) == (SUCCEEDED, "sepa_debit")
    assert kept.mandate_id.startswith("mandate_")

    await payments.created(payment_id=request.payment_id, attempt=2, **euros)
    method_id = kept.method.payment_method_id
    seen = (await gateway.ConfirmIntent(off_session(payments, request.payment_id, method_id))).observation

    assert (seen.attempt, seen.intent_state, seen.mandate_id) == (2, PROCESSING, kept.mandate_id)
    await stripe.finish_debit(await payments.intent_id(request.payment_id))
    assert (await payments.synced(request.payment_id)).intent_state == SUCCEEDED


# What is refused.


async def test_an_attempt_begins_once_a_setup_has_succeeded_and_not_before(
    gateway: GatewayStubs, payments: Payments
) -> None:
    payment_id = await payments.created(setup_only=True)

    second = payments.create_request(payment_id=payment_id, attempt=2)
    code, reason, _, metadata = await refused(gateway.CreateIntent(second))
    assert (code, reason) == (PRECONDITION, "ATTEMPT_OPEN")
    assert metadata == {"attempt": "1", "intent_state": "REQUIRES_PAYMENT_METHOD"}

    await gateway.ConfirmIntent(payments.confirm_request(payment_id))
    second = payments.create_request(payment_id=payment_id, attempt=2)
    assert (await gateway.CreateIntent(second)).observation.attempt == 2
    third = payments.create_request(payment_id=payment_id, attempt=3)
    assert (await refusal(gateway.CreateIntent(third))) == (PRECONDITION, "ATTEMPT_OPEN")


async def test_a_method_that_another_payer_keeps_is_not_found(gateway: GatewayStubs, payments: Payments) -> None:
    method_id = await kept_method(payments, await payments.kept())
    for setup_only in (False, True):
        payment_id = await payments.created(setup_only=setup_only)
        request = payments.confirm_request(payment_id, payment_method_id=method_id)

        assert (await refused(gateway.ConfirmIntent(request)))[:3] == (
            StatusCode.NOT_FOUND,
            "PAYMENT_METHOD_NOT_FOUND",
            "payment_method_id",
        )
        assert (await payments.seen(payment_id)).intent_state == REQUIRES_PAYMENT_METHOD


@pytest.mark.parametrize(
    ("creating", "confirming", "field"),
    [
        ({"setup_only": True, "capture_manually": True}, None, "capture_manually"),
        ({"consent_actor_id": "clerk_1"}, None, "consent_actor_id"),
        ({"metadata": {"payment_id": "mine"}}, None, "metadata"),
        ({"metadata": {"": "empty"}}, None, "metadata"),
        ({"metadata": {"key": ""}}, None, "metadata"),
        ({"metadata": {"a[b]": "c"}}, None, "metadata"),
        ({}, {"off_session": True, "payment_method_id": "", "confirmation_token_id": "ctoken_1"}, "off_session"),
        ({}, {"off_session": True, "keep_method": True}, "keep_method"),
        ({}, {"consent_actor_id": "clerk_1"}, "consent_actor_id"),
        ({"setup_only": True}, {"off_session": True}, "off_session"),
    ],
)
async def test_what_does_not_go_together_is_refused(
    gateway: GatewayStubs,
    payments: Payments,
    creating: dict[str, Any],
    confirming: dict[str, Any] | None,
    field: str,
) -> None:
    request = payments.create_request(**creating)
    call: Any = gateway.CreateIntent(request)
    if confirming is not None:
        await call
        confirm = payments.confirm_request(request.payment_id)
        for name, value in confirming.items():
            confirm.ClearField(name) if value == "" else setattr(confirm, name, value)
        call = gateway.ConfirmIntent(confirm)

    assert (await refused(call))[:3] == (StatusCode.INVALID_ARGUMENT, "FIELD_INVALID", field)


async def test_metadata_that_does_not_fit_is_refused_before_stripe_is_asked(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    fits = {f"key{number}": "value" for number in range(46)}
    request = payments.create_request(metadata=fits)
    await gateway.CreateIntent(request)
    (intent,) = await payments.intents(request.payment_id)
    assert intent["metadata"].items() >= fits.items()

    too_many = payments.create_request(metadata={**fits, "one_more": "value"})
    assert await refused(gateway.CreateIntent(too_many)) == (
        StatusCode.INVALID_ARGUMENT,
        "METADATA_TOO_LARGE",
        "metadata",
        {"keys": "51"},
    )
    assert await stripe.objects("customer", **{"metadata.payer_id": too_many.payer.payer_id}) == []
