"""A payer chooses on the page when their money is taken; a page that shows the timing of before takes nothing."""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx
import pytest

from batzen.client import new_request_id
from batzen.orchestrator.v1.orchestrator_pb2 import GetPaymentPlanRequest, PaymentPlan, ReschedulePaymentRequest
from local.suite import Suite
from tests.eventually import eventually
from tests.web import payers
from tests.web.browser import new_context
from tests.web.payers import THANKS, see
from tests.web.shop import Shop, a_confirm, a_shop, a_start, key
from tests.web.test_checkout import forms, paying
from tests.web.test_submits import expire_quote, put_coupon

if TYPE_CHECKING:
    from playwright.async_api import Browser

ALL = ["IMMEDIATE", "MANUAL_CAPTURE", "SCHEDULED"]


@pytest.fixture(scope="module")
async def shop(suite: Suite) -> AsyncIterator[Shop]:
    async with a_shop(suite) as made:
        yield made


@pytest.fixture
async def payer_id(suite: Suite) -> str:
    """A payer who keeps a card."""
    made = f"payer_{new_request_id()}"
    await payers.keep(suite, made, "pm_card_visa")
    return made


async def offered(shop: Shop, payer_id: str, **changed: object) -> str:
    """Have the platform start a payment whose payer may choose."""
    later = (datetime.now(UTC) + timedelta(days=7)).isoformat()
    fields: dict[str, object] = {"timings_offered": ALL, "charge_time": later, "collection": "ELEMENTS"}
    return await payers.started(shop, payer_id=payer_id, **(fields | changed))


async def chosen(browser: httpx.AsyncClient, payment_id: str, timing: str) -> httpx.Response:
    page = await browser.get(f"/pay/{payment_id}/timing")
    field = forms(page.text)[f"/pay/{payment_id}/timing"]
    return await browser.post(f"/pay/{payment_id}/timing", data={"request_id": field, "timing": timing})


async def last_look(browser: httpx.AsyncClient, payment_id: str) -> dict[str, str]:
    page = await browser.get(f"/pay/{payment_id}/method")
    [method] = set(re.findall(r'value="(pm_\w+)"', page.text))
    shown = await browser.get(f"/pay/{payment_id}/confirm", params={"method": method})
    return paying(shown.text, payment_id, method)


def marked(html: str) -> list[str]:
    return re.findall(r'name="timing" value="(\w+)" required checked', html)


async def plan_of(suite: Suite, payment_id: str) -> PaymentPlan:
    async with suite.client("service", sub="shop") as batzen:
        return (await batzen.orchestrator.GetPaymentPlan(GetPaymentPlanRequest(payment_id=payment_id))).plan


async def test_a_choice_is_made_by_forms_alone_and_outlives_a_log_in(suite: Suite, shop: Shop, payer_id: str) -> None:
    payment_id = await offered(shop, payer_id)
    async with shop.browser(payment_id, payer_id=payer_id) as browser:
        first = await browser.get(f"/pay/{payment_id}")
        none = await browser.post(
            f"/pay/{payment_id}/timing", data={"request_id": forms(first.text)[f"/pay/{payment_id}/timing"]}
        )
        answer = await chosen(browser, payment_id, "later")
    assert (marked(first.text), none.status_code) == (["now"], 400)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/pay/{payment_id}/method")
    async with shop.browser(payment_id, payer_id=payer_id) as browser:
        again = await browser.get(f"/pay/{payment_id}")
        same = await chosen(browser, payment_id, "later")
        form = await last_look(browser, payment_id)
        paid = await browser.post(f"/pay/{payment_id}/submit", data=form)
        after = await chosen_late(browser, payment_id, again.text)
    assert (marked(again.text), same.status_code, form["timing"]) == (["later"], 303, "later")
    assert (paid.status_code, after.headers["location"]) == (303, f"/pay/{payment_id}")
    assert (await plan_of(suite, payment_id)).next_step == "CHARGE"


async def chosen_late(browser: httpx.AsyncClient, payment_id: str, html: str) -> httpx.Response:
    """Send the form of a page that was open before the payment was submitted."""
    field = forms(html)[f"/pay/{payment_id}/timing"]
    return await browser.post(f"/pay/{payment_id}/timing", data={"request_id": field, "timing": "now"})


async def test_a_tab_that_shows_another_timing_takes_nothing_and_shows_the_new_one(
    suite: Suite, shop: Shop, payer_id: str
) -> None:
    payment_id = await offered(shop, payer_id)
    async with shop.browser(payment_id, payer_id=payer_id) as browser:
        old = await last_look(browser, payment_id)
        await chosen(browser, payment_id, "later")
        answers = [
            await browser.post(f"/pay/{payment_id}/submit", data=old | {"method": method})
            for method in (old["method"], "page")
        ]
        older = {name: value for name, value in old.items() if name != "timing"}  # as a release before had its forms
        answers.append(await browser.post(f"/pay/{payment_id}/submit", data=older))
        body = {"payment_method_id": old["method"], "expected_total": a_confirm()["expected_total"]}
        confirm = f"/v1/payments/{payment_id}/confirm"
        by_api = await browser.post(confirm, json=body | {"expected_timing": "IMMEDIATE"}, headers=key())
        before = await plan_of(suite, payment_id)
        paid = await browser.post(confirm, json=body | {"expected_timing": "SCHEDULED"}, headers=key())
    assert [(one.status_code, marked(one.text)) for one in answers] == [(409, ["later"])] * 3
    assert all("When you pay has changed" in one.text for one in answers)
    assert (by_api.status_code, by_api.json()["code"]) == (409, "TIMING_CHANGED")
    assert by_api.json()["metadata"] == {"timing": "SCHEDULED"}
    assert (before.timing, before.next_step) == (3, "EXPIRE")
    assert paid.json()["payment"]["state"] == "SCHEDULED"


@pytest.mark.parametrize("timing", ["later", "now"])
async def test_a_choice_is_sent_also_where_it_is_what_there_is_and_both_prices_are_shown(
    timing: str, suite: Suite, shop: Shop, payer_id: str
) -> None:
    """The price has expired by the time that the payer chooses: whichever they take, the payment is priced anew."""
    code = f"C{secrets.token_hex(6)}".upper()
    await put_coupon(suite, code, "50")
    payment_id = await offered(shop, payer_id, coupon_codes=[code])
    async with shop.browser(payment_id, payer_id=payer_id) as browser:
        await put_coupon(suite, code, "10")
        await expire_quote(suite, payment_id)
        shown = await chosen(browser, payment_id, timing)
        again = await chosen(browser, payment_id, timing)
        form = await last_look(browser, payment_id)

    assert (shown.status_code, "The price has changed" in shown.text) == (409, True)
    assert "CHF\xa030.00" in shown.text
    assert "CHF\xa054.00" in shown.text
    assert (again.status_code, again.headers["location"]) == (303, f"/pay/{payment_id}/method")
    assert (form["timing"], form["total"]) == (timing, "CHF5400")


async def test_rest_shows_the_offer_and_takes_a_choice(shop: Shop) -> None:
    later = (datetime.now(UTC) + timedelta(days=7)).replace(microsecond=0)
    fields: dict[str, object] = {"timings_offered": ALL[::2], "charge_time": later.isoformat()}
    session = await shop.start(**fields)
    resume = f"/v1/payments/{session['payment']['payment_id']}/resume"
    answer = await shop.payer.post(resume, json={"timing": "SCHEDULED"}, headers=key())
    refused = await shop.payer.post(resume, json={"timing": "MANUAL_CAPTURE"}, headers=key())
    unknown = await shop.payer.post(resume, json={"timing": "SOMEDAY"}, headers=key())
    foreign = await shop.other_payer.post(resume, json={"timing": "IMMEDIATE"}, headers=key())
    alone = a_start(**(fields | {"timings_offered": ["SCHEDULED"]}))
    lacking = await shop.service.post("/v1/payments", json=alone, headers=key())

    assert (session["timing"], [one["timing"] for one in session["timings_offered"]]) == ("IMMEDIATE", ALL[::2])
    assert datetime.fromisoformat(session["timings_offered"][1]["charge_time"]) == later
    assert (answer.status_code, answer.json()["session"]["timing"]) == (200, "SCHEDULED")
    assert (refused.status_code, refused.json()["code"], refused.json()["field"]) == (400, "FIELD_INVALID", "timing")
    assert (unknown.status_code, foreign.status_code) == (400, 404)
    assert (lacking.status_code, lacking.json()["field"]) == (400, "timing")


async def test_a_program_pays_for_no_payer_who_has_a_choice_without_what_they_were_shown(
    suite: Suite, shop: Shop, payer_id: str
) -> None:
    payment_id, by_service = [await offered(shop, payer_id) for _ in range(2)]
    async with shop.browser(payment_id, payer_id=payer_id) as browser:
        method = (await last_look(browser, payment_id))["method"]
        await chosen(browser, payment_id, "later")
        confirm, body = f"/v1/payments/{payment_id}/confirm", a_confirm(method)
        unsaid = await browser.post(confirm, json=body, headers=key())
        legacy = {"paymentId": payment_id, "paymentMethodId": method, "amountMinor": 6000}
        unsayable = [
            await browser.post("/api/payments/confirm", json=legacy, headers=headers) for headers in ({}, key())
        ]
        before = await plan_of(suite, payment_id)
        said, same = key(), body | {"expected_timing": "SCHEDULED"}
        paid = [await browser.post(confirm, json=same, headers=said) for _ in range(2)]
    served = await shop.service.post("/api/payments/confirm", json={"paymentId": by_service, "paymentMethodId": method})

    assert (unsaid.status_code, unsaid.json()["code"], unsaid.json()["field"]) == (
        400, "FIELD_MISSING", "expected_timing",
    )  # fmt: skip
    assert [(one.status_code, one.json()["code"]) for one in unsayable] == [(409, "TIMING_CHANGED")] * 2
    assert before.next_step == "EXPIRE", "nothing was sent"
    assert [one.json()["payment"]["state"] for one in paid] == ["SCHEDULED"] * 2
    assert (served.status_code, served.json()["success"]) == (200, True)


@pytest.mark.web
@pytest.mark.parametrize("has_script", [True, False])
async def test_a_payer_chooses_to_pay_later_and_is_charged_then(
    has_script: bool, suite: Suite, shop: Shop, payer_id: str, browser: Browser
) -> None:
    payment_id = await offered(shop, payer_id)
    context = await new_context(browser, locale="en-GB", java_script_enabled=has_script)
    page = await context.new_page()
    await payers.come_in(page, shop, payment_id, payer_id=payer_id)
    await see(page, "When you pay")
    await page.get_by_role("radio", name="Pay on").check()
    await page.get_by_role("button", name="Continue").click()
    await payers.choose(page, "Visa ending in 4242")
    await page.get_by_role("button", name="Keep the card for CHF 60.00").click()
    await see(page, "Your payment is planned")

    async with suite.client("service", sub="shop") as batzen:  # the day comes
        due = ReschedulePaymentRequest(request_id=new_request_id(), payment_id=payment_id)
        due.charge_time.FromDatetime(datetime.now(UTC))
        await batzen.orchestrator.ReschedulePayment(due)

    async def charged() -> bool:
        await page.reload()
        return await page.get_by_role("heading", level=1, name=THANKS).count() == 1

    if has_script:
        await see(page, THANKS)  # the page follows
    else:
        await eventually(charged, what="the charge is made at its time", within_s=60)
    await context.close()
