"""What payers and operators meet in a browser when a network, a process or an event fails; and what is rare."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from batzen.client import new_request_id
from batzen.status.v1.status_pb2 import GetPaymentRequest
from local.start import add_seller
from local.suite import Suite
from tests.web import operators, payers
from tests.web.payers import THANKS, see
from tests.web.shop import SELLER, Shop, a_shop
from tests.web.test_operating_pages import dead_letter

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, Page, Route

pytestmark = pytest.mark.web

PAY = "Pay CHF 60.00"
CONFIRM = "POST /v1/payment_intents/*/confirm"
RECOVERED_MS = 90_000
"""The lease of the process that died has to end first, and the machine may be busy."""
TABS = 7
"""One more than the connections that a browser has to one host over HTTP/1.1."""


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


async def at_last_look(page: Page, shop: Shop, payer_id: str, **changed: object) -> str:
    """Come to the last look before a payment by the kept card; return the payment's id."""
    payment_id = await payers.started(shop, payer_id=payer_id, **changed)
    await payers.come_in(page, shop, payment_id, payer_id=payer_id)
    await payers.choose(page, "Visa ending in 4242")
    return payment_id


async def assert_paid_once(suite: Suite, payment_id: str, minor: int = 6_000) -> None:
    """Check that the price was taken, and nothing beyond it."""
    async with suite.client("service", sub="shop") as batzen:
        payment = (await batzen.status.GetPayment(GetPaymentRequest(payment_id=payment_id))).payment
    amounts = payment.snapshot.amounts
    assert (amounts.captured_minor, amounts.surplus_minor) == (minor, 0)


async def test_a_payment_of_several_sellers_is_one_price_with_all_its_lines(
    suite: Suite, page: Page, shop: Shop, payer_id: str
) -> None:
    async with suite.client("service", sub="shop") as batzen:
        await add_seller(batzen, "seller_of_skis")
    amounts = {SELLER: 6_000, "seller_of_skis": 4_500}
    lines = [
        {
            "line_id": seller_id,
            "seller_id": seller_id,
            "kind": "SESSION" if seller_id == SELLER else "GOODS",
            "unit_amount": {"amount_minor": minor, "currency_code": "CHF"},
        }
        for seller_id, minor in amounts.items()
    ]
    payment_id = await at_last_look(page, shop, payer_id, lines=lines)
    order = await page.get_by_role("complementary", name="Your order").inner_text()
    await page.get_by_role("button", name="Pay CHF 105.00").click()
    await see(page, THANKS)
    await page.get_by_role("link", name="Show the receipt").click()
    await see(page, "Receipt")
    receipt = await page.get_by_role("main").inner_text()

    for text in (order, receipt):
        assert [amount for amount in ("60.00", "45.00", "105.00") if amount not in text] == []
    await assert_paid_once(suite, payment_id, 10_500)


async def test_nothing_is_sent_while_a_payer_is_offline_and_the_same_button_pays_afterwards(
    suite: Suite, context: BrowserContext, page: Page, shop: Shop, payer_id: str
) -> None:
    payment_id = await at_last_look(page, shop, payer_id)
    await context.set_offline(True)
    await page.get_by_role("button", name=PAY).click()
    await page.get_by_role("alert").get_by_text("You are offline.").wait_for()
    await see(page, "Check and pay")
    await context.set_offline(False)
    await page.get_by_text("You are offline.").wait_for(state="detached")
    await page.get_by_role("button", name=PAY).click()
    await see(page, THANKS)
    await assert_paid_once(suite, payment_id)


@pytest.mark.parametrize("is_heard", [True, False], ids=["answer lost", "request lost"])
async def test_a_submit_that_the_network_cut_off_is_told_as_it_is_and_pays_once(
    suite: Suite, page: Page, shop: Shop, payer_id: str, *, is_heard: bool
) -> None:
    payment_id = await at_last_look(page, shop, payer_id)
    last_look = page.url

    async def cut(route: Route) -> None:
        if is_heard:
            await route.fetch(max_redirects=0)
        await route.abort("connectionreset")

    await page.route("**/submit", cut, times=1)
    await page.get_by_role("button", name=PAY).click()
    await page.wait_for_url(lambda url: url.startswith("chrome-error:"))
    await page.goto(last_look)
    if is_heard:
        await see(page, THANKS)
    else:
        await see(page, "Check and pay")
        await page.get_by_role("button", name=PAY).click()
        await see(page, THANKS)
    await assert_paid_once(suite, payment_id)


@pytest.mark.parametrize("process", ["orchestrator", "gateway"])
async def test_a_process_that_dies_while_a_payer_pays_leaves_one_payment_and_a_page_that_says_so(
    suite: Suite, page: Page, shop: Shop, payer_id: str, process: str
) -> None:
    payment_id = await at_last_look(page, shop, payer_id)
    await suite.sandbox.fault("pause", route=CONFIRM)
    await page.get_by_role("button", name=PAY).click(no_wait_after=True)
    await suite.sandbox.until_paused()
    await suite.kill(process)
    await suite.sandbox.resume()
    await page.get_by_role("heading", level=1, name="Check and pay").wait_for(state="detached")
    said = await page.get_by_role("main").inner_text()
    await suite.start(process)
    await page.get_by_role("heading", level=1, name=THANKS).wait_for(timeout=RECOVERED_MS)

    assert any(text in said for text in ("Do not pay again.", "keep this page open"))
    await assert_paid_once(suite, payment_id)


async def test_each_of_many_tabs_loads_and_is_told_what_happens(
    context: BrowserContext, page: Page, shop: Shop, payer_id: str
) -> None:
    await at_last_look(page, shop, payer_id)
    tabs = [page]
    for _ in range(1, TABS):
        tab = await context.new_page()
        await tab.goto(page.url)
        await see(tab, "Check and pay")
        tabs.append(tab)
    await context.set_offline(True)
    for tab in tabs:
        await tab.get_by_text("You are offline.").wait_for()
    await context.set_offline(False)
    await tabs[-1].get_by_role("button", name=PAY).click()
    for tab in reversed(tabs):
        await see(tab, THANKS)


async def test_whose_account_it_is_is_asked_before_another_one_opens(
    suite: Suite, page: Page, shop: Shop, payer_id: str
) -> None:
    other_id = f"payer_{new_request_id()}"
    mine, others = [await payers.started(shop, payer_id=one) for one in (payer_id, other_id)]
    await payers.come_in(page, shop, mine, payer_id=payer_id)
    await payers.come_in(page, shop, others, payer_id=other_id)
    await see(page, "Is this your account?")
    await page.get_by_role("link", name=f"Stay with {payer_id}").click()
    await page.wait_for_url(f"**/pay/{mine}")

    # A page of another site (by its other name) leads here with a code.
    await page.goto(suite.sandbox_url.replace("127.0.0.1", "localhost") + "/_control/health")
    code = await shop.hand_over(others, payer_id=other_id)
    await page.evaluate("url => location.assign(url)", code)
    await see(page, "Is this your account?")
    await page.get_by_role("button", name=f"Continue as {other_id}").click()
    await page.wait_for_url(f"**/pay/{others}")
    await see(page, "How would you like to pay?")
    await page.goto(code)
    await see(page, "This link")  # it was good once


async def test_an_operator_replays_a_dead_letter_and_sees_what_came_of_it(suite: Suite, page: Page) -> None:
    letter = await dead_letter(suite)
    await operators.log_in(page, suite, to="/dead-letters")
    row = page.get_by_role("row").filter(has_text=letter.rpartition("/")[2])
    await row.get_by_role("checkbox").check()
    await page.get_by_role("button", name="Replay the chosen").click()
    await page.get_by_role("heading", level=1, name="Replayed").wait_for()
    await page.get_by_text("1 dead letter failed again.").wait_for()
