"""What payers do in a browser, in their words; every locator is what a person, or a screen reader, goes by."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from local.suite import Suite
from tests.web.shop import PAYER, Shop

if TYPE_CHECKING:
    from playwright.async_api import Page

TOTAL = re.compile(r"CHF\s60\.00")


async def come_in(page: Page, shop: Shop, payment_id: str, *, payer_id: str = PAYER, locale: str = "en") -> None:
    """Be handed over by the platform, and arrive at the payment."""
    await page.goto(await shop.hand_over(payment_id, payer_id=payer_id, locale=locale))


async def started(shop: Shop, suite: Suite, **changed: object) -> str:
    """Have the platform start a payment on a hosted page that leads back to the front."""
    home = f"{suite.front_url('bff')}/return/{{PAYMENT_ID}}"
    terms: dict[str, object] = {"collection": "CHECKOUT", "return_url": home, "cancel_url": home}
    payment_id: str = (await shop.start(**(terms | changed)))["payment"]["payment_id"]
    return payment_id


async def choose(page: Page, name: str) -> None:
    """Choose a way to pay, and go on to the last look."""
    await page.get_by_role("radio", name=name).check()
    await page.get_by_role("button", name="Continue", exact=True).click()


async def see(page: Page, heading: str) -> None:
    """Wait until the page says so, and what a screen reader hears with it."""
    await page.get_by_role("heading", level=1, name=heading).wait_for()
