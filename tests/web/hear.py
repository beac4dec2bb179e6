"""Stores what a screen reader would be told of each state: `python -m tests.web.hear`. Read the difference it makes."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.web.all_states import all_states
from tests.web.browser import MISSING, chromium
from tests.web.rendered import rendered, url_of

FOLDER = Path(__file__).parent / "heard"


async def hear() -> None:
    """Write `heard/<state>.yaml` for each state, and take out those of states that are no more."""
    executable = chromium()
    if executable is None:
        raise SystemExit(MISSING)
    from playwright.async_api import async_playwright  # noqa: PLC0415 there only with what drives a browser

    states = all_states()
    FOLDER.mkdir(exist_ok=True)
    for file in FOLDER.glob("*.yaml"):
        if file.stem not in states:
            file.unlink()
    async with async_playwright() as playwright, rendered(states) as base:
        browser = await playwright.chromium.launch(executable_path=executable)
        context = await browser.new_context(
            viewport={"width": 1180, "height": 900}, locale="en", reduced_motion="reduce"
        )
        page = await context.new_page()
        for name in states:
            answer = await page.goto(url_of(base, name))
            if answer is None or answer.status != 200:
                raise SystemExit(f"{name} is not rendered")
            heard = await page.locator("main").aria_snapshot()
            (FOLDER / f"{name}.yaml").write_text(heard + "\n", encoding="utf-8")
        await browser.close()


if __name__ == "__main__":
    asyncio.run(hear())
