"""Figures on the wire: what is asked for, read; what was added up, written."""

from __future__ import annotations

import re
from datetime import date
from typing import Final

from batzen.orchestrator.v1 import ops_pb2 as pb
from services.errors import FieldInvalid, FieldMissing
from services.orchestrator.figures.domain import Dimension, Figure, Row
from services.orchestrator.figures.store import Wanted
from services.shared import fields

DAYS_MAX: Final = 366
"""A year: what a person compares, and some ten thousand numbers."""
_METHOD_TYPE: Final = re.compile(r"[a-z0-9_]{1,64}")
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")

_BY: Final = {
    pb.GetPaymentFiguresRequest.BY_UNSPECIFIED: Dimension.ALL,
    pb.GetPaymentFiguresRequest.BY_DAY: Dimension.ALL,
    pb.GetPaymentFiguresRequest.BY_SELLER: Dimension.SELLER,
    pb.GetPaymentFiguresRequest.BY_METHOD: Dimension.METHOD,
}


def wanted_figures(request: pb.GetPaymentFiguresRequest) -> Wanted:
    """Read which figures."""
    start, end = _day(request.start_date, field="start_date"), _day(request.end_date, field="end_date")
    if end < start:
        raise FieldInvalid(field="end_date", detail="must not be before `start_date`")
    if (end - start).days >= DAYS_MAX:
        raise FieldInvalid(field="end_date", detail=f"must be at most {DAYS_MAX} days after `start_date`")
    if request.by not in _BY:
        raise FieldInvalid(field="by", detail=fields.one_of(pb.GetPaymentFiguresRequest.By.items(), _BY))
    by, dimension, subject = _BY[request.by], Dimension.ALL, ""
    if request.seller_id:
        dimension, subject = Dimension.SELLER, fields.reference(request.seller_id, field="seller_id")
    if request.method_type:
        if request.seller_id:
            raise FieldInvalid(field="method_type", detail="must be empty beside `seller_id`")
        if not _METHOD_TYPE.fullmatch(request.method_type):
            raise FieldInvalid(field="method_type", detail="must be a type of payment method, such as card")
        dimension, subject = Dimension.METHOD, request.method_type
    if subject and by is not Dimension.ALL:
        raise FieldInvalid(field="by", detail="must be by day: of one seller or method there are no other rows")
    return Wanted(
        by=by,
        dimension=dimension if by is Dimension.ALL else by,
        subject=subject,
        start=start,
        end=end,
        currency_code=fields.currency(request.currency_code, field="currency_code"),
    )


def figures_to_proto(row: Row, wanted: Wanted) -> pb.PaymentFigures:
    """Return the message of a row."""
    subject, took = wanted.subject or row.subject, row.time_to_pay
    return pb.PaymentFigures(
        date="" if row.day is None else row.day.isoformat(),
        seller_id=subject if wanted.dimension is Dimension.SELLER else "",
        method_type=subject if wanted.dimension is Dimension.METHOD else "",
        currency_code=row.currency_code,
        started_count=row.of(Figure.STARTED),
        converted_count=row.of(Figure.CONVERTED),
        paid_count=row.of(Figure.PAID),
        revenue_minor=row.of(Figure.REVENUE),
        refunded_minor=row.of(Figure.REFUNDED),
        declined_count=sum(count for _, count in row.declines),
        declines=[pb.PaymentFigures.DeclineCount(code=code, count=count) for code, count in row.declines],
        time_to_pay=pb.PaymentFigures.TimeToPay(
            count=took.count,
            sum_s=took.sum_s,
            buckets=[pb.PaymentFigures.Bucket(bound_s=bound_s, count=count) for bound_s, count in took.buckets],
            median_s=took.at_share(50),
            p90_s=took.at_share(90),
        ),
    )


def _day(value: str, *, field: str) -> date:
    if not value:
        raise FieldMissing(field=field)
    try:
        if not _DAY.fullmatch(value):
            raise ValueError
        return date.fromisoformat(value)
    except ValueError:
        raise FieldInvalid(field=field, detail="must be a day, YYYY-MM-DD") from None
