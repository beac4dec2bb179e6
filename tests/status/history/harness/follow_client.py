"""Who follows a payment with the client package, which resumes by itself: one endless watch, over whatever streams."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from batzen.client import Addresses, Client
from batzen.errors import BatzenError
from tests.status.history.harness.link import HOST, Link
from tests.status.history.harness.world import World, came
from tests.status.history.reports import Asked, Broken, Ended, Stretch, Watcher, now_us


@asynccontextmanager
async def client_of(links: Sequence[Link], token: str) -> AsyncIterator[Client]:
    """Connect to all replicas, as to the addresses of one name."""
    target = "ipv4:" + ",".join(f"{HOST}:{link.port}" for link in links)
    async with Client(token=token, addresses=Addresses(status=target)) as client:
        yield client


async def follow_with_client(watcher: Watcher[Stretch], client: Client, payment_id: str, world: World) -> None:
    """Watch one payment from its beginning, until cancelled."""
    asked = Asked(payment_id=payment_id, at_us=now_us(), after_revision=0, has_header=False)
    stretch = Stretch(watcher=watcher.name, asked=asked)
    watcher.streams.append(stretch)
    try:
        async with client.watch(payment_id, after_revision=0) as updates:
            async for update in updates:
                if update.payment_id == payment_id:
                    stretch.events.append(came(update, now_us(), world))
                else:
                    stretch.events.append(Broken(at_us=now_us(), what=f"a transition of {update.payment_id}"))
    except BatzenError as error:
        stretch.events.append(Ended(at_us=now_us(), code=error.code.name, reason=str(error.reason), details=str(error)))
