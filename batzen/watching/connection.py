"""How a watcher stands with the server, to look at, wait for or follow; and for how long it stood so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from enum import StrEnum


class ConnectionState(StrEnum):
    """How a watcher stands with the server."""

    IDLE = "IDLE"
    """Nothing is watched."""
    CONNECTING = "CONNECTING"
    """A stream is wanted, and is not there yet or not there any more."""
    STREAMING = "STREAMING"
    """Everything that is watched is on a stream."""
    POLLING = "POLLING"
    """Some watch has no stream: its payment is polled, and the stream is tried again."""
    CLOSED = "CLOSED"
    """The client was closed."""


_WANTED = (ConnectionState.CONNECTING, ConnectionState.STREAMING, ConnectionState.POLLING)


class Connection:
    """The state, observable. For the tasks of one event loop."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.state = ConnectionState.IDLE
        self._clock = clock
        self._since = clock()
        self._spent_s = dict.fromkeys(ConnectionState, 0.0)
        self._changed = asyncio.Event()

    @property
    def wanted_s(self) -> float:
        """For how many seconds something was watched."""
        return sum(self._time_in(state) for state in _WANTED)

    @property
    def connected_s(self) -> float:
        """For how many of them everything was on a stream."""
        return self._time_in(ConnectionState.STREAMING)

    @property
    def stability_percent(self) -> float:
        """The share of `connected_s` in `wanted_s`; 100 when nothing was watched yet."""
        wanted_s = self.wanted_s
        return 100.0 * self.connected_s / wanted_s if wanted_s else 100.0

    async def until(self, *states: ConnectionState) -> ConnectionState:
        """Wait until it is in one of `states`, and return which."""
        while self.state not in states:
            await self._changed.wait()
        return self.state

    async def __aiter__(self) -> AsyncIterator[ConnectionState]:
        """Iterate over the states from the present one on, up to CLOSED; one that was left at once may be left out."""
        told = None
        while told is not ConnectionState.CLOSED:
            while self.state is told:
                await self._changed.wait()
            told = self.state
            yield told

    def to(self, state: ConnectionState) -> None:
        """Go to a state; CLOSED is for ever."""
        if state is self.state or self.state is ConnectionState.CLOSED:
            return
        now = self._clock()
        self._spent_s[self.state] += now - self._since
        self._since = now
        self.state = state
        self._changed.set()
        self._changed = asyncio.Event()

    def _time_in(self, state: ConnectionState) -> float:
        running_s = self._clock() - self._since if state is self.state else 0.0
        return self._spent_s[state] + running_s
