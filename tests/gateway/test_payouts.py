"""Payouts: whose an event's is, what it may take back, what is read of the time before, and how they are listed."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import Any

import pytest
from grpc import StatusCode

from batzen.gateway.v1 import observation_pb2, sellers_pb2
from sandbox.faults import Kind
from services.gateway.payouts.domain import Payout, later
from services.gateway.payouts.store import PayoutStore
from services.gateway.webhooks.endpoint import CONNECT_PATH, PLATFORM_PATH
from services.runtime.database.connections import DirectConnections
from tests.gateway.receiving import CONNECT_SECRET, SECRET, event_of
from tests.gateway.samples import new_id, refusal
from tests.gateway.test_inbox import Place, place, quiet  # noqa: F401 fixtures
from tests.metrics import Figures

NOON = datetime(2026, 11, 29, 12, tzinfo=UTC)
LIST = "GET /v1/payouts"
CONNECT: dict[str, Any] = {"path": CONNECT_PATH, "secret": CONNECT_SECRET}
PAYOUT = Payout(
    payout_id="po_1",
    seller_id="seller_1",
    stripe_account_id="acct_1",
    amount_minor=8_500,
    currency_code="CHF",
    state="pending",
    arrival_time=NOON + timedelta(days=2),
    create_time=NOON,
    failure_code="",
    automatic=True,
    reconciliation_status="in_progress",
    shown_time=NOON,
)


def sight(state: str, *, after_s: int = 0, **fields: Any) -> Payout:
    return replace(PAYOUT, state=state, shown_time=NOON + timedelta(seconds=after_s), **fields)


# What two sights say together.

HISTORY = [
    sight("pending"),
    sight("in_transit", after_s=5),
    sight("in_transit", after_s=9, arrival_time=NOON + timedelta(days=3)),
    sight("paid", after_s=9, reconciliation_status="completed"),
    sight("failed", after_s=9, failure_code="account_closed"),
]


@pytest.mark.parametrize("order", list(itertools.permutations(HISTORY)))
def test_whatever_order_its_events_come_in_a_payout_ends_where_it_ended(order: tuple[Payout, ...]) -> None:
    said = [reduce(later, order[: count + 1]) for count in range(len(order))]

    assert said[-1] == replace(HISTORY[-1], reconciliation_status="completed")
    assert [later(said[-1], one) for one in order] == [said[-1]] * len(order)


def test_a_state_that_stripe_invents_follows_the_beginning_and_ends_nothing() -> None:
    invented = sight("in_customs", after_s=60)

    assert later(sight("pending"), invented) == invented
    assert later(invented, sight("paid", after_s=1)).state == "paid"


# What events do.


@pytest.fixture(autouse=True)
async def no_faults(place: Place) -> AsyncIterator[None]:  # noqa: F811
    yield
    await place.stripe.clear_faults()


async def listed(place: Place, seller_id: str = "", **fields: Any) -> sellers_pb2.ListPayoutsResponse:  # noqa: F811
    return await place.payments.gateway.ListPayouts(sellers_pb2.ListPayoutsRequest(seller_id=seller_id, **fields))


async def seller(place: Place) -> sellers_pb2.SellerAccount:  # noqa: F811
    account = await place.payments.prepare_seller(new_id("seller"))
    assert not (await listed(place, account.seller_id)).payouts  # read at Stripe, so that only events tell from here on
    return account


def paid_out(**fields: Any) -> dict[str, Any]:
    """Return a payout as Stripe shows it."""
    return {
        "id": f"po_{secrets.token_hex(8)}",
        "object": "payout",
        "amount": 8_500,
        "currency": "chf",
        "status": "paid",
        "arrival_date": int(NOON.timestamp()),
        "created": int(NOON.timestamp()),
        "automatic": True,
        "failure_code": None,
        "reconciliation_status": "in_progress",
    } | fields


async def test_a_sellers_payout_is_what_the_events_of_its_account_say_in_any_order(place: Place) -> None:  # noqa: F811
    account = await seller(place)
    await place.stripe.endpoint(f"{place.sender.base_url}{PLATFORM_PATH}", secrets=[SECRET])
    await place.stripe.endpoint(f"{place.sender.base_url}{CONNECT_PATH}", secrets=[CONNECT_SECRET], connect=True)
    await place.stripe.webhooks(hold=True, reorder=True, duplicate=1)
    payout = await place.stripe.pay_out(account.stripe_account_id, amount=8_500, currency="chf")
    for status in ("in_transit", "paid"):
        await place.stripe.move_payout(payout["id"], status)
    await place.stripe.reconcile_payout(payout["id"])
    await place.stripe.release()
    await place.stripe.drain()
    await place.idle()
    await place.stripe.webhooks(drop=1.0)

    (seen,) = (await listed(place, account.seller_id)).payouts

    assert (seen.payout_id, seen.state, seen.reconciliation_status) == (payout["id"], "paid", "completed")
    assert (seen.amount.amount_minor, seen.amount.currency_code, seen.seller_id) == (8_500, "CHF", account.seller_id)
    assert (seen.is_automatic, seen.create_time.seconds, seen.arrival_time.seconds) == (
        True,
        payout["created"],
        payout["arrival_date"],
    )


async def test_an_event_touches_nobody_but_the_seller_whose_account_it_comes_from(place: Place) -> None:  # noqa: F811
    account, other = await seller(place), await seller(place)
    before = len((await listed(place)).payouts)
    shown = paid_out()
    event = event_of(shown, "payout.paid", at=place.clock.now(), account=account.stripe_account_id)
    forged = event_of(
        shown | {"amount": 1, "status": "canceled"},
        "payout.canceled",
        at=place.clock.now(),
        account=other.stripe_account_id,
    )
    stranger = event_of(paid_out(), "payout.paid", at=place.clock.now(), account="acct_9")

    assert [await place.sender.send(one, **CONNECT) for one in (event, forged, stranger)] == ["ACCEPTED"] * 3
    await place.idle()

    (seen,) = (await listed(place, account.seller_id)).payouts
    assert (seen.amount.amount_minor, seen.state) == (8_500, "paid")
    assert [one.state for one in (await listed(place, other.seller_id)).payouts] == ["canceled"]
    assert len((await listed(place)).payouts) == before
    assert await place.state_of(stranger) == "IGNORED"


async def test_an_event_at_the_wrong_endpoint_changes_nothing_and_is_kept_aside(place: Place) -> None:  # noqa: F811
    account = await seller(place)
    of_account = {"account": account.stripe_account_id}
    at = place.clock.now()
    platform = event_of(paid_out(), "payout.paid", at=at)
    ours = event_of(paid_out(), "payout.paid", at=at, **of_account)
    capability = {"id": "transfers", "object": "capability", "account": account.stripe_account_id, "status": "inactive"}
    of_other = event_of(capability | {"account": "acct_9"}, "capability.updated", at=at, **of_account)
    about_seller = event_of(
        {"id": account.stripe_account_id, "object": "account", "charges_enabled": False}, "account.updated", at=at
    )
    await place.stripe.set_capability(account.stripe_account_id, "transfers", active=False)

    assert await place.sender.send(platform, **CONNECT) == "PARKED"
    assert await place.sender.send(ours) == "PARKED"
    assert await place.sender.send(of_other, **CONNECT) == "PARKED"
    assert await place.sender.send(about_seller) == "IGNORED"
    await place.idle()
    get = sellers_pb2.GetSellerAccountRequest(seller_id=account.seller_id)
    assert (await place.payments.gateway.GetSellerAccount(get)).account.transfers_enabled
    assert not (await listed(place, account.seller_id)).payouts

    right = event_of(capability, "capability.updated", at=at, **of_account)
    assert await place.sender.send(right, **CONNECT) == "ACCEPTED"
    await place.idle()
    assert not (await place.payments.gateway.GetSellerAccount(get)).account.transfers_enabled


async def failed_lately(place: Place) -> float:  # noqa: F811
    """Return how many payouts of sellers are shown to have failed."""
    parts = place.gateway.parts
    await parts.payouts.look("main", parts.metrics.payouts)
    return Figures.read(await place.meter.text()).of("batzen_payouts_failed", of="seller")


async def test_a_payout_that_failed_is_shown_and_put_aside_for_an_operator(
    place: Place,  # noqa: F811
    caplog: pytest.LogCaptureFixture,
) -> None:
    account, failed_before = await seller(place), await failed_lately(place)
    now_s = int(place.clock.now().timestamp())
    shown = paid_out(status="failed", failure_code="account_closed", created=now_s)
    of_account = {"account": account.stripe_account_id}
    before = event_of(shown | {"status": "paid"}, "payout.paid", at=place.clock.now(), **of_account)
    event = event_of(shown, "payout.failed", at=place.clock.now(), **of_account)

    assert [await place.sender.send(one, **CONNECT) for one in (event, before)] == ["ACCEPTED", "ACCEPTED"]
    await place.idle()

    assert [await place.state_of(one) for one in (event, before)] == ["PARKED", "DONE"]
    assert [one.levelname for one in caplog.records if "operator" in one.message] == ["ERROR"]
    (seen,) = (await listed(place, account.seller_id)).payouts
    assert (seen.state, seen.failure_code) == ("failed", "account_closed")
    assert await failed_lately(place) == failed_before + 1
    (told,) = place.sink.told(account.seller_id)
    assert (told.kind, told.values["payout_id"]) == (observation_pb2.Notice.KIND_PAYOUT_FAILED, shown["id"])
    old = paid_out(status="failed", created=int((place.clock.now() - timedelta(days=40)).timestamp()))
    await place.sender.send(event_of(old, "payout.failed", at=place.clock.now(), **of_account), **CONNECT)
    await place.idle()
    assert await failed_lately(place) == failed_before + 1


async def test_an_event_of_another_version_is_read_and_not_taken(place: Place) -> None:  # noqa: F811
    account = await seller(place)
    payout = await place.stripe.pay_out(account.stripe_account_id, amount=500, currency="chf")
    event = event_of(
        {"id": payout["id"], "object": "payout", "state": "over"},
        "payout.updated",
        at=place.clock.now(),
        account=account.stripe_account_id,
        api_version="2034-01-01.new",
    )

    assert await place.sender.send(event, **CONNECT) == "ACCEPTED"
    await place.idle()

    assert [one.state for one in (await listed(place, account.seller_id)).payouts] == ["pending"]


# What was before, and the list.


async def test_what_was_paid_out_before_stripe_reported_any_is_read_once(place: Place) -> None:  # noqa: F811
    account = await place.payments.prepare_seller(new_id("seller"))
    made = [
        await place.stripe.pay_out(account.stripe_account_id, amount=amount, currency="chf") for amount in (100, 200)
    ]
    await place.stripe.move_payout(made[0]["id"], "failed")
    await place.stripe.clear_metrics()
    await place.stripe.fault(Kind.SERVER_ERROR, route=LIST, times=None, should_retry=False)
    away = sellers_pb2.ListPayoutsRequest(seller_id=account.seller_id)
    assert (await refusal(place.payments.gateway.ListPayouts(away)))[1] == "STRIPE_UNAVAILABLE"
    await place.stripe.clear_faults()

    for _ in range(2):
        found = {one.payout_id for one in (await listed(place, account.seller_id)).payouts}
        assert found == {one["id"] for one in made}
    assert (await place.stripe.metrics())[LIST]["count"] == 2
    assert not place.sink.told(account.seller_id)  # of long ago


async def test_of_an_account_that_is_gone_what_is_known_is_listed(place: Place) -> None:  # noqa: F811
    account = await place.payments.prepare_seller(new_id("seller"))
    event = event_of(paid_out(), "payout.paid", at=place.clock.now(), account=account.stripe_account_id)
    await place.sender.send(event, **CONNECT)
    await place.idle()
    await place.stripe.disconnect_account(account.stripe_account_id)

    assert [one.state for one in (await listed(place, account.seller_id)).payouts] == ["paid"]


async def test_payouts_are_walked_page_by_page_the_newest_first(place: Place) -> None:  # noqa: F811
    account = await seller(place)
    made = [paid_out(created=int(NOON.timestamp()) + number // 2) for number in range(5)]
    for shown in made:
        event = event_of(shown, "payout.paid", at=place.clock.now(), account=account.stripe_account_id)
        await place.sender.send(event, **CONNECT)
    await place.idle()

    walked, token = [], ""
    while True:
        page = await listed(place, account.seller_id, page_size=2, page_token=token)
        walked += [one.payout_id for one in page.payouts]
        token = page.next_page_token
        if not token:
            break

    newest = sorted(made, key=lambda one: (one["created"], one["id"]), reverse=True)
    assert walked == [one["id"] for one in newest]
    first = await listed(place, account.seller_id, page_size=2)
    elsewhere = sellers_pb2.ListPayoutsRequest(page_token=first.next_page_token)
    for request in (elsewhere, sellers_pb2.ListPayoutsRequest(seller_id=account.seller_id, page_token="x")):
        invalid = await refusal(place.payments.gateway.ListPayouts(request))
        assert invalid == (StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID")
    nobody = sellers_pb2.ListPayoutsRequest(seller_id=new_id("seller"))
    assert await refusal(place.payments.gateway.ListPayouts(nobody)) == (StatusCode.NOT_FOUND, "SELLER_NOT_FOUND")


async def test_the_platforms_own_payouts_stand_apart(place: Place) -> None:  # noqa: F811
    await listed(place)
    shown = paid_out(amount=-300)
    event = event_of(shown, "payout.paid", at=place.clock.now())
    done = event_of(shown | {"reconciliation_status": "completed"}, "payout.reconciliation_completed", at=NOON)

    assert [await place.sender.send(one) for one in (done, event)] == ["ACCEPTED", "ACCEPTED"]
    await place.idle()

    (seen,) = [one for one in (await listed(place, page_size=200)).payouts if one.payout_id == shown["id"]]
    assert (seen.seller_id, seen.amount.amount_minor) == ("", -300)
    assert (seen.state, seen.reconciliation_status) == ("paid", "completed")


async def test_sights_at_once_end_in_the_furthest(place: Place) -> None:  # noqa: F811
    url = place.gateway.parts.engine.url.render_as_string(hide_password=False)
    async with DirectConnections(url, application_name="payouts", size=2) as connections:
        store = PayoutStore(connections, clock=place.clock)
        for number in range(20):
            of = {"payout_id": f"po_race_{number}", "seller_id": "seller_of_a_race"}
            sights = [replace(one, **of) for one in HISTORY]
            await asyncio.gather(*(store.record("main", [one]) for one in sights))
            found = await store.page("main", "seller_of_a_race", after=None, limit=50)
            ended = [one for one in found if one.payout_id == of["payout_id"]]
            assert ended == [replace(HISTORY[-1], reconciliation_status="completed", **of)]
