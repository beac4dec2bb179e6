"""Whether a process is alive, started and ready, by the standard gRPC health protocol.

`liveness`   the event loop turns; never asks the database, which a restart would not mend
`startup`    the first probe has succeeded
`readiness`  the probe succeeds, no loop of the process is failing (services/runtime/work/loops.py) and it is not
             draining; so do `""` and the full name of each service

Readiness falls after several failures of the probe in a row and rises with the first success, so that one slow ping
takes no replica away. A loop that fails takes it away at once: nobody else does that work here. Watches end when
the process drains: an open one would hold up the server's stop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import grpc
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.runtime.work import loops

if TYPE_CHECKING:
    Context = aio.ServicerContext[Any, Any]

LIVENESS: Final = "liveness"
STARTUP: Final = "startup"
READINESS: Final = "readiness"
SERVICE_NAME: Final[str] = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name

PROBE_INTERVAL_S: Final = 2.0
PROBE_TIMEOUT_S: Final = 1.0
FAILURES_TO_UNREADY: Final = 3
"""About 9 s of a database that does not answer."""

Probe = Callable[[], Awaitable[object]]
"""Returns when what the process depends on can be used, raises otherwise."""

_SERVING: Final = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING

_logger = logging.getLogger(__name__)


class Health(health_pb2_grpc.HealthServicer):
    """The health servicer of one process; nothing is ready before `ready` says so."""

    def __init__(self, services: Iterable[str]) -> None:
        self._readiness_names = ("", READINESS, *services)
        self._status: dict[str, int] = dict.fromkeys((*self._readiness_names, STARTUP), _NOT_SERVING) | {
            LIVENESS: _SERVING
        }
        self._changed = asyncio.Event()
        self._probe_succeeds = False
        self._draining = False

    def ready(self, is_ready: bool, /) -> None:
        """Set what depends on the probe."""
        self._probe_succeeds = is_ready
        if is_ready and not self._draining:
            self._status[STARTUP] = _SERVING
        self.refresh()

    @property
    def is_ready(self) -> bool:
        """Whether this process takes calls."""
        return self._status[READINESS] == _SERVING

    def drain(self) -> None:
        """Say that this process takes no more calls, and end all watches. That is final."""
        self._draining = True
        self.refresh()

    def refresh(self) -> None:
        """Look again at all that readiness depends on."""
        is_ready = self._probe_succeeds and not loops.failing() and not self._draining
        status = _SERVING if is_ready else _NOT_SERVING
        self._status.update(dict.fromkeys(self._readiness_names, status))
        self._changed.set()
        self._changed = asyncio.Event()

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Context) -> health_pb2.HealthCheckResponse:
        status = self._status.get(request.service)
        if status is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "No such service here.")
        return health_pb2.HealthCheckResponse(status=status)

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Context) -> None:
        sent = None
        while True:
            changed = self._changed
            status = self._status.get(request.service, health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
            if status != sent:
                await context.write(health_pb2.HealthCheckResponse(status=status))
                sent = status
            if self._draining:
                return
            if changed is self._changed:  # nothing happened while we wrote
                await changed.wait()


@asynccontextmanager
async def probed(
    health: Health, probe: Probe | None, *, interval_s: float = PROBE_INTERVAL_S, timeout_s: float = PROBE_TIMEOUT_S
) -> AsyncIterator[None]:
    """Keep readiness up to date while inside; without a probe only a loop that fails takes it away."""
    with loops.telling(health.refresh):
        if probe is None:
            health.ready(True)
            yield
            return
        once = _Probing(health, probe, timeout_s=timeout_s).once
        async with loops.repeating(once, name="readiness_probe", every_s=interval_s):
            yield


class _Probing:
    """Asks the probe, and tells what it says. Whatever it raises means not ready, and is no failure of the asking."""

    def __init__(self, health: Health, probe: Probe, *, timeout_s: float) -> None:
        self._health = health
        self._probe = probe
        self._timeout_s = timeout_s
        self._failures = 0

    async def once(self) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._probe()
        except Exception as error:  # noqa: BLE001 see above
            self._failures += 1
            if self._failures == FAILURES_TO_UNREADY:
                self._health.ready(False)
                _logger.warning("Not ready, the probe failed %d times: %r", self._failures, error)
        else:
            if self._failures >= FAILURES_TO_UNREADY:
                _logger.info("Ready again")
            self._failures = 0
            self._health.ready(True)
