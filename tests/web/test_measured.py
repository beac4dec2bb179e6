"""Each figure of a front moves when what it counts happens."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import aiohttp
import grpc
import httpx
import pytest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from batzen.errors import BatzenError, refused
from local.environments import FRONTS
from local.ports import HOST
from local.suite import Suite
from services.bff import metrics as bff
from services.console import metrics as console
from services.runtime.observability.metrics import Kind, Meter, Metric
from services.web import metrics as web
from services.web.failures import Refusal, failure_of
from services.web.measured import Measured, note, purpose_of
from services.web.rates import ADDRESS, PAYER, PAYMENT, READS, WEBHOOKS, too_many
from tests.eventually import WITHIN_S
from tests.metrics import Figures, metrics_of
from tests.web.counted import figures

MOVED_BY: Final = {
    "batzen_browser_requests_total": "test_measured.py",
    "batzen_browser_request_seconds": "test_measured.py",
    "batzen_browser_limited_total": "test_measured.py",
    "batzen_browser_streams_ended_total": "test_streams.py",
    "batzen_browser_streams_refused_total": "test_streams.py",
    "batzen_browser_stream_chunks_total": "test_streams.py",
    "batzen_browser_transition_seconds": "test_streams.py",
    "batzen_csp_reports_total": "test_floods.py",
    "batzen_bff_beacons_total": "test_checkout.py",
    "batzen_bff_beacons_lost_total": "test_analytics.py",
    "batzen_bff_page_troubles_total": "test_checkout.py",
    "batzen_bff_satisfaction_answers_total": "test_checkout.py",
    "batzen_console_logins_refused_total": "test_log_in.py",
    "batzen_console_actions_total": "test_console_actions.py",
    "batzen_console_approvals_opened_total": "test_console_actions.py",
    "batzen_console_approvals_decided_total": "test_console_actions.py",
}
"""The figures of the fronts that count → the file whose tests move them and look."""
OF_FRONTS: Final = {
    value.name: name
    for module in (web, bff, console)
    for name, value in vars(module).items()
    if isinstance(value, Metric) and value.kind is not Kind.GAUGE
}


def test_every_figure_of_the_fronts_that_counts_is_moved_by_a_test() -> None:
    assert set(MOVED_BY) == set(OF_FRONTS)
    for figure, file in MOVED_BY.items():
        said = (Path(__file__).parent / file).read_text(encoding="utf-8")
        times = len(re.findall(rf"{figure}|\b{OF_FRONTS[figure]}\b", said))
        assert times > (file == Path(__file__).name), f"{file} says nothing of {figure}"


@pytest.mark.parametrize("figure", [console.ACTIONS, console.APPROVALS_DECIDED])
def test_each_outcome_of_what_operators_do_is_moved_by_a_test(figure: Metric) -> None:
    said = (Path(__file__).parent / MOVED_BY[figure.name]).read_text(encoding="utf-8")
    outcome = figure.labels[-1]

    assert [value for value in outcome.values if f'{outcome.name}="{value}"' not in said] == []


@pytest.mark.parametrize(
    ("error", "limit"),
    [
        (refused(grpc.StatusCode.RESOURCE_EXHAUSTED, reason="TOO_MANY_DECLINES", message="no"), "declines"),
        (
            refused(grpc.StatusCode.FAILED_PRECONDITION, reason="HOSTED_CHECKOUT_REQUIRED", message="no"),
            "form_declines",
        ),
        (refused(grpc.StatusCode.RESOURCE_EXHAUSTED, reason="TOO_MANY_CALLS", message="no"), "services"),
        (Refusal(429, "TOO_MANY_STREAMS", limit="streams"), "streams"),
        *((too_many(1, rate), rate.name) for rate in (ADDRESS, PAYER, PAYMENT, READS, WEBHOOKS)),
        (refused(grpc.StatusCode.FAILED_PRECONDITION, reason="PAYMENT_STATE", message="no"), None),
        (Refusal(404, "NOT_FOUND"), None),
    ],
)
async def test_who_goes_beyond_a_limit_is_counted_by_it(error: BatzenError | Refusal, limit: str | None) -> None:
    meter = Meter()

    async def answering(scope: Scope, receive: Receive, send: Send) -> None:
        failure = failure_of(error, "en")
        note(scope, failure)
        await Response(status_code=failure.status)(scope, receive, send)

    client = httpx.ASGITransport(Measured(answering, meter=meter))
    async with httpx.AsyncClient(transport=client, base_url="http://front", timeout=WITHIN_S) as browser:
        await browser.get("/")

    of = Figures.read(await meter.text())
    assert of.total("batzen_browser_limited_total") == (0 if limit is None else 1)
    if limit is not None:
        assert of.of("batzen_browser_limited_total", limit=limit) == 1


@pytest.mark.parametrize("front", FRONTS)
async def test_requests_are_counted_by_purpose_and_answer(suite: Suite, front: str) -> None:
    before = await figures(suite, front)
    async with httpx.AsyncClient(base_url=suite.front_url(front), timeout=WITHIN_S) as browser:
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
