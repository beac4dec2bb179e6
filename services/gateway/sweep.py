"""Settles calls whose answer was lost: asks again by the same key until there is one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from services.errors import ServiceError
from services.gateway.calls import Calls
from services.gateway.store import Call
from services.runtime import calls as calling

SWEEP_EVERY_S: Final = 0.5
"""Between two looks; the partial index that is looked at is empty while Stripe answers."""
SETTLED_AT_ONCE_MAX: Final = 8
"""So that what piled up in an outage leaves Stripe's limits to live calls."""

_logger = logging.getLogger(__name__)


@asynccontextmanager
async def sweeping(calls: Calls) -> AsyncIterator[None]:
    """Settle calls while inside."""
    task = asyncio.create_task(_run(calls))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def sweep(calls: Calls) -> int:
    """Settle what is due now, and return how many calls were."""
    due = await calls.due()
    room = asyncio.Semaphore(SETTLED_AT_ONCE_MAX)

    async def settle(call: Call) -> None:
        async with room:
            with calling.acting_for(call.tenant_id):
                try:
                    await calls.settle(call)
                except ServiceError as error:
                    _logger.warning("%s of %s is settled later: %s", call.operation, call.payment_id, error)
                except Exception:
                    # One call that cannot be settled must not stop the others.
                    _logger.exception("%s of %s could not be settled", call.operation, call.payment_id)

    await asyncio.gather(*(settle(call) for call in due))
    return len(due)


async def _run(calls: Calls) -> None:
    while True:
        try:
            await sweep(calls)
        except ServiceError as error:
            _logger.warning("the sweep found its database away: %s", error)
        except Exception:
            # Whatever it is, a sweep that ended here would leave every call without an answer to nobody.
            _logger.exception("the sweep could not look at what is due")
        await asyncio.sleep(SWEEP_EVERY_S)
