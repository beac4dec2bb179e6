"""Each figure of a front moves when what it counts happens."""

from __future__ import annotations

import aiohttp
import httpx
import pytest

from local.environments import FRONTS
from local.ports import HOST
from local.suite import Suite
from services.web.measured import purpose_of
from tests.metrics import Figures, metrics_of


async def figures(suite: Suite, front: str) -> Figures:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{HOST}:{suite.ports[f'{front}-metrics']}/metrics") as answer,
    ):
        return Figures.read(await answer.read())


@pytest.mark.parametrize("front", FRONTS)
async def test_requests_are_counted_by_purpose_and_answer(suite: Suite, front: str) -> None:
    before = await figures(suite, front)
    async with httpx.AsyncClient(base_url=suite.front_url(front)) as browser:
        assert (await browser.get("/livez")).status_code == 200
        assert (await browser.get("/static/nothing.css")).status_code == 404
        assert (await browser.post("/livez", headers={"origin": "https://evil.example"})).status_code == 403
    now = await figures(suite, front)

    def grown(name: str, **labels: str) -> float:
        return now.of(name, **labels) - before.of(name, **labels)

    assert grown("batzen_browser_requests_total", purpose="page", status="2xx") >= 1
    assert grown("batzen_browser_requests_total", purpose="page", status="4xx") >= 1
    assert grown("batzen_browser_requests_total", purpose="file", status="4xx") >= 1
    assert now.total("batzen_browser_request_seconds_count") > before.total("batzen_browser_request_seconds_count")


@pytest.mark.parametrize("front", FRONTS)
async def test_a_front_exports_what_is_declared_for_it_and_nothing_else(suite: Suite, front: str) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{HOST}:{suite.ports[f'{front}-metrics']}/metrics") as answer,
    ):
        said = (await answer.read()).decode()

    exported = {tuple(line.split()[2:4]) for line in said.splitlines() if line.startswith("# TYPE batzen_")}
    ours = {(metric.name, str(metric.kind)) for metric in metrics_of(front)}
    assert {one for one in exported if one[0].startswith("batzen_browser_")} == {
        one for one in ours if one[0].startswith("batzen_browser_")
    }
    assert exported <= ours


def test_what_a_request_is_for_is_said_by_its_path() -> None:
    assert [purpose_of(path) for path in ("/pay/1", "/v1/payments", "/api/payments/confirm", "/v1/events")] == [
        "page",
        "rest",
        "rest",
        "stream",
    ]
    assert purpose_of("/static/base.css") == "file"
