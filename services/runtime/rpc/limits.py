"""How a server protects itself: every limit, and the channel options that set it.

gRPC ignores options it does not know, so each one here has a test of its effect (tests/runtime/test_limits.py). The
client's side of the keepalive is in `batzen/_channel.py`; the two are tested together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

DEADLINE_TOLERANCE_S: Final = 0.1
"""How far the two ends may disagree about a deadline: on the wire gRPC rounds one of up to 100 s up to this."""
DRAIN_STREAMS_S: Final = 0.5
"""How long a stream may take to end itself once the server drains."""
STATUS_FLUSH_S: Final = 1.0
"""How long the end of a stream waits for a reader that does not read."""
LAST_WORDS_S: Final = 0.5
"""How long answers may be on their way once no call is being served any more, before a server that ends cuts them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerLimits:
    """What one caller may ask of one process, over all its connections."""

    in_flight_max: int
    """Unary calls at once."""
    rate_per_s: float
    """Unary calls a second, on average."""
    burst: int
    """Unary calls that may come in one moment."""


PEOPLE: Final = CallerLimits(in_flight_max=16, rate_per_s=20.0, burst=60)
"""Of a payer or a seller: a few open pages that each ask for several things, and ask again when they are loaded."""
SERVICES: Final = CallerLimits(in_flight_max=4_096, rate_per_s=20_000.0, burst=40_000)
"""Of a service or an operator. A service calls for all its users, and our own for everybody, so this is no share of
what a process can do: it bounds what one caller that went wrong piles up, at ~10 KB a call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one server. Tests shorten them; services change the number of streams."""

    streams_per_connection_max: int = 128
    """Calls at once on one connection. Without it one connection that opens and resets calls stops all others; with it
    they wait behind as many calls, which gRPC picks up in turn, at ~0.2 ms for one that was reset. Our clients open
    another connection when one is full."""
    streams_per_caller_max: int = 128
    """Open streams of one caller, over all its connections."""
    people: CallerLimits = PEOPLE
    services: CallerLimits = SERVICES
    deadline_max_s: float = 60.0
    """The longest deadline of a unary call. No method takes longer than a payment at Stripe, 30 s at most."""
    pending_calls_max: int = 20_000
    """Calls that wait to be picked up, ~10 KB each. gRPC's own 1,000 answers a burst with CANCELLED."""
    message_bytes_max: int = 256 * 1024
    """A received message. The largest is a start with 1,000 lines, ~200 KB."""
    metadata_bytes_max: int = 16 * 1024
    """Metadata of one call; beyond it the call is refused."""
    handshake_timeout_s: float = 5.0
    """A connection that says nothing is closed after it."""
    ping_timeout_s: float = 5.0
    """Our own pings find clients that vanished; without it they hold their streams for a quarter of an hour."""
    ping_interval_s: float = 30.0
    connection_age_max_s: float = 300.0
    """Then clients look their server up again and find new replicas; streams resume."""
    connection_age_grace_s: float = 60.0
    """How long calls on an aged connection may go on; no shorter than the longest deadline."""
    stop_grace_s: float = 5.0
    """How long unary calls may go on when the process ends. Kubernetes gives 30 s in all."""

    def options(self) -> list[tuple[str, int | str]]:
        """Return the limits as channel options of a server."""
        return [
            ("grpc.max_concurrent_streams", self.streams_per_connection_max),
            ("grpc.server.max_pending_requests", self.pending_calls_max),
            ("grpc.server.max_pending_requests_hard_limit", self.pending_calls_max),
            ("grpc.max_receive_message_length", self.message_bytes_max),
            ("grpc.max_metadata_size", self.metadata_bytes_max),
            ("grpc.absolute_max_metadata_size", self.metadata_bytes_max),
            ("grpc.server_handshake_timeout_ms", _ms(self.handshake_timeout_s)),
            # Every ping is answered. Closing a connection on a flood of them takes gRPC a quarter of a second of a
            # processor and stalls others for longer; to answer a million takes less, and waits for who reads them.
            ("grpc.http2.max_ping_strikes", 0),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.keepalive_time_ms", _ms(self.ping_interval_s)),
            ("grpc.keepalive_timeout_ms", _ms(self.ping_timeout_s)),
            ("grpc.http2.ping_timeout_ms", _ms(self.ping_timeout_s)),
            ("grpc.max_connection_age_ms", _ms(self.connection_age_max_s)),
            ("grpc.max_connection_age_grace_ms", _ms(self.connection_age_grace_s)),
            ("grpc.so_reuseport", 0),  # or two servers share a port without a word
        ]


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
