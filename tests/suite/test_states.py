"""Every state a payment can come to, as its watcher sees it, in order; both ways of confirming; and too much money."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import asyncpg
import pytest

from batzen.client import Client, new_request_id
from batzen.gateway.v1 import intents_pb2, payer_pb2
from batzen.orchestrator.v1 import orchestrator_pb2
from batzen.status.v1 import status_pb2
from batzen.type.v1 import money_pb2
from local.suite import Suite
from services.runtime.database.connections import plain_dsn
from tests.eventually import eventually
from tests.suite.journeys import PART_MINOR, PAYER, REFUND_MINOR, RETURN_URL, SELLER, TOTAL_MINOR, Traveller, state_name

HOLD: Final = orchestrator_pb2.TIMING_MANUAL_CAPTURE
STATES: Final = frozenset(
    {
        "INITIALIZED",
        "REQUIRES_PAYMENT_METHOD",
        "PROCESSING",
        "REQUIRES_ACTION",
        "AUTHORIZED",
        "SUCCEEDED",
        "PARTIALLY_REFUNDED",
        "REFUNDED",
        "CANCELED",
        "EXPIRED",
        "FAILED",
    }
)
"""Of the path without a schedule; for the disputed ones see test_disputes."""


class Watcher:
    """Follows a payment from its first revision on, on a stream of its own."""

    def __init__(self, client: Client, payment_id: str) -> None:
        self.transitions: list[status_pb2.Transition] = []
        self._client = client
        self._payment_id = payment_id

    async def __aenter__(self) -> Watcher:
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._watching.cancel()
        await asyncio.wait({self._watching})

    async def _watch(self) -> None:
        async with self._client.watch(self._payment_id, after_revision=0) as updates:
            async for update in updates:
                self.transitions.append(update)

    @property
    def states(self) -> list[str]:
        """The states that were seen, each as often as the payment came to it."""
        names = [state_name(transition.state) for transition in self.transitions]
        return [name for number, name in enumerate(names) if number == 0 or names[number - 1] != name]

    async def until(self, state: str) -> None:
        """Wait until the newest that was seen is `state`."""

        async def is_there() -> bool:
            if self._watching.done():
                self._watching.result()
            return self.states[-1:] == [state]

        await eventually(is_there, what=f"the watcher sees {state}")

    async def until_all(self, traveller: Traveller) -> list[status_pb2.Transition]:
        """Wait until a payment has come to its end, and all of it was seen; return what status keeps of it."""
        await traveller.until(self._payment_id, self.states[-1])
        history = await traveller.history(self._payment_id)
        await eventually(lambda: len(self.transitions) >= len(history), what="the watcher sees every revision")
        return history


async def _submit(traveller: Traveller, session: orchestrator_pb2.PaymentSession, card: str = "pm_card_visa") -> None:
    await traveller.submit(session.payment.payment_id, card)


async def _in_browser(
    traveller: Traveller, session: orchestrator_pb2.PaymentSession, card: str = "pm_card_visa"
) -> Any:
    return await traveller.sandbox.browser_confirm(session.client_secret, payment_method=card, return_url=RETURN_URL)


async def _refund_twice(traveller: Traveller, session: orchestrator_pb2.PaymentSession) -> None:
    payment_id = session.payment.payment_id
    await _submit(traveller, session)
    await traveller.refund(payment_id, amount_minor=REFUND_MINOR, refundable_minor=TOTAL_MINOR)
    rest_minor = TOTAL_MINOR - REFUND_MINOR
    await traveller.refund(payment_id, amount_minor=rest_minor, refundable_minor=rest_minor)


async def _decline_then_pay(traveller: Traveller, session: orchestrator_pb2.PaymentSession) -> None:
    await _submit(traveller, session, "pm_card_chargeDeclined")
    await _submit(traveller, session, "pm_card_mastercard")


async def _decline_then_pay_in_browser(traveller: Traveller, session: orchestrator_pb2.PaymentSession) -> None:
    refused = await _in_browser(traveller, session, "pm_card_chargeDeclined")
    assert refused["error"]["code"] == "card_declined"
    await _in_browser(traveller, session)


async def _authenticate(traveller: Traveller, session: orchestrator_pb2.PaymentSession) -> None:
    answer = await traveller.submit(session.payment.payment_id, "pm_card_threeDSecure2Required")
    back = await traveller.sandbox.answer_3ds(answer.next_action.redirect_url, succeed=True)
    assert back.startswith(RETURN_URL)
    await traveller.sync(session.payment.payment_id)


async def _fail_to_authenticate(traveller: Traveller, session: orchestrator_pb2.PaymentSession) -> None:
    answer = await traveller.submit(session.payment.payment_id, "pm_card_threeDSecure2Required")
    await traveller.sandbox.answer_3ds(answer.next_action.redirect_url, succeed=False)
    await traveller.sync(session.payment.payment_id)


async def _authenticate_in_browser(traveller: Traveller, session: orchestrator_pb2.PaymentSession) -> None:
    intent = await _in_browser(traveller, session, "pm_card_threeDSecure2Required")
    payment_id = session.payment.payment_id

    async def is_known() -> bool:
        return state_name((await traveller.payment(payment_id)).state) == "REQUIRES_ACTION"

    await eventually(is_known, what="the suite knows of the authentication")
    await traveller.sandbox.authenticate(intent["id"], succeed=True)


async def _cancel(traveller: Traveller, session: orchestrator_pb2.PaymentSession) -> None:
    await traveller.cancel(session.payment.payment_id)


async def _cancel_in_dashboard(traveller: Traveller, session: orchestrator_pb2.PaymentSession) -> None:
    await traveller.sandbox.cancel((await traveller.intent_of(session.payment.payment_id))["id"])


async def _hold_and_capture(traveller: Traveller, session: orchestrator_pb2.PaymentSession) -> None:
    await _submit(traveller, session)
    await traveller.capture(session.payment.payment_id, TOTAL_MINOR, is_final=True)


async def _give_a_part_back_while_the_rest_is_held(
    traveller: Traveller, session: orchestrator_pb2.PaymentSession
) -> None:
    payment_id = session.payment.payment_id
    await _submit(traveller, session)
    await traveller.capture(payment_id, PART_MINOR, is_final=False)
    await traveller.refund(payment_id, amount_minor=PART_MINOR, refundable_minor=PART_MINOR)
    await traveller.release(payment_id)


async def _hold_and_release(traveller: Traveller, session: orchestrator_pb2.PaymentSession) -> None:
    await _submit(traveller, session)
    await traveller.release(session.payment.payment_id)


async def _let_a_hold_lapse(traveller: Traveller, session: orchestrator_pb2.PaymentSession) -> None:
    await _submit(traveller, session)
    await traveller.sandbox.lapse_hold((await traveller.intent_of(session.payment.payment_id))["id"])


async def _pay_with_a_stolen_card(traveller: Traveller, session: orchestrator_pb2.PaymentSession) -> None:
    await _submit(traveller, session, "pm_card_radarBlock")


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way through the states."""

    walk: Callable[[Traveller, orchestrator_pb2.PaymentSession], Awaitable[object]]
    then: str
    """The states after INITIALIZED and REQUIRES_PAYMENT_METHOD."""
    timing: orchestrator_pb2.Timing = orchestrator_pb2.TIMING_IMMEDIATE

    @property
    def states(self) -> list[str]:
        return ["INITIALIZED", "REQUIRES_PAYMENT_METHOD", *self.then.split()]


WAYS: Final = {
    "paid": Way(walk=_submit, then="PROCESSING SUCCEEDED"),
    "paid in the browser": Way(walk=_in_browser, then="SUCCEEDED"),
    "refunded": Way(walk=_refund_twice, then="PROCESSING SUCCEEDED PARTIALLY_REFUNDED REFUNDED"),
    "declined, then paid": Way(walk=_decline_then_pay, then="PROCESSING REQUIRES_PAYMENT_METHOD PROCESSING SUCCEEDED"),
    "declined, then paid in the browser": Way(walk=_decline_then_pay_in_browser, then="SUCCEEDED"),
    "authenticated": Way(walk=_authenticate, then="PROCESSING REQUIRES_ACTION SUCCEEDED"),
    "authenticated in the browser": Way(walk=_authenticate_in_browser, then="REQUIRES_ACTION SUCCEEDED"),
    "not authenticated": Way(walk=_fail_to_authenticate, then="PROCESSING REQUIRES_ACTION REQUIRES_PAYMENT_METHOD"),
    "called off": Way(walk=_cancel, then="CANCELED"),
    "called off in the dashboard": Way(walk=_cancel_in_dashboard, then="CANCELED"),
    "held and captured": Way(walk=_hold_and_capture, then="PROCESSING AUTHORIZED SUCCEEDED", timing=HOLD),
    "held, and a part given back": Way(
        walk=_give_a_part_back_while_the_rest_is_held,
        then="PROCESSING AUTHORIZED PARTIALLY_REFUNDED REFUNDED",
        timing=HOLD,
    ),
    "held and released": Way(walk=_hold_and_release, then="PROCESSING AUTHORIZED CANCELED", timing=HOLD),
    "held until it lapsed": Way(walk=_let_a_hold_lapse, then="PROCESSING AUTHORIZED EXPIRED", timing=HOLD),
    "given up": Way(walk=_pay_with_a_stolen_card, then="PROCESSING REQUIRES_PAYMENT_METHOD FAILED"),
}


@pytest.mark.parametrize("name", WAYS)
async def test_a_watcher_sees_each_state_in_order(name: str, traveller: Traveller) -> None:
    way = WAYS[name]
    session = await traveller.start(timing=way.timing)

    async with Watcher(traveller.payer, session.payment.payment_id) as watcher:
        await way.walk(traveller, session)
        await watcher.until(way.states[-1])
        history = await watcher.until_all(traveller)

    assert watcher.states == way.states
    assert watcher.transitions == history


async def test_who_abandons_a_payment_sees_it_expire(suite: Suite, traveller: Traveller) -> None:
    environment = suite.env_for("orchestrator")
    unauthenticated = (await traveller.start()).payment.payment_id
    await traveller.submit(unauthenticated, "pm_card_threeDSecure2Required")  # which may take more than a second
    await traveller.until(unauthenticated, "REQUIRES_ACTION")
    environment["BATZEN_ABANDONED_AFTER_S"] = "1"
    await suite.restart("orchestrator")
    try:
        abandoned = (await traveller.start()).payment.payment_id
        async with (
            Watcher(traveller.payer, abandoned) as first,
            Watcher(traveller.payer, unauthenticated) as second,
        ):
            await _let_patience_end(suite, unauthenticated)
            for watcher in (first, second):
                await watcher.until("EXPIRED")
        for payment_id in (abandoned, unauthenticated):
            await traveller.until(payment_id, "EXPIRED")
            assert (await traveller.intent_of(payment_id))["status"] == "canceled"
    finally:
        del environment["BATZEN_ABANDONED_AFTER_S"]
        await suite.restart("orchestrator")

    assert first.states == ["INITIALIZED", "REQUIRES_PAYMENT_METHOD", "EXPIRED"]
    assert second.states == [
        "INITIALIZED",
        "REQUIRES_PAYMENT_METHOD",
        "PROCESSING",
        "REQUIRES_ACTION",
        "EXPIRED",
    ]


async def _let_patience_end(suite: Suite, payment_id: str) -> None:
    owner = await asyncpg.connect(plain_dsn(suite.owner_url("orchestrator")))
    await owner.execute("UPDATE payments SET next_time = now(), due_time = now() WHERE payment_id = $1", payment_id)
    await owner.close()


def test_the_ways_lead_through_every_state_of_the_path() -> None:
    walked = {state for way in WAYS.values() for state in way.states} | {"EXPIRED"}

    assert walked == STATES


async def test_who_has_a_line_in_it_watches_it_too(suite: Suite, traveller: Traveller) -> None:
    session = await traveller.start()

    async with (
        suite.client("seller", sub=SELLER) as seller,
        Watcher(seller, session.payment.payment_id) as sellers,
        Watcher(traveller.shop, session.payment.payment_id) as shops,
    ):
        await _submit(traveller, session)
        for watcher in (sellers, shops):
            await watcher.until("SUCCEEDED")
            history = await watcher.until_all(traveller)

    assert sellers.transitions == shops.transitions == history


async def _second_attempt(suite: Suite, payment_id: str) -> str:
    """Take back the first intent and make a second, as the orchestrator would; return the second's client secret."""
    async with suite.client("service", sub="orchestrator") as orchestrator:
        await orchestrator.intents.CancelIntent(
            intents_pb2.CancelIntentRequest(request_id=new_request_id(), payment_id=payment_id, attempt=1)
        )
        answer = await orchestrator.intents.CreateIntent(
            intents_pb2.CreateIntentRequest(
                request_id=new_request_id(),
                payment_id=payment_id,
                attempt=2,
                payer=payer_pb2.Payer(payer_id=PAYER),
                amount=money_pb2.Money(amount_minor=TOTAL_MINOR, currency_code="CHF"),
                seller_id=SELLER,
                application_fee=money_pb2.Money(amount_minor=0, currency_code="CHF"),
            )
        )
    return answer.client_secret


async def test_two_attempts_that_both_succeed_are_one_payment_and_a_surplus(suite: Suite, traveller: Traveller) -> None:
    payment_id = (await traveller.start()).payment.payment_id
    first = await traveller.intent_of(payment_id)
    await traveller.sandbox.webhooks(drop=1.0)  # the orchestrator does not hear that the first is cancelled
    client_secret = await _second_attempt(suite, payment_id)
    await traveller.sandbox.webhooks()

    async with Watcher(traveller.payer, payment_id) as watcher:
        await traveller.sandbox.browser_confirm(client_secret, payment_method="pm_card_visa")
        await watcher.until("SUCCEEDED")
        await traveller.sandbox.succeed(first["id"])

        async def is_noticed() -> bool:
            return watcher.transitions[-1].snapshot.HasField("attention")

        await eventually(is_noticed, what="somebody is asked to look")
    await traveller.until(payment_id, "SUCCEEDED")

    snapshot = (await traveller.payment(payment_id)).snapshot
    assert snapshot.attempt == 2
    assert (snapshot.amounts.captured_minor, snapshot.amounts.surplus_minor) == (TOTAL_MINOR, TOTAL_MINOR)
    assert snapshot.attention.reason == "SURPLUS"
    assert watcher.states == ["INITIALIZED", "REQUIRES_PAYMENT_METHOD", "SUCCEEDED"]


async def test_a_surplus_given_back_is_none_and_what_was_paid_stays_paid(suite: Suite, traveller: Traveller) -> None:
    payment_id = (await traveller.start()).payment.payment_id
    first = await traveller.intent_of(payment_id)
    client_secret = await _second_attempt(suite, payment_id)
    await traveller.sandbox.succeed(first["id"])
    await traveller.sandbox.browser_confirm(client_secret, payment_method="pm_card_visa")

    async def surplus_minor() -> int:
        return (await traveller.payment(payment_id)).snapshot.amounts.surplus_minor

    async def has_surplus() -> bool:
        return await surplus_minor() == TOTAL_MINOR

    async def has_none() -> bool:
        return await surplus_minor() == 0

    await eventually(has_surplus, what="the surplus is booked")
    await traveller.sandbox.refund(_intent_id(client_secret), reverse_transfer=True)
    await eventually(has_none, what="the surplus is gone")
    await traveller.until(payment_id, "SUCCEEDED")

    amounts = (await traveller.payment(payment_id)).snapshot.amounts
    assert (amounts.captured_minor, amounts.refunded_minor) == (TOTAL_MINOR, 0)


def _intent_id(client_secret: str) -> str:
    return client_secret.partition("_secret_")[0]


async def test_money_that_comes_after_a_payment_was_called_off_is_taken_and_shown_to_somebody(
    traveller: Traveller,
) -> None:
    payment_id = (await traveller.start()).payment.payment_id
    await traveller.cancel(payment_id)
    intent = await traveller.intent_of(payment_id)

    async with Watcher(traveller.payer, payment_id) as watcher:
        await traveller.sandbox.succeed(intent["id"])
        await watcher.until("SUCCEEDED")
    await traveller.until(payment_id, "SUCCEEDED")

    assert watcher.states == ["INITIALIZED", "REQUIRES_PAYMENT_METHOD", "CANCELED", "SUCCEEDED"]
    snapshot = (await traveller.payment(payment_id)).snapshot
    assert snapshot.attention.reason == "LATE_MONEY"
    assert snapshot.amounts.captured_minor == TOTAL_MINOR


async def test_a_total_of_nothing_succeeds_without_stripe(traveller: Traveller) -> None:
    request = traveller.start_request()
    request.lines[0].unit_amount.amount_minor = 0
    session = (await traveller.shop.orchestrator.StartPayment(request)).session

    assert (state_name(session.payment.state), session.client_secret) == ("SUCCEEDED", "")
    assert await traveller.states(session.payment.payment_id) == ["INITIALIZED", "SUCCEEDED"]
    of_it = {"metadata.payment_id": session.payment.payment_id}
    assert await traveller.sandbox.objects("payment_intent", **of_it) == []
    assert await traveller.sandbox.objects("checkout.session", **of_it) == []
