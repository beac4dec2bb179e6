"""What Stripe's events of hosted pages lead to: the same in whatever order and number they come, never backwards."""

from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import pytest

from batzen.gateway.v1 import observation_pb2
from sandbox.control import SandboxControl
from services.gateway.checkout.claims import claim_of
from services.gateway.webhooks import events
from services.runtime.rpc import call_context
from tests.clock import Clock
from tests.eventually import eventually
from tests.gateway.conftest import Gateway, Sink
from tests.gateway.pages import COMPLETE, EXPIRED, READ_PAGE, Pages, amounts
from tests.gateway.receiving import Sender, receiving, stored
from tests.gateway.samples import (
    AMOUNT_MINOR,
    CANCELED,
    PROCESSING,
    REQUIRES_CAPTURE,
    REQUIRES_PAYMENT_METHOD,
    SUCCEEDED,
    Payments,
    new_id,
)

ACTED_ON = frozenset(events.subscribed_types())


class Told:
    """Events of the stand-in, as it made them, sent to the gateway in an order of the test's."""

    def __init__(self, replica: Gateway, sender: Sender, pages: Pages) -> None:
        self._engine = replica.parts.engine
        self._sender = sender
        self._pages = pages

    async def of(self, payment_id: str) -> list[dict[str, Any]]:
        """Return what Stripe tells of a payment's pages and their intents, the oldest first."""
        sessions = await self._pages.sessions(payment_id)
        ids = {one[name] for one in sessions for name in ("id", "payment_intent", "setup_intent")} - {None}
        return [
            event
            for event in await self._pages.stripe.objects("event")
            if event["type"] in ACTED_ON and {events_id(event), event["data"]["object"].get("payment_intent")} & ids
        ]

    async def send(self, told: list[dict[str, Any]]) -> list[str]:
        """Deliver events one after another, and wait until all are worked on; return their receipts."""
        receipts = [await self._sender.send(one) for one in told]

        async def are_done() -> bool:
            states = [(await stored(self._engine, one["id"])).state for one in told]
            return set(states) <= {"DONE", "IGNORED"}

        await eventually(are_done)
        return receipts


def events_id(event: dict[str, Any]) -> str:
    return str(event["data"]["object"]["id"])


@pytest.fixture(scope="module")
async def told(replica: Gateway, clock: Clock, pages: Pages) -> AsyncIterator[Told]:
    async with receiving(replica.parts.inbox, clock=clock) as sender:
        yield Told(replica, sender, pages)


# What payers do, in steps: after each of them Stripe has something new to tell.


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A payer on a page."""

    pages: Pages
    payment_id: str
    url: str

    async def force(self, outcome: Literal["succeeded", "declined", "processing"]) -> None:
        """Have the payer's bank answer."""
        await self.pages.stripe.force(await self.pages.payments.intent_id(self.payment_id), outcome)


Step = Callable[[Visit], Awaitable[None]]


async def pays(visit: Visit) -> None:
    await visit.pages.pay(visit.url)


async def is_declined(visit: Visit) -> None:
    await visit.pages.decline(visit.url)


async def goes_to_the_bank_and_back(visit: Visit) -> None:
    bank = await visit.pages.pay(visit.url, "threeDSecure2Required")
    await visit.pages.stripe.answer_3ds(bank, succeed=True)


async def is_on_its_way(visit: Visit) -> None:
    await visit.force("processing")


async def comes(visit: Visit) -> None:
    await visit.force("succeeded")


async def does_not_come(visit: Visit) -> None:
    await visit.force("declined")


async def ends_by_itself(visit: Visit) -> None:
    await visit.pages.stripe.expire_session((await visit.pages.session(visit.payment_id))["id"])


WAYS: dict[str, tuple[dict[str, Any], tuple[Step, ...], Any, tuple[int, int]]] = {
    "paid": ({}, (pays,), SUCCEEDED, (AMOUNT_MINOR, 0)),
    "declined, then paid": ({}, (is_declined, pays), SUCCEEDED, (AMOUNT_MINOR, 0)),
    "paid after 3-D Secure": ({}, (goes_to_the_bank_and_back,), SUCCEEDED, (AMOUNT_MINOR, 0)),
    "held": ({"capture_manually": True}, (pays,), REQUIRES_CAPTURE, (0, AMOUNT_MINOR)),
    "kept": ({"setup_only": True}, (pays,), SUCCEEDED, (0, 0)),
    "on its way": ({}, (is_declined, is_on_its_way), PROCESSING, (0, 0)),
    "came after days": ({}, (is_declined, is_on_its_way, comes), SUCCEEDED, (AMOUNT_MINOR, 0)),
    "did not come": ({}, (is_declined, is_on_its_way, does_not_come), REQUIRES_PAYMENT_METHOD, (0, 0)),
    "expired": ({}, (ends_by_itself,), CANCELED, (0, 0)),
    "expired after a decline": ({}, (is_declined, ends_by_itself), CANCELED, (0, 0)),
}


async def gone(pages: Pages, name: str) -> tuple[str, Any]:
    """Return a payment whose payer went one of the ways, and how it must stand; the gateway was told nothing."""
    asked, steps, state, money = WAYS[name]
    opened = await pages.opened(**asked)
    visit = Visit(pages=pages, payment_id=opened.observation.payment_id, url=opened.session.url)
    for step in steps:
        await step(visit)
    return opened.observation.payment_id, (state, money)


def _is_as_new(seen: observation_pb2.PaymentObservation, one: observation_pb2.PaymentObservation) -> bool:
    return one.mirror_version >= seen.mirror_version


def standing(seen: observation_pb2.PaymentObservation) -> Any:
    return seen.intent_state, amounts(seen)


SEED = 7


def _shuffled(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    twice = told * 2
    random.Random(SEED).shuffle(twice)
    return twice


ORDERS: dict[str, Callable[[list[dict[str, Any]]], list[dict[str, Any]]]] = {
    "backwards": lambda told: told[::-1],
    "the page's first": lambda told: sorted(told, key=lambda one: not one["type"].startswith("checkout.")),
    "each twice, shuffled": _shuffled,
}
QUICK = "each twice, shuffled"


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.parametrize(
    "order", [one if one == QUICK else pytest.param(one, marks=pytest.mark.soak) for one in ORDERS]
)
async def test_in_whatever_order_the_events_come_the_payment_is_what_stripe_says(  # noqa: PLR0917 fixtures
    told: Told, pages: Pages, payments: Payments, delivered: Sink, order: str, name: str
) -> None:
    payment_id, expected = await gone(pages, name)

    await told.send(ORDERS[order](await told.of(payment_id)))

    seen = await payments.seen(payment_id)
    assert standing(seen) == expected
    heard = await delivered.hears(payment_id, partial(_is_as_new, seen))
    assert standing(heard.observation) == expected
    assert await payments.synced(payment_id) == seen  # a reading finds nothing that the events did not bring
    session = await pages.got(payment_id)
    assert session.state == (EXPIRED if seen.intent_state == CANCELED else COMPLETE)


@pytest.mark.parametrize("name", WAYS)
async def test_events_that_come_at_once_lead_there_too_and_late_ones_change_nothing(
    told: Told, pages: Pages, payments: Payments, name: str
) -> None:
    asked, steps, state, money = WAYS[name]
    opened = await pages.opened(**asked)
    payment_id = opened.observation.payment_id
    sent: list[dict[str, Any]] = []
    for step in steps:
        await step(Visit(pages=pages, payment_id=payment_id, url=opened.session.url))
        news = [one for one in await told.of(payment_id) if one not in sent]
        await told.send(news)
        sent += news
    before = await payments.seen(payment_id)
    assert standing(before) == (state, money)

    receipts = await told.send(sent[::-1])
    late = [one | {"id": f"{one['id']}late"} for one in sent[::-1]]
    await told.send(late)

    assert set(receipts) == {"DUPLICATE"}
    assert await payments.seen(payment_id) == before


async def test_an_event_of_a_page_that_was_read_already_is_done_at_once(
    told: Told, pages: Pages, payments: Payments
) -> None:
    for name, (_, _, state, _) in WAYS.items():
        payment_id, _ = await gone(pages, name)
        await payments.synced(payment_id)
        last = [one for one in await told.of(payment_id) if one["type"].startswith("checkout.")][-1]

        (receipt,) = await told.send([last])

        # Of money that was on its way a page does not say whether it still is.
        is_known = state not in (PROCESSING, REQUIRES_PAYMENT_METHOD)
        assert (name, receipt) == (name, "ALREADY_APPLIED" if is_known else "ACCEPTED")


async def test_the_end_of_an_old_page_changes_nothing_after_payment_by_another_attempt(
    told: Told, pages: Pages, payments: Payments
) -> None:
    payment_id = (await pages.opened()).observation.payment_id
    await pages.expire(payment_id)
    await pages.gateway.CreateIntent(payments.create_request(payment_id=payment_id, attempt=2))
    paid = (await pages.gateway.ConfirmIntent(payments.confirm_request(payment_id, attempt=2))).observation

    await told.send(await told.of(payment_id))

    assert (paid.intent_state, paid.attempt) == (SUCCEEDED, 2)
    assert await payments.seen(payment_id) == paid


# An intent whose page does not show it yet.


async def hidden(pages: Pages, payment_id: str) -> dict[str, Any]:
    """Return a page as Stripe shows it before it shows its intent."""
    return await pages.session(payment_id) | {"payment_intent": None, "status": "open", "payment_status": "unpaid"}


async def test_an_event_of_an_intent_is_applied_before_its_page_shows_it(
    told: Told, pages: Pages, payments: Payments, stripe: SandboxControl
) -> None:
    opened = await pages.opened()
    payment_id = opened.observation.payment_id
    await pages.decline(opened.session.url)
    body = json.dumps(await hidden(pages, payment_id))
    await stripe.fault("empty", route=READ_PAGE, status=200, body=body, times=None)

    await told.send([one for one in await told.of(payment_id) if one["type"] == "payment_intent.payment_failed"])
    declined = await payments.seen(payment_id)
    await pages.pay(opened.session.url)
    await told.send([one for one in await told.of(payment_id) if one["type"] == "payment_intent.succeeded"])
    paid = await payments.seen(payment_id)
    await stripe.clear_faults()

    assert (declined.intent_state, declined.decline_count) == (REQUIRES_PAYMENT_METHOD, 1)
    assert (await payments.synced(payment_id)).mirror_version >= paid.mirror_version
    assert standing(paid) == (SUCCEEDED, (AMOUNT_MINOR, 0))
    assert (await pages.got(payment_id)).state == COMPLETE


async def made_elsewhere(replica: Gateway, metadata: dict[str, str]) -> dict[str, Any]:
    """Return an intent that somebody made at Stripe, with metadata of theirs."""
    params = {"amount": AMOUNT_MINOR, "currency": "chf", "metadata": metadata}
    with call_context.acting_for("main"):
        return dict(await replica.parts.provider.intents.create(params, key=new_id("key")))


@pytest.mark.parametrize(
    "claimed",
    [
        {"attempt": "2"},
        {"attempt": ""},
        {"attempt": "1", "payment_id": "pay_that_is_not_here"},
        {"attempt": "1", "at_stripe": "2"},
        {"attempt": "1", "pays": "yes"},
    ],
    ids=["another attempt", "no attempt", "no payment of ours", "Stripe says otherwise", "a page that has one"],
)
async def test_a_claim_that_is_not_borne_out_binds_nothing(
    replica: Gateway, pages: Pages, payments: Payments, claimed: dict[str, str]
) -> None:
    opened = await pages.opened()
    payment_id = opened.observation.payment_id
    if claimed.get("pays"):
        await pages.pay(opened.session.url)
    before = await payments.synced(payment_id)
    metadata = {"payment_id": claimed.get("payment_id", payment_id), "attempt": claimed["attempt"]}
    foreign = await made_elsewhere(replica, metadata | {"attempt": claimed.get("at_stripe", claimed["attempt"])})
    claim = claim_of(foreign | {"metadata": metadata})

    with call_context.acting_for("main"):
        bound = None if claim is None else await replica.parts.reader.bind("main", claim, origin="test")

    assert bound is None
    assert await payments.synced(payment_id) == before
