"""Both fronts serve, each with its own headers, and take nothing from pages of others."""

from __future__ import annotations

import httpx
import pytest

from local.environments import FRONTS
from local.suite import Suite
from tests.eventually import WITHIN_S


@pytest.mark.parametrize("front", FRONTS)
async def test_a_front_is_alive_and_says_what_may_be_done_with_its_answers(suite: Suite, front: str) -> None:
    async with httpx.AsyncClient(base_url=suite.front_url(front), timeout=WITHIN_S) as browser:
        answer = await browser.get("/livez")

    assert (answer.status_code, answer.text) == (200, "ok\n")
    assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert len(answer.headers["x-correlation-id"]) == 32


@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize("headers", [{"sec-fetch-site": "cross-site"}, {"origin": "https://evil.example"}], ids=str)
async def test_what_another_site_posts_is_refused(suite: Suite, front: str, headers: dict[str, str]) -> None:
    async with httpx.AsyncClient(base_url=suite.front_url(front), timeout=WITHIN_S) as browser:
        answer = await browser.post("/livez", headers=headers)

    assert answer.status_code == 403
    assert answer.json()["code"] == "FORBIDDEN_ORIGIN"
