"""Payments as the services answer them, in each state, for the pages of the checkout."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final, cast

from google.protobuf.timestamp_pb2 import Timestamp

from batzen.gateway.v1.payment_methods_pb2 import PaymentMethod
from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.pricing.v1 import price_book_pb2 as book
from batzen.pricing.v1 import pricing_pb2 as pricing
from batzen.status.v1.status_pb2 import Payment, Transition
from batzen.type.v1 import payment_pb2 as states
from batzen.type.v1.money_pb2 import Money
from batzen.type.v1.payment_pb2 import PaymentError, PaymentSnapshot
from batzen.vocabularies import PHASES
from services.bff.checkout.place import Place
from services.bff.checkout.wording import Wording
from services.bff.tenants import Tenant

NOW: Final = datetime(2026, 11, 29, 13, 3, 30, tzinfo=UTC)
PAYMENT_ID: Final = "pay_0kq9vtw3zr8mhdx5cbnjfygs2e"
TOTAL_MINOR: Final = 21_060
TENANT: Final = Tenant(
    name="Alpine Lessons",
    home="https://www.example.com/bookings",
    terms="https://www.example.com/terms",
    privacy="https://www.example.com/privacy",
    support="mailto:help@example.com",
    publishable_key="pk_test_gallery",
    offers_form=True,
    tells_by_mail=True,
)
ISSUER: Final = pb.ReceiptParty(
    name="Alpine Lessons", address=["Bahnhofstrasse 1", "8001 Zürich"], vat_id="CHE-123.456.788 MWST"
)
SELLER: Final = pb.ReceiptParty(seller_id="seller_anna", name="Skischule Anna Berg", vat_id="CHE-109.322.551 MWST")
VISA: Final = PaymentMethod(
    payment_method_id="pm_visa", type="card", brand="visa", last4="4242", expire_month=12, expire_year=2028
)
AMEX: Final = PaymentMethod(
    payment_method_id="pm_amex", type="card", brand="amex", last4="0005", expire_month=3, expire_year=2026, expired=True
)
MASTERCARD: Final = PaymentMethod(
    payment_method_id="pm_mc", type="card", brand="mastercard", last4="4444", expire_month=7, expire_year=2029
)
KEPT: Final = (VISA, MASTERCARD, AMEX)


def at(time: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp


def place(language: str = "en", **changes: Any) -> Place:
    """Return where a page stands: in the gallery's time, with forms whose ids are counted."""
    numbers = count(1)
    tenant = changes.get("tenant", TENANT)
    values: dict[str, Any] = {
        "tenant_id": "main",
        "tenant": tenant,
        "words": Wording(language, zone=tenant.time_zone),
        "path": f"/pay/{PAYMENT_ID}",
        "now": NOW,
        "new_id": lambda: f"form-{next(numbers)}",
        "origin": "https://pay.example.com",
        "stripe_script": "/static/none.js",
    }
    return Place(**(values | changes))


def quote() -> pricing.Quote:
    """Return the price of two sessions and a course book, with a coupon and two rates of VAT."""
    standard: dict[str, Any] = {
        "country": "CH",
        "tax_category": "standard",
        "rate_percent": "8.1",
        "tax_behavior": book.TAX_BEHAVIOR_INCLUSIVE,
        "tax_treatment": book.TAX_TREATMENT_TAXABLE,
    }
    reduced = standard | {"tax_category": "reduced", "rate_percent": "2.6"}
    lesson = pricing.QuoteLine(
        line_id="lesson", kind=book.LINE_KIND_SESSION, quantity="2", unit_amount_minor=10_000, base_minor=18_000,
        net_minor=16_651, vat_minor=1_349, gross_minor=18_000, tax=pricing.LineTax(**standard),
    )  # fmt: skip
    goods = pricing.QuoteLine(
        line_id="book", kind=book.LINE_KIND_GOODS, quantity="1", unit_amount_minor=3_060, base_minor=3_060,
        net_minor=2_982, vat_minor=78, gross_minor=3_060, tax=pricing.LineTax(**reduced),
    )  # fmt: skip
    shown: dict[str, Any] = {"payer_facing": True, "included_in_total": True}
    return pricing.Quote(
        quote_id="quote_1",
        currency_code="CHF",
        total=Money(amount_minor=TOTAL_MINOR, currency_code="CHF"),
        lines=[lesson, goods],
        rows=[
            pricing.QuoteRow(kind=pricing.ROW_KIND_LINE, amount_minor=20_000, line_id="lesson", **shown),
            pricing.QuoteRow(kind=pricing.ROW_KIND_LINE, amount_minor=3_060, line_id="book", **shown),
            pricing.QuoteRow(kind=pricing.ROW_KIND_ADJUSTMENT, amount_minor=-2_000, adjustment_id="spring", **shown),
            pricing.QuoteRow(
                kind=pricing.ROW_KIND_VAT, amount_minor=1_349, **(shown | standard | {"included_in_total": False})
            ),
            pricing.QuoteRow(
                kind=pricing.ROW_KIND_VAT, amount_minor=78, **(shown | reduced | {"included_in_total": False})
            ),
        ],
        adjustments=[pricing.AppliedAdjustment(adjustment_id="spring", coupon_code="SPRING10", amount_minor=-2_000)],
    )


def one_rate() -> pricing.Quote:
    """Return the same price as of one line, all of it with one rate of VAT."""
    one = quote()
    del one.lines[1], one.rows[1:3], one.rows[-1], one.adjustments[:]
    one.lines[0].net_minor, one.lines[0].vat_minor = 19_482, 1_578
    one.rows[0].amount_minor, one.rows[1].amount_minor = TOTAL_MINOR, 1_578
    return one


def session(
    state: str, *, snapshot: PaymentSnapshot | None = None, ago_s: int = 2, **changes: Any
) -> pb.PaymentSession:
    """Return a payment in a state, as GetPaymentSession answers it."""
    value = cast("states.PaymentState", states.PaymentState.Value(f"PAYMENT_STATE_{state}"))
    over = {"SUCCEEDED", "FAILED", "CANCELED", "EXPIRED", "PARTIALLY_REFUNDED", "REFUNDED", "DISPUTED", "DISPUTE_LOST"}
    payment = Payment(
        payment_id=PAYMENT_ID,
        revision=4,
        state=value,
        settled=state in over,
        phase=PHASES[value],
        snapshot=snapshot or PaymentSnapshot(),
        total=Money(amount_minor=TOTAL_MINOR, currency_code="CHF"),
        payer_id="payer_1",
        booking_ids=["booking-1047"],
        quote_id="quote_1",
        open_time=at(NOW - timedelta(minutes=4)),
        update_time=at(NOW - timedelta(seconds=ago_s)),
        complete_time=at(NOW - timedelta(seconds=ago_s)) if state in over else None,
    )
    values: dict[str, Any] = {
        "payment": payment,
        "quote": quote(),
        "timing": pb.TIMING_IMMEDIATE,
        "collection": pb.COLLECTION_CHECKOUT,
        "session_name": "Ski lessons for two, Davos",
    }
    return pb.PaymentSession(**(values | changes))


def snapshot(**changes: Any) -> PaymentSnapshot:
    """Return a snapshot with a card."""
    card = PaymentSnapshot.Method(payment_method_id="pm_visa", type="card", brand="visa", last4="4242")
    amounts = PaymentSnapshot.Amounts(**changes.pop("amounts", {}))
    return PaymentSnapshot(**({"method": card, "amounts": amounts} | changes))


def declined(
    decline_code: str = "insufficient_funds", code: str = "card_declined", **changes: Any
) -> pb.PaymentSession:
    """Return a payment whose last try the bank refused."""
    error = PaymentError(code=code, decline_code=decline_code, message="for logs", recoverable=True)
    return session("REQUIRES_PAYMENT_METHOD", snapshot=snapshot(last_error=error, decline_count=1, **changes))


def moved(revision: int, **amounts: int) -> Transition:
    """Return the transition after which amounts are these."""
    return Transition(
        revision=revision, snapshot=snapshot(amounts=amounts), record_time=at(NOW + timedelta(days=4 + revision))
    )


def history(*refunded_minor: int) -> list[Transition]:
    """Return transitions after each of which so much had gone back."""
    return [
        moved(revision, captured_minor=TOTAL_MINOR, refunded_minor=minor)
        for revision, minor in enumerate(refunded_minor, start=1)
    ]


def receipt(
    paid: pb.PaymentSession,
    returns: Iterable[Transition] = (),
    *,
    sellers: Sequence[pb.ReceiptParty] = (SELLER,),
    issuer: pb.ReceiptParty = ISSUER,
) -> pb.Receipt:
    """Return what the orchestrator answers to GetReceipt."""
    return pb.Receipt(
        payment=paid.payment,
        quote=paid.quote,
        session_name=paid.session_name,
        history=returns,
        sellers=sellers,
        issuer=issuer,
    )
