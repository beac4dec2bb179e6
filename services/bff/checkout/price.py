"""What a payment is of and what it costs, from its quote."""

from __future__ import annotations

from batzen.orchestrator.v1.orchestrator_pb2 import PaymentSession
from services.bff.checkout.model import Order
from services.bff.checkout.wording import Wording
from services.receipts.rows import rows_of, total_of


def order_of(session: PaymentSession, words: Wording) -> Order | None:
    """Return what is paid for; None of a payment without a quote."""
    quote = session.quote
    if not quote.lines:
        return None
    return Order(
        title=session.session_name or words.say("page.order"),
        rows=rows_of(quote, words),
        total=total_of(quote, words),
    )
