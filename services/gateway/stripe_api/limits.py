"""What keeps us below Stripe's limits, and off Stripe while it is away.

Stripe takes so many calls a second of an account, and so many of one endpoint. What is scarce goes first to what moves
money: each class of calls leaves untouched what is reserved for those above it. A call that would not get its turn in
time is refused before anything was sent.
"""

from __future__ import annotations

import asyncio
import enum
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from services.gateway.stripe_api.breaker import FAILURES_MAX, Breaker, State
from services.runtime.rpc.buckets import Bucket

WAIT_MAX_S: Final = 2.0
"""How long a call waits for its turn. Longer waiting would only move the pile from Stripe to us."""
BURST_SHARE: Final = 0.2
"""Of a second's calls that may go at once; the rest is spread evenly, so that no second has more than Stripe takes."""
BURST_MIN: Final = 4.0
"""So that the shares of the four classes are whole calls."""

_logger = logging.getLogger(__name__)


class Share(enum.Enum):
    """The classes of calls, the first first. The value is the part of the burst that they leave to those before."""

    PAY = 0.0
    """What takes money, and what has to be made for it."""
    RETURN = 0.25
    """What gives money back, moves it on, takes what is held, or calls off."""
    READ = 0.5
    """What is read again of one payment or seller; and events, by which alone it may be known what happened."""
    RECONCILE = 0.75
    """What is read to compare books."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """How many calls a second this process may make."""

    account: float
    """At all endpoints together."""
    endpoint: float
    """At each."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What Stripe counts calls by."""

    name: str
    share: Share


class NotSent(Exception):
    """The call was not sent: it had no turn in time, or Stripe is known to be away."""

    def __init__(self, *, is_away: bool) -> None:
        super().__init__()
        self.is_away = is_away


SESSIONS: Final = "checkout.sessions"
"""The only collection of two segments, `checkout/sessions`."""
_MADE_TO_PAY: Final = frozenset({"payment_intents", "customers", "setup_intents", SESSIONS})
_PAYING: Final = frozenset({"intent.create", "intent.confirm", "method.setup", "checkout.create"})
_RECONCILED: Final = frozenset({"balance_transactions", "payouts", "reporting"})


def endpoint_of(method: str, path: str) -> Endpoint:
    """Return what a call counts as: `GET`, `/v1/payment_intents/pi_123`."""
    collection, *rest = path.removeprefix("/v1/").replace("checkout/sessions", SESSIONS, 1).split("/")
    step = rest[-1] if len(rest) > 1 else ""
    name = " ".join(filter(None, (method.upper(), collection, "one" if rest else "", step)))
    if method.upper() == "GET":
        return Endpoint(name, Share.RECONCILE if collection in _RECONCILED else Share.READ)
    if collection in _MADE_TO_PAY and step not in {"cancel", "capture", "expire"}:
        return Endpoint(name, Share.PAY)
    return Endpoint(name, Share.RETURN)


class _Gate:
    """Lets calls through, so many a second, and has the others wait in line, a line for each class."""

    def __init__(self, rate: float, *, clock: Callable[[], float]) -> None:
        self._rate = rate * (1 - BURST_SHARE)
        self._burst = max(rate * BURST_SHARE, BURST_MIN)
        self._clock = clock
        self._bucket = Bucket(rate=self._rate, burst=self._burst, now=clock())
        self._lines: dict[Share, deque[asyncio.Future[None]]] = {share: deque() for share in Share}
        self._timer: asyncio.TimerHandle | None = None

    async def turn(self, share: Share, *, wait_max_s: float) -> bool:
        """Wait for a turn; False if it did not come, or is known not to come in time."""
        ahead = sum(len(self._lines[one]) for one in Share if one.value <= share.value)
        if not ahead and self._bucket.take(now=self._clock(), leave=self._leave(share)) <= 0:
            return True
        if self._bucket.wait(now=self._clock(), leave=self._leave(share)) + ahead / self._rate > wait_max_s:
            return False
        turn = asyncio.get_running_loop().create_future()
        self._lines[share].append(turn)
        self._pump()
        try:
            async with asyncio.timeout(wait_max_s):
                await turn
        except TimeoutError:
            return not turn.cancelled()  # it came in the same moment
        return True

    def _leave(self, share: Share) -> float:
        return share.value * self._burst

    def _pump(self) -> None:
        """Let through whose turn it is, and come again when it is the next one's."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._clock()
        waits = []
        for share, line in self._lines.items():
            while line:
                if line[0].done():  # who waited went away
                    line.popleft()
                elif (wait_s := self._bucket.take(now=now, leave=self._leave(share))) > 0:
                    waits.append(wait_s)
                    break
                else:
                    line.popleft().set_result(None)
        if waits:
            self._timer = asyncio.get_running_loop().call_later(min(waits), self._pump)


@dataclass(slots=True)
class Sending:
    """One call that is sent."""

    is_answered: bool | None = None
    """Whether Stripe answered, whatever it says; None if we went away before, or if what came says neither."""


class StripeLimits:
    """The limits of one process at one account. Without rates it only looks whether Stripe is away."""

    def __init__(self, rates: Rates | None, *, clock: Callable[[], float], failures_max: int = FAILURES_MAX) -> None:
        self._rates = rates
        self._clock = clock
        self._account = _Gate(rates.account, clock=clock) if rates is not None else None
        self._endpoints: dict[str, _Gate] = {}
        self._breakers = {share: Breaker(failures_max=failures_max) for share in Share}

    def is_away(self, share: Share) -> bool:
        """Whether a call of this class would not be sent now, since Stripe is known to be away."""
        return not self._breakers[share].would_admit(now=self._clock())

    def is_silent(self, share: Share) -> bool:
        """Whether nothing of this class was answered lately; also between a rest and its probe, which may be long."""
        return self._breakers[share].state is not State.CLOSED

    def is_away_for(self, operation: str) -> bool:
        """Whether a call of this operation would not be sent now."""
        return self.is_away(Share.PAY if operation in _PAYING else Share.RETURN)

    @asynccontextmanager
    async def sending(self, endpoint: Endpoint, *, wait_max_s: float) -> AsyncIterator[Sending]:
        """Send inside, once, and say there whether Stripe answered. Raises `NotSent`."""
        if self.is_away(endpoint.share):
            raise NotSent(is_away=True)
        await self._turn(endpoint, min(wait_max_s, WAIT_MAX_S))
        breaker = self._breakers[endpoint.share]
        ticket = breaker.admit(now=self._clock())
        if ticket is None:  # it was found to be away while we waited
            raise NotSent(is_away=True)
        sending = Sending()
        try:
            yield sending
        finally:
            before = breaker.state
            if sending.is_answered is None:
                breaker.abandoned(ticket, now=self._clock())
            elif sending.is_answered:
                breaker.answered()
            else:
                breaker.failed(ticket, now=self._clock())
            if before is State.CLOSED and breaker.state is State.OPEN:
                _logger.error("Stripe is unavailable for class %s; one call at a time is tried", endpoint.share.name)
            elif before is not State.CLOSED and breaker.state is State.CLOSED:
                _logger.warning("Stripe is available again for class %s", endpoint.share.name)

    async def _turn(self, endpoint: Endpoint, wait_max_s: float) -> None:
        if self._rates is None or self._account is None:
            return
        gate = self._endpoints.get(endpoint.name)
        if gate is None:
            gate = self._endpoints[endpoint.name] = _Gate(self._rates.endpoint, clock=self._clock)
        until = self._clock() + wait_max_s
        # At one endpoint all calls are of one class. A turn there is lost when there is none at the account: that errs
        # on the side of too few.
        if not await gate.turn(Share.PAY, wait_max_s=wait_max_s) or not await self._account.turn(
            endpoint.share, wait_max_s=max(until - self._clock(), 0.0)
        ):
            raise NotSent(is_away=False)
