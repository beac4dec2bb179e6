"""What payers do in a browser, in their words; every locator is what a person, or a screen reader, goes by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batzen.client import new_request_id
from batzen.gateway.v1.payer_pb2 import Payer
from batzen.gateway.v1.payment_methods_pb2 import AttachPaymentMethodRequest
from local.suite import Suite
from tests.web.shop import Shop

if TYPE_CHECKING:
    from playwright.async_api import Page

HOSTED = "Card, TWINT or another way"
THANKS = "Thank you, your payment is complete"


async def started(shop: Shop, *, payer_id: str, **changed: object) -> str:
    """Have the platform start a payment of 60 francs that is paid on a hosted page; return its id."""
    body: dict[str, object] = {
        "collection": "CHECKOUT",
        "payer": {"payer_id": payer_id},
        "session_name": "A ski lesson",
    }
    payment_id: str = (await shop.start(**(body | changed)))["payment"]["payment_id"]
    return payment_id


async def keep(suite: Suite, payer_id: str, card: str) -> None:
    """Have a payer keep a test card."""
    request = AttachPaymentMethodRequest(
        request_id=new_request_id(), payer=Payer(payer_id=payer_id), payment_method_id=card
    )
    async with suite.client("service", sub="shop") as batzen:
        await batzen.payment_methods.AttachPaymentMethod(request)


async def come_in(page: Page, shop: Shop, payment_id: str, *, payer_id: str, locale: str = "en") -> None:
    """Be handed over by the platform, and arrive at the payment."""
    await page.goto(await shop.hand_over(payment_id, payer_id=payer_id, locale=locale))


async def choose(page: Page, name: str) -> None:
    """Choose a way to pay, and go on to the last look."""
    await page.get_by_role("radio", name=name).check()
    await page.get_by_role("button", name="Continue", exact=True).click()
    await see(page, "Check and pay")


async def pay_on_hosted_page(page: Page, card: str) -> None:
    """Go to the page of the stand-in, and pay there with a test card."""
    await page.get_by_role("button", name="Continue to payment").click()
    await page.get_by_label("Payment method").select_option(card)
    await page.get_by_role("button", name="Pay").click()


async def authenticate(page: Page, *, agree: bool) -> None:
    """Go to the bank's page from ours, and agree there or not."""
    await page.get_by_role("link", name="Confirm with your bank").click()
    await page.get_by_role("button", name="Complete authentication" if agree else "Fail authentication").click()


async def see(page: Page, heading: str) -> None:
    """Wait until the page is headed so."""
    await page.get_by_role("heading", level=1, name=heading).wait_for()
