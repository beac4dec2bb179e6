"""The official client, a receiver of webhooks, and what tests begin with."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import stripe

from sandbox.state import Sandbox
from tests.eventually import WITHIN_S

RETURN_URL = "https://shop.example/returned?order=7"
MANDATE = {"customer_acceptance": {"type": "online", "online": {"ip_address": "127.0.0.1", "user_agent": "test"}}}

Api = Any
"""`client.v1`: the services of the official client."""
Connect = Callable[..., Api]


class Receiver:
    """Takes webhooks over HTTP, and answers with the statuses in `answers`, then with 200."""

    def __init__(self, url: str = "") -> None:
        self.url = url
        self.answers: deque[int] = deque()
        self.deliveries: list[tuple[bytes, str]] = []
        """Body and Stripe-Signature of each delivery, in the order they came."""
        self.then: Callable[[], None] = lambda: None
        """Called when a delivery has come, before it is answered."""

    def events(self, secret: str) -> list[stripe.Event]:
        """Return the delivered events, as the official client reads them."""
        return [stripe.Webhook.construct_event(body, signature, secret) for body, signature in self.deliveries]

    def types(self, secret: str) -> list[str]:
        return [event.type for event in self.events(secret)]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection, request by request."""
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().split("\r\n")[1:-2]
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                body = await reader.readexactly(int(headers["content-length"]))
                self.deliveries.append((body, headers["stripe-signature"]))
                self.then()
                status = self.answers.popleft() if self.answers else 200
                writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode())
        except (asyncio.IncompleteReadError, asyncio.CancelledError):
            writer.close()


@asynccontextmanager
async def connected(sandbox: Sandbox) -> AsyncIterator[Connect]:
    """Yield a function that makes a client of a sandbox, by default with an account of its own."""
    made: list[stripe.HTTPXClient] = []

    def connect(key: str | None = None, *, timeout_s: float = WITHIN_S, **options: Any) -> Api:
        made.append(stripe.HTTPXClient(timeout=timeout_s))
        client = stripe.StripeClient(
            key or f"sk_test_{secrets.token_hex(8)}",
            base_addresses={"api": sandbox.base_url},
            http_client=made[-1],
            **options,
        )
        return client.v1

    yield connect
    for http in made:
        await http.close_async()


async def paid(v1: Api, *, amount: int = 10_000, card: str = "pm_card_visa", **params: Any) -> Any:
    """Create and confirm an intent in one call."""
    return await v1.payment_intents.create_async(
        {
            "amount": amount,
            "currency": "chf",
            "payment_method": card,
            "confirm": True,
            "return_url": RETURN_URL,
            "expand": ["latest_charge"],
            **params,
        }
    )


async def set_up(v1: Api, *, card: str = "pm_card_visa", **params: Any) -> Any:
    """Create and confirm a setup in one call."""
    return await v1.setup_intents.create_async(
        {"payment_method": card, "confirm": True, "return_url": RETURN_URL, **params}
    )


async def seller(v1: Api) -> str:
    """Make a connected account, and return its id."""
    account = await v1.accounts.create_async(
        {
            "country": "CH",
            "controller": {"fees": {"payer": "application"}},
            "capabilities": {"transfers": {"requested": True}},
        }
    )
    return str(account.id)


async def opened(v1: Api, **params: Any) -> Any:
    """Open a Checkout Session over 100 CHF, as the parameters say; one that is None is left out."""
    price = {"currency": "chf", "unit_amount": 10_000, "product_data": {"name": "A lesson"}}
    given = {
        "mode": "payment",
        "line_items": [{"price_data": price, "quantity": 1}],
        "success_url": "https://shop.example/done?session={CHECKOUT_SESSION_ID}",
        "cancel_url": "https://shop.example/cart",
        **params,
    }
    return await v1.checkout.sessions.create_async({key: value for key, value in given.items() if value is not None})


async def debited(v1: Api, scenario: str = "success", **params: Any) -> Any:
    """Create an intent over 100 EUR and confirm it with a German SEPA debit of a scenario."""
    return await v1.payment_intents.create_async(
        {
            "amount": 10_000,
            "currency": "eur",
            "payment_method": f"pm_sepaDebit_{scenario}_de",
            "confirm": True,
            "return_url": RETURN_URL,
            "mandate_data": MANDATE,
            "expand": ["latest_charge", "payment_method"],
            **params,
        }
    )
