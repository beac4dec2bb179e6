"""A Prometheus of a test's own, which scrapes the suite and follows its rules sixty times as fast.

What is shortened: every window of a rule and how long an alert must last, by `FASTER`, down to four scrapes; ages,
such as that of an inbox, by `YOUNGER`, since the services look them up every 10 s. Budgets, shares and counts stay.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import httpx

from deploy.observability.rule import PROCESSES, Alert, Group, Recording, rule_file, yaml
from local.ports import HOST, free_ports
from local.suite import Suite
from tests.deploy.promtool import seconds, tool
from tests.eventually import eventually

FASTER: Final = 60
YOUNGER: Final = 5
SCRAPE_MS: Final = 500
"""Twice the sixtieth of 15 s: a busy machine does not answer within less."""
WINDOW_MS_MIN: Final = 4 * SCRAPE_MS
"""Of four scrapes, as in production."""
WITHIN_S: Final = 60.0
WINDOW: Final = re.compile(r"\[(\d+[smhd])\]")
AGE: Final = re.compile(r"(?P<age>(?:oldest|oldest_due|behind|sample_timestamp)_seconds\) > )(?P<limit>\d+)")


def hastened(groups: Sequence[Group]) -> list[Group]:
    """Return rules whose windows are sixty times as short, and whose ages are a fifth."""
    return [Group(name=group.name, rules=[_hastened(rule) for rule in group.rules]) for group in groups]


def _hastened(rule: Recording | Alert) -> Recording | Alert:
    expr = WINDOW.sub(lambda window: f"[{_short(window[1], at_least_ms=WINDOW_MS_MIN)}]", rule.expr)
    if isinstance(rule, Recording):
        return replace(rule, expr=expr)
    expr = AGE.sub(lambda age: f"{age['age']}{int(age['limit']) // YOUNGER}", expr)
    return replace(rule, expr=expr, lasting=_short(rule.lasting))


def _short(duration: str, *, at_least_ms: int = 0) -> str:
    return f"{max(seconds(duration) * 1000 // FASTER, at_least_ms)}ms"


class Prometheus:
    """A server that runs."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = httpx.AsyncClient(base_url=url, trust_env=False, timeout=30.0)

    async def close(self) -> None:
        await self._client.aclose()

    async def is_up(self) -> bool:
        try:
            return (await self._client.get("/-/ready")).is_success
        except httpx.TransportError:
            return False

    async def sees_all(self) -> bool:
        """Return whether every service is scraped, and the alert on what is not has noticed."""
        seen = await self.ask("count(batzen_build_info)")
        return (
            bool(seen)
            and int(seen[0]["value"][1]) >= len(PROCESSES)
            and "BatzenServiceUnseen" not in await self.firing()
        )

    async def ask(self, expr: str) -> list[dict[str, Any]]:
        """Return the series that an expression has now. AssertionError where Prometheus does not take it."""
        answer = await self._client.get("/api/v1/query", params={"query": expr})
        assert answer.is_success, f"{expr}: {answer.text}"
        return list(answer.json()["data"]["result"])

    async def firing(self) -> dict[str, dict[str, Any]]:
        """Return the alerts that fire, by name."""
        alerts = (await self._client.get("/api/v1/alerts")).json()["data"]["alerts"]
        return {alert["labels"]["alertname"]: alert for alert in alerts if alert["state"] == "firing"}


@asynccontextmanager
async def scraping(suite: Suite, groups: Sequence[Group], folder: Path) -> AsyncIterator[Prometheus]:
    """Run a Prometheus that scrapes the suite and follows the rules, while inside."""
    (folder / "rules.yaml").write_text(yaml(rule_file(groups)))
    jobs = [
        {
            "job_name": service,
            "static_configs": [{"targets": [f"{HOST}:{suite.ports[f'{service}-metrics']}"]}],
        }
        for service in PROCESSES
    ]
    paces = {
        "scrape_interval": f"{SCRAPE_MS}ms",
        "scrape_timeout": f"{SCRAPE_MS}ms",
        "evaluation_interval": f"{SCRAPE_MS}ms",
    }
    (folder / "prometheus.yaml").write_text(
        yaml({"global": paces, "rule_files": [str(folder / "rules.yaml")], "scrape_configs": jobs})
    )
    address = f"{HOST}:{free_ports()['sandbox']}"
    with (folder / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            tool("prometheus"),
            f"--config.file={folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={address}",
            stdout=log,
            stderr=log,
        )
    prometheus = Prometheus(f"http://{address}")
    try:
        await eventually(prometheus.is_up, within_s=WITHIN_S, what=(folder / "prometheus.log").read_text)
        await eventually(prometheus.sees_all, within_s=WITHIN_S, what="every service is scraped, and known to be")
        yield prometheus
    finally:
        await prometheus.close()
        process.terminate()
        await process.wait()
