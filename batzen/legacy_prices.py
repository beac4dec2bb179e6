"""Lines out of the price objects that clients sent before there were lines. Exact; nothing is guessed or passed over.

Two shapes are known, both in major units, where an amount is a number, or an object of amount and currency that may be
nested in another:

    {"final": {"amount": {"amount": 60, "currency": "CHF"}, "currency": "CHF"}}
    {"base": …, "final": …, "vat": {"rate": 8.1, "included": true}, "platformFee": {"percentage": 15}}

The second may name a `currency` for all of it.

No method of the suite takes them; who still has some calls `normalize_legacy_price` and sends the lines. Numbers are
`int`, `Decimal` or text, never `float`: read JSON with `json.loads(text, parse_float=Decimal)`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from batzen.cli.money import AMOUNT_MINOR_MAX, DIGITS, DIGITS_USUAL
from batzen.pricing.v1.price_book_pb2 import LineKind, TaxBehavior
from batzen.pricing.v1.pricing_pb2 import Line
from batzen.type.v1.money_pb2 import Money

SWISS_TAX_CATEGORIES: Final[Mapping[str, str]] = {"8.1": "standard", "2.6": "reduced", "3.8": "accommodation"}
"""The tax category that each rate means, in percent. What is charged is a matter of the price book and the day."""
PLATFORM_FEE_PERCENT: Final = "15"
"""What the default fee plan takes."""
NESTING_MAX: Final = 4
"""Amounts within amounts; two have been seen."""

DIGITS_MAX: Final = 30
"""Of a number, on either side of its point: more than any amount has, and none that takes long to count with."""

_SHAPE_KEYS: Final = frozenset({"base", "final", "vat", "platformFee", "currency"})
_CURRENCY = re.compile(r"[A-Z]{3}")
_PLAIN_DECIMAL = re.compile(r"-?[0-9]{1,30}(?:\.[0-9]{1,30})?")


class LegacyPriceError(ValueError):
    """A price object that is none of the known shapes, or contradicts itself."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path or 'the price'}: {problem}")
        self.path = path
        """Where, such as `final.amount.currency`; empty for the whole."""
        self.problem = problem
        """What is wrong there, a sentence."""


def normalize_legacy_price(
    price: object,
    *,
    line_id: str,
    seller_id: str,
    kind: LineKind,
    quantity: str = "1",
    currency_code: str | None = None,
    tax_categories: Mapping[str, str] = SWISS_TAX_CATEGORIES,
    platform_fee_percent: str = PLATFORM_FEE_PERCENT,
) -> list[Line]:
    """Return the lines whose quote comes to what the price object says, for one `quantity` of it.

    `currency_code` is for objects that name none. A rate has to be one of `tax_categories`, and a fee has to be
    `platform_fee_percent`, because lines carry neither: both come from the price book. Raises `LegacyPriceError`.
    """
    fields = _object(price, path="", known=_SHAPE_KEYS)
    if "final" not in fields:
        raise LegacyPriceError("final", "It is missing.")
    named = _currency(fields["currency"], path="currency") if "currency" in fields else currency_code
    final = _amount(fields["final"], path="final", currency_code=named)
    base = _amount(fields["base"], path="base", currency_code=final.currency_code) if "base" in fields else final
    if "platformFee" in fields:
        _check_fee(fields["platformFee"], expected=platform_fee_percent)
    vat = _read_vat(fields["vat"], tax_categories=tax_categories) if "vat" in fields else None
    unit, behavior = _unit(base, final=final, vat=vat)
    return [
        Line(
            line_id=line_id,
            seller_id=seller_id,
            kind=kind,
            quantity=quantity,
            unit_amount=Money(amount_minor=unit.minor, currency_code=unit.currency_code),
            tax_category=vat.tax_category if vat else "",
            tax_behavior=behavior,
        )
    ]


def legacy_total(price: object, *, currency_code: str | None = None) -> Money:
    """Return what a price object says the payer pays, for one of it. Raises `LegacyPriceError`."""
    fields = _object(price, path="", known=_SHAPE_KEYS)
    if "final" not in fields:
        raise LegacyPriceError("final", "It is missing.")
    named = _currency(fields["currency"], path="currency") if "currency" in fields else currency_code
    final = _amount(fields["final"], path="final", currency_code=named)
    return Money(amount_minor=final.minor, currency_code=final.currency_code)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Amount:
    minor: int
    currency_code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Vat:
    percent: Decimal
    included: bool
    tax_category: str

    def on(self, net_minor: int) -> int:
        """Return the VAT on an amount without it, halves up, as the suite rounds."""
        numerator, denominator = self.percent.as_integer_ratio()
        return (2 * net_minor * numerator + 100 * denominator) // (2 * 100 * denominator)


def _unit(base: _Amount, *, final: _Amount, vat: _Vat | None) -> tuple[_Amount, TaxBehavior]:
    """Return the price of one and whether it holds its VAT; `base` and `final` have to agree about it."""
    if vat is None or vat.included:
        net_of_final = vat is not None and base.minor + vat.on(base.minor) == final.minor
        if base.minor != final.minor and not net_of_final:
            raise LegacyPriceError(
                "base", "It is neither the final price nor that without VAT; quote a discount as one."
            )
        return final, TaxBehavior.TAX_BEHAVIOR_INCLUSIVE
    if base.minor + vat.on(base.minor) != final.minor:
        raise LegacyPriceError("final", "It is not the base with VAT on top; quote a discount as one.")
    return base, TaxBehavior.TAX_BEHAVIOR_EXCLUSIVE


def _amount(value: object, *, path: str, currency_code: str | None, depth: int = 0) -> _Amount:
    """Read a number, or an object of amount and currency, whose amount may be such an object again."""
    if not isinstance(value, Mapping):
        if currency_code is None:
            raise LegacyPriceError(path, "It names no currency.")
        return _Amount(minor=_minor(value, path=path, currency_code=currency_code), currency_code=currency_code)
    if depth == NESTING_MAX:
        raise LegacyPriceError(path, f"It is nested more than {NESTING_MAX} times.")
    fields = _object(value, path=path, known=frozenset({"amount", "currency"}))
    if "amount" not in fields:
        raise LegacyPriceError(f"{path}.amount", "It is missing.")
    if "currency" in fields:
        named = _currency(fields["currency"], path=f"{path}.currency")
        if currency_code not in (None, named):
            raise LegacyPriceError(f"{path}.currency", f"It is {named}, and {currency_code} around it.")
        currency_code = named
    return _amount(fields["amount"], path=f"{path}.amount", currency_code=currency_code, depth=depth + 1)


def _minor(value: object, *, path: str, currency_code: str) -> int:
    digits = DIGITS.get(currency_code, DIGITS_USUAL)
    numerator, denominator = _decimal(value, path=path).as_integer_ratio()
    minor, rest = divmod(numerator * int(10**digits), denominator)
    if numerator < 0:
        raise LegacyPriceError(path, "It is below zero.")
    if minor > AMOUNT_MINOR_MAX:
        raise LegacyPriceError(path, "It is more than can be counted.")
    if rest:
        raise LegacyPriceError(path, f"{currency_code} has {digits or 'no'} digits after the point, and it has more.")
    return minor


def _decimal(value: object, *, path: str) -> Decimal:
    """Read an exact number."""
    if isinstance(value, float):
        raise LegacyPriceError(path, "It is a float, which is not exact; read JSON with parse_float=Decimal.")
    if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
        raise LegacyPriceError(path, "It is no number.")
    is_plain = _PLAIN_DECIMAL.fullmatch(value) is not None if isinstance(value, str) else True
    number = Decimal(value) if is_plain else Decimal("NaN")
    exponent = number.as_tuple().exponent
    if not isinstance(exponent, int) or abs(exponent) > DIGITS_MAX or number.adjusted() > DIGITS_MAX:
        raise LegacyPriceError(path, "It is no plain number such as 60 or 60.50.")
    return number


def _currency(value: object, *, path: str) -> str:
    if not isinstance(value, str) or _CURRENCY.fullmatch(value) is None:
        raise LegacyPriceError(path, "It is no code of ISO 4217 such as CHF.")
    return value


def _read_vat(value: object, *, tax_categories: Mapping[str, str]) -> _Vat:
    fields = _object(value, path="vat", known=frozenset({"rate", "included"}))
    for name in ("rate", "included"):
        if name not in fields:
            raise LegacyPriceError(f"vat.{name}", "It is missing.")
    included = fields["included"]
    if not isinstance(included, bool):
        raise LegacyPriceError("vat.included", "It is neither true nor false.")
    percent = _decimal(fields["rate"], path="vat.rate")
    for text, tax_category in tax_categories.items():
        if Decimal(text) == percent:
            return _Vat(percent=percent, included=included, tax_category=tax_category)
    raise LegacyPriceError("vat.rate", f"It is none of {', '.join(tax_categories)}, in percent.")


def _check_fee(value: object, *, expected: str) -> None:
    fields = _object(value, path="platformFee", known=frozenset({"percentage"}))
    if "percentage" not in fields:
        raise LegacyPriceError("platformFee.percentage", "It is missing.")
    if _decimal(fields["percentage"], path="platformFee.percentage") != Decimal(expected):
        problem = f"It is not {expected}; the fee is a matter of the seller's fee plan."
        raise LegacyPriceError("platformFee.percentage", problem)


def _object(value: object, *, path: str, known: frozenset[str]) -> dict[str, object]:
    if not isinstance(value, Mapping):
        raise LegacyPriceError(path, "It is no object.")
    for key in value:
        if key not in known:
            where = f"{path}.{key}" if path else str(key)
            raise LegacyPriceError(where, f"It is not known here; {', '.join(sorted(known))} are.")
    return dict(value)
