"""Status's feed of a tenant's payments: what moved, page by page or as it happens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from grpc import aio

from batzen.status.v1 import status_pb2 as pb
from batzen.status.v1.status_pb2_grpc import StatusServiceStub
from services.errors import PeerUnavailable
from services.orchestrator.facts.rules import Revision
from services.orchestrator.facts.wire import as_of, revision_of
from services.orchestrator.peers.refusals import answered
from services.runtime.rpc.channels import streaming
from services.runtime.rpc.error_status import refusal_of
from services.shared.refusals import Refusal

PEER: Final = "status"
PAGE: Final = 200
TRANSITIONS: Final = 500
LOST: Final = frozenset({"CURSOR_COMPACTED", "CURSOR_INVALID"})
"""Reasons of a cursor by which no feed goes on: history was forgotten, or status's database was put back."""
PAGE_LOST: Final = "PAGE_TOKEN_INVALID"
"""The reason of a token by which no list goes on: another release of status made it."""
FORGOTTEN: Final = "REVISION_COMPACTED"


class CursorLost(Exception):
    """No feed, or no list, goes on after this cursor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What came of a feed at once."""

    revisions: tuple[Revision, ...]
    cursor: str
    """Go on after it; empty while more of what belongs together is on its way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of all payments of a tenant, as they stand."""

    payments: tuple[Revision, ...]
    next_token: str
    cursor: str
    """Of the first page: where a feed goes on after the list."""


class Feed:
    """What is heard of status. Raises `DependencyUnavailable` for now."""

    def __init__(self, stub: StatusServiceStub) -> None:
        self._stub = stub

    @asynccontextmanager
    async def following(self, cursor: str, *, until_caught_up: bool = False) -> AsyncIterator[AsyncIterator[News]]:
        """Follow the tenant's payments inside, after a cursor. Raises `CursorLost`."""
        close_when = (
            pb.WatchPaymentsRequest.CLOSE_WHEN_CAUGHT_UP
            if until_caught_up
            else pb.WatchPaymentsRequest.CLOSE_WHEN_UNSPECIFIED
        )
        request = pb.WatchPaymentsRequest(cursor=cursor, close_when=close_when)
        async with streaming(self._stub.WatchPayments(request)) as messages:
            yield _news(messages)

    async def page(self, token: str) -> Page:
        """Return a page of all payments, the newest first. Raises `CursorLost` where no list goes on after `token`."""
        request = pb.ListPaymentsRequest(page_size=PAGE, page_token=token)
        try:
            answer = await answered(self._stub.ListPayments(request), PEER)
        except Refusal as refusal:
            if not token or refusal.reason != PAGE_LOST:
                raise
            raise CursorLost from refusal
        return Page(
            payments=tuple(map(revision_of, answer.payments)), next_token=answer.next_page_token, cursor=answer.cursor
        )

    async def payment(self, payment_id: str) -> Revision:
        """Return a payment as it stands now."""
        request = pb.GetPaymentRequest(payment_id=payment_id)
        return revision_of((await answered(self._stub.GetPayment(request), PEER)).payment)

    async def since(self, now: Revision, revision: int) -> list[Revision]:
        """Return the revisions of a payment after one that is known; of what is forgotten only how it stands now."""
        payment = pb.Payment.FromString(now.payment)
        found: list[Revision] = []
        while True:
            request = pb.ListTransitionsRequest(
                payment_id=payment.payment_id,
                after_revision=found[-1].revision if found else revision,
                page_size=TRANSITIONS,
            )
            try:
                answer = await answered(self._stub.ListTransitions(request), PEER)
            except Refusal as refusal:
                if refusal.reason != FORGOTTEN:
                    raise
                return [now]
            found += [revision_of(as_of(payment, one)) for one in answer.transitions]
            if not answer.next_page_token:
                return found


async def _news(messages: AsyncIterator[pb.WatchPaymentsResponse]) -> AsyncIterator[News]:
    try:
        async for message in messages:
            revisions = tuple(revision_of(change.payment) for change in message.changes)
            yield News(revisions=revisions, cursor=message.cursor)
    except aio.AioRpcError as error:
        if refusal_of(error).reason in LOST:
            raise CursorLost from error
        raise PeerUnavailable(dependency=PEER) from error
