"""Every move of the table of states is made over real channels; what no journey can make is named, and why.

Each way begins with a start, and goes on with what payers, banks, callers, clocks and faults do.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, timedelta
from itertools import pairwise
from typing import Any, Final, Literal

import pytest
from grpc import aio

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from services.orchestrator.domain.charge_plan import TRIES_MAX
from services.orchestrator.domain.plan import RequestKey
from services.orchestrator.domain.policies import ABANDONED_AFTER, DECLINES_MAX, RETRY_MAX, START_AGE_MAX
from services.orchestrator.wire.requests import derived_payment_id
from services.shared.states import State
from services.status.domain.snapshot import MOVES
from tests.orchestrator.conftest import Journeys, Orchestrator
from tests.orchestrator.samples import (
    BLOCKED,
    CANCEL,
    CAPTURE,
    CREATE,
    DECLINED,
    RETURN_URL,
    THREE_D_SECURE,
    VISA,
    cancel,
    capture,
    chf,
    line,
    scheduled,
    start,
    submit,
)
from tests.orchestrator.stripe_truth import collection_of

DAY: Final = timedelta(days=1)
SOFT: Final = "insufficient_funds"
LOST: Final = "pm_card_chargeDeclinedLostCard"

Outcome = Literal["succeeded", "declined", "processing", "canceled"]


@dataclass(slots=True)
class Traveller:
    """Takes one payment on its way."""

    replica: Orchestrator
    journeys: Journeys
    payment_id: str = ""

    async def begin(self, timing: int = pb.TIMING_IMMEDIATE, **changes: Any) -> None:
        """Start it."""
        request = start(timing=timing, **changes)
        if timing == pb.TIMING_SCHEDULED:
            request = scheduled(self.replica.world.clock.now() + DAY, **changes)
        session = (await self.journeys.orchestrator.StartPayment(request)).session
        self.payment_id = session.payment.payment_id

    async def begin_without(self, service: str, **changes: Any) -> None:
        """Start it where a service is away, so that the start does not get on."""
        request = start(**changes)
        async with self.replica.world.orchestrator(away=frozenset({service})) as cut_off, cut_off.connect() as stub:
            with suppress(aio.AioRpcError):
                await stub.StartPayment(request)
        key = RequestKey(
            tenant_id="main", caller="shop", method="StartPayment", request_id=uuid.UUID(request.request_id)
        )
        self.payment_id = derived_payment_id(key)

    async def submit(self, card: str = VISA) -> None:
        await self.journeys.orchestrator.SubmitPayment(submit(self.payment_id, card))

    async def in_browser(self, card: str) -> None:
        """Have the payer try a card in the browser, and read what came of it."""
        await self.unheard_in_browser(card)
        await self.sync()

    async def unheard_in_browser(self, card: str) -> None:
        """Have the payer try a card in the browser; of what came of it the gateway alone hears."""
        [attempt] = await self._open_attempts()
        secret = attempt["client_secret"]
        await self.journeys.stripe.browser_confirm(secret, payment_method=card, return_url=RETURN_URL)
        await self.journeys.synced(self.payment_id)

    async def authenticate(self, *, succeed: bool = True) -> None:
        [attempt] = await self._open_attempts()
        await self.journeys.stripe.authenticate(attempt["id"], succeed=succeed)
        await self.sync()

    async def force(self, outcome: Outcome, card: str = VISA) -> None:
        """Have something happen at Stripe that no payer of a form can do, and read it."""
        intent = (await self.journeys.intents(self.payment_id))[-1]
        await self.journeys.stripe.force(intent["id"], outcome, payment_method=card)
        await self.sync()

    async def sync(self) -> None:
        await self.journeys.orchestrator.SyncPayment(pb.SyncPaymentRequest(payment_id=self.payment_id))

    async def cancel(self) -> None:
        with suppress(aio.AioRpcError):
            await self.journeys.orchestrator.CancelPayment(cancel(self.payment_id))

    async def capture(self, amount_minor: int | None = None) -> None:
        with suppress(aio.AioRpcError):
            await self.journeys.orchestrator.CapturePayment(capture(self.payment_id, amount_minor))

    async def bank_refuses(self, reason: str, *, times: int = 1) -> None:
        method_id = await self.journeys.kept_method(self.payment_id)
        await self.journeys.stripe.decline_charges(method_id, reason, times=times)

    async def lapse(self) -> None:
        [intent] = await self.journeys.intents(self.payment_id)
        await self.journeys.stripe.lapse_hold(intent["id"])
        await self.sync()

    async def after(self, by: timedelta) -> None:
        """Let time pass, and what is due be done."""
        self.replica.world.clock.advance(by + timedelta(seconds=1))
        await self.replica.sweep()

    async def next_charge(self) -> None:
        """Let time pass until the plan charges next."""
        planned = (await self.journeys.payment(self.payment_id)).snapshot.charge_time.ToDatetime(UTC)
        await self.after(planned - self.replica.world.clock.now())

    async def silence(self, route: str) -> None:
        await self.journeys.silence(route)

    async def speak(self) -> None:
        """Stripe is itself again, and what became of what it was asked for is read."""
        await self.journeys.stripe.clear_faults()
        await self.after(RETRY_MAX)
        with suppress(aio.AioRpcError):
            await self.sync()
        await self.after(RETRY_MAX)

    async def collections(self) -> list[str]:
        """Return where the collection stood, one after another."""
        states = [collection_of(step.snapshot) for step in await self.journeys.transitions(self.payment_id)]
        return [str(one) for place, one in enumerate(states) if place == 0 or states[place - 1] is not one]

    async def _open_attempts(self) -> list[dict[str, Any]]:
        setups = await self.journeys.stripe.objects("setup_intent", **{"metadata.payment_id": self.payment_id})
        attempts = [*setups, *await self.journeys.intents(self.payment_id)]
        return [one for one in attempts if one["status"] not in ("succeeded", "canceled")]


Walk = Callable[[Traveller], Awaitable[None]]
HOLD, LATER = pb.TIMING_MANUAL_CAPTURE, pb.TIMING_SCHEDULED


async def _nothing_to_pay(one: Traveller) -> None:
    await one.begin(lines=[line(unit_amount=chf(0))])


async def _seller_unknown(one: Traveller) -> None:
    await one.begin_without("gateway", lines=[line(seller_id="seller_unknown")])
    await one.after(RETRY_MAX)


async def _start_too_late(one: Traveller) -> None:
    await one.begin_without("gateway")
    await one.after(START_AGE_MAX)


async def _declined_then_stolen(one: Traveller) -> None:
    await one.begin()
    await one.submit(DECLINED)
    await one.submit(BLOCKED)
    await one.after(RETRY_MAX)


async def _authenticated_then_paid_late(one: Traveller) -> None:
    await one.begin()
    await one.submit(THREE_D_SECURE)
    await one.authenticate(succeed=False)
    await one.in_browser(THREE_D_SECURE)
    await one.submit(THREE_D_SECURE)
    await one.cancel()
    await one.force("processing")
    await one.force("succeeded")


async def _paid_in_browser(one: Traveller) -> None:
    await one.begin()
    await one.in_browser(VISA)


async def _abandoned_then_paid(one: Traveller) -> None:
    await one.begin()
    await one.after(ABANDONED_AFTER)
    await one.force("succeeded")


async def _abandoned_at_the_bank(one: Traveller) -> None:
    await one.begin()
    await one.in_browser(THREE_D_SECURE)
    await one.after(ABANDONED_AFTER)
    await one.force("processing")


async def _called_off_then_paid(one: Traveller) -> None:
    await one.begin()
    await one.cancel()
    await one.force("succeeded")


async def _failed_then_paid(one: Traveller) -> None:
    await one.begin()
    await one.submit(BLOCKED)
    await one.after(RETRY_MAX)
    await one.force("succeeded")


async def _failed_then_processed(one: Traveller) -> None:
    await one.begin()
    await one.submit(BLOCKED)
    await one.after(RETRY_MAX)
    await one.force("processing")


async def _too_many_declines_then_the_bank_asks(one: Traveller) -> None:
    await one.begin()
    for _ in range(DECLINES_MAX):
        await one.unheard_in_browser(DECLINED)
    await one.in_browser(THREE_D_SECURE)
    await one.after(RETRY_MAX)


async def _authenticated(one: Traveller) -> None:
    await one.begin()
    await one.in_browser(THREE_D_SECURE)
    await one.authenticate()


async def _cancel_without_answer(one: Traveller) -> None:
    await one.begin()
    await one.silence(CANCEL)
    await one.cancel()
    await one.speak()


async def _expiry_without_answer(one: Traveller) -> None:
    await one.begin()
    await one.silence(CANCEL)
    await one.after(ABANDONED_AFTER)
    await one.speak()


async def _giving_up_without_answer(one: Traveller) -> None:
    await one.begin()
    await one.silence(CANCEL)
    await one.in_browser(BLOCKED)
    await one.after(RETRY_MAX)
    await one.speak()


async def _held_and_captured(one: Traveller) -> None:
    await one.begin(HOLD)
    await one.submit()
    await one.capture()


async def _held_in_browser_and_lapsed(one: Traveller) -> None:
    await one.begin(HOLD)
    await one.in_browser(VISA)
    await one.lapse()
    await one.force("succeeded")


async def _held_and_called_off(one: Traveller) -> None:
    await one.begin(HOLD)
    await one.submit(THREE_D_SECURE)
    await one.authenticate()
    await one.cancel()
    await one.force("succeeded")


async def _held_after_it_failed(one: Traveller) -> None:
    await one.begin(HOLD)
    await one.submit(BLOCKED)
    await one.after(RETRY_MAX)
    await one.force("succeeded")


async def _capture_without_answer(one: Traveller) -> None:
    await one.begin(HOLD)
    await one.submit()
    await one.silence(CAPTURE)
    await one.capture()
    await one.speak()


async def _charged_at_its_time(one: Traveller) -> None:
    await one.begin(LATER)
    await one.submit()
    await one.after(DAY)


async def _kept_with_authentication_and_called_off(one: Traveller) -> None:
    await one.begin(LATER)
    await one.submit(THREE_D_SECURE)
    await one.authenticate()
    await one.cancel()


async def _kept_in_browser_and_declined_between_tries(one: Traveller) -> None:
    await one.begin(LATER)
    await one.in_browser(VISA)
    await one.bank_refuses(SOFT)
    await one.after(DAY)
    await one.force("declined", LOST)


async def _paid_between_tries(one: Traveller) -> None:
    await one.begin(LATER)
    await one.submit()
    await one.bank_refuses(SOFT)
    await one.after(DAY)
    await one.force("succeeded")


async def _payer_comes_between_tries(one: Traveller) -> None:
    await one.begin(LATER)
    await one.submit()
    await one.bank_refuses(SOFT)
    await one.after(DAY)
    await one.in_browser(THREE_D_SECURE)


async def _charge_refused_until_the_last_try(one: Traveller) -> None:
    await one.begin(LATER)
    await one.submit()
    await one.journeys.stripe.fault("invalid", route=CREATE, times=None)
    for _ in range(TRIES_MAX):
        await one.next_charge()


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way, and where the collection stands on it, in short."""

    walk: Walk
    then: str

    @property
    def collections(self) -> list[str]:
        return [SHORT.get(name, name) for name in ("INITIALIZED", *self.then.split())]


SHORT: Final = {"WAITING": "REQUIRES_PAYMENT_METHOD", "ACTION": "REQUIRES_ACTION"}
_MADE: Final = (
    (_nothing_to_pay, "SUCCEEDED"),
    (_seller_unknown, "FAILED"),
    (_start_too_late, "EXPIRED"),
    (_declined_then_stolen, "WAITING PROCESSING WAITING PROCESSING WAITING FAILED"),
    (
        _authenticated_then_paid_late,
        "WAITING PROCESSING ACTION WAITING ACTION PROCESSING ACTION CANCELED PROCESSING SUCCEEDED",
    ),
    (_paid_in_browser, "WAITING SUCCEEDED"),
    (_abandoned_then_paid, "WAITING EXPIRED SUCCEEDED"),
    (_abandoned_at_the_bank, "WAITING ACTION EXPIRED PROCESSING"),
    (_called_off_then_paid, "WAITING CANCELED SUCCEEDED"),
    (_failed_then_paid, "WAITING PROCESSING WAITING FAILED SUCCEEDED"),
    (_failed_then_processed, "WAITING PROCESSING WAITING FAILED PROCESSING"),
    (_too_many_declines_then_the_bank_asks, "WAITING ACTION FAILED"),
    (_authenticated, "WAITING ACTION SUCCEEDED"),
    (_cancel_without_answer, "WAITING PROCESSING CANCELED"),
    (_expiry_without_answer, "WAITING PROCESSING EXPIRED"),
    (_giving_up_without_answer, "WAITING PROCESSING FAILED"),
    (_held_and_captured, "WAITING PROCESSING AUTHORIZED SUCCEEDED"),
    (_held_in_browser_and_lapsed, "WAITING AUTHORIZED EXPIRED AUTHORIZED"),
    (_held_and_called_off, "WAITING PROCESSING ACTION AUTHORIZED CANCELED AUTHORIZED"),
    (_held_after_it_failed, "WAITING PROCESSING WAITING FAILED AUTHORIZED"),
    (_capture_without_answer, "WAITING PROCESSING AUTHORIZED PROCESSING SUCCEEDED"),
    (_charged_at_its_time, "WAITING PROCESSING SCHEDULED PROCESSING SUCCEEDED"),
    (_kept_with_authentication_and_called_off, "WAITING PROCESSING ACTION SCHEDULED CANCELED"),
    (_kept_in_browser_and_declined_between_tries, "WAITING SCHEDULED PROCESSING SCHEDULED WAITING"),
    (_paid_between_tries, "WAITING PROCESSING SCHEDULED PROCESSING SCHEDULED SUCCEEDED"),
    (_charge_refused_until_the_last_try, "WAITING PROCESSING SCHEDULED FAILED"),
    (_payer_comes_between_tries, "WAITING PROCESSING SCHEDULED PROCESSING SCHEDULED ACTION"),
)
WAYS: Final = {walk.__name__.strip("_"): Way(walk=walk, then=then) for walk, then in _MADE}

NOT_MADE: Final[dict[tuple[State, State], str]] = {
    (State.INITIALIZED, State.CANCELED): "a start comes to its end first: what it opened waits for its payer",
    (State.INITIALIZED, State.SCHEDULED): "a payer has nothing to confirm before the payment waits for them",
    (State.SCHEDULED, State.AUTHORIZED): "a scheduled charge takes its money, and holds none",
    (State.SCHEDULED, State.EXPIRED): "a plan waits for its time, and no payer is waited for",
    (State.AUTHORIZED, State.FAILED): "what is held is captured, released or lapses",
}
"""Moves that the table allows an operator, and no journey makes."""


@pytest.fixture
def traveller(replica: Orchestrator, journeys: Journeys) -> Traveller:
    return Traveller(replica, journeys)


@pytest.mark.parametrize("name", WAYS)
async def test_a_way_leads_where_it_says(name: str, traveller: Traveller) -> None:
    way = WAYS[name]
    await way.walk(traveller)
    assert await traveller.collections() == way.collections


def test_no_move_of_the_table_is_left_out() -> None:
    table = {(origin, target) for origin, targets in MOVES.items() for target in targets}
    made = {(State(origin), State(target)) for way in WAYS.values() for origin, target in pairwise(way.collections)}
    assert made <= table
    assert {f"{origin} → {target}" for origin, target in table - made} == {
        f"{origin} → {target}" for origin, target in NOT_MADE
    }
    reached = {state for move in made for state in move}
    assert reached == set(MOVES), "every state is reached"
