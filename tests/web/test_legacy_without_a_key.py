"""`/api/payments` without an `Idempotency-Key`: what is a repeat, and what is asked anew."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest

from local.start import add_seller
from local.suite import Suite
from tests.web.shop import Shop, a_shop, key
from tests.web.test_legacy_rest import a_booking, posted


@pytest.fixture(scope="module")
async def shop(suite: Suite) -> AsyncIterator[Shop]:
    async with a_shop(suite) as made:
        yield made


async def test_the_card_that_was_picked_last_is_charged_though_it_was_picked_before(suite: Suite, shop: Shop) -> None:
    """Its payer came back from the bank of each card without a word, which is no decline."""
    intent = await posted(shop, "create-intent", a_booking())

    async def picked(card: str) -> tuple[Any, str]:
        body = {"paymentId": intent["paymentId"], "paymentMethodId": card}
        answer = await shop.payer.post("/api/payments/confirm", json=body)
        payment = (await shop.payer.get(f"/v1/payments/{intent['paymentId']}")).json()
        return answer.json(), payment["method"]["last4"]

    first, card = await picked("pm_card_threeDSecure2Required")
    _, other = await picked("pm_card_authenticationRequired")
    again, asked_about = await picked("pm_card_threeDSecure2Required")
    await suite.sandbox.authenticate(intent["paymentIntentId"], succeed=True)
    await shop.service.post(f"/v1/payments/{intent['paymentId']}/sync", json={}, headers=key())
    paid = (await shop.payer.get(f"/v1/payments/{intent['paymentId']}")).json()

    assert card != other
    assert (again, asked_about) == (first, card)
    assert (paid["state"], paid["method"]["last4"]) == ("SUCCEEDED", card)


async def test_a_confirm_without_a_key_that_is_clicked_twice_is_one(shop: Shop) -> None:
    intent = await posted(shop, "create-intent", a_booking())
    body = {"paymentId": intent["paymentId"], "paymentMethodId": "pm_card_chargeDeclined"}
    first, second = await asyncio.gather(*(shop.payer.post("/api/payments/confirm", json=body) for _ in range(2)))
    payment = (await shop.payer.get(f"/v1/payments/{intent['paymentId']}")).json()

    assert (first.status_code, first.json()) == (second.status_code, second.json())
    assert payment["decline_count"] == 1


async def test_a_page_that_was_refused_is_made_once_it_is_the_payers_turn_and_a_double_click_is_one_page(
    suite: Suite, shop: Shop
) -> None:
    body = a_booking()
    intent = await posted(shop, "create-intent", body)
    page = {"bookingId": body["bookingId"]}

    async def comes_to(state: str) -> None:
        await suite.sandbox.force(intent["paymentIntentId"], state)
        await shop.service.post(f"/v1/payments/{intent['paymentId']}/sync", json={}, headers=key())

    await comes_to("processing")
    refused = await shop.payer.post("/api/payments/create-checkout-session", json=page)
    await comes_to("declined")
    first, second = await asyncio.gather(
        *(shop.payer.post("/api/payments/create-checkout-session", json=page) for _ in range(2))
    )

    assert (refused.status_code, refused.json()["code"]) == (409, "PAYMENT_STATE")
    assert (first.status_code, first.json()["url"]) == (200, second.json()["url"])
    assert first.json()["paymentId"] == intent["paymentId"]


async def test_a_confirm_that_was_refused_without_a_key_pays_once_it_is_the_payers_turn(
    suite: Suite, shop: Shop
) -> None:
    intent = await posted(shop, "create-intent", a_booking())
    card = {"paymentId": intent["paymentId"], "paymentMethodId": "pm_card_visa"}
    answers = []
    for state in ("processing", "declined"):
        await suite.sandbox.force(intent["paymentIntentId"], state)
        await shop.service.post(f"/v1/payments/{intent['paymentId']}/sync", json={}, headers=key())
        answers.append(await shop.payer.post("/api/payments/confirm", json=card))
    answers.append(await shop.payer.post("/api/payments/confirm", json=card))

    assert [one.status_code for one in answers] == [409, 200, 200]
    assert answers[1].json()["status"] == "succeeded"
    assert answers[2].json() == answers[1].json()


async def test_a_booking_is_started_once_its_seller_can_be_paid_and_then_once(suite: Suite, shop: Shop) -> None:
    body = a_booking(coachId=f"coach_{uuid.uuid4().hex}")
    refused = await shop.service.post("/api/payments/create-intent", json=body)
    async with suite.client("service", sub="shop") as batzen:
        await add_seller(batzen, str(body["coachId"]))
    first = await posted(shop, "create-intent", body)
    again = await posted(shop, "create-intent", body)

    assert (refused.status_code, refused.json()["code"]) == (404, "COACH_PAYMENTS_NOT_CONFIGURED")
    assert (first["status"], again) == ("pending", first)
