"""Payments and snapshots to test with."""

from __future__ import annotations

import random
import string
import uuid
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from grpc import aio

from batzen.status.v1 import status_pb2 as pb
from batzen.type.v1 import money_pb2, payment_pb2
from services.shared.states import Cause, State
from services.status.domain.snapshot import Snapshot
from tests.refusals import details_of

NOW = datetime(2026, 11, 20, 12, 0, 0, 123_456, tzinfo=UTC)
TOTAL_MINOR = 12_000


def new_payment_id() -> str:
    return "pay_" + "".join(random.choices(string.ascii_lowercase + string.digits, k=26))


def new_request_id() -> str:
    return str(uuid.uuid4())


def open_request(**fields: Any) -> pb.OpenPaymentRequest:
    """A request to open a payment of payer_1 with a line of seller_1; `fields` replace ours."""
    ours: dict[str, Any] = {
        "request_id": new_request_id(),
        "payment_id": new_payment_id(),
        "payer_id": "payer_1",
        "seller_ids": ["seller_1"],
        "booking_ids": ["booking_1"],
        "client_reference": "order 7",
        "quote_id": "quote_1",
        "total": money_pb2.Money(amount_minor=TOTAL_MINOR, currency_code="CHF"),
        "labels": {"channel": "web"},
    }
    return pb.OpenPaymentRequest(**(ours | fields))


def money(amount_minor: int, currency_code: str = "CHF") -> money_pb2.Money:
    return money_pb2.Money(amount_minor=amount_minor, currency_code=currency_code)


def attentions(*reasons: str) -> list[payment_pb2.PaymentSnapshot.Attention]:
    """What needs an operator, for these reasons."""
    return [payment_pb2.PaymentSnapshot.Attention(reason=reason, detail="Look at it.") for reason in reasons]


def list_request(*, page_size: int = 0, page_token: str = "", **wanted: Any) -> pb.ListPaymentsRequest:
    """A request to list the payments that match the filter `wanted`."""
    return pb.ListPaymentsRequest(filter=pb.PaymentFilter(**wanted), page_size=page_size, page_token=page_token)


def snapshot(collection: str = "REQUIRES_PAYMENT_METHOD", *, cause: str = "STEP", **fields: Any) -> Any:
    """A snapshot message; amounts by their names without `_minor`."""
    amounts = {
        f"{name}_minor": fields.pop(name)
        for name in (
            "authorized",
            "capturable",
            "captured",
            "refund_pending",
            "refunded",
            "disputed_open",
            "disputed_lost",
            "surplus",
        )
        if name in fields
    }
    return payment_pb2.PaymentSnapshot(
        collection=f"PAYMENT_STATE_{collection}",
        cause=f"CAUSE_{cause}",
        amounts=payment_pb2.PaymentSnapshot.Amounts(**amounts),
        **fields,
    )


def succeeded(**fields: Any) -> Any:
    return snapshot("SUCCEEDED", **({"authorized": TOTAL_MINOR, "captured": TOTAL_MINOR} | fields))


def record_request(payment_id: str, *, expected: int, to: Any, request_id: str | None = None) -> Any:
    return pb.RecordTransitionRequest(
        request_id=request_id or new_request_id(), payment_id=payment_id, expected_revision=expected, snapshot=to
    )


def rules_snapshot(collection: State = State.SUCCEEDED, **fields: Any) -> Snapshot:
    """A snapshot as the rules know it."""
    return Snapshot(collection=collection, cause=Cause.STEP, **fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What a caller is told."""

    code: str
    reason: str | None
    field: str | None
    metadata: dict[str, str]


def refusal_of(error: aio.AioRpcError) -> Refusal:
    """Read a refusal as a caller would."""
    details = details_of(error)
    return Refusal(
        code=error.code().name,
        reason=details.reason or None,
        field=details.field or None,
        metadata=details.metadata,
    )


async def refused(call: Awaitable[Any]) -> Refusal:
    """Return the refusal of a call that must be refused."""
    with pytest.raises(aio.AioRpcError) as error:
        await call
    return refusal_of(error.value)
