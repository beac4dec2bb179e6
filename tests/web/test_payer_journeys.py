"""What happens to payers less often, in a browser: a form in our page, two tabs, a way back, a session that is over."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import httpx
import pytest

from batzen.client import new_request_id
from local.suite import Suite
from tests.eventually import WITHIN_S
from tests.web import payers
from tests.web.payers import THANKS, see
from tests.web.shop import Shop, a_shop

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, FrameLocator, Page

pytestmark = pytest.mark.web

CLICK_MS = 5_000
"""For a button that may be gone."""


@pytest.fixture(scope="module")
async def shop(suite: Suite) -> AsyncIterator[Shop]:
    async with a_shop(suite) as made:
        yield made


@pytest.fixture
def payer_id() -> str:
    return f"payer_{new_request_id()}"


@pytest.fixture
async def browsers(suite: Suite) -> AsyncIterator[httpx.AsyncClient]:
    """Orders what goes wrong in browsers; nothing does any more afterwards."""
    async with httpx.AsyncClient(base_url=suite.sandbox_url, timeout=WITHIN_S) as client:
        yield client
        await client.post("/_control/browsers", json={})


async def at_form(page: Page, shop: Shop, payer_id: str) -> str:
    """Come to the form in our page."""
    payment_id = await payers.started(shop, payer_id=payer_id)
    await payers.come_in(page, shop, payment_id, payer_id=payer_id)
    await payers.choose(page, "New card")
    await page.get_by_role("button", name="Continue to payment").click()
    await see(page, "Enter your card")
    return payment_id


def fields(page: Page) -> FrameLocator:
    """Return Stripe's frame."""
    return page.frame_locator("#payment-element iframe")


async def enter(page: Page, number: str) -> None:
    """Enter a card."""
    form = fields(page)
    await form.locator("#number").fill(number)
    await form.locator("#expiry").fill("12 / 40")
    await form.locator("#cvc").fill("123")


async def test_a_card_is_entered_in_our_page_and_is_stripes_alone(page: Page, shop: Shop, payer_id: str) -> None:
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.post_data or "") if "/pay/" in request.url else None)
    await at_form(page, shop, payer_id)
    pay = page.get_by_role("button", name="Pay CHF 60.00")
    await pay.and_(page.locator(":not([aria-disabled])")).click()
    await page.get_by_role("alert").wait_for()  # nothing was entered
    await enter(page, "4242 4242 4242 4242")
    await pay.click()
    await see(page, THANKS)

    assert any("ctoken_" in one for one in sent)
    assert not any("4242" in one for one in sent)


@pytest.mark.parametrize(("button", "then"), [("Complete", THANKS), ("Fail", "How would you like to pay?")])
async def test_a_bank_that_asks_about_a_card_from_the_form_is_answered_over_our_page(
    page: Page, shop: Shop, payer_id: str, button: str, then: str
) -> None:
    """The script that made the token shows what the bank asks; our page is never left."""
    left: list[str] = []
    page.on("framenavigated", lambda frame: left.append(frame.url) if frame == page.main_frame else None)
    await at_form(page, shop, payer_id)
    await page.locator("button.pay:not([aria-disabled])").wait_for()
    await enter(page, "4000 0027 6000 3184")
    await page.get_by_role("button", name="Pay CHF 60.00").click()
    await see(page, "Your payment needs attention")
    await page.get_by_role("button", name="Confirm with your bank").click()
    await page.frame_locator("iframe[title='3-D Secure']").get_by_role("button", name=button).click()
    await see(page, then)
    assert not [url for url in left if "/3ds/" in url]


async def test_a_window_of_the_bank_that_is_closed_is_opened_again(page: Page, shop: Shop, payer_id: str) -> None:
    await at_form(page, shop, payer_id)
    await page.locator("button.pay:not([aria-disabled])").wait_for()
    await enter(page, "4000 0027 6000 3184")
    await page.get_by_role("button", name="Pay CHF 60.00").click()
    confirm = page.get_by_role("button", name="Confirm with your bank")
    await confirm.click()
    await page.get_by_role("button", name="Close").click()
    await see(page, "Your payment needs attention")
    await confirm.click()
    await page.frame_locator("iframe[title='3-D Secure']").get_by_role("button", name="Complete").click()
    await see(page, THANKS)


@pytest.mark.parametrize("order", [{"is_blocked": True}, {"is_load_error": True}], ids=str)
async def test_where_the_form_cannot_be_loaded_the_hosted_page_is_offered(
    page: Page, shop: Shop, payer_id: str, browsers: httpx.AsyncClient, order: dict[str, bool]
) -> None:
    (await browsers.post("/_control/browsers", json=order)).raise_for_status()
    await at_form(page, shop, payer_id)
    await page.get_by_role("alert").wait_for()
    await page.get_by_role("button", name="Pay on Stripe’s page").click()
    await page.get_by_label("Payment method").select_option("pm_card_visa")
    await page.get_by_role("button", name="Pay").click()
    await see(page, THANKS)


async def test_a_payment_that_is_paid_in_one_tab_is_paid_in_the_other(
    suite: Suite, context: BrowserContext, page: Page, shop: Shop, payer_id: str
) -> None:
    from playwright.async_api import Error  # noqa: PLC0415 there only with what drives a browser

    await payers.keep(suite, payer_id, "pm_card_visa")
    payment_id = await payers.started(shop, payer_id=payer_id)
    await payers.come_in(page, shop, payment_id, payer_id=payer_id)
    other = await context.new_page()
    await other.goto(page.url)
    for tab in (page, other):
        await payers.choose(tab, "Visa ending in 4242")
    await page.get_by_role("button", name="Pay CHF 60.00").click()
    await see(page, THANKS)
    await other.bring_to_front()
    with suppress(Error):  # the stream may be faster, before the click or in the middle of it
        await other.get_by_role("button", name="Pay CHF 60.00").click(timeout=CLICK_MS)
    await see(other, THANKS)


async def test_back_after_paying_shows_that_it_is_paid(suite: Suite, page: Page, shop: Shop, payer_id: str) -> None:
    await payers.keep(suite, payer_id, "pm_card_visa")
    await payers.come_in(page, shop, await payers.started(shop, payer_id=payer_id), payer_id=payer_id)
    await payers.choose(page, "Visa ending in 4242")
    await page.get_by_role("button", name="Pay CHF 60.00").click()
    await see(page, THANKS)
    await page.go_back()
    await see(page, THANKS)


async def test_choices_outlive_a_session_that_is_over(suite: Suite, page: Page, shop: Shop, payer_id: str) -> None:
    await payers.keep(suite, payer_id, "pm_card_visa")
    payment_id = await payers.started(shop, payer_id=payer_id)
    await payers.come_in(page, shop, payment_id, payer_id=payer_id)
    await payers.choose(page, payers.HOSTED)
    (await shop.service.delete(f"/v1/payers/{payer_id}/sessions")).raise_for_status()
    await page.get_by_role("button", name="Continue to payment").click()
    await see(page, "Please log in again")
    await payers.come_in(page, shop, payment_id, payer_id=payer_id)
    assert await page.get_by_role("radio", name=payers.HOSTED).is_checked()


async def test_who_is_offline_is_told_and_who_is_back_goes_on(
    context: BrowserContext, page: Page, shop: Shop, payer_id: str
) -> None:
    await payers.come_in(page, shop, await payers.started(shop, payer_id=payer_id), payer_id=payer_id)
    await see(page, "How would you like to pay?")
    await context.set_offline(True)
    await page.get_by_text("You are offline.").wait_for()
    await context.set_offline(False)
    await page.get_by_text("You are offline.").wait_for(state="detached")


async def test_who_leaves_their_bank_is_still_asked_and_can_pay_in_another_way(
    suite: Suite, page: Page, shop: Shop, payer_id: str
) -> None:
    await payers.keep(suite, payer_id, "pm_card_threeDSecure2Required")
    payment_id = await payers.started(shop, payer_id=payer_id)
    await payers.come_in(page, shop, payment_id, payer_id=payer_id)
    await payers.choose(page, "ending in 3220")
    await page.get_by_role("button", name="Pay CHF 60.00").click()
    await see(page, "Your payment needs attention")
    await page.get_by_role("link", name="Confirm with your bank").click()
    await page.get_by_role("button", name="Complete authentication").wait_for()
    await page.goto(f"{suite.front_url('bff')}/pay/{payment_id}")
    await see(page, "Your payment needs attention")
    await page.get_by_role("button", name="Pay in another way").click()
    await page.get_by_label("Payment method").select_option("pm_card_visa")
    await page.get_by_role("button", name="Pay").click()
    await see(page, THANKS)


@pytest.mark.parametrize(
    "way",
    [
        ("MANUAL_CAPTURE", "Hold CHF 60.00", "The amount is reserved"),
        ("SCHEDULED", "Keep the card for CHF 60.00", "Your payment is planned"),
    ],
)
async def test_money_that_is_taken_later_is_never_called_paid(
    suite: Suite, page: Page, shop: Shop, payer_id: str, way: tuple[str, str, str]
) -> None:
    timing, button, end = way
    await payers.keep(suite, payer_id, "pm_card_visa")
    later = {"charge_time": (datetime.now(UTC) + timedelta(days=7)).isoformat()} if timing == "SCHEDULED" else {}
    payment_id = await payers.started(shop, payer_id=payer_id, timing=timing, **later)
    await payers.come_in(page, shop, payment_id, payer_id=payer_id)
    await see(page, "When you pay")
    await page.get_by_role("link", name="Continue").click()
    await payers.choose(page, "Visa ending in 4242")
    await page.get_by_role("button", name=button).click()
    await see(page, end)
    assert "Nothing was taken yet." in await page.get_by_role("main").inner_text()


async def test_a_planned_payment_is_called_off_by_a_second_press_beside_what_it_means(
    suite: Suite, page: Page, shop: Shop, payer_id: str
) -> None:
    await payers.keep(suite, payer_id, "pm_card_visa")
    later = (datetime.now(UTC) + timedelta(days=7)).isoformat()
    payment_id = await payers.started(shop, payer_id=payer_id, timing="SCHEDULED", charge_time=later)
    await payers.come_in(page, shop, payment_id, payer_id=payer_id)
    await see(page, "When you pay")
    await page.get_by_role("link", name="Continue").click()
    await payers.choose(page, "Visa ending in 4242")
    await page.get_by_role("button", name="Keep the card for CHF 60.00").click()
    await see(page, "Your payment is planned")
    sure = page.get_by_role("button", name="Yes, cancel the payment")
    assert not await sure.is_visible()
    await page.get_by_text("Cancel the payment", exact=True).click()
    await page.get_by_text("This cannot be undone.").wait_for()
    await sure.click()
    await see(page, "The payment was cancelled")
