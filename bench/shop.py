"""A shop and its payers, who all pay: what the suite is loaded with."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

import asyncpg

from batzen.client import Addresses, Client, new_request_id
from batzen.gateway.v1 import sellers_pb2
from batzen.orchestrator.v1 import orchestrator_pb2
from batzen.pricing.v1 import pricing_pb2
from batzen.type.v1 import money_pb2, payment_pb2
from local.suite import Suite
from services.runtime.database.connections import plain_dsn
from tests.suite.journeys import LEFT_TO_DO

SELLER: Final = "seller_1"
CARD: Final = "pm_card_visa"
RETURN_URL: Final = "https://shop.example/back"
TIMEOUT_S: Final = 20.0
DRAINED_WITHIN_S: Final = 60.0
POLL_S: Final = 0.05

_token: ContextVar[str] = ContextVar("token")


@dataclass(frozen=True, slots=True, kw_only=True)
class Payer:
    payer_id: str
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Paid:
    """How long the two calls of one payment took."""

    payment_id: str
    start_s: float
    submit_s: float


class Shop:
    """Starts payments and lets their payers submit them."""

    def __init__(self, *, shop: Client, payers: Client, token_of: Callable[[str], str]) -> None:
        """`token_of` makes the token of a payer; `payers` sends that of the task it is called in."""
        self._shop = shop
        self._payers = payers
        self._token_of = token_of
        self._numbers = iter(range(10**9))

    def new_payer(self) -> Payer:
        """Return a payer whom nobody knows yet, with a token made beforehand."""
        payer_id = f"payer_{next(self._numbers)}"
        return Payer(payer_id=payer_id, token=self._token_of(payer_id))

    async def start(self, payer: Payer) -> str:
        """Start a payment; returns its id."""
        request = orchestrator_pb2.StartPaymentRequest(
            request_id=new_request_id(),
            payer=orchestrator_pb2.Payer(payer_id=payer.payer_id, email="payer@example.ch", name="Pia Payer"),
            lines=[
                pricing_pb2.Line(
                    line_id="lesson",
                    seller_id=SELLER,
                    kind="LINE_KIND_SESSION",
                    quantity="1",
                    unit_amount=money_pb2.Money(amount_minor=10_000, currency_code="CHF"),
                )
            ],
            return_url=RETURN_URL,
            collection=orchestrator_pb2.COLLECTION_ELEMENTS,
        )
        answer = await self._shop.orchestrator.StartPayment(request, timeout=TIMEOUT_S)
        return answer.session.payment.payment_id

    async def submit(self, payer: Payer, payment_id: str) -> None:
        """Submit a card that pays. Raises AssertionError unless it does."""
        _token.set(payer.token)
        request = orchestrator_pb2.SubmitPaymentRequest(
            request_id=new_request_id(), payment_id=payment_id, payment_method_id=CARD
        )
        answer = await self._payers.orchestrator.SubmitPayment(request, timeout=TIMEOUT_S)
        state = answer.payment.state
        assert state == payment_pb2.PAYMENT_STATE_SUCCEEDED, payment_pb2.PaymentState.Name(state)

    async def pay(self, payer: Payer, *, watched: bool = False) -> Paid:
        """Take one payment from its start to its success, if `watched` with the payer's own watch on it."""
        began = time.perf_counter()
        payment_id = await self.start(payer)
        started = time.perf_counter()
        async with AsyncExitStack() as stack:
            if watched:
                watching = asyncio.create_task(self._watch(payer, payment_id))
                stack.push_async_callback(asyncio.wait, [watching])
            submitted = time.perf_counter()
            await self.submit(payer, payment_id)
            ended = time.perf_counter()
        if watched:
            watching.result()
        return Paid(payment_id=payment_id, start_s=started - began, submit_s=ended - submitted)

    async def pay_together(self, payers: Iterator[Payer], *, loops: int, watched: bool = False) -> list[Paid]:
        """Let all `payers` pay, `loops` at a time."""
        paid = []

        async def loop() -> None:
            for payer in payers:
                paid.append(await self.pay(payer, watched=watched))

        await asyncio.gather(*(loop() for _ in range(loops)))
        return paid

    async def _watch(self, payer: Payer, payment_id: str) -> None:
        async with self._shop.watch(payment_id, until_settled=True, assertion=payer.token) as updates:
            async for update in updates:
                last = update
        assert last.settled


class LocalShop(Shop):
    """A shop of a suite that runs below this process, and what is left to do in there."""

    def __init__(
        self, suite: Suite, *, shop: Client, payers: Client, databases: Mapping[str, asyncpg.Connection]
    ) -> None:
        super().__init__(shop=shop, payers=payers, token_of=lambda payer_id: suite.token("payer", sub=payer_id))
        self.suite = suite
        self._databases = databases

    async def until_drained(self) -> None:
        """Wait until every webhook has arrived and nothing is left on anybody's list."""
        await self.suite.sandbox.drain()
        async with asyncio.timeout(DRAINED_WITHIN_S):
            while await self._is_something_left():  # noqa: ASYNC110 what is left stands in databases
                await asyncio.sleep(POLL_S)

    async def _is_something_left(self) -> bool:
        for service, questions in LEFT_TO_DO.items():
            for question in questions.values():
                if await self._databases[service].fetchval(question):
                    return True
        return False


def clients_of_payers(addresses: Addresses) -> Client:
    """Return a client that is whoever submits in the task it is called in."""
    return Client(token=_token.get, addresses=addresses)


@asynccontextmanager
async def open_shop(suite: Suite) -> AsyncIterator[LocalShop]:
    """Open a shop with one seller."""
    async with AsyncExitStack() as stack:
        shop = await stack.enter_async_context(suite.client("service", sub="shop"))
        payers = await stack.enter_async_context(clients_of_payers(suite.addresses))
        request = sellers_pb2.PutSellerAccountRequest(
            request_id=new_request_id(), seller_id=SELLER, country_code="CH", email="seller@example.ch"
        )
        await shop.sellers.PutSellerAccount(request, timeout=TIMEOUT_S)
        databases = {}
        for service in LEFT_TO_DO:
            connection = await asyncpg.connect(plain_dsn(suite.database_url(service)))
            stack.push_async_callback(connection.close)
            databases[service] = connection
        yield LocalShop(suite, shop=shop, payers=payers, databases=databases)
