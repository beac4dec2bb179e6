"""What an answer of the orchestrator's sink says, or its silence: it has what it was sent, is away, or refuses it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from datetime import timedelta
from typing import Final

import grpc
from grpc import aio

from services.errors import DependencyUnavailable
from services.gateway.call_log import backoff
from services.runtime.rpc.error_status import refusal_of
from services.runtime.work.kinds import RetryLater, RetryPolicy

RETRY: Final = RetryPolicy(tries_max=8, first_delay=timedelta(seconds=1), delay_max=timedelta(minutes=5))
"""Of what the sink refuses."""
TIMEOUT_S: Final = 3.0
"""The sink stores and answers, in milliseconds. One that hangs must not keep workers from the others."""
REFUSALS: Final = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DATA_LOSS,
    }
)
"""The sink was reached and does not want it. Anything else says that it is away, too busy, or that our token is being
renewed: no failure of the delivery."""

_logger = logging.getLogger(__name__)


class DeliveryRefused(Exception):
    """The sink refuses what is delivered."""


async def taken(delivering: Awaitable[None], *, waited: timedelta, about: str) -> None:
    """Await a call of the sink, for what `waited` so long already and is named by `about` in logs.

    Raises `RetryLater` when the sink is away, `DeliveryRefused` when it does not want this.
    """
    rest = backoff.rest(waited)
    try:
        await delivering
    except aio.AioRpcError as error:
        refusal = f"{error.code().name} {refusal_of(error).reason}".strip()
        if error.code() in REFUSALS or rest is None:
            raise DeliveryRefused(refusal) from error
        _logger.info("a delivery waits", extra={"fields": {"about": about, "reason": refusal}})
        raise RetryLater(rest) from error
    except DependencyUnavailable as error:  # there is no token to call with
        if rest is None:
            raise
        raise RetryLater(rest) from error
