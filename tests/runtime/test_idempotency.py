"""A repeat has the hash of the first request, and nothing else has."""

from __future__ import annotations

from batzen.status.v1 import status_pb2
from services.runtime.database.idempotency import request_hash


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
