"""Does what was confirmed: written down before the call, and what came of it after.

The call carries the `request_id` of its form. So a double click, a repeat after a lost answer and whoever carries on
after this process died all make the same call, and the service does it once. What is written here says who wanted what
and why; that it was done is said by the service that did it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

import asyncpg

from batzen.errors import LASTING, BatzenError
from services.console.actions.domain import Ask
from services.console.actions.kinds import Action
from services.console.amounts import sum_of
from services.console.desk import Visit, trouble_of
from services.console.metrics import ACTIONS
from services.web.failures import Failure

_logger = logging.getLogger(__name__)
DONE: Final = "done"
REFUSED: Final = "refused"
UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of it."""

    trouble: Failure | None
    """Why it was not done, or why that is not known; None where it was."""
    is_known: bool
    """Whether the service has decided. Where not, the same is sent again."""


async def do(visit: Visit, action: Action, ask: Ask, *, request_id: str, reason: str, asked_by: str) -> Outcome:
    """Do it, and return what came of it. Nothing is called before it is written down who wants it."""
    moved = "" if ask.moved is None else f" {sum_of(ask.moved)}"
    detail = f"{request_id}{moved} asked by {asked_by}: {reason}"
    await visit.audit(_asked(action.key), about=ask.payment_id, detail=detail)
    try:
        await action.run(visit, ask, request_id=request_id, reason=reason)
    except BatzenError as error:
        trouble = trouble_of(error, correlation_id=visit.correlation_id)
        is_known = isinstance(error, LASTING)
        _count(visit, action, REFUSED if is_known else UNKNOWN)
        await _write_outcome(visit, action, ask, f"{request_id} {REFUSED if is_known else UNKNOWN}: {trouble.code}")
        return Outcome(trouble=trouble, is_known=is_known)
    _count(visit, action, DONE)
    await _write_outcome(visit, action, ask, f"{request_id} {DONE}")
    return Outcome(trouble=None, is_known=True)


async def was_asked(visit: Visit, ask: Ask, request_id: str) -> bool:
    """Tell whether this operator had this very call made before: then it may be what the payment moved by."""
    return await visit.front.audit.has(
        tenant_id=visit.session.tenant_id,
        subject=visit.session.subject,
        what=_asked(ask.action),
        about=ask.payment_id,
        detail_begins=f"{request_id} ",
    )


def _count(visit: Visit, action: Action, outcome: str) -> None:
    visit.front.meter.counter(ACTIONS).add(action.key, outcome)


def _asked(key: str) -> str:
    return f"{key}.asked"


async def _write_outcome(visit: Visit, action: Action, ask: Ask, detail: str) -> None:
    """Write what came of it, where that can be written: the call was made, and the service knows of it."""
    try:
        await visit.audit(f"{action.key}.outcome", about=ask.payment_id, detail=detail)
    except (asyncpg.PostgresError, OSError, TimeoutError):
        _logger.exception("What came of %s on %s was not written down: %s", action.key, ask.payment_id, detail)
