"""Lighthouse over three pages: what does not depend on how busy the machine is has full marks."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from tests.web.all_states import all_states
from tests.web.browser import REQUIRED, needed
from tests.web.rendered import rendered, url_of

pytestmark = pytest.mark.web

PROGRAM: Final = Path(__file__).parents[2] / ".batzen/web-node/node_modules/.bin/lighthouse"
PAGES: Final = ("checkout-method", "checkout-success", "console-payments")
FLAGS: Final = "--no-sandbox --headless --disable-dev-shm-usage"


@pytest.fixture(scope="module")
async def base() -> AsyncIterator[str]:
    """Where the states are served."""
    async with rendered(all_states()) as address:
        yield address


@pytest.mark.parametrize("state", PAGES)
async def test_a_page_has_full_marks(base: str, state: str, tmp_path: Path) -> None:
    if not PROGRAM.exists():
        (pytest.fail if REQUIRED else pytest.skip)("no lighthouse: npm is not on this machine")
    report = tmp_path / "report.json"
    running = await asyncio.create_subprocess_exec(
        str(PROGRAM), url_of(base, state), "--quiet", f"--chrome-flags={FLAGS}", "--output=json",
        f"--output-path={report}", "--only-categories=accessibility,best-practices",
        env={**os.environ, "CHROME_PATH": needed(), "HOME": str(tmp_path)},
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, errors = await running.communicate()
    assert running.returncode == 0, errors.decode()

    found = json.loads(report.read_text())
    scores = {name: part["score"] for name, part in found["categories"].items()}
    wrong = [audit["id"] for audit in found["audits"].values() if audit["score"] == 0]
    assert scores == {"accessibility": 1, "best-practices": 1}, wrong
