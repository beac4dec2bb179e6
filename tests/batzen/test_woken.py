"""A reader that is woken returns, whatever it does at that moment: who follows many at once ends each like that."""

from __future__ import annotations

import asyncio
import random
from typing import Any

from batzen.status.v1.status_pb2 import GetPaymentResponse, Payment
from batzen.watching.backlog import Backlog
from batzen.watching.figures import Figures
from batzen.watching.limits import Backoff, WatchLimits
from batzen.watching.reading import Archive, Reader
from tests.eventually import WITHIN_S

LIMITS = WatchLimits()


class SlowStatus:
    """Answers once it is told to: the service on a slow day."""

    def __init__(self) -> None:
        self.is_asked = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def GetPayment(self, *_: object, **__: object) -> GetPaymentResponse:
        await self._answered()
        return GetPaymentResponse(payment=Payment(payment_id="pay_a", revision=1))

    async def _answered(self) -> None:
        self.is_asked.set()
        await self.may_answer.wait()


def reader_of(status: Any, backlog: Backlog) -> Reader:
    archive = Archive(status, limits=LIMITS)
    return Reader("pay_a", backlog, archive=archive, limits=LIMITS, backoff=Backoff(LIMITS, random.Random(1)))


async def test_who_is_woken_while_it_reads_returns_after_that() -> None:
    status, backlog = SlowStatus(), Backlog(queue_max=4, figures=Figures(), after_revision=1)
    backlog.read_first(known=1)
    reader = reader_of(status, backlog)

    async with asyncio.timeout(WITHIN_S):
        waiting = asyncio.ensure_future(reader.next_or_woken())
        await status.is_asked.wait()
        reader.wake()
        status.may_answer.set()
        assert await waiting is None
