"""Hints cost nothing where nobody listens, and silence loses nothing: replicas that come, go and cannot be heard."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from local.databases import ServiceDatabase
from local.issuer import Issuer
from local.postgres import EmbeddedPostgres
from services.runtime.database.connections import plain_dsn, role_of
from services.status.watches import presence
from services.status.watches.hints import CHANNEL, HELLO_CHANNEL, NOTIFY
from services.status.watches.send_queue import StreamLimits
from tests.conftest import MakeDatabase
from tests.eventually import WITHIN_S
from tests.status.conftest import StatusServiceStub, move, running_replica
from tests.status.samples import open_request, snapshot
from tests.status.test_replicas import write_without_a_hint
from tests.status.watching import header, revisions, watch

QUICK_S = 0.4
"""Between two hellos; after three of them one that was not heard is gone, which `remembered` puts off."""
NO_RESYNC = StreamLimits(resync_s=3_600)
HELLOS_OF_ONE_THAT_KNOWS = 2
IS_LISTENER = "application_name = 'status-listen' AND datname = current_database()"
LAST = 150
STEPS = [snapshot(attempt=attempt) for attempt in range(1, LAST)]


class Observer:
    """Hears all that replicas say; none counts it before it says hello itself."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.hinted: list[str] = []
        """Payments, in the order of their hints."""
        self.hellos: list[dict[str, Any]] = []
        self._connection = connection
        self._heard = asyncio.Event()

    async def listen(self) -> None:
        await self._connection.add_listener(CHANNEL, self._hear_hint)
        await self._connection.add_listener(HELLO_CHANNEL, self._hear_hello)

    async def say_hello(self, *, unannounced: bool = False) -> None:
        payload = json.dumps({"origin": "observer", "asks": True, "unannounced": unannounced})
        await self._connection.execute(NOTIFY, HELLO_CHANNEL, payload)

    async def until(self, is_so: Callable[[], object]) -> None:
        async with asyncio.timeout(WITHIN_S):
            while not is_so():
                await self._heard.wait()
                self._heard.clear()

    async def hello(self) -> dict[str, Any]:
        """Return the next hello."""
        seen = len(self.hellos)
        await self.until(lambda: len(self.hellos) > seen)
        return self.hellos[seen]

    async def hint(self, payment_id: str) -> None:
        """Wait for a hint at a payment."""
        await self.until(lambda: payment_id in self.hinted)

    async def until_all_know(self, count: int) -> None:
        """Wait until so many replicas know each other: before each says its second hello it has heard its first."""
        first = len(self.hellos)
        await self.until(lambda: len(self.origins()) == count)
        await self.until(
            lambda: len([n for n in self.origins(first).values() if n >= HELLOS_OF_ONE_THAT_KNOWS]) == count
        )

    def origins(self, first: int = 0) -> Counter[str]:
        return Counter(hello["origin"] for hello in self.hellos[first:])

    def _hear_hint(self, _: object, __: int, ___: str, payload: object) -> None:
        self.hinted += [payment_id for _, payment_id in json.loads(str(payload))["moved"]]
        self._heard.set()

    def _hear_hello(self, _: object, __: int, ___: str, payload: object) -> None:
        self.hellos.append(json.loads(str(payload)))
        self._heard.set()


class Server:
    """The database server, seen from its administrator's side."""

    def __init__(self, admin: asyncpg.Connection, database: ServiceDatabase) -> None:
        self._admin = admin
        self._database = database
        self.url, self.other_url = database.owner_url, database.runtime_url
        """Of two replicas, by a role each."""

    async def refuse_notify(self) -> None:
        await self._admin.execute("REVOKE EXECUTE ON FUNCTION pg_notify FROM PUBLIC")

    async def take_notify(self, *, of_url: str | None = None) -> None:
        role = "PUBLIC" if of_url is None else role_of(of_url)
        await self._admin.execute(f"GRANT EXECUTE ON FUNCTION pg_notify TO {role}")

    async def cut_off(self, url: str) -> None:
        """End the connection on which a replica listens, and let it open no other."""
        await self._admin.execute(f"REVOKE CONNECT ON DATABASE {self._database.name} FROM {role_of(url)}")
        await self._admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1 AND " + IS_LISTENER, role_of(url)
        )

    async def let_connect(self, url: str) -> None:
        await self._admin.execute(f"GRANT CONNECT ON DATABASE {self._database.name} TO {role_of(url)}")

    async def until_refused(self, url: str) -> None:
        """Wait until the listener of a replica has tried to say hello."""
        tried = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND query = $2 AND " + IS_LISTENER
        async with asyncio.timeout(WITHIN_S):
            while not await self._admin.fetchval(tried, role_of(url), NOTIFY):
                pass


@pytest.fixture
async def server(make_database: MakeDatabase, postgres: EmbeddedPostgres) -> AsyncIterator[Server]:
    """A database whose replicas are this test's alone."""
    database = await make_database("status")
    admin = await asyncpg.connect(postgres.admin_url, database=database.name)
    yield Server(admin, database)
    await admin.close()


@pytest.fixture
async def observer(server: Server) -> AsyncIterator[Observer]:
    connection = await asyncpg.connect(plain_dsn(server.url))
    observer = Observer(connection)
    await observer.listen()
    yield observer
    await connection.close()


@pytest.fixture
def remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a busy machine holds the test up, no replica takes another for gone."""
    monkeypatch.setattr(presence, "GONE_AFTER", int(WITHIN_S / QUICK_S))


@asynccontextmanager
async def serving(url: str, issuer: Issuer) -> AsyncIterator[StatusServiceStub]:
    """A replica that learns by hints and hellos alone."""
    async with (
        running_replica(url, issuer=issuer, hello_every_s=QUICK_S, feed_limits=NO_RESYNC) as replica,
        replica.connect() as status,
    ):
        yield status


@pytest.fixture
async def alone(server: Server, observer: Observer, issuer: Issuer) -> AsyncIterator[StatusServiceStub]:
    """A replica that knows that it is alone."""
    async with serving(server.url, issuer) as status:
        await until_quiet(status, observer)
        yield status


async def until_quiet(status: StatusServiceStub, observer: Observer) -> None:
    """Open payments until the only replica says that it left one unannounced."""
    async with asyncio.timeout(WITHIN_S):
        is_quiet = False
        while not is_quiet:
            await opened(status)
            is_quiet = (await observer.hello())["unannounced"]


async def opened(status: StatusServiceStub) -> str:
    return (await status.OpenPayment(open_request())).payment.payment_id


@pytest.mark.usefixtures("remembered")
async def test_a_replica_that_is_alone_announces_nothing(alone: StatusServiceStub, observer: Observer) -> None:
    observer.hinted.clear()
    await move(alone, await opened(alone), *STEPS[:20])

    await observer.say_hello()
    await observer.until(lambda: observer.hellos[-1]["unannounced"])  # it counts the observer from now on
    last = await opened(alone)
    await observer.hint(last)
    assert observer.hinted == [last]


@pytest.mark.usefixtures("remembered")
async def test_another_replica_is_told_of_an_opening_for_its_feeds(
    alone: StatusServiceStub, observer: Observer
) -> None:
    await observer.say_hello()
    await observer.until(lambda: observer.hellos[-1]["origin"] != "observer")

    await observer.hint(await opened(alone))


@pytest.mark.usefixtures("remembered")
async def test_watches_of_a_replica_that_came_get_the_next_move_by_a_hint(
    alone: StatusServiceStub, server: Server, observer: Observer, issuer: Issuer
) -> None:
    payment_id = await opened(alone)
    async with serving(server.other_url, issuer) as there, watch(there, payment_id) as responses:
        await header(responses)
        await observer.until_all_know(2)

        await move(alone, payment_id, STEPS[0])

        assert await revisions(responses, upto=2) == [2]
        await observer.hint(payment_id)


async def test_what_is_committed_while_another_replica_comes_is_not_lost(
    alone: StatusServiceStub, server: Server, observer: Observer, issuer: Issuer
) -> None:
    payment_id = await opened(alone)
    await server.refuse_notify()
    async with serving(server.other_url, issuer) as there:
        await server.until_refused(server.other_url)  # it listens, and could not say so yet
        async with watch(there, payment_id) as responses:
            await header(responses)
            await move(alone, payment_id, STEPS[0])  # between LISTEN and hello

            await server.take_notify(of_url=server.other_url)
            await observer.hello()
            await move(alone, payment_id, STEPS[1], expected=2)  # between hello and answer
            assert payment_id not in observer.hinted

            await server.take_notify()
            assert await revisions(responses, upto=3) == [2, 3]
            await move(alone, payment_id, STEPS[2], expected=3)
            assert await revisions(responses, upto=4) == [4]


async def test_what_a_hello_owns_up_to_is_read(server: Server, observer: Observer, issuer: Issuer) -> None:
    async with serving(server.other_url, issuer) as status:
        payment_id = await opened(status)
        async with watch(status, payment_id) as responses:
            await header(responses)
            writer = await asyncpg.connect(plain_dsn(server.url))
            await write_without_a_hint(writer, payment_id)
            await writer.close()

            await observer.say_hello(unannounced=True)

            assert await revisions(responses, upto=2) == [2]


async def test_once_the_other_replica_has_left_nothing_is_announced(
    alone: StatusServiceStub, server: Server, observer: Observer, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(server.other_url, issuer):
        with monkeypatch.context() as patched:
            patched.setattr(presence, "GONE_AFTER", int(WITHIN_S / QUICK_S))
            await observer.until_all_know(2)
            await observer.hint(await opened(alone))

    await until_quiet(alone, observer)


async def test_a_replica_that_cannot_listen_announces(
    alone: StatusServiceStub, server: Server, observer: Observer
) -> None:
    await server.cut_off(server.url)
    observer.hinted.clear()
    async with asyncio.timeout(WITHIN_S):
        while not observer.hinted:
            await opened(alone)
    await observer.hint(await opened(alone))

    await server.let_connect(server.url)
    assert (await observer.hello())["asks"]
    await until_quiet(alone, observer)


async def test_a_replica_that_was_not_heard_for_long_gets_what_moved_once_it_is_back(
    alone: StatusServiceStub, server: Server, observer: Observer, issuer: Issuer
) -> None:
    payment_id = await opened(alone)
    async with serving(server.other_url, issuer) as there, watch(there, payment_id) as responses:
        await header(responses)
        await observer.until_all_know(2)
        await server.cut_off(server.other_url)
        await until_quiet(alone, observer)
        await move(alone, payment_id, STEPS[0])

        await server.let_connect(server.other_url)
        assert await revisions(responses, upto=2) == [2]
        await move(alone, payment_id, STEPS[1], expected=2)
        assert await revisions(responses, upto=3) == [3]


async def test_replicas_that_come_and_go_while_a_payment_moves_miss_nothing(
    alone: StatusServiceStub, server: Server, issuer: Issuer
) -> None:
    payment_id = await opened(alone)

    async def follow(seed: int) -> list[int]:
        chance = random.Random(seed)
        seen = [1]
        while seen[-1] < LAST:
            async with (
                serving(server.other_url, issuer) as there,
                watch(there, payment_id, after_revision=seen[-1]) as responses,
            ):
                await header(responses)
                seen += await revisions(responses, upto=min(LAST, seen[-1] + chance.randrange(1, 60)))
        return seen

    async with asyncio.timeout(3 * WITHIN_S):
        _, *followed = await asyncio.gather(move(alone, payment_id, *STEPS[: LAST - 1]), follow(1), follow(2))

    assert followed == [list(range(1, LAST + 1))] * 2
