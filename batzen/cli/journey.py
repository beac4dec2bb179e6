"""What was seen of one payment, as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from batzen.client import Client
from batzen.status.v1.status_pb2 import Transition

Heard = Callable[[Transition], None]


class StillRunning(TimeoutError):
    """What was waited for has not come, and comes without us."""

    def __init__(self, payment_id: str) -> None:
        super().__init__(payment_id)
        self.payment_id = payment_id


class Journey:
    """The transitions of one payment seen so far, in order."""

    def __init__(self, client: Client, payment_id: str, *, heard: Heard, after_revision: int | None) -> None:
        self.seen: list[Transition] = []
        self._payment_id = payment_id
        self._grew = asyncio.Event()
        self._reading = asyncio.create_task(self._read(client, payment_id, heard, after_revision))

    async def until(self, wanted: Callable[[Transition], bool], *, timeout_s: float) -> Transition:
        """Return the newest transition once it is as `wanted`. Raises StillRunning, or what ended the watch."""
        try:
            return await self._until(wanted, timeout_s)
        except TimeoutError:
            raise StillRunning(self._payment_id) from None

    async def _until(self, wanted: Callable[[Transition], bool], timeout_s: float) -> Transition:
        async with asyncio.timeout(timeout_s):
            while not (self.seen and wanted(self.seen[-1])):
                grew = asyncio.ensure_future(self._grew.wait())
                try:
                    await asyncio.wait({grew, self._reading}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    grew.cancel()
                if self._reading.done():
                    self._reading.result()
                self._grew.clear()
        return self.seen[-1]

    async def end(self) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)  # a failure matters to whoever waits in `until`

    async def _read(self, client: Client, payment_id: str, heard: Heard, after_revision: int | None) -> None:
        async with client.watch(payment_id, after_revision=after_revision) as updates:
            async for update in updates:
                self.seen.append(update)
                heard(update)
                self._grew.set()
