"""Figures count what they are declared for and stay within their bounds, and the port of them takes nothing else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from google.protobuf.wrappers_pb2 import StringValue

from batzen._channel import streaming
from batzen.version import build
from local.issuer import Issuer
from services.errors import DependencyUnavailable, FieldInvalid
from services.runtime.database.connections import unavailable_as_service_error
from services.runtime.observability import metrics_port, process_metrics
from services.runtime.observability.metrics import OFF, OTHER, Meter, counter, gauge, histogram, one_of, up_to
from services.runtime.observability.process_metrics import Occupancy, observed_process, show_pools
from services.runtime.process import logs
from services.runtime.process.service import ProcessSettings
from services.runtime.process.settings import reading
from services.runtime.work.loops import detached
from tests.eventually import WITHIN_S, eventually
from tests.logged import said_by
from tests.metrics import CATALOGUE, Figures, scraped
from tests.runtime.echo import SERVICE, echo, refusal, serving, unary, watch
from tests.runtime.test_tls import Authority

SENT = counter("batzen_letters_sent_total", "Letters.", one_of("size", "small", "large"))
RETURNED = counter("batzen_letters_returned_total", "Letters.", up_to(3, "reason", "why"))
WAITING = gauge("batzen_letters_waiting", "Letters.", one_of("size", "small"))
SECONDS = histogram("batzen_letter_seconds", "Letters.", buckets=(1, 2))


async def figures(meter: Meter) -> Figures:
    return Figures.read(await meter.text())


async def test_a_figure_counts() -> None:
    meter = Meter()
    sent, waiting, seconds = meter.counter(SENT), meter.gauge(WAITING), meter.histogram(SECONDS)
    sent.add("small")
    sent.add("small", amount=3)
    waiting.set(5, "small")
    waiting.add("small", amount=-2)
    seconds.observe(1.5)
    now = await figures(meter)
    assert now.of("batzen_letters_sent_total", size="small") == 4
    assert now.of("batzen_letters_waiting", size="small") == 3
    assert now.of("batzen_letter_seconds_bucket", le="1.0") == 0
    assert now.of("batzen_letter_seconds_bucket", le="2.0") == 1


async def test_a_flood_of_values_makes_no_series_beyond_the_bounds() -> None:
    meter = Meter()
    sent, returned = meter.counter(SENT), meter.counter(RETURNED)
    for number in range(1_000):
        sent.add(f"size {number}")
        returned.add(f"reason {number}")
    now = await figures(meter)
    assert now.says("batzen_letters_sent_total", "size") == {"small", "large", OTHER}
    assert now.of("batzen_letters_sent_total", size=OTHER) == 1_000
    assert now.says("batzen_letters_returned_total", "reason") == {"reason 0", "reason 1", "reason 2", OTHER}
    assert now.of("batzen_letters_returned_total", reason=OTHER) == 997


async def test_what_has_few_series_has_them_from_the_start() -> None:
    meter = Meter()
    meter.counter(SENT)
    assert (await figures(meter)).samples[("batzen_letters_sent_total", frozenset({("size", "large")}))] == 0


async def test_meters_of_one_process_know_nothing_of_each_other() -> None:
    first, second = Meter(), Meter()
    first.counter(SENT).add("small")
    second.counter(SENT)
    assert (await figures(second)).of("batzen_letters_sent_total", size="small") == 0
    assert first.counter(SENT) is first.counter(SENT)


async def test_a_meter_that_is_off_keeps_nothing() -> None:
    asked = []
    OFF.counter(SENT).add("small")
    OFF.gauge(WAITING).set(1, "small")
    OFF.histogram(SECONDS).observe(1)
    OFF.read_when_asked(lambda: asked.append(1))
    assert await OFF.text() == b""
    assert not asked


async def test_what_the_process_counts_itself_is_followed_from_the_start_of_the_meter() -> None:
    meter, counts = Meter(), {("small",): 7}
    meter.follow(SENT, lambda: counts)
    assert (await figures(meter)).of("batzen_letters_sent_total", size="small") == 0
    counts[("small",)], counts[("large",)] = 9, 1
    now = await figures(meter)
    assert now.of("batzen_letters_sent_total", size="small") == 2
    assert now.of("batzen_letters_sent_total", size="large") == 1


def test_each_figure_is_declared_once_under_a_name_of_ours() -> None:
    metrics = [metric for metrics in CATALOGUE.values() for metric in metrics]
    assert len({metric.name for metric in metrics}) == len(metrics)
    for metric in metrics:
        assert metric.name.startswith("batzen_")
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        assert bool(metric.buckets) == (metric.kind == "histogram"), metric.name
        assert all(label.values or (label.series_max and label.bound) for label in metric.labels), metric.name


@asynccontextmanager
async def open_port(meter: Meter) -> AsyncIterator[int]:
    async with metrics_port.serving_metrics(meter, listen="127.0.0.1:0") as port:
        yield port


async def answer_to(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        async with asyncio.timeout(WITHIN_S):
            return await reader.read()
    finally:
        writer.close()


async def test_the_port_answers_a_scraper() -> None:
    meter = Meter()
    meter.counter(SENT).add("small")
    async with open_port(meter) as port:
        now = await scraped(f"127.0.0.1:{port}")
    assert now.of("batzen_letters_sent_total", size="small") == 1
    assert now["process_resident_memory_bytes"] > 0


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"GET /metrics?x=1 HTTP/1.1", b"200 OK"),
        (b"GET /metrics HTTP/1.0", b"200 OK"),
        (b"POST /metrics HTTP/1.1", b"405 Method Not Allowed"),
        (b"GET / HTTP/1.1", b"404 Not Found"),
        (b"GET /metrics/ HTTP/1.1", b"404 Not Found"),
        (b"GET /metrics", b"400 Bad Request"),
        (b"GET /metrics HTTP/2.0", b"400 Bad Request"),
        (b"\x16\x03\x01", b"400 Bad Request"),
        (b"GET /" + b"x" * metrics_port.HEAD_BYTES_MAX + b" HTTP/1.1", b"431 "),
    ],
)
async def test_the_port_answers_nothing_else(request_line: bytes, status: bytes) -> None:
    async with open_port(Meter()) as port:
        answer = await answer_to(port, request_line + b"\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert (b"process_" in answer) == (status == b"200 OK")


async def test_who_says_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_port, "HEAD_S_MAX", 0.05)
    async with open_port(Meter()) as port:
        assert await answer_to(port, b"GET /met") == b""


async def test_more_connections_than_there_may_be_are_closed() -> None:
    async with open_port(Meter()) as port:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(metrics_port.CONNECTIONS_MAX)]
        assert not await _is_answered(port)
        for _, writer in silent:
            writer.close()
        await eventually(lambda: _is_answered(port))


async def _is_answered(port: int) -> bool:
    try:
        return (await answer_to(port, b"GET /metrics HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    except ConnectionError:
        return False


async def test_a_figure_that_cannot_be_read_is_logged_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    meter, failures = Meter(), [ValueError("a bug")]

    def read() -> None:
        if failures:
            raise failures.pop()

    meter.read_when_asked(read)
    async with open_port(meter) as port:
        assert not await _is_answered(port)
        assert await _is_answered(port)
    assert [record.levelname for record in said_by(metrics_port, caplog)] == ["ERROR"]


async def test_the_port_ends_with_connections_open() -> None:
    async with asyncio.timeout(WITHIN_S):
        async with open_port(Meter()) as port:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.close()


async def test_calls_are_counted_by_method_code_and_reason(issuer: Issuer) -> None:
    async def refuse(_request: StringValue, _context: object) -> StringValue:
        raise FieldInvalid(field="x", detail="It is wrong.")

    async def fail(_request: StringValue, _context: object) -> StringValue:
        raise ValueError("a bug")

    meter = Meter()
    methods = {"Echo": unary(echo), "Refuse": unary(refuse), "Fail": unary(fail)}
    async with serving(issuer, methods, meter=meter) as service:
        await service.unary()(StringValue(value="x"))
        await refusal(service.unary("Refuse")(StringValue()))
        await refusal(service.unary("Fail")(StringValue()))
        await refusal(service.unary("Unheard")(StringValue()))
        now = await figures(meter)
        assert now["batzen_ready"] == 1
    requests = "batzen_rpc_requests_total"
    assert now.of(requests, method="EchoService/Echo", code="OK") == 1
    assert now.of(requests, method="EchoService/Refuse", code="INVALID_ARGUMENT") == 1
    assert now.of(requests, method="EchoService/Fail", code="INTERNAL") == 1
    assert now.of("batzen_rpc_refusals_total", method="EchoService/Refuse", reason="FIELD_INVALID") == 1
    assert now.of("batzen_rpc_duration_seconds_count", method="EchoService/Echo") == 1
    assert now.says(requests, "method") == {f"EchoService/{name}" for name in methods}
    assert now.samples[(requests, frozenset({("method", "EchoService/Echo"), ("code", "UNAVAILABLE")}))] == 0


async def test_weird_names_of_methods_make_no_series(issuer: Issuer) -> None:
    meter = Meter()
    async with serving(issuer, {"Echo": unary(echo)}, meter=meter) as service:
        for number in range(50):
            call = service.channel.unary_unary(f"/{SERVICE}{number}/Weird", StringValue.SerializeToString)
            assert (await refusal(call(StringValue()))).code() is grpc.StatusCode.UNIMPLEMENTED
        assert (await figures(meter)).says("batzen_rpc_requests_total", "method") == {"EchoService/Echo"}


async def test_open_streams_and_running_calls_are_shown_while_they_last(issuer: Issuer) -> None:
    async def last(_request: StringValue, _context: object) -> AsyncIterator[StringValue]:
        yield StringValue(value="begun")
        await asyncio.Event().wait()

    meter = Meter()
    async with serving(issuer, {"Watch": watch(last)}, meter=meter) as service:
        assert (await figures(meter)).of("batzen_streams_open", method="EchoService/Watch") == 0
        async with streaming(service.watch()(StringValue())) as responses:
            await anext(aiter(responses))
            now = await figures(meter)
            assert now.of("batzen_streams_open", method="EchoService/Watch") == 1
            assert now["batzen_rpc_in_flight"] == 1
        await eventually(lambda: _streams_are(meter, 0))
        now = await figures(meter)
        assert now.of("batzen_rpc_requests_total", method="EchoService/Watch", code="CANCELLED") == 1
        assert now.of("batzen_rpc_duration_seconds_count", method="EchoService/Watch") == 0


async def _streams_are(meter: Meter, count: int) -> bool:
    return (await figures(meter)).of("batzen_streams_open", method="EchoService/Watch") == count


async def test_a_process_says_what_it_is_and_how_it_does(tmp_path: Path) -> None:
    files = Authority().certify(tmp_path / "tls")
    counts = {process_metrics.LINES_DROPPED: lambda: {(): 0}}
    async with observed_process(
        listen="127.0.0.1:0",
        version="1.2.3",
        commit="abc",
        certificates={"certificate": files.certificate},
        counts=counts,
    ) as meter:
        now = await figures(meter)
        assert now.of("batzen_build_info", version="1.2.3", commit="abc") == 1
        expiry = now.of("batzen_certificate_expiry_timestamp_seconds", file="certificate")
        certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
        assert expiry == certificate.not_valid_after_utc.timestamp()
        await eventually(lambda: _has_looked_at_lag(meter))


async def _has_looked_at_lag(meter: Meter) -> bool:
    return (await figures(meter))["batzen_event_loop_lag_seconds_count"] > 0


async def test_pools_are_shown_together() -> None:
    class Fixed:
        def occupancy(self) -> Occupancy:
            return Occupancy(busy=2, idle=1, waiting=4, size=8)

    meter = Meter()
    show_pools(meter, Fixed(), Fixed())
    now = await figures(meter)
    assert now.of("batzen_database_connections", state="busy") == 4
    assert now.of("batzen_database_connections", state="waiting") == 8
    assert now["batzen_database_connections_max"] == 16


async def test_without_a_place_to_listen_nothing_is_measured() -> None:
    async with observed_process(listen=None, version="1", commit="", certificates={}, counts={}) as meter:
        assert not meter.is_on


async def test_what_a_process_counts_itself_is_among_its_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {
        "BATZEN_ENVIRONMENT": "development",
        "BATZEN_RUNTIME_DATABASE_URL": "postgresql+asyncpg://role:word@127.0.0.1:9/nowhere",
        "BATZEN_JWKS": "/nowhere",
        "BATZEN_TOKEN_ISSUER": "issuer",
        "BATZEN_TOKEN_AUDIENCE": "audience",
        "BATZEN_METRICS_LISTEN": "127.0.0.1:0",
    }
    with reading(environ) as read:
        settings = ProcessSettings.read(read, listen="127.0.0.1:0")

    async def fail() -> None:
        raise ValueError("a bug")

    async with settings.metering() as meter:
        with pytest.raises(DependencyUnavailable), unavailable_as_service_error():
            raise ConnectionRefusedError
        with pytest.raises(ValueError, match="a bug"):
            await detached(fail(), name="the task")
        monkeypatch.setattr(logs, "LINES_WAITING_MAX", 0)
        with logs.json_logs(service="test", write=lambda _: None):
            logging.getLogger("services").error("does not fit")
        now = await figures(meter)
    # What else there is in this process may lose its database, too, and log; of all services' tasks there are more than
    # a figure has series.
    assert now["batzen_database_unavailable_total"] >= 1
    is_named = "the task" in now.says("batzen_background_failures_total", "task")
    assert now.of("batzen_background_failures_total", task="the task" if is_named else OTHER) >= 1
    assert now["batzen_log_lines_dropped_total"] >= 1
    assert now.says("batzen_build_info", "version") == {build().version}
