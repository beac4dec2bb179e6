"""How a test logs in to the console: as a browser does, at the issuer of this machine."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

import asyncpg
import httpx

from local.suite import Suite
from services.runtime.database.connections import plain_dsn
from tests.eventually import WITHIN_S

OPERATOR: Final = "operator_1"
SECOND_OPERATOR: Final = "operator_2"
READER: Final = "reader_1"
_HIDDEN: Final = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)">')


@asynccontextmanager
async def console_browser(suite: Suite) -> AsyncIterator[httpx.AsyncClient]:
    """Yield what stands for a browser at the console: keeps cookies, wants pages, and says where a request is from."""
    async with httpx.AsyncClient(
        base_url=suite.front_url("console"),
        headers={"accept": "text/html", "accept-language": "en", "sec-fetch-site": "same-origin"},
        timeout=WITHIN_S,
    ) as browser:
        yield browser


@asynccontextmanager
async def logged_in(suite: Suite, subject: str = OPERATOR) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a browser in which somebody of `local.login_page.PEOPLE` is logged in."""
    async with console_browser(suite) as browser:
        back = await log_in(browser, subject)
        assert back.status_code == 303, back.text
        yield browser


async def log_in(browser: httpx.AsyncClient, subject: str, *, path: str = "/login") -> httpx.Response:
    """Go from a page of the console to the issuer, choose who one is, and return what the console then answers."""
    return await browser.get(await way_back(browser, subject, path=path))


async def way_back(browser: httpx.AsyncClient, subject: str, *, path: str = "/login") -> str:
    """Return the address to which the issuer sends the browser back."""
    sent = await browser.get(path)
    assert sent.status_code == 303, sent.text
    # The issuer is another site: no cookie of the console's reaches it.
    async with httpx.AsyncClient(timeout=WITHIN_S) as elsewhere:
        asked = await elsewhere.get(sent.headers["location"])
        assert asked.status_code == 200, asked.text
        fields = dict(_HIDDEN.findall(asked.text))
        chosen = await elsewhere.post(
            httpx.URL(sent.headers["location"]).copy_with(query=None), data={**fields, "as": subject}
        )
    assert chosen.status_code == 303, chosen.text
    return chosen.headers["location"]


async def age_log_ins(suite: Suite, subject: str) -> None:
    """Have somebody have proved who they are 10 minutes earlier than they did."""
    connection = await asyncpg.connect(plain_dsn(suite.owner_url("console")))
    try:
        await connection.execute(
            "UPDATE sessions SET auth_time = auth_time - $1::interval WHERE subject = $2",
            timedelta(minutes=10),
            subject,
        )
    finally:
        await connection.close()
