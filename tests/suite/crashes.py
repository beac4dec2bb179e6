"""Finds every crash position of the journeys, and kills the process that reaches one, right there."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from local.ports import free_ports
from local.storage import Storage
from local.suite import Suite, running_suite
from tests.suite.journeys import JOURNEYS, PAYER, Traveller

SERVICES: Final = ("orchestrator", "pricing", "status", "gateway")
SETTLED_WITHIN_S: Final = 10.0
"""After the restart of what was killed."""
RECORDED_WITHIN_S: Final = 20.0

BACKGROUND: Final = ("lease.renew:", "sweep.", "lease.release:")
"""Positions that depend on what happens to wait or to run late; they are struck by whoever comes by."""


@dataclass(slots=True, kw_only=True)
class Rig:
    """A suite whose services record crash positions and die at the armed one; what dies is started again."""

    suite: Suite
    traveller: Traveller
    record: Path
    armed: Path
    deaths: list[tuple[str, float]] = field(default_factory=list)
    """Which process died, and when it served again."""

    async def tend(self) -> None:
        """Start again whatever ends, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for service in SERVICES:
                group.create_task(self._tend(service))

    async def _tend(self, service: str) -> None:
        while True:
            await self.suite.ended(service)
            await self.suite.start(service)
            self.deaths.append((service, time.monotonic()))

    def positions(self) -> list[str]:
        """Return the positions recorded so far, in the order they were first reached."""
        lines = self.record.read_text().splitlines() if self.record.exists() else []
        return list(dict.fromkeys(lines))


@asynccontextmanager
async def rigged(storage: Storage | None) -> AsyncIterator[Rig]:
    """Run a suite that can be killed at its crash positions."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="batzen-crash-")))
        folder.chmod(0o711)
        record, armed = folder / "record", folder / "armed"
        settings = {"BATZEN_CRASH_RECORD": str(record), "BATZEN_CRASH_FILE": str(armed)}
        suite = await stack.enter_async_context(
            running_suite(
                folder / "suite",
                ports=free_ports(),
                storage=storage,
                extra=dict.fromkeys(SERVICES, settings),
            )
        )
        assert suite.sandbox is not None
        shop = await stack.enter_async_context(suite.client("service", sub="shop"))
        payer = await stack.enter_async_context(suite.client("payer", sub=PAYER))
        traveller = Traveller(suite, shop, payer, suite.sandbox)
        rig = Rig(suite=suite, traveller=traveller, record=record, armed=armed)
        tending = asyncio.create_task(rig.tend())
        try:
            await traveller.put_seller()
            yield rig
        finally:
            tending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await tending


async def record(rig: Rig) -> list[tuple[str, str]]:
    """Run every journey once; return (journey, position) for each position, under the first that reached it."""
    known = set(rig.positions())
    found = []
    for name, (journey, ends) in JOURNEYS.items():
        payment_id = await journey(rig.traveller)
        await rig.traveller.until(payment_id, ends.state, within_s=RECORDED_WITHIN_S)
        await rig.traveller.check(payment_id, ends)
        for position in rig.positions():
            if position not in known:
                known.add(position)
                found.append((name, position))
    return found


async def strike(rig: Rig, name: str, position: str) -> str | None:
    """Take a journey with the process killed at `position`; return what went wrong, or None."""
    journey, ends = JOURNEYS[name]
    deaths = len(rig.deaths)
    rig.armed.write_text(position)
    try:
        payment_id = await journey(rig.traveller)
        while rig.armed.exists() and len(rig.deaths) == deaths:
            await rig.traveller.until(payment_id, ends.state, within_s=RECORDED_WITHIN_S)
            if rig.armed.exists():
                rig.armed.unlink()
                is_background = position.startswith(BACKGROUND)
                return None if is_background else "was recorded, and not reached again"
        died = rig.deaths[-1][1] if len(rig.deaths) > deaths else time.monotonic()
        left_s = max(0.0, died + SETTLED_WITHIN_S - time.monotonic())
        await rig.traveller.until(payment_id, ends.state, within_s=left_s)
        await rig.traveller.check(payment_id, ends)
    except Exception as problem:  # noqa: BLE001 each position is judged by itself, and all are reported
        rig.armed.unlink(missing_ok=True)
        return f"{type(problem).__name__}: {problem}"
    return None
