"""A front that ends does so between requests, never under one."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from local.ports import free_ports
from services.web.serving import serving
from tests.eventually import WITHIN_S


async def _answer(_: Request) -> Response:
    return PlainTextResponse("here")


async def test_who_asks_while_a_front_ends_is_answered_and_hears_that_the_connection_ends() -> None:
    draining, app = asyncio.Event(), Starlette(routes=[Route("/", _answer)])
    where = f"127.0.0.1:{free_ports()['bff']}"
    async with (
        AsyncExitStack() as stack,
        httpx.AsyncClient(base_url=f"http://{where}", timeout=WITHIN_S) as one,
        httpx.AsyncClient(base_url=f"http://{where}", timeout=WITHIN_S) as another,
    ):
        await stack.enter_async_context(serving(app, listen=where, draining=draining))
        before = [await browser.get("/") for browser in (one, another)]
        ending = asyncio.create_task(stack.aclose())
        await draining.wait()
        last = [await browser.get("/") for browser in (one, another)]
        async with asyncio.timeout(WITHIN_S):
            await ending

    assert ["connection" in answer.headers for answer in before] == [False, False]
    assert [(answer.text, answer.headers["connection"]) for answer in last] == [("here", "close")] * 2
