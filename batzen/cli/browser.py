"""What a payer's browser does on the stand-in's pages, as far as a terminal can: it posts their forms."""

from __future__ import annotations

import asyncio
import html
import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode, urlsplit

from batzen.cli.pages import PageNotCompleted

TIMEOUT_S: Final = 10.0
LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
PAGE_BYTES_MAX: Final = 1_000_000
"""Of a page that is read for what it says; the stand-in's have a few kilobytes."""

_SENT_ON: Final = 303
_DECLINED: Final = 402
_ALERT: Final = re.compile(r'<p role="alert">(.*?)</p>', re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What a page answered to its form."""

    location: str = ""
    """Where it sends the browser next; empty if nowhere."""
    problem: str = ""
    """What it tells the payer, who may try again: a decline."""


class _Stay(urllib.request.HTTPRedirectHandler):
    """Where a page sends the browser next is for the caller to see."""

    def redirect_request(self, *_: object) -> None:
        return None


async def post(page_url: str, form: Mapping[str, str]) -> Answered:
    """Send a page's form. Raises `PageNotCompleted`, also for any page that is not the stand-in's."""
    parts = urlsplit(page_url)
    if parts.scheme != "http" or parts.hostname not in LOOPBACK:
        raise PageNotCompleted(f"Only the stand-in's page can be completed from here; open it in a browser: {page_url}")
    return await asyncio.to_thread(_post, page_url, form)


def _post(page_url: str, form: Mapping[str, str]) -> Answered:
    request = urllib.request.Request(page_url, data=urlencode(form).encode(), method="POST")  # noqa: S310 http on loopback
    # No proxy: what the environment names for the world outside does not know this machine's pages.
    opener = urllib.request.build_opener(_Stay, urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=TIMEOUT_S):
            return Answered()
    except urllib.error.HTTPError as answer:
        with answer:
            return _read(answer, page_url)
    except OSError as error:
        raise PageNotCompleted(f"The page cannot be reached: {error}") from error


def _read(answer: urllib.error.HTTPError, page_url: str) -> Answered:
    if answer.code == _SENT_ON:
        return Answered(location=answer.headers.get("Location", ""))
    if answer.code == _DECLINED:
        alert = _ALERT.search(answer.read(PAGE_BYTES_MAX).decode(errors="replace"))
        return Answered(problem=html.unescape(alert[1]) if alert else "The page declines it.")
    raise PageNotCompleted(f"The page answered {answer.code}: {page_url}") from answer
