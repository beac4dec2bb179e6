"""The parts of a payment are those of batzen.type.v1, and go through messages and stored JSON unchanged."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from batzen.gateway.v1 import observation_pb2
from batzen.type.v1 import payment_pb2
from services import wire
from services.shared.payment import (
    DETAIL_CHARACTERS_MAX,
    Amounts,
    Attention,
    Method,
    Part,
    PaymentError,
    as_one,
    from_json,
    to_json,
)

AMOUNTS = Amounts(authorized_minor=900, capturable_minor=100, captured_minor=800, refunded_minor=200)
ERROR = PaymentError(code="card_declined", decline_code="insufficient_funds", message="No.", recoverable=True)
ATTENTION = Attention(reason="SURPLUS", detail="Too much.")
LATE = Attention(reason="LATE_MONEY", detail="Too late.")
METHOD = Method(payment_method_id="pm_1", type="card", brand="visa", last4="4242", expire_month=3, expire_year=2031)
MESSAGES = {
    Amounts: payment_pb2.PaymentSnapshot.Amounts,
    PaymentError: payment_pb2.PaymentError,
    Attention: payment_pb2.PaymentSnapshot.Attention,
    Method: payment_pb2.PaymentSnapshot.Method,
}


@pytest.mark.parametrize(("kind", "message"), MESSAGES.items())
def test_a_part_has_exactly_the_fields_of_its_message(kind: type[Any], message: type[Message]) -> None:
    assert kind.__slots__ == tuple(field.name for field in message.DESCRIPTOR.fields)


@pytest.mark.parametrize("part", [AMOUNTS, ERROR, ATTENTION, METHOD, Amounts(), PaymentError(), Attention(), Method()])
def test_a_part_is_read_back_as_it_was_stored(part: Part) -> None:
    stored = json.loads(json.dumps(to_json(part)))
    assert from_json(type(part), stored) == part
    assert all(stored.values())


def test_what_is_not_there_is_stored_as_nothing() -> None:
    assert to_json(None) is None
    assert from_json(Method, None) is None


@pytest.mark.parametrize("kind", [payment_pb2.PaymentSnapshot, observation_pb2.PaymentObservation])
def test_parts_go_through_a_message_unchanged(
    kind: type[payment_pb2.PaymentSnapshot | observation_pb2.PaymentObservation],
) -> None:
    message = kind()
    wire.fill(message.amounts, AMOUNTS)
    wire.fill(message.last_error, ERROR)
    wire.fill_attentions(message, (ATTENTION, LATE))
    wire.fill(message.method, METHOD)
    read = kind.FromString(message.SerializeToString())
    assert wire.amounts(read) == AMOUNTS
    assert wire.last_error(read) == ERROR
    assert wire.attentions(read) == (ATTENTION, LATE)
    assert wire.method(read) == METHOD


def test_who_knows_of_one_attention_reads_all_of_them_as_one_and_writes_one() -> None:
    message = payment_pb2.PaymentSnapshot()
    wire.fill_attentions(message, (ATTENTION, LATE))
    assert (message.attention.reason, message.attention.detail) == ("SURPLUS", "Too much. Too late.")

    message.ClearField("attentions")
    assert wire.attentions(message) == (Attention(reason="SURPLUS", detail="Too much. Too late."),)

    wire.fill_attentions(nothing := payment_pb2.PaymentSnapshot(), ())
    assert nothing == payment_pb2.PaymentSnapshot()
    assert wire.attentions(nothing) == ()


def test_all_that_is_said_at_once_has_a_limit() -> None:
    assert as_one(()) is None
    endless = as_one([Attention(reason="SURPLUS", detail="x" * 400)] * 9)
    assert endless is not None
    assert len(endless.detail) == DETAIL_CHARACTERS_MAX


def test_a_part_without_any_value_is_there_and_one_that_is_none_is_not() -> None:
    message = payment_pb2.PaymentSnapshot()
    wire.fill(message.method, Method())
    wire.fill(message.last_error, None)
    assert wire.method(message) == Method()
    assert wire.last_error(message) is None


def test_an_instant_is_exact_to_the_microsecond() -> None:
    for instant in (datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), datetime(2026, 11, 28, 1, 2, 3, 4, UTC)):
        expected = Timestamp()
        expected.FromDatetime(instant)
        assert wire.timestamp(instant) == expected


def test_what_is_refundable_is_what_was_captured_less_all_that_went_or_is_contested() -> None:
    amounts = Amounts(captured_minor=1_000, refunded_minor=100, refund_pending_minor=10, disputed_open_minor=1)
    assert amounts.refundable_minor == 889
    assert Amounts(captured_minor=100, refunded_minor=50, disputed_lost_minor=100).refundable_minor == 0
