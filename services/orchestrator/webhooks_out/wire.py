"""What webhooks say of a payment, read from status's message as a fact keeps it."""

from __future__ import annotations

from collections.abc import Mapping

from google.protobuf.json_format import MessageToDict

from batzen.status.v1 import status_pb2
from batzen.type.v1 import payment_pb2
from services import wire
from services.orchestrator.webhooks_out.payload import LegacyPayment
from services.shared.states import State


def payment_json(stored: bytes) -> Mapping[str, object]:
    """Return the payment in the JSON of Protocol Buffers, under the contract's names, what is zero or empty too."""
    message = status_pb2.Payment.FromString(stored)
    whole: dict[str, object] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return whole


def legacy_payment(stored: bytes) -> LegacyPayment:
    """Return what the old form says of the payment."""
    message = status_pb2.Payment.FromString(stored)
    name = payment_pb2.PaymentState.Name(message.snapshot.collection)
    return LegacyPayment(
        booking_ids=tuple(message.booking_ids),
        attempt=message.snapshot.attempt,
        collection=State(name.removeprefix("PAYMENT_STATE_")),
        captured_minor=message.snapshot.amounts.captured_minor,
        currency_code=message.total.currency_code,
        complete_time=wire.instant(message, "complete_time"),
    )
