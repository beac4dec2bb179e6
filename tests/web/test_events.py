"""Payers' browsers are told how their payments go on: each revision once, from where they were, until all is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Final

import httpx
import pytest

from batzen.client import new_request_id
from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.status.v1.status_pb2 import Transition
from batzen.type.v1.payment_pb2 import PaymentState
from local.suite import Suite
from services.bff.events.many import PAYMENTS_MAX
from services.bff.events.places import cursor_of, revisions_of
from services.bff.events.told import KEPT_MAX, Frames, events_of
from services.web.events.frames import RESUME_CHARACTERS_MAX
from services.web.events.streams import PER_SESSION_MAX
from services.web.security.forms import FIELD, Forms
from tests.eventually import WITHIN_S
from tests.status.samples import open_request, record_request, snapshot
from tests.web.listening import Heard, listening
from tests.web.shop import PAYER, Shop, a_confirm, a_shop, key
from tests.web.test_sessions import session_of

OTHER_TENANT: Final = "other_tenant"


@pytest.fixture(scope="module")
async def shop(suite: Suite) -> AsyncIterator[Shop]:
    async with a_shop(suite) as made:
        yield made


async def started(shop: Shop) -> str:
    found: str = (await shop.start())["payment"]["payment_id"]
    return found


async def confirmed(shop: Shop, payment_id: str, method: str = "pm_card_visa") -> httpx.Response:
    return await shop.payer.post(f"/v1/payments/{payment_id}/confirm", json=a_confirm(method), headers=key())


def revisions(heard: list[Heard]) -> list[int]:
    return [one.data["revision"] for one in heard if one.name == "payment_status_update"]


async def test_a_browser_is_told_each_revision_once_and_then_the_end(shop: Shop) -> None:
    payment_id = await started(shop)
    where = f"/v1/payments/{payment_id}/events"
    async with shop.browser(payment_id) as browser, listening(browser, where) as stream:
        first = await stream.next()
        await confirmed(shop, payment_id, "pm_card_chargeDeclinedInsufficientFunds")
        await confirmed(shop, payment_id)
        heard = await stream.rest()
        told = stream.last_id
        again = await browser.get(where, headers={"last-event-id": told})
        async with listening(browser, where, params={"after": "1"}) as late:
            resumed = await late.rest()
        async with listening(browser, where, params={"after": "999"}) as ahead:
            fresh = await ahead.rest()

    assert (first.name, first.data["state"], first.data["payment_id"]) == (
        "payment_status_update", "REQUIRES_PAYMENT_METHOD", payment_id,
    )  # fmt: skip
    assert 1_000 <= stream.retry_ms <= 4_000
    start = first.data["revision"]
    assert revisions(heard) == list(range(start + 1, start + 1 + len(revisions(heard))))
    error = next(one for one in heard if one.name == "payment_error")
    assert (error.data["decline_code"], error.data["recoverable"]) == ("insufficient_funds", True)
    assert [one.name for one in heard[-3:]] == ["payment_status_update", "payment_confirmed", "end"]
    assert heard[-2].last_id == told == str(revisions(heard)[-1])
    assert heard[-3].last_id != told  # of two events of a revision the last alone moves the browser's place
    assert heard[-1].data == {"reason": "settled"}
    assert again.status_code == 204
    assert revisions(resumed) == list(range(2, int(told) + 1))
    assert [one.name for one in fresh] == ["payment_status_update", "payment_confirmed", "end"]
    assert str(fresh[0].data["revision"]) == told


async def test_several_payments_are_told_on_one_stream_whose_id_is_the_place_in_all(shop: Shop) -> None:
    one, other = await started(shop), await started(shop)
    params = {"payment": [one, other]}
    async with shop.browser(one) as browser:
        async with listening(browser, "/v1/events", params=params) as stream:
            firsts = [await stream.next(), await stream.next()]
            place = stream.last_id
            await confirmed(shop, one)
            while (update := await stream.next()).data["state"] != "SUCCEEDED":
                pass
        assert update.data["payment_id"] == one
        assert {first.data["payment_id"] for first in firsts} == {one, other}

        await confirmed(shop, other)
        async with listening(browser, "/v1/events", params=params, last_id=place) as back:
            heard = await back.rest()
        again = await browser.get("/v1/events", params=params, headers={"last-event-id": back.last_id})

    seen = revisions_of(place)
    for payment_id in (one, other):
        told = [update.data["revision"] for update in heard if update.data.get("payment_id") == payment_id]
        assert sorted(set(told)) == list(range(seen[payment_id] + 1, max(told) + 1))
    assert heard[-1].data == {"reason": "settled"}
    assert again.status_code == 204


async def test_payers_of_two_tenants_are_told_by_one_process_each_of_their_own(shop: Shop) -> None:
    suite, own = shop.suite, await started(shop)
    bearer = f"Bearer {suite.token('service', sub='shop', tenant=OTHER_TENANT)}"
    async with (
        httpx.AsyncClient(
            base_url=suite.front_url("bff"), headers={"authorization": bearer}, timeout=WITHIN_S
        ) as service,
        suite.client("service", sub="orchestrator", tenant=OTHER_TENANT) as orchestrator,
    ):
        opened = open_request(payer_id=PAYER)
        await orchestrator.status.OpenPayment(opened)
        other = replace(shop, service=service)
        where = f"/v1/payments/{opened.payment_id}/events"
        async with other.browser(opened.payment_id) as theirs, shop.browser(own) as ours:
            without_a_token = await theirs.get(where, headers={"accept": "text/event-stream"})
            suite.issuer.write_service_tokens(
                suite.directory / "tokens", services=(), fronts=["bff"], tenants=[OTHER_TENANT]
            )
            async with (
                listening(theirs, where) as their_stream,
                listening(theirs, "/v1/events", params={"payment": opened.payment_id}) as their_list,
                listening(ours, f"/v1/payments/{own}/events") as our_stream,
            ):
                firsts = [await stream.next() for stream in (their_stream, their_list, our_stream)]
                moved = record_request(opened.payment_id, expected=1, to=snapshot())
                await orchestrator.status.RecordTransition(moved)
                heard = [await stream.next() for stream in (their_stream, their_list)]
            strangers = await ours.get(where)

    assert (without_a_token.status_code, without_a_token.json()["code"]) == (503, "DEPENDENCY_UNAVAILABLE")
    assert [one.data["payment_id"] for one in firsts] == [opened.payment_id, opened.payment_id, own]
    assert [(one.data["payment_id"], one.data["revision"]) for one in heard] == [(opened.payment_id, 2)] * 2
    assert strangers.status_code == 404


async def test_who_was_told_of_a_success_is_not_told_again_for_what_comes_after(shop: Shop) -> None:
    payment_id = await started(shop)
    where = f"/v1/payments/{payment_id}"
    await confirmed(shop, payment_id, "pm_card_pendingRefund")
    amount, all_of_it = ({"amount_minor": minor, "currency_code": "CHF"} for minor in (100, 6_000))
    part = {"amount": amount, "expected_refundable": all_of_it, "actor_id": "tester"}
    refunded = await shop.service.post(f"{where}/refunds", json=part, headers=key())
    history = (await shop.service.get(f"{where}/transitions")).json()["transitions"]
    first, *later = [one["revision"] for one in history if one["state"] == "SUCCEEDED"]
    async with shop.browser(payment_id) as browser:
        async with listening(browser, f"{where}/events", params={"after": str(first - 1)}) as stream:
            heard = [(await stream.next()).name for _ in range(2)]
        async with listening(browser, f"{where}/events", params={"after": str(first)}) as stream:
            after = await stream.next()

    assert refunded.status_code == 201, refunded.text
    assert later  # the refund is on its way
    assert heard == ["payment_status_update", "payment_confirmed"]
    assert after.last_id == str(later[0])  # it is all that is told of this revision


async def test_a_stream_shows_nothing_to_whoever_may_not_see_it(shop: Shop) -> None:
    mine, theirs = await started(shop), (await shop.start(payer={"payer_id": "another_payer"}))["payment"]["payment_id"]
    async with shop.browser(mine) as browser, shop.browser() as nobody:
        for asker, address, status in (
            (browser, f"/v1/payments/{theirs}/events", 404),
            (browser, f"/v1/payments/pay_{'0' * 26}/events", 404),
            (browser, "/v1/payments/other/events", 404),
            (browser, f"/v1/events?payment={mine}&payment={theirs}", 404),
            (browser, "/v1/events", 400),
            (browser, "/v1/events?" + "&".join(f"payment=p{n}" for n in range(PAYMENTS_MAX + 1)), 400),
            (nobody, f"/v1/payments/{mine}/events", 401),
            (nobody, f"/v1/events?payment={mine}", 401),
        ):
            answer = await asker.get(address, headers={"accept": "text/event-stream"})
            assert answer.status_code == status, address
            assert answer.json()["correlationId"]
        assert (await browser.head(f"/v1/payments/{mine}/events")).status_code == 405


async def test_a_log_out_ends_the_streams_of_the_session_with_the_reason(shop: Shop) -> None:
    payment_id = await started(shop)
    async with shop.browser(payment_id) as browser, listening(browser, f"/v1/payments/{payment_id}/events") as stream:
        await stream.next()
        session = await session_of(shop.suite, browser)
        await browser.post("/leave", data={FIELD: Forms().field(session)})
        rest = await stream.rest()

    assert [(one.name, one.data) for one in rest] == [("end", {"reason": "session_ended"})]


async def test_a_session_has_so_many_streams_and_no_more(shop: Shop) -> None:
    payment_id = await started(shop)
    where = f"/v1/payments/{payment_id}/events"
    async with shop.browser(payment_id) as browser, AsyncExitStack() as streams:
        listeners = [await streams.enter_async_context(listening(browser, where)) for _ in range(PER_SESSION_MAX)]
        for listener in listeners:
            await listener.next()
        answer = await browser.get(where, headers={"accept": "text/event-stream"})

    assert (answer.status_code, answer.json()["code"]) == (429, "TOO_MANY_STREAMS")
    assert int(answer.headers["retry-after"]) > 0


async def test_a_deploy_ends_a_stream_that_goes_on_without_gap_or_repeat(shop: Shop) -> None:
    payment_id = await started(shop)
    where = f"/v1/payments/{payment_id}/events"
    async with shop.browser(payment_id) as browser:
        async with listening(browser, where) as stream:
            first = await stream.next()
            stopping = asyncio.create_task(shop.suite.stop("bff"))
            assert await stream.rest() == []  # no `end`: the browser comes back
            assert 200 <= stream.retry_ms <= 3_000
        assert await stopping == 0
        async with shop.suite.client("service", sub="shop") as batzen:
            await batzen.orchestrator.CancelPayment(
                pb.CancelPaymentRequest(request_id=new_request_id(), payment_id=payment_id, reason="a test")
            )
        await shop.suite.start("bff")
        async with listening(browser, where, last_id=stream.last_id) as back:
            heard = await back.rest()

    assert revisions(heard) == list(range(first.data["revision"] + 1, first.data["revision"] + 1 + len(heard) - 1))
    assert heard[-1].name == "end"


def test_a_transition_is_made_events_of_once_and_few_are_kept() -> None:
    frames = Frames()
    update = Transition(payment_id="p", revision=1, state=PaymentState.PAYMENT_STATE_PROCESSING)
    first = frames.of(update, before=None)

    assert frames.of(update, before=PaymentState.PAYMENT_STATE_PROCESSING) is first
    for revision in range(2, KEPT_MAX + 2):
        frames.of(Transition(payment_id="p", revision=revision), before=None)
    assert frames.of(update, before=None) is not first


def test_a_payment_is_confirmed_once_however_many_revisions_it_stays_so() -> None:
    frames, succeeded = Frames(), PaymentState.PAYMENT_STATE_SUCCEEDED
    update = Transition(payment_id="p", revision=3, state=succeeded)

    def told(before: PaymentState | None) -> list[str]:
        return [event.name for event in frames.of(update, before=before)]

    assert told(succeeded) == ["payment_status_update"]
    assert told(PaymentState.PAYMENT_STATE_PROCESSING) == ["payment_status_update", "payment_confirmed"]
    assert told(None) == ["payment_status_update", "payment_confirmed"]
    assert told(succeeded) == ["payment_status_update"]


def test_an_error_is_told_where_it_is_why_a_payment_stands_there() -> None:
    update = Transition(payment_id="p", revision=3, state=PaymentState.PAYMENT_STATE_PROCESSING)
    update.snapshot.last_error.code = "card_declined"

    assert [event.name for event in events_of(update, is_confirmed=False)] == ["payment_status_update"]
    update.state = PaymentState.PAYMENT_STATE_FAILED
    assert [event.name for event in events_of(update, is_confirmed=False)] == ["payment_status_update", "payment_error"]


def test_a_place_in_many_payments_is_one_word_that_fits() -> None:
    revisions = {f"pay_{n:026}": 10**6 + n for n in range(PAYMENTS_MAX)}

    assert revisions_of(cursor_of(revisions)) == revisions
    assert len(cursor_of(revisions)) <= RESUME_CHARACTERS_MAX
    for wrong in ("", "x", "%%%", cursor_of({"p": 10**20}), "\u0663", "cGF5OmE"):
        assert revisions_of(wrong) == {}
