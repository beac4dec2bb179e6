"""What a watcher counts of itself."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Figures:
    """Counts since the watcher was made."""

    attempts: int = 0
    """Tries to open a stream."""
    connects: int = 0
    """Streams that were opened."""
    resumes: int = 0
    """Watches that went on after a loss, each counted."""
    received: int = 0
    """Transitions that were new, from streams and polls."""
    duplicates: int = 0
    """Transitions that were received before, and dropped."""
    overflows: int = 0
    """Watches the server ended because this process read too slowly."""
    slow_readers: int = 0
    """Times that a reader here fell behind and had to read the history."""
    silences: int = 0
    """Streams that were given up because they were silent."""
    polls: int = 0
    """Payments polled while there was no stream, each time counted."""
