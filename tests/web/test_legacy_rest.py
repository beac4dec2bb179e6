"""`/api/payments`, as old clients know it: paths, names, envelope, codes."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from local.suite import Suite
from services.bff.api.modern import models as modern
from services.runtime.database.connections import DirectConnections
from services.web.rates import PAYMENT, SharedRates
from tests.web.shop import PAYER, SELLER, Shop, a_shop, key

PRICE = {"final": {"amount": {"amount": 60, "currency": "CHF"}, "currency": "CHF"}}


@pytest.fixture(scope="module")
async def shop(suite: Suite) -> AsyncIterator[Shop]:
    async with a_shop(suite) as made:
        yield made


def a_booking(**changed: object) -> dict[str, object]:
    body: dict[str, object] = {
        "bookingId": f"booking-{uuid.uuid4().hex}",
        "price": PRICE,
        "userId": PAYER,
        "coachId": SELLER,
        "aFieldOfOldClients": "is passed over",
    }
    return body | changed


async def posted(shop: Shop, what: str, body: Mapping[str, object], **sent: Any) -> Any:
    answer = await shop.service.post(f"/api/payments/{what}", json=body, **sent)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_booking_is_paid_as_it_always_was(shop: Shop) -> None:
    body = a_booking()
    intent = await posted(shop, "create-intent", body)
    again = await posted(shop, "create-intent", body)
    method = {"paymentIntentId": intent["paymentIntentId"], "paymentMethodId": "pm_card_visa"}
    confirmed = await shop.payer.post("/api/payments/confirm", json=method | {"bookingId": body["bookingId"]})
    repeated = await shop.payer.post("/api/payments/confirm", json={"paymentId": intent["paymentId"]} | method)
    status = (await shop.payer.get(f"/api/payments/status/{body['bookingId']}")).json()

    assert {name: intent[name] for name in ("success", "status", "amountMinor", "currency")} == {
        "success": True, "status": "pending", "amountMinor": 6000, "currency": "CHF",
    }  # fmt: skip
    assert intent["clientSecret"].startswith("pi_")
    assert again == intent
    assert (confirmed.json()["success"], confirmed.json()["status"]) == (True, "succeeded")
    assert repeated.json() == confirmed.json()
    assert (status["paymentStatus"], status["flowPhase"], status["paidAmountMinor"]) == ("completed", "COMPLETED", 6000)
    assert status["paidAt"].endswith("Z")


async def test_a_payer_finds_the_open_payment_and_claims_no_other_price(shop: Shop) -> None:
    body = a_booking()
    missing = await shop.payer.post("/api/payments/create-intent", json=body)
    intent = await posted(shop, "create-intent", body)
    same = await shop.payer.post("/api/payments/create-intent", json=body)
    cheaper = await shop.payer.post(
        "/api/payments/create-intent", json=body | {"price": {"final": 1, "currency": "CHF"}}
    )
    nonsense = await shop.payer.post("/api/payments/create-intent", json=body | {"price": {"final": {"x": 1}}})
    anothers = await shop.other_payer.post("/api/payments/create-intent", json={"bookingId": body["bookingId"]})
    for_another = await shop.other_payer.post("/api/payments/create-intent", json=body)

    assert (missing.status_code, missing.json()["code"]) == (404, "PAYMENT_NOT_FOUND")
    assert same.json()["paymentId"] == intent["paymentId"]
    assert (cheaper.status_code, cheaper.json()["code"]) == (409, "PRICE_CHANGED")
    assert (nonsense.status_code, nonsense.json()["code"]) == (400, "FIELD_INVALID")
    assert (anothers.status_code, anothers.json()["code"]) == (404, "PAYMENT_NOT_FOUND")
    assert (for_another.status_code, for_another.json()["code"]) == (403, "PERMISSION_DENIED")
    assert set(cheaper.json()) == {"success", "message", "code", "recoverable", "correlationId"}


async def test_a_decline_is_200_without_success_and_the_same_card_may_be_tried_again(shop: Shop) -> None:
    intent = await posted(shop, "create-intent", a_booking())
    stolen = {"paymentId": intent["paymentId"], "paymentMethodId": "pm_card_chargeDeclinedStolenCard"}
    declined = await shop.payer.post("/api/payments/confirm", json=stolen)
    again = await shop.payer.post("/api/payments/confirm", json=stolen)
    payment = (await shop.payer.get(f"/v1/payments/{intent['paymentId']}")).json()

    assert declined.status_code == 200
    assert (declined.json()["success"], declined.json()["code"]) == (False, "GENERIC_DECLINE")
    assert again.json()["success"] is False
    assert payment["decline_count"] == 2


async def test_a_payment_that_waits_for_its_bank_is_no_success(shop: Shop) -> None:
    intent = await posted(shop, "create-intent", a_booking())
    secure = {"paymentId": intent["paymentId"], "paymentMethodId": "pm_card_threeDSecure2Required"}
    answer = (await shop.payer.post("/api/payments/confirm", json=secure)).json()

    assert (answer["success"], answer["requiresAction"], answer["code"]) == (False, True, "REQUIRES_ACTION")
    assert answer["redirectUrl"].startswith("http")


async def test_a_booking_whose_payment_was_called_off_is_paid_for_by_another(shop: Shop) -> None:
    body = a_booking()
    first = await posted(shop, "create-intent", body)
    await shop.payer.post(f"/v1/payments/{first['paymentId']}/cancel", json={}, headers=key())
    second = await posted(shop, "create-intent", body)

    assert second["paymentId"] != first["paymentId"]
    assert second["status"] == "pending"


async def test_a_refund_needs_a_key_and_its_repeat_is_its_answer(shop: Shop) -> None:
    body = a_booking()
    intent = await posted(shop, "create-intent", body)
    await shop.payer.post(
        "/api/payments/confirm", json={"paymentId": intent["paymentId"], "paymentMethodId": "pm_card_visa"}
    )
    part = {"bookingId": body["bookingId"], "amount": 10.5}
    without = await shop.service.post("/api/payments/refund", json=part)
    by_payer = await shop.payer.post("/api/payments/refund", json=part, headers=key())
    first = await posted(shop, "refund", part, headers=(one := key()))
    other = await posted(shop, "refund", part, headers=key())
    rest = await posted(shop, "refund", {"bookingId": body["bookingId"]}, headers=(last := key()))
    repeated = await posted(shop, "refund", part, headers=one)
    rest_again = await posted(shop, "refund", {"bookingId": body["bookingId"]}, headers=last)
    changed = await shop.service.post("/api/payments/refund", json=part | {"amount": 11}, headers=one)

    assert (without.status_code, without.json()["code"]) == (400, "IDEMPOTENCY_KEY_REQUIRED")
    assert (by_payer.status_code, by_payer.json()["code"]) == (403, "PERMISSION_DENIED")
    assert (first["refundAmountMinor"], first["paymentStatus"]) == (1050, "partially_refunded")
    assert other["refundId"] != first["refundId"]
    assert (rest["refundAmountMinor"], rest["paymentStatus"]) == (3900, "refunded")
    assert (repeated, rest_again) == (first, rest)
    assert (changed.status_code, changed.json()["code"]) == (409, "REQUEST_ID_REUSED")


async def test_methods_are_kept_listed_made_the_default_and_forgotten(shop: Shop) -> None:
    kept = (await shop.payer.post("/api/payments/methods", json={"paymentMethodId": "pm_card_mastercard"})).json()
    method_id = kept["method"]["id"]
    default = (await shop.payer.post("/api/payments/methods/default", json={"paymentMethodId": method_id})).json()
    listed = (await shop.payer.get(f"/api/payments/methods/{PAYER}")).json()
    anothers = await shop.other_payer.get(f"/api/payments/methods/{PAYER}")
    forgotten = (await shop.payer.delete(f"/api/payments/methods/{method_id}")).json()

    assert default["method"]["isDefault"] is True
    assert listed["methods"][0]["id"] == method_id
    assert (anothers.status_code, anothers.json()["code"]) == (403, "PERMISSION_DENIED")
    assert forgotten == {"success": True}


async def test_a_hosted_page_is_made_for_a_booking(shop: Shop) -> None:
    body = a_booking(successUrl="https://shop.example/done", cancelUrl="https://shop.example/back")
    page = await posted(shop, "create-checkout-session", body)

    assert page["sessionId"].startswith("cs_")
    assert page["url"].startswith("http")


async def test_a_seller_who_cannot_be_paid_has_the_code_that_old_clients_know(shop: Shop) -> None:
    answer = await shop.service.post("/api/payments/create-intent", json=a_booking(coachId="nobody_yet"))

    assert (answer.status_code, answer.json()["code"]) == (404, "COACH_PAYMENTS_NOT_CONFIGURED")
    assert answer.json()["success"] is False


@pytest.mark.parametrize(
    ("path", "body", "code", "said"),
    [
        ("create-intent", {}, "FIELD_MISSING", "`bookingId`: must be given"),
        ("create-intent", {"bookingId": "b"}, "FIELD_MISSING", "`price`: must be given"),
        ("confirm", {"paymentMethodId": "pm_card_visa"}, "FIELD_MISSING", "`paymentIntentId`: must be given"),
        (
            "confirm",
            {"paymentId": "nonsense", "paymentMethodId": "pm_card_visa"},
            "FIELD_INVALID",
            "`paymentId`: must ",
        ),
        (
            "create-intent",
            {"bookingId": "b", "userId": "u", "coachId": "x" * 129, "currency": "CHF", "price": {"final": "10"}},
            "FIELD_INVALID",
            "`coachId`: must",
        ),
        ("create-intent", a_booking(currency="CHF", price={"final": "0.10"}), "AMOUNT_NOT_CHARGEABLE", "`price`: "),
        ("refund", {"bookingId": ["x"]}, "FIELD_INVALID", "`bookingId`: must be a valid string"),
    ],
)
async def test_what_is_wrong_is_said_in_the_envelope(
    shop: Shop, path: str, body: Mapping[str, object], code: str, said: str
) -> None:
    answer = await shop.service.post(f"/api/payments/{path}", json=body)

    assert (answer.status_code, answer.json()["code"], answer.json()["success"]) == (400, code, False)
    assert said in answer.json()["message"]
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "said", [{"amountMinor": 1000}, {"amount": None}, {"amount": True}, {"sum": 10}, {"Amount": 10}]
)
async def test_a_refund_that_may_have_said_how_much_gives_nothing_back(said: dict[str, object], shop: Shop) -> None:
    wish = {"bookingId": "booking-of-nobody", **said}
    answer = await shop.service.post("/api/payments/refund", json=wish, headers=key())
    assert (answer.status_code, answer.json()["code"]) == (400, "FIELD_INVALID")


async def test_one_wish_is_one_refund_or_submit_though_its_booking_is_paid_anew(shop: Shop) -> None:
    body = a_booking()
    named = {"bookingId": body["bookingId"]}

    async def started() -> Any:
        return (await posted(shop, "create-intent", body))["paymentId"]

    async def confirmed(sent: Mapping[str, str], **method: str) -> Any:
        asked = named | {"paymentMethodId": "pm_card_visa"} | method
        return await shop.payer.post("/api/payments/confirm", json=asked, headers=sent)

    first_id, paying, refunding = await started(), key(), key()
    assert (await confirmed(paying)).json()["paymentId"] == first_id
    refunded = await posted(shop, "refund", named | {"amount": 60}, headers=refunding)
    second_id = await started()
    paid_late = await confirmed(paying)
    assert (await confirmed(key())).json()["paymentId"] == second_id
    refunded_late = await posted(shop, "refund", named | {"amount": 60}, headers=refunding)
    another = await shop.service.post("/api/payments/refund", json=named | {"amount": 5}, headers=refunding)
    status = await shop.service.get(f"/api/payments/status/{body['bookingId']}")

    assert (paid_late.status_code, paid_late.json()["code"]) == (409, "REQUEST_ID_REUSED")
    assert (refunded["paymentId"], refunded_late["refundId"]) == (first_id, refunded["refundId"])
    assert (another.status_code, another.json()["code"]) == (409, "REQUEST_ID_REUSED")
    assert (status.json()["paymentId"], status.json()["refundedAmountMinor"]) == (second_id, 0)


async def test_confirms_are_counted_by_their_payment_however_it_is_named(suite: Suite, shop: Shop) -> None:
    body = a_booking()
    intent = await posted(shop, "create-intent", body)
    async with DirectConnections(suite.database_url("bff"), application_name="test", size=1) as held:
        for _ in range(PAYMENT.burst):
            await SharedRates(held, now=lambda: datetime.now(UTC)).take(PAYMENT, "main", PAYER, intent["paymentId"])
    named = {"bookingId": body["bookingId"], "paymentMethodId": "pm_card_visa"}
    refused = await shop.payer.post("/api/payments/confirm", json=named)

    assert (refused.status_code, refused.json()["code"]) == (429, "TOO_MANY_REQUESTS")


MONEY = {"amount_minor": 1000, "currency_code": "CHF"}


@pytest.mark.parametrize(
    "said", [{"amount": None}, {"amount": MONEY | {"amount_minor": True}}, {"expected_refundable": None}]
)
def test_what_is_no_amount_is_not_taken_for_one_or_for_all(said: dict[str, object]) -> None:
    body = {"expected_refundable": MONEY, "actor_id": "anna"}
    assert modern.RefundPayment.model_validate(body).amount is None
    with pytest.raises(ValidationError):
        modern.RefundPayment.model_validate(body | said)
    if "amount" in said:
        with pytest.raises(ValidationError):
            modern.CapturePayment.model_validate({"actor_id": "anna"} | said)
