"""Webhook delivery: signed, at least once, with the faults a receiver has to survive.

Nothing promises an order. Deliveries start in the order of events and run side by side; a failed one is repeated with
growing pauses and then given up. Signatures carry the real time, since it is the receiver's clock that judges them.
"""

import asyncio
import hashlib
import hmac
import json
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from sandbox.settings import Settings
from sandbox.world import Object, World

_AT_ONCE_MAX = 16  # deliveries in flight; keeps a slow receiver from being buried
_TIMEOUT_S = 10.0
_PAUSE_MAX_S = 30.0  # between two attempts; Stripe's grow to hours, and nobody here waits for that
_LOG_MAX = 10_000  # attempts remembered for the control routes
_REORDER_WINDOW = 4  # events shuffled together
_REORDER_WAIT_S = 0.05  # after which an incomplete window is sent anyway


@dataclass(slots=True, kw_only=True)
class Switches:
    """What goes wrong with webhooks, until told otherwise."""

    delay_s: float = 0.0
    duplicate: int = 0  # further deliveries of each event
    drop: float = 0.0  # chance that an event is never delivered, in [0, 1]
    reorder: bool = False
    hold: bool = False  # collect everything until released
    skew_s: float = 0.0  # added to the signature's time
    tamper: bool = False  # sign something else


@dataclass(slots=True, kw_only=True)
class Parcel:
    """One event for one endpoint."""

    world: World
    """The platform's, which has the endpoint."""
    source: World
    """Whose event it is: the platform's own, or a connected account's."""
    endpoint: Object
    event: Object


@dataclass(slots=True)
class Delivery:
    """The queue of all accounts."""

    settings: Settings
    chance: random.Random
    keep: Callable[[], None]
    """Has on the disk what was changed, the event that is to be posted among it."""
    changed: Callable[[], None]
    """Told that an event was taken."""
    switches: Switches = field(default_factory=Switches)
    log: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_LOG_MAX))
    _client: httpx.AsyncClient = field(default_factory=lambda: httpx.AsyncClient(timeout=_TIMEOUT_S, trust_env=False))
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE_MAX))
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _held: list[Parcel] = field(default_factory=list)
    _window: list[Parcel] = field(default_factory=list)
    _window_timer: asyncio.TimerHandle | None = None
    _idle: asyncio.Event = field(default_factory=asyncio.Event)

    def publish(self, world: World, event: Object) -> int:
        """Queue an event for every endpoint that wants it; returns how many do."""
        platform = world.platform or world
        wanting = [
            endpoint
            for endpoint in _endpoints_for(platform, event)
            if "*" in endpoint["enabled_events"] or event["type"] in endpoint["enabled_events"]
        ]
        for endpoint in wanting:
            self._queue(Parcel(world=platform, source=world, endpoint=endpoint, event=event))
        return len(wanting)

    def release(self) -> int:
        """Send everything held, in the order of events (shuffled under `reorder`); returns how much it was."""
        held, self._held = self._held, []
        if self.switches.reorder:
            self.chance.shuffle(held)
        for parcel in held:
            self._start(parcel)
        return len(held)

    def redeliver(self, world: World, event: Object) -> int:
        """Deliver an event again, as an operator would from the dashboard."""
        platform = world.platform or world
        endpoints = _endpoints_for(platform, event)
        for endpoint in endpoints:
            self._start(Parcel(world=platform, source=world, endpoint=endpoint, event=event))
        return len(endpoints)

    @property
    def held(self) -> int:
        return len(self._held)

    async def drained(self) -> None:
        """Wait until nothing is under way; what is held does not count."""
        while self._tasks or self._window:
            self._idle.clear()
            await self._idle.wait()

    async def close(self) -> None:
        """Give up what is under way."""
        if self._window_timer is not None:
            self._window_timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.aclose()

    def _queue(self, parcel: Parcel) -> None:
        if self.switches.drop and self.chance.random() < self.switches.drop:
            self._note(parcel, outcome="dropped")
            return
        for _ in range(1 + self.switches.duplicate):
            if self.switches.hold:
                self._held.append(parcel)
            elif self.switches.reorder:
                self._shuffle_in(parcel)
            else:
                self._start(parcel)

    def _shuffle_in(self, parcel: Parcel) -> None:
        self._window.append(parcel)
        if self._window_timer is not None:
            self._window_timer.cancel()
        if len(self._window) >= _REORDER_WINDOW:
            self._send_window()
        else:
            self._window_timer = asyncio.get_running_loop().call_later(_REORDER_WAIT_S, self._send_window)

    def _send_window(self) -> None:
        window, self._window, self._window_timer = self._window, [], None
        self.chance.shuffle(window)
        for parcel in window:
            self._start(parcel)

    def _start(self, parcel: Parcel) -> None:
        task = asyncio.get_running_loop().create_task(self._deliver(parcel))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not self._tasks:
            self._idle.set()

    async def _deliver(self, parcel: Parcel) -> None:
        if self.switches.delay_s:
            await asyncio.sleep(self.switches.delay_s)
        for attempt in range(1, self.settings.delivery_attempts_max + 1):
            async with self._slots:
                self.keep()
                outcome = await self._send(parcel)
            self._note(parcel, outcome=outcome, attempt=attempt)
            if isinstance(outcome, int) and 200 <= outcome < 300:
                parcel.event["pending_webhooks"] = max(0, parcel.event["pending_webhooks"] - 1)
                parcel.source.touch(parcel.event["id"])
                self.changed()
                return
            if attempt < self.settings.delivery_attempts_max:
                await asyncio.sleep(min(_PAUSE_MAX_S, self.settings.retry_backoff_s * 2 ** (attempt - 1)))

    async def _send(self, parcel: Parcel) -> int | str:
        """Send once; returns the HTTP status, or what went wrong with the connection."""
        body = json.dumps(parcel.event, indent=2, ensure_ascii=False).encode()
        secrets = parcel.world.secrets[parcel.endpoint["id"]]
        signature = sign(body, secrets=secrets, timestamp=int(time.time() + self.switches.skew_s))
        headers = {"Content-Type": "application/json; charset=utf-8", "Stripe-Signature": signature}
        if self.switches.tamper:
            body = body.replace(b'"livemode": false', b'"livemode": false ', 1)
        try:
            answer = await self._client.post(parcel.endpoint["url"], content=body, headers=headers)
        except (httpx.HTTPError, httpx.InvalidURL) as failure:
            return type(failure).__name__
        return answer.status_code

    def _note(self, parcel: Parcel, *, outcome: int | str, attempt: int = 0) -> None:
        self.log.append(
            {
                "event": parcel.event["id"],
                "type": parcel.event["type"],
                "endpoint": parcel.endpoint["id"],
                "attempt": attempt,
                "outcome": outcome,
            }
        )


def _endpoints_for(platform: World, event: Object) -> list[Object]:
    """Return the endpoints of the platform's own events, or those of the events of connected accounts."""
    is_connected = "account" in event
    return [one for one in platform.all("webhook_endpoint") if (one["id"] in platform.connect) is is_connected]


def sign(body: bytes, *, secrets: tuple[str, ...], timestamp: int) -> str:
    """Return the Stripe-Signature header: one `v1` for each active secret."""
    signed = f"{timestamp}.".encode() + body
    schemes = [f"v1={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}" for secret in secrets]
    return ",".join([f"t={timestamp}", *schemes])
