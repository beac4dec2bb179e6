"""Reads of which lines a refund is; what the payment does not have is refused with the field's name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from services.errors import FieldInvalid, FieldMissing
from services.orchestrator.domain.refund import Bearer
from services.shared import fields
from services.shared.amounts import AMOUNT_MINOR_MAX
from services.shared.split import LineAmount, Split

Refunding = pb.RefundPaymentRequest | pb.PreviewRefundRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class OfLines:
    """Of which lines a refund is."""

    line_ids: tuple[str, ...]
    """It falls to these; all of the payment's where none is named."""
    amounts: tuple[LineAmount, ...] = ()
    """What of each, where that is said."""

    @property
    def amount_minor(self) -> int:
        """What the amounts of lines come to."""
        return sum(one.amount_minor for one in self.amounts)


def check_lines(request: Refunding) -> None:
    """Refuse what does not go together, whatever the payment."""
    fields.identifier(request.seller_id, field="seller_id") if request.seller_id else None
    if request.line_amounts and request.seller_id:
        raise FieldInvalid(field="seller_id", detail="must be empty beside `line_amounts`")
    for place, one in enumerate(request.line_amounts):
        fields.identifier(one.line_id, field=f"line_amounts[{place}].line_id")
        if not 0 < one.amount_minor <= AMOUNT_MINOR_MAX:
            raise FieldInvalid(field=f"line_amounts[{place}].amount_minor", detail=f"must be 1 to {AMOUNT_MINOR_MAX}")
    if len({one.line_id for one in request.line_amounts}) != len(request.line_amounts):
        raise FieldInvalid(field="line_amounts", detail="must have each line once")
    of_lines_minor = sum(one.amount_minor for one in request.line_amounts)
    if request.line_amounts and request.HasField("amount") and request.amount.amount_minor != of_lines_minor:
        raise FieldInvalid(field="line_amounts", detail="must add up to the amount")


def check_amount(request: pb.RefundPaymentRequest) -> None:
    """Refuse a refund of a seller that says not how much: what is left may change before it is made."""
    if request.seller_id and not request.HasField("amount"):
        raise FieldMissing(field="amount")


def of_lines(request: Refunding, split: Split) -> OfLines:
    """Return of which lines of a payment a refund is."""
    own: Sequence[str] = [line.line_id for line in split.lines]
    if request.seller_id:
        own = [line.line_id for line in split.lines if line.seller_id == request.seller_id]
        if not own:
            raise FieldInvalid(field="seller_id", detail="must be a seller of the payment's lines")
    for place, one in enumerate(request.line_amounts):
        if one.line_id not in own:
            raise FieldInvalid(field=f"line_amounts[{place}].line_id", detail="must be a line of the payment")
    amounts = [LineAmount(line_id=one.line_id, amount_minor=one.amount_minor) for one in request.line_amounts]
    return OfLines(line_ids=tuple(own), amounts=tuple(amounts))


def bearer(request: Refunding) -> Bearer:
    """Return at whose cost money goes back."""
    if request.keep_seller_part:
        return Bearer.PLATFORM
    return Bearer.SELLER if request.keep_platform_fee else Bearer.SHARED
