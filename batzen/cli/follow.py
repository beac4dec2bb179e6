"""Following one payment while something else is done with it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from batzen.status.v1.status_pb2 import Payment, Transition
from batzen.type.v1.payment_pb2 import PaymentState

if TYPE_CHECKING:
    from batzen.cli.journey import Heard, Journey
    from batzen.client import Client


@asynccontextmanager
async def following(
    client: Client, payment_id: str, *, heard: Heard = lambda _update: None, after_revision: int | None = None
) -> AsyncIterator[Journey]:
    """Follow a payment inside; `heard` is called with each transition as it comes."""
    from batzen.cli.journey import Journey  # noqa: PLC0415 help needs no loop and no client, and starts faster

    journey = Journey(client, payment_id, heard=heard, after_revision=after_revision)
    try:
        yield journey
    finally:
        await journey.end()


def is_decided(update: Transition | Payment) -> bool:
    """Whether a submit has come to an end: settled, held, planned, or the payer's turn again."""
    return update.settled or update.state in (
        PaymentState.PAYMENT_STATE_REQUIRES_PAYMENT_METHOD,
        PaymentState.PAYMENT_STATE_REQUIRES_ACTION,
        PaymentState.PAYMENT_STATE_AUTHORIZED,
        PaymentState.PAYMENT_STATE_SCHEDULED,
    )


def at_least(revision: int, wanted: Callable[[Transition], bool]) -> Callable[[Transition], bool]:
    """Return `wanted` for revisions from `revision` on."""
    return lambda update: update.revision >= revision and wanted(update)
