"""Log lines: JSON, whole, in order, and never in the way."""

from __future__ import annotations

import json
import logging
import threading

import pytest

from services.runtime import calls, logs
from services.runtime.logs import json_logs

logger = logging.getLogger("tests.of.logs")


def test_lines_are_json_in_order_with_fields_correlation_and_traceback() -> None:
    written: list[str] = []
    with json_logs(service="pricing", write=written.append):
        logger.info("first %d\nof two lines", 1)
        with calls.acting_for("main", correlation="job-7"):
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


def test_the_log_is_as_before_afterwards() -> None:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    with json_logs(service="pricing", level="ERROR", write=lambda _: None):
        assert root.level == logging.ERROR

    assert (root.handlers, root.level) == before
