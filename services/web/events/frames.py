"""How server-sent events are written and where a browser goes on. Pure."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs

from google.protobuf.timestamp_pb2 import Timestamp
from starlette.types import Scope

HEARTBEAT: Final = b": \n\n"
RETRY_MS: Final = (1_000, 4_000)
"""How long a browser waits before it comes back, spread so that those who lost one server do not come together."""
DRAIN_RETRY_MS: Final = (200, 3_000)
"""The same when this process ends and another is there already."""
RESUME_CHARACTERS_MAX: Final = 2_000
"""Of what a browser says it saw last; a cursor over 20 payments has about 900."""
_LINES: Final = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event for a browser."""

    name: str
    """What its page listens for."""
    data: str


def written(events: Iterable[Event], *, event_id: str = "") -> bytes:
    """Return events as one chunk. The id is on the last alone: with it on the first, a connection that is cut between
    them would lose the others, since the browser goes on after the id.

    Without an event the chunk moves the browser's place and nothing else.
    """
    blocks = ["".join((f"event: {event.name}\n", *_data(event.data))) for event in events]
    if event_id:
        blocks = [*blocks[:-1], f"{blocks[-1] if blocks else ''}id: {event_id}\n"]
    return "".join(f"{block}\n" for block in blocks).encode()


def seconds_of(time: Timestamp) -> float | None:
    """Return a time in seconds since 1970; None for none."""
    return time.seconds + time.nanos / 1e9 if time.seconds else None


def retry(chance: random.Random, bounds: tuple[int, int] = RETRY_MS) -> bytes:
    """Return the line that says how long to wait before coming back."""
    return f"retry: {chance.randint(*bounds)}\n\n".encode()


def ending(reason: str, *, event_id: str = "") -> bytes:
    """Return the last event of a stream to which the browser is not to come back."""
    return written([Event(name="end", data=json.dumps({"reason": reason}))], event_id=event_id)


def resumes_after(scope: Scope) -> str:
    """Return what a browser saw last, by its own header or a page's `?after=`; empty if neither says it."""
    header = next((value for name, value in scope["headers"] if name == b"last-event-id"), b"").decode("latin-1")
    asked = header or parse_qs(scope["query_string"].decode("latin-1"), max_num_fields=100).get("after", [""])[-1]
    return asked if len(asked) <= RESUME_CHARACTERS_MAX else ""


def _data(text: str) -> list[str]:
    return [f"data: {line}\n" for line in _LINES.split(text)]
