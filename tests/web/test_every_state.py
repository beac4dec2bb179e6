"""Every page in every state, looked at by machines: accessibility, layout, the security policy, what a reader hears."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.web.all_states import all_states
from tests.web.browser import REQUIRED, new_context
from tests.web.layout import faults, look
from tests.web.rendered import rendered, url_of
from tests.web.views import CHECKED, NARROW, View

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

pytestmark = pytest.mark.web

ROOT: Final = Path(__file__).parents[2]
AXE: Final = ROOT / ".batzen/web-node/node_modules/axe-core/axe.min.js"
HEARD: Final = Path(__file__).parent / "heard"
"""What a screen reader would be told of each state, as it was last looked at."""
TAGS: Final = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
STATES: Final = all_states()


@pytest.fixture(scope="module")
async def base() -> AsyncIterator[str]:
    """Where the states are served."""
    async with rendered(STATES) as address:
        yield address


@asynccontextmanager
async def shown(
    browser: Browser, base: str, state: str, view: View, *, language: str = "en", **context: Any
) -> AsyncIterator[Page]:
    """A state in a window; fails on an error of its script or a violation of its policy."""
    made = await new_context(
        browser,
        viewport={"width": view.width, "height": view.height},
        color_scheme=view.scheme,
        reduced_motion="reduce",
        locale=language,
        **context,
    )
    page, troubles = await made.new_page(), list[str]()
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda said: troubles.append(said.text) if "Content Security Policy" in said.text else None)
    answer = await page.goto(url_of(base, state, language=language))
    assert answer is not None
    assert answer.status == 200
    await page.evaluate("document.fonts.ready")
    yield page
    await made.close()
    assert troubles == []


@pytest.fixture(scope="module")
def axe() -> str:
    """The checker of accessibility."""
    if not AXE.exists():
        (pytest.fail if REQUIRED else pytest.skip)("no axe-core: npm is not on this machine")
    return AXE.read_text(encoding="utf-8")


@pytest.mark.parametrize("view", CHECKED, ids=lambda view: view.name)
@pytest.mark.parametrize("state", STATES)
async def test_nobody_is_kept_out(browser: Browser, base: str, axe: str, state: str, view: View) -> None:
    async with shown(browser, base, state, view, bypass_csp=True) as page:
        await page.add_script_tag(content=axe)
        found: Any = await page.evaluate("tags => axe.run({runOnly: {type: 'tag', values: tags}})", list(TAGS))

    assert [(one["id"], [node["html"] for node in one["nodes"]][:3]) for one in found["violations"]] == []


@pytest.mark.parametrize("state", STATES)
async def test_nothing_is_cut_spills_or_lies_over_something_else(browser: Browser, base: str, state: str) -> None:
    found = []
    for view, language in ((CHECKED[0], "en"), (CHECKED[1], "de"), (NARROW, "de")):
        async with shown(browser, base, state, view, language=language) as page:
            found += [f"{view.name}: {fault}" for fault in await faults(page)]

    assert found == []


@pytest.mark.parametrize("state", STATES)
async def test_a_reader_hears_what_was_looked_at(browser: Browser, base: str, state: str) -> None:
    async with shown(browser, base, state, CHECKED[0]) as page:
        heard = await page.locator("main").aria_snapshot()
        headings = await page.locator("h1").count()

    stored = HEARD / f"{state}.yaml"
    assert stored.exists(), f"write it by `python -m tests.web.hear`, and look at it:\n{heard}"
    assert heard + "\n" == stored.read_text(encoding="utf-8")
    assert headings == 1


@pytest.mark.parametrize("state", STATES)
async def test_every_stop_of_the_keyboard_is_seen(browser: Browser, base: str, state: str) -> None:
    """Tab goes through every control once, each is visible and has an outline."""
    async with shown(browser, base, state, CHECKED[0]) as page:
        unseen: Any = await page.evaluate(look("focus"))

    assert unseen == []


@pytest.mark.parametrize("state", STATES)
async def test_controls_show_in_forced_colours(browser: Browser, base: str, state: str) -> None:
    async with shown(browser, base, state, CHECKED[0], forced_colors="active") as page:
        found: Any = await page.evaluate(look("forced_colours"))

    assert found == []
