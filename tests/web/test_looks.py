"""The looks find what is wrong: each is shown a page with the fault that it is for, and one without."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.web.layout import faults, look

if TYPE_CHECKING:
    from playwright.async_api import Page

pytestmark = pytest.mark.web

GOOD = '<main><h1>Pay</h1><p>A sentence.</p><button style="outline: 2px solid">Pay</button></main>'
WRONG = {
    "the page is": '<p style="width: 3000px">wide</p>',
    "cut or spilling": '<p style="width: 40px; overflow: hidden; white-space: nowrap">much more than fits</p>',
    "text over text": '<p>one sentence</p><p style="margin-top: -30px">another sentence</p>',
}


async def test_a_good_page_has_no_fault(page: Page) -> None:
    await page.set_content(GOOD)

    assert await faults(page) == []
    assert await page.evaluate(look("focus")) == []
    assert await page.evaluate(look("forced_colours")) == []


@pytest.mark.parametrize("fault", WRONG)
async def test_a_fault_of_the_layout_is_found(page: Page, fault: str) -> None:
    await page.set_content(WRONG[fault])

    assert any(found.startswith(fault) for found in await faults(page))


async def test_a_control_whose_focus_is_not_seen_is_found(page: Page) -> None:
    await page.set_content("<style>a { outline: none !important }</style><a href='/'>Pay</a>")

    assert len(await page.evaluate(look("focus"))) == 1


async def test_a_button_that_is_a_colour_alone_is_found(page: Page) -> None:
    await page.set_content('<button style="border: none; background: red"></button>')

    assert len(await page.evaluate(look("forced_colours"))) == 1
