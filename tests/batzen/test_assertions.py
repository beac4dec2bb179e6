"""Watching for somebody else: a service shows its users what is theirs and no more, while their tokens hold."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from batzen import errors
from batzen.client import Client
from batzen.watching import ConnectionState
from local.databases import ServiceDatabase
from local.issuer import TOKEN_LIFE, Issuer
from services.runtime.rpc.identity import LEEWAY
from services.status.__main__ import LIMITS as SERVER_LIMITS
from services.status.watches.send_queue import StreamLimits
from tests.batzen.conftest import Status, serving
from tests.batzen.test_watch import revisions
from tests.status.conftest import Clock


async def test_a_user_sees_what_is_theirs(status: Status, batzen: Client) -> None:
    payment_id = await status.open()
    for subject, role in (("payer_1", "payer"), ("seller_1", "seller"), ("anyone", "operator")):
        async with batzen.watch(payment_id, assertion=status.token(subject, role)) as updates:
            assert (await anext(updates)).revision == 1


@pytest.mark.parametrize("is_watched", [False, True])
@pytest.mark.parametrize(("subject", "role"), [("payer_2", "payer"), ("payer_1", "seller"), ("seller_2", "seller")])
async def test_anothers_payment_is_not_there_also_while_its_owner_watches(
    status: Status, batzen: Client, subject: str, role: str, is_watched: bool
) -> None:
    payment_id = await status.open()
    async with batzen.watch(payment_id, assertion=status.token("payer_1", "payer")) as own:
        if is_watched:
            await anext(own)
        async with batzen.watch(payment_id, assertion=status.token(subject, role)) as updates:
            with pytest.raises(errors.by_reason["PAYMENT_NOT_FOUND"]):
                await anext(updates)
        await status.move(payment_id, to=2)
        assert (await revisions(own, upto=2))[-1] == 2


@pytest.mark.parametrize("is_watched", [False, True])
@pytest.mark.parametrize("after", [None, 0])
async def test_a_forged_token_shows_nothing_also_while_its_owner_watches(
    status: Status, batzen: Client, is_watched: bool, after: int | None
) -> None:
    payment_id = await status.open()
    good = status.token("payer_1", "payer")
    forged = good[:-6] + ("A" * 6 if not good.endswith("A" * 6) else "B" * 6)
    async with batzen.watch(payment_id, assertion=good) as own:
        if is_watched:
            await anext(own)
        async with batzen.watch(payment_id, after_revision=after, assertion=forged) as updates:
            with pytest.raises(errors.Unauthenticated):
                await anext(updates)
        await status.move(payment_id, to=2)
        assert (await revisions(own, upto=2))[-1] == 2


async def test_a_forger_who_came_first_does_not_spoil_the_owners_watch(status: Status, batzen: Client) -> None:
    payment_id = await status.open()
    good = status.token("payer_1", "payer")
    forged = good[:-6] + ("A" * 6 if not good.endswith("A" * 6) else "B" * 6)
    async with batzen.watch(payment_id, assertion=forged) as bad, batzen.watch(payment_id, assertion=good) as own:
        assert (await anext(own)).revision == 1
        with pytest.raises(errors.Unauthenticated):
            await anext(bad)
        await status.move(payment_id, to=2)
        assert (await anext(own)).revision == 2


@pytest.mark.parametrize("text", ["", "secret", "a.b.c", "a.e30.c"])
async def test_what_is_no_token_is_refused_at_once(status: Status, batzen: Client, text: str) -> None:
    with pytest.raises(ValueError, match="assertion"):
        async with batzen.watch(await status.open(), assertion=text):
            pass


async def test_several_windows_of_one_user_share_a_watch_and_two_users_of_one_payment_do_not(
    status: Status, batzen: Client
) -> None:
    payment_id = await status.open()
    async with (
        batzen.watch(payment_id, assertion=status.token("payer_1", "payer")) as window,
        batzen.watch(payment_id, assertion=status.token("payer_1", "payer", life=TOKEN_LIFE * 2)) as other_window,
        batzen.watch(payment_id, assertion=status.token("seller_1", "seller")) as seller,
        batzen.watch(payment_id) as service,
    ):
        for updates in (window, other_window, seller, service):
            await anext(updates)
        await status.move(payment_id, to=2)
        for updates in (window, other_window, seller, service):
            assert (await anext(updates)).revision == 2

    assert batzen.watcher.figures.connects == 3


async def test_one_person_in_two_roles_keeps_both_watches(status: Status, batzen: Client) -> None:
    bought, sold = await status.open(payer_id="both"), await status.open(seller_ids=["both"])
    as_payer = status.token("both", "payer")
    as_seller = status.token("both", "seller", life=TOKEN_LIFE * 2)
    async with (
        batzen.watch(bought, assertion=as_payer) as bought_updates,
        batzen.watch(sold, assertion=as_seller) as sold_updates,
    ):
        await anext(bought_updates)
        await anext(sold_updates)
        await status.move(bought, to=2)
        await status.move(sold, to=2)
        assert (await anext(bought_updates)).revision == 2
        assert (await anext(sold_updates)).revision == 2


@dataclass(frozen=True, kw_only=True)
class Evening:
    """A status service with a clock that is set, and a service that calls it all evening."""

    status: Status
    clock: Clock
    batzen: Client

    def token(self, subject: str = "payer_1") -> str:
        """A token that holds for TOKEN_LIFE from now on."""
        return self.status.token(subject, "payer")

    async def everything_is_said(self) -> None:
        """Wait until the server has read what the client said so far on its stream."""
        async with self.batzen.watch(await self.status.open()) as updates:
            await anext(updates)


@pytest.fixture
async def evening(database: ServiceDatabase, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Evening]:
    clock = Clock()
    issuer = Issuer(tmp_path_factory.mktemp("evening") / "keys", now=clock)
    service = issuer.mint("bff", roles=["service"], life=TOKEN_LIFE * 9)
    async with (
        serving(database, issuer, now=clock, feed_limits=StreamLimits(heartbeat_s=0.02)) as status,
        status.client(token=service) as batzen,
    ):
        yield Evening(status=status, clock=clock, batzen=batzen)


ALMOST_OVER = TOKEN_LIFE + LEEWAY - timedelta(seconds=1)
OVER = timedelta(seconds=2)


async def test_a_watch_ends_with_its_token(evening: Evening) -> None:
    payment_id = await evening.status.open()
    async with evening.batzen.watch(payment_id, assertion=evening.token()) as updates:
        await anext(updates)
        evening.clock.pass_by(ALMOST_OVER + OVER)
        with pytest.raises(errors.Unauthenticated):
            await anext(updates)


async def test_a_watch_goes_on_with_a_newer_token_and_so_do_others_of_that_user(evening: Evening) -> None:
    payment_id = await evening.status.open()
    others_id = await evening.status.open(payer_id="payer_2")
    tokens = [evening.token()]
    asked = asyncio.Event()

    def newest() -> str:
        asked.set()
        return tokens[-1]

    async with (
        evening.batzen.watch(payment_id, assertion=newest) as updates,
        evening.batzen.watch(payment_id, assertion=tokens[0]) as other_window,
        evening.batzen.watch(others_id, assertion=evening.token("payer_2")) as left_to_expire,
    ):
        for each in (updates, other_window, left_to_expire):
            await anext(each)
        evening.clock.pass_by(ALMOST_OVER)
        tokens.append(evening.status.replica.issuer.mint("payer_1", roles=["payer"]))
        asked.clear()
        await asked.wait()
        await evening.everything_is_said()
        evening.clock.pass_by(OVER)
        with pytest.raises(errors.Unauthenticated):
            await anext(left_to_expire)

        await evening.status.move(payment_id, to=2)
        assert (await anext(updates)).revision == 2
        assert (await anext(other_window)).revision == 2

    assert evening.batzen.watcher.figures.attempts == 1
    assert evening.batzen.watcher.figures.resumes == 0


async def test_a_token_that_is_renewed_too_late_resumes_the_watch(evening: Evening) -> None:
    payment_id = await evening.status.open()
    tokens = [evening.token()]
    async with evening.batzen.watch(payment_id, assertion=lambda: tokens[-1]) as updates:
        await anext(updates)
        evening.clock.pass_by(ALMOST_OVER + OVER)
        tokens.append(evening.token())
        await evening.status.move(payment_id, to=2)
        assert (await anext(updates)).revision == 2


async def test_a_token_of_somebody_else_ends_the_watch(evening: Evening) -> None:
    payment_id = await evening.status.open()
    token = evening.token()
    async with evening.batzen.watch(payment_id, assertion=lambda: token) as updates:
        await anext(updates)
        token = evening.token("payer_2")
        with pytest.raises(ValueError, match="somebody else"):
            await anext(updates)


async def test_a_source_of_tokens_that_fails_ends_its_own_watch(evening: Evening) -> None:
    payment_id = await evening.status.open()
    token = evening.token()

    def source() -> str:
        if not token:
            raise LookupError("logged out")
        return token

    async with (
        evening.batzen.watch(payment_id, assertion=source) as updates,
        evening.batzen.watch(payment_id, assertion=token) as other_window,
    ):
        await anext(updates)
        await anext(other_window)
        token = ""
        with pytest.raises(LookupError, match="logged out"):
            await anext(updates)
        await evening.status.move(payment_id, to=2)
        assert (await anext(other_window)).revision == 2


async def test_without_a_stream_a_user_is_polled_for_by_their_own_token(
    database: ServiceDatabase, issuer: Issuer
) -> None:
    one_stream = replace(SERVER_LIMITS, streams_per_caller_max=1)
    async with serving(database, issuer, limits=one_stream) as status, status.client() as batzen:
        payment_id = await status.open()
        in_the_way = batzen.status.WatchMany()
        await in_the_way.initial_metadata()
        async with (
            batzen.watch(payment_id, assertion=status.token("payer_1", "payer")) as own,
            batzen.watch(payment_id, assertion=status.token("payer_2", "payer")) as anothers,
        ):
            assert (await anext(own)).revision == 1
            with pytest.raises(errors.NotFound):
                await anext(anothers)
            await status.move(payment_id, to=3)
            assert await revisions(own, upto=3) == [2, 3]
            assert batzen.watcher.connection.state is ConnectionState.POLLING
