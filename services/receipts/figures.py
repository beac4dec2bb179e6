"""What a receipt adds up: what went back and when, what is left, and the VAT in it. Pure; amounts are minor units.

The page, the mail and REST say the same since each is written of these.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import pairwise

from batzen.pricing.v1 import pricing_pb2 as pricing
from batzen.status.v1.status_pb2 import Payment, Transition
from batzen.type.v1.payment_pb2 import PaymentSnapshot

Moment = tuple[PaymentSnapshot.Amounts, datetime]


class ReturnKind(StrEnum):
    """Why money went back, or turned out not to have."""

    REFUNDED = "REFUNDED"
    REFUND_FAILED = "REFUND_FAILED"
    DISPUTE_LOST = "DISPUTE_LOST"
    DISPUTE_WON = "DISPUTE_WON"


@dataclass(frozen=True, slots=True, kw_only=True)
class Return:
    """Once that money went back, or turned out not to have."""

    kind: ReturnKind
    amount_minor: int
    """Below 0 where money went to the payer: with the amount taken they add up to what is left."""
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Vat:
    """The VAT of one rate."""

    row: pricing.QuoteRow
    """Where the quote says it of the whole price."""
    net_minor: int
    vat_minor: int


def receipt_time(payment: Payment) -> datetime:
    """Return the time that a receipt is of."""
    return (payment.complete_time if payment.HasField("complete_time") else payment.update_time).ToDatetime(UTC)


def left_minor(payment: Payment) -> int:
    """Return what was taken and did not go back."""
    amounts = payment.snapshot.amounts
    return amounts.captured_minor - amounts.refunded_minor - amounts.disputed_lost_minor


def returns(payment: Payment, history: Iterable[Transition]) -> Iterator[Return]:
    """Yield each time that money went back, or that it turned out not to have.

    With the amount taken they add up to what is left: what a history lacks, because its start was forgotten or it is
    long, is told as of the payment's last revision.
    """
    moments: list[Moment] = [(PaymentSnapshot.Amounts(), payment.open_time.ToDatetime(UTC))]
    moments += [
        (one.snapshot.amounts, one.record_time.ToDatetime(UTC)) for one in history if one.revision <= payment.revision
    ]
    moments.append((payment.snapshot.amounts, payment.update_time.ToDatetime(UTC)))
    for (before, _), (now, time) in pairwise(moments):
        for gone_minor, gone, undone in (
            (now.refunded_minor - before.refunded_minor, ReturnKind.REFUNDED, ReturnKind.REFUND_FAILED),
            (now.disputed_lost_minor - before.disputed_lost_minor, ReturnKind.DISPUTE_LOST, ReturnKind.DISPUTE_WON),
        ):
            if gone_minor:
                yield Return(kind=gone if gone_minor > 0 else undone, amount_minor=-gone_minor, time=time)


def vat_of(quote: pricing.Quote, *, part_minor: int) -> list[Vat] | None:
    """Return the VAT of each rate in a part of the price, with the net amount that it is of; None if nobody can tell.

    The quote says it of the whole price. A part is divided only where one rate is that of all of it: which lines a part
    is of is known to nobody here.
    """
    rows = [row for row in quote.rows if row.kind == pricing.ROW_KIND_VAT and row.payer_facing]
    if not rows or part_minor <= 0:
        return []
    if part_minor == quote.total.amount_minor:
        return [Vat(row=row, net_minor=_net_minor(quote, row), vat_minor=row.amount_minor) for row in rows]
    [row, *further] = rows
    if further or _net_minor(quote, row) + row.amount_minor != quote.total.amount_minor:
        return None
    vat_minor = _share(row.amount_minor, of=quote.total.amount_minor, part=part_minor)
    return [Vat(row=row, net_minor=part_minor - vat_minor, vat_minor=vat_minor)]


def _net_minor(quote: pricing.Quote, row: pricing.QuoteRow) -> int:
    return sum(line.net_minor for line in quote.lines if _is_of(line, row))


def _share(minor: int, *, of: int, part: int) -> int:
    """Return `minor` × `part` ÷ `of`, none negative, rounded half up."""
    return (2 * minor * part + of) // (2 * of)


def _is_of(line: pricing.QuoteLine, row: pricing.QuoteRow) -> bool:
    tax = line.tax
    return (tax.country, tax.tax_category, tax.rate_percent, tax.tax_behavior, tax.tax_treatment) == (
        row.country,
        row.tax_category,
        row.rate_percent,
        row.tax_behavior,
        row.tax_treatment,
    )
