"""An operator at the console, in a browser, by the words that they read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local.suite import Suite

if TYPE_CHECKING:
    from playwright.async_api import Page


async def log_in(page: Page, suite: Suite, name: str = "Olivia", *, to: str = "/payments") -> None:
    """Go to a page of the console by way of the issuer, as somebody of `local.login_page.PEOPLE`."""
    await page.goto(suite.front_url("console") + to)
    await page.get_by_role("button", name=name).click()
    await page.wait_for_url(lambda url: url.startswith(suite.front_url("console")))


async def open_payment(page: Page, payment_id: str) -> None:
    """Find a payment by its id, with the key that does so."""
    await page.keyboard.press("/")
    await page.keyboard.type(payment_id)
    await page.keyboard.press("Enter")
    await page.get_by_role("heading", name="Timeline").wait_for()


async def refund(page: Page, amount: str, *, reason: str, typed: str = "") -> None:
    """Refund an amount of the payment that is shown, in the three steps of it."""
    await page.get_by_role("link", name="Refund", exact=True).click()
    await page.get_by_label("Amount in").fill(amount)
    await page.get_by_role("button", name="See what comes of it").click()
    await page.get_by_label("Reason").fill(reason)
    if typed:
        await page.get_by_label("Type the amount").fill(typed)
    await page.get_by_role("button", name="Refund CHF").click()
