"""What a caller asks to be priced. A `Cart` that exists is whole: what is wrong is refused while it is made."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from services.errors import FieldInvalid, FieldMissing
from services.pricing.domain.errors import CurrencyMismatch, LineIdDuplicate, TooManyLines
from services.pricing.domain.exact import Rounding
from services.pricing.domain.line import OPAQUE_ID, CartLine, require_match
from services.pricing.domain.terms import CallerAdjustment

LINES_MAX = 1_000
"""Lines of a cart: what one message carries with all its fields, and what is priced in some milliseconds."""

ADJUSTMENTS_MAX = 20
"""Discounts and surcharges of the caller: each is spread over all lines."""

COUPONS_MAX = 10
"""More than anybody types in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cart:
    """What is to be priced: 1 to 1,000 lines in one currency, with ids of their own."""

    lines: tuple[CartLine, ...]
    payer_id: str
    """Opaque; empty when the caller does not say."""
    platform_id: str = ""
    """The seller whose goods are the platform's own: the tenant."""
    as_of: datetime
    """The moment whose price book holds."""
    fee_date: date
    """The platform's local date at that moment, which decides the VAT on its fee."""
    coupon_codes: tuple[str, ...] = ()
    """Upper case."""
    adjustments: tuple[CallerAdjustment, ...] = ()
    rounding: Rounding

    def __post_init__(self) -> None:
        if not self.lines:
            raise FieldMissing(field="lines")
        if len(self.lines) > LINES_MAX:
            raise TooManyLines(field="lines", lines_max=LINES_MAX)
        if self.payer_id:
            require_match(self.payer_id, pattern=OPAQUE_ID, field="payer_id")
        line_ids: set[str] = set()
        for index, line in enumerate(self.lines):
            if line.line_id in line_ids:
                raise LineIdDuplicate(field=f"lines[{index}].line_id")
            line_ids.add(line.line_id)
            if line.currency_code != self.currency_code:
                raise CurrencyMismatch(field=f"lines[{index}].unit_amount.currency_code", expected=self.currency_code)
        self._check_coupons()
        self._check_adjustments(line_ids)

    @property
    def currency_code(self) -> str:
        """The one currency of all amounts."""
        return self.lines[0].currency_code

    def _check_coupons(self) -> None:
        if len(self.coupon_codes) > COUPONS_MAX:
            raise FieldInvalid(field="coupon_codes", detail=f"must be at most {COUPONS_MAX}")
        for index, code in enumerate(self.coupon_codes):
            if code in self.coupon_codes[:index]:
                raise FieldInvalid(field=f"coupon_codes[{index}]", detail="must stand there once")

    def _check_adjustments(self, line_ids: set[str]) -> None:
        if len(self.adjustments) > ADJUSTMENTS_MAX:
            raise FieldInvalid(field="adjustments", detail=f"must be at most {ADJUSTMENTS_MAX}")
        seen: set[str] = set()
        for index, adjustment in enumerate(self.adjustments):
            if adjustment.adjustment_id in seen:
                raise FieldInvalid(field=f"adjustments[{index}].adjustment_id", detail="must stand there once")
            seen.add(adjustment.adjustment_id)
            if not adjustment.currency_codes <= {self.currency_code}:
                raise CurrencyMismatch(field=f"adjustments[{index}]", expected=self.currency_code)
            if not adjustment.line_ids <= line_ids:
                raise FieldInvalid(field=f"adjustments[{index}].line_ids", detail="must be lines of the cart")
