"""Transfers as messages."""

from __future__ import annotations

from batzen.gateway.v1 import transfers_pb2
from batzen.type.v1 import money_pb2
from services.errors import FieldInvalid
from services.gateway.settlement.domain import MovementState
from services.gateway.settlement.listing import ListedTransfer
from services.gateway.settlement.moves import wait_of
from services.gateway.wire.responses import money, timestamp


def amount(asked: money_pb2.Money, *, currency_code: str) -> int:
    """Read an amount of a payment, above zero and in its currency."""
    if asked.amount_minor <= 0:
        raise FieldInvalid(field="amount.amount_minor", detail="must be above 0")
    if asked.currency_code != currency_code:
        raise FieldInvalid(field="amount.currency_code", detail=f"must be {currency_code}, as the payment is")
    return asked.amount_minor


def to_proto(listed: ListedTransfer) -> transfers_pb2.Transfer:
    """Return the message of a transfer."""
    transfer = listed.transfer
    return transfers_pb2.Transfer(
        transfer_id=transfer.movement_id,
        stripe_transfer_id=transfer.stripe_id,
        payment_id=listed.payment_id,
        seller_id=transfer.seller_id,
        amount=money(transfer.charge_minor, listed.currency_code),
        reversed=money(listed.reversed_minor, listed.currency_code),
        create_time=timestamp(transfer.create_time),
        state=f"STATE_{transfer.state}",
        origin=f"ORIGIN_{transfer.origin}",
        settled_amount=money(transfer.amount_minor, transfer.currency_code),
        waits_for=wait_of(transfer) if transfer.state is MovementState.REFUSED else "",
        attempt=transfer.attempt,
        actor_id=transfer.actor_id,
    )
