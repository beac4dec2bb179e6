"""What looks wrong to anybody and right to accessibility checkers: sideways scroll, cut text, text over text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from playwright.async_api import Page

LOOKS: Final = Path(__file__).parent / "looks"


def look(name: str) -> str:
    """Return a question to a page: a function in the browser's language."""
    return (LOOKS / f"{name}.js").read_text(encoding="utf-8")


async def faults(page: Page) -> list[str]:
    """Return what looks wrong on a page as it stands."""
    found: Any = await page.evaluate(look("layout"))
    return [str(one) for one in found]
