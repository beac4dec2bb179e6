"""One JSON object per line on standard output, written beside the event loop.

Lines are gathered and written by a thread, so that a reader that stalls stalls nobody's payment. What does not fit is
dropped, counted, and the number is logged. Fields are named by the caller through `extra={"fields": {...}}`; request
bodies, tokens and secrets never go in.

What libraries say of each call they make is not for us to vouch for: of them only warnings are logged. No URL is logged
with its query or with a user in it, whoever says it; neither is an e-mail address.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from services.runtime.observability.metrics import Tally
from services.runtime.rpc import call_context
from services.shared.text import storable, without_addresses

LINES_WAITING_MAX: Final = 20_000
"""About 10 MB, or a second of the busiest process."""
GATHER_S: Final = 0.02
"""How long lines wait for company. One write per line would cost more than the line."""
CLOSE_S: Final = 1.0
"""How long an ending process waits for the reader of its last lines."""
LINE_CHARACTERS_MAX: Final = 65_536
"""Of a line: what collects logs splits or drops longer ones."""
CUT_CHARACTERS_MAX: Final = 500
"""Of each text of a line that would be longer."""
_ESCAPED_MAX: Final = 12
"""What one character may take in JSON: two escapes."""
TEXT_CHARACTERS_MAX: Final = 16_384
"""Of a traceback; longer ones keep their end, where the error is."""


DROPPED: Final = Tally()
"""Lines that did not fit."""
OURS: Final = ("services", "batzen", "sandbox", "local", "bench", "tests", "__main__")
"""Loggers below these names log at the level that is asked for; all others are those of libraries."""
LIBRARY_LEVEL: Final = logging.WARNING

_URL: Final = re.compile(
    r"""(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)
        (?P<user>[^\s/?\#"'\\<>@]*@)?
        (?P<place>[^\s?\#"'\\<>]*)
        (?P<rest>[?\#](?:[^\s"'\\<>]|\\u[0-9a-f]{4})*)?""",
    re.VERBOSE,
)
"""As it stands in a line of JSON, where what is not ASCII is escaped."""


@contextmanager
def json_logs(*, service: str, level: str = "INFO", write: Callable[[str], object] | None = None) -> Generator[None]:
    """Log as JSON under the name `service` while inside; afterwards everything has been written."""
    lines = _Lines(write or _write_out)
    handler = _Handler(lines)
    handler.setFormatter(_JsonFormatter(service))
    root = logging.getLogger()
    ours = [logging.getLogger(name) for name in OURS]
    before = root.handlers[:], [logger.level for logger in (root, *ours)]
    root.handlers[:] = [handler]
    for logger in ours:
        logger.setLevel(level)
    root.setLevel(max(LIBRARY_LEVEL, ours[0].level))
    # Looked up for every record otherwise, and nothing prints them.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    try:
        yield
    finally:
        root.handlers[:], levels_before = before
        for logger, level_before in zip((root, *ours), levels_before, strict=True):
            logger.setLevel(level_before)
        lines.close()


_encode: Final = json.JSONEncoder(default=str, separators=(",", ":")).encode  # json.dumps would make one per line


class _JsonFormatter(logging.Formatter):
    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "service": self._service,
            "message": record.getMessage(),
        }
        fields = getattr(record, "fields", None)
        entry.update(call_context.log_fields())
        if fields:
            entry.update(fields)
        else:
            entry["logger"] = record.name
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)[-TEXT_CHARACTERS_MAX:]
        line = _encode(entry)
        if len(line) > LINE_CHARACTERS_MAX:
            line = _shortened(entry)
        line = _URL.sub(_bare, line) if "://" in line else line
        return without_addresses(line)


def _bare(url: re.Match[str]) -> str:
    return f"{url['scheme']}{url['place']}{'?…' if url['rest'] else ''}"


def _shortened(entry: dict[str, Any]) -> str:
    """Return a line with the beginning of each text of the entry, as far as there is room for its fields."""
    kept: dict[str, Any] = {}
    left = LINE_CHARACTERS_MAX // _ESCAPED_MAX
    for key, value in entry.items():
        text = storable(str(value), characters_max=CUT_CHARACTERS_MAX)
        left -= len(key) + len(text)
        if left < 0:
            break
        kept[key] = text
    return _encode({**kept, "was_cut": True})


class _Handler(logging.Handler):
    def __init__(self, lines: _Lines) -> None:
        super().__init__()
        self._lines = lines

    def handle(self, record: logging.LogRecord) -> bool:
        self.emit(record)  # without the lock of other handlers: a deque needs none
        return True

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.append(self.format(record))
        except Exception:  # noqa: BLE001 whatever a line is made of, no payment fails for it
            self.handleError(record)


class _Lines:
    """Lines on their way out, in order."""

    def __init__(self, write: Callable[[str], object]) -> None:
        self._write = write
        self._waiting: deque[str] = deque()
        self._dropped = 0
        self._filled = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="logs", daemon=True)
        self._thread.start()

    def append(self, line: str) -> None:
        if len(self._waiting) >= LINES_WAITING_MAX:
            self._dropped += 1
            DROPPED.add()
            return
        self._waiting.append(line)
        if not self._filled.is_set():
            self._filled.set()

    def close(self) -> None:
        """Write what waits, for at most `CLOSE_S`."""
        self._closing.set()
        self._filled.set()
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        while True:
            self._filled.wait()
            closing = self._closing.wait(GATHER_S)
            self._filled.clear()
            self._flush()
            if closing:
                return

    def _flush(self) -> None:
        waiting = self._waiting
        lines = [waiting.popleft() for _ in range(len(waiting))]
        dropped, said = self._dropped, []
        if dropped:
            said = [_encode({"level": "ERROR", "message": "log lines were dropped", "lines": dropped})]
            self._dropped = 0
        if not lines and not said:
            return
        try:
            self._write("\n".join([*lines, *said]) + "\n")
        except Exception:  # noqa: BLE001 a thread that ended here would end the log, and nobody would hear of it
            self._dropped += dropped + len(lines)
            for _ in lines:
                DROPPED.add()


def _write_out(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except (OSError, ValueError):  # nobody reads any more, or the stream is closed: there is nowhere left to say it
        return
