"""What status counts beside its calls: the transitions that it records, and how soon its streams say them."""

from __future__ import annotations

from typing import Final

from services.runtime.observability.metrics import Metric, counter, gauge, histogram, one_of
from services.shared.states import State

ENDED: Final = "ended"
"""In order: the payment is settled, or the feed caught up."""
LEFT: Final = "left"
"""Its reader went, or may not read on: its token has expired, or the process waited for it long enough."""

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
    "Streams of watches and feeds that came to their end, by why: in order, left by their reader, or the reason.",
    one_of(
        "reason",
        ENDED,
        LEFT,
        "STREAM_TOO_OLD",
        "WATCH_OVERFLOW",
        "SHUTTING_DOWN",
        "UNAUTHENTICATED",
        "DEPENDENCY_UNAVAILABLE",
        "PAYMENT_NOT_FOUND",
        "REVISION_COMPACTED",
        "REVISION_AHEAD",
        "CURSOR_COMPACTED",
        "TOO_MANY_WATCHES",
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
