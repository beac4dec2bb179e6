"""The payer's part of 3-D Secure, as far as a terminal can play it: the stand-in's page, posted as a browser does."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from enum import StrEnum
from typing import Final
from urllib.parse import urlencode, urlsplit

TIMEOUT_S: Final = 10.0
LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


class Outcome(StrEnum):
    """What the payer does on the page."""

    SUCCEED = "succeed"
    FAIL = "fail"


class NotAuthenticated(Exception):
    """The page could not be completed from here; the message says why."""


class _Stay(urllib.request.HTTPRedirectHandler):
    """Where the page sends the browser next is the shop's, not ours."""

    def redirect_request(self, *_: object) -> None:
        return None


async def authenticate(page_url: str, outcome: Outcome) -> None:
    """Press one of the two buttons of the stand-in's page. Raises `NotAuthenticated`, also for any other page."""
    parts = urlsplit(page_url)
    if parts.scheme != "http" or parts.hostname not in LOOPBACK:
        raise NotAuthenticated(f"Only the stand-in's page can be completed from here; open it in a browser: {page_url}")
    await asyncio.to_thread(_post, page_url, outcome)


def _post(page_url: str, outcome: Outcome) -> None:
    form = urlencode({"outcome": "complete" if outcome is Outcome.SUCCEED else "fail"}).encode()
    request = urllib.request.Request(page_url, data=form, method="POST")  # noqa: S310 http on loopback, seen to above
    try:
        with urllib.request.build_opener(_Stay).open(request, timeout=TIMEOUT_S):
            pass
    except urllib.error.HTTPError as answer:
        with answer:
            if answer.code != 303:
                raise NotAuthenticated(f"The page answered {answer.code}: {page_url}") from answer
    except OSError as error:
        raise NotAuthenticated(f"The page cannot be reached: {error}") from error
