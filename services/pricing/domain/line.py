"""One line of a cart. One that exists is within its bounds: what is wrong with one is refused while it is made.

Errors name the field relative to the line (`quantity`); who reads the request puts the line's path in front.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from services.errors import FieldInvalid, FieldMissing
from services.pricing.domain.errors import AmountNegative, QuantityOutOfRange
from services.pricing.domain.exact import require_amount
from services.pricing.domain.word import Word

QUANTITY_MAX = 10_000
"""Of one line."""

QUANTITY_FRACTION_DIGITS_MAX = 6
"""Enough for seconds as a part of an hour, with room to spare."""

REASON_CHARACTERS_MAX = 200
"""Of the sentence on an invoice that says why no VAT is charged."""

ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
"""The caller's id of a part of its request."""
OPAQUE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
"""An id of a person or firm that means nothing here."""
TAX_CATEGORY = re.compile(r"[a-z0-9_]{1,32}")
COUNTRY = re.compile(r"[A-Z]{2}")


class LineKind(Word):
    """What is sold."""

    SESSION = "session"
    RESERVATION = "reservation"
    GOODS = "goods"
    DIGITAL = "digital"


class TaxBehavior(Word):
    """Whether a price holds its VAT."""

    INCLUSIVE = "inclusive"
    EXCLUSIVE = "exclusive"


class TaxTreatment(Word):
    """Whether VAT is charged."""

    TAXABLE = "taxable"
    REVERSE_CHARGE = "reverse charge"
    EXEMPT = "exempt"


class VatLiability(Word):
    """Who owes VAT to the state."""

    SELLER = "seller"
    PLATFORM = "platform"


@dataclass(frozen=True, slots=True, kw_only=True)
class CartLine:
    """One thing that is sold. Raises a subclass of `InvalidRequest` for a field that is outside of its bounds."""

    line_id: str
    seller_id: str
    kind: LineKind
    quantity: Decimal
    unit_amount_minor: int
    currency_code: str
    tax_category: str
    country: str
    tax_behavior: TaxBehavior
    tax_treatment: TaxTreatment
    tax_treatment_reason: str
    vat_liability: VatLiability
    tax_date: date
    """The local date of supply, which decides the rate."""

    def __post_init__(self) -> None:
        require_match(self.line_id, pattern=ID, field="line_id")
        require_match(self.seller_id, pattern=OPAQUE_ID, field="seller_id")
        require_match(self.tax_category, pattern=TAX_CATEGORY, field="tax_category")
        require_match(self.country, pattern=COUNTRY, field="country")
        if not 0 < self.quantity <= QUANTITY_MAX:
            detail = f"must be at most {QUANTITY_MAX}" if self.quantity > 0 else "must be above 0"
            raise QuantityOutOfRange(field="quantity", detail=detail, quantity_max=QUANTITY_MAX)
        if self.unit_amount_minor < 0:
            raise AmountNegative(field="unit_amount.amount_minor")
        require_amount(self.unit_amount_minor, field="unit_amount.amount_minor")
        if self.tax_treatment is TaxTreatment.TAXABLE:
            if self.tax_treatment_reason:
                raise FieldInvalid(
                    field="tax_treatment_reason", detail="must be empty: it is for lines without VAT only"
                )
        elif not self.tax_treatment_reason:
            raise FieldMissing(field="tax_treatment_reason")
        elif len(self.tax_treatment_reason) > REASON_CHARACTERS_MAX or not self.tax_treatment_reason.isprintable():
            detail = f"must have at most {REASON_CHARACTERS_MAX} characters, printable alone"
            raise FieldInvalid(field="tax_treatment_reason", detail=detail, characters_max=REASON_CHARACTERS_MAX)


def require_match(text: str, *, pattern: re.Pattern[str], field: str) -> None:
    """Raise `FieldMissing` or `FieldInvalid` at `field` unless the pattern fits the whole text."""
    if not text:
        raise FieldMissing(field=field)
    if pattern.fullmatch(text) is None:
        raise FieldInvalid(field=field, detail=f"must match {pattern.pattern}")
