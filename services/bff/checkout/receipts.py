"""What was paid, for the books of the payer. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.status.v1.status_pb2 import Transition
from services.bff.checkout.model import Fact, Key, Party, Receipt
from services.bff.checkout.place import Place
from services.bff.checkout.price import rows_of, vat_of
from services.bff.checkout.shown import Shown, named, total_of


def receipt(session: pb.PaymentSession, history: Iterable[Transition], place: Place) -> Shown:
    """Return the receipt of a payment that took money; `history` says when what went back."""
    payment, words, tenant = session.payment, place.words, place.tenant
    amounts, currency = payment.snapshot.amounts, payment.total.currency_code
    paid = [Fact(label=words.say("receipt.paid"), value=words.amount(amounts.captured_minor, currency))]
    if payment.snapshot.HasField("method"):
        paid.append(Fact(label=words.say("outcome.method"), value=named(payment.snapshot.method, words)))
    refunds = list(_refunds(history, place, currency))
    if refunds:
        left_minor = amounts.captured_minor - amounts.refunded_minor
        refunds.append(Fact(label=words.say("receipt.net"), value=words.amount(left_minor, currency)))
    shown = Receipt(
        number=payment.payment_id,
        date=words.day(
            (payment.complete_time if payment.HasField("complete_time") else payment.update_time).ToDatetime(UTC)
        ),
        seller=Party(name=tenant.name, lines=tenant.address, vat_id=tenant.vat_id),
        rows=[row for row in rows_of(session, words) if row.kind != "vat" or not row.is_within],
        vat=vat_of(session, words),
        paid=paid,
        refunds=refunds,
        total=total_of(session, place),
    )
    page = place.page(
        Key.RECEIPT,
        payment_id=payment.payment_id,
        revision=payment.revision,
        heading=words.say("receipt.heading"),
        status=f"{words.say('receipt.heading')}.",
        is_live=False,
    )
    return Shown(template="checkout/receipt.html", page=page, part={"receipt": shown}, words=words)


def _refunds(history: Iterable[Transition], place: Place, currency: str) -> Iterable[Fact]:
    """Yield each time that more had gone back than before."""
    before = 0
    for transition in history:
        now = transition.snapshot.amounts.refunded_minor
        if now > before:
            label = place.words.say("receipt.refund_on", date=place.words.day(transition.record_time.ToDatetime(UTC)))
            yield Fact(label=label, value=place.words.amount(before - now, currency))
        before = now
