"""Asks the suite's processes what they count, four times a minute, and keeps the last quarter of an hour of it.

A name with several addresses is several processes; each is asked by itself.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from services.console.operating.limits import Counts, Sample, Window, added
from services.runtime.work.loops import repeating
from services.web.front import Front

EVERY_S: Final = 15.0
TIMEOUT: Final = aiohttp.ClientTimeout(total=5)
"""Of one process: it answers within milliseconds, or is in trouble."""
BYTES_MAX: Final = 4_000_000
"""Of one answer; ~300 kB is usual."""
PROCESSES_MAX: Final = 64
"""That are asked; beyond them the figures are those of a part, and belong on a dashboard."""
FAULTS: Final = frozenset({"INTERNAL", "UNKNOWN", "DATA_LOSS", "UNAVAILABLE"})
CUT: Final = frozenset({"WATCH_OVERFLOW", "DEPENDENCY_UNAVAILABLE", "other"})
_BUCKETS: Final[Mapping[tuple[str, str], tuple[str, float]]] = {
    ("batzen_payment_state_seconds", "PROCESSING"): ("state", 5.0),
    ("batzen_rpc_duration_seconds", "OrchestratorService/StartPayment"): ("start", 0.5),
    ("batzen_rpc_duration_seconds", "StatusService/GetPayment"): ("read", 0.1),
    ("batzen_watch_first_update_seconds", ""): ("connect", 0.3),
    ("batzen_watch_lag_seconds", ""): ("update", 0.05),
}
"""Figure and label → the pair of sums, and the bucket of its limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process, as it said last of itself."""

    service: str
    address: str
    version: str = ""
    is_ready: bool = False
    in_flight: int = 0
    streams: int = 0
    problem: str = ""
    """Why it said nothing; empty where it did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What is known of the suite now."""

    processes: Sequence[Process]
    counts: Counts
    length: timedelta
    asked: datetime | None
    """When processes were asked last; None before the first time."""


@dataclass(slots=True)
class MetricsReader:
    """Keeps what processes count."""

    sources: Mapping[str, str]
    """Service → host:port of its metrics."""
    front: Front
    client: aiohttp.ClientSession
    _windows: dict[str, Window] = field(default_factory=dict)
    _processes: Sequence[Process] = ()
    _asked: datetime | None = None

    async def ask(self) -> None:
        """Ask all of them once."""
        places = [place for service, address in self.sources.items() for place in await _places(service, address)]
        self._processes = await asyncio.gather(*(self._one(*place) for place in places[:PROCESSES_MAX]))
        gone = self._windows.keys() - {process.address for process in self._processes}
        for address in gone:
            del self._windows[address]
        self._asked = self.front.now()

    def health(self) -> Health:
        """Return what is known."""
        began = [window.began for window in self._windows.values() if window.began is not None]
        length = (self._asked - min(began)) if began and self._asked is not None else timedelta()
        return Health(
            processes=self._processes,
            counts=added(window.counts() for window in self._windows.values()),
            length=length,
            asked=self._asked,
        )

    async def _one(self, service: str, address: str) -> Process:
        try:
            async with self.client.get(f"http://{address}/metrics", timeout=TIMEOUT) as answer:
                text = (await answer.content.read(BYTES_MAX)).decode()
                answer.raise_for_status()
            process, counts = read(service, address, text)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            return Process(service=service, address=address, problem=str(error) or type(error).__name__)
        self._windows.setdefault(address, Window()).add(Sample(at=self.front.now(), counts=counts))
        return process


@asynccontextmanager
async def reading(
    sources: Mapping[str, str], *, front: Front, client: aiohttp.ClientSession
) -> AsyncIterator[MetricsReader | None]:
    """Yield a reader that asks again and again while inside; None where no process is named."""
    if not sources:
        yield None
        return
    reader = MetricsReader(sources=sources, front=front, client=client)
    async with repeating(reader.ask, name="metrics", every_s=EVERY_S, is_vital=False):
        yield reader


def read(service: str, address: str, text: str) -> tuple[Process, Counts]:
    """Return what one process says of itself. ValueError for what is not Prometheus' text format."""
    counts: dict[str, float] = {"errors": 0}
    gauges: dict[str, float] = {}
    version = ""
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name, labels, value = sample.name, sample.labels, sample.value
            match name:
                case "batzen_rpc_requests_total" if labels.get("code") in FAULTS:
                    counts["errors"] += value
                case "batzen_watch_ends_total":
                    _add(counts, "streams_all", value)
                    _add(counts, "streams_good", 0 if labels.get("reason") in CUT else value)
                case "batzen_recoveries_total":
                    _add(counts, "recoveries_all", value)
                    _add(counts, "recoveries_good", value if labels.get("outcome") == "moved" else 0)
                case "batzen_ready" | "batzen_rpc_in_flight" | "batzen_streams_open":
                    _add(gauges, name, value)
                case "batzen_build_info" if value:
                    version = labels.get("version", "")
                case _:
                    _bucket(counts, name, labels, value)
    return (
        Process(
            service=service,
            address=address,
            version=version,
            is_ready=gauges.get("batzen_ready", 0) == 1,
            in_flight=int(gauges.get("batzen_rpc_in_flight", 0)),
            streams=int(gauges.get("batzen_streams_open", 0)),
        ),
        counts,
    )


def _bucket(counts: dict[str, float], name: str, labels: Mapping[str, str], value: float) -> None:
    base, _, part = name.rpartition("_")
    pair = _BUCKETS.get((base, labels.get("state") or labels.get("method") or ""))
    if pair is None:
        return
    if part == "count":
        _add(counts, f"{pair[0]}_all", value)
    elif part == "bucket" and float(labels["le"]) == pair[1]:
        _add(counts, f"{pair[0]}_good", value)


def _add(sums: dict[str, float], name: str, value: float) -> None:
    sums[name] = sums.get(name, 0) + value


async def _places(service: str, address: str) -> list[tuple[str, str]]:
    """Return the processes behind a name; the name itself where it cannot be looked up, which then says why."""
    host, _, port = address.rpartition(":")
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except OSError:
        return [(service, address)]
    hosts = sorted({str(one[4][0]) for one in found})
    return [(service, f"[{one}]:{port}" if ":" in one else f"{one}:{port}") for one in hosts]
