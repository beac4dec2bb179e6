"""Every panel of every dashboard has something to show while the suite takes payments; drawn where matplotlib is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from batzen import errors
from batzen.client import new_request_id
from batzen.gateway.v1 import ops_pb2
from deploy.observability.__main__ import GROUPS
from deploy.observability.dashboards import DASHBOARDS
from deploy.observability.panels import RATE, Dashboard
from local.suite import Suite
from tests.eventually import eventually
from tests.suite.journeys import JOURNEYS, TOTAL_MINOR, Traveller, pay
from tests.suite.scraping import Prometheus, hastened, scraping

pytestmark = pytest.mark.soak

ROOT: Final = Path(__file__).parents[2]
PAINTER: Final = ROOT / ".batzen/tools/pictures/bin/python"
PICTURES: Final = ROOT / ".batzen/pictures"
WINDOW: Final = "10s"
"""Of a rate: some tens of scrapes."""
SHOWN_WITHIN_S: Final = 90.0
ROUNDS: Final = 4
DAY_S: Final = 86_400
SELDOM: Final = "method, code"
"""Nothing of this fails in a suite that is well; the line beside it shows that."""


@pytest.fixture
async def prometheus(suite: Suite, tmp_path: Path) -> AsyncIterator[Prometheus]:
    async with scraping(suite, hastened(GROUPS), tmp_path) as running:
        yield running


async def business(traveller: Traveller) -> None:
    """Do some of all that is counted: payments, declines, refunds, disputes, watches, refusals, a reconciliation."""
    for number in range(ROUNDS):
        for place, (journey, _ends) in enumerate(JOURNEYS.values()):
            payer_id = f"payer_{number}_{place}"  # some keep a method, and look at all that their payer keeps
            async with traveller.suite.client("payer", sub=payer_id) as payer:
                of_payer = Traveller(traveller.suite, traveller.shop, payer, traveller.sandbox, payer_id=payer_id)
                payment_id = await journey(of_payer)
                async with payer.watch(payment_id) as updates:
                    await anext(updates)
        declined = (await traveller.start()).payment.payment_id
        await traveller.submit(declined, "pm_card_chargeDeclined")
        with pytest.raises(errors.BatzenError):
            await traveller.refund(declined, amount_minor=1, refundable_minor=TOTAL_MINOR)
    disputed = await pay(traveller)
    await traveller.until(disputed, "SUCCEEDED", within_s=SHOWN_WITHIN_S)
    await traveller.sandbox.dispute((await traveller.intent_of(disputed))["id"])
    now = time.time()
    asked = ops_pb2.ReconcileRequest(request_id=new_request_id(), actor_id="operator_1")
    asked.start_time.FromSeconds(int(now) - DAY_S)
    asked.end_time.FromSeconds(int(now))
    async with traveller.suite.client("operator", sub="clerk") as operator:
        await operator.gateway_ops.Reconcile(asked)


async def watch_all(traveller: Traveller) -> None:
    """Follow one payment after the other, each of which moves while it is watched."""
    while True:
        payment_id = (await traveller.start()).payment.payment_id
        async with traveller.payer.watch(payment_id, until_settled=True) as updates:
            await anext(updates)
            await traveller.submit(payment_id, "pm_card_visa")
            async for _ in updates:
                pass


async def without_data(prometheus: Prometheus, dashboard: Dashboard) -> list[str]:
    """Return the queries of a dashboard that have nothing to show."""
    empty = []
    for panel in dashboard.panels:
        for query in panel.queries:
            shown = await prometheus.ask(query.expr.replace(RATE, WINDOW))
            if not any(one["value"][1] != "NaN" for one in shown) and SELDOM not in query.expr:
                empty.append(f"{panel.title}: {query.expr}")
    return empty


async def test_every_panel_has_something_to_show(traveller: Traveller, prometheus: Prometheus) -> None:
    watching = asyncio.create_task(watch_all(traveller))
    working = asyncio.create_task(business(traveller))
    try:
        for dashboard in DASHBOARDS:
            empty: list[str] = []

            async def is_shown(dashboard: Dashboard = dashboard, empty: list[str] = empty) -> bool:
                empty[:] = await without_data(prometheus, dashboard)
                return not empty

            await eventually(is_shown, within_s=SHOWN_WITHIN_S, what=lambda empty=empty: "; ".join(empty))  # type: ignore[misc]
        await working
    finally:
        watching.cancel()
        working.cancel()
        await asyncio.wait({watching, working})

    if PAINTER.exists():
        painting = await asyncio.create_subprocess_exec(
            PAINTER, "-m", "deploy.observability.draw", prometheus.url, PICTURES, "60", WINDOW, cwd=ROOT
        )
        assert await painting.wait() == 0
        assert {path.stem for path in PICTURES.glob("*.png")} >= {dashboard.uid for dashboard in DASHBOARDS}
