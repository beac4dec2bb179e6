"""Stage: what the platform takes of each seller's part. Nothing is added to the total.

A seller's part is the net of its lines as if the platform's own discounts and surcharges did not exist, with the VAT
that the seller owes on what is really paid. The platform's fee, rounded once, and the VAT on the fee come off it.
"""

from __future__ import annotations

from typing import NamedTuple

from services.errors import ServiceError
from services.pricing.domain.book import FeeBasis, FeePlan, PriceBook, TaxRate
from services.pricing.domain.cart import Cart
from services.pricing.domain.exact import require_amount
from services.pricing.domain.line import TaxBehavior, VatLiability
from services.pricing.domain.price import Price, SellerTotal, Stage
from services.pricing.domain.tax import vat_of


def platform_fee(cart: Cart, book: PriceBook, price: Price) -> Price:
    """Set what each seller gets. Raises `FeePlanUnknown`, `TaxRateUnknown` or `AmountOverflow`."""
    indexes: dict[str, list[int]] = {}
    for index, line in enumerate(cart.lines):
        indexes.setdefault(line.seller_id, []).append(index)
    sellers = tuple(
        _seller_total(seller_id, of=indexes[seller_id], cart=cart, book=book, price=price)
        for seller_id in sorted(indexes)
    )
    taken = require_amount(sum(seller.platform_fee_minor + seller.fee_vat_minor for seller in sellers), field="lines")
    return price._replace(sellers=sellers, contributions=(*price.contributions, (Stage.PLATFORM_FEE, taken)))


def _seller_total(seller_id: str, *, of: list[int], cart: Cart, book: PriceBook, price: Price) -> SellerTotal:
    own = _own_parts(of, cart=cart, price=price)
    base = net = vat = platform_vat = 0
    for index in of:
        base += price.base_minor[index]
        net += price.net_minor[index]
        vat += price.vat_minor[index]
        if cart.lines[index].vat_liability is VatLiability.PLATFORM:
            platform_vat += price.vat_minor[index]
    part = require_amount(own.net + vat - platform_vat, field="lines")
    plan = _plan_of(seller_id, of=of, cart=cart, book=book)
    basis = own.of(plan.basis)
    asked = plan.fee_minor(basis, rounding=cart.rounding)
    fee, fee_vat, limited = _within(part, asked=asked, plan=plan, cart=cart, book=book)
    return SellerTotal(
        seller_id=seller_id,
        base_minor=base,
        net_minor=net,
        vat_minor=vat,
        gross_minor=net + vat,
        platform_fee_minor=fee,
        fee_vat_minor=fee_vat,
        platform_vat_minor=platform_vat,
        platform_funded_minor=own.base - base,
        seller_share_minor=part - fee - fee_vat,
        fee_plan=plan,
        fee_basis_minor=basis,
        fee_limited=limited,
    )


class _OwnParts(NamedTuple):
    """What a seller asks: its lines as if the platform's own discounts and surcharges did not exist."""

    base: int
    net: int
    gross: int

    def of(self, basis: FeeBasis) -> int:
        """Return the amount that a fee is a percentage of."""
        return self.base if basis is FeeBasis.BASE else self.net if basis is FeeBasis.NET else self.gross


def _own_parts(of: list[int], *, cart: Cart, price: Price) -> _OwnParts:
    base = net = gross = 0
    for index in of:
        own_base = price.seller_base_minor[index]
        base += own_base
        if own_base == price.base_minor[index]:
            net += price.net_minor[index]
            gross += price.gross_minor[index]
            continue
        line, rate = cart.lines[index], price.tax_rates[index]
        vat = vat_of(own_base, rate=rate, behavior=line.tax_behavior, rounding=cart.rounding)
        included = line.tax_behavior is TaxBehavior.INCLUSIVE
        net += own_base - vat if included else own_base
        gross += own_base if included else own_base + vat
    return _OwnParts(base=base, net=net, gross=gross)


def _plan_of(seller_id: str, *, of: list[int], cart: Cart, book: PriceBook) -> FeePlan:
    try:
        return book.fee_plan(seller_id=seller_id, currency_code=cart.currency_code, at=cart.as_of)
    except ServiceError as error:
        error.field = f"lines[{of[0]}].seller_id"
        raise


def _within(part: int, *, asked: int, plan: FeePlan, cart: Cart, book: PriceBook) -> tuple[int, int, bool]:
    """Return fee, VAT on it, and whether they are less than asked because the part carries no more."""
    rate, included = _fee_rate(plan, cart=cart, book=book)
    beside = 0 if included else vat_of(asked, rate=rate, behavior=TaxBehavior.EXCLUSIVE, rounding=cart.rounding)
    limited = asked + beside > part
    taken = part if limited else asked + beside
    within = vat_of(taken, rate=rate, behavior=TaxBehavior.INCLUSIVE, rounding=cart.rounding)
    vat = within if included or limited else beside
    return taken - vat, vat, limited


def _fee_rate(plan: FeePlan, *, cart: Cart, book: PriceBook) -> tuple[TaxRate | None, bool]:
    """Return the rate of the VAT on the fee, None without any, and whether the fee holds it."""
    if plan.fee_vat is None:
        return None, True
    fee_vat = plan.fee_vat
    rate = book.tax_rate(country=fee_vat.country, tax_category=fee_vat.tax_category, on=cart.fee_date)
    return rate, fee_vat.tax_behavior is TaxBehavior.INCLUSIVE
