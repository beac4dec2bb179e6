"""`python -m services.gateway reconcile DAYS`: the run of every day, made due for the processes that serve.

It is asked for by the day, so that a job that is started again asks for the same run.
"""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Self

from services.gateway.reconciliation.domain import SPAN_MAX
from services.gateway.reconciliation.position import Position, Span
from services.gateway.reconciliation.run import Run
from services.gateway.reconciliation.store import ReconciliationStore
from services.gateway.settings import read_tenant
from services.runtime.database.connections import DirectConnections
from services.runtime.process.clock import Clock
from services.runtime.process.lifecycle import StartRefused
from services.runtime.process.service import OwnerSettings
from services.runtime.process.settings import Reader

NAMESPACE: Final = uuid.UUID("1f9d2a0c-6f0e-5d0b-8f39-77f0c1a5e2b4")
"""Of the ids of daily runs. Never changes."""
ACTOR: Final = "schedule"
USAGE: Final = f"usage: python -m services.gateway reconcile DAYS, 1 to {SPAN_MAX.days}"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSettings:
    """What is needed to have a run made."""

    owner: OwnerSettings
    tenant_id: str

    @classmethod
    def read(cls, read: Reader) -> Self:
        """Read the settings."""
        return cls(owner=OwnerSettings.read(read), tenant_id=read_tenant(read))


async def schedule(settings: ScheduleSettings, arguments: Sequence[str]) -> None:
    """Have the whole days before today, UTC, compared with Stripe; so many of them, and nothing mended."""
    if len(arguments) != 1 or not arguments[0].isdecimal() or not 1 <= int(arguments[0]) <= SPAN_MAX.days:
        raise StartRefused(USAGE)
    clock = Clock()
    run = daily(settings.tenant_id, clock, days=int(arguments[0]))
    async with DirectConnections(settings.owner.owner_url, application_name="reconcile", size=1) as connections:
        await ReconciliationStore(connections, clock=clock).begin(run)
    _logger.info("%s is due, from %s to %s", run.reconciliation_id, run.span.since, run.span.until)


def daily(tenant_id: str, clock: Clock, *, days: int) -> Run:
    """Return the run of a day."""
    until = clock.now().replace(hour=0, minute=0, second=0, microsecond=0)
    span = Span(since=until - timedelta(days=days), until=until)
    asked = f"{tenant_id}/{span.since:%Y-%m-%d}/{span.until:%Y-%m-%d}"
    return Run(
        tenant_id=tenant_id,
        reconciliation_id=f"reconciliation_{uuid.uuid5(NAMESPACE, asked).hex}",
        request_hash=hashlib.sha256(asked.encode()).digest(),
        actor_id=ACTOR,
        span=span,
        repairs=False,
        steps=0,
        position=Position(),
        counted={},
        cut_short="",
        problem="",
        create_time=clock.now(),
        finish_time=None,
    )
