"""What a receipt says, for the books of the payer. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.pricing.v1.pricing_pb2 import Quote
from batzen.status.v1.status_pb2 import Payment, Transition
from services.receipts.figures import ReturnKind, left_minor, receipt_time, returns, vat_of
from services.receipts.model import Fact, Party, Receipt, Row
from services.receipts.rows import rows_of, total_of, vat_fact
from services.receipts.wording import TEXTS, ReceiptWording

RETURNS: Final[Mapping[ReturnKind, str]] = {
    ReturnKind.REFUNDED: "refund_on",
    ReturnKind.REFUND_FAILED: "refund_failed_on",
    ReturnKind.DISPUTE_LOST: "lost_on",
    ReturnKind.DISPUTE_WON: "won_on",
}
"""What each is called in the catalogue."""
T = TypeVar("T")


def receipt(shown: pb.Receipt, words: ReceiptWording, *, issuer: str = "") -> Receipt:
    """Return the receipt of a payment that took money; `issuer` is called who writes it, if nothing else says it."""
    payment, quote = shown.payment, shown.quote
    captured_minor = payment.snapshot.amounts.captured_minor
    vat = _vat(quote, words, part_minor=captured_minor)
    refunds = list(_returned(payment, shown.history, words))
    left: list[Fact] = []
    vat_left: list[Fact] | None = []
    if refunds:
        kept_minor = left_minor(payment)
        left = [Fact(label=words.say("receipt.net"), value=_amount(kept_minor, payment, words))]
        vat_left = _vat(quote, words, part_minor=kept_minor)
    total_minor = payment.total.amount_minor
    return Receipt(
        number=payment.payment_id,
        date=words.day(receipt_time(payment)),
        title=shown.session_name,
        seller=_party(shown.issuer, otherwise=issuer),
        providers=[_party(one, otherwise=one.seller_id) for one in shown.sellers if one.name or one.vat_id],
        rows=[row for row in rows_of(quote, words) if row.kind != "vat" or not row.is_within],
        vat=vat or [],
        vat_note=words.say("receipt.vat_open") if vat is None or vat_left is None else "",
        paid=list(_paid(payment, words)),
        refunds=refunds,
        left=[*left, *(vat_left or [])],
        total=total_of(quote, words) if quote.lines else _amount(total_minor, payment, words),
        taken="" if captured_minor == total_minor else _amount(captured_minor, payment, words),
    )


def shortened(full: Receipt, language: str, *, entries_max: int) -> Receipt:
    """Return a receipt of which each list has at most so many entries, and says how many more there are.

    What was paid and what of it is left, without its VAT, are said in any case.
    """

    def more(entries: Sequence[T]) -> tuple[Sequence[T], str]:
        beyond = len(entries) - entries_max
        return entries[:entries_max], TEXTS.say(language, "receipt.more", count=str(beyond)) if beyond > 0 else ""

    def facts(entries: Sequence[Fact]) -> list[Fact]:
        kept, said = more(entries)
        return [*kept, *([Fact(label=said, value="")] if said else [])]

    rows, more_rows = more(full.rows)
    providers, more_providers = more(full.providers)
    return replace(
        full,
        rows=[*rows, *([Row(label=more_rows, amount="")] if more_rows else [])],
        providers=[*providers, *([Party(name=more_providers)] if more_providers else [])],
        vat=facts(full.vat),
        refunds=facts(full.refunds),
        left=[*full.left[:1], *facts(full.left[1:])],
    )


def _party(shown: pb.ReceiptParty, *, otherwise: str) -> Party:
    return Party(name=shown.name or otherwise, lines=list(shown.address), vat_id=shown.vat_id)


def _paid(payment: Payment, words: ReceiptWording) -> Iterator[Fact]:
    amounts, method = payment.snapshot.amounts, payment.snapshot.method
    yield Fact(label=words.say("receipt.paid"), value=_amount(amounts.captured_minor, payment, words))
    if payment.snapshot.HasField("method"):
        named = words.method(brand=method.brand, kind=method.type, last4=method.last4)
        yield Fact(label=words.say("receipt.method"), value=named)
    if amounts.surplus_minor:
        yield Fact(label=words.say("receipt.surplus"), value=_amount(amounts.surplus_minor, payment, words))


def _returned(payment: Payment, history: Iterable[Transition], words: ReceiptWording) -> Iterator[Fact]:
    """Yield a line for each time that money went back, or that it turned out not to have."""
    for one in returns(payment, history):
        label = words.say(f"receipt.{RETURNS[one.kind]}", date=words.day(one.time))
        yield Fact(label=label, value=_amount(one.amount_minor, payment, words))


def _vat(quote: Quote, words: ReceiptWording, *, part_minor: int) -> list[Fact] | None:
    found = vat_of(quote, part_minor=part_minor)
    return None if found is None else [vat_fact(one, words, currency_code=quote.currency_code) for one in found]


def _amount(minor: int, payment: Payment, words: ReceiptWording) -> str:
    return words.amount(minor, payment.total.currency_code)
