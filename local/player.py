"""Plays shop, payer and payer's bank for one payment, through the same calls as they would, and keeps what happened."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from batzen.cli import money
from batzen.cli.authentication import Outcome, authenticate
from batzen.cli.cards import payment_method_id
from batzen.cli.changing import refundable
from batzen.cli.follow import Journey, at_least, following
from batzen.cli.states import name
from batzen.client import Client, new_request_id
from batzen.gateway.v1.sellers_pb2 import PutSellerAccountRequest
from batzen.orchestrator.v1.orchestrator_pb2 import (
    CancelPaymentRequest,
    Collection,
    Payer,
    RefundPaymentRequest,
    StartPaymentRequest,
    SubmitPaymentRequest,
    SyncPaymentRequest,
    Timing,
)
from batzen.pricing.v1.price_book_pb2 import LineKind
from batzen.pricing.v1.pricing_pb2 import Line
from batzen.status.v1.status_pb2 import GetPaymentRequest, Payment, Transition
from batzen.type.v1.money_pb2 import Money

RETURN_URL: Final = "http://127.0.0.1/returned"
WAIT_S: Final = 30.0
"""For a state that has to come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """Something the payer or the shop did."""

    time: datetime
    text: str


@dataclass(slots=True, kw_only=True)
class Record:
    """What happened to one payment, in order."""

    total: Money
    payment: Payment = field(default_factory=Payment)
    happened: list[Deed | Transition] = field(default_factory=list)
    """As it came to us: what a stream tells comes a little after it was."""
    waited_s: float = 0.0
    """What callers waited for answers, Stripe's share included."""
    stripe_s: float | None = 0.0
    """The share of that which the stand-in says was its own; None where it cannot be told."""

    @property
    def events(self) -> list[Deed | Transition]:
        """What happened, in the order it happened in."""
        return sorted(self.happened, key=time_of)

    @property
    def updates(self) -> list[Transition]:
        return [event for event in self.happened if isinstance(event, Transition)]

    @property
    def states(self) -> list[str]:
        return [name(update.state) for update in self.updates]


def time_of(event: Deed | Transition) -> datetime:
    """Return when something happened, by this machine's clock."""
    return event.time if isinstance(event, Deed) else event.record_time.ToDatetime(UTC)


class Player:
    """One payment's people. Made by `playing`."""

    def __init__(
        self,
        client: Client,
        record: Record,
        *,
        seller_id: str,
        stripe_seconds: Callable[[], Awaitable[float | None]],
        changed: Callable[[], None],
    ) -> None:
        self.record = record
        self._client = client
        self._seller_id = seller_id
        self._stripe_seconds = stripe_seconds
        self._changed = changed
        self._journey: Journey | None = None
        self._page_url = ""

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        """Start the payment, follow its stream inside, and read it once more at the end."""
        await self._start()
        payment_id = self.record.payment.payment_id
        async with following(self._client, payment_id, heard=self._heard, after_revision=0) as journey:
            self._journey = journey
            await journey.until(at_least(self.record.payment.revision, lambda _: True), timeout_s=WAIT_S)
            yield
        self.record.payment = await self._read()

    async def submit(self, card: str) -> None:
        """Pay with a card, by its friendly name."""
        request = SubmitPaymentRequest(
            request_id=new_request_id(),
            payment_id=self.record.payment.payment_id,
            payment_method_id=payment_method_id(card),
            return_url=RETURN_URL,
        )
        async with self._calling(f"the payer submits a card: {card}"):
            answer = await self._client.orchestrator.SubmitPayment(request)
        self.record.payment = answer.payment
        self._page_url = answer.next_action.redirect_url

    async def authenticate(self, outcome: Outcome) -> None:
        """Let the payer pass or fail 3-D Secure in the browser, and return to the shop."""
        self._did("the payer " + ("confirms at the bank" if outcome is Outcome.SUCCEED else "fails at the bank"))
        await authenticate(self._page_url, outcome)
        async with self._calling("the payer is back at the shop, which asks again"):
            answer = await self._client.orchestrator.SyncPayment(
                SyncPaymentRequest(payment_id=self.record.payment.payment_id)
            )
        self.record.payment = answer.payment

    async def refund(self, amount: Money | None = None) -> None:
        """Give money back: `amount`, or all that is left."""
        payment = await self._read()
        request = RefundPaymentRequest(
            request_id=new_request_id(),
            payment_id=payment.payment_id,
            amount=amount,
            expected_refundable=refundable(payment),
            reason=RefundPaymentRequest.REASON_REQUESTED_BY_PAYER,
            actor_id="demo",
        )
        what = money.shown(amount.amount_minor, amount.currency_code) if amount else "the rest"
        async with self._calling(f"the shop refunds {what}"):
            answer = await self._client.orchestrator.RefundPayment(request)
        self.record.payment = answer.payment

    async def cancel(self) -> None:
        """Call the payment off."""
        request = CancelPaymentRequest(
            request_id=new_request_id(), payment_id=self.record.payment.payment_id, reason="changed my mind"
        )
        async with self._calling("the payer calls it off"):
            answer = await self._client.orchestrator.CancelPayment(request)
        self.record.payment = answer.payment

    async def until(self, state: str) -> None:
        """Wait for a state on the stream; raises TimeoutError after `WAIT_S`."""
        if self._journey is None:
            raise LookupError("the payment was not started")
        is_there = at_least(self.record.payment.revision, lambda update: name(update.state) == state)
        await self._journey.until(is_there, timeout_s=WAIT_S)

    async def _start(self) -> None:
        line = Line(
            line_id="1",
            seller_id=self._seller_id,
            kind=LineKind.LINE_KIND_SESSION,
            quantity="1",
            unit_amount=self.record.total,
        )
        request = StartPaymentRequest(
            request_id=new_request_id(),
            payer=Payer(payer_id="payer_1"),
            lines=[line],
            return_url=RETURN_URL,
            timing=Timing.TIMING_IMMEDIATE,
            collection=Collection.COLLECTION_ELEMENTS,
        )
        async with self._calling("the shop starts a payment"):
            answer = await self._client.orchestrator.StartPayment(request)
        self.record.payment = answer.session.payment

    async def _read(self) -> Payment:
        request = GetPaymentRequest(payment_id=self.record.payment.payment_id)
        return (await self._client.status.GetPayment(request)).payment

    @asynccontextmanager
    async def _calling(self, text: str) -> AsyncIterator[None]:
        stripe_before = await self._stripe_seconds()
        self._did(text)
        began = time.perf_counter()
        yield
        self.record.waited_s += time.perf_counter() - began
        stripe_after = await self._stripe_seconds()
        if stripe_before is None or stripe_after is None or self.record.stripe_s is None:
            self.record.stripe_s = None
        else:
            self.record.stripe_s += stripe_after - stripe_before

    def _did(self, text: str) -> None:
        self.record.happened.append(Deed(time=datetime.now(UTC), text=text))
        self._changed()

    def _heard(self, update: Transition) -> None:
        self.record.happened.append(update)
        self._changed()


async def add_seller(client: Client, seller_id: str) -> None:
    """Register a Swiss seller; one that is there stays as it is."""
    request = PutSellerAccountRequest(
        request_id=new_request_id(), seller_id=seller_id, country_code="CH", email="seller@example.com"
    )
    await client.sellers.PutSellerAccount(request)


@asynccontextmanager
async def playing(
    client: Client,
    record: Record,
    *,
    seller_id: str,
    stripe_seconds: Callable[[], Awaitable[float | None]],
    changed: Callable[[], None],
) -> AsyncIterator[Player]:
    """Start a payment, follow its stream inside, and read it once more at the end; `changed` hears of each event."""
    player = Player(client, record, seller_id=seller_id, stripe_seconds=stripe_seconds, changed=changed)
    async with player.followed():
        yield player
