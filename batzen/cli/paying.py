"""Plays the payer of one payment: in the site's form or on the hosted page, and at their bank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

from batzen._request_ids import new_request_id
from batzen.cli.authentication import Outcome, authenticate
from batzen.cli.follow import at_least, is_decided
from batzen.cli.hosted_page import pay_page
from batzen.cli.output import error_console
from batzen.cli.starting import RETURN_URL
from batzen.orchestrator.v1.orchestrator_pb2 import (
    GetPaymentSessionRequest,
    PaymentSession,
    SubmitPaymentRequest,
    SyncPaymentRequest,
)
from batzen.status.v1.status_pb2 import Payment, Transition
from batzen.type.v1.payment_pb2 import PaymentState

if TYPE_CHECKING:
    from batzen.cli.journey import Journey
    from batzen.client import Client


@dataclass(frozen=True, slots=True, kw_only=True)
class Payer:
    """What the payer does."""

    card: str | None
    """None for a person who pays on the hosted page themselves."""
    three_ds: Outcome | None
    keep_method: bool
    wait_s: float
    is_page_played: bool
    """Whether a page is what stands for Stripe's, which a terminal can complete; Stripe's own it cannot."""

    async def pay(self, client: Client, journey: Journey, session: PaymentSession) -> Transition:
        """Pay, and return what came of it. Raises `PageNotCompleted`."""
        payment = session.payment
        if session.checkout_url:
            return await self._on_page(client, journey, payment, session.checkout_url)
        if payment.state == PaymentState.PAYMENT_STATE_REQUIRES_ACTION and session.next_action.redirect_url:
            return await self._authenticated(client, journey, payment, session.next_action.redirect_url)
        request = SubmitPaymentRequest(
            request_id=new_request_id(),
            payment_id=payment.payment_id,
            payment_method_id=self.card or "",
            return_url=RETURN_URL,
            keep_method=self.keep_method,
        )
        answer = await client.orchestrator.SubmitPayment(request)
        if answer.next_action.redirect_url:
            return await self._authenticated(client, journey, answer.payment, answer.next_action.redirect_url)
        return await journey.until(at_least(answer.payment.revision, is_decided), timeout_s=self.wait_s)

    async def _on_page(self, client: Client, journey: Journey, payment: Payment, page_url: str) -> Transition:
        if self.card is None:
            _tell_page("The payer pays here: ", page_url, self._advice("--card visa"))
            return await journey.until(at_least(payment.revision + 1, is_decided), timeout_s=self.wait_s)
        paid = await pay_page(page_url, payment_method_id=self.card)
        if paid.authentication_url:
            return await self._authenticated(client, journey, payment, paid.authentication_url)
        if paid.problem:
            error_console.print(Text(f"The page says: {paid.problem}", style="red"))
        synced = await _back_at_the_shop(client, payment)
        return await journey.until(at_least(synced.revision, is_decided), timeout_s=self.wait_s)

    async def _authenticated(self, client: Client, journey: Journey, payment: Payment, page_url: str) -> Transition:
        if self.three_ds is None:
            _tell_page("The payer has to authenticate: ", page_url, self._advice("--3ds succeed, --3ds fail"))
            return await journey.until(at_least(payment.revision + 1, is_decided), timeout_s=self.wait_s)
        await authenticate(page_url, self.three_ds)
        synced = await _back_at_the_shop(client, payment)
        return await journey.until(at_least(synced.revision, is_decided), timeout_s=self.wait_s)

    def _advice(self, instead: str) -> str:
        return "Open it in a browser; this waits." + (f" Or use {instead}." if self.is_page_played else "")


async def session_of(client: Client, payment_id: str) -> PaymentSession:
    """Return what the payer of a payment needs to go on."""
    return (await client.orchestrator.GetPaymentSession(GetPaymentSessionRequest(payment_id=payment_id))).session


async def _back_at_the_shop(client: Client, payment: Payment) -> Payment:
    """Do what the shop's return page does; the webhook says the same, in whichever order."""
    request = SyncPaymentRequest(payment_id=payment.payment_id)
    return (await client.orchestrator.SyncPayment(request)).payment


def _tell_page(text: str, page_url: str, advice: str) -> None:
    error_console.print(Text.assemble(text, (page_url, "underline")), soft_wrap=True)
    error_console.print(advice, style="dim")
