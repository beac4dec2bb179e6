"""How a charge is split, as messages and as values; a split that does not add up is refused with its field's name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC
from typing import Final

from batzen.gateway.v1 import intents_pb2, refunds_pb2, split_pb2
from batzen.type.v1 import money_pb2
from services.errors import FieldInvalid, FieldMissing
from services.gateway.settlement.domain import DisputeRecovery, SettlementTerms
from services.gateway.settlement.positions import LineStanding
from services.gateway.stripe_api import currencies
from services.shared import fields
from services.shared.amounts import AMOUNT_MINOR_MAX
from services.shared.split import LineAmount, LinePart, Split

LINES_MAX: Final = 1_000
"""As many as a quote has."""

RECOVERIES: Final = {
    split_pb2.DISPUTE_RECOVERY_UNSPECIFIED: DisputeRecovery.NONE,
    split_pb2.DISPUTE_RECOVERY_NONE: DisputeRecovery.NONE,
    split_pb2.DISPUTE_RECOVERY_AT_WITHDRAWAL: DisputeRecovery.AT_WITHDRAWAL,
    split_pb2.DISPUTE_RECOVERY_AT_LOSS: DisputeRecovery.AT_LOSS,
}


def split(parts: Sequence[split_pb2.SellerPart], *, amount: money_pb2.Money) -> Split | None:
    """Read how an amount is split; None where nothing is said of it."""
    if not parts:
        return None
    lines = tuple(
        _line(one, part, at=f"seller_parts[{number}].lines[{place}]")
        for number, part in enumerate(parts)
        for place, one in enumerate(part.lines)
    )
    if not 1 <= len(lines) <= LINES_MAX:
        raise FieldInvalid(field="seller_parts", detail=f"must have 1 to {LINES_MAX} lines")
    if len({line.line_id for line in lines}) != len(lines):
        raise FieldInvalid(field="seller_parts", detail="must have each line once")
    read = Split(lines=lines, step_minor=currencies.limits(amount.currency_code).step_minor)
    for line in lines:
        if line.gross_minor % read.step_minor or line.seller_minor % read.step_minor:
            detail = f"must have amounts that are multiples of {read.step_minor}, also of line {line.line_id}"
            raise FieldInvalid(field="seller_parts", detail=detail)
    if read.total_minor != amount.amount_minor:
        raise FieldInvalid(field="seller_parts", detail=f"must come to the amount, not to {read.total_minor}")
    return read


def destination(request: intents_pb2.CreateIntentRequest, read: Split | None, *, fee_minor: int) -> str:
    """Return whom Stripe transfers to with the charge; empty where we do. Its fee must be what the split says."""
    if read is None:
        return fields.identifier(request.seller_id, field="seller_id")
    kept = read.total_minor - sum(line.seller_minor for line in read.lines if not line.is_platform)
    if not request.seller_id:
        if fee_minor:
            raise FieldInvalid(field="application_fee", detail="must be empty: it is of a destination charge alone")
        return ""
    seller_id = fields.identifier(request.seller_id, field="seller_id")
    if read.seller_ids != (seller_id,) or any(line.is_platform for line in read.lines):
        raise FieldInvalid(field="seller_id", detail="must be the one seller of `seller_parts`")
    if kept != fee_minor:
        raise FieldInvalid(
            field="application_fee.amount_minor", detail=f"must be {kept}, which the platform keeps by `seller_parts`"
        )
    return seller_id


def terms(request: intents_pb2.CreateIntentRequest) -> SettlementTerms:
    """Read on which terms the sellers get their parts."""
    asked = request.settlement_terms
    if asked.dispute_recovery not in RECOVERIES:
        offered = fields.one_of(split_pb2.DisputeRecovery.items(), RECOVERIES)
        raise FieldInvalid(field="settlement_terms.dispute_recovery", detail=offered)
    pay_time = None
    if asked.HasField("pay_time"):
        try:
            pay_time = asked.pay_time.ToDatetime(tzinfo=UTC)
        except (ValueError, OverflowError):
            detail = "must be an instant of the years 1 to 9999"
            raise FieldInvalid(field="settlement_terms.pay_time", detail=detail) from None
    return SettlementTerms(
        pay_time=pay_time,
        dispute_recovery=RECOVERIES[asked.dispute_recovery],
        nets_receivables=asked.nets_receivables,
    )


def line_amounts(asked: Sequence[split_pb2.LineAmount], *, amount_minor: int) -> tuple[LineAmount, ...]:
    """Read what of an amount falls to each line; empty where nothing is said of it."""
    if not asked:
        return ()
    read = []
    for number, one in enumerate(asked):
        if one.amount_minor <= 0:
            raise FieldInvalid(field=f"line_amounts[{number}].amount_minor", detail="must be above 0")
        line_id = fields.identifier(one.line_id, field=f"line_amounts[{number}].line_id")
        read.append(LineAmount(line_id=line_id, amount_minor=one.amount_minor))
    if len({one.line_id for one in read}) != len(read):
        raise FieldInvalid(field="line_amounts", detail="must have each line once")
    if sum(one.amount_minor for one in read) != amount_minor:
        raise FieldInvalid(field="line_amounts", detail="must add up to the amount")
    return tuple(read)


def line_ids(request: refunds_pb2.CreateRefundRequest) -> tuple[str, ...]:
    """Read which lines a refund falls to; empty for all."""
    if request.line_ids and request.line_amounts:
        raise FieldInvalid(field="line_ids", detail="must be empty beside `line_amounts`")
    read = [fields.identifier(one, field=f"line_ids[{number}]") for number, one in enumerate(request.line_ids)]
    return tuple(dict.fromkeys(read))


def standing_to_proto(lines: Iterable[LineStanding]) -> list[split_pb2.LineStanding]:
    """Return what became of lines as messages."""
    return [
        split_pb2.LineStanding(
            line_id=one.line.line_id,
            captured_minor=one.captured_minor,
            standing_minor=one.standing_minor,
            refundable_minor=max(0, one.refundable_minor),
        )
        for one in lines
    ]


def line_amounts_to_proto(amounts: Iterable[LineAmount]) -> list[split_pb2.LineAmount]:
    """Return amounts of lines as messages."""
    return [split_pb2.LineAmount(line_id=one.line_id, amount_minor=one.amount_minor) for one in amounts]


def _line(one: split_pb2.LinePart, part: split_pb2.SellerPart, *, at: str) -> LinePart:
    line = LinePart(
        line_id=fields.identifier(one.line_id, field=f"{at}.line_id"),
        seller_id=fields.identifier(part.seller_id, field=f"{at.partition('.')[0]}.seller_id"),
        gross_minor=one.gross_minor,
        seller_minor=one.seller_minor,
        platform_fee_minor=one.platform_fee_minor,
        fee_vat_minor=one.fee_vat_minor,
        fee_vat_country=one.fee_vat_country,
        platform_vat_minor=one.platform_vat_minor,
        vat_country=one.vat_country,
        vat_minor=one.vat_minor,
        discounts_funded_minor=one.discounts_funded_minor,
        surcharges_minor=one.surcharges_minor,
        rounding_minor=one.rounding_minor,
        is_platform=part.is_platform,
    )
    amounts = (
        line.gross_minor,
        line.seller_minor,
        line.platform_fee_minor,
        line.fee_vat_minor,
        line.platform_vat_minor,
        line.vat_minor,
        line.discounts_funded_minor,
        line.surcharges_minor,
    )
    if min(amounts) < 0 or max(amounts) > AMOUNT_MINOR_MAX:
        raise FieldInvalid(field=at, detail=f"must have amounts of 0 to {AMOUNT_MINOR_MAX}")
    for name, minor, country in (
        ("fee_vat_country", line.fee_vat_minor, line.fee_vat_country),
        ("vat_country", line.platform_vat_minor, line.vat_country),
    ):
        if minor and not country:
            raise FieldMissing(field=f"{at}.{name}")
    if line.gross_minor != _sum(line):
        raise FieldInvalid(field=at, detail="must have amounts that add up to `gross_minor`")
    if line.is_platform and line.platform_fee_minor + line.fee_vat_minor:
        raise FieldInvalid(field=at, detail="must have no fee: the platform takes none of its own goods")
    return line


def _sum(line: LinePart) -> int:
    kept = line.platform_fee_minor + line.fee_vat_minor + line.platform_vat_minor + line.surcharges_minor
    return line.seller_minor + kept + line.rounding_minor - line.discounts_funded_minor
