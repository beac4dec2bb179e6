"""Stage: what the platform takes of each seller's part. Nothing is added to the total.

A seller's part is the net of its lines as if the platform's own discounts and surcharges did not exist, with the VAT
that the seller owes on what is really paid. The platform's fee, rounded once, and the VAT on the fee come off it.
There is no fee on the platform's own goods, which the tenant itself sells.
"""

from __future__ import annotations

from services.errors import ServiceError
from services.pricing.domain.book import FeeBasis, FeePlan, PriceBook, TaxRate
from services.pricing.domain.cart import Cart
from services.pricing.domain.exact import require_amount
from services.pricing.domain.line import TaxBehavior, VatLiability
from services.pricing.domain.price import Price, SellerTotal, Stage
from services.pricing.domain.tax import vat_of


def platform_fee(cart: Cart, book: PriceBook, price: Price) -> Price:
    """Set what each seller gets. Raises `FeePlanUnknown`, `TaxRateUnknown` or `AmountOverflow`."""
    price = _with_own_parts(cart, price)
    indexes: dict[str, list[int]] = {}
    for index, line in enumerate(cart.lines):
        indexes.setdefault(line.seller_id, []).append(index)
    sellers = tuple(
        _seller_total(seller_id, of=indexes[seller_id], cart=cart, book=book, price=price)
        for seller_id in sorted(indexes)
    )
    taken = require_amount(sum(seller.platform_fee_minor + seller.fee_vat_minor for seller in sellers), field="lines")
    return price._replace(sellers=sellers, contributions=(*price.contributions, (Stage.PLATFORM_FEE, taken)))


def basis_column(basis: FeeBasis, price: Price) -> tuple[int, ...]:
    """Return the amounts, per line, that a fee is a percentage of."""
    if basis is FeeBasis.BASE:
        return price.seller_base_minor
    return price.seller_net_minor if basis is FeeBasis.NET else price.seller_gross_minor


def _seller_total(seller_id: str, *, of: list[int], cart: Cart, book: PriceBook, price: Price) -> SellerTotal:
    own_base = own_net = base = net = vat = platform_vat = 0
    for index in of:
        own_base += price.seller_base_minor[index]
        own_net += price.seller_net_minor[index]
        base += price.base_minor[index]
        net += price.net_minor[index]
        vat += price.vat_minor[index]
        if cart.lines[index].vat_liability is VatLiability.PLATFORM:
            platform_vat += price.vat_minor[index]
    part = require_amount(own_net + vat - platform_vat, field="lines")
    plan = None if seller_id == cart.platform_id else _plan_of(seller_id, of=of, cart=cart, book=book)
    basis = fee = fee_vat = 0
    limited = False
    if plan is not None:
        column = basis_column(plan.basis, price)
        basis = sum(column[index] for index in of)
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
        platform_funded_minor=own_base - base,
        seller_share_minor=part - fee - fee_vat,
        fee_plan=plan,
        fee_basis_minor=basis,
        fee_limited=limited,
    )


def _with_own_parts(cart: Cart, price: Price) -> Price:
    """Set what the sellers ask: their lines as if the platform's own discounts and surcharges did not exist."""
    net, gross = list(price.net_minor), list(price.gross_minor)
    for index, own_base in enumerate(price.seller_base_minor):
        if own_base == price.base_minor[index]:
            continue
        line, rate = cart.lines[index], price.tax_rates[index]
        vat = vat_of(own_base, rate=rate, behavior=line.tax_behavior, rounding=cart.rounding)
        included = line.tax_behavior is TaxBehavior.INCLUSIVE
        net[index] = own_base - vat if included else own_base
        gross[index] = own_base if included else own_base + vat
    return price._replace(seller_net_minor=tuple(net), seller_gross_minor=tuple(gross))


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
