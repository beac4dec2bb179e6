"""Log lines: JSON, whole, in order, and never in the way."""

from __future__ import annotations

import asyncio
import json
import logging
import threading

import httpx
import pytest

from services.runtime.process import logs
from services.runtime.process.logs import json_logs
from services.runtime.rpc import call_context
from tests.eventually import WITHIN_S

logger = logging.getLogger("tests.of.logs")


def test_lines_are_json_in_order_with_fields_correlation_and_traceback() -> None:
    written: list[str] = []
    with json_logs(service="pricing", write=written.append):
        logger.info("first %d\nof two lines", 1)
        with call_context.acting_for("main", correlation="job-7"):
            logger.warning("second", extra={"fields": {"payment_id": "pay_1"}})
        try:
            raise RuntimeError("oh")
        except RuntimeError:
            logger.exception("third")
        logger.debug("not at this level")

    first, second, third = (json.loads(line) for line in "".join(written).splitlines())
    assert first | {"time": ""} == {
        "time": "",
        "level": "INFO",
        "service": "pricing",
        "message": "first 1\nof two lines",
        "logger": "tests.of.logs",
    }
    assert first["time"].endswith("+00:00")
    assert (second["payment_id"], second["correlation_id"]) == ("pay_1", "job-7")
    assert "RuntimeError: oh" in third["exception"]


LIBRARIES = (
    "httpx", "httpcore.http11", "stripe", "grpc._cython.cygrpc", "asyncio",
    "sqlalchemy.engine.Engine", "pgqueuer", "a.library.of.next.year",
)  # fmt: skip
CALLED = "HTTP Request: POST https://api.stripe.com/v1/customers?email=payer@example.org"


@pytest.mark.parametrize("name", LIBRARIES)
@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
def test_of_a_library_only_warnings_are_logged(name: str, level: str) -> None:
    written: list[str] = []
    with json_logs(service="gateway", level=level, write=written.append):
        logging.getLogger(name).info(CALLED)
        logging.getLogger(name).debug(CALLED)
        logging.getLogger(name).warning("a warning")
        logger.info("ours")

    assert [json.loads(line)["message"] for line in "".join(written).splitlines()] == ["a warning", "ours"]
    assert logging.getLogger(name).getEffectiveLevel() == logging.getLogger().level


async def test_a_real_call_leaves_nothing_of_its_url() -> None:
    written: list[str] = []

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    with json_logs(service="gateway", level="DEBUG", write=written.append):
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, httpx.AsyncClient(trust_env=False, timeout=WITHIN_S) as client:
            assert (await client.get(f"http://127.0.0.1:{port}/?client_secret=pi_1_secret_2")).status_code == 200

    assert not [line for line in written if str(port) in line or "client_secret" in line]


@pytest.mark.parametrize(
    ("said", "logged"),
    [
        ("GET https://a.example/x?client_secret=s&b=c failed", "GET https://a.example/x?… failed"),
        ("'https://a.example/x?q=Zürich&secret=s', then", "'https://a.example/x?…', then"),
        ("https://a.example/x#secret", "https://a.example/x?…"),
        ("postgresql+asyncpg://role:word@db.example:5432/gateway", "postgresql+asyncpg://db.example:5432/gateway"),
        ("https://a.example/x and http://b.example", "https://a.example/x and http://b.example"),
        ("no URL: 3 // 2? yes", "no URL: 3 // 2? yes"),
        ('"https://a.example/?q=1"\nnext line', '"https://a.example/?…"\nnext line'),
    ],
)
def test_no_url_is_logged_with_its_query_or_its_user_whoever_says_it(said: str, logged: str) -> None:
    written: list[str] = []
    with json_logs(service="gateway", write=written.append):
        logging.getLogger("httpx").warning(said)
        logger.info("call", extra={"fields": {"cause": said}})
        try:
            raise RuntimeError(said)
        except RuntimeError:
            logger.exception("Failed")

    first, second, third = (json.loads(line) for line in "".join(written).splitlines())
    assert (first["message"], second["cause"]) == (logged, logged)
    assert third["exception"].endswith(f"RuntimeError: {logged}")


def test_a_reader_that_stalls_stalls_nobody_and_what_is_dropped_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "LINES_WAITING_MAX", 3)
    stalled, go_on = threading.Event(), threading.Event()
    written: list[str] = []

    def write(text: str) -> None:
        stalled.set()
        go_on.wait()
        written.append(text)

    with json_logs(service="pricing", write=write):
        logger.info("taken")
        stalled.wait()
        for number in range(5):
            logger.info("waits %d", number)
        go_on.set()

    entries = [json.loads(line) for line in "".join(written).splitlines()]
    assert [entry["message"] for entry in entries] == [
        "taken",
        "waits 0",
        "waits 1",
        "waits 2",
        "log lines were dropped",
    ]
    assert entries[-1]["lines"] == 2


def test_a_write_that_fails_ends_no_log_and_its_lines_are_counted() -> None:
    written: list[str] = []
    failed = threading.Event()

    def write(text: str) -> None:
        if not failed.is_set():
            failed.set()
            raise RuntimeError("a bug")
        written.append(text)

    with json_logs(service="pricing", write=write):
        logger.info("lost")
        assert failed.wait(WITHIN_S)
        logger.info("kept")
    lines = [json.loads(line) for line in "".join(written).splitlines()]
    assert [line["message"] for line in lines] == ["kept", "log lines were dropped"]
    assert lines[1]["lines"] == 1


class Unprintable:
    """What cannot be put into a line."""

    def __str__(self) -> str:
        raise AttributeError("nothing to say")


def test_a_line_that_cannot_be_made_fails_nobody_who_logs(capsys: pytest.CaptureFixture[str]) -> None:
    written: list[str] = []

    with json_logs(service="pricing", write=written.append):
        logger.info("it is %s", Unprintable())
        logger.info("it is %(here)s", {"there": 1})
        logger.info("all is well")

    assert [json.loads(line)["message"] for line in "".join(written).splitlines()] == ["all is well"]
    assert capsys.readouterr().err.count("Logging error") == 2


def test_the_log_is_as_before_afterwards() -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    with json_logs(service="pricing", level="ERROR", write=lambda _: None):
        assert root.level == logging.ERROR

    assert (root.handlers, root.level) == before


@pytest.mark.parametrize("character", ["x", "\0", "\ud83d", "🍋"])
def test_a_line_is_bounded_and_whole_whatever_it_is_to_hold(character: str) -> None:
    written: list[str] = []
    with json_logs(service="pricing", write=written.append):
        logger.error(character * 1_000_000)
        logger.error(
            "fields",
            extra={"fields": {"payment_id": "pay_1", "text": character * 100_000, "list": [character] * 99_999}},
        )
        logger.error("many", extra={"fields": {f"{n}": character * 100 for n in range(10_000)}})

    lines = "".join(written).splitlines()
    entries = [json.loads(line) for line in lines]
    assert max(len(line) for line in lines) <= logs.LINE_CHARACTERS_MAX
    assert [(entry["service"], entry["was_cut"]) for entry in entries] == [("pricing", True)] * 3
    assert entries[1]["payment_id"] == "pay_1"
