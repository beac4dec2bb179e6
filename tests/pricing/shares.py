"""What holds of the shares of every priced cart's lines."""

from __future__ import annotations

from services.pricing.domain.cart import Cart
from services.pricing.domain.price import Price


def check_shares(of: Cart, price: Price) -> None:
    """Hold the shares of each line to the line, and those of a seller's lines to the seller's total."""
    for gross, line in zip(price.gross_minor, price.shares, strict=True):
        taken = line.platform_fee_minor + line.fee_vat_minor + line.platform_vat_minor + line.surcharges_minor
        assert line.seller_minor + taken - line.discounts_funded_minor == gross
        assert min(line) >= 0
        assert [amount for amount in line if amount % of.rounding.step_minor] == []
    for seller in price.sellers:
        lines = [one for one, line in zip(price.shares, of.lines, strict=True) if line.seller_id == seller.seller_id]
        assert sum(line.seller_minor for line in lines) == seller.seller_share_minor
        assert sum(line.platform_fee_minor for line in lines) == seller.platform_fee_minor
        assert sum(line.fee_vat_minor for line in lines) == seller.fee_vat_minor
        assert sum(line.platform_vat_minor for line in lines) == seller.platform_vat_minor
