"""What browsers say of pages of ours that tried what their policy forbids: counted, and logged without what pages hold.

A page of ours breaks no policy. So a report is a fault of ours, a tool in somebody's browser, or an attack.
"""

from __future__ import annotations

import json
import logging
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from services.runtime.observability.metrics import Meter
from services.web.metrics import CSP_DIRECTIVES, CSP_REPORTS

LOGGED_MAX: Final = 100
"""Kinds of violation that a process logs, each once: whoever sends reports in masses fills no log."""
TEXT_CHARACTERS_MAX: Final = 200
_logger = logging.getLogger(__name__)


class Reports:
    """The endpoint that policies name."""

    def __init__(self, meter: Meter) -> None:
        self._counted = meter.counter(CSP_REPORTS)
        self._seen: set[tuple[str, str, str]] = set()

    async def endpoint(self, request: Request) -> Response:
        """Take a report, whatever it says."""
        directive, blocked, page = _read(await request.body())
        self._counted.add(directive if directive in CSP_DIRECTIVES else "other")
        kind = (directive, blocked, page)
        if kind not in self._seen and len(self._seen) < LOGGED_MAX:
            self._seen.add(kind)
            _logger.warning("A browser reports that %s of a page below %s met %s", directive, page, blocked)
        return Response(status_code=204)


def _read(body: bytes) -> tuple[str, str, str]:
    """Return the directive, what was blocked and the first part of the page's path; without ids, queries or content."""
    try:
        report: Any = json.loads(body)["csp-report"]
        directive = str(report["effective-directive"])
        blocked = urlsplit(str(report.get("blocked-uri", "")))
        page = urlsplit(str(report.get("document-uri", ""))).path.split("/")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return "unreadable", "", ""
    origin = f"{blocked.scheme}://{blocked.netloc}" if blocked.netloc else blocked.path
    first = f"/{page[1]}" if len(page) > 1 else ""
    return _plain(directive), _plain(origin), _plain(first)


def _plain(text: str) -> str:
    return "".join(one if one.isprintable() else "?" for one in text[:TEXT_CHARACTERS_MAX])
