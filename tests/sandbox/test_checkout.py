"""Checkout Sessions: what is refused, what a payer does on the hosted page, and how a session ends."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
import stripe

from sandbox.control import Refused, SandboxControl
from tests.eventually import WITHIN_S
from tests.sandbox.samples import Api, Receiver, opened, seller

BANK = "/3ds/"
CARD_3DS = "pm_card_threeDSecure2Required"
DAY_S = 86_400


def _line(amount: int, *, currency: str = "chf", quantity: int = 1, name: str = "A lesson") -> dict[str, Any]:
    data = {"currency": currency, "unit_amount": amount, "product_data": {"name": name}}
    return {"price_data": data, "quantity": quantity}


async def _types(v1: Api) -> list[str]:
    """Return the kinds of the account's events, oldest first."""
    found = await v1.events.list_async({"limit": 100})
    return [event.type for event in reversed(found.data)]


async def test_a_session_shows_what_is_to_be_paid_and_has_no_intent_yet(v1: Api) -> None:
    customer = await v1.customers.create_async({"email": "payer@example.com"})

    session = await opened(
        v1,
        line_items=[_line(4_000, quantity=2), _line(1_050, name="A book")],
        customer=customer.id,
        client_reference_id="cart-7",
        locale="de",
        metadata={"payment": "p1"},
        expand=["line_items"],
    )

    assert (session.status, session.payment_status, session.payment_intent) == ("open", "unpaid", None)
    assert (session.amount_total, session.amount_subtotal, session.currency) == (9_050, 9_050, "chf")
    assert (session.client_reference_id, session.locale, session.customer) == ("cart-7", "de", customer.id)
    assert session.metadata.to_dict() == {"payment": "p1"}
    assert session.expires_at - session.created == DAY_S
    assert [(item.description, item.quantity, item.amount_total) for item in session.line_items.data] == [
        ("A lesson", 2, 8_000),
        ("A book", 1, 1_050),
    ]
    again = await v1.checkout.sessions.retrieve_async(session.id)
    assert (again.url, "line_items" in again) == (session.url, False)
    rows = await v1.checkout.sessions.line_items.list_async(session.id, {"limit": 1})
    assert ([row.description for row in rows.data], rows.has_more) == (["A lesson"], True)


REFUSED: dict[str, tuple[dict[str, Any], str | None]] = {
    "no mode": ({"mode": None}, "mode"),
    "a locale of no page": ({"locale": "gsw"}, "locale"),
    "too short a life": ({"expires_in": 29 * 60}, "expires_at"),
    "too long a life": ({"expires_in": DAY_S + 60}, "expires_at"),
    "nowhere to go": ({"success_url": None}, "success_url"),
    "no address": ({"success_url": "shop/done"}, "success_url"),
    "no address to turn back to": ({"cancel_url": "javascript:alert(1)"}, "cancel_url"),
    "nothing to pay for": ({"line_items": None}, "line_items"),
    "a negative row": ({"line_items": [_line(500), _line(-1)]}, "line_items[1][price_data][unit_amount]"),
    "none of a row": ({"line_items": [_line(500, quantity=0)]}, "line_items[0][quantity]"),
    "a row without a name": (
        {"line_items": [_line(500, name="")]},
        "line_items[0][price_data][product_data][name]",
    ),
    "two currencies": ({"line_items": [_line(500), _line(500, currency="eur")]}, "line_items"),
    "too little": ({"line_items": [_line(49)]}, None),
    "too many rows": ({"line_items": [_line(500)] * 101}, "line_items"),
    "a customer unknown": ({"customer": "cus_none"}, "customer"),
    "two addresses": ({"customer_email": "a@example.com", "customer": True}, "customer_email"),
    "no such account": (
        {"payment_intent_data": {"transfer_data": {"destination": "acct_none"}}},
        "transfer_data[destination]",
    ),
    "a fee without a seller": ({"payment_intent_data": {"application_fee_amount": 5}}, "application_fee_amount"),
    "of another mode": ({"setup_intent_data": {"description": "x"}}, "setup_intent_data"),
    "method types as before": ({"payment_method_types": ["card"]}, "payment_method_types"),
    "a long key": ({"metadata": {"k" * 41: "v"}}, "metadata"),
    "a long value": ({"metadata": {"k": "v" * 501}}, "metadata[k]"),
    "too many keys": ({"metadata": {f"k{n}": "v" for n in range(51)}}, "metadata"),
    "a long value of the intent": ({"payment_intent_data": {"metadata": {"k": "v" * 501}}}, "metadata[k]"),
    "a parameter Stripe does not know": ({"colour": "red"}, "colour"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_stripe_would_refuse_is_refused_before_the_payer_sees_a_page(
    v1: Api, control: SandboxControl, name: str
) -> None:
    given, param = REFUSED[name]
    params = dict(given)
    if "expires_in" in params:
        params["expires_at"] = int(await control.now()) + params.pop("expires_in")
    if params.get("customer") is True:
        params["customer"] = (await v1.customers.create_async({})).id

    with pytest.raises(stripe.InvalidRequestError) as caught:
        await opened(v1, **params)

    assert (caught.value.http_status, caught.value.param) == (400, param)
    assert (await v1.checkout.sessions.list_async()).data == []


@pytest.mark.parametrize(
    "params",
    [
        {"mode": "subscription"},
        {"ui_mode": "embedded_page"},
        {"line_items": [_line(0)]},
        {"line_items": [{"price": "price_1", "quantity": 1}]},
        {"discounts": [{"coupon": "c"}]},
        {"adaptive_pricing": {"enabled": True}},
    ],
)
async def test_what_is_not_modelled_says_so(v1: Api, params: dict[str, Any]) -> None:
    with pytest.raises(stripe.APIError) as caught:
        await opened(v1, **params)

    assert caught.value.http_status == 501


async def test_a_payer_pays_and_is_sent_to_the_shop(v1: Api, control: SandboxControl) -> None:
    account = await seller(v1)
    customer = await v1.customers.create_async({"email": "payer@example.com"})
    session = await opened(
        v1,
        customer=customer.id,
        metadata={"of": "session"},
        payment_intent_data={
            "application_fee_amount": 700,
            "transfer_data": {"destination": account},
            "metadata": {"of": "intent"},
            "description": "Lessons",
        },
    )

    target = await control.pay_session(session.url)

    assert target == f"https://shop.example/done?session={session.id}"
    session = await v1.checkout.sessions.retrieve_async(session.id, {"expand": ["payment_intent"]})
    intent = session.payment_intent
    assert (session.status, session.payment_status, session.url) == ("complete", "paid", None)
    assert session.customer_details.email == "payer@example.com"
    assert (intent.status, intent.amount_received, intent.customer) == ("succeeded", 10_000, customer.id)
    assert (intent.metadata.to_dict(), intent.description) == ({"of": "intent"}, "Lessons")
    assert (intent.application_fee_amount, intent.transfer_data.destination) == (700, account)
    types = await _types(v1)
    assert types.index("payment_intent.succeeded") < types.index("checkout.session.completed")
    assert [row.id for row in (await v1.checkout.sessions.list_async({"payment_intent": intent.id})).data] == [
        session.id
    ]
    assert [row.id for row in (await v1.checkout.sessions.list_async({"customer": customer.id})).data] == [session.id]
    assert (await v1.checkout.sessions.list_async({"status": "open"})).data == []


async def test_a_declined_payer_may_try_again_and_the_intent_stays_the_same(v1: Api, control: SandboxControl) -> None:
    session = await opened(v1)

    with pytest.raises(Refused, match="insufficient funds") as caught:
        await control.pay_session(session.url, payment_method="pm_card_chargeDeclinedInsufficientFunds")

    assert caught.value.status == 402
    declined = await v1.checkout.sessions.retrieve_async(session.id)
    assert (declined.status, declined.payment_status) == ("open", "unpaid")
    intent = await v1.payment_intents.retrieve_async(declined.payment_intent)
    assert (intent.status, intent.last_payment_error.decline_code) == ("requires_payment_method", "insufficient_funds")
    await control.pay_session(session.url, email="new@example.com")
    paid = await v1.checkout.sessions.retrieve_async(session.id)
    assert (paid.payment_intent, paid.payment_status) == (intent.id, "paid")
    assert paid.customer_details.email == "new@example.com"


async def test_authentication_goes_to_the_bank_and_back(v1: Api, control: SandboxControl) -> None:
    session = await opened(v1)

    bank = await control.pay_session(session.url, payment_method=CARD_3DS)
    assert BANK in bank
    page = await control.answer_3ds(bank, succeed=False)
    assert page.startswith(session.url)
    assert await control.come_back(page) == ""
    assert (await v1.checkout.sessions.retrieve_async(session.id)).status == "open"
    bank = await control.pay_session(session.url, payment_method=CARD_3DS)
    shop = await control.come_back(await control.answer_3ds(bank, succeed=True))

    assert shop == f"https://shop.example/done?session={session.id}"
    assert (await v1.checkout.sessions.retrieve_async(session.id)).payment_status == "paid"
    assert (await _types(v1)).count("checkout.session.completed") == 1


async def test_a_hold_completes_the_session_and_leaves_it_unpaid(v1: Api, control: SandboxControl) -> None:
    session = await opened(
        v1,
        payment_intent_data={"capture_method": "manual"},
        payment_method_options={"card": {"request_multicapture": "if_available"}},
    )
    assert session.payment_method_types == ["card"]
    assert session.payment_method_options.card.request_multicapture == "if_available"

    await control.pay_session(session.url)

    held = await v1.checkout.sessions.retrieve_async(session.id, {"expand": ["payment_intent"]})
    assert (held.status, held.payment_status) == ("complete", "unpaid")
    assert (held.payment_intent.status, held.payment_intent.amount_capturable) == ("requires_capture", 10_000)
    await v1.payment_intents.capture_async(held.payment_intent.id)
    assert (await v1.checkout.sessions.retrieve_async(session.id)).payment_status == "paid"
    assert [kind for kind in await _types(v1) if kind.startswith("checkout.")] == ["checkout.session.completed"]


async def test_money_on_its_way_completes_the_session_and_its_end_is_told(v1: Api, control: SandboxControl) -> None:
    for outcome, end in (("succeeded", "paid"), ("declined", "unpaid")):
        session = await opened(v1)
        await _declined(control, session.url)
        intent_id = (await v1.checkout.sessions.retrieve_async(session.id)).payment_intent
        await control.force(intent_id, "processing")
        waiting = await v1.checkout.sessions.retrieve_async(session.id)
        assert (waiting.status, waiting.payment_status) == ("complete", "unpaid")

        await control.force(intent_id, "succeeded" if outcome == "succeeded" else "declined")

        ended = await v1.checkout.sessions.retrieve_async(session.id)
        assert (ended.status, ended.payment_status) == ("complete", end)
    assert [kind for kind in await _types(v1) if kind.startswith("checkout.")] == [
        "checkout.session.completed",
        "checkout.session.async_payment_succeeded",
        "checkout.session.completed",
        "checkout.session.async_payment_failed",
    ]


async def test_an_expired_session_cannot_be_paid_and_takes_its_intent_with_it(v1: Api, control: SandboxControl) -> None:
    session = await opened(v1)
    url = session.url
    bank = await control.pay_session(url, payment_method=CARD_3DS)
    intent_id = (await v1.checkout.sessions.retrieve_async(session.id)).payment_intent

    expired = await v1.checkout.sessions.expire_async(session.id)

    assert (expired.status, expired.url, expired.payment_status) == ("expired", None, "unpaid")
    assert (await v1.payment_intents.retrieve_async(intent_id)).status == "canceled"
    for attempt in (control.pay_session(url), control.answer_3ds(bank, succeed=True)):
        with pytest.raises(Refused):
            await attempt
    assert (await v1.payment_intents.retrieve_async(intent_id)).status == "canceled"
    assert (await _types(v1))[-2:] == ["payment_intent.canceled", "checkout.session.expired"]


async def test_only_an_open_session_can_be_expired(v1: Api, control: SandboxControl) -> None:
    paid, expired = await opened(v1), await opened(v1)
    await control.pay_session(paid.url)
    await v1.checkout.sessions.expire_async(expired.id)

    for session, status in ((paid, "complete"), (expired, "expired")):
        with pytest.raises(stripe.InvalidRequestError, match=f"has a status of `{status}`") as caught:
            await v1.checkout.sessions.expire_async(session.id)
        assert caught.value.http_status == 400
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await v1.checkout.sessions.expire_async("cs_test_none")
    assert (caught.value.http_status, caught.value.code) == (404, "resource_missing")


async def test_a_session_expires_by_itself_unless_it_was_paid(fresh: tuple[Api, SandboxControl]) -> None:
    v1, control = fresh
    soon = await opened(v1, expires_at=int(await control.now()) + 30 * 60)
    paid, later = await opened(v1), await opened(v1)
    await control.pay_session(paid.url)

    await control.advance(30 * 60 + 1)
    found = {row.id: row.status for row in (await v1.checkout.sessions.list_async()).data}
    assert found == {soon.id: "expired", paid.id: "complete", later.id: "open"}
    await control.advance(DAY_S)

    found = {row.id: row.status for row in (await v1.checkout.sessions.list_async()).data}
    assert found == {soon.id: "expired", paid.id: "complete", later.id: "expired"}
    assert (await _types(v1)).count("checkout.session.expired") == 2


async def test_a_payer_who_pays_while_the_session_is_expired_has_paid_or_has_not(
    v1: Api, control: SandboxControl
) -> None:
    for _ in range(20):
        session = await opened(v1)
        await _declined(control, session.url)

        paid, expired = await asyncio.gather(
            control.pay_session(session.url), v1.checkout.sessions.expire_async(session.id), return_exceptions=True
        )

        after = await v1.checkout.sessions.retrieve_async(session.id, {"expand": ["payment_intent"]})
        assert isinstance(paid, Refused) != isinstance(expired, stripe.InvalidRequestError)
        assert (after.status, after.payment_status, after.payment_intent.status) == (
            ("complete", "paid", "succeeded") if isinstance(paid, str) else ("expired", "unpaid", "canceled")
        )


async def test_a_session_can_be_made_to_expire_by_itself(v1: Api, control: SandboxControl) -> None:
    session = await opened(v1)

    assert (await control.expire_session(session.id))["status"] == "expired"

    event = (await v1.events.list_async({"limit": 1})).data[0]
    assert (event.type, event.request.id) == ("checkout.session.expired", None)


async def test_the_intent_of_an_open_session_is_not_touched_from_outside(v1: Api, control: SandboxControl) -> None:
    session = await opened(v1, payment_intent_data={"capture_method": "manual"})
    await _declined(control, session.url)
    intent_id = (await v1.checkout.sessions.retrieve_async(session.id)).payment_intent

    for attempt in (
        v1.payment_intents.cancel_async(intent_id),
        v1.payment_intents.confirm_async(intent_id, {"payment_method": "pm_card_visa", "return_url": "https://x.ch"}),
    ):
        with pytest.raises(stripe.InvalidRequestError, match="Expire the Checkout Session instead"):
            await attempt
    await control.pay_session(session.url)

    assert (await v1.payment_intents.cancel_async(intent_id)).status == "canceled"


async def test_late_money_does_not_open_an_expired_session(v1: Api, control: SandboxControl) -> None:
    session = await opened(v1)
    await _declined(control, session.url)
    await v1.checkout.sessions.expire_async(session.id)
    intent_id = (await v1.checkout.sessions.retrieve_async(session.id)).payment_intent

    await control.succeed(intent_id)

    late = await v1.checkout.sessions.retrieve_async(session.id)
    assert (late.status, late.payment_status) == ("expired", "unpaid")


async def test_webhooks_of_sessions_are_events_as_the_client_reads_them(
    v1: Api, control: SandboxControl, receiver: Receiver, listen: Any
) -> None:
    secret = await listen("checkout.session.completed", "checkout.session.expired")
    paid, expired = await opened(v1), await opened(v1)

    await control.pay_session(paid.url)
    await v1.checkout.sessions.expire_async(expired.id)
    await control.drain()

    seen = {event.data.object.id: event.type for event in receiver.events(secret)}
    assert seen == {paid.id: "checkout.session.completed", expired.id: "checkout.session.expired"}


async def test_the_page_shows_lines_and_choices_without_script(v1: Api, control: SandboxControl) -> None:
    session = await opened(
        v1, line_items=[_line(12_050, name="<b>Ski</b>", quantity=2)], cancel_url="https://shop.ch/?a&b"
    )

    async with httpx.AsyncClient(trust_env=False, timeout=WITHIN_S) as browser:
        page = await browser.get(session.url)
        wrong = await browser.post(session.url, data={"payment_method": "4242424242424242"})
        await _declined(control, session.url)
        again = await browser.get(session.url)
        await control.pay_session(session.url)
        after = await browser.get(session.url)
        unknown = await browser.get(f"{session.url}x")

    assert (page.status_code, page.headers["cache-control"]) == (200, "no-store")
    for text in (
        "Pay 241.00 CHF",
        "2 x &lt;b&gt;Ski&lt;/b&gt;",
        'href="https://shop.ch/?a&amp;b"',
        'value="pm_card_threeDSecure2Required"',
        "Visa credit 9995: insufficient_funds",
        'type="email"',
        'lang="en"',
    ):
        assert text in page.text
    assert "<script" not in page.text
    assert (wrong.status_code, "Choose a payment method." in wrong.text) == (400, True)
    assert 'role="alert">Your card was declined.' in again.text
    assert (after.status_code, unknown.status_code) == (410, 404)


async def test_an_address_the_payer_types_goes_to_a_customer_without_one(v1: Api, control: SandboxControl) -> None:
    customer = await v1.customers.create_async({})
    session = await opened(v1, customer=customer.id)

    with pytest.raises(Refused, match="Invalid email"):
        await control.pay_session(session.url, email="payer@")
    await control.pay_session(session.url, email="payer@example.com")

    assert (await v1.customers.retrieve_async(customer.id)).email == "payer@example.com"
    paid = await v1.checkout.sessions.retrieve_async(session.id)
    assert paid.customer_details.email == "payer@example.com"


async def test_the_page_has_what_the_session_has(v1: Api) -> None:
    price = {"currency": "eur", "unit_amount": 2_000, "product_data": {"name": "A lesson"}}
    customer = await v1.customers.create_async({"email": "payer@example.com"})
    bare = await opened(v1, cancel_url=None, customer=customer.id, line_items=[{"price_data": price, "quantity": 1}])

    async with httpx.AsyncClient(trust_env=False, timeout=WITHIN_S) as browser:
        page = (await browser.get(bare.url)).text

    assert ("Back to the shop" in page, 'type="email"' in page) == (False, False)
    assert ("pm_sepaDebit_success_de" in page, "allow the shop to take" in page) == (True, True)
    assert ("pm_sepaDebit_success_at" in page, "pm_twint" in page) == (False, False)


async def _declined(control: SandboxControl, url: str) -> None:
    with pytest.raises(Refused):
        await control.pay_session(url, payment_method="pm_card_chargeDeclined")
