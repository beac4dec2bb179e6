"""Reconciliations in the contract: what is asked for, read; what was found, written."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from batzen.gateway.v1 import ops_pb2
from batzen.type.v1 import money_pb2
from services.errors import FieldMissing
from services.gateway.reconciliation.position import Span
from services.gateway.reconciliation.run import Run
from services.gateway.reconciliation.store import Found, Tally

PAGE_SIZE_MAX: Final = 1_000

_Response = ops_pb2.GetReconciliationResponse


def span(request: ops_pb2.ReconcileRequest) -> Span:
    """Read the span of a request, in whole seconds. Raises FieldMissing."""
    for name in ("start_time", "end_time"):
        if not request.HasField(name):
            raise FieldMissing(field=name)
    return Span(since=_second(request.start_time), until=_second(request.end_time))


def reconciliation(run: Run, tallies: Sequence[Tally], page: Sequence[Found], token: str) -> _Response:
    """Return a run as it is answered."""
    response = _Response(
        done=run.position is None,
        matched_count=sum(four[0] for found in run.counted.values() for four in found.values()),
        differences=map(_difference, page),
        unexplained=_remainder(run, tallies),
        next_page_token=token,
        day_count=run.span.days,
        days_done=run.span.days if run.position is None else run.position.day,
        step=_step(run),
        sums=[
            _Response.Sum(
                list=stage,
                matched_count=matched,
                matched=money_pb2.Money(amount_minor=matched_minor, currency_code=currency_code),
                in_transit_count=transit,
                in_transit=money_pb2.Money(amount_minor=transit_minor, currency_code=currency_code),
            )
            for stage, found in run.counted.items()
            for currency_code, (matched, matched_minor, transit, transit_minor) in sorted(found.items())
        ],
        counts=_counts(tallies),
        repaired_count=sum(one.repaired_count for one in tallies),
        cut_short=run.cut_short,
        problem=run.problem if run.position is not None else "",
        start_time=_stamp(run.span.since),
        end_time=_stamp(run.span.until),
        repair=run.repairs,
        actor_id=run.actor_id,
        create_time=_stamp(run.create_time),
    )
    if run.finish_time is not None:
        response.finish_time.CopyFrom(_stamp(run.finish_time))
    return response


def _remainder(run: Run, tallies: Sequence[Tally]) -> list[money_pb2.Money]:
    by_currency = dict.fromkeys(run.currencies, 0)
    for one in tallies:
        by_currency[one.currency_code] = by_currency.get(one.currency_code, 0) + one.remainder_minor
    return [
        money_pb2.Money(amount_minor=minor, currency_code=currency_code)
        for currency_code, minor in sorted(by_currency.items())
    ]


def _counts(tallies: Sequence[Tally]) -> list[ops_pb2.GetReconciliationResponse.KindCount]:
    counts: dict[str, int] = {}
    for one in tallies:
        counts[one.kind] = counts.get(one.kind, 0) + one.count
    return [_Response.KindCount(kind=f"KIND_{kind}", count=count) for kind, count in counts.items() if count]


def _difference(found: Found) -> ops_pb2.GetReconciliationResponse.Difference:
    one = found.finding
    return _Response.Difference(
        kind=f"KIND_{one.kind}",
        stripe_id=one.stripe_id,
        payment_id=one.payment_id,
        ours=money_pb2.Money(amount_minor=one.ours_minor, currency_code=one.currency_code),
        theirs=money_pb2.Money(amount_minor=one.theirs_minor, currency_code=one.currency_code),
        repaired=one.repaired,
        list=str(one.stage),
        figure=one.figure,
        detail=one.detail,
        repair_reason=one.repair_reason,
        find_time=_stamp(found.find_time),
    )


def _step(run: Run) -> str:
    if run.position is None:
        return ""
    if run.position.day >= run.span.days:
        return str(run.position.stage)
    return f"{run.span.day(run.position.day).since:%Y-%m-%d} {run.position.stage}"


def _second(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(UTC).replace(microsecond=0)


def _stamp(time: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp
