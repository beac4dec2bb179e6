"""Carts of several sellers to test with: a charge of the platform, whose parts are transferred by calls of ours."""

from __future__ import annotations

from typing import Any

from batzen.gateway.v1 import split_pb2
from tests.gateway.samples import Payments, chf, new_id

CART = {"a": 10_000, "b": 5_000, "c": 3_000}
"""What the line of each of three sellers costs: 180.00."""
FEE_PERCENT = 15


async def sellers(payments: Payments, names: dict[str, int]) -> dict[str, str]:
    """Return the ids of sellers with accounts that can be paid, by a name each."""
    found = {}
    for name in names:
        found[name] = new_id("seller")
        await payments.prepare_seller(found[name])
    return found


def parts(seller_ids: dict[str, str], prices: dict[str, int], **line: Any) -> list[split_pb2.SellerPart]:
    """Return the split of a charge with one line of each seller, `line-a` and so on, at 15 % for the platform."""
    return [
        split_pb2.SellerPart(
            seller_id=seller_ids[name],
            lines=[
                split_pb2.LinePart(
                    line_id=f"line-{name}",
                    gross_minor=gross,
                    seller_minor=gross - gross * FEE_PERCENT // 100,
                    platform_fee_minor=gross * FEE_PERCENT // 100,
                    **line,
                )
            ],
        )
        for name, gross in prices.items()
    ]


async def paid_cart(
    payments: Payments, seller_ids: dict[str, str], prices: dict[str, int] = CART, *, card: str = "visa", **fields: Any
) -> str:
    """Return a payment of several sellers that was paid."""
    return await payments.paid(
        card,
        amount=chf(sum(prices.values())),
        application_fee=chf(0),
        seller_id="",
        seller_parts=parts(seller_ids, prices),
        **fields,
    )
