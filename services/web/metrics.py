"""What both fronts count: their requests and their streams."""

from __future__ import annotations

from typing import Final

from services.runtime.observability.metrics import Metric, counter, gauge, histogram, one_of

_PURPOSE: Final = one_of("purpose", "page", "rest", "stream", "file")

REQUESTS: Final = counter(
    "batzen_browser_requests_total",
    "Requests to a front, by what they were for and how they were answered.",
    _PURPOSE,
    one_of("status", "2xx", "3xx", "4xx", "5xx", "none"),
)
REQUEST_SECONDS: Final = histogram(
    "batzen_browser_request_seconds",
    "From a request until its answer begins, streams aside.",
    _PURPOSE,
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
LIMITED: Final = counter(
    "batzen_browser_limited_total",
    "Requests that went beyond a limit, by which: of declines in an hour, of declines of one payment in the form, of"
    " another service, of streams; or of requests of an address, of a payer, of changes of one payment, of reads that"
    " a page asks for, of webhooks at the old path.",
    one_of(
        "limit", "declines", "form_declines", "services", "streams", "address", "payer", "payment", "reads", "webhooks"
    ),
)
STREAMS_OPEN: Final = gauge("batzen_browser_streams_open", "Streams to browsers that are open.")
STREAMS_ENDED: Final = counter(
    "batzen_browser_streams_ended_total",
    "Streams to browsers that ended, by why.",
    one_of("why", "settled", "session_ended", "refused", "trouble", "draining", "slow", "gone"),
)
STREAMS_REFUSED: Final = counter(
    "batzen_browser_streams_refused_total",
    "Streams to browsers that were not opened since there are as many as may be, by whose limit it was.",
    one_of("limit", "session", "address", "process"),
)
STREAM_CHUNKS: Final = counter(
    "batzen_browser_stream_chunks_total", "What was written to browsers on streams, signs of life aside."
)
TRANSITION_SECONDS: Final = histogram(
    "batzen_browser_transition_seconds",
    "From the recording of a transition until it was written to the socket of a browser that was listening by then.",
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
CSP_DIRECTIVES: Final = (
    "default-src", "script-src", "script-src-elem", "script-src-attr", "style-src", "style-src-elem", "style-src-attr",
    "img-src", "font-src", "connect-src", "frame-src", "form-action", "base-uri", "frame-ancestors",
    "require-trusted-types-for", "trusted-types", "unreadable",
)  # fmt: skip
CSP_REPORTS: Final = counter(
    "batzen_csp_reports_total",
    "Reports of browsers that a page tried what its policy forbids, by the directive.",
    one_of("directive", *CSP_DIRECTIVES),
)

METRICS: Final[tuple[Metric, ...]] = (
    REQUESTS, REQUEST_SECONDS, STREAMS_OPEN, STREAMS_ENDED, STREAMS_REFUSED, STREAM_CHUNKS, TRANSITION_SECONDS,
    CSP_REPORTS, LIMITED,
)  # fmt: skip
