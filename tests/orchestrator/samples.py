"""Requests that the tests of the orchestrator send, and what they read of refusals."""

from __future__ import annotations

import secrets
import string
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import pytest
from google.protobuf.message import Message
from grpc import aio

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.pricing.v1 import price_book_pb2, pricing_pb2
from batzen.type.v1 import money_pb2, payment_pb2
from local.databases import ServiceDatabase
from services.runtime.database.connections import plain_dsn
from services.runtime.process import clock
from tests.eventually import WITHIN_S
from tests.refusals import details_of

SELLER = "seller_1"
PAYER = "payer_1"
TOTAL_MINOR = 10_000
FEE_MINOR = 1_500
RETURN_URL = "https://shop.example/back"
CANCEL_URL = "https://shop.example/cart"

OPENED = ["INITIALIZED", "REQUIRES_PAYMENT_METHOD"]
PAID = [*OPENED, "PROCESSING", "SUCCEEDED"]
KEPT = [*OPENED, "PROCESSING", "SCHEDULED"]
CHARGED = [*KEPT, "PROCESSING", "SUCCEEDED"]

HELD = [*OPENED, "PROCESSING", "AUTHORIZED"]

VISA = "pm_card_visa"
REFUND_FAILS = "pm_card_refundFail"
"""Its refunds succeed, and fail after some days."""
CAPTURED_ONCE = "pm_card_jcb"
"""Of a network whose holds Stripe captures once."""
DECLINED = "pm_card_chargeDeclined"
THREE_D_SECURE = "pm_card_threeDSecure2Required"
BLOCKED = "pm_card_radarBlock"

CONFIRM = "POST /v1/payment_intents/{intent}/confirm"
CREATE = "POST /v1/payment_intents"
CAPTURE = "POST /v1/payment_intents/{intent}/capture"
CANCEL = "POST /v1/payment_intents/{intent}/cancel"
REFUND = "POST /v1/refunds"


@dataclass(slots=True)
class Clock(clock.Clock):
    """The orchestrator's clock and its database's, which tests move ahead, and the others' with it."""

    followers: list[Callable[[float], None]] = field(default_factory=list)
    """Clocks that are moved on by as many seconds."""

    def advance(self, by: timedelta) -> None:
        self.shift += by
        for move in self.followers:
            move(by.total_seconds())


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What a caller learns from a refusal."""

    code: str
    reason: str
    field: str
    metadata: dict[str, str]
    message: str = field(default="", compare=False)


def new_id() -> str:
    return str(uuid.uuid4())


def new_payment_id() -> str:
    # Without digits: many of them in a row pass for a card number now and then, and are refused.
    return f"pay_{''.join(secrets.choice(string.ascii_lowercase) for _ in range(26))}"


def chf(amount_minor: int) -> money_pb2.Money:
    return money_pb2.Money(amount_minor=amount_minor, currency_code="CHF")


def line(**changes: Any) -> pricing_pb2.Line:
    """Return one session of CHF 100.00, VAT included, with some fields changed."""
    fields: dict[str, Any] = {
        "line_id": "session",
        "seller_id": SELLER,
        "kind": price_book_pb2.LINE_KIND_SESSION,
        "quantity": "1",
        "unit_amount": chf(TOTAL_MINOR),
    }
    return pricing_pb2.Line(**(fields | changes))


def start(**changes: Any) -> pb.StartPaymentRequest:
    fields: dict[str, Any] = {
        "request_id": new_id(),
        "payer": pb.Payer(payer_id=PAYER, email="pia@example.ch", name="Pia Payer", locale="de-CH"),
        "lines": [line()],
        "session_type": "lesson",
        "session_name": "Skiing for two",
        "return_url": RETURN_URL,
        "collection": pb.COLLECTION_ELEMENTS,
    }
    return pb.StartPaymentRequest(**(fields | changes))


def submit(payment_id: str, card: str = VISA, **changes: Any) -> pb.SubmitPaymentRequest:
    fields: dict[str, Any] = {"request_id": new_id(), "payment_id": payment_id, "payment_method_id": card}
    return pb.SubmitPaymentRequest(**(fields | changes))


def cancel(payment_id: str, **changes: Any) -> pb.CancelPaymentRequest:
    return pb.CancelPaymentRequest(**({"request_id": new_id(), "payment_id": payment_id} | changes))


def page(**changes: Any) -> pb.StartPaymentRequest:
    """Return the start of a payment that is collected on a hosted page."""
    return start(**({"collection": pb.COLLECTION_CHECKOUT, "cancel_url": CANCEL_URL} | changes))


def scheduled(charge_time: datetime | None = None, **changes: Any) -> pb.StartPaymentRequest:
    """Return the start of a payment that is charged later."""
    request = start(timing=pb.TIMING_SCHEDULED, **changes)
    if charge_time is not None:
        request.charge_time.FromDatetime(charge_time)
    return request


def reschedule(payment_id: str, charge_time: datetime | None = None, **changes: Any) -> pb.ReschedulePaymentRequest:
    request = pb.ReschedulePaymentRequest(**({"request_id": new_id(), "payment_id": payment_id} | changes))
    if charge_time is not None:
        request.charge_time.FromDatetime(charge_time)
    return request


def hold(**changes: Any) -> pb.StartPaymentRequest:
    """Return the start of a payment whose money is held until it is captured."""
    return start(**({"timing": pb.TIMING_MANUAL_CAPTURE} | changes))


def capture(payment_id: str, amount_minor: int | None = None, **changes: Any) -> pb.CapturePaymentRequest:
    """Return the capture of so much, or of all that is held."""
    fields: dict[str, Any] = {"request_id": new_id(), "payment_id": payment_id, "actor_id": "clerk_1"}
    if amount_minor is not None:
        fields["amount"] = chf(amount_minor)
    return pb.CapturePaymentRequest(**(fields | changes))


def preserve(payment_id: str, **changes: Any) -> pb.PreservePaymentRequest:
    return pb.PreservePaymentRequest(**({"request_id": new_id(), "payment_id": payment_id} | changes))


def resume(payment_id: str, **changes: Any) -> pb.ResumePaymentRequest:
    return pb.ResumePaymentRequest(**({"request_id": new_id(), "payment_id": payment_id} | changes))


def retry(payment_id: str, **changes: Any) -> pb.RetryPaymentRequest:
    return pb.RetryPaymentRequest(**({"request_id": new_id(), "payment_id": payment_id} | changes))


def refund(payment_id: str, amount_minor: int = TOTAL_MINOR, **changes: Any) -> pb.RefundPaymentRequest:
    fields: dict[str, Any] = {
        "request_id": new_id(),
        "payment_id": payment_id,
        "amount": chf(amount_minor),
        "expected_refundable": chf(TOTAL_MINOR),
        "actor_id": "clerk_1",
    }
    return pb.RefundPaymentRequest(**(fields | changes))


def without(message: Any, name: str) -> Any:
    """Return the request without a field."""
    message.ClearField(name)
    return message


def state_of(payment: Any) -> str:
    return payment_pb2.PaymentState.Name(payment.state).removeprefix("PAYMENT_STATE_")


async def refused_before_its_end(call: Callable[[float], Awaitable[Message]]) -> Refusal:
    """Return what a caller with little time learns in it: on a busy machine not the first, but one that has more."""
    for timeout_s in (0.4, 1.0, 4.0, 15.0, WITHIN_S):
        refusal = await refused(call(timeout_s))
        if refusal.code != "DEADLINE_EXCEEDED":
            break
    return refusal


async def refused(call: Awaitable[Message]) -> Refusal:
    """Return what the caller of a call that must be refused learns."""
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    error = caught.value
    details = details_of(error)
    return Refusal(
        code=error.code().name,
        reason=details.reason,
        field=details.field,
        metadata=details.metadata,
        message=error.details() or "",
    )


async def update(database: ServiceDatabase, payment_id: str, assignment: str) -> None:
    """Change what the orchestrator keeps of a payment, behind its back."""
    connection = await asyncpg.connect(plain_dsn(database.owner_url))
    try:
        await connection.execute(f"UPDATE payments SET {assignment} WHERE payment_id = $1", payment_id)
    finally:
        await connection.close()


async def starting(database: ServiceDatabase) -> list[str]:
    """Return the payments whose start is not done and will be carried on."""
    connection = await asyncpg.connect(plain_dsn(database.owner_url))
    try:
        rows = await connection.fetch(
            "SELECT payment_id FROM payments WHERE stage = 'STARTING' AND due_time IS NOT NULL"
        )
    finally:
        await connection.close()
    return [row["payment_id"] for row in rows]
