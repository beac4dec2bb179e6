"""The checkout over the running suite, without a browser: whose pages they are, and what a form may do."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import asyncpg
import httpx
import pytest

from batzen.client import new_request_id
from batzen.gateway.v1.ops_pb2 import ListAttemptsRequest
from local.connection_file import SUBJECTS
from local.shop_page import shop_page
from local.start import add_seller
from local.suite import Suite
from services.runtime.database.connections import plain_dsn
from services.web.texts import LANGUAGES
from tests.eventually import WITHIN_S
from tests.web import payers
from tests.web.counted import Counted
from tests.web.shop import PAYER, Shop, a_confirm, a_shop, key

FIELD: Final = re.compile(r'action="([^"]+)"[^>]*>\s*<input type="hidden" name="request_id" value="([^"]+)"')


@pytest.fixture(scope="module")
async def shop(suite: Suite) -> AsyncIterator[Shop]:
    async with a_shop(suite) as made:
        yield made


@pytest.fixture
def payer_id() -> str:
    return f"payer_{new_request_id()}"


def forms(html: str) -> dict[str, str]:
    """Return the ids of the forms of a page by where they are sent."""
    return dict(FIELD.findall(html))


def paying(html: str, payment_id: str, method: str) -> dict[str, str]:
    """Return what the form of a page that pays sends."""
    shown = dict(re.findall(r'name="(total|timing)" value="([^"]+)"', html))
    assert shown.keys() == {"total", "timing"}, html
    return {"request_id": forms(html)[f"/pay/{payment_id}/submit"], "method": method, **shown}


async def looked(browser: httpx.AsyncClient, payment_id: str) -> dict[str, str]:
    """Take the last look before paying with the one card that the payer keeps; return what its form sends."""
    first = await browser.get(f"/pay/{payment_id}")
    [method] = set(re.findall(r'value="(pm_\w+)"', first.text))
    confirm = await browser.get(f"/pay/{payment_id}/confirm", params={"method": method})
    return paying(confirm.text, payment_id, method)


async def pay(browser: httpx.AsyncClient, payment_id: str) -> list[httpx.Response]:
    """Pay with the one card that the payer keeps, by a double click."""
    body = await looked(browser, payment_id)
    return [await browser.post(f"/pay/{payment_id}/submit", data=body) for _ in range(2)]


async def test_a_payment_is_paid_by_forms_alone_and_a_double_click_pays_once(suite: Suite, shop: Shop) -> None:
    payer_id = f"payer_{new_request_id()}"
    await payers.keep(suite, payer_id, "pm_card_visa")
    payment_id = await payers.started(shop, payer_id=payer_id)
    unpaid_id = await payers.started(shop, payer_id=payer_id)
    counted = await Counted.since_now(suite, "bff")
    async with shop.browser(payment_id, payer_id=payer_id) as browser:
        answers = await pay(browser, payment_id)
        assert [(one.status_code, one.headers["location"]) for one in answers] == [(303, f"/pay/{payment_id}")] * 2
        paid = await browser.get(f"/pay/{payment_id}")
        receipt = await browser.get(f"/pay/{payment_id}/receipt")
        state = await browser.get(f"/pay/{payment_id}/state")
        same = await browser.get(f"/pay/{payment_id}/state", headers={"if-none-match": state.headers["etag"]})

        field = forms(paid.text)[f"/pay/{payment_id}/answer"]
        said = [
            (await browser.post(f"/pay/{payment_id}/answer", data={"request_id": field, "score": score})).status_code
            for score in ("0", "6", "", "4", "1")
        ]
        thanked = await browser.get(f"/pay/{payment_id}")
        too_early = {"request_id": field, "score": "5"}
        assert (await browser.post(f"/pay/{unpaid_id}/answer", data=too_early)).status_code == 303

    assert payers.THANKS in paid.text
    assert "Receipt" in receipt.text
    assert same.status_code == 304
    assert len(await _charges(suite, payment_id)) == 1
    assert said == [400, 400, 400, 303, 303]
    assert "Thank you for your answer." in thanked.text
    assert await _scores(suite, payer_id) == [(payment_id, 4)]
    assert await counted.of("batzen_bff_satisfaction_answers_total", score="4") >= 1


async def test_a_part_that_was_taken_of_a_hold_is_shown_and_has_a_receipt(shop: Shop) -> None:
    payment_id = (await shop.start(timing="MANUAL_CAPTURE"))["payment"]["payment_id"]
    where = f"/v1/payments/{payment_id}"
    await shop.payer.post(f"{where}/confirm", json=a_confirm(), headers=key())
    part = {"amount": {"amount_minor": 2_000, "currency_code": "CHF"}, "actor_id": "tester"}
    taken = await shop.service.post(f"{where}/capture", json=part, headers=key())
    async with shop.browser(payment_id) as browser:
        page = await browser.get(f"/pay/{payment_id}")
        receipt = await browser.get(f"/pay/{payment_id}/receipt")

    assert taken.status_code == 200, taken.text
    assert "CHF\N{NO-BREAK SPACE}20.00 was taken." in page.text
    assert "Nothing was taken yet" not in page.text
    assert receipt.status_code == 200
    assert "Taken of it" in receipt.text


async def _scores(suite: Suite, payer_id: str) -> list[tuple[str, int]]:
    """Return what the payer said of their payments, as it is kept."""
    connection = await asyncpg.connect(plain_dsn(suite.database_url("bff")))
    try:
        rows = await connection.fetch(
            "SELECT payment_id, score FROM satisfaction_answers WHERE payer_id = $1", payer_id
        )
    finally:
        await connection.close()
    return [(row["payment_id"], row["score"]) for row in rows]


async def _charges(suite: Suite, payment_id: str) -> list[object]:
    async with suite.client("operator", sub="clerk") as batzen:
        answer = await batzen.gateway_ops.ListAttempts(ListAttemptsRequest(payment_id=payment_id))
    return [one for one in answer.attempts if one.captured_minor]


async def test_another_payers_payment_is_none_and_a_strangers_form_does_nothing(shop: Shop) -> None:
    payment_id = await payers.started(shop, payer_id=PAYER)
    other_id = await payers.started(shop, payer_id="another_payer")
    async with shop.browser(payment_id) as browser, shop.browser(other_id, payer_id="another_payer") as stranger:
        for path in ("", "/method", "/confirm?method=page", "/receipt", "/state"):
            assert (await browser.get(f"/pay/{other_id}{path}")).status_code == 404
        field = forms((await stranger.get(f"/pay/{other_id}/confirm?method=page")).text)[f"/pay/{other_id}/submit"]
        for path in ("submit", "cancel", "check", "answer"):
            body = {"request_id": field, "method": "page", "score": "5"}
            assert (await browser.post(f"/pay/{payment_id}/{path}", data=body)).status_code == 403
        own = forms((await browser.get(f"/pay/{payment_id}/confirm?method=page")).text)[f"/pay/{payment_id}/submit"]
        body = {"request_id": own, "method": "page", "score": "5"}
        for path in ("submit", "cancel", "answer"):
            assert (await browser.post(f"/pay/{other_id}/{path}", data=body)).status_code == 404


async def test_who_has_no_session_is_asked_to_log_in_and_sees_nothing_of_the_payment(shop: Shop) -> None:
    payment_id = await payers.started(shop, payer_id=PAYER)
    async with shop.browser() as browser:
        answer = await browser.get(f"/pay/{payment_id}")
        state = await browser.get(f"/pay/{payment_id}/state")

    assert answer.status_code == 401
    assert "Please log in again" in answer.text
    assert "60.00" not in answer.text
    assert state.status_code == 401


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_page_speaks_the_language_that_is_asked_for_and_remembers_it(shop: Shop, language: str) -> None:
    payment_id = await payers.started(shop, payer_id=PAYER)
    async with shop.browser(payment_id) as browser:
        await browser.get(f"/pay/{payment_id}", params={"lang": language})
        again = await browser.get(f"/pay/{payment_id}/method")

    assert f'<html lang="{language}">' in again.text
    assert 'style="' not in again.text


async def test_a_payment_that_is_cancelled_says_so_and_cannot_be_paid_from_a_page_that_is_still_open(
    shop: Shop,
) -> None:
    payment_id = await payers.started(shop, payer_id=PAYER)
    async with shop.browser(payment_id) as browser:
        still_open = await browser.get(f"/pay/{payment_id}/confirm", params={"method": "page"})
        method = await browser.get(f"/pay/{payment_id}/method")
        body = {"request_id": forms(method.text)[f"/pay/{payment_id}/cancel"]}
        assert (await browser.post(f"/pay/{payment_id}/cancel", data=body)).status_code == 303
        late = {"request_id": forms(still_open.text)[f"/pay/{payment_id}/submit"], "method": "page"}
        answer = await browser.post(f"/pay/{payment_id}/submit", data=late)
        over = await browser.get(f"/pay/{payment_id}")

    assert (answer.status_code, answer.headers.get("location")) == (303, f"/pay/{payment_id}")
    assert "The payment was cancelled" in over.text
    assert "You have not been charged" in over.text


async def test_a_planned_payment_is_called_off_on_its_page_by_a_form_that_says_what_it_means(
    suite: Suite, shop: Shop, payer_id: str
) -> None:
    await payers.keep(suite, payer_id, "pm_card_visa")
    later = (datetime.now(UTC) + timedelta(days=7)).isoformat()
    payment_id = await payers.started(shop, payer_id=payer_id, timing="SCHEDULED", charge_time=later)
    async with shop.browser(payment_id, payer_id=payer_id) as browser:
        method = await browser.get(f"/pay/{payment_id}/method")
        [card] = set(re.findall(r'value="(pm_\w+)"', method.text))
        confirm = await browser.get(f"/pay/{payment_id}/confirm", params={"method": card})
        await browser.post(f"/pay/{payment_id}/submit", data=paying(confirm.text, payment_id, card))
        planned = await browser.get(f"/pay/{payment_id}")
        body = {"request_id": forms(planned.text)[f"/pay/{payment_id}/cancel"]}
        answers = [await browser.post(f"/pay/{payment_id}/cancel", data=body) for _ in range(2)]
        over = await browser.get(f"/pay/{payment_id}")

    assert "Your card will not be charged" in planned.text
    assert [one.status_code for one in answers] == [303, 303]
    assert "The payment was cancelled" in over.text
    assert f"/pay/{payment_id}/cancel" not in forms(over.text)


async def test_a_form_of_a_card_that_another_followed_leads_to_a_page_that_names_the_card_the_bank_asks_about(
    suite: Suite, shop: Shop, payer_id: str
) -> None:
    for card in ("pm_card_threeDSecure2Required", "pm_card_authenticationRequired"):
        await payers.keep(suite, payer_id, card)
    payment_id = await payers.started(shop, payer_id=payer_id)
    async with shop.browser(payment_id, payer_id=payer_id) as browser:
        method = await browser.get(f"/pay/{payment_id}/method")
        sent = []
        for card in dict.fromkeys(re.findall(r'value="(pm_\w+)"', method.text)):
            confirm = await browser.get(f"/pay/{payment_id}/confirm", params={"method": card})
            sent.append((card, paying(confirm.text, payment_id, card)))
        for _, body in sent:
            await browser.post(f"/pay/{payment_id}/submit", data=body)
        last = await browser.get(f"/pay/{payment_id}")
        again = await browser.post(f"/pay/{payment_id}/submit", data=sent[0][1])
        shown = await browser.get(again.headers["location"])

    assert again.status_code == 303
    [named] = set(re.findall(r"ending in \d{4}", last.text))
    assert set(re.findall(r"ending in \d{4}", shown.text)) == {named}
    assert "Your payment needs attention" in shown.text


async def test_a_hosted_page_is_at_a_place_that_we_know_and_the_policy_of_the_page_lets_the_form_lead_there(
    shop: Shop, suite: Suite
) -> None:
    payment_id = await payers.started(shop, payer_id=PAYER)
    async with shop.browser(payment_id) as browser:
        page = await browser.get(f"/pay/{payment_id}/confirm", params={"method": "page"})
        body = {"request_id": forms(page.text)[f"/pay/{payment_id}/submit"], "method": "page"}
        answer = await browser.post(f"/pay/{payment_id}/submit", data=body)

    assert answer.status_code == 303
    assert answer.headers["location"].startswith(suite.sandbox_url)
    assert f"form-action 'self' {suite.sandbox_url}" in page.headers["content-security-policy"]
    assert "require-trusted-types-for 'script'" in page.headers["content-security-policy"]


@pytest.mark.parametrize("said", ['{"name":"page_shown","page":"success"}', "no json", "[]", '{"name":' + "1" * 2_000])
async def test_reports_of_pages_are_taken_in_silence(shop: Shop, said: str) -> None:
    payment_id = await payers.started(shop, payer_id=PAYER)
    counted = await Counted.since_now(shop.suite, "bff")
    async with shop.browser(payment_id) as browser:
        for path in ("/beacons", f"/pay/{payment_id}/troubles"):
            answer = await browser.post(path, content=said, headers={"content-type": "text/plain"})
            assert (answer.status_code, answer.text) == (204, "")

    if "page_shown" in said:
        assert await counted.of("batzen_bff_beacons_total", page="success") >= 1
        assert await counted.of("batzen_bff_page_troubles_total", page="success") >= 1


async def test_the_shop_of_make_up_leads_a_payer_in_and_they_find_back_to_it(suite: Suite, tmp_path: Path) -> None:
    async with suite.client("service", sub="shop") as batzen:
        await add_seller(batzen, SUBJECTS["seller"])
    headers = {"accept": "text/html", "accept-language": "de", "sec-fetch-site": "same-site"}
    async with (
        shop_page() as page,
        httpx.AsyncClient(headers=headers, follow_redirects=True, timeout=WITHIN_S) as browser,
    ):
        page.suite = suite
        assert page.url in page.tenants_file(tmp_path).read_text()
        shown = await browser.get(page.url)
        arrived = [await browser.post(f"{page.url}buy/{name}") for name in ("lesson", "guide", "course")]

    assert "Ski lesson, Davos" in shown.text
    assert [one.status_code for one in arrived] == [200] * 3
    assert "Wie möchten Sie bezahlen?" in arrived[0].text
    assert "reserviert" in arrived[1].text
    assert "hinterlegt" in arrived[2].text
