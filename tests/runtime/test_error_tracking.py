"""What nobody expected is reported to a tracker: with where and under which ids, without what anybody sent."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from batzen.version import build
from local.issuer import Issuer
from services.errors import NotFound
from services.runtime.observability import error_tracking
from services.runtime.observability.error_tracking import tracking
from services.runtime.process.lifecycle import StartRefused
from services.runtime.rpc import call_context
from tests.eventually import eventually
from tests.runtime.echo import SERVICE, echo, refusal, serving, unary
from tests.runtime.spans import recorded

HELLO = StringValue(value="hello")
CORRELATION = "0af7651916cd43dd8448eb211c80319c"
MARKED = ("4242 4242 4242 4242", "payer@example.org", "pi_3Abc_secret_Def", "eyJhbGciOi.eyJzdWIi.c2ln")

logger = logging.getLogger("services.of.the.test")


class Sink:
    """Takes what is reported, as a tracker does, and keeps it."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.let_go = threading.Event()
        self.let_go.set()

    @property
    def text(self) -> str:
        return "\n".join(body.decode() for body in self.bodies)

    @property
    def reports(self) -> list[dict[str, Any]]:
        """The events of the envelopes that came."""
        return [json.loads(body.split(b"\n")[2]) for body in self.bodies]


@contextmanager
def sinking() -> Iterator[tuple[Sink, str]]:
    """Run a sink; yields it and the DSN of a project there."""
    sink = Sink()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            sink.let_go.wait()
            sink.bodies.append(gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield sink, f"http://public@127.0.0.1:{server.server_port}/7"
    finally:
        sink.let_go.set()
        server.shutdown()
        server.server_close()


async def broken(request: StringValue, _context: object) -> StringValue:
    remembered = [*MARKED, request.value]
    raise RuntimeError(f"cannot take {remembered}")


class Gone(NotFound):
    """It is not here."""

    reason = "GONE"


async def gone(_request: StringValue, _context: object) -> StringValue:
    raise Gone


def report_one(text: str = "a failure", *arguments: object) -> None:
    try:
        raise RuntimeError("of " + MARKED[0])
    except RuntimeError:
        logger.exception(text, *arguments)


async def test_what_asyncio_says_of_a_task_that_nobody_looked_at_is_not_reported_with_its_text() -> None:
    """It puts the error's text, and what a callback was given, into the message itself."""

    async def fail() -> None:
        raise RuntimeError("of " + MARKED[1])

    def fail_with(text: str) -> None:
        raise RuntimeError(text)

    with sinking() as (sink, dsn), tracking(dsn, service="pricing", environment="production"):
        await asyncio.wait({asyncio.create_task(fail())})
        gc.collect()
        asyncio.get_running_loop().call_soon(fail_with, MARKED[1])
        await eventually(lambda: len(sink.bodies) == 2)

    assert {report["logger"] for report in sink.reports} == {"asyncio"}
    assert MARKED[1] not in sink.text


async def test_a_bug_is_reported_once_with_where_it_was_and_nothing_that_was_sent(issuer: Issuer) -> None:
    methods = {"Broken": unary(broken), "Gone": unary(gone), "Echo": unary(echo)}
    with sinking() as (sink, dsn):
        with tracking(dsn, service="pricing", environment="production"), recorded():
            async with serving(issuer, methods) as served:
                token = issuer.mint("payer_1", roles={"payer"})
                metadata = (("authorization", f"Bearer {token}"), ("x-correlation-id", CORRELATION))
                await served.unary()(HELLO)
                await refusal(served.unary("Gone")(HELLO))
                await refusal(served.unary("Broken")(StringValue(value=MARKED[1]), metadata=metadata))
        (report,) = sink.reports

    (error,) = report["exception"]["values"]
    assert (error["type"], error["value"]) == ("RuntimeError", "")
    assert error["stacktrace"]["frames"][-1]["function"] == "broken"
    assert report["logentry"]["message"] == "A bug in %s"
    assert (report["release"], report["environment"]) == (build().version, "production")
    assert report["tags"] == {
        "service": "pricing",
        "commit": build().commit,
        "correlation_id": CORRELATION,
        "trace_id": CORRELATION,
    }
    assert [one for one in (*MARKED, "vars", "payer_1", SERVICE, "127.0.0.1", token) if one in sink.text] == []


def test_a_report_names_the_payment_and_not_what_the_line_quotes() -> None:
    with sinking() as (sink, dsn):
        with tracking(dsn, service="gateway", environment="development"), call_context.acting_for("main"):
            call_context.about("pay_1")
            report_one("could not send %s", MARKED[1])
            logger.error("no exception, no report")
            logging.getLogger("urllib3.connection").exception("what reports is not reported")
        (report,) = sink.reports

    assert report["tags"]["payment_id"] == "pay_1"
    assert report["logentry"] == {"message": "could not send %s"}
    assert [one for one in MARKED if one in sink.text] == []


def test_there_are_no_more_reports_than_anybody_reads() -> None:
    before = error_tracking.DROPPED.count
    with sinking() as (sink, dsn):
        with tracking(dsn, service="gateway", environment="development"):
            for _ in range(100):
                report_one()
        reported = len(sink.reports)

    assert error_tracking.BURST <= reported < 100
    assert error_tracking.DROPPED.count - before == 100 - reported


def test_a_tracker_that_hangs_holds_up_neither_work_nor_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(error_tracking, "CLOSE_S", 0.05)
    with sinking() as (sink, dsn):
        sink.let_go.clear()
        with tracking(dsn, service="gateway", environment="development"):
            for _ in range(3):
                report_one()
        assert not sink.bodies  # and still the block was left


def test_a_tracker_that_is_away_harms_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(error_tracking, "CLOSE_S", 0.05)
    with sinking() as (_, dsn):
        pass
    with tracking(dsn, service="gateway", environment="development"):
        report_one()


def test_after_the_process_nothing_is_reported() -> None:
    with sinking() as (sink, dsn):
        with tracking(dsn, service="gateway", environment="development"):
            pass
        report_one()
        assert sink.bodies == []


@pytest.mark.parametrize("dsn", ["nonsense", "http://127.0.0.1/7", "ftp://public@127.0.0.1/7"])
def test_what_is_no_dsn_refuses_the_start_by_its_name(dsn: str) -> None:
    with (
        pytest.raises(StartRefused, match=r"^BATZEN_ERROR_TRACKING_DSN is no DSN of a project$"),
        tracking(dsn, service="gateway", environment="development"),
    ):
        pass
