"""The table of payments: newest first, filtered by what the address says, a page after the other, and live."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from starlette.responses import Response

from batzen.errors import by_reason
from batzen.status.v1.status_pb2 import ListPaymentsRequest, Payment
from services.console.amounts import sum_of, written
from services.console.desk import Visit
from services.console.payments import filters
from services.console.payments.filters import Filters
from services.console.payments.shown import Badge, Moment, moment, state_of, words

PATH: Final = "/payments"
LIVE: Final = "/payments/live"
PAGE_SIZE: Final = 50
CHOICES: Final = {"states": filters.STATES, "chips": filters.CHIPS}
"""What the filter offers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One payment in the table."""

    payment_id: str
    revision: int
    state: Badge
    total: str
    moved: str
    """What was taken, or went back, where the total does not say it; else empty."""
    method: str
    payer_id: str
    opened: Moment
    attention: Sequence[str]
    """Why it needs an operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One page of the table."""

    filters: Filters
    rows: Sequence[Row]
    next: str
    """The address of the next page; empty if this is the last."""
    first: str
    """The address of the first page; empty if this is it."""
    here: str
    """The address of the first page of this filter."""
    csv: str
    """The address of all of it as a file; empty where there is nothing."""
    live: str
    """The address of what happens from here on; empty where this page does not follow it."""


def row_of(payment: Payment) -> Row:
    """Return a payment as a row."""
    return Row(
        payment_id=payment.payment_id,
        revision=payment.revision,
        state=state_of(payment),
        total=sum_of(payment.total),
        moved=_moved(payment),
        method=method_of(payment),
        payer_id=payment.payer_id,
        opened=moment(payment.open_time),
        attention=[words(one.reason) for one in payment.snapshot.attentions],
    )


def method_of(payment: Payment) -> str:
    """Return what is paid with: `Visa •••• 4242`, `Twint`, or nothing."""
    method = payment.snapshot.method
    name = words(method.brand or method.type)
    return f"{name} •••• {method.last4}" if method.last4 else name


def _moved(payment: Payment) -> str:
    amounts, currency = payment.snapshot.amounts, payment.total.currency_code
    if amounts.disputed_open_minor:
        return f"{written(amounts.disputed_open_minor, currency)} disputed"
    if amounts.refunded_minor or amounts.refund_pending_minor:
        return f"{written(amounts.refunded_minor + amounts.refund_pending_minor, currency)} back"
    if amounts.capturable_minor:
        return f"{written(amounts.capturable_minor, currency)} held"
    if amounts.captured_minor and amounts.captured_minor != payment.total.amount_minor:
        return f"{written(amounts.captured_minor, currency)} taken"
    return ""


async def show(visit: Visit) -> Response:
    """Answer with a page of the table."""
    params = visit.request.query_params
    chosen, wanted = filters.read(params)
    if chosen.errors:
        return _answer(
            visit, Table(filters=chosen, rows=(), next="", first="", here="", csv="", live=""), status_code=400
        )
    token = params.get("page", "")
    request = ListPaymentsRequest(filter=wanted, page_size=PAGE_SIZE, page_token=token)
    try:
        answer = await visit.calls.status.ListPayments(request, metadata=visit.word)
    except by_reason["PAGE_TOKEN_INVALID"]:  # of other filters, or of a release before this one: begin anew
        token = ""
        request.page_token = ""
        answer = await visit.calls.status.ListPayments(request, metadata=visit.word)
    return _answer(
        visit,
        Table(
            filters=chosen,
            rows=[row_of(payment) for payment in answer.payments],
            next=chosen.address(PATH, page=answer.next_page_token) if answer.next_page_token else "",
            first=chosen.address(PATH) if token else "",
            here=chosen.address(PATH),
            csv=chosen.address(f"{PATH}.csv") if answer.payments else "",
            live="" if token else chosen.address(LIVE, after=answer.cursor),
        ),
    )


def _answer(visit: Visit, table: Table, *, status_code: int = 200) -> Response:
    return visit.page("payments/table.html", {"table": table, **CHOICES}, here="payments", status_code=status_code)
