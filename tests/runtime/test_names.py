"""A channel to a name goes to all replicas that have it, and finds those that come."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any, Final

from google.protobuf.wrappers_pb2 import StringValue

from batzen._channel import make_channel
from local.issuer import Issuer
from tests.eventually import WITHIN_S, eventually
from tests.name_server import name_server
from tests.runtime.echo import SERVICE, bearer, serving, unary

NAME: Final = "status.batzen.svc.cluster.local"
GRPCS_OWN_S: Final = 30.0
"""Between two look-ups of a name, if a channel does not say otherwise."""
FOUND_WITHIN_S: Final = 25.0


async def test_a_replica_that_is_new_is_found_soon_after_an_old_one_went(issuer: Issuer) -> None:
    assert FOUND_WITHIN_S < GRPCS_OWN_S, "or this would pass without our limit"

    async def replica(stack: AsyncExitStack, address: str) -> int:
        async def says_where(_request: StringValue, _context: object) -> StringValue:
            return StringValue(value=address)

        served = serving(issuer, {"Echo": unary(says_where)}, address=f"{address}:{port}")
        return (await stack.enter_async_context(served)).server.port

    port = 0
    async with AsyncExitStack() as stack, name_server() as names:
        old = await stack.enter_async_context(AsyncExitStack())
        port = await replica(old, "127.0.2.1")
        await replica(stack, "127.0.2.2")
        names.publish(NAME, ["127.0.2.1", "127.0.2.2"])
        token = issuer.mint("payer_1", roles={"payer"})
        channel = await stack.enter_async_context(
            make_channel(names.target(NAME, port=port), timeout_s=WITHIN_S, metadata=lambda: bearer(token))
        )
        call: Any = channel.unary_unary(f"/{SERVICE}/Echo", StringValue.SerializeToString, StringValue.FromString)
        answered: set[str] = set()

        async def have_all_answered(*addresses: str) -> bool:
            answered.add((await call(StringValue())).value)
            return answered >= set(addresses)

        await eventually(lambda: have_all_answered("127.0.2.1", "127.0.2.2"))
        await replica(stack, "127.0.2.3")
        names.publish(NAME, ["127.0.2.2", "127.0.2.3"])
        await old.aclose()  # no call fails meanwhile
        await eventually(lambda: have_all_answered("127.0.2.3"), within_s=FOUND_WITHIN_S)
