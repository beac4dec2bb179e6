"""The browser of this machine, and how tests get it: there, missing, or missing and wanted."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.eventually import WITHIN_S

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext

NAMES: Final = ("chromium-headless-shell", "chromium")
MISSING: Final = "no Chromium: apt-get install --no-install-recommends chromium-headless-shell"
REQUIRED: Final = os.environ.get("BATZEN_BROWSER") == "required"
"""Where a missing browser is a failure, as in CI."""


def chromium() -> str | None:
    """Return where the browser is; None if this machine has none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def needed() -> str:
    """Return where the browser is; skip the test without one, or fail where it has to be there."""
    found = chromium()
    if found is None and REQUIRED:
        pytest.fail(MISSING, pytrace=False)
    if found is None:
        pytest.skip(MISSING)
    return found


async def new_context(browser: Browser, **options: Any) -> BrowserContext:
    """Return a browser that knows nothing yet, in which whatever is waited for may take a minute."""
    made = await browser.new_context(**options)
    made.set_default_timeout(WITHIN_S * 1_000)
    return made
