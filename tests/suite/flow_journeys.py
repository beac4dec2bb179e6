"""What is recorded as a flow: each plays one on a running suite, and says beside it what no process of ours does."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from batzen.cli.hosted_page import pay_page
from batzen.client import new_request_id
from batzen.gateway.v1 import disputes_pb2
from batzen.orchestrator.v1 import orchestrator_pb2
from batzen.status.v1 import status_pb2
from tests.reference.sequence import Message, Note
from tests.suite.flows import Recording, Step, recording
from tests.suite.journeys import (
    CALL_TIMEOUT_S,
    REFUND_MINOR,
    RETURN_URL,
    TOTAL_MINOR,
    Traveller,
    state_name,
    stubbornly,
)
from tests.suite.traced import Traced

CARD: Final = "pm_card_visa"
THREE_DS: Final = "pm_card_threeDSecure2Required"
SECOND_SELLER: Final = "seller_2"


@dataclass
class Stage:
    """Where a flow is played."""

    traced: Traced
    payment_id: str = ""
    beside: list[Step] = field(default_factory=list)
    """What happened that leaves no span."""

    @property
    def traveller(self) -> Traveller:
        """The shop with its payer."""
        return self.traced.traveller

    def say(self, who: str, what: str) -> None:
        """Note what somebody did who leaves no span, or a process that died with its own."""
        self._beside(Note(who, who, what))

    def call(self, who: str, whom: str, rpc: str) -> None:
        """Note a call whose callee dies before it can say so."""
        self._beside(Message(who, whom, rpc, is_answer=False))

    def _beside(self, said: Message | Note) -> None:
        now = time.time_ns()
        self.beside.append(Step(said=said, started_ns=now, ended_ns=now, is_outside=True))

    async def start(self, **given: orchestrator_pb2.Timing) -> orchestrator_pb2.PaymentSession:
        """Start the payment of the flow."""
        session = await self.traveller.start(**given)  # type: ignore[arg-type]
        self.payment_id = session.payment.payment_id
        return session

    async def recorded(self) -> Callable[[], Recording]:
        """Return what reads off the spans that have arrived what happened."""
        history = await self.traveller.history(self.payment_id)
        written = [(one.record_time.ToNanoseconds(), state_name(one.state)) for one in history]

        def read() -> Recording:
            spans = self.traced.of_payment(self.payment_id)
            return recording(spans, callers=CALLERS, written=written, beside=self.beside)

        return read

    async def until(self, state: str) -> None:
        """Wait until the payment has come to a state."""
        await self.traveller.until(self.payment_id, state)


Play = Callable[[Stage], Awaitable[None]]


@dataclass(frozen=True)
class Flow:
    """A flow, and whether Stripe's webhooks arrive while it runs: where they do not, nothing depends on them."""

    play: Play
    has_webhooks: bool = False
    restarts: bool = False
    """Whether a process dies in it; what it had not sent of its spans dies with it."""


async def _at_once(stage: Stage) -> None:
    await stage.start()
    await stage.traveller.submit(stage.payment_id, CARD)


async def _three_d_secure(stage: Stage) -> None:
    await stage.start()
    await stage.traveller.submit(stage.payment_id, THREE_DS)
    stage.say("payer", "confirms at the bank, on Stripe's page")
    await stage.traveller.sandbox.authenticate((await stage.traveller.intent_of(stage.payment_id))["id"], succeed=True)
    await stage.traveller.sync(stage.payment_id)


async def _on_the_page(stage: Stage) -> None:
    request = stage.traveller.start_request()
    request.collection = orchestrator_pb2.COLLECTION_CHECKOUT
    request.cancel_url = RETURN_URL
    session = await stage.traveller.started(request)
    stage.payment_id = session.payment.payment_id
    stage.say("payer", "pays on Stripe's page, and comes back")
    await pay_page(session.checkout_url, payment_method_id=CARD)
    await stage.traveller.sync(stage.payment_id)


async def _held(stage: Stage) -> None:
    await stage.start(timing=orchestrator_pb2.TIMING_MANUAL_CAPTURE)
    await stage.traveller.submit(stage.payment_id, CARD)
    await stage.traveller.capture(stage.payment_id, TOTAL_MINOR, is_final=True)


async def _planned(stage: Stage) -> None:
    request = stage.traveller.start_request()
    request.timing = orchestrator_pb2.TIMING_SCHEDULED
    request.charge_time.GetCurrentTime()  # due as soon as the method is kept
    stage.payment_id = (await stage.traveller.started(request)).payment.payment_id
    await stage.traveller.submit(stage.payment_id, CARD)
    await stage.until("SUCCEEDED")


async def _refunded(stage: Stage) -> None:
    await _at_once(stage)
    await stage.traveller.refund(stage.payment_id, amount_minor=REFUND_MINOR, refundable_minor=TOTAL_MINOR)
    await stage.until("PARTIALLY_REFUNDED")


async def _several_sellers(stage: Stage) -> None:
    await stage.traveller.put_seller(SECOND_SELLER)
    request = stage.traveller.start_request()
    second = request.lines.add()
    second.CopyFrom(request.lines[0])
    second.line_id, second.seller_id = "further", SECOND_SELLER
    stage.payment_id = (await stage.traveller.started(request)).payment.payment_id
    await stage.traveller.submit(stage.payment_id, CARD)


async def _webhook(stage: Stage) -> None:
    await stage.start()
    await stage.traveller.submit(stage.payment_id, THREE_DS)
    stage.say("payer", "confirms at the bank, and closes the browser")
    await stage.traveller.sandbox.authenticate((await stage.traveller.intent_of(stage.payment_id))["id"], succeed=True)
    await stage.until("SUCCEEDED")


async def _disputed(stage: Stage) -> None:
    await _at_once(stage)
    dispute = await stage.traveller.sandbox.dispute((await stage.traveller.intent_of(stage.payment_id))["id"])
    await stage.until("DISPUTED")
    accepting = disputes_pb2.AcceptDisputeRequest(
        request_id=new_request_id(), dispute_id=dispute["id"], actor_id="clerk"
    )
    async with stage.traced.suite.client("operator", sub="clerk") as operator:
        await stubbornly(lambda: operator.disputes.AcceptDispute(accepting, timeout=CALL_TIMEOUT_S))
    await stage.until("DISPUTE_LOST")


async def _watched(stage: Stage) -> None:
    await stage.start()
    watching = status_pb2.WatchPaymentRequest(payment_id=stage.payment_id)
    stream = stage.traveller.shop.status.WatchPayment(watching)
    has = (await anext(aiter(stream))).header.current_revision
    stage.say("shop", "loses the connection")
    stream.cancel()
    await stage.traveller.submit(stage.payment_id, CARD)
    watching.after_revision = has
    stage.say("shop", "goes on after the revision it has")
    until = (await stage.traveller.payment(stage.payment_id)).revision
    stream = stage.traveller.shop.status.WatchPayment(watching)
    async for answer in stream:
        for transition in answer.updates.transitions:
            assert transition.revision == has + 1
            has += 1
        if has == until:
            break
    stage.say("shop", "has every revision once, in order")
    stream.cancel()


async def _recovered(stage: Stage) -> None:
    await stage.start()
    # What a process has not yet sent of its spans dies with it.
    await stage.traced.until_told(stage.payment_id, "orchestrator server OrchestratorService/StartPayment")
    stage.traced.armed.write_text("submit.gateway:after")
    submitting = orchestrator_pb2.SubmitPaymentRequest(
        request_id=new_request_id(), payment_id=stage.payment_id, payment_method_id=CARD
    )
    stage.call("payer", "orchestrator", "SubmitPayment")
    call = stage.traveller.payer.orchestrator.SubmitPayment(submitting)
    await stage.traced.suite.ended("orchestrator")
    stage.say("orchestrator", "dies: Stripe took the money, which is saved nowhere here")
    call.cancel()
    await stage.traced.suite.start("orchestrator")
    stage.say("orchestrator", "runs again")
    await stage.until("SUCCEEDED")


FLOWS: Final = {
    "start and submit": Flow(_at_once),
    "3-D Secure": Flow(_three_d_secure),
    "hosted page": Flow(_on_the_page),
    "hold and capture": Flow(_held),
    "scheduled charge": Flow(_planned),
    "several sellers": Flow(_several_sellers, has_webhooks=True),
    "refund": Flow(_refunded),
    "webhook": Flow(_webhook, has_webhooks=True),
    "dispute": Flow(_disputed, has_webhooks=True),
    "watch that goes on": Flow(_watched),
    "recovery": Flow(_recovered, restarts=True),
}
"""Name → the flow, in the order of docs/flows.md."""

CALLERS: Final = {
    **dict.fromkeys(("StartPayment", "CapturePayment", "RefundPayment", "WatchPayment"), "shop"),
    **dict.fromkeys(("SubmitPayment", "SyncPayment"), "payer"),
    "AcceptDispute": "operator",
}
"""RPC → who called it from outside; what a test asks besides to see how far it is has no place in a diagram."""
