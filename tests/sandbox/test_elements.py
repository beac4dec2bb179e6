"""What browsers load of the stand-in for Stripe.js, asked without a browser."""

from __future__ import annotations

import httpx
import pytest

from sandbox.banks import TEST_METHODS
from sandbox.card_numbers import NUMBERS
from sandbox.control import SandboxControl
from sandbox.control_client import Refused
from sandbox.elements import LANGUAGES
from sandbox.state import Sandbox
from tests.eventually import WITHIN_S


def _passes_luhn(number: str) -> bool:
    doubled = (int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(number)))
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def test_every_number_is_of_a_test_method_and_ends_as_its_card_does() -> None:
    assert len(set(NUMBERS.values())) == len(NUMBERS)
    for number, method_id in NUMBERS.items():
        assert number[-4:] == TEST_METHODS[method_id].last4, method_id
        assert _passes_luhn(number), method_id


@pytest.mark.parametrize("language", LANGUAGES)
async def test_the_frame_speaks_the_language_of_the_page(sandbox: Sandbox, language: str) -> None:
    async with httpx.AsyncClient(base_url=sandbox.base_url, timeout=WITHIN_S) as browser:
        frame = await browser.get("/elements/frame", params={"locale": f"{language}-CH"})
        other = await browser.get("/elements/frame", params={"locale": '"><script>'})

    assert f'<html lang="{language}">' in frame.text
    assert '<html lang="en">' in other.text


async def test_what_is_ordered_goes_wrong_until_it_is_taken_back(sandbox: Sandbox, control: SandboxControl) -> None:
    async with httpx.AsyncClient(base_url=sandbox.base_url, timeout=WITHIN_S) as browser:
        await control.browsers(is_blocked=True, confirm="network_error_after")
        blocked, ordered = await browser.get("/stripe.js"), (await browser.get("/elements/orders")).json()
        await control.browsers()
        script, cleared = await browser.get("/stripe.js"), (await browser.get("/elements/orders")).json()

    assert (blocked.status_code, ordered["confirm"]) == (403, "network_error_after")
    assert (script.status_code, cleared["confirm"]) == (200, "")
    assert script.headers["content-type"].startswith("text/javascript")


@pytest.mark.parametrize("orders", [{"confirm": "maybe"}, {"ready_after_ms": -1}, {"unknown": 1}], ids=str)
async def test_an_order_of_nothing_we_know_is_refused(control: SandboxControl, orders: dict[str, str | int]) -> None:
    with pytest.raises(Refused):
        await control.browsers(**orders)
