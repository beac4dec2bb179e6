"""One payment's page: all that the services know of it, side by side. What one of them does not say is named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from starlette.responses import Response

from batzen.status.v1.status_pb2 import GetPaymentRequest, Payment
from services.console.amounts import sum_of
from services.console.desk import Visit
from services.console.payments import parts, timeline
from services.console.payments.offers import Offer, offers_of
from services.console.payments.parts import AttemptRow, Booking, Record
from services.console.payments.reading import Known, Missing, Reading
from services.console.payments.shown import Badge, state_of, words
from services.console.payments.table import method_of
from services.console.payments.timeline import Entry
from services.console.payments.verdict import Verdict, verdict_of

VIEWED: Final = "payment.viewed"
ASKED: Final = {
    "capture": "The capture was taken on.",
    "refund": "The refund was taken on.",
    "cancel": "The payment is being cancelled.",
    "retry": "It is being tried again.",
    "resolve": "Your decision was taken on.",
    "accept-dispute": "The dispute is given up.",
}
"""What is said right after an action; how the payment stands says the rest."""
DASHBOARD: Final = "https://dashboard.stripe.com"
"""Stripe leads an operator to the account and mode of an object by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """The page."""

    payment_id: str
    revision: int
    state: Badge
    settled: bool
    reason: str
    total: str
    method: str
    error: str
    attentions: Sequence[tuple[str, str]]
    amounts: Sequence[tuple[str, str]]
    facts: Sequence[tuple[str, str]]
    offers: Sequence[Offer]
    timeline: Sequence[Entry]
    attempts: Sequence[AttemptRow]
    bookings: Sequence[Booking]
    records: Sequence[Record]
    verdict: Verdict | None
    missing: Sequence[Missing]
    dashboard: str
    """Where Stripe shows an intent, before its id."""


async def show(visit: Visit) -> Response:
    """Answer with the page of one payment; who looks at it is written down first."""
    payment_id: str = visit.request.path_params["payment_id"]
    answer = await visit.calls.status.GetPayment(GetPaymentRequest(payment_id=payment_id), metadata=visit.word)
    await visit.audit(VIEWED, about=payment_id)
    with_stripe = visit.request.query_params.get("stripe") == "1"
    known = await Reading(visit, payment_id).all(with_stripe=with_stripe)
    sheet = sheet_of(answer.payment, known, may_act=visit.may_act, with_stripe=with_stripe)
    asked = ASKED.get(visit.request.query_params.get("asked", ""), "")
    return visit.page("payments/page.html", {"sheet": sheet, "asked": asked}, here="payments")


def sheet_of(payment: Payment, known: Known, *, may_act: bool, with_stripe: bool) -> Sheet:
    """Return all of it as it is shown. Pure."""
    snapshot, gateway, orchestrator = payment.snapshot, known.gateway, known.orchestrator
    error, diagnosis = snapshot.last_error, orchestrator.diagnosis
    return Sheet(
        payment_id=payment.payment_id,
        revision=payment.revision,
        state=state_of(payment),
        settled=payment.settled,
        reason=words(snapshot.reason),
        total=sum_of(payment.total),
        method=method_of(payment),
        error=f"{error.message} ({error.decline_code or error.code})" if error.code else "",
        attentions=[(words(one.reason), one.detail) for one in snapshot.attentions],
        amounts=list(parts.amounts_of(payment)),
        facts=[(name, text) for name, text in parts.facts_of(payment, orchestrator.plan) if text],
        offers=list(offers_of(payment)) if may_act else [],
        timeline=timeline.in_order(
            timeline.of_history(known.history.transitions, payment.total.currency_code),
            timeline.of_calls(gateway.attempts.calls),
            timeline.of_events(gateway.events.events),
            timeline.of_ledger(gateway.ledger.entries),
            timeline.of_mails(orchestrator.mails.mails),
            timeline.of_deliveries(orchestrator.deliveries.deliveries),
            timeline.of_operators(known.actions.orchestrator.actions, known.actions.gateway.actions),
        ),
        attempts=list(parts.attempts_of(gateway.attempts.attempts)),
        bookings=list(parts.bookings_of(gateway.ledger.entries)),
        records=[
            *parts.refunds_of(gateway.refunds.refunds),
            *parts.transfers_of(gateway.transfers.transfers),
            *parts.disputes_of(gateway.disputes.disputes),
        ],
        verdict=verdict_of(diagnosis.diagnosis, with_stripe=with_stripe) if diagnosis.HasField("diagnosis") else None,
        missing=known.missing,
        dashboard=DASHBOARD,
    )
