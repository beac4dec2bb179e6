"""Lines of a file of records: each is read, or said what is wrong with it; the schema says the same as the contract."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from batzen.imports import LINE_BYTES_MAX, RecordError, read_line, read_record
from batzen.orchestrator.v1.imports_pb2 import ImportRecord
from batzen.type.v1 import payment_pb2
from tests.contracts import ROOT
from tests.old_system import Record, invented

SCHEMA = ROOT / "docs" / "import.schema.json"
DOCUMENT = ROOT / "docs" / "import.md"
PAYMENT = invented(1, began=datetime(2024, 3, 5, tzinfo=UTC))
LEGACY = {"final": {"amount": {"amount": 60, "currency": "CHF"}, "currency": "CHF"}}
TYPES = {
    FieldDescriptor.TYPE_STRING: "string", FieldDescriptor.TYPE_INT64: "integer", FieldDescriptor.TYPE_INT32: "integer",
    FieldDescriptor.TYPE_BOOL: "boolean", FieldDescriptor.TYPE_ENUM: "string", FieldDescriptor.TYPE_MESSAGE: "object",
}  # fmt: skip


def test_a_record_of_a_payment_is_read_by_its_names() -> None:
    record = read_line(json.dumps(PAYMENT).encode())
    assert (record.record_id, record.WhichOneof("record")) == (PAYMENT["record_id"], "payment")
    assert record.payment.history[2].state == payment_pb2.PAYMENT_STATE_SUCCEEDED
    assert record.payment.charge.transfers[0].back[0].stripe_id.startswith("trr_")
    assert record.payment.history[0].time.ToDatetime(UTC).year == 2024


def test_a_price_of_the_old_shapes_is_a_total() -> None:
    plain = {name: value for name, value in PAYMENT.items() if name not in ("total_minor", "currency_code")}
    payment = read_record({**plain, "price": LEGACY}).payment
    assert (payment.total_minor, payment.currency_code) == (6_000, "CHF")
    with pytest.raises(RecordError) as caught:
        read_record({**PAYMENT, "price": LEGACY})
    assert caught.value.field == "price"
    with pytest.raises(RecordError) as caught:
        read_record({**plain, "price": {"final": {"amount": -1, "currency": "CHF"}}})
    assert caught.value.field == "price.final.amount"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"type": "booking"}, "type"),
        ({"record_id": ""}, "record_id"),
        ({"record_id": 5}, "record_id"),
        ({"colour": "red"}, "colour"),
        ({"charge": {"colour": "red"}}, "charge.colour"),
        ({"total_minor": "much"}, "total_minor"),
        ({"total_minor": 1.5}, "total_minor"),
        ({"charge": {"captured_minor": 2**70}}, "charge.captured_minor"),
        ({"payer_id": 5}, "payer_id"),
        ({"history": [{"state": "WON"}]}, "history[0].state"),
        ({"history": [{"state": "SUCCEEDED", "time": "yesterday"}]}, "history[0].time"),
        ({"refunds": [{"bearer": "NOBODY"}]}, "refunds[0].bearer"),
    ],
)
def test_what_is_wrong_is_said_by_its_field(changes: Record, field: str) -> None:
    with pytest.raises(RecordError) as caught:
        read_record({**PAYMENT, **changes})
    assert caught.value.field == field
    assert caught.value.problem


@pytest.mark.parametrize("line", [b"{", b"[]", b"\xff", b'{"type": "payment"' + b" " * LINE_BYTES_MAX + b"}"])
def test_a_line_that_is_no_object_is_refused(line: bytes) -> None:
    with pytest.raises(RecordError):
        read_line(line)


def test_the_schema_says_what_the_contract_does() -> None:
    schema = json.loads(SCHEMA.read_text())
    kinds = {one["properties"]["type"]["const"]: one for one in (_resolved(schema, each) for each in schema["oneOf"])}
    for kind, said in kinds.items():
        message = ImportRecord.DESCRIPTOR.fields_by_name[kind].message_type
        beside = {"type", "record_id", *(["price"] if kind == "payment" else [])}
        _check(schema, said, message, beside=beside)
    assert set(kinds) == {"payment", "customer", "seller"}


def _check(schema: Any, said: Any, message: Descriptor, *, beside: frozenset[str] | set[str] = frozenset()) -> None:
    assert set(said["properties"]) - beside == set(message.fields_by_name), message.name
    assert said["additionalProperties"] is False
    for name, field in message.fields_by_name.items():
        one = _resolved(schema, said["properties"][name])
        assert one.get("description") or said["properties"][name].get("description"), f"{message.name}.{name}"
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            assert one["type"] == "object"
            continue
        if field.is_repeated:
            assert one["type"] == "array", name
            one = _resolved(schema, one["items"])
        if field.message_type is not None and field.message_type.full_name == "google.protobuf.Timestamp":
            assert (one["type"], one["format"]) == ("string", "date-time"), name
            continue
        assert one["type"] == TYPES[field.type], name
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            _check(schema, one, field.message_type)


def _resolved(schema: Any, one: Any) -> Any:
    while "$ref" in one:
        one = schema["$defs"][one["$ref"].removeprefix("#/$defs/")]
    return one


def test_each_example_of_the_document_is_a_record() -> None:
    examples = [line for line in DOCUMENT.read_text().splitlines() if line.startswith('{"type"')]
    assert {read_line(line.encode()).WhichOneof("record") for line in examples} == {"payment", "customer", "seller"}
