"""What comes of making and ending a page when Stripe answers late, twice or never, and when a payer is just paying."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import StatusCode, aio

from batzen.gateway.v1 import intents_pb2
from sandbox.control import Refused, SandboxControl
from sandbox.faults import Kind
from services.gateway.call_log import backoff
from services.gateway.call_log.call import IDEMPOTENCY_KEY_TTL
from services.gateway.call_log.execution import IN_FLIGHT_MAX
from services.gateway.checkout.life import LIFE_MIN
from services.gateway.mirror.reading_times import RESTS
from services.runtime.database.lease import LEASE
from tests.clock import Clock
from tests.gateway.conftest import Gateway
from tests.gateway.pages import COMPLETE, CREATE_PAGE, EXPIRE_PAGE, EXPIRED, Pages, amounts
from tests.gateway.samples import (
    AMOUNT_MINOR,
    CANCELED,
    CREATE,
    REQUIRES_CAPTURE,
    REQUIRES_PAYMENT_METHOD,
    SUCCEEDED,
    Payments,
    refusal,
    refused,
)
from tests.gateway.test_calls import TRIES, until_fence, until_struck
from tests.gateway.test_inbox import Place, place, quiet  # noqa: F401 fixtures
from tests.gateway.test_races import outcomes

pytestmark = pytest.mark.usefixtures("settles_late")

COPIES = 20
ROUNDS = 15
ROUNDS_LONG = 200
UNAVAILABLE = (StatusCode.UNAVAILABLE, "STRIPE_UNAVAILABLE")


# Answers that are lost.


@pytest.mark.parametrize("kind", [Kind.TIMEOUT, Kind.RESET, Kind.SERVER_ERROR])
async def test_a_page_whose_answer_is_lost_is_made_once(pages: Pages, stripe: SandboxControl, kind: Kind) -> None:
    await stripe.fault(kind, route=CREATE_PAGE, after=True)

    opened = await pages.opened()

    session = await pages.session(opened.observation.payment_id)
    assert (opened.session.session_id, opened.session.url) == (session["id"], session["url"])


async def test_a_machine_whose_clock_is_fourteen_hours_ahead_finds_what_was_made_and_makes_it_once(
    place: Place,  # noqa: F811 a fixture
) -> None:
    request = place.payments.create_request()
    place.clock.advance(timedelta(hours=14))
    await place.stripe.fault(Kind.SERVER_ERROR, route=CREATE, after=True, stored=True)

    await place.payments.gateway.CreateIntent(request)

    assert len(await place.payments.intents(request.payment_id)) == 1


async def test_a_page_that_may_be_there_is_settled_and_told_with_its_address(
    place: Place,  # noqa: F811 a fixture
) -> None:
    pages = Pages(place.payments)
    request = pages.create_request()
    payment_id = request.intent.payment_id
    await place.stripe.fault(Kind.RESET, route=CREATE_PAGE, after=True, times=TRIES)

    assert await refusal(pages.gateway.CreateCheckoutSession(request)) == UNAVAILABLE
    another = pages.create_request(payment_id=payment_id, attempt=2)
    await place.stripe.fault(Kind.RESET, route=CREATE_PAGE, times=TRIES)
    blocked = await refusal(pages.gateway.CreateCheckoutSession(another))  # an unknown answer blocks the next attempt
    place.clock.advance(backoff.SETTLE_MAX)
    await place.gateway.parts.work.once()
    heard = await place.sink.hears(payment_id, lambda seen: seen.HasField("session_expire_time"))

    session = await pages.session(payment_id)
    told = await pages.gateway.GetIntent(intents_pb2.GetIntentRequest(payment_id=payment_id, with_secret=True))
    assert blocked in ((StatusCode.FAILED_PRECONDITION, "ATTEMPT_OPEN"), UNAVAILABLE)
    assert (told.checkout_url, told.observation) == (session["url"], heard.observation)
    assert (await pages.gateway.CreateCheckoutSession(request)).session.url == session["url"]


@pytest.mark.parametrize("was_made", [True, False])
async def test_a_page_is_looked_for_once_stripe_forgot_the_key(
    place: Place,  # noqa: F811 a fixture
    *,
    was_made: bool,
) -> None:
    pages = Pages(place.payments)
    request = pages.create_request()
    await place.stripe.fault(Kind.RESET, route=CREATE_PAGE, after=was_made, times=TRIES)
    assert await refusal(pages.gateway.CreateCheckoutSession(request)) == UNAVAILABLE

    await place.stripe.advance((IDEMPOTENCY_KEY_TTL / 2).total_seconds())  # it is still open
    place.clock.advance(IDEMPOTENCY_KEY_TTL)
    with suppress(aio.AioRpcError):  # the first who asks finds that it had no effect
        await pages.gateway.CreateCheckoutSession(request)
    opened = await pages.gateway.CreateCheckoutSession(request)

    session = await pages.session(request.intent.payment_id)
    assert (opened.session.session_id, opened.session.url) == (session["id"], session["url"])


@pytest.mark.parametrize("after", [False, True], ids=["before the effect", "after the effect"])
async def test_one_lost_answer_to_an_expiry_is_asked_for_again(
    pages: Pages, stripe: SandboxControl, *, after: bool
) -> None:
    payment_id = (await pages.opened()).observation.payment_id
    await stripe.fault(Kind.RESET, route=EXPIRE_PAGE, after=after)

    ended = await pages.expire(payment_id)

    assert (ended.observation.intent_state, ended.session.state) == (CANCELED, EXPIRED)


@pytest.mark.parametrize("after", [False, True], ids=["before the effect", "after the effect"])
async def test_an_unanswered_expiry_blocks_the_next_attempt_and_is_settled_by_a_repeat(
    pages: Pages, payments: Payments, stripe: SandboxControl, *, after: bool
) -> None:
    payment_id = (await pages.opened()).observation.payment_id
    request = payments.cancel_request(payment_id)
    await stripe.fault(Kind.RESET, route=EXPIRE_PAGE, after=after, times=TRIES)

    unknown = (await pages.gateway.CancelIntent(request)).observation
    await stripe.fault(Kind.RESET, route=EXPIRE_PAGE, times=TRIES)
    blocked = await refusal(pages.gateway.CreateCheckoutSession(pages.create_request(payment_id=payment_id, attempt=2)))
    settled = (await pages.gateway.CancelIntent(request)).observation

    assert (unknown.outcome_unknown, unknown.intent_state) == (True, REQUIRES_PAYMENT_METHOD)
    assert blocked == UNAVAILABLE
    assert (settled.outcome_unknown, settled.intent_state) == (False, CANCELED)
    assert (await pages.session(payment_id))["status"] == "expired"


async def test_a_payer_who_pays_while_an_expiry_is_on_its_way_has_paid(
    pages: Pages, payments: Payments, stripe: SandboxControl
) -> None:
    opened = await pages.opened()
    payment_id = opened.observation.payment_id
    await stripe.fault(Kind.PAUSE, route=EXPIRE_PAGE)
    ending = asyncio.ensure_future(pages.expire(payment_id))
    await until_struck(stripe)

    await pages.pay(opened.session.url)
    await stripe.resume()
    ended = await ending

    assert (ended.observation.intent_state, ended.session.state) == (SUCCEEDED, COMPLETE)
    assert amounts(await payments.seen(payment_id)) == (AMOUNT_MINOR, 0)


async def test_a_page_whose_maker_stalled_is_made_once_by_whoever_takes_over(
    pages: Pages, replica: Gateway, clock: Clock, start_gateway: Callable[[], Any]
) -> None:
    payment_id = (await pages.opened()).observation.payment_id
    await pages.expire(payment_id)
    request = pages.create_request(payment_id=payment_id, attempt=2)
    await pages.stripe.fault(Kind.PAUSE, route=CREATE_PAGE)

    async with start_gateway() as other, other.connect() as second:
        late = asyncio.ensure_future(pages.gateway.CreateCheckoutSession(request))
        fence = await stalled(replica, pages, payment_id, clock)
        again = asyncio.ensure_future(second.CreateCheckoutSession(request))
        await until_fence(replica, payment_id, above=fence)
        await pages.stripe.resume()
        answers = await asyncio.gather(late, again)

    assert answers[0] == answers[1]
    assert [one["status"] for one in await pages.sessions(payment_id)] == ["expired", "open"]


async def test_an_expiry_whose_process_stalled_is_carried_on(
    pages: Pages, replica: Gateway, clock: Clock, start_gateway: Callable[[], Any]
) -> None:
    payment_id = (await pages.opened()).observation.payment_id
    request = pages.expire_request(payment_id)
    await pages.stripe.fault(Kind.PAUSE, route=EXPIRE_PAGE)

    async with start_gateway() as other, other.connect() as second:
        late = asyncio.ensure_future(pages.gateway.ExpireCheckoutSession(request))
        fence = await stalled(replica, pages, payment_id, clock)
        again = asyncio.ensure_future(second.ExpireCheckoutSession(request))
        await until_fence(replica, payment_id, above=fence)
        await pages.stripe.resume()
        answers = await asyncio.gather(late, again)

    assert answers[0] == answers[1]
    assert (answers[0].observation.intent_state, answers[0].session.state) == (CANCELED, EXPIRED)


async def stalled(replica: Gateway, pages: Pages, payment_id: str, clock: Clock) -> int:
    """Wait until a process is at Stripe for a payment, and let its lease run out; return the lease's fence."""
    await until_struck(pages.stripe)
    held = await replica.parts.store.read("main", payment_id)
    assert held is not None
    clock.advance(LEASE)
    return held.fence


# Times.


async def test_a_page_ends_when_it_is_asked_to(place: Place) -> None:  # noqa: F811 a fixture
    pages = Pages(place.payments)
    now = await place.stripe.now()
    expire_time = Timestamp(seconds=int(now + timedelta(hours=2).total_seconds()))

    opened = await pages.opened(page={"expire_time": expire_time})

    assert opened.session.expire_time == expire_time
    assert (await pages.got(opened.observation.payment_id)).expire_time == expire_time


@pytest.mark.parametrize("was_made", [True, False])
async def test_a_page_whose_answer_is_lost_is_not_asked_for_when_stripe_would_not_take_its_end(
    place: Place,  # noqa: F811 a fixture
    *,
    was_made: bool,
) -> None:
    pages = Pages(place.payments)
    soon = place.clock.now() + LIFE_MIN + timedelta(minutes=2)
    request = pages.create_request(page={"expire_time": _at(soon)})
    await place.stripe.fault(Kind.RESET, route=CREATE_PAGE, after=was_made, times=None)
    assert await refusal(pages.gateway.CreateCheckoutSession(request)) == UNAVAILABLE

    late = timedelta(minutes=2) + IN_FLIGHT_MAX
    place.clock.advance(late)
    await place.stripe.advance(late.total_seconds())
    await place.stripe.clear_faults()
    with suppress(aio.AioRpcError):  # the first who asks finds what came of it
        await pages.gateway.CreateCheckoutSession(request)

    if was_made:
        opened = await pages.gateway.CreateCheckoutSession(request)
        assert opened.session.url == (await pages.session(request.intent.payment_id))["url"]
    else:  # there is none, and there will be none
        said = await refused(pages.gateway.CreateCheckoutSession(request))
        assert said[:3] == (StatusCode.INVALID_ARGUMENT, "FIELD_INVALID", "expire_time")
        assert await pages.sessions(request.intent.payment_id) == []


def _at(time: Any) -> Timestamp:
    return Timestamp(seconds=int(time.timestamp()))


async def test_a_page_that_ended_and_nobody_told_is_found_by_looking_again(place: Place) -> None:  # noqa: F811 a fixture
    pages = Pages(place.payments)
    payment_id = (await pages.opened()).observation.payment_id
    await place.stripe.advance(timedelta(hours=24, minutes=1).total_seconds())

    place.clock.advance(RESTS[-1] * 2)
    await place.gateway.parts.work.once()

    heard = await place.sink.hears(payment_id, lambda seen: seen.intent_state == CANCELED)
    assert not heard.observation.HasField("session_expire_time")
    again = await pages.opened(payment_id=payment_id, attempt=2)
    assert again.observation.attempt == 2


# Everything at once.


async def test_twenty_copies_make_one_page_and_get_one_answer(pages: Pages, start_gateway: Callable[[], Any]) -> None:
    request = pages.create_request()
    async with start_gateway() as other, other.connect() as stub:
        answers = await asyncio.gather(
            *(each.CreateCheckoutSession(request) for _ in range(COPIES // 2) for each in (pages.gateway, stub))
        )

    assert all(answer == answers[0] for answer in answers)
    assert len(await pages.sessions(request.intent.payment_id)) == 1


async def test_twenty_copies_of_an_expiry_get_one_answer(pages: Pages) -> None:
    payment_id = (await pages.opened()).observation.payment_id
    request = pages.expire_request(payment_id)

    answers = await asyncio.gather(*(pages.gateway.ExpireCheckoutSession(request) for _ in range(COPIES)))

    assert all(answer == answers[0] for answer in answers)


async def test_a_page_that_is_paid_and_cancelled_at_once_is_one_of_both(pages: Pages, payments: Payments) -> None:
    await pay_against_cancel(pages, payments, rounds=ROUNDS, seed=11)


@pytest.mark.soak
async def test_a_page_that_is_paid_and_cancelled_at_once_is_one_of_both_each_time(
    pages: Pages, payments: Payments
) -> None:
    await pay_against_cancel(pages, payments, rounds=ROUNDS_LONG, seed=12)


async def pay_against_cancel(pages: Pages, payments: Payments, *, rounds: int, seed: int) -> None:
    chance = random.Random(seed)
    ends = set()
    for number in range(rounds):
        asked = {"capture_manually": chance.random() < 0.3}
        opened = await pages.opened(**asked)
        payment_id = opened.observation.payment_id
        calls: list[Any] = [
            _tried(pages, opened.session.url),
            pages.gateway.CancelIntent(payments.cancel_request(payment_id)),
        ]
        if number < len(calls):  # each of them comes first at least once, however fast the machine is
            await outcomes(calls.pop(number))
        if chance.random() < 0.5:
            calls.append(pages.gateway.SyncIntent(intents_pb2.SyncIntentRequest(payment_id=payment_id)))
        chance.shuffle(calls)
        await outcomes(*calls)

        seen = await payments.synced(payment_id)
        session = await pages.session(payment_id)
        intents = await payments.intents(payment_id)
        money = sum(one["amount_received"] + one["amount_capturable"] for one in intents)
        ends.add((session["status"], seen.intent_state))
        assert sum(amounts(seen)) == money
        assert (seen.intent_state == CANCELED) == (money == 0)
    released = ("complete", CANCELED)  # a hold that was seen before the cancel
    assert ends <= {("complete", SUCCEEDED), ("complete", REQUIRES_CAPTURE), ("expired", CANCELED), released}
    assert len(ends) > 1


async def _tried(pages: Pages, url: str) -> None:
    """Pay, unless the page is over."""
    try:
        await pages.pay(url)
    except Refused:
        return
