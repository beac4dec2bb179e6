"""Keeps one `WatchMany` stream open: opens it when there is something to watch, and again when it is lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import grpc

from batzen import errors
from batzen._channel import streaming
from batzen.status.v1.status_pb2 import WatchManyResponse
from batzen.status.v1.status_pb2_grpc import StatusServiceStub
from batzen.watching.connection import ConnectionState
from batzen.watching.figures import Figures
from batzen.watching.limits import Backoff, WatchLimits
from batzen.watching.session import Session

if TYPE_CHECKING:
    from grpc import aio

    from batzen.status.v1.status_pb2 import WatchManyRequest

    Call = aio.StreamStreamCall[WatchManyRequest, WatchManyResponse]


GATHERED_S: Final = 0.02
"""How long watches that are to be added again, later, are gathered: thousands of them may be due one by one."""
_FINAL: Final = (errors.InvalidArgument, errors.PermissionDenied)
"""Ends of a stream after which another would end the same. An old server without `WatchMany` is on its way out."""


class StreamConnection:
    """One stream, over all its losses."""

    def __init__(
        self,
        session: Session,
        status: StatusServiceStub,
        *,
        token: Callable[[], str],
        limits: WatchLimits,
        figures: Figures,
        chance: random.Random,
        state_changed: Callable[[], None],
    ) -> None:
        self.session = session
        self.session.changed = self._look
        self._status = status
        self._token = token
        self._limits = limits
        self._figures = figures
        self._backoff = Backoff(limits, chance)
        self._state_changed = state_changed
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        self._is_open = False
        self._heard_at = self._loop.time()

    @property
    def state(self) -> ConnectionState:
        if not self.session.topics:
            return ConnectionState.IDLE
        if self._is_open:
            return ConnectionState.STREAMING
        is_hopeless = self._backoff.failures >= self._limits.poll_after_failures
        return ConnectionState.POLLING if is_hopeless else ConnectionState.CONNECTING

    def answered(self) -> None:
        """Learn that the server answered a poll: patience begins anew."""
        self._heard_at = self._loop.time()

    async def run(self) -> None:
        """Keep the stream for ever; end by cancellation."""
        token, refusal = "", None
        while True:
            if not self.session.topics:
                while not self.session.topics:
                    await self._until_woken(None)
                self._heard_at = self._loop.time()
            try:
                refused, token = token, self._token()
                if refusal is not None and token == refused:
                    raise refusal
                call = self._status.WatchMany()
            except Exception as error:  # noqa: BLE001 whatever the caller's own function raises, the watches end with it
                self._fail(error)
                refusal = None
                continue
            end = await self._follow(call)
            refusal = end if isinstance(end, errors.Unauthenticated) else None  # good again with a newer token
            self._lost(end)
            pause_s = self._backoff.failed()
            self._state_changed()
            await asyncio.sleep(pause_s)

    async def _follow(self, call: Call) -> errors.BatzenError:
        """Follow one stream to its end, and return why it ended."""
        self._figures.attempts += 1
        async with streaming(call) as responses, asyncio.TaskGroup() as group:
            writing = group.create_task(self._write(call))
            end = await self._read(call, responses)
            writing.cancel()
        return end

    async def _read(self, call: Call, responses: AsyncIterator[WatchManyResponse]) -> errors.BatzenError:
        """Take what is received to the end, or until nothing was watched for long, and return why it ended."""
        idle_since: float | None = None
        try:
            async with asyncio.timeout(self._limits.open_timeout_s) as silence:
                await call.initial_metadata()
                if not call.done():
                    self._figures.connects += 1
                    self._is_open = True
                    self._state_changed()
                silence.reschedule(self._loop.time() + self._limits.silence_max_s)
                async for response in responses:
                    now = self._heard_at = self._loop.time()
                    silence.reschedule(now + self._limits.silence_max_s)
                    self._backoff.succeeded()
                    self.session.hear(response, now=now)
                    idle_since = None if self.session.topics else idle_since or now
                    if idle_since is not None and now - idle_since > self._limits.idle_max_s:
                        break
        except TimeoutError:
            self._figures.silences += 1
            return _gone("Nothing was heard on the stream for too long.")
        except errors.BatzenError as error:
            return error
        return _gone("The stream came to its end.")

    async def _write(self, call: Call) -> None:
        while True:
            now = self._loop.time()
            request = self.session.next_request(now=now)
            if request is None:
                due = self.session.next_due()
                await self._until_woken(None if due is None else max(due, now + GATHERED_S))
                continue
            try:
                await call.write(request)
            except (asyncio.InvalidStateError, errors.BatzenError):  # it is over, and whoever reads is told why
                return

    def _lost(self, error: errors.BatzenError) -> None:
        """Prepare for the next stream, or end all watches if there is no use in one."""
        self._is_open = False
        self.session.lost()
        if isinstance(error, _FINAL) or self._loop.time() - self._heard_at > self._limits.patience_s:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._heard_at = self._loop.time()
        for topic in list(self.session.topics.values()):
            topic.fail(error)
            self.session.remove(topic)

    async def _until_woken(self, due: float | None) -> None:
        """Wait until there may be something to say, or until `due`."""
        self._woken.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout_at(due):
                await self._woken.wait()

    def _look(self) -> None:
        self._woken.set()
        self._state_changed()


def _gone(message: str) -> errors.BatzenError:
    return errors.refused(grpc.StatusCode.UNAVAILABLE, message=message)
