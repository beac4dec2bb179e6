"""What status counts beside its calls: the transitions that it records, and how soon its streams say them."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from grpc import aio

from services.errors import (
    CardNumberRefused,
    DependencyUnavailable,
    FieldInvalid,
    FieldMissing,
    ServiceError,
    ShuttingDown,
)
from services.runtime.observability.metrics import OFF, OTHER, Meter, Metric, counter, gauge, histogram, one_of
from services.runtime.process.lifecycle import utc_now
from services.shared.states import State
from services.status.domain.errors import CursorCompacted, RevisionCompacted, StreamTooOld, WatchOverflow
from services.status.domain.records import Payment
from services.status.domain.snapshot import state_of

ENDED: Final = "ended"
"""In order: the payment is settled, or the feed caught up."""
LEFT: Final = "left"
"""Its reader went, or was ended by the server: its token has expired, or a drain waited for it long enough."""
STATES_KNOWN_MAX: Final = 10_000
"""Payments of which it is remembered since when they are in their state, ~3 MB."""

TRANSITIONS_RECORDED: Final = counter(
    "batzen_transitions_recorded_total",
    "Transitions that were recorded, each once, by the state that the payment came to; the opening is one.",
    one_of("state", *State),
)
STATE_SECONDS: Final = histogram(
    "batzen_payment_state_seconds",
    "How long a payment was in a state that it left for another; of those whose last two moves this process recorded.",
    one_of("state", *State),
    buckets=(0.05, 0.1, 0.3, 0.5, 1, 2, 5, 10, 30, 60, 300, 1_800, 7_200, 86_400),
)
WATCHES_OPEN: Final = gauge("batzen_watches_open", "Payments that are watched, on all streams of the process.")
WATCH_STREAMS_OPEN: Final = gauge("batzen_watch_streams_open", "Streams of watches and feeds that are open.")
WATCH_FIRST_UPDATE: Final = histogram(
    "batzen_watch_first_update_seconds",
    "From the call or command that begins a watch until its stream was given where the payment stands.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5),
)
WATCH_LAG: Final = histogram(
    "batzen_watch_lag_seconds",
    "From the time of a transition until a stream that watched by then had written it; of what it wrote together,"
    " the oldest.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
)
WATCH_ENDS: Final = counter(
    "batzen_watch_ends_total",
    "Streams of watches and feeds that had begun and ended, by why: in order, left by their reader, or the reason.",
    one_of(
        "reason",
        ENDED,
        LEFT,
        *(
            error.reason
            for error in (
                StreamTooOld,
                WatchOverflow,
                ShuttingDown,
                DependencyUnavailable,
                RevisionCompacted,
                CursorCompacted,
                FieldInvalid,
                FieldMissing,
                CardNumberRefused,
            )
        ),
    ),
)
FEED_BEHIND: Final = gauge(
    "batzen_feed_behind_seconds",
    "For how long the feeds of the process have not seen the head of their log, the longest of them; 0 where nobody"
    " follows one.",
)

METRICS: Final[tuple[Metric, ...]] = (
    TRANSITIONS_RECORDED, STATE_SECONDS, WATCHES_OPEN, WATCH_STREAMS_OPEN, WATCH_FIRST_UPDATE, WATCH_LAG, WATCH_ENDS,
    FEED_BEHIND,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Stay:
    """In which state a payment is, by its newest revision that this process recorded."""

    revision: int
    state: State
    since: datetime | None
    """When it came to it; None where another process recorded that."""


class StatusMetrics:
    """What is counted in one process."""

    def __init__(self, meter: Meter, *, now: Callable[[], datetime] = utc_now) -> None:
        self.meter = meter
        self._now = now
        self._recorded = meter.counter(TRANSITIONS_RECORDED)
        self._state_seconds = meter.histogram(STATE_SECONDS)
        self._first_update = meter.histogram(WATCH_FIRST_UPDATE)
        self._lag = meter.histogram(WATCH_LAG)
        self._ends = meter.counter(WATCH_ENDS)
        self._stays: dict[tuple[str, str], _Stay] = {}
        """The newest last."""

    def opened(self, tenant_id: str, payment: Payment) -> None:
        """Count the opening of a payment, with the transition that came with it."""
        if not self.meter.is_on:
            return
        self._recorded.add(State.INITIALIZED)
        self._keep((tenant_id, payment.opening.payment_id), _Stay(1, State.INITIALIZED, payment.open_time))
        if payment.revision > 1:
            self.recorded(tenant_id, payment)

    def recorded(self, tenant_id: str, payment: Payment) -> None:
        """Count a transition that was just recorded, by the payment as it left it."""
        if not self.meter.is_on:
            return
        state, since = state_of(payment.snapshot), payment.update_time
        self._recorded.add(state)
        key = (tenant_id, payment.opening.payment_id)
        before = self._stays.pop(key, None)
        if before is None or before.revision != payment.revision - 1:
            self._keep(key, _Stay(payment.revision, state, None))
        elif before.state is state:
            self._keep(key, _Stay(payment.revision, state, before.since))
        else:
            if before.since is not None:
                self._state_seconds.observe((since - before.since).total_seconds(), before.state)
            self._keep(key, _Stay(payment.revision, state, since))

    def _keep(self, key: tuple[str, str], stay: _Stay) -> None:
        self._stays[key] = stay
        if len(self._stays) > STATES_KNOWN_MAX:
            del self._stays[next(iter(self._stays))]

    def began(self, *, seconds: float) -> None:
        """Note that watches were given where their payments stand."""
        self._first_update.observe(seconds)

    def written(self, *, recorded_at: float) -> None:
        """Note that a stream has written what was recorded then, in seconds of Unix time."""
        if self.meter.is_on:
            self._lag.observe(max(0.0, self._now().timestamp() - recorded_at))

    def ended(self, error: BaseException | None) -> None:
        """Count the end of a stream, by what it was ended with."""
        if error is None:
            self._ends.add(ENDED)
        elif isinstance(error, ServiceError):
            self._ends.add(getattr(error, "reason", OTHER))
        else:
            is_left = isinstance(error, CancelledError | aio.BaseError) and not isinstance(error, aio.UsageError)
            self._ends.add(LEFT if is_left else OTHER)


UNCOUNTED: Final = StatusMetrics(OFF)
