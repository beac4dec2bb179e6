"""What pages report is passed on in batches, and lost rather than waited for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import aiohttp
import pytest
from aiohttp import web

from services.bff.analytics import BATCH_MAX, WAITING_MAX, Analytics
from services.runtime.observability.metrics import Meter

NOW = datetime(2026, 11, 29, tzinfo=UTC)


class Counting:
    """Who counts: takes batches, or is out of order."""

    def __init__(self) -> None:
        self.batches: list[list[dict[str, str]]] = []
        self.status = 204
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        self.batches.append(await request.json())
        return web.Response(status=self.status)


@pytest.fixture
async def counting() -> AsyncIterator[Counting]:
    made = Counting()
    application = web.Application()
    application.add_routes([web.post("/", made.take)])
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    yield made
    await runner.cleanup()


async def _lost(meter: Meter) -> float:
    text = (await meter.text()).decode()
    lines = [line for line in text.splitlines() if line.startswith("batzen_bff_beacons_lost_total ")]
    return float(lines[0].split()[1]) if lines else 0.0


async def test_what_waits_is_passed_on_once_and_what_is_refused_is_lost(counting: Counting) -> None:
    meter = Meter()
    async with aiohttp.ClientSession() as client:
        analytics = Analytics(counting.url, meter=meter, client=client)
        for page in ("method", "success"):
            analytics.add(tenant_id="main", name="page_shown", page=page, time=NOW)
        await analytics.pass_on()
        await analytics.pass_on()
        counting.status = 500
        analytics.add(tenant_id="main", name="page_shown", page="held", time=NOW)
        await analytics.pass_on()
        await analytics.pass_on()

    assert [[one["page"] for one in batch] for batch in counting.batches] == [["method", "success"], ["held"]]
    assert counting.batches[0][0] == {"tenant": "main", "name": "page_shown", "page": "method", "time": NOW.isoformat()}
    assert await _lost(meter) == 1


async def test_no_more_waits_than_may_and_nobody_is_told_where_no_address_is_set(counting: Counting) -> None:
    meter = Meter()
    async with aiohttp.ClientSession() as client:
        silent = Analytics(None, meter=meter, client=client)
        silent.add(tenant_id="main", name="page_shown", page="method", time=NOW)
        await silent.pass_on()
        full = Analytics(counting.url, meter=meter, client=client)
        for _ in range(WAITING_MAX + 3):
            full.add(tenant_id="main", name="page_shown", page="method", time=NOW)
        await full.pass_on()

    assert [len(batch) for batch in counting.batches] == [BATCH_MAX]
    assert await _lost(meter) == 3
