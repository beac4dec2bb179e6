"""Plays shop, payer and payer's bank for one payment, through the same calls as they would, and keeps what happened."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

from batzen.cli import money
from batzen.cli.authentication import Outcome, authenticate
from batzen.cli.cards import payment_method_id
from batzen.cli.changing import refundable
from batzen.cli.follow import at_least, following
from batzen.cli.hosted_page import pay_page
from batzen.cli.journey import Journey
from batzen.cli.moments import duration
from batzen.cli.moving import COLLECTIONS, Way
from batzen.cli.starting import RETURN_URL
from batzen.cli.states import name
from batzen.client import Client, new_request_id
from batzen.errors import BatzenError
from batzen.gateway.v1.payment_methods_pb2 import ListPaymentMethodsRequest
from batzen.gateway.v1.transfers_pb2 import ListTransfersRequest
from batzen.orchestrator.v1.orchestrator_pb2 import (
    CancelPaymentRequest,
    CapturePaymentRequest,
    PaymentSession,
    PreservePaymentRequest,
    PreviewRefundRequest,
    RefundPaymentRequest,
    ResumePaymentRequest,
    RetryPaymentRequest,
    SubmitPaymentRequest,
    SyncPaymentRequest,
)
from batzen.status.v1.status_pb2 import GetPaymentRequest, Payment, Transition
from batzen.type.v1.money_pb2 import Money
from local.books import LOOK_EVERY_S, had
from local.record import Deed, Record
from local.start import Start, started
from sandbox.control import SandboxControl

WAIT_S: Final = 30.0
"""For a state that has to come."""
ACTOR_ID: Final = "demo"


class Player:
    """One payment's people. Made by `playing`."""

    def __init__(
        self,
        client: Client,
        record: Record,
        *,
        start: Start,
        seller_id: str,
        stripe_seconds: Callable[[], Awaitable[float | None]],
        changed: Callable[[], None],
    ) -> None:
        self.record = record
        self._client = client
        self._how = start
        self._seller_id = seller_id
        self._stripe_seconds = stripe_seconds
        self._changed = changed
        self._journey: Journey | None = None
        self._page_url = ""
        self._hosted_url = ""

    @property
    def session_id(self) -> str:
        """Stripe's id of the hosted page that the payer was sent to, as its address ends with it."""
        return self._hosted_url.rpartition("/")[2]

    @asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        """Start the payment, follow its stream inside, and read it once more at the end."""
        async with self._calling("the shop starts a payment"):
            session = await self._start()
        self._goes_on(session)
        payment_id = self.record.payment.payment_id
        async with following(self._client, payment_id, heard=self._heard, after_revision=0) as journey:
            self._journey = journey
            await journey.until(at_least(self.record.payment.revision, lambda _: True), timeout_s=WAIT_S)
            yield
        self.record.payment = await self._read()

    async def submit(self, card: str) -> None:
        """Pay with a card, by its friendly name, in the site's form."""
        await self._submit(payment_method_id(card), f"the payer submits a card: {card}")

    async def submit_kept(self) -> None:
        """Pay with the method that the payer keeps."""
        request = ListPaymentMethodsRequest(payer_id=self._how.payer_id)
        kept = (await self._client.payment_methods.ListPaymentMethods(request)).payment_methods[0]
        await self._submit(kept.payment_method_id, f"the payer chooses their kept card, {kept.brand} •••• {kept.last4}")

    async def submit_again(self) -> None:
        """Come back, and pay with the method that was set up."""
        method_id = self.record.updates[-1].snapshot.method.payment_method_id
        await self._submit(method_id, "the payer comes back, and pays with the card they set up")

    async def pay_page(self, method: str) -> None:
        """Pay on the hosted page, and come back to the shop unless the bank asks first."""
        self._did(f"the payer chooses on Stripe's page: {method}")
        paid = await pay_page(self._hosted_url, payment_method_id=payment_method_id(method))
        self._page_url = paid.authentication_url
        if paid.problem:
            self._did(f"the page says: {paid.problem}")
        if not self._page_url:
            await self._back()

    async def authenticate(self, outcome: Outcome) -> None:
        """Let the payer pass or fail 3-D Secure in the browser, and return to the shop."""
        self._did("the payer " + ("confirms at the bank" if outcome is Outcome.SUCCEED else "fails at the bank"))
        await authenticate(self._page_url, outcome)
        await self._back()

    async def capture(self, amount: Money, *, is_final: bool = False) -> None:
        """Take a part of what is held."""
        request = CapturePaymentRequest(
            request_id=new_request_id(),
            payment_id=self.record.payment.payment_id,
            amount=amount,
            final_capture=is_final,
            actor_id=ACTOR_ID,
        )
        and_more = ", and gives back the rest" if is_final else ""
        async with self._calling(f"the shop captures {_shown(amount)}{and_more}"):
            self.record.payment = (await self._client.orchestrator.CapturePayment(request)).payment

    async def refund(self, amount: Money | None = None) -> None:
        """Give money back: `amount`, or all that is left."""
        left = refundable(await self._read())
        await self._refund(f"the shop refunds {_shown(amount) if amount else 'the rest'}", amount, left=left)

    async def refund_seller(self, seller_id: str) -> None:
        """Give back all that one seller sold."""
        asked = PreviewRefundRequest(payment_id=self.record.payment.payment_id, seller_id=seller_id)
        seen = await self._client.orchestrator.PreviewRefund(asked)
        text = f"the shop refunds what {seller_id} sold, {_shown(seen.amount)}"
        await self._refund(text, seen.amount, left=seen.refundable, seller_id=seller_id)
        self.record.gave_back.add(seller_id)

    async def _refund(self, text: str, amount: Money | None, *, left: Money, seller_id: str = "") -> None:
        request = RefundPaymentRequest(
            request_id=new_request_id(),
            payment_id=self.record.payment.payment_id,
            seller_id=seller_id,
            amount=amount,
            expected_refundable=left,
            reason=RefundPaymentRequest.REASON_REQUESTED_BY_PAYER,
            actor_id=ACTOR_ID,
        )
        async with self._calling(text):
            self.record.payment = (await self._client.orchestrator.RefundPayment(request)).payment

    async def until_sellers_have(self, text: str) -> None:
        """Wait until each seller of the cart has its part of what stands, and tell it; raises TimeoutError."""
        quote = self.record.quote
        due = {
            one.seller_id: one.seller_share_minor for one in quote.sellers if one.seller_id not in self.record.gave_back
        }
        request = ListTransfersRequest(payment_id=self.record.payment.payment_id)
        async with asyncio.timeout(WAIT_S):
            while +await had(self._client, request) != Counter(due):  # noqa: ASYNC110 a stream tells of the payment alone
                await asyncio.sleep(LOOK_EVERY_S)
        shares = ", ".join(f"{one} {money.shown(minor, quote.currency_code)}" for one, minor in due.items())
        self._did(f"{text}: {shares}" if shares else text)

    async def lose_dispute(self, stand_in: SandboxControl) -> None:
        """Let the payer's bank contest all of it, and take it for good."""
        payment_id = self.record.payment.payment_id
        (intent,) = await stand_in.objects("payment_intent", **{"metadata.payment_id": payment_id})
        self._did("the payer's bank disputes the payment")
        dispute = await stand_in.dispute(intent["id"])
        await self.until("DISPUTED")
        self._did("the bank decides for the payer")
        await stand_in.move_dispute(dispute["id"], "lost")
        await self.until("DISPUTE_LOST")
        self.record.gave_back.update(sale.seller_id for sale in self._how.cart)

    async def cancel(self) -> None:
        """Call the payment off."""
        request = CancelPaymentRequest(
            request_id=new_request_id(), payment_id=self.record.payment.payment_id, reason="changed my mind"
        )
        async with self._calling("the payer calls it off"):
            self.record.payment = (await self._client.orchestrator.CancelPayment(request)).payment

    async def retry(self, text: str, *, way: Way | None = None) -> None:
        """Try again: the charge that is planned, or another attempt for the payer."""
        request = RetryPaymentRequest(request_id=new_request_id(), payment_id=self.record.payment.payment_id)
        if way is not None:
            request.collection = COLLECTIONS[way]
        async with self._calling(text):
            answer = await self._client.orchestrator.RetryPayment(request)
        self.record.payment = answer.payment
        self._hosted_url = answer.session.checkout_url

    async def preserve(self, window: timedelta) -> None:
        """Ask to be waited for."""
        request = PreservePaymentRequest(
            request_id=new_request_id(),
            payment_id=self.record.payment.payment_id,
            reason="fetches a card",
            window=duration(window),
        )
        async with self._calling(f"the payer goes to fetch a card, and asks for {window.total_seconds():.0f} s"):
            self.record.payment = (await self._client.orchestrator.PreservePayment(request)).payment

    async def resume(self) -> None:
        """Come back."""
        request = ResumePaymentRequest(request_id=new_request_id(), payment_id=self.record.payment.payment_id)
        async with self._calling("the payer is back, and goes on"):
            answer = await self._client.orchestrator.ResumePayment(request)
        self._goes_on(answer.session)

    async def start_again(self) -> None:
        """Start another payment of the same booking, and tell how that is refused."""
        try:
            async with self._calling(f"the shop starts another payment of {self._how.booking_id}"):
                await self._start()
        except BatzenError as error:
            self._did(f"it is refused: {error.reason}, by {error.metadata.get('payment_id', 'no payment')}")

    def tell(self, text: str) -> None:
        """Say what somebody else did."""
        self._did(text)

    async def until(self, state: str, *, also: Callable[[Transition], bool] = lambda _: True) -> Transition:
        """Wait until it was in a state since the last call, and return that; raises TimeoutError after `WAIT_S`."""
        if self._journey is None:
            raise LookupError("the payment was not started")
        journey, since = self._journey, self.record.payment.revision

        def found() -> Transition | None:
            wanted = at_least(since, lambda update: name(update.state) == state and also(update))
            return next((update for update in journey.seen if wanted(update)), None)

        newest = await journey.until(lambda _: found() is not None, timeout_s=WAIT_S)
        return found() or newest

    async def _start(self) -> PaymentSession:
        return await started(self._client, self._how, seller_id=self._seller_id, total=self.record.total)

    async def _submit(self, method_id: str, text: str) -> None:
        request = SubmitPaymentRequest(
            request_id=new_request_id(),
            payment_id=self.record.payment.payment_id,
            payment_method_id=method_id,
            return_url=RETURN_URL,
            keep_method=self._how.keep_method,
        )
        async with self._calling(text):
            answer = await self._client.orchestrator.SubmitPayment(request)
        self.record.payment = answer.payment
        self._page_url = answer.next_action.redirect_url

    async def _back(self) -> None:
        request = SyncPaymentRequest(payment_id=self.record.payment.payment_id)
        async with self._calling("the payer is back at the shop, which asks again"):
            self.record.payment = (await self._client.orchestrator.SyncPayment(request)).payment

    def _goes_on(self, session: PaymentSession) -> None:
        self.record.payment = session.payment
        self.record.quote = session.quote
        self._hosted_url = session.checkout_url
        self._page_url = session.next_action.redirect_url

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


@asynccontextmanager
async def playing(
    client: Client,
    record: Record,
    *,
    start: Start,
    seller_id: str,
    stripe_seconds: Callable[[], Awaitable[float | None]],
    changed: Callable[[], None],
) -> AsyncIterator[Player]:
    """Start a payment, follow its stream inside, and read it once more at the end; `changed` hears of each event."""
    player = Player(client, record, start=start, seller_id=seller_id, stripe_seconds=stripe_seconds, changed=changed)
    async with player.followed():
        yield player


def _shown(amount: Money) -> str:
    return money.shown(amount.amount_minor, amount.currency_code)
