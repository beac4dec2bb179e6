"""Pictures of every page in every state: `python -m tests.web.gallery [part of a state's name …]`.

They go to `.batzen/gallery/<view>-<language>/<state>.png`, with a sheet of them all a view; what looks wrong is
printed. Ends with 1 if something does.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.web.all_states import all_states
from tests.web.browser import MISSING, chromium
from tests.web.layout import faults
from tests.web.rendered import rendered, url_of
from tests.web.state import State
from tests.web.views import GALLERY, NARROW, View

if TYPE_CHECKING:
    from playwright.async_api import Browser

FOLDER: Final = Path(".batzen/gallery")
LANGUAGES: Final = ("en", "de")
AT_ONCE: Final = 3
SHEET: Final = """<!doctype html><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 13px system-ui; margin: 24px; background: #8884; display: flex; flex-wrap: wrap; gap: 20px; }}
figure {{ margin: 0; width: {width}px; }} img {{ width: 100%; border: 1px solid #8888; background: #fff; }}
figcaption {{ padding: 4px 0; font-weight: 600; }}</style>{figures}"""


async def shoot(states: Mapping[str, State], *, views: Sequence[View] = GALLERY) -> list[str]:
    """Take all pictures, and return what looks wrong."""
    executable = chromium()
    if executable is None:
        raise SystemExit(MISSING)
    from playwright.async_api import async_playwright  # noqa: PLC0415 there only with what drives a browser

    found: list[str] = []
    async with async_playwright() as playwright, rendered(states) as base:
        browser = await playwright.chromium.launch(executable_path=executable)
        for view in views:
            for language in LANGUAGES:
                found += await _view(browser, base, states, view=view, language=language)
        found += await _view(browser, base, states, view=NARROW, language="de")
        await browser.close()
    return found


async def _view(browser: Browser, base: str, states: Mapping[str, State], *, view: View, language: str) -> list[str]:
    folder = FOLDER / f"{view.name}-{language}"
    folder.mkdir(parents=True, exist_ok=True)
    context = await browser.new_context(
        viewport={"width": view.width, "height": view.height},
        color_scheme=view.scheme,
        reduced_motion="reduce",
        locale=language,
        has_touch=view.is_phone,
    )
    room, found = asyncio.Semaphore(AT_ONCE), list[str]()

    async def one(name: str) -> None:
        async with room:
            page = await context.new_page()
            answer = await page.goto(url_of(base, name, language=language))
            if answer is None or answer.status != 200:
                found.append(f"{name} ({language}) is not rendered")
            await page.evaluate("document.fonts.ready")
            found.extend(f"{name} ({view.name}, {language}): {fault}" for fault in await faults(page))
            await page.screenshot(path=folder / f"{name}.png", full_page=True)
            await page.close()

    await asyncio.gather(*map(one, states))
    figures = "".join(f'<figure><figcaption>{name}</figcaption><img src="{name}.png"></figure>' for name in states)
    width = 240 if view.is_phone else 420
    (folder / "index.html").write_text(SHEET.format(title=folder.name, width=width, figures=figures))
    page = await context.new_page()
    await page.set_viewport_size({"width": 1400, "height": 900})
    await page.goto((folder / "index.html").absolute().as_uri())
    await page.screenshot(path=FOLDER / f"{folder.name}.png", full_page=True)
    await context.close()
    return found


def main(wanted: Sequence[str]) -> int:
    """Take the pictures that are wanted, all by default."""
    states = {name: state for name, state in all_states().items() if not wanted or any(one in name for one in wanted)}
    found = asyncio.run(shoot(states))
    print("\n".join(found) or f"{len(states)} states, nothing looks wrong")
    print(f"{FOLDER}/*.png are sheets of them all.")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
