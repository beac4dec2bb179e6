"""The rows of a price, from its quote: the amounts as pricing wrote them, the words ours. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from batzen.pricing.v1 import price_book_pb2 as book
from batzen.pricing.v1 import pricing_pb2 as pricing
from services.receipts.figures import Vat
from services.receipts.model import Fact, Row
from services.receipts.wording import ReceiptWording, sign_first

KINDS: Final = {
    book.LINE_KIND_SESSION: "session",
    book.LINE_KIND_RESERVATION: "reservation",
    book.LINE_KIND_GOODS: "goods",
    book.LINE_KIND_DIGITAL: "digital",
}
_SPACED: Final = re.compile(r"\s?%")
"""A percentage is read with a space before its sign, and never broken there."""


def rows_of(quote: pricing.Quote, words: ReceiptWording) -> list[Row]:
    """Return the rows that a payer sees, in the quote's order."""
    lines = {line.line_id: line for line in quote.lines}
    codes = {adjustment.adjustment_id: adjustment.coupon_code for adjustment in quote.adjustments}
    return [_row(row, quote, lines, codes, words) for row in quote.rows if row.payer_facing]


def total_of(quote: pricing.Quote, words: ReceiptWording) -> str:
    """Return what all of it costs."""
    return _shown(quote.total_display, quote.total.amount_minor, quote.currency_code, words)


def _row(
    row: pricing.QuoteRow,
    quote: pricing.Quote,
    lines: Mapping[str, pricing.QuoteLine],
    codes: Mapping[str, str],
    words: ReceiptWording,
) -> Row:
    amount = _shown(row.display, row.amount_minor, quote.currency_code, words)
    match row.kind:
        case pricing.ROW_KIND_LINE:
            return _line(lines[row.line_id], amount, quote.currency_code, words)
        case pricing.ROW_KIND_ADJUSTMENT:
            code = codes.get(row.adjustment_id, "")
            kind = "discount" if row.amount_minor < 0 else "surcharge"
            label = words.say("rows.coupon", code=code) if code else words.say(f"rows.{kind}")
            return Row(label=label, amount=amount, kind=kind)
        case pricing.ROW_KIND_VAT:
            is_within = not row.included_in_total
            return Row(
                label=_vat_label(row, words, is_within=is_within), amount=amount, kind="vat", is_within=is_within
            )
        case _:
            return Row(label=words.say("rows.fee"), amount=amount)


def _line(line: pricing.QuoteLine, amount: str, currency_code: str, words: ReceiptWording) -> Row:
    each = words.amount(line.unit_amount_minor, currency_code)
    note = "" if line.quantity == "1" else words.say("rows.quantity", quantity=line.quantity, price=each)
    return Row(label=words.say(f"kinds.{KINDS.get(line.kind, 'default')}"), amount=amount, note=note)


def _vat_label(row: pricing.QuoteRow, words: ReceiptWording, *, is_within: bool) -> str:
    if row.tax_treatment not in (book.TAX_TREATMENT_UNSPECIFIED, book.TAX_TREATMENT_TAXABLE):
        return words.say("rows.vat_none")
    return words.say("rows.vat_within" if is_within else "rows.vat_added", rate=_rate(row, words))


def vat_fact(vat: Vat, words: ReceiptWording, *, currency_code: str) -> Fact:
    """Return the line of one rate; as the quote shows it, where it is of the whole price."""
    label = words.say("receipt.vat_of", rate=_rate(vat.row, words), net=words.amount(vat.net_minor, currency_code))
    shown = vat.row.display if vat.vat_minor == vat.row.amount_minor else {}
    return Fact(label=label, value=_shown(shown, vat.vat_minor, currency_code, words))


def _rate(row: pricing.QuoteRow, words: ReceiptWording) -> str:
    shown = _in_language(row.rate_display, words) or words.percent(row.rate_percent or "0")
    return _SPACED.sub("\N{NO-BREAK SPACE}%", shown)


def _shown(display: Mapping[str, str], amount_minor: int, currency_code: str, words: ReceiptWording) -> str:
    """Return an amount as the quote shows it in this language; as we do where it was not asked to."""
    return _in_language(display, words) or words.amount(amount_minor, currency_code)


def _in_language(display: Mapping[str, str], words: ReceiptWording) -> str:
    shown = next((text for locale, text in sorted(display.items()) if locale.split("-")[0] == words.language), "")
    return sign_first(shown)
