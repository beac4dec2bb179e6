"""The figures that every process of ours has: its calls, its event loop, its connections, what it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import grpc
from cryptography import x509

from services.runtime.observability.metrics import OFF, Meter, Metric, counter, gauge, histogram, one_of, up_to
from services.runtime.observability.metrics_port import serving_metrics
from services.runtime.process.followed import unfit
from services.runtime.work.loops import repeating

METHODS_MAX: Final = 64
"""Of one process; the orchestrator has most, 26."""
LAG_EVERY_S: Final = 0.25
"""Between two looks at how late the event loop is."""

_METHOD: Final = up_to(METHODS_MAX, "method", "each method of the service, such as `OrchestratorService/StartPayment`")

RPC_REQUESTS: Final = counter(
    "batzen_rpc_requests_total",
    "Calls that came to their end, streams as well.",
    _METHOD,
    one_of("code", *(code.name for code in grpc.StatusCode)),
)
RPC_DURATION: Final = histogram(
    "batzen_rpc_duration_seconds",
    "How long calls took that are no streams, whatever came of them.",
    _METHOD,
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5, 10, 30),
)
RPC_REFUSALS: Final = counter(
    "batzen_rpc_refusals_total",
    "Calls that ended with a reason.",
    _METHOD,
    up_to(160, "reason", "each reason of [errors.md](errors.md)"),
)
RPC_IN_FLIGHT: Final = gauge("batzen_rpc_in_flight", "Calls that are being served, streams as well.")
STREAMS_OPEN: Final = gauge("batzen_streams_open", "Streams that are open.", _METHOD)

BUILD_INFO: Final = gauge(
    "batzen_build_info",
    "1, of the version and the commit that runs.",
    up_to(1, "version", "the version"),
    up_to(1, "commit", "the commit"),
)
READY: Final = gauge("batzen_ready", "1 while the process is ready, as its health port says, 0 while it is not.")
LOOP_LAG: Final = histogram(
    "batzen_event_loop_lag_seconds",
    f"How late the event loop was, looked at every {LAG_EVERY_S} s.",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
)
LINES_DROPPED: Final = counter(
    "batzen_log_lines_dropped_total", "Log lines that were dropped, since their reader was too slow."
)
SPANS_DROPPED: Final = counter(
    "batzen_trace_spans_dropped_total",
    "Spans that were lost, since the collector was away or too slow; where nothing is traced there are none.",
)
REPORTS_DROPPED: Final = counter(
    "batzen_error_reports_dropped_total",
    "Reports of unexpected errors that were not made, since there were too many, or not taken; see the log for those.",
)
BACKGROUND_FAILURES: Final = counter(
    "batzen_background_failures_total",
    "Failures of a task beside the calls, after each of which it is tried again.",
    up_to(32, "task", "each task that the service runs beside its calls"),
)
CERTIFICATE_EXPIRY: Final = gauge(
    "batzen_certificate_expiry_timestamp_seconds",
    "When the first certificate of a file expires, where TLS is ours and no mesh's.",
    one_of("file", "certificate", "authority"),
)
SECRET_UNFIT: Final = gauge(
    "batzen_secret_unfit",
    "1 while the file of a secret is missing or cannot be used, so that the value before it is; 0 else.",
    up_to(16, "setting", "each secret of the service that stands in a file, such as `STRIPE_API_KEY`"),
)
CONNECTIONS: Final = gauge(
    "batzen_database_connections",
    "Connections to the database: in use, or open and free; waiting is who waits for one.",
    one_of("state", "busy", "idle", "waiting"),
)
CONNECTIONS_MAX: Final = gauge("batzen_database_connections_max", "How many connections the process opens at most.")
DATABASE_UNAVAILABLE: Final = counter(
    "batzen_database_unavailable_total", "Uses of the database that ended because it was away or too busy."
)

METRICS: Final[tuple[Metric, ...]] = (
    RPC_REQUESTS, RPC_DURATION, RPC_REFUSALS, RPC_IN_FLIGHT, STREAMS_OPEN, BUILD_INFO, READY, LOOP_LAG, LINES_DROPPED,
    SPANS_DROPPED, REPORTS_DROPPED,
    BACKGROUND_FAILURES, CERTIFICATE_EXPIRY, SECRET_UNFIT, CONNECTIONS, CONNECTIONS_MAX, DATABASE_UNAVAILABLE,
)  # fmt: skip


class MethodMetrics:
    """What is counted of one method's calls."""

    __slots__ = ("_durations", "_method", "_refusals", "_requests", "_streams")

    def __init__(self, meter: Meter, method: str, *, is_stream: bool) -> None:
        """Of the full `method`, which is named without its package."""
        self._method = method.rpartition(".")[2]
        self._requests = meter.counter(RPC_REQUESTS)
        self._refusals = meter.counter(RPC_REFUSALS)
        self._durations = None if is_stream else meter.histogram(RPC_DURATION)
        self._streams = meter.gauge(STREAMS_OPEN)
        for code in (grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE):
            self._requests.begin(self._method, code.name)
        if is_stream:
            self.stream(0)

    def ended(self, code: grpc.StatusCode, reason: str | None, *, seconds: float) -> None:
        """Count a call that came to its end."""
        self._requests.add(self._method, code.name)
        if self._durations is not None:
            self._durations.observe(seconds, self._method)
        if reason is not None:
            self._refusals.add(self._method, reason)

    def stream(self, change: int) -> None:
        """Count a stream that opened, 1, or closed, -1."""
        self._streams.add(self._method, amount=change)


UNCOUNTED: Final = MethodMetrics(OFF, "", is_stream=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupancy:
    """How the connections of a pool are used."""

    busy: int
    idle: int
    waiting: int
    """Who waits for one."""
    size: int
    """How many there may be."""


class Pool(Protocol):
    """Connections of which a process has so many."""

    def occupancy(self) -> Occupancy:
        """Say how they are used."""


def show_pools(meter: Meter, *pools: Pool) -> None:
    """Show how the connections of these pools are used, together."""
    connections, connections_max = meter.gauge(CONNECTIONS), meter.gauge(CONNECTIONS_MAX)

    def read() -> None:
        now = [pool.occupancy() for pool in pools]
        connections.set(sum(one.busy for one in now), "busy")
        connections.set(sum(one.idle for one in now), "idle")
        connections.set(sum(one.waiting for one in now), "waiting")
        connections_max.set(sum(one.size for one in now))

    meter.read_when_asked(read)


@asynccontextmanager
async def observed_process(
    *,
    listen: str | None,
    version: str,
    commit: str,
    certificates: Mapping[str, Path],
    counts: Mapping[Metric, Callable[[], Mapping[tuple[str, ...], int]]],
) -> AsyncIterator[Meter]:
    """Yield the meter of this process, whose figures are at `listen` while inside; one that is off without that.

    `certificates` are the PEM files by what `CERTIFICATE_EXPIRY` calls them, `counts` what the process counts itself.
    """
    if listen is None:
        yield OFF
        return
    meter = Meter()
    meter.gauge(BUILD_INFO).set(1, version, commit)
    for metric, read in counts.items():
        meter.follow(metric, read)
    secret_unfit = meter.gauge(SECRET_UNFIT)

    def show_secrets() -> None:
        for name, is_unfit in unfit().items():
            secret_unfit.set(is_unfit, name)

    meter.read_when_asked(show_secrets)
    if certificates:
        meter.read_when_asked(_Expiries(meter, certificates).read)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(serving_metrics(meter, listen=listen))
        await stack.enter_async_context(repeating(_LagWatch(meter).look, name="event_loop_lag", every_s=0.0))
        yield meter


class _LagWatch:
    """Looks at how late the event loop is."""

    def __init__(self, meter: Meter) -> None:
        self._lag = meter.histogram(LOOP_LAG)

    async def look(self) -> None:
        loop = asyncio.get_running_loop()
        wanted = loop.time() + LAG_EVERY_S
        await asyncio.sleep(LAG_EVERY_S)
        self._lag.observe(max(0.0, loop.time() - wanted))


class _Expiries:
    """When the certificates of a process expire, read again where a file was replaced."""

    def __init__(self, meter: Meter, certificates: Mapping[str, Path]) -> None:
        self._expiry = meter.gauge(CERTIFICATE_EXPIRY)
        self._certificates = certificates
        self._stamps: dict[str, int] = {}

    def read(self) -> None:
        for name, path in self._certificates.items():
            try:
                stamp = path.stat().st_mtime_ns
                if self._stamps.get(name) == stamp:
                    continue
                expiry = min(one.not_valid_after_utc for one in x509.load_pem_x509_certificates(path.read_bytes()))
            except (OSError, ValueError):  # in the middle of being replaced: the next time it is there
                continue
            self._stamps[name] = stamp
            self._expiry.set(expiry.timestamp(), name)
