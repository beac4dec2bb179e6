"""A repeat has the hash of the first request, and nothing else has."""

from __future__ import annotations

import asyncio
import logging

import pytest

from batzen.status.v1 import status_pb2
from services.errors import DependencyUnavailable
from services.runtime.database.idempotency import detached, request_hash


def opening(**changes: object) -> status_pb2.OpenPaymentRequest:
    values = {"request_id": "1", "payment_id": "pay_1", "labels": {"a": "1", "b": "2"}} | changes
    return status_pb2.OpenPaymentRequest(**values)  # type: ignore[arg-type]


def test_the_id_of_a_request_is_no_part_of_its_content() -> None:
    assert request_hash(opening()) == request_hash(opening(request_id="2"))


def test_another_content_has_another_hash() -> None:
    assert request_hash(opening()) != request_hash(opening(payment_id="pay_2"))
    assert request_hash(opening()) != request_hash(opening(labels={"a": "1"}))


def test_the_order_of_a_map_makes_no_difference() -> None:
    assert request_hash(opening()) == request_hash(opening(labels={"b": "2", "a": "1"}))


def test_what_is_excluded_makes_no_difference() -> None:
    assert request_hash(opening(), "payment_id") == request_hash(opening(payment_id="pay_2"), "payment_id")


def test_the_request_itself_is_left_as_it_is() -> None:
    request = opening()
    request_hash(request, "payment_id")
    assert request == opening()


@pytest.mark.parametrize(
    ("error", "logged"), [(ValueError("a bug"), ["the work failed"]), (DependencyUnavailable(), [])]
)
async def test_only_a_bug_is_logged_of_work_that_nobody_waits_for(
    error: Exception, logged: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        raise error

    await asyncio.wait({detached(work(), name="the work")})
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR] == logged
