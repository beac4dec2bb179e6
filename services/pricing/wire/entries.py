"""Entries of the price book as the contract writes them, and what they mean in the domain.

An entry that came with the service and one that an operator put are read by the same functions, so a wrong data file
stops the process as surely as a wrong request is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from batzen.pricing.v1 import price_book_pb2
from services.errors import FieldInvalid, FieldMissing, ServiceError
from services.pricing.domain.book import FeePlan, FeeTier, FeeVat, PriceBook, TaxRate
from services.pricing.domain.currency import Currency
from services.pricing.domain.errors import CurrencyMismatch, TiersInvalid, WindowInvalid
from services.pricing.domain.line import COUNTRY, OPAQUE_ID, TAX_CATEGORY, require_match
from services.pricing.domain.terms import Discount
from services.pricing.wire.enums import BASES, BEHAVIORS, KINDS
from services.pricing.wire.fields import read_amount, read_currency, read_date, read_instant, read_percent, read_word
from services.pricing.wire.requests import COUPON_CODE, TAX_CATEGORY_DEFAULT, read_terms

RATE_PERCENT_MAX: Final = 100
FEE_PERCENT_MAX: Final = 100
SOURCE_CHARACTERS_MAX: Final = 500
TIERS_MAX: Final = 20
"""More steps than a tariff that a person can read."""
SELLERS_MAX: Final = 100
"""Of one discount; for more, leave the sellers out."""
USES_MAX: Final = 1_000_000_000

_ENTRY_ID = re.compile(r"[a-z0-9_-]{1,64}")


class EntryKind(StrEnum):
    """The lists of the price book."""

    TAX_RATE = "TAX_RATE"
    FEE_PLAN = "FEE_PLAN"
    DISCOUNT = "DISCOUNT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One revision of one entry, with the bytes of its message."""

    kind: EntryKind
    entry_id: str
    revision: int
    book_revision: int
    """The revision of the whole book that it made; 0 for what came with the service."""
    message: bytes
    actor: str
    change_reason: str
    create_time: datetime


def tax_rate_id(rate: price_book_pb2.TaxRate) -> str:
    """Return the key of a tax rate."""
    return f"{rate.country}/{rate.tax_category}/{rate.effective_from}"


def read_tax_rate(rate: price_book_pb2.TaxRate, *, revision: int) -> TaxRate:
    """Return what the rate means; raises errors with fields relative to it."""
    require_match(rate.country, pattern=COUNTRY, field="country")
    require_match(rate.tax_category, pattern=TAX_CATEGORY, field="tax_category")
    if not rate.effective_from:
        raise FieldMissing(field="effective_from")
    effective_from = read_date(rate.effective_from, field="effective_from")
    percent = read_percent(rate.rate_percent, field="rate_percent", at_most=RATE_PERCENT_MAX, may_be_zero=True)
    require_text(rate.source, field="source", characters_max=SOURCE_CHARACTERS_MAX)
    return TaxRate(
        country=rate.country,
        tax_category=rate.tax_category,
        effective_from=effective_from,
        percent=percent,
        revision=revision,
    )


def read_fee_plan(plan: price_book_pb2.FeePlan, *, revision: int, currencies: Mapping[str, Currency]) -> FeePlan:
    """Return what the plan means; raises errors with fields relative to it."""
    require_match(plan.fee_plan_id, pattern=_ENTRY_ID, field="fee_plan_id")
    if plan.seller_id:
        require_match(plan.seller_id, pattern=OPAQUE_ID, field="seller_id")
    if plan.currency_code:
        read_currency(plan.currency_code, currencies=currencies, field="currency_code")
    amounts = _Amounts(currency_code=plan.currency_code, currencies=currencies)
    tiers = _read_tiers(plan, amounts=amounts)
    minimum = amounts.read(plan, "minimum")
    maximum = amounts.read(plan, "maximum")
    if minimum is not None and maximum is not None and maximum < minimum:
        raise FieldInvalid(field="maximum.amount_minor", detail="must be at least the minimum")
    if not plan.HasField("effective_from"):
        raise FieldMissing(field="effective_from")
    return FeePlan(
        fee_plan_id=plan.fee_plan_id,
        revision=revision,
        seller_id=plan.seller_id,
        currency_code=plan.currency_code,
        basis=read_word(BASES, plan.basis, enum=price_book_pb2.FeeBasis, field="basis"),
        tiers=tiers,
        minimum_minor=minimum,
        maximum_minor=maximum,
        fee_vat=_read_fee_vat(plan.fee_vat) if plan.HasField("fee_vat") else None,
        effective_from=read_instant(plan.effective_from, field="effective_from"),
        retired=plan.retired,
    )


def read_discount(discount: price_book_pb2.Discount, *, revision: int, currencies: Mapping[str, Currency]) -> Discount:
    """Return what the discount means; raises errors with fields relative to it."""
    require_match(discount.discount_id, pattern=_ENTRY_ID, field="discount_id")
    if discount.code:
        require_match(discount.code.upper(), pattern=COUPON_CODE, field="code")
    terms, _ = read_terms(discount, currencies=currencies)  # whose currencies are looked at below
    if discount.currency_code:
        read_currency(discount.currency_code, currencies=currencies, field="currency_code")
    amounts = _Amounts(currency_code=discount.currency_code, currencies=currencies)
    for field in ("fixed", "cap"):
        amounts.read(discount, field)
    minimum_spend = amounts.read(discount, "minimum_spend")
    if not discount.HasField("valid_from"):
        raise FieldMissing(field="valid_from")
    valid_from = read_instant(discount.valid_from, field="valid_from")
    valid_until = None
    if discount.HasField("valid_until"):
        valid_until = read_instant(discount.valid_until, field="valid_until")
        if valid_until <= valid_from:
            raise WindowInvalid(field="valid_until")
    if len(discount.seller_ids) > SELLERS_MAX:
        raise FieldInvalid(field="seller_ids", detail=f"must be at most {SELLERS_MAX}")
    for index, seller_id in enumerate(discount.seller_ids):
        require_match(seller_id, pattern=OPAQUE_ID, field=f"seller_ids[{index}]")
    return Discount(
        discount_id=discount.discount_id,
        revision=revision,
        code=discount.code.upper(),
        terms=terms,
        currency_code=discount.currency_code,
        valid_from=valid_from,
        valid_until=valid_until,
        minimum_spend_minor=minimum_spend,
        uses_max=_read_uses(discount, "uses_max"),
        uses_per_payer_max=_read_uses(discount, "uses_per_payer_max"),
        seller_ids=frozenset(discount.seller_ids),
        kinds=frozenset(
            read_word(KINDS, kind, enum=price_book_pb2.LineKind, field=f"kinds[{index}]")
            for index, kind in enumerate(discount.kinds)
        ),
        exclusive=discount.exclusive,
        retired=discount.retired,
    )


def to_price_book(entries: Iterable[Entry], *, currencies: Mapping[str, Currency]) -> PriceBook:
    """Return what all these revisions mean together: of rates and discounts the newest, of plans all."""
    newest: dict[tuple[EntryKind, str], Entry] = {}
    plans = []
    for entry in sorted(entries, key=lambda entry: entry.revision):
        newest[entry.kind, entry.entry_id] = entry
        if entry.kind is EntryKind.FEE_PLAN:
            plan = price_book_pb2.FeePlan.FromString(entry.message)
            plans.append(read_fee_plan(plan, revision=entry.revision, currencies=currencies))
    return PriceBook.of(
        tax_rates=[
            read_tax_rate(price_book_pb2.TaxRate.FromString(entry.message), revision=entry.revision)
            for entry in newest.values()
            if entry.kind is EntryKind.TAX_RATE
        ],
        fee_plans=plans,
        discounts=[
            read_discount(
                price_book_pb2.Discount.FromString(entry.message), revision=entry.revision, currencies=currencies
            )
            for entry in newest.values()
            if entry.kind is EntryKind.DISCOUNT
        ],
    )


def require_text(text: str, *, field: str, characters_max: int) -> None:
    """Raise unless there is a text of one line that is not too long."""
    if not text:
        raise FieldMissing(field=field)
    if len(text) > characters_max or not text.isprintable():
        detail = f"must have at most {characters_max} characters, printable alone"
        raise FieldInvalid(field=field, detail=detail, characters_max=characters_max)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Amounts:
    """Reads amounts that must all be in the one currency that their entry names."""

    currency_code: str
    currencies: Mapping[str, Currency]

    def read(
        self, message: price_book_pb2.FeePlan | price_book_pb2.FeeTier | price_book_pb2.Discount, field: str
    ) -> int | None:
        """Return the minor units, at least 0; None when the field is not set."""
        if not message.HasField(field):
            return None
        amount, currency_code = read_amount(getattr(message, field), currencies=self.currencies, field=field)
        if currency_code != self.currency_code:
            raise CurrencyMismatch(field=f"{field}.currency_code", expected=self.currency_code)
        return amount


def _read_tiers(plan: price_book_pb2.FeePlan, *, amounts: _Amounts) -> tuple[FeeTier, ...]:
    if not plan.tiers:
        percent = read_percent(plan.percent, field="percent", at_most=FEE_PERCENT_MAX, may_be_zero=True)
        return (FeeTier(from_minor=0, percent=percent, fixed_minor=amounts.read(plan, "fixed") or 0),)
    if plan.percent or plan.HasField("fixed"):
        raise FieldInvalid(
            field="tiers", detail="must be empty beside `percent` and `fixed`, which they stand instead of"
        )
    if len(plan.tiers) > TIERS_MAX:
        raise FieldInvalid(field="tiers", detail=f"must be at most {TIERS_MAX}")
    tiers: list[FeeTier] = []
    for index, tier in enumerate(plan.tiers):
        try:
            read = _read_tier(tier, amounts=amounts)
        except ServiceError as error:
            error.field = f"tiers[{index}].{error.field}"
            raise
        if read.from_minor <= tiers[-1].from_minor if tiers else read.from_minor != 0:
            raise TiersInvalid(field=f"tiers[{index}].from_amount")
        tiers.append(read)
    return tuple(tiers)


def _read_tier(tier: price_book_pb2.FeeTier, *, amounts: _Amounts) -> FeeTier:
    from_minor = amounts.read(tier, "from_amount")
    if from_minor is None:
        raise FieldMissing(field="from_amount")
    return FeeTier(
        from_minor=from_minor,
        percent=read_percent(tier.percent, field="percent", at_most=FEE_PERCENT_MAX, may_be_zero=True),
        fixed_minor=amounts.read(tier, "fixed") or 0,
    )


def _read_fee_vat(fee_vat: price_book_pb2.FeeVat) -> FeeVat:
    category = fee_vat.tax_category or TAX_CATEGORY_DEFAULT
    require_match(fee_vat.country, pattern=COUNTRY, field="fee_vat.country")
    require_match(category, pattern=TAX_CATEGORY, field="fee_vat.tax_category")
    if not fee_vat.tax_behavior:
        raise FieldMissing(field="fee_vat.tax_behavior")
    behavior = read_word(BEHAVIORS, fee_vat.tax_behavior, enum=price_book_pb2.TaxBehavior, field="fee_vat.tax_behavior")
    return FeeVat(country=fee_vat.country, tax_category=category, tax_behavior=behavior)


def _read_uses(discount: price_book_pb2.Discount, field: str) -> int | None:
    if not discount.HasField(field):
        return None
    uses: int = getattr(discount, field)
    if not 1 <= uses <= USES_MAX:
        raise FieldInvalid(field=field, detail=f"must be 1 to {USES_MAX}", uses_max=USES_MAX)
    return uses
