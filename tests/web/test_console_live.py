"""What is live in the console's table, its keys, and what stands in texts of others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest

from batzen.cli.starting import When
from batzen.client import new_request_id
from batzen.orchestrator.v1.orchestrator_pb2 import CancelPaymentRequest
from local.suite import Suite
from tests.web import operators
from tests.web.console_payments import paid
from tests.web.logging_in import READER, console_browser, logged_in

if TYPE_CHECKING:
    from playwright.async_api import Page


@pytest.mark.web
async def test_a_row_changes_where_it_stands_and_a_new_one_waits_while_somebody_reads(suite: Suite, page: Page) -> None:
    payer = f"payer_{new_request_id()}"
    first = await paid(suite, 2_500, when=When.HOLD, payer_id=payer)
    await operators.log_in(page, suite, to=f"/payments?payer={payer}")
    await page.locator("#live-state", has_text="Live").wait_for()
    row = page.locator(f"#row-{first}")
    await row.get_by_text("Authorized").wait_for()

    await page.keyboard.press("p")
    await page.locator("#live-state", has_text="Held").wait_for()
    async with suite.client("service", sub="shop") as shop:
        await shop.orchestrator.CancelPayment(
            CancelPaymentRequest(request_id=new_request_id(), payment_id=first, reason="a test")
        )
    await row.get_by_text("Canceled").wait_for()
    second = await paid(suite, 3_500, payer_id=payer)
    await page.get_by_role("button", name="1 new").wait_for()
    assert await page.locator(f"#row-{second}").count() == 0

    await page.get_by_role("button", name="1 new").click()
    await page.locator(f"#row-{second}").get_by_text("Succeeded").wait_for()
    assert await page.locator("#rows tr").first.get_attribute("id") == f"row-{second}"


@pytest.mark.web
async def test_a_stream_goes_on_after_the_console_was_started_anew(suite: Suite, page: Page) -> None:
    payer = f"payer_{new_request_id()}"
    first = await paid(suite, 2_500, payer_id=payer)
    await operators.log_in(page, suite, to=f"/payments?payer={payer}")
    await page.locator("#live-state", has_text="Live").wait_for()
    await suite.stop("console")
    second = await paid(suite, 3_500, payer_id=payer)
    await suite.start("console")

    await page.locator(f"#row-{second}").wait_for()
    assert await page.locator("#rows tr").evaluate_all("rows => rows.map(row => row.id)") == [
        f"row-{second}",
        f"row-{first}",
    ]


@pytest.mark.web
async def test_keys_go_through_rows_and_are_silent_while_somebody_types(suite: Suite, page: Page) -> None:
    payer = f"payer_{new_request_id()}"
    ids = [await paid(suite, 2_500, payer_id=payer) for _ in range(2)]
    await operators.log_in(page, suite, to=f"/payments?payer={payer}")
    await page.keyboard.press("/")
    await page.keyboard.type("jjp")
    assert await page.get_by_label("Find a payment").input_value() == "jjp"
    await page.keyboard.press("Escape")
    await page.keyboard.press("j")
    await page.keyboard.press("j")
    await page.keyboard.press("k")
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"**/payments/{ids[1]}")

    await page.keyboard.press("?")
    await page.get_by_role("dialog").get_by_role("checkbox").uncheck()
    await page.get_by_role("button", name="Close").click()
    await page.keyboard.press("/")
    assert await page.evaluate("document.activeElement.id") != "find"


async def test_texts_of_others_are_texts_and_never_part_of_a_page(suite: Suite) -> None:
    planted = "<img/src=x/onerror=alert(1)>"
    payment_id = await paid(suite, 2_500, booking_id=planted)
    async with logged_in(suite) as browser:
        pages = [
            await browser.get("/payments", params={"booking": planted}),
            await browser.get(f"/payments/{payment_id}"),
            await browser.get("/find", params={"q": f"{planted}?"}),
        ]
        file = await browser.get("/payments.csv", params={"booking": planted})

    for page in pages:
        assert page.status_code == 200
        policy = page.headers["content-security-policy"]
        assert policy.endswith("require-trusted-types-for 'script'; trusted-types batzen")
        assert planted not in page.text
        assert "&lt;img/src=x" in page.text
    assert file.headers["content-disposition"] == 'attachment; filename="payments.csv"'
    head, line, end = file.text.split("\r\n")
    assert head.endswith("Changed,Attention")
    assert line.startswith(f"{payment_id},SUCCEEDED,yes,CHF,25.00,25.00,0.00,payer_console,")
    assert end == ""


async def test_a_page_of_the_table_leads_to_the_next_and_a_token_of_other_filters_to_the_first(suite: Suite) -> None:
    async with logged_in(suite, READER) as browser:
        odd = await browser.get("/payments", params={"payer": "nobody", "page": "not-one-of-ours"})
        unreadable = await browser.get("/payments", params={"least": "ten"})
        missing = await browser.get("/payments/pay_00000000000000000000000000")

    assert odd.status_code == 200
    assert "No payment matches." in odd.text
    assert (unreadable.status_code, missing.status_code) == (400, 404)


async def test_nothing_is_shown_to_who_is_not_logged_in(suite: Suite) -> None:
    async with console_browser(suite) as browser:
        answers = [
            await browser.get(path)
            for path in (
                "/payments",
                "/payments/pay_0",
                "/find?q=x",
                "/approvals",
                "/approvals/x",
                "/payments/pay_0/refund",
            )
        ]
        stream = await browser.get("/payments/live")

    assert {(answer.status_code, httpx.URL(answer.headers["location"]).path) for answer in answers} == {(303, "/login")}
    assert stream.status_code in (303, 401)
    assert "text/event-stream" not in stream.headers.get("content-type", "")
