"""Hosted pages through the real gateway: what they are made of, what their payers do, and how they end."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import StatusCode

from batzen.gateway.v1 import checkout_pb2, intents_pb2, observation_pb2, payer_pb2
from sandbox.control import SandboxControl
from services.gateway.checkout.create import CreateSession
from services.gateway.checkout.modes import MODES, Mode
from tests.clock import Clock
from tests.gateway.conftest import Gateway, Sink
from tests.gateway.pages import BACK_URL, COMPLETE, DONE_URL, EXPIRED, LINES, OPEN, READ_PAGE, Pages, amounts
from tests.gateway.samples import (
    AMOUNT_MINOR,
    CANCELED,
    FEE_MINOR,
    PROCESSING,
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

PAGE = observation_pb2.ATTEMPT_KIND_CHECKOUT_SESSION
SEPA_PAYS, SEPA_FAILS = "sepaDebit_success_de", "sepaDebit_failed_de"


# What a page is made of.


async def test_a_page_shows_what_is_to_be_paid_and_waits_for_its_payer(pages: Pages) -> None:
    opened = await pages.opened(metadata={"bookingId": "b1"}, page={"metadata": {"type": "mixed_cart"}})

    seen, payment_id = opened.observation, opened.observation.payment_id
    session = await pages.session(payment_id)
    assert (seen.attempt, seen.attempt_kind, seen.intent_state) == (1, PAGE, REQUIRES_PAYMENT_METHOD)
    assert opened.session.state == OPEN
    assert (opened.session.session_id, opened.session.url) == (session["id"], session["url"])
    assert seen.session_expire_time.seconds == opened.session.expire_time.seconds == session["expires_at"]
    assert (session["mode"], session["amount_total"], session["currency"]) == ("payment", AMOUNT_MINOR, "chf")
    assert (session["locale"], session["success_url"], session["cancel_url"]) == ("de", DONE_URL, BACK_URL)
    assert (session["client_reference_id"], session["payment_intent"]) == (payment_id, None)
    assert session["metadata"]["type"] == "mixed_cart"
    assert {"payment_id", "attempt", "call_id", "type"} == set(session["metadata"])


async def test_the_intent_of_a_page_is_a_destination_charge_with_metadata_of_its_own(
    pages: Pages, payments: Payments
) -> None:
    ids = ",".join(f"b{number:03}" for number in range(200))
    payment_id = await pages.paid(metadata={"bookingId": ids, "vatRate": "7.7"}, keep_method=True)

    (intent,) = await payments.intents(payment_id)
    session = await pages.session(payment_id)
    kept = intent["metadata"]
    assert (intent["amount"], intent["application_fee_amount"]) == (AMOUNT_MINOR, FEE_MINOR)
    assert (intent["description"], intent["setup_future_usage"]) == ("A lesson", "off_session")
    assert intent["customer"] == session["customer"]
    assert intent["transfer_data"]["destination"].startswith("acct_")
    assert kept["call_id"] == session["metadata"]["call_id"]
    assert ",".join((kept["bookingId"], kept["bookingId_2"])) == ids
    assert "vatRate" not in session["metadata"]


async def test_a_page_lists_the_rows_that_were_asked_for(pages: Pages, stripe: SandboxControl, stripe_key: str) -> None:
    payment_id = (await pages.opened()).observation.payment_id

    session = await pages.session(payment_id)
    authorization = {"authorization": f"Bearer {stripe_key}"}
    listed = await stripe.http.get(f"/v1/checkout/sessions/{session['id']}/line_items", headers=authorization)
    items = listed.json()["data"]

    assert [(item["description"], item["amount_total"]) for item in items] == [
        (line.name, line.amount.amount_minor) for line in LINES
    ]
    assert sum(item["amount_total"] for item in items) == session["amount_total"]


@pytest.mark.parametrize("mode", MODES, ids=lambda one: one.timing)
async def test_stripe_is_sent_what_the_table_says(pages: Pages, replica: Gateway, mode: Mode) -> None:
    request = pages.create_request(capture_manually=mode.capture_manually, setup_only=mode.setup_only)
    await pages.gateway.CreateCheckoutSession(request)

    call = await replica.parts.call_store.call("main", CreateSession.name, uuid.UUID(request.intent.request_id))

    assert call is not None
    body: Any = call.params["body"]
    multicapture = {"card": {"request_multicapture": "if_available"}}
    assert body["mode"] == mode.mode
    assert body[mode.intent_data].get("capture_method", "") == mode.capture_method
    assert body.get("payment_method_options") == (multicapture if mode.capture_manually else None)
    assert body.get("currency") == ("chf" if mode.setup_only else None)
    assert body.get("adaptive_pricing") == (None if mode.setup_only else {"enabled": False})
    assert ("line_items" in body) == (not mode.setup_only)


# What their payers do.


@pytest.mark.parametrize("mode", MODES, ids=lambda one: one.timing)
async def test_each_way_of_timing_comes_to_what_its_table_says(pages: Pages, payments: Payments, mode: Mode) -> None:
    payment_id = await pages.paid(capture_manually=mode.capture_manually, setup_only=mode.setup_only)

    seen = await payments.synced(payment_id)

    session = await pages.session(payment_id)
    kind = mode.intent_data.removesuffix("_data")
    (intent,) = await pages.stripe.objects(kind, id=session[kind])
    states = {"SUCCEEDED": (SUCCEEDED, AMOUNT_MINOR, 0), "AUTHORIZED": (REQUIRES_CAPTURE, 0, AMOUNT_MINOR)}
    assert (session["mode"], session["status"]) == (mode.mode, "complete")
    assert (session["payment_status"], intent["status"]) == (mode.payment_status, mode.intent_status)
    assert intent.get("capture_method") == (mode.capture_method or (None if mode.setup_only else "automatic_async"))
    assert (seen.intent_state, *amounts(seen)) == states.get(mode.state, (SUCCEEDED, 0, 0))
    assert (seen.attempt_kind, seen.HasField("session_expire_time")) == (PAGE, False)
    assert seen.is_setup == (mode.state == "SCHEDULED")
    assert (await pages.got(payment_id)).state == COMPLETE


async def test_a_hold_of_a_page_says_when_it_ends_and_is_captured_and_released(
    pages: Pages, payments: Payments, gateway: GatewayStubs
) -> None:
    taken, released = await pages.paid(capture_manually=True), await pages.paid(capture_manually=True)
    held = await payments.synced(taken)
    await payments.synced(released)
    capture = intents_pb2.CaptureIntentRequest(
        request_id=payments.cancel_request(taken).request_id,
        payment_id=taken,
        amount=chf(AMOUNT_MINOR),
        application_fee=chf(FEE_MINOR),
        final_capture=True,
    )

    captured = (await gateway.CaptureIntent(capture)).observation
    cancelled = (await gateway.CancelIntent(payments.cancel_request(released))).observation

    assert held.HasField("hold_expire_time")
    assert (captured.intent_state, amounts(captured)) == (SUCCEEDED, (AMOUNT_MINOR, 0))
    assert (cancelled.intent_state, amounts(cancelled)) == (CANCELED, (0, 0))


async def test_a_payer_who_is_declined_may_try_again_on_the_same_page(pages: Pages, payments: Payments) -> None:
    opened = await pages.opened()
    payment_id = opened.observation.payment_id

    await pages.decline(opened.session.url)
    declined = await payments.synced(payment_id)
    await pages.pay(opened.session.url)
    paid = await payments.synced(payment_id)

    assert (declined.intent_state, declined.decline_count) == (REQUIRES_PAYMENT_METHOD, 1)
    assert declined.last_error.code == "card_declined"
    assert declined.HasField("session_expire_time")
    assert (paid.intent_state, paid.HasField("last_error")) == (SUCCEEDED, False)
    assert len(await payments.intents(payment_id)) == 1


async def test_a_payer_who_is_asked_for_3d_secure_comes_back_paid(
    pages: Pages, payments: Payments, stripe: SandboxControl, gateway: GatewayStubs
) -> None:
    opened = await pages.opened()
    payment_id = opened.observation.payment_id

    bank = await pages.pay(opened.session.url, "threeDSecure2Required")
    asked = await gateway.SyncIntent(intents_pb2.SyncIntentRequest(payment_id=payment_id))
    back = await stripe.answer_3ds(bank, succeed=True)
    shop = await stripe.come_back(back)
    paid = await payments.synced(payment_id)

    assert (asked.observation.intent_state, asked.HasField("next_action")) == (REQUIRES_ACTION, False)  # the page asks
    assert shop.endswith(opened.session.session_id)
    assert paid.intent_state == SUCCEEDED


async def test_a_page_that_keeps_a_method_takes_nothing_and_the_charge_follows(
    pages: Pages, payments: Payments, gateway: GatewayStubs
) -> None:
    payer = payer_pb2.Payer(payer_id=new_id("payer"))
    opened = await pages.opened(setup_only=True, payer=payer, metadata={"bookingId": "b1"})
    payment_id = opened.observation.payment_id
    await pages.pay(opened.session.url)

    kept = await payments.synced(payment_id)
    await gateway.CreateIntent(payments.create_request(payment_id=payment_id, attempt=2, payer=payer))
    method_id = kept.method.payment_method_id
    confirm = payments.confirm_request(payment_id, attempt=2, payment_method_id=method_id, off_session=True)
    charged = (await gateway.ConfirmIntent(confirm)).observation

    session = await pages.session(payment_id)
    (setup,) = await pages.stripe.objects("setup_intent", **{"metadata.payment_id": payment_id})
    assert (session["mode"], session["payment_status"]) == ("setup", "no_payment_required")
    assert (setup["id"], setup["usage"]) == (session["setup_intent"], "off_session")
    assert setup["metadata"]["bookingId"] == "b1"
    assert (kept.intent_state, kept.is_setup, kept.attempt_kind, amounts(kept)) == (SUCCEEDED, True, PAGE, (0, 0))
    assert (charged.intent_state, charged.attempt, amounts(charged)) == (SUCCEEDED, 2, (AMOUNT_MINOR, 0))


async def test_what_a_page_kept_is_let_go_by_a_cancel_and_not_by_an_expiry(
    pages: Pages, payments: Payments, gateway: GatewayStubs
) -> None:
    payment_id = await pages.paid(setup_only=True)

    expired = await pages.expire(payment_id)
    cancelled = (await gateway.CancelIntent(payments.cancel_request(payment_id))).observation

    assert (expired.observation.intent_state, expired.session.state) == (SUCCEEDED, COMPLETE)
    assert (cancelled.intent_state, cancelled.is_setup) == (CANCELED, True)
    assert (await payments.synced(payment_id)).intent_state == CANCELED


async def test_an_open_page_that_is_to_keep_a_method_is_expired(pages: Pages, payments: Payments) -> None:
    payment_id = (await pages.opened(setup_only=True)).observation.payment_id

    ended = await pages.gateway.CancelIntent(payments.cancel_request(payment_id))

    assert ended.observation.intent_state == CANCELED
    assert (await pages.session(payment_id))["status"] == "expired"


async def test_a_debit_is_on_its_way_for_days_and_then_paid_or_the_payers_turn(
    pages: Pages, payments: Payments, stripe: SandboxControl
) -> None:
    eur = {"amount": eur_of(AMOUNT_MINOR), "application_fee": eur_of(FEE_MINOR)}
    line = checkout_pb2.CheckoutLine(name="A lesson", amount=eur_of(AMOUNT_MINOR))
    for method, state in ((SEPA_PAYS, SUCCEEDED), (SEPA_FAILS, REQUIRES_PAYMENT_METHOD)):
        opened = await pages.opened(page={"lines": [line]}, **eur)
        payment_id = opened.observation.payment_id
        await pages.pay(opened.session.url, method)

        waiting = await payments.synced(payment_id)
        await stripe.finish_debit(await payments.intent_id(payment_id))
        ended = await payments.synced(payment_id)

        session = await pages.session(payment_id)
        assert (session["status"], waiting.intent_state, amounts(waiting)) == ("complete", PROCESSING, (0, 0))
        assert not waiting.HasField("session_expire_time")
        assert ended.intent_state == state
        assert ended.HasField("last_error") == (state == REQUIRES_PAYMENT_METHOD)


async def test_after_a_debit_that_failed_the_next_attempt_may_begin(
    pages: Pages, payments: Payments, gateway: GatewayStubs
) -> None:
    failed, cancelled = [await failed_debit(pages) for _ in range(2)]

    again = await pages.opened(payment_id=failed, attempt=2)
    over = (await gateway.CancelIntent(payments.cancel_request(cancelled))).observation

    assert (again.observation.attempt, again.observation.intent_state) == (2, REQUIRES_PAYMENT_METHOD)
    assert (over.intent_state, amounts(over)) == (CANCELED, (0, 0))


async def failed_debit(pages: Pages) -> str:
    """Return a payment whose page is complete, and whose money did not come."""
    opened = await pages.opened()
    payment_id = opened.observation.payment_id
    await pages.decline(opened.session.url)
    intent_id = await pages.payments.intent_id(payment_id)
    for outcome in ("processing", "declined"):
        await pages.stripe.force(intent_id, outcome)  # type: ignore[arg-type]  # one of its outcomes
        seen = await pages.payments.synced(payment_id)
    assert seen.intent_state == REQUIRES_PAYMENT_METHOD
    return payment_id


def eur_of(amount_minor: int) -> Any:
    return type(chf(0))(amount_minor=amount_minor, currency_code="EUR")


# What is said of it.


async def test_the_address_of_a_page_is_told_while_it_is_open_and_kept_nowhere(
    pages: Pages, payments: Payments, gateway: GatewayStubs, replica: Gateway
) -> None:
    opened = await pages.opened()
    payment_id, url = opened.observation.payment_id, opened.session.url
    asked = intents_pb2.GetIntentRequest(payment_id=payment_id, with_secret=True)

    shown = await gateway.GetIntent(asked)
    plain = await gateway.GetIntent(intents_pb2.GetIntentRequest(payment_id=payment_id))
    stored = await replica.parts.store.read("main", payment_id)
    await pages.pay(url)
    before = await pages.got(payment_id)
    await payments.synced(payment_id)
    after = await gateway.GetIntent(asked)

    assert (shown.checkout_url, shown.client_secret, plain.checkout_url) == (url, "", "")
    (attempt,) = shown.intents
    assert (attempt.kind, attempt.session_id, attempt.intent_id) == (PAGE, opened.session.session_id, "")
    assert url not in repr(stored)
    assert (before.state, before.url) == (OPEN, url)  # what was read a moment ago
    assert (after.checkout_url, after.client_secret, (await pages.got(payment_id)).url) == ("", "", "")


async def test_a_payment_is_found_by_the_id_of_its_page(pages: Pages, gateway: GatewayStubs) -> None:
    opened = await pages.opened()

    found = await gateway.GetIntent(intents_pb2.GetIntentRequest(stripe_id=opened.session.session_id))

    assert found.observation == opened.observation


async def test_a_repeat_makes_no_second_page_and_answers_with_the_same(pages: Pages, gateway: GatewayStubs) -> None:
    request = pages.create_request()
    first = await gateway.CreateCheckoutSession(request)
    request.intent.payer.email = "another@example.org"

    again = await gateway.CreateCheckoutSession(request)

    assert again == first
    assert len(await pages.sessions(request.intent.payment_id)) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"success_url": "https://shop.example/elsewhere"},
        {"metadata": {"type": "beats_only"}},
        {"lines": [checkout_pb2.CheckoutLine(name="All", amount=chf(AMOUNT_MINOR))]},
    ],
    ids=str,
)
async def test_the_same_id_with_another_page_is_refused(
    pages: Pages, gateway: GatewayStubs, change: dict[str, Any]
) -> None:
    request = pages.create_request()
    await gateway.CreateCheckoutSession(request)
    for name in change:
        request.ClearField(name)  # type: ignore[arg-type]  # a field of it
    request.MergeFrom(checkout_pb2.CreateCheckoutSessionRequest(**change))

    assert await refusal(gateway.CreateCheckoutSession(request)) == (StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")


# How they end.


async def test_a_page_that_is_expired_is_over_and_the_next_attempt_may_begin(pages: Pages) -> None:
    opened = await pages.opened()
    payment_id = opened.observation.payment_id

    ended = await pages.expire(payment_id)
    again = await pages.opened(payment_id=payment_id, attempt=2)

    assert (ended.observation.intent_state, ended.session.state, ended.session.url) == (CANCELED, EXPIRED, "")
    assert not ended.observation.HasField("session_expire_time")
    assert (again.observation.attempt, again.observation.intent_state) == (2, REQUIRES_PAYMENT_METHOD)
    assert [one["status"] for one in await pages.sessions(payment_id)] == ["expired", "open"]


async def test_to_expire_what_is_expired_changes_nothing(pages: Pages) -> None:
    payment_id = (await pages.opened()).observation.payment_id
    request = pages.expire_request(payment_id)

    first = await pages.gateway.ExpireCheckoutSession(request)
    repeated = await pages.gateway.ExpireCheckoutSession(request)
    another = await pages.expire(payment_id)

    assert first == repeated == another


async def test_the_repeat_of_an_expiry_is_answered_after_the_next_attempt_began(pages: Pages) -> None:
    payment_id = (await pages.opened()).observation.payment_id
    request = pages.expire_request(payment_id)
    first = await pages.gateway.ExpireCheckoutSession(request)
    await pages.gateway.CreateIntent(pages.payments.create_request(payment_id=payment_id, attempt=2))

    again = await pages.gateway.ExpireCheckoutSession(request)

    assert (again.session, again.observation.attempt) == (first.session, 2)


async def test_an_expired_page_takes_its_intent_with_it(pages: Pages, payments: Payments) -> None:
    opened = await pages.opened()
    payment_id = opened.observation.payment_id
    await pages.decline(opened.session.url)
    await payments.synced(payment_id)

    ended = await pages.expire(payment_id)

    (intent,) = await payments.intents(payment_id)
    assert (intent["status"], ended.observation.intent_state) == ("canceled", CANCELED)


ENDS: dict[str, tuple[str, dict[str, Any], Any]] = {
    "paid": ("visa", {}, SUCCEEDED),
    "held": ("visa", {"capture_manually": True}, REQUIRES_CAPTURE),
    "kept": ("visa", {"setup_only": True}, SUCCEEDED),
    "processing": ("", {}, PROCESSING),
}


async def ended(pages: Pages, name: str) -> tuple[str, Any]:
    """Return a payment whose page its payer is done with, which the gateway does not know yet; and how it stands."""
    card, asked, state = ENDS[name]
    opened = await pages.opened(**asked)
    if card:
        await pages.pay(opened.session.url, card)
    else:
        await pages.decline(opened.session.url)
        await pages.stripe.force(await pages.payments.intent_id(opened.observation.payment_id), "processing")
    return opened.observation.payment_id, state


@pytest.mark.parametrize("name", ENDS)
async def test_a_page_that_is_complete_when_it_is_to_expire_is_what_its_intent_says(
    pages: Pages, payments: Payments, name: str
) -> None:
    payment_id, state = await ended(pages, name)

    found = await pages.expire(payment_id)
    again = await pages.expire(payment_id)

    assert (found.observation.intent_state, found.session.state) == (state, COMPLETE)
    assert again == found
    assert all(intent["status"] != "canceled" for intent in await payments.intents(payment_id))


@pytest.mark.parametrize("name", ENDS)
async def test_a_cancel_that_comes_after_the_payer_is_refused_by_what_is_true_and_tells_it(
    payments: Payments, pages: Pages, gateway: GatewayStubs, delivered: Sink, name: str
) -> None:
    payment_id, state = await ended(pages, name)
    request = payments.cancel_request(payment_id)

    told = [await refused(gateway.CancelIntent(request)) for _ in range(2)]

    word = observation_pb2.IntentState.Name(state).removeprefix("INTENT_STATE_")
    assert told == [(StatusCode.FAILED_PRECONDITION, "INTENT_STATE", "", {"intent_state": word})] * 2
    heard = await delivered.hears(payment_id, lambda seen: seen.intent_state == state)
    assert heard.observation == await payments.seen(payment_id)


async def test_a_cancel_expires_an_open_page(pages: Pages, payments: Payments, gateway: GatewayStubs) -> None:
    opened = await pages.opened()
    payment_id = opened.observation.payment_id
    request = payments.cancel_request(payment_id)

    first = await gateway.CancelIntent(request)

    assert first.observation.intent_state == CANCELED
    assert (await pages.session(payment_id))["status"] == "expired"
    assert await gateway.CancelIntent(request) == first
    assert (await gateway.CancelIntent(payments.cancel_request(payment_id))).observation == first.observation


async def test_an_old_page_that_expires_after_payment_by_another_attempt_changes_nothing(
    pages: Pages, payments: Payments, gateway: GatewayStubs
) -> None:
    payment_id = (await pages.opened()).observation.payment_id
    await gateway.CancelIntent(payments.cancel_request(payment_id))
    await gateway.CreateIntent(payments.create_request(payment_id=payment_id, attempt=2))
    paid = (await gateway.ConfirmIntent(payments.confirm_request(payment_id, attempt=2))).observation

    again = await pages.expire(payment_id)
    synced = await payments.synced(payment_id)

    assert (paid.intent_state, paid.attempt) == (SUCCEEDED, 2)
    assert again.observation == synced == paid


async def test_money_on_an_old_page_is_surplus(pages: Pages, payments: Payments, stripe: SandboxControl) -> None:
    old = await pages.opened()
    payment_id = old.observation.payment_id
    await pages.decline(old.session.url)
    old_intent = await payments.intent_id(payment_id)
    await pages.expire(payment_id)
    new = await pages.opened(payment_id=payment_id, attempt=2)
    await pages.pay(new.session.url)
    await payments.synced(payment_id)

    await stripe.succeed(old_intent)  # as a bank may that answers late
    seen = await payments.synced(payment_id)

    assert (seen.attempt, amounts(seen), seen.amounts.surplus_minor) == (2, (AMOUNT_MINOR, 0), AMOUNT_MINOR)
    assert seen.attention.reason == "SURPLUS"


# What is refused.


async def test_what_is_wrong_with_a_page_is_refused_with_its_field(pages: Pages, clock: Clock) -> None:
    def at(delta: timedelta) -> Timestamp:
        return Timestamp(seconds=int((clock.now() + delta).timestamp()))

    line = LINES[0]
    wrong: dict[str, Any] = {
        "success_url": {"success_url": "shop/done"},
        "cancel_url": {"cancel_url": "javascript:alert(1)"},
        "lines": {"lines": [line]},
        "lines[0].amount.currency_code": {"lines": [_row(currency="EUR")]},
        "lines[0].amount.amount_minor": {"lines": [_row(amount_minor=-1)]},
        "lines[0].name": {"lines": [_row(name="x" * 251)]},
        "lines[0].description": {"lines": [_row(description="x" * 501)]},
        "expire_time": {"expire_time": at(timedelta(minutes=20))},
        "metadata": {"metadata": {"payment_id": "mine"}},
    }
    for field, fields in wrong.items():
        said = await refused(pages.gateway.CreateCheckoutSession(pages.create_request(page=fields)))
        assert said[:3] == (StatusCode.INVALID_ARGUMENT, "FIELD_INVALID", field)
    for request in (
        pages.create_request(page={"expire_time": at(timedelta(hours=25))}),
        pages.create_request(page={"expire_time": Timestamp(seconds=-(2**62))}),
    ):
        assert (await refused(pages.gateway.CreateCheckoutSession(request)))[2] == "expire_time"


async def test_what_is_missing_of_a_page_is_named(pages: Pages) -> None:
    missing: dict[str, Any] = {
        "intent": {"intent": None},
        "success_url": {"success_url": ""},
        "cancel_url": {"cancel_url": ""},
        "lines": {"lines": []},
        "lines[0].name": {"lines": [_row(name=" ")]},
        "lines[0].amount": {"lines": [checkout_pb2.CheckoutLine(name="A lesson")]},
    }
    for field, fields in missing.items():
        said = await refused(pages.gateway.CreateCheckoutSession(pages.create_request(page=fields)))
        assert said[:3] == (StatusCode.INVALID_ARGUMENT, "FIELD_MISSING", field)
    said = await refused(pages.gateway.CreateCheckoutSession(pages.create_request(seller_id="")))
    assert said[:3] == (StatusCode.INVALID_ARGUMENT, "FIELD_MISSING", "intent.seller_id")


def _row(
    *, name: str = "A lesson", amount_minor: int = AMOUNT_MINOR, currency: str = "CHF", description: str = ""
) -> checkout_pb2.CheckoutLine:
    amount = type(chf(0))(amount_minor=amount_minor, currency_code=currency)
    return checkout_pb2.CheckoutLine(name=name, amount=amount, description=description)


async def test_more_metadata_than_stripe_keeps_is_refused_before_stripe_is_asked(pages: Pages) -> None:
    much = {f"key{number}": "x" for number in range(50)}
    for request, field in (
        (pages.create_request(metadata=much), "intent.metadata"),
        (pages.create_request(page={"metadata": much}), "metadata"),
    ):
        status, reason, at, _ = await refused(pages.gateway.CreateCheckoutSession(request))
        assert (status, reason, at) == (StatusCode.INVALID_ARGUMENT, "METADATA_TOO_LARGE", field)
        assert await pages.sessions(request.intent.payment_id) == []


async def test_what_stripe_cannot_charge_is_refused_before_there_is_a_page(pages: Pages) -> None:
    request = pages.create_request(amount=chf(10), application_fee=chf(0), page={"lines": [_row(amount_minor=10)]})

    said = await refused(pages.gateway.CreateCheckoutSession(request))

    assert said[:3] == (StatusCode.INVALID_ARGUMENT, "AMOUNT_NOT_CHARGEABLE", "intent.amount")


async def test_a_page_needs_a_seller_who_can_be_paid(pages: Pages, payments: Payments, stripe: SandboxControl) -> None:
    closed = new_id("seller")
    account = await payments.prepare_seller(closed)
    await stripe.set_capability(account.stripe_account_id, "transfers", active=False)

    unknown = await refusal(pages.gateway.CreateCheckoutSession(pages.create_request(seller_id=new_id("seller"))))
    unpayable = await refused(pages.gateway.CreateCheckoutSession(pages.create_request(seller_id=closed)))

    assert unknown == (StatusCode.NOT_FOUND, "SELLER_NOT_FOUND")
    assert (unpayable[:2], unpayable[3]) == (
        (StatusCode.FAILED_PRECONDITION, "SELLER_NOT_PAYABLE"),
        {"missing": "transfers", "seller_id": closed},
    )


async def test_a_page_is_made_for_a_customer_who_is_there(pages: Pages, stripe: SandboxControl) -> None:
    payer = payer_pb2.Payer(payer_id=new_id("payer"))
    first = await pages.opened(payer=payer)
    gone = (await pages.session(first.observation.payment_id))["customer"]
    await stripe.delete_customer(gone)

    again = await pages.opened(payer=payer)

    assert (await pages.session(again.observation.payment_id))["customer"] != gone


async def test_no_second_attempt_beside_an_open_page(pages: Pages, payments: Payments) -> None:
    payment_id = (await pages.opened()).observation.payment_id

    for call in (
        pages.gateway.CreateCheckoutSession(pages.create_request(payment_id=payment_id, attempt=2)),
        pages.gateway.CreateIntent(payments.create_request(payment_id=payment_id, attempt=2)),
    ):
        assert await refusal(call) == (StatusCode.FAILED_PRECONDITION, "ATTEMPT_OPEN")


async def test_a_page_is_confirmed_by_its_payer_alone(pages: Pages, payments: Payments) -> None:
    payment_id = (await pages.opened()).observation.payment_id

    said = await refusal(pages.gateway.ConfirmIntent(payments.confirm_request(payment_id)))

    assert said == (StatusCode.FAILED_PRECONDITION, "INTENT_STATE")


async def test_there_is_no_page_of_what_has_none(pages: Pages, payments: Payments) -> None:
    with_intent = await payments.created()
    not_found = (StatusCode.NOT_FOUND, "CHECKOUT_SESSION_NOT_FOUND")

    for payment_id in (with_intent, new_id("pay")):
        request = checkout_pb2.GetCheckoutSessionRequest(payment_id=payment_id)
        assert await refusal(pages.gateway.GetCheckoutSession(request)) == not_found
        assert await refusal(pages.expire(payment_id)) == not_found


async def test_a_page_that_stripe_refuses_for_good_leaves_an_attempt_that_is_over(
    pages: Pages, stripe: SandboxControl
) -> None:
    await stripe.fault("invalid", route="POST /v1/checkout/sessions", stored=True, code="odd", param="mode")
    request = pages.create_request()

    said = await refused(pages.gateway.CreateCheckoutSession(request))
    again = await pages.opened(payment_id=request.intent.payment_id, attempt=2)

    assert said[:2] == (StatusCode.FAILED_PRECONDITION, "STRIPE_REFUSED")
    assert again.observation.attempt == 2


async def test_a_page_that_stripe_does_not_end_is_open_still(pages: Pages, stripe: SandboxControl) -> None:
    payment_id = (await pages.opened()).observation.payment_id
    await stripe.fault("invalid", route="POST /v1/checkout/sessions/{session}/expire", stored=True, code="odd")

    said = await refused(pages.expire(payment_id))

    assert said[:2] == (StatusCode.FAILED_PRECONDITION, "STRIPE_REFUSED")
    assert (await pages.got(payment_id)).state == checkout_pb2.CheckoutSession.STATE_OPEN


async def test_a_page_is_not_asked_for_too_late(pages: Pages, clock: Clock) -> None:
    late = Timestamp(seconds=int((clock.now() - timedelta(seconds=5)).timestamp()))

    said = await refusal(pages.gateway.CreateCheckoutSession(pages.create_request(send_before_time=late)))

    assert said == (StatusCode.FAILED_PRECONDITION, "REQUEST_EXPIRED")


async def test_another_tenants_page_is_not_made_here(pages: Pages, replica: Gateway) -> None:
    async with replica.connect(tenant="other") as other:
        for call in (
            other.CreateCheckoutSession(pages.create_request()),
            other.GetCheckoutSession(checkout_pb2.GetCheckoutSessionRequest(payment_id=new_id("pay"))),
            other.ExpireCheckoutSession(pages.expire_request(new_id("pay"))),
        ):
            assert await refusal(call) == (StatusCode.FAILED_PRECONDITION, "TENANT_NOT_SERVED")


async def test_while_stripe_is_silent_an_open_page_has_no_address(pages: Pages, stripe: SandboxControl) -> None:
    payment_id = (await pages.opened()).observation.payment_id
    await stripe.fault("server_error", route=READ_PAGE, times=None, stored=False)

    request = checkout_pb2.GetCheckoutSessionRequest(payment_id=payment_id)
    assert await refusal(pages.gateway.GetCheckoutSession(request)) == (StatusCode.UNAVAILABLE, "STRIPE_UNAVAILABLE")
