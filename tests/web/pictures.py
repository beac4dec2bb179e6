"""The pictures of the README: `python -m tests.web.pictures` writes them to `docs/pictures/`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from tests.web.all_states import all_states
from tests.web.browser import MISSING, chromium
from tests.web.rendered import rendered, url_of

FOLDER: Final = Path(__file__).parents[2] / "docs/pictures"
PICTURES: Final = {
    "checkout": ("checkout-method-declined", 1100, 760),
    "console": ("console-payment", 1280, 860),
}
"""Name of the file → the state, and how large it is."""


async def draw() -> None:
    """Write all pictures."""
    executable = chromium()
    if executable is None:
        raise SystemExit(MISSING)
    from playwright.async_api import async_playwright  # noqa: PLC0415 there only with what drives a browser

    FOLDER.mkdir(exist_ok=True)
    async with async_playwright() as playwright, rendered(all_states()) as base:
        browser = await playwright.chromium.launch(executable_path=executable)
        for name, (state, width, height) in PICTURES.items():
            page = await browser.new_page(viewport={"width": width, "height": height}, reduced_motion="reduce")
            answer = await page.goto(url_of(base, state))
            if answer is None or answer.status != 200:
                raise SystemExit(f"{state} is not rendered")
            await page.evaluate("document.fonts.ready")
            await page.screenshot(path=FOLDER / f"{name}.png")
        await browser.close()


if __name__ == "__main__":
    asyncio.run(draw())
