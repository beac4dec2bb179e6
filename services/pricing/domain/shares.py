"""Stage: who gets what of each line. What each seller's total says is spread over its lines, and nothing else."""

from __future__ import annotations

from services.pricing.domain.book import PriceBook
from services.pricing.domain.cart import Cart
from services.pricing.domain.exact import allocate
from services.pricing.domain.fees import basis_column
from services.pricing.domain.line import VatLiability
from services.pricing.domain.price import LineShares, Price, SellerTotal


def line_shares(cart: Cart, book: PriceBook, price: Price) -> Price:  # noqa: ARG001 every stage is called alike
    """Set the shares of each line; over the lines of a seller they add up to exactly its total.

    The fee and the VAT on it were rounded once per seller. They are spread in proportion to what the fee is a
    percentage of, by the largest remainder.
    """
    platform_vat = [
        vat if line.vat_liability is VatLiability.PLATFORM else 0
        for line, vat in zip(cart.lines, price.vat_minor, strict=True)
    ]
    parts = [
        own + vat - owed for own, vat, owed in zip(price.seller_net_minor, price.vat_minor, platform_vat, strict=True)
    ]
    fees, fee_vats = [0] * len(parts), [0] * len(parts)
    indexes: dict[str, list[int]] = {}
    for index, line in enumerate(cart.lines):
        indexes.setdefault(line.seller_id, []).append(index)
    for seller in price.sellers:
        of = indexes[seller.seller_id]
        for index, fee, vat in zip(of, *_fee_of_lines(seller, of=of, parts=parts, cart=cart, price=price), strict=True):
            fees[index], fee_vats[index] = fee, vat
    funded = [own - net for own, net in zip(price.seller_net_minor, price.net_minor, strict=True)]
    return price._replace(
        shares=tuple(
            LineShares(part - fee - vat, fee, vat, owed, max(0, added), max(0, -added))
            for part, fee, vat, owed, added in zip(parts, fees, fee_vats, platform_vat, funded, strict=True)
        )
    )


def _fee_of_lines(
    seller: SellerTotal, *, of: list[int], parts: list[int], cart: Cart, price: Price
) -> tuple[list[int], list[int]]:
    """Return the fee and the VAT on it, of each line of a seller; no line bears more than it can carry."""
    if seller.fee_plan is None or not seller.platform_fee_minor + seller.fee_vat_minor:
        return [0] * len(of), [0] * len(of)
    if len(of) == 1:
        return [seller.platform_fee_minor], [seller.fee_vat_minor]
    keys, step = [cart.lines[index].line_id for index in of], cart.rounding.step_minor

    def spread(amount: int, weights: list[int]) -> list[int]:
        return allocate(amount, weights=weights, keys=keys, step_minor=step) if amount else [0] * len(of)

    column, carried = basis_column(seller.fee_plan.basis, price), [parts[index] for index in of]
    weights = [column[index] for index in of]
    fees, vats = spread(seller.platform_fee_minor, weights), spread(seller.fee_vat_minor, weights)
    if all(fee + vat <= part for fee, vat, part in zip(fees, vats, carried, strict=True)):
        return fees, vats
    # A fee that takes nearly all: each line bears it by what it carries.
    taken = spread(seller.platform_fee_minor + seller.fee_vat_minor, carried)
    vats = spread(seller.fee_vat_minor, taken)
    return [both - vat for both, vat in zip(taken, vats, strict=True)], vats
