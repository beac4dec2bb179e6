"""Which actions a payment's page offers. Pure, and a courtesy alone: whether one is done is the service's to say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from batzen.status.v1.status_pb2 import Payment
from batzen.type.v1 import payment_pb2
from batzen.type.v1.payment_pb2 import PaymentSnapshot

BEFORE_MONEY: Final = frozenset(
    {
        payment_pb2.PAYMENT_STATE_INITIALIZED,
        payment_pb2.PAYMENT_STATE_REQUIRES_PAYMENT_METHOD,
        payment_pb2.PAYMENT_STATE_SCHEDULED,
        payment_pb2.PAYMENT_STATE_PROCESSING,
        payment_pb2.PAYMENT_STATE_REQUIRES_ACTION,
        payment_pb2.PAYMENT_STATE_AUTHORIZED,
    }
)
"""Collections that may be cancelled."""
TO_TRY: Final = frozenset({payment_pb2.PAYMENT_STATE_REQUIRES_PAYMENT_METHOD, payment_pb2.PAYMENT_STATE_SCHEDULED})
"""Collections of which another try may be made."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A button that leads to an action's form."""

    key: str
    label: str
    tone: str
    """Of the button: empty for the main one, `quiet`, or `danger`."""


def refundable(amounts: PaymentSnapshot.Amounts) -> int:
    """Return what of a payment may still go back, as status has it; the preview says what the services have."""
    return amounts.captured_minor - amounts.refunded_minor - amounts.refund_pending_minor


def offers_of(payment: Payment) -> Iterator[Offer]:
    """Yield what is offered, the likeliest first."""
    snapshot = payment.snapshot
    if snapshot.amounts.capturable_minor > 0:
        yield Offer("capture", "Capture", "")
    if refundable(snapshot.amounts) > 0:
        yield Offer("refund", "Refund", "quiet")
    if snapshot.collection in TO_TRY:
        yield Offer("retry", "Try again", "quiet")
    if snapshot.attentions or not payment.settled:
        yield Offer("resolve", "Resolve", "quiet")
    if snapshot.collection in BEFORE_MONEY:
        yield Offer("cancel", "Cancel", "quiet")
