"""What the webhook port refuses: each reason with its status and its meaning, counted, and logged within limits.

Anybody can knock, so a refusal is a line of the log only as long as there are few; the rest is a number.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

LINES_MAX: Final = 60
"""Refusals that get a line of their own in each `WINDOW_S`."""
WINDOW_S: Final = 60.0

ANSWERS: Final[Mapping[str, tuple[int, str]]] = {
    "SIGNATURE_MISSING": (400, "There is no `Stripe-Signature`."),
    "SIGNATURE_MALFORMED": (400, "`Stripe-Signature` is not as Stripe writes it."),
    "SIGNATURE_MISMATCH": (400, "No active secret of this endpoint signed this body."),
    "TIMESTAMP_OUTSIDE_TOLERANCE": (400, "It was signed more than five minutes from now, either way."),
    "BODY_NOT_UTF8": (400, "The signed body is not UTF-8."),
    "BODY_NOT_JSON": (400, "The signed body is not JSON, or not in any sane size or depth."),
    "NOT_AN_OBJECT": (400, "The signed JSON is no object."),
    "NOT_AN_EVENT": (400, "The signed object is no event of Stripe's."),
    "THIN_EVENT": (400, "The signed event only names its object: the endpoint must be made for snapshot events."),
    "REQUEST_BROKEN": (400, "It is not HTTP/1.1: its head, its chunks, another protocol, TLS on the plain port."),
    "BODY_CUT_OFF": (400, "The connection ended before the body did; nobody hears the answer."),
    "PATH_UNKNOWN": (404, "Nothing is served there, such as the path of an endpoint without a secret."),
    "METHOD_NOT_ALLOWED": (405, "An endpoint takes POST alone."),
    "BODY_TOO_SLOW": (408, "The body did not come within 10 s."),
    "BODY_TOO_LARGE": (413, "The body has more than 256 KiB."),
    "CONTENT_TYPE_NOT_JSON": (415, "The body is not announced as `application/json`."),
    "TOO_MANY_CONNECTIONS": (503, "1,000 connections are open; Stripe sends it again."),
    "HEAD_TOO_SLOW": (0, "The head did not come within 5 s: the connection is closed without an answer."),
}
"""Reason → status and meaning. Status 0 is no answer."""

_logger = logging.getLogger(__name__)


class Refusals:
    """Counts refusals by reason."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.totals: Counter[str] = Counter()
        """Since the start of the process."""
        self._clock = clock
        self._window_end = 0.0
        self._lines = 0
        self._unlogged: Counter[str] = Counter()

    def note(self, reason: str, *, fields: Mapping[str, object]) -> None:
        """Count a refusal, and log it if there is room."""
        self.totals[reason] += 1
        if self._clock() >= self._window_end:
            self._end_window()
        if self._lines < LINES_MAX:
            self._lines += 1
            _logger.warning("webhook", extra={"fields": {**fields, "reason": reason}})
            return
        if not self._unlogged:  # said by the end of the window also if nothing comes any more
            asyncio.get_running_loop().call_later(self._window_end - self._clock(), self._say)
        self._unlogged[reason] += 1

    def _end_window(self) -> None:
        self._say()
        self._window_end, self._lines = self._clock() + WINDOW_S, 0

    def _say(self) -> None:
        if self._unlogged:
            fields = {"refused": dict(self._unlogged), "within_s": WINDOW_S}
            self._unlogged.clear()
            _logger.warning("webhooks were refused without a line for each", extra={"fields": fields})


def table() -> str:
    """Return what is answered, as Markdown."""
    lines = ["| status | reason | meaning |", "| --- | --- | --- |"]
    lines += [f"| {status or '–'} | `{reason}` | {meaning} |" for reason, (status, meaning) in ANSWERS.items()]
    return "\n".join(lines) + "\n"
