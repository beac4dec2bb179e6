"""The payments of a filter as a CSV file; that it is taken along is written down before it is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC
from typing import Final
from urllib.parse import urlencode

from starlette.responses import Response, StreamingResponse

from batzen.errors import BatzenError
from batzen.status.v1.status_pb2 import ListPaymentsRequest, ListPaymentsResponse, Payment, PaymentFilter
from services.console.amounts import plain
from services.console.desk import Visit
from services.console.operating.blocks import Cell, Column, Row
from services.console.operating.exporting import cut_short, head, lines
from services.console.payments import filters
from services.console.payments.shown import state_name
from services.web.failures import Refusal

PATH: Final = "/payments.csv"
PAGE_SIZE: Final = 200
ROWS_MAX: Final = 10_000
"""Of one export, ~3 MB; who needs more narrows the filter."""
COLUMNS: Final = tuple(
    Column(title=title)
    for title in (
        "Payment",
        "State",
        "Settled",
        "Currency",
        "Total",
        "Captured",
        "Refunded",
        "Payer",
        "Sellers",
        "Bookings",
        "Reference",
        "Opened",
        "Changed",
        "Attention",
    )
)


async def export(visit: Visit) -> Response:
    """Answer with all payments of the filter, the newest first."""
    chosen, wanted = filters.read(visit.request.query_params)
    if chosen.errors:
        field, sentence = next(iter(chosen.errors.items()))
        raise Refusal(400, "FIELD_INVALID", field=field, explanation=sentence)
    first = await _page(visit, wanted, "")
    await visit.audit("export", about=PATH, detail=urlencode({"filter": chosen.address("")}))
    return StreamingResponse(
        _lines(visit, wanted, first),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="payments.csv"'},
    )


def row_of(payment: Payment) -> Row:
    """Return a payment as a line of the file: amounts as numbers, instants in UTC."""
    amounts, currency = payment.snapshot.amounts, payment.total.currency_code
    cells = (
        payment.payment_id,
        state_name(payment.state),
        "yes" if payment.settled else "no",
        currency,
        _figure(payment.total.amount_minor, currency),
        _figure(amounts.captured_minor, currency),
        _figure(amounts.refunded_minor, currency),
        payment.payer_id,
        " ".join(payment.seller_ids),
        " ".join(payment.booking_ids),
        payment.client_reference,
        payment.open_time.ToDatetime(UTC).isoformat(timespec="seconds"),
        payment.update_time.ToDatetime(UTC).isoformat(timespec="seconds"),
        " ".join(one.reason for one in payment.snapshot.attentions),
    )
    return Row(key=payment.payment_id, cells=[Cell(text=text) for text in cells])


def _figure(minor: int, currency_code: str) -> str:
    return plain(minor, currency_code)


async def _page(visit: Visit, wanted: PaymentFilter, token: str) -> ListPaymentsResponse:
    request = ListPaymentsRequest(filter=wanted, page_size=PAGE_SIZE, page_token=token)
    return await visit.calls.status.ListPayments(request, metadata=visit.word)


async def _lines(visit: Visit, wanted: PaymentFilter, page: ListPaymentsResponse) -> AsyncIterator[str]:
    yield head(COLUMNS)
    rows = 0
    while True:
        found: Sequence[Payment] = page.payments
        yield lines(row_of(payment) for payment in found)
        rows += len(found)
        if not page.next_page_token:
            return
        if rows >= ROWS_MAX:
            yield cut_short(rows)
            return
        try:
            page = await _page(visit, wanted, page.next_page_token)
        except BatzenError:
            yield cut_short(rows)  # its head is sent: the file itself has to say that it is not whole
            return
