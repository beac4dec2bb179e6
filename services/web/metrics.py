"""What both fronts count: their streams."""

from __future__ import annotations

from typing import Final

from services.runtime.observability.metrics import counter, gauge, one_of

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
