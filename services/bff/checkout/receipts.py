"""What was paid, for the books of the payer. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import pairwise

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.status.v1.status_pb2 import Payment, Transition
from batzen.type.v1.payment_pb2 import PaymentSnapshot
from services.bff.checkout.model import Fact, Key, Party, Receipt
from services.bff.checkout.place import Place
from services.bff.checkout.price import rows_of, vat_of
from services.bff.checkout.shown import Shown, named, total_of

Moment = tuple[PaymentSnapshot.Amounts, datetime]


def receipt(session: pb.PaymentSession, history: Iterable[Transition], place: Place) -> Shown:
    """Return the receipt of a payment that took money; `history` says when what went back."""
    payment, words, tenant = session.payment, place.words, place.tenant
    captured_minor = payment.snapshot.amounts.captured_minor
    vat = vat_of(session, words, part_minor=captured_minor)
    refunds = list(_returned(payment, history, place))
    vat_left: list[Fact] | None = []
    if refunds:
        left_minor = _left_minor(payment)
        refunds.append(Fact(label=words.say("receipt.net"), value=_amount(left_minor, payment, place)))
        vat_left = vat_of(session, words, part_minor=left_minor)
    shown = Receipt(
        number=payment.payment_id,
        date=words.day(
            (payment.complete_time if payment.HasField("complete_time") else payment.update_time).ToDatetime(UTC)
        ),
        seller=Party(name=tenant.name, lines=tenant.address, vat_id=tenant.vat_id),
        rows=[row for row in rows_of(session, words) if row.kind != "vat" or not row.is_within],
        vat=vat or [],
        vat_note=words.say("receipt.vat_open") if vat is None or vat_left is None else "",
        paid=list(_paid(payment, place)),
        refunds=[*refunds, *(vat_left or [])],
        total=total_of(session, place),
        taken="" if captured_minor == payment.total.amount_minor else _amount(captured_minor, payment, place),
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


def _paid(payment: Payment, place: Place) -> Iterator[Fact]:
    words, amounts = place.words, payment.snapshot.amounts
    yield Fact(label=words.say("receipt.paid"), value=_amount(amounts.captured_minor, payment, place))
    if payment.snapshot.HasField("method"):
        yield Fact(label=words.say("outcome.method"), value=named(payment.snapshot.method, words))
    if amounts.surplus_minor:
        yield Fact(label=words.say("receipt.surplus"), value=_amount(amounts.surplus_minor, payment, place))


def _left_minor(payment: Payment) -> int:
    """Return what was taken and did not go back."""
    amounts = payment.snapshot.amounts
    return amounts.captured_minor - amounts.refunded_minor - amounts.disputed_lost_minor


def _returned(payment: Payment, history: Iterable[Transition], place: Place) -> Iterator[Fact]:
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
        for changed_minor, gone, undone in (
            (now.refunded_minor - before.refunded_minor, "refund_on", "refund_failed_on"),
            (now.disputed_lost_minor - before.disputed_lost_minor, "lost_on", "won_on"),
        ):
            if changed_minor:
                label = place.words.say(f"receipt.{gone if changed_minor > 0 else undone}", date=place.words.day(time))
                yield Fact(label=label, value=_amount(-changed_minor, payment, place))


def _amount(minor: int, payment: Payment, place: Place) -> str:
    return place.words.amount(minor, payment.total.currency_code)
