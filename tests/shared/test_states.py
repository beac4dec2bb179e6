"""The words of a payment's state are those of the contracts."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

import pytest
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

from batzen.gateway.v1 import observation_pb2
from batzen.status.v1 import status_pb2
from batzen.type.v1 import payment_pb2
from services.shared.states import AttentionReason, Cause, IntentState, Phase, State

PAYMENT_PROTO = Path(__file__).parents[2] / "protos/batzen/type/v1/payment.proto"


@pytest.mark.parametrize(
    ("words", "enum", "prefix"),
    [
        (State, payment_pb2.PaymentState, "PAYMENT_STATE_"),
        (Phase, status_pb2.Phase, "PHASE_"),
        (Cause, payment_pb2.PaymentSnapshot.Cause, "CAUSE_"),
        (IntentState, observation_pb2.IntentState, "INTENT_STATE_"),
    ],
)
def test_words_are_the_values_of_the_contract_in_its_order(
    words: type[StrEnum], enum: EnumTypeWrapper, prefix: str
) -> None:
    assert [f"{prefix}{word}" for word in words] == [name for name, number in enum.items() if number]
    assert all(word.name == word.value for word in words)


def test_the_contract_names_every_reason_for_attention() -> None:
    contract = PAYMENT_PROTO.read_text()
    assert [reason for reason in AttentionReason if f"`{reason}`" not in contract] == []
