"""Several servers on one database: what one writes, the watches of all carry, whatever gets lost on the way."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import suppress
from pathlib import Path

import asyncpg
import pytest
from grpc import aio

from batzen.status.v1 import status_pb2 as pb
from local.databases import ServiceDatabase
from local.issuer import Issuer
from local.postgres import EmbeddedPostgres
from services.runtime.database.connections import plain_dsn
from services.status.watches.hints import CHANNEL, PAYLOAD_BYTES_MAX, payloads_of
from services.status.watches.send_queue import StreamLimits
from tests.conftest import Databases, MakeDatabase
from tests.eventually import WITHIN_S
from tests.status.conftest import Replica, StatusServiceStub, move, running_replica
from tests.status.restarts import RestartablePostgres
from tests.status.samples import Refusal, new_payment_id, open_request, record_request, refusal_of, snapshot
from tests.status.streaming import add, watch_many
from tests.status.test_changes import feed
from tests.status.watching import header, rest, revisions, watch

HINTS_ONLY = StreamLimits(resync_s=3_600)
RESYNC_ONLY_S = 0.2
STEPS = [snapshot(attempt=attempt) for attempt in range(1, 300)]


@pytest.fixture
async def other(database: ServiceDatabase, issuer: Issuer) -> AsyncIterator[Replica]:
    """A second server on the same database, which learns by hints alone."""
    async with running_replica(database.runtime_url, issuer=issuer, feed_limits=HINTS_ONLY) as replica:
        yield replica


@pytest.fixture
def own_postgres() -> Iterator[RestartablePostgres]:
    """A server that nobody else uses and that may be stopped."""
    folder = Path(tempfile.mkdtemp(prefix="batzen-tests-"))
    folder.chmod(0o711)
    try:
        with RestartablePostgres(folder / "postgres") as server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def test_a_hint_reaches_the_watches_of_another_replica(
    status: StatusServiceStub, other: Replica, payment: pb.Payment
) -> None:
    async with other.connect() as elsewhere, watch(elsewhere, payment.payment_id) as responses:
        await header(responses)
        await move(status, payment.payment_id, *STEPS[:50])

        assert await revisions(responses, upto=51) == list(range(2, 52))


async def test_replicas_that_write_in_turns_make_one_line_on_all_watches(
    status: StatusServiceStub, other: Replica, payment: pb.Payment
) -> None:
    async with (
        other.connect() as elsewhere,
        watch(status, payment.payment_id) as here,
        watch(elsewhere, payment.payment_id) as there,
    ):
        await header(here)
        await header(there)
        reading = [asyncio.create_task(revisions(responses, upto=61)) for responses in (here, there)]
        for expected in range(1, 61):
            writer = status if expected % 2 else elsewhere
            await move(writer, payment.payment_id, STEPS[expected], expected=expected)

        assert await asyncio.gather(*reading) == [list(range(2, 62))] * 2


async def test_a_hint_that_is_lost_is_made_up_for(database: ServiceDatabase, issuer: Issuer) -> None:
    limits = StreamLimits(resync_s=RESYNC_ONLY_S)
    async with (
        running_replica(database.runtime_url, issuer=issuer, feed_limits=limits) as replica,
        replica.connect() as status,
    ):
        payment_id = (await status.OpenPayment(open_request())).payment.payment_id
        async with watch(status, payment_id) as responses:
            await header(responses)
            connection = await asyncpg.connect(plain_dsn(database.runtime_url))
            try:  # as a replica would that died between its commit and the hint
                await write_without_a_hint(connection, payment_id)
            finally:
                await connection.close()

            async with asyncio.timeout(WITHIN_S):
                assert await revisions(responses, upto=2) == [2]


async def write_without_a_hint(connection: asyncpg.Connection, payment_id: str, *, snapshot: str = "snapshot") -> None:
    await connection.execute(
        f"""
        WITH moved AS (
          UPDATE payments SET revision = revision + 1, snapshot = {snapshot} WHERE payment_id = $1 RETURNING *
        )
        INSERT INTO transitions (tenant_id, payment_id, open_month, revision, request_id, state, snapshot, record_time)
        SELECT tenant_id, payment_id, open_month, revision, gen_random_uuid(), state, snapshot, update_time FROM moved
        """,
        payment_id,
    )


async def test_invented_hints_change_nothing(
    status: StatusServiceStub, payment: pb.Payment, database: ServiceDatabase
) -> None:
    async with watch(status, payment.payment_id) as responses:
        await header(responses)
        connection = await asyncpg.connect(plain_dsn(database.runtime_url))
        try:
            for payload in payloads_of([("main", payment.payment_id), ("main", new_payment_id())] * 3, origin="x"):
                await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, payload)
        finally:
            await connection.close()
        await move(status, payment.payment_id, snapshot())

        assert await revisions(responses, upto=2) == [2]


async def test_a_listener_that_is_cut_off_reads_again_what_it_missed(
    status: StatusServiceStub, other: Replica, payment: pb.Payment, postgres: EmbeddedPostgres
) -> None:
    async with other.connect() as elsewhere, watch(elsewhere, payment.payment_id) as responses:
        await header(responses)
        admin = await asyncpg.connect(postgres.admin_url)
        try:
            for expected in range(1, 11):
                await admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'status-listen'"
                )
                await move(status, payment.payment_id, STEPS[expected], expected=expected)
        finally:
            await admin.close()

        async with asyncio.timeout(WITHIN_S):
            assert await revisions(responses, upto=11) == list(range(2, 12))


async def test_a_database_that_takes_no_hints_costs_their_speed_and_nothing_else(
    make_database: MakeDatabase, postgres: EmbeddedPostgres, issuer: Issuer
) -> None:
    """As one does whose queue of notifications is full, or that was a standby a moment ago."""
    own = await make_database("status")
    admin = await asyncpg.connect(postgres.admin_url, database=own.name)
    await admin.execute("REVOKE EXECUTE ON FUNCTION pg_notify FROM PUBLIC")
    await admin.close()
    limits = StreamLimits(resync_s=RESYNC_ONLY_S)
    async with (
        running_replica(own.runtime_url, issuer=issuer) as writer,
        running_replica(own.runtime_url, issuer=issuer, feed_limits=limits) as other,
        writer.connect() as here,
        other.connect() as there,
    ):
        payment_id = (await here.OpenPayment(open_request())).payment.payment_id
        async with watch(there, payment_id) as responses:
            await header(responses)
            for expected in range(1, 4):
                await move(here, payment_id, STEPS[expected], expected=expected)
                assert await revisions(responses, upto=expected + 1) == [expected + 1]


async def test_what_a_newer_server_wrote_ends_what_needs_it_and_takes_no_older_one_down(
    make_database: MakeDatabase, issuer: Issuer
) -> None:
    own = await make_database("status")
    async with (
        running_replica(own.runtime_url, issuer=issuer, feed_limits=StreamLimits(resync_s=RESYNC_ONLY_S)) as replica,
        replica.connect() as status,
    ):
        known, newer = [(await status.OpenPayment(open_request(payer_id=name))).payment.payment_id for name in "kn"]
        async with (
            watch(status, known) as untouched,
            watch(status, newer) as touched,
            feed(status, payer_id="k") as changes,
            feed(status, payer_id="n") as ending,
        ):
            for responses in (untouched, touched):
                await header(responses)
            for each in (changes, ending):
                await each.next()
            owner = await asyncpg.connect(plain_dsn(own.owner_url))
            await write_without_a_hint(owner, newer, snapshot="jsonb_set(snapshot, '{cause}', '\"FUTURE\"')")
            await owner.close()

            for end in (rest(touched), ending.rest()):
                assert await reason_of_end(end) == "DEPENDENCY_UNAVAILABLE"
            await move(status, known, STEPS[1])
            assert await revisions(untouched, upto=2) == [2]
            assert (await changes.until(known, 2))[-1] == (known, 2, "INSIDE")
            async with watch_many(status) as many:
                await many.say(add(newer), add(known))
                assert (await many.canceled(newer)).reason == "DEPENDENCY_UNAVAILABLE"
                await many.created(known)


async def reason_of_end(end: Awaitable[object]) -> str | None:
    try:
        told = await end
    except aio.AioRpcError as error:
        return refusal_of(error).reason
    assert isinstance(told, tuple)
    assert isinstance(told[1], Refusal)
    return told[1].reason


async def test_a_watch_outlives_a_restart_of_the_database(
    own_postgres: RestartablePostgres, issuer: Issuer, tmp_path: Path
) -> None:
    database = await Databases(own_postgres.server, folder=tmp_path).create("status")
    async with (
        running_replica(database.runtime_url, issuer=issuer) as first,
        running_replica(database.runtime_url, issuer=issuer) as second,
        first.connect() as here,
        second.connect() as there,
    ):
        payment_id = (await here.OpenPayment(open_request())).payment.payment_id
        async with watch(here, payment_id) as local, watch(there, payment_id) as remote:
            await header(local)
            await header(remote)
            await move(here, payment_id, snapshot())

            await asyncio.to_thread(own_postgres.stop)
            during = record_request(payment_id, expected=2, to=snapshot("PROCESSING"))
            with pytest.raises(aio.AioRpcError) as away:
                await here.RecordTransition(during)
            refusal = refusal_of(away.value)
            assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "DEPENDENCY_UNAVAILABLE")
            await asyncio.to_thread(own_postgres.start)

            answer = await here.RecordTransition(during)
            await move(there, payment_id, snapshot("FAILED"), expected=3)
            async with asyncio.timeout(WITHIN_S):
                assert await revisions(local, upto=4) == [2, 3, 4]
                assert await revisions(remote, upto=4) == [2, 3, 4]
            assert answer.transition.revision == 3


async def test_watchers_that_come_and_go_between_replicas_miss_nothing(
    replica: Replica, other: Replica, payment: pb.Payment, postgres: EmbeddedPostgres
) -> None:
    chance = random.Random(20_261_120)
    last = 120
    async with replica.connect() as here, other.connect() as there:
        stubs = (here, there)

        async def write() -> None:
            for expected in range(1, last):
                await move(chance.choice(stubs), payment.payment_id, STEPS[expected], expected=expected)

        async def follow() -> list[int]:
            seen = [1]
            while seen[-1] < last:
                fields = {"after_revision": seen[-1]}
                async with watch(chance.choice(stubs), payment.payment_id, **fields) as responses:
                    await header(responses)
                    upto = min(last, seen[-1] + chance.randrange(1, 20))
                    seen += await revisions(responses, upto=upto)
            return seen

        async def cut_listeners() -> None:
            admin = await asyncpg.connect(postgres.admin_url)
            with suppress(asyncio.CancelledError):
                while True:
                    await admin.execute(
                        "SELECT pg_terminate_backend(pid), pg_sleep(0.05) FROM pg_stat_activity "
                        "WHERE application_name IN ('status-listen', 'status-announce')"
                    )
            await admin.close()

        cutting = asyncio.create_task(cut_listeners())
        async with asyncio.timeout(WITHIN_S):
            _, *followed = await asyncio.gather(write(), *[follow() for _ in range(20)])
        cutting.cancel()
        await cutting

    assert all(seen == list(range(1, last + 1)) for seen in followed)


def test_hints_of_one_moment_fit_into_what_notify_takes() -> None:
    keys = [("a" * 63, new_payment_id()) for _ in range(500)]

    payloads = list(payloads_of(keys, origin="0" * 32))

    assert 1 < len(payloads) < 20
    assert all(len(payload.encode()) <= PAYLOAD_BYTES_MAX for payload in payloads)
    assert all(any(payment_id in payload for payload in payloads) for _, payment_id in keys)
