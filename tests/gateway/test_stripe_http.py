"""What carries calls to Stripe: which failures are known to have sent nothing; and nothing is sent again by itself."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest

from services.gateway.errors import StripeUnavailable
from services.gateway.stripe_api.client import Provider
from services.gateway.stripe_api.http_client import NEVER_SENT
from services.gateway.stripe_api.outcomes import Unanswered
from tests.eventually import WITHIN_S

SILENT_S = 0.6
"""Of a try, where some other side says nothing."""
CUSTOMER = b'{"id": "cus_1", "object": "customer"}'
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
    len(CUSTOMER),
    CUSTOMER,
)

Respond = Callable[[int, asyncio.StreamWriter], None]
"""Told which request of all it is, from 1."""


@dataclass(kw_only=True)
class Stripe:
    """Takes requests, and responds to each as a test says."""

    respond: Respond
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    base: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                (length,) = re.findall(rb"(?i)content-length: (\d+)", head)
                self.requests.append(head + await reader.readexactly(int(length)))
                self.respond(len(self.requests), writer)
        writer.close()


@asynccontextmanager
async def stripe_that(respond: Respond) -> AsyncIterator[Stripe]:
    stripe = Stripe(respond=respond)
    async with await asyncio.start_server(stripe.serve, "127.0.0.1", 0) as server:
        stripe.base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield stripe


@asynccontextmanager
async def provider_of(base: str, *, try_timeout_s: float = WITHIN_S) -> AsyncIterator[Provider]:
    provider = Provider("sk_test_x", api_base=base, try_timeout_s=try_timeout_s)
    try:
        yield provider
    finally:
        await provider.close()


def create(provider: Provider) -> Awaitable[object]:
    return provider.customers.create({"name": "A"}, key="customer.create:1")


@asynccontextmanager
async def closed_port() -> AsyncIterator[str]:
    with socket.socket() as bound:  # and not listening
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@asynccontextmanager
async def unknown_name() -> AsyncIterator[str]:
    yield "http://stripe.invalid:80"


@asynccontextmanager
async def plain_where_tls_is_wanted() -> AsyncIterator[str]:
    def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(ANSWER)
        writer.close()  # since Python 3.12 a server that ends waits for its connections

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def closing_where_tls_is_wanted() -> AsyncIterator[str]:
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0) as server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def silent_where_tls_is_wanted() -> AsyncIterator[str]:
    held = []
    async with await asyncio.start_server(lambda *connection: held.append(connection), "127.0.0.1", 0) as server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for _, writer in held:
            writer.close()


@pytest.mark.parametrize(
    "nowhere",
    [closed_port, unknown_name, plain_where_tls_is_wanted, closing_where_tls_is_wanted, silent_where_tls_is_wanted],
)
async def test_without_a_connection_nothing_was_sent(
    nowhere: Callable[[], contextlib.AbstractAsyncContextManager[str]],
) -> None:
    async with nowhere() as base, provider_of(base, try_timeout_s=SILENT_S) as provider:
        with pytest.raises(StripeUnavailable):
            await create(provider)


def test_a_connection_that_was_lost_may_have_carried_a_request() -> None:
    lost = (
        aiohttp.ServerDisconnectedError,
        aiohttp.ClientOSError,
        aiohttp.SocketTimeoutError,
        aiohttp.ClientPayloadError,
    )

    assert not [error for error in lost if issubclass(error, NEVER_SENT)]


async def test_a_request_that_was_not_answered_is_not_known_and_each_try_has_the_same_key() -> None:
    async with stripe_that(lambda _, writer: writer.close()) as stripe, provider_of(stripe.base) as provider:
        with pytest.raises(Unanswered):
            await create(provider)

    assert len(stripe.requests) == stripe.connections > 1
    assert len({request.lower() for request in stripe.requests}) == 1
    assert b"idempotency-key: customer.create:1" in stripe.requests[0].lower()


async def test_a_kept_connection_that_is_closed_under_a_request_says_nothing_of_it() -> None:
    """The second request reaches Stripe on the connection of the first, and Stripe ends it without an answer."""

    def respond(number: int, writer: asyncio.StreamWriter) -> None:
        if number == 2:
            writer.close()
        else:
            writer.write(ANSWER)

    async with stripe_that(respond) as stripe, provider_of(stripe.base) as provider:
        await create(provider)
        await create(provider)

    # It was sent once more by the one layer that retries, under its key, and that one counts.
    assert (len(stripe.requests), stripe.connections) == (3, 2)
    assert stripe.requests[1] == stripe.requests[2]


@pytest.mark.parametrize("cut", [1, len(ANSWER) - 1])
async def test_half_an_answer_is_none(cut: int) -> None:
    def respond(_: int, writer: asyncio.StreamWriter) -> None:
        writer.write(ANSWER[:cut])
        writer.close()

    async with stripe_that(respond) as stripe, provider_of(stripe.base) as provider:
        with pytest.raises(Unanswered):
            await create(provider)


async def test_a_redirect_is_not_followed() -> None:
    async with stripe_that(lambda _, writer: writer.write(ANSWER)) as elsewhere:
        redirect = b"HTTP/1.1 307 X\r\nlocation: %s/v1/customers\r\ncontent-length: 0\r\n\r\n" % elsewhere.base.encode()
        async with (
            stripe_that(lambda _, writer: writer.write(redirect)) as stripe,
            provider_of(stripe.base) as provider,
        ):
            with pytest.raises(Unanswered):
                await create(provider)

    assert elsewhere.requests == []


async def test_what_stripe_sets_as_a_cookie_is_not_sent_back() -> None:
    cookie = ANSWER.replace(b"\r\n\r\n", b"\r\nset-cookie: a=b\r\n\r\n", 1)
    async with stripe_that(lambda _, writer: writer.write(cookie)) as stripe, provider_of(stripe.base) as provider:
        await create(provider)
        await create(provider)

    assert stripe.connections == 1
    assert b"cookie" not in b"".join(stripe.requests).lower()


async def test_a_proxy_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    async with stripe_that(lambda _, writer: writer.write(ANSWER)) as proxy:
        monkeypatch.setenv("http_proxy", proxy.base)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        async with provider_of("http://stripe.invalid") as provider:
            await create(provider)

    assert proxy.requests[0].startswith(b"POST http://stripe.invalid/v1/customers ")
