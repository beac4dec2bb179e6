"""Carts of several sellers, each with an account of its own."""

from __future__ import annotations

from typing import Any

from batzen.gateway.v1 import sellers_pb2
from batzen.pricing.v1 import pricing_pb2
from tests.gateway.samples import new_id as new_seller_id
from tests.gateway.stubs import GatewayStubs
from tests.orchestrator.conftest import World
from tests.orchestrator.samples import chf, line, new_id

GROSSES = (10_000, 5_000, 3_000)
"""180.00 in all, of which the platform takes 15 %."""
CART_MINOR = sum(GROSSES)


async def put_seller(world: World) -> str:
    """Return a seller with an account of its own."""
    request = sellers_pb2.PutSellerAccountRequest(
        request_id=new_id(), seller_id=new_seller_id("seller"), country_code="CH", email="seller@example.ch"
    )
    async with world.channel(world.ports["gateway"], "shop") as channel:
        return (await GatewayStubs(channel).PutSellerAccount(request)).account.seller_id


async def cart(world: World, **changes: Any) -> list[pricing_pb2.Line]:
    """Return a line of each of three sellers."""
    return [
        line(line_id=f"line_{place}", seller_id=await put_seller(world), unit_amount=chf(minor), **changes)
        for place, minor in enumerate(GROSSES)
    ]
