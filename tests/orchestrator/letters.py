"""One letter of every mail there is, and the golden files of all: `python -m tests.orchestrator.letters` writes them.

Whoever changes a sentence or a layout writes the files anew, and looks at them in a browser before they are committed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.pricing.v1 import price_book_pb2 as book
from batzen.pricing.v1 import pricing_pb2 as pricing
from batzen.status.v1.status_pb2 import Payment
from batzen.type.v1.money_pb2 import Money
from batzen.type.v1.payment_pb2 import PaymentSnapshot
from services.orchestrator.facts.domain import FactKind, fact_id
from services.orchestrator.mail.catalogue import SHOWN, WITH_RECEIPT, has_mail, section_name
from services.orchestrator.mail.domain import LANGUAGES, Contact, Letter, Sender, language_of
from services.orchestrator.mail.rendering import rendered
from services.orchestrator.notifications.kinds import RecipientKind, telling
from services.receipts.content import receipt
from services.receipts.model import Receipt
from services.receipts.wording import ReceiptWording

GOLDEN: Final = Path(__file__).parent / "mails"
SENDER: Final = Sender(name="Alpenblick Yoga", address="hello@alpenblick.example", time_zone="Europe/Zurich")
MOMENT: Final = datetime(2026, 11, 29, 12, 5, tzinfo=UTC)
_MONEY: Final = {"amount_minor": "125000", "currency_code": "CHF"}
_METHOD: Final = {"method_type": "card", "method_brand": "visa", "method_last4": "4242"}
VALUES: Final[Mapping[FactKind, Mapping[str, str]]] = {
    FactKind.PAYMENT_RECEIVED: {**_MONEY, **_METHOD, "client_reference": "reservation 4711"},
    FactKind.PAYMENT_FAILED: {
        **_MONEY,
        **_METHOD,
        "decline_code": "insufficient_funds",
        "is_final": "false",
        "charge_time": "2026-12-02T07:00:00Z",
    },
    FactKind.ACTION_REQUIRED: {**_MONEY, **_METHOD, "action": "AUTHENTICATE"},
    FactKind.PAYMENT_SCHEDULED: {**_MONEY, **_METHOD, "charge_time": "2027-07-01T06:00:00Z"},
    FactKind.CHARGE_UPCOMING: {**_MONEY, **_METHOD, "charge_time": "2026-12-02T07:00:00Z"},
    FactKind.DISPUTE_OPENED: {
        **_MONEY,
        "reason": "product_not_received",
        "inquiry": "false",
        "evidence_due_time": "2026-12-20T22:59:59Z",
    },
    FactKind.DISPUTE_CLOSED: {
        **_MONEY,
        "reason": "product_not_received",
        "outcome": "LOST",
        "fee_minor": "1500",
        "fee_currency_code": "CHF",
    },
    FactKind.TRANSFER_FAILED: {**_MONEY, "reason": "SELLER"},
    FactKind.PAYOUT_FAILED: {**_MONEY, "failure_code": "account_closed"},
    FactKind.ONBOARDING_REQUIRED: {"due_time": "2026-12-15T12:00:00Z"},
    FactKind.ATTENTION_RAISED: {"reason": "SURPLUS"},
}
"""Of each kind; those that are not here are about an amount alone."""


_SHOWN: Final[dict[str, Any]] = {"payer_facing": True, "included_in_total": True}
_RATE: Final[dict[str, Any]] = {
    "country": "CH",
    "tax_category": "standard",
    "rate_percent": "8.1",
    "tax_behavior": book.TAX_BEHAVIOR_INCLUSIVE,
    "tax_treatment": book.TAX_TREATMENT_TAXABLE,
}
QUOTE: Final = pricing.Quote(
    quote_id="quote_1",
    currency_code="CHF",
    total=Money(amount_minor=125_000, currency_code="CHF"),
    lines=[
        pricing.QuoteLine(
            line_id="week", kind=book.LINE_KIND_SESSION, quantity="2", unit_amount_minor=65_000,
            net_minor=115_634, vat_minor=9_366, gross_minor=125_000, tax=pricing.LineTax(**_RATE),
        )
    ],
    rows=[
        pricing.QuoteRow(kind=pricing.ROW_KIND_LINE, amount_minor=130_000, line_id="week", **_SHOWN),
        pricing.QuoteRow(kind=pricing.ROW_KIND_ADJUSTMENT, amount_minor=-5_000, adjustment_id="early", **_SHOWN),
        pricing.QuoteRow(
            kind=pricing.ROW_KIND_VAT, amount_minor=9_366, **(_SHOWN | _RATE | {"included_in_total": False})
        ),
    ],
    adjustments=[pricing.AppliedAdjustment(adjustment_id="early", coupon_code="EARLY", amount_minor=-5_000)],
)  # fmt: skip


def paid(*, refunded_minor: int = 0, lines: int = 1) -> pb.Receipt:
    """Return what the receipt of two places of a week is written of, or of one with so many lines."""
    amounts = PaymentSnapshot.Amounts(captured_minor=125_000, refunded_minor=refunded_minor)
    card = PaymentSnapshot.Method(type="card", brand="visa", last4="4242")
    when = Timestamp()
    when.FromDatetime(MOMENT)
    payment = Payment(
        payment_id="pay_0k7w2m",
        revision=5,
        total=QUOTE.total,
        snapshot=PaymentSnapshot(amounts=amounts, method=card),
        open_time=when,
        update_time=when,
    )
    quote = pricing.Quote()
    quote.CopyFrom(QUOTE)
    quote.rows.extend([quote.rows[0]] * (lines - 1))
    return pb.Receipt(
        payment=payment,
        quote=quote,
        session_name="Yoga week, Engadin",
        sellers=[pb.ReceiptParty(seller_id="anna", name="Anna Berg Yoga", vat_id="CHE-109.322.551 MWST")],
        issuer=pb.ReceiptParty(
            name="Alpenblick Yoga", address=["Dorfstrasse 1", "7500 St. Moritz"], vat_id="CHE-123.456.788 MWST"
        ),
    )


def receipt_of(found: pb.Receipt, locale: str) -> Receipt:
    """Return the whole receipt in this locale."""
    language, written = language_of(locale)
    words = ReceiptWording(language, locale=written, zone="Europe/Zurich")
    return receipt(found, words)


def letter(kind: FactKind, recipient_kind: RecipientKind, *, locale: str = "en", name: str = "Lea Brunner") -> Letter:
    """Return a mail of this kind; only payers and sellers have names, and only what is optional can be declined."""
    is_person = recipient_kind is not RecipientKind.OPERATOR
    how = telling(kind, recipient_kind)
    has_receipt = kind in WITH_RECEIPT and recipient_kind is RecipientKind.PAYER
    refunded_minor = 125_000 if kind is FactKind.PAYMENT_REFUNDED else 0
    may_be_declined = is_person and how is not None and not how.is_mandatory
    return Letter(
        fact_id=fact_id(kind, "payment", "1"),
        kind=kind,
        recipient_kind=recipient_kind,
        recipient_id="recipient_1",
        to=Contact(addresses=("lea@example.ch",), name=name if is_person else "", locale=locale),
        sender=SENDER,
        occur_time=MOMENT,
        payment_id="pay_0k7w2m" if kind not in (FactKind.PAYOUT_FAILED, FactKind.ONBOARDING_REQUIRED) else "",
        values=VALUES.get(kind, _MONEY),
        link="https://alpenblick.example/payments/pay_0k7w2m",
        unsubscribe_url="https://alpenblick.example/mails/off?token=abc&x=1" if may_be_declined else "",
        receipt=receipt_of(paid(refunded_minor=refunded_minor), locale) if has_receipt else None,
    )


def every_mail() -> Iterator[tuple[FactKind, RecipientKind]]:
    """Yield each mail there is."""
    return ((kind, one) for kind in SHOWN for one in RecipientKind if has_mail(kind, one))


def golden() -> dict[str, str]:
    """Return every mail in every language as text and as HTML, by the file that it stands in."""
    files = {}
    for kind, recipient_kind in every_mail():
        for language in LANGUAGES:
            said = rendered(letter(kind, recipient_kind, locale=language))
            name = f"{section_name(kind, recipient_kind)}.{language}"
            files[f"{name}.txt"] = f"Subject: {said.subject}\n\n{said.text}"
            files[f"{name}.html"] = said.html
    return files


def bare(one: Letter) -> Letter:
    """Return the letter with what is known of nothing but the amount: no name, no reason, no link, no time."""
    kept = {name: value for name, value in one.values.items() if name in ("amount_minor", "currency_code")}
    if one.kind is FactKind.ATTENTION_RAISED or one.kind in (FactKind.PAYMENT_SCHEDULED, FactKind.CHARGE_UPCOMING):
        kept = dict(one.values)
    return replace(
        one, values=kept, to=replace(one.to, name=""), link="", unsubscribe_url="", payment_id="", receipt=None
    )


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for stale in GOLDEN.iterdir():
        stale.unlink()
    for name, content in golden().items():
        (GOLDEN / name).write_text(content, encoding="utf-8")
