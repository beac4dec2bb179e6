"""The feed of an operator's page: from the place of its list, over a status that is away and words that run out."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import httpx
import pytest
from starlette.datastructures import QueryParams
from starlette.routing import Route
from starlette.types import ASGIApp

from batzen.client import new_request_id
from batzen.status.v1.status_pb2 import ListPaymentsRequest, PaymentFilter
from batzen.type.v1.payment_pb2 import PaymentState
from local.suite import Suite
from services.console import feed
from services.console.feed import Change, Feed
from services.runtime.process.lifecycle import utc_now
from services.runtime.rpc.identity import LEEWAY
from services.web.application import application
from services.web.assertions import LIFE, AssertionMinter
from services.web.events.frames import Event
from services.web.front import Front
from services.web.security.headers import Origins
from services.web.sessions.domain import Session
from tests.eventually import eventually
from tests.web.console_payments import paid
from tests.web.listening import Listener, listening
from tests.web.own_console import own_console

FEED = "/feed"


class Words:
    """When the words of a console are minted: a test has them run out."""

    def __init__(self) -> None:
        self.behind = timedelta(0)
        self.asked = 0

    def now(self) -> datetime:
        self.asked += 1
        return utc_now() - self.behind


@pytest.fixture
def words() -> Words:
    return Words()


@pytest.fixture
async def operator(suite: Suite, words: Words) -> AsyncIterator[httpx.AsyncClient]:
    """An operator's browser at a console that has the feed alone."""

    def make(front: Front) -> ASGIApp:
        settings = front.settings
        minter = AssertionMinter(
            settings.assertion_key.current,
            issuer=settings.assertion_issuer,
            audience=settings.process.token_audience,
            now=words.now,
        )
        endpoint = Feed(replace(front, minter=minter), filter_of=filter_of, render=rows)
        return application(front, [Route(FEED, endpoint, methods=["GET"])], origins=Origins())

    async with own_console(suite, make=make) as browser:
        yield browser


def filter_of(params: QueryParams) -> PaymentFilter:
    return PaymentFilter(payer_id=params["payer"])


def rows(changes: Sequence[Change], _: Session) -> Sequence[Event]:
    told = [[one.payment.payment_id, PaymentState.Name(one.payment.state)[len("PAYMENT_STATE_") :]] for one in changes]
    return [Event(name="rows", data=json.dumps(told))]


@pytest.fixture
def payer_id() -> str:
    return f"payer_{new_request_id()}"


async def list_cursor(suite: Suite, payer_id: str) -> str:
    async with suite.client("operator", sub="operator_1") as batzen:
        listed = await batzen.status.ListPayments(ListPaymentsRequest(filter=PaymentFilter(payer_id=payer_id)))
    return listed.cursor


async def hears(stream: Listener, payment_id: str) -> None:
    """Listen until a payment is told to be paid; nothing but rows comes before."""
    told: list[list[str]] = []
    while [payment_id, "SUCCEEDED"] not in told:
        heard = await stream.next()
        assert heard.name == "rows"
        told = heard.data


async def test_a_page_misses_nothing_after_its_list_nor_while_it_is_away(
    suite: Suite, operator: httpx.AsyncClient, payer_id: str
) -> None:
    cursor = await list_cursor(suite, payer_id)
    first = await paid(suite, 2_500, payer_id=payer_id)
    async with listening(operator, FEED, params={"payer": payer_id, "after": cursor}) as stream:
        await hears(stream, first)
    second = await paid(suite, 2_500, payer_id=payer_id)
    async with listening(operator, FEED, params={"payer": payer_id}, last_id=stream.last_id) as stream:
        await hears(stream, second)


async def test_a_page_whose_place_is_none_loads_its_list_again_and_goes_on(
    suite: Suite, operator: httpx.AsyncClient, payer_id: str
) -> None:
    async with listening(operator, FEED, params={"payer": payer_id, "after": "not-one-of-ours"}) as stream:
        assert (await stream.next()).name == "reload"
        await hears(stream, await paid(suite, 2_500, payer_id=payer_id))


async def test_a_page_that_cannot_be_told_all_that_happened_loads_its_list_again(
    suite: Suite, operator: httpx.AsyncClient, payer_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "TOGETHER_MAX", 0)
    cursor = await list_cursor(suite, payer_id)
    async with listening(operator, FEED, params={"payer": payer_id, "after": cursor}) as stream:
        await paid(suite, 2_500, payer_id=payer_id)
        assert (await stream.next()).name == "reload"
        assert stream.last_id not in ("", cursor)  # a page that only comes back goes on after it


async def test_a_filter_that_status_refuses_ends_the_stream(operator: httpx.AsyncClient) -> None:
    async with listening(operator, FEED, params={"payer": "x" * 500}) as stream:
        heard = await stream.rest()

    assert [(one.name, one.data) for one in heard] == [("end", {"reason": "refused"})]


async def test_a_stream_outlives_the_word_that_it_began_with(
    suite: Suite, operator: httpx.AsyncClient, words: Words, payer_id: str
) -> None:
    cursor = await list_cursor(suite, payer_id)
    words.behind = LIFE + LEEWAY - timedelta(seconds=5)
    async with listening(operator, FEED, params={"payer": payer_id, "after": cursor}) as stream:
        asked = await eventually(lambda: words.asked)
        words.behind = timedelta(0)
        await eventually(lambda: words.asked > asked)  # it ran out, and another was minted
        await hears(stream, await paid(suite, 2_500, payer_id=payer_id))


async def test_a_stream_ends_whose_words_are_none(
    operator: httpx.AsyncClient, words: Words, payer_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "RETRY_S", (0.0, 0.0))
    words.behind = timedelta(days=1)
    async with listening(operator, FEED, params={"payer": payer_id}) as stream:
        heard = await stream.rest()

    assert [one.name for one in heard] == ["away", "end"]
    assert heard[-1].data == {"reason": "refused"}


async def test_a_page_is_told_that_status_is_away_and_that_it_is_back_and_misses_nothing(
    suite: Suite, operator: httpx.AsyncClient, payer_id: str
) -> None:
    cursor = await list_cursor(suite, payer_id)
    async with listening(operator, FEED, params={"payer": payer_id, "after": cursor}) as stream:
        await suite.stop("status")
        assert (await stream.next()).name == "away"
        await suite.start("status")
        assert (await stream.next()).name == "back"
        await hears(stream, await paid(suite, 2_500, payer_id=payer_id))
