"""Finding a payment by whatever an operator has: its id, a booking, the caller's reference, any id at Stripe."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from starlette.responses import RedirectResponse, Response

from batzen.orchestrator.v1.orchestrator_pb2 import FindPaymentsRequest
from batzen.status.v1.status_pb2 import Payment
from services.console.desk import Visit
from services.console.payments.table import row_of

CHARACTERS_MAX: Final = 128
_OURS: Final = re.compile(r"pay_[0-9A-Za-z]{26}")
_STRIPES: Final = re.compile(r"(pi|seti|cs|ch|py|re)_[0-9A-Za-z_]+")


async def find(visit: Visit) -> Response:
    """Lead to the one payment that is found, or answer with those there are."""
    wanted = visit.request.query_params.get("q", "").strip()[:CHARACTERS_MAX]
    if _OURS.fullmatch(wanted):
        return RedirectResponse(f"/payments/{wanted}", status_code=303)
    found: dict[str, Payment] = {}
    for request in _questions(wanted):
        answer = await visit.calls.orchestrator.FindPayments(request, metadata=visit.word)
        found |= {payment.payment_id: payment for payment in answer.payments}
    if len(found) == 1:
        return RedirectResponse(f"/payments/{next(iter(found))}", status_code=303)
    values = {"wanted": wanted, "rows": [row_of(payment) for payment in found.values()]}
    return visit.page("payments/found.html", values, here="payments")


def _questions(wanted: str) -> Iterator[FindPaymentsRequest]:
    if not wanted:
        return
    if _STRIPES.fullmatch(wanted):
        yield FindPaymentsRequest(stripe_id=wanted)
        return
    yield FindPaymentsRequest(booking_id=wanted)
    yield FindPaymentsRequest(client_reference=wanted)
