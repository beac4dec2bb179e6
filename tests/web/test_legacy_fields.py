"""Fields of the contracts under the names of old bodies."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor

from batzen.gateway.v1 import payment_methods_pb2
from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.status.v1 import status_pb2
from services.bff.api.legacy import models
from services.bff.api.legacy.fields import NAMES, old_name

ASKED = (
    pb.StartPaymentRequest,
    pb.SubmitPaymentRequest,
    pb.RefundPaymentRequest,
    pb.GetPaymentSessionRequest,
    status_pb2.ListPaymentsRequest,
    payment_methods_pb2.ListPaymentMethodsRequest,
)
"""What old calls become."""
BODIES = (models.CreateCheckoutSession, models.Confirm, models.Refund, models.Method)


@pytest.mark.parametrize(
    ("path", "old"),
    [
        ("lines[0].unit_amount.amount_minor", "price.final"),
        ("lines[0].seller_id", "coachId"),
        ("booking_ids[0]", "bookingId"),
        ("paymentMethodId", "paymentMethodId"),
        ("price.vat.rate", "price.vat.rate"),
    ],
)
def test_a_field_has_the_name_of_the_old_body(path: str, old: str) -> None:
    assert old_name(path) == old


def test_each_field_is_one_of_a_contract_and_each_name_one_of_a_body() -> None:
    old = {one.alias or name for body in BODIES for name, one in body.model_fields.items()}

    assert [path for path in NAMES if not any(_has(asked.DESCRIPTOR, path) for asked in ASKED)] == []
    assert [name for name in NAMES.values() if name.partition(".")[0] not in old] == []


def _has(message: Descriptor | Any, path: str) -> bool:
    name, _, rest = path.partition(".")
    found = message.fields_by_name.get(name)
    return found is not None and (not rest or _has(found.message_type, rest))
