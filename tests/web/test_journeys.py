"""What happens most, from the first page to the last, in a browser: one suite and one browser for all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from batzen.client import new_request_id
from local.start import put_issuer
from local.suite import Suite
from tests.web import operators, payers
from tests.web.browser import new_context
from tests.web.console_payments import paid, refunds_of
from tests.web.payers import THANKS, see
from tests.web.shop import Shop, a_shop

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page


@pytest.fixture(scope="module")
async def shop(suite: Suite) -> AsyncIterator[Shop]:
    async with a_shop(suite) as made:
        yield made


@pytest.fixture
def payer_id() -> str:
    return f"payer_{new_request_id()}"


async def test_a_payer_pays_with_a_kept_card_and_sees_that_once_it_is_true(
    suite: Suite, shop: Shop, page: Page, payer_id: str
) -> None:
    async with suite.client("operator", sub="issuing") as operator:
        await put_issuer(operator, payment_url=suite.front_url("bff") + "/pay/{payment_id}")
    await payers.keep(suite, payer_id, "pm_card_visa")
    await payers.come_in(page, shop, await payers.started(shop, payer_id=payer_id), payer_id=payer_id)
    await payers.choose(page, "Visa ending in 4242")
    await page.get_by_role("button", name="Pay CHF 60.00").click()
    await see(page, THANKS)

    await page.get_by_role("radio", name="5").check()
    await page.get_by_role("button", name="Send").click()
    await page.get_by_text("Thank you for your answer.").wait_for()
    await page.get_by_role("link", name="Show the receipt").click()
    await see(page, "Receipt")
    assert "CHE-123.456.788" in await page.get_by_role("main").inner_text()
    await page.go_back()
    await see(page, THANKS)


async def test_a_payer_whose_bank_declines_is_told_what_to_do_and_pays_in_another_way(
    suite: Suite, shop: Shop, page: Page, payer_id: str
) -> None:
    await payers.keep(suite, payer_id, "pm_card_chargeCustomerFail")
    await payers.come_in(page, shop, await payers.started(shop, payer_id=payer_id), payer_id=payer_id)
    await payers.choose(page, "ending in 0341")
    await page.get_by_role("button", name="Pay CHF 60.00").click()

    alert = page.get_by_role("alert")
    await alert.wait_for()
    said = await alert.inner_text()
    assert "Your bank declined the payment." in said
    assert "You have not been charged." in said
    assert not await page.get_by_role("radio", name="ending in 0341").is_checked()
    await payers.choose(page, payers.HOSTED)
    await payers.pay_on_hosted_page(page, "pm_card_visa")
    await see(page, THANKS)


async def test_a_payer_confirms_with_their_bank_and_comes_back(
    suite: Suite, shop: Shop, page: Page, payer_id: str
) -> None:
    await payers.keep(suite, payer_id, "pm_card_threeDSecure2Required")
    await payers.come_in(page, shop, await payers.started(shop, payer_id=payer_id), payer_id=payer_id)
    await payers.choose(page, "ending in 3220")
    await page.get_by_role("button", name="Pay CHF 60.00").click()
    await see(page, "Your payment needs attention")
    await payers.authenticate(page, agree=True)
    await see(page, THANKS)
    assert "secret" not in page.url


async def test_a_payer_pays_on_the_hosted_page_after_turning_back_from_it(
    shop: Shop, page: Page, payer_id: str
) -> None:
    await payers.come_in(page, shop, await payers.started(shop, payer_id=payer_id), payer_id=payer_id)
    await payers.choose(page, payers.HOSTED)
    await page.get_by_role("button", name="Continue to payment").click()
    await page.get_by_role("link", name="Back to the shop").click()
    await see(page, "How would you like to pay?")
    await payers.choose(page, payers.HOSTED)
    await payers.pay_on_hosted_page(page, "pm_card_visa")
    await see(page, THANKS)


async def test_a_payer_without_javascript_pays_and_reads_how_it_stands(
    suite: Suite, shop: Shop, browser: Browser, payer_id: str
) -> None:
    context = await new_context(browser, locale="en-GB", java_script_enabled=False)
    page = await context.new_page()
    await payers.keep(suite, payer_id, "pm_card_threeDSecure2Required")
    await payers.come_in(page, shop, await payers.started(shop, payer_id=payer_id), payer_id=payer_id)
    await payers.choose(page, "ending in 3220")
    await page.get_by_role("button", name="Pay CHF 60.00").click()
    await see(page, "Your payment needs attention")
    await payers.authenticate(page, agree=False)
    await page.get_by_role("alert").wait_for()
    assert "Your bank could not confirm that it is you." in await page.get_by_role("alert").inner_text()
    await payers.choose(page, payers.HOSTED)
    await payers.pay_on_hosted_page(page, "pm_card_visa")
    await see(page, THANKS)
    await context.close()


async def test_an_operator_finds_a_payment_and_gives_money_back(suite: Suite, page: Page) -> None:
    payment_id = await paid(suite, 30_000)
    await operators.log_in(page, suite)
    await page.locator("#live-state", has_text="Live").wait_for()
    await operators.open_payment(page, payment_id)
    await operators.refund(page, "250.00", reason="The course was called off", typed="250.00")

    await page.get_by_text("The refund was taken on.").wait_for()
    await page.get_by_text("Partly refunded", exact=True).wait_for()
    await page.get_by_text("RefundPayment by operator_1", exact=True).wait_for()
    assert await refunds_of(suite, payment_id) == [25_000]
