"""WatchPayment over a real channel: where it starts, what it carries, how it ends."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from batzen.status.v1 import status_pb2 as pb
from local.databases import ServiceDatabase
from local.issuer import Issuer
from services.runtime.database.connections import plain_dsn
from services.runtime.rpc.identity import LEEWAY
from services.runtime.rpc.limits import Limits
from services.status.watches.send_queue import StreamLimits
from tests.eventually import WITHIN_S
from tests.status.conftest import Replica, StatusServiceStub, move, running_replica
from tests.status.samples import new_payment_id, open_request, record_request, refused, snapshot, succeeded
from tests.status.watching import header, rest, revisions, watch

ATTEMPTS = [snapshot(attempt=attempt) for attempt in range(1, 300)]


async def test_a_watch_begins_with_the_payment_and_goes_on_from_there(
    status: StatusServiceStub, payment: pb.Payment
) -> None:
    now = await move(status, payment.payment_id, snapshot())
    async with watch(status, payment.payment_id) as responses:
        first = await header(responses)
        assert (first.current_revision, first.payment) == (2, now)

        moved = await status.RecordTransition(record_request(payment.payment_id, expected=2, to=snapshot("PROCESSING")))
        update = await anext(responses)

    assert list(update.updates.transitions) == [moved.transition]


@pytest.mark.parametrize("after", [0, 1, 3])
async def test_a_watch_resumes_after_the_revision_it_names(
    status: StatusServiceStub, payment: pb.Payment, after: int
) -> None:
    await move(status, payment.payment_id, *ATTEMPTS[:3])
    async with watch(status, payment.payment_id, after_revision=after) as responses:
        first = await header(responses)
        await move(status, payment.payment_id, snapshot("PROCESSING"), expected=4)
        seen = await revisions(responses, upto=5)

    assert (first.current_revision, first.HasField("payment")) == (4, False)
    assert seen == list(range(after + 1, 6))


async def test_what_a_watch_carries_is_what_history_says(status: StatusServiceStub, payment: pb.Payment) -> None:
    await move(status, payment.payment_id, *ATTEMPTS[:250])
    carried: list[pb.Transition] = []
    async with watch(status, payment.payment_id, after_revision=0) as responses:
        await header(responses)
        async for response in responses:
            carried += response.updates.transitions
            if carried[-1].revision == 251:
                break

    stored = await status.ListTransitions(pb.ListTransitionsRequest(payment_id=payment.payment_id, page_size=500))
    assert carried == list(stored.transitions)


async def test_watches_that_come_while_others_write_miss_nothing(
    status: StatusServiceStub, payment: pb.Payment
) -> None:
    last = 200

    async def follow(after: int | None) -> list[int]:
        fields = {} if after is None else {"after_revision": after}
        async with watch(status, payment.payment_id, **fields) as responses:
            start = (await header(responses)).current_revision if after is None else after
            return [start, *await revisions(responses, upto=last)]

    async def follow_in_pieces() -> list[int]:
        seen = [0]
        while seen[-1] < last:
            async with watch(status, payment.payment_id, after_revision=seen[-1]) as responses:
                await header(responses)
                seen += await revisions(responses, upto=seen[-1] + 1)
        return seen

    writing = asyncio.create_task(move(status, payment.payment_id, *ATTEMPTS[: last - 1]))
    watchers = [asyncio.create_task(follow(None)), asyncio.create_task(follow_in_pieces())]
    for after in (0, 1, 1, 0):
        async with watch(status, payment.payment_id) as responses:  # another comes when something was written
            reached = (await header(responses)).current_revision
        watchers += [asyncio.create_task(follow(after)), asyncio.create_task(follow(min(after, reached)))]
        watchers.append(asyncio.create_task(follow(None)))
        watchers.append(asyncio.create_task(follow_in_pieces()))

    await writing
    for seen in await asyncio.gather(*watchers):
        assert seen == list(range(seen[0], last + 1))


async def test_the_newest_alone_is_carried_if_that_is_wanted(status: StatusServiceStub, payment: pb.Payment) -> None:
    await move(status, payment.payment_id, *ATTEMPTS[:150])
    async with watch(status, payment.payment_id, after_revision=1, latest_only=True) as responses:
        await header(responses)
        assert await revisions(responses, upto=151) == [151]
        await move(status, payment.payment_id, *ATTEMPTS[:20], expected=151)
        seen = await revisions(responses, upto=171)

    assert seen == sorted(set(seen))


async def test_a_watch_ends_when_the_payment_settles(status: StatusServiceStub, payment: pb.Payment) -> None:
    async with watch(status, payment.payment_id, close_when="CLOSE_WHEN_SETTLED") as responses:
        await header(responses)
        await move(status, payment.payment_id, snapshot(), succeeded(), succeeded(refund_pending=5))

        assert await rest(responses) == ([2, 3], None)


@pytest.mark.parametrize(
    ("after", "carried"),
    [(None, []), (1, [2, 3]), (2, [3]), (3, [4, 5]), (4, [5]), (5, [])],
)
async def test_a_watch_of_a_settled_payment_ends_where_it_settles(
    status: StatusServiceStub, payment: pb.Payment, after: int | None, carried: list[int]
) -> None:
    await move(status, payment.payment_id, snapshot(), succeeded(), succeeded(refund_pending=5), succeeded(refunded=5))
    fields = {} if after is None else {"after_revision": after}
    async with watch(status, payment.payment_id, close_when="CLOSE_WHEN_SETTLED", **fields) as responses:
        await header(responses)

        assert await rest(responses) == (carried, None)


async def test_a_revision_that_is_still_to_come_is_out_of_range(status: StatusServiceStub, payment: pb.Payment) -> None:
    async with watch(status, payment.payment_id, after_revision=2) as responses:
        refusal = await refused(anext(responses))

    assert (refusal.code, refusal.reason) == ("OUT_OF_RANGE", "REVISION_AHEAD")
    assert (refusal.field, refusal.metadata) == ("after_revision", {"current_revision": "1"})


async def test_a_revision_that_is_forgotten_is_out_of_range(
    status: StatusServiceStub, payment: pb.Payment, database: ServiceDatabase
) -> None:
    await move(status, payment.payment_id, *ATTEMPTS[:4])
    connection = await asyncpg.connect(plain_dsn(database.owner_url))
    try:
        await connection.execute("DELETE FROM transitions WHERE payment_id = $1 AND revision <= 3", payment.payment_id)
    finally:
        await connection.close()

    async with watch(status, payment.payment_id, after_revision=1) as responses:
        await header(responses)
        refusal = await refused(anext(responses))
    listed = await refused(status.ListTransitions(pb.ListTransitionsRequest(payment_id=payment.payment_id)))
    async with watch(status, payment.payment_id, after_revision=3) as responses:
        await header(responses)
        assert await revisions(responses, upto=5) == [4, 5]

    assert refusal == listed
    assert (refusal.code, refusal.reason) == ("OUT_OF_RANGE", "REVISION_COMPACTED")
    assert refusal.metadata == {"oldest_revision": "4"}


@pytest.mark.parametrize(
    ("fields", "field"), [({"after_revision": -1}, "after_revision"), ({"close_when": 9}, "close_when")]
)
async def test_a_watch_that_makes_no_sense_is_refused(
    status: StatusServiceStub, payment: pb.Payment, fields: dict[str, int], field: str
) -> None:
    async with watch(status, payment.payment_id, **fields) as responses:
        refusal = await refused(anext(responses))

    assert (refusal.reason, refusal.field) == ("FIELD_INVALID", field)


@pytest.mark.parametrize(
    ("caller", "sees"),
    [
        (("payer_1", "payer", "main"), True),
        (("payer_2", "payer", "main"), False),
        (("seller_1", "seller", "main"), True),
        (("payer_1", "seller", "main"), False),
        (("anyone", "operator", "main"), True),
        (("anyone", "service", "other"), False),
    ],
)
async def test_everybody_watches_what_is_theirs(
    replica: Replica, payment: pb.Payment, caller: tuple[str, str, str], sees: bool
) -> None:
    subject, role, tenant = caller
    async with (
        replica.connect(subject, roles=[role], tenant=tenant) as status,
        watch(status, payment.payment_id) as responses,
    ):
        if sees:
            assert (await header(responses)).current_revision == 1
        else:
            refusal = await refused(anext(responses))
            assert (refusal.code, refusal.reason) == ("NOT_FOUND", "PAYMENT_NOT_FOUND")


async def test_an_unknown_payment_cannot_be_watched(status: StatusServiceStub) -> None:
    async with watch(status, new_payment_id()) as responses:
        assert (await refused(anext(responses))).reason == "PAYMENT_NOT_FOUND"


async def test_a_quiet_watch_says_that_it_lives(database: ServiceDatabase, issuer: Issuer) -> None:
    limits = StreamLimits(heartbeat_s=0.05)
    async with (
        running_replica(database.runtime_url, issuer=issuer, feed_limits=limits) as replica,
        replica.connect() as status,
    ):
        payment_id = (await status.OpenPayment(open_request())).payment.payment_id
        await move(status, payment_id, snapshot())
        async with watch(status, payment_id) as responses:
            await header(responses)
            for _ in range(3):
                assert (await anext(responses)).heartbeat.revision == 2
            await move(status, payment_id, snapshot("PROCESSING"), expected=2)
            assert await revisions(responses, upto=3) == [3]
            assert (await anext(responses)).heartbeat.revision == 3
        async with watch(status, payment_id, after_revision=1) as responses:
            await header(responses)
            assert (await revisions(responses, upto=3)) == [2, 3]


async def test_a_watch_that_reached_its_age_says_where_to_resume(database: ServiceDatabase, issuer: Issuer) -> None:
    limits = StreamLimits(stream_age_max_s=1.0)
    async with (
        running_replica(database.runtime_url, issuer=issuer, feed_limits=limits) as replica,
        replica.connect() as status,
    ):
        payment_id = (await status.OpenPayment(open_request())).payment.payment_id
        await move(status, payment_id, snapshot())
        async with watch(status, payment_id, after_revision=1) as responses:
            seen, refusal = await rest(responses)  # where the machine is busy it is too old before anything was sent

    assert refusal is not None
    assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "STREAM_TOO_OLD")
    assert refusal.metadata == {"resume_after_revision": str([1, *seen][-1])}


async def test_a_server_that_goes_away_says_where_to_resume(database: ServiceDatabase, issuer: Issuer) -> None:
    async with running_replica(database.runtime_url, issuer=issuer) as replica, replica.connect() as status:
        payment_id = (await status.OpenPayment(open_request())).payment.payment_id
        async with watch(status, payment_id) as idle, watch(status, payment_id, after_revision=0) as moved:
            await header(idle)
            await header(moved)
            await move(status, payment_id, snapshot())
            assert await revisions(idle, upto=2) == [2]
            assert await revisions(moved, upto=2) == [1, 2]
            ends = [asyncio.create_task(rest(idle)), asyncio.create_task(rest(moved))]
            async with asyncio.timeout(WITHIN_S):
                await replica.drain()
            for seen, refusal in await asyncio.gather(*ends):
                assert seen == []
                assert refusal is not None
                assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "SHUTTING_DOWN")
                assert refusal.metadata == {"resume_after_revision": "2"}


async def test_a_watch_ends_with_its_token(replica: Replica, payment: pb.Payment) -> None:
    almost_over = 1 - LEEWAY.total_seconds()
    async with (
        replica.connect("payer_1", roles=["payer"], life=timedelta(seconds=almost_over)) as status,
        watch(status, payment.payment_id) as responses,
    ):
        await header(responses)
        seen, refusal = await rest(responses)

    assert seen == []
    assert refusal is not None
    assert (refusal.code, refusal.reason) == ("UNAUTHENTICATED", "UNAUTHENTICATED")


async def test_a_caller_has_only_so_many_streams(database: ServiceDatabase, issuer: Issuer) -> None:
    limits = Limits(streams_per_caller_max=1)
    async with (
        running_replica(database.runtime_url, issuer=issuer, limits=limits) as replica,
        replica.connect() as status,
    ):
        payment_id = (await status.OpenPayment(open_request())).payment.payment_id
        async with watch(status, payment_id) as first, watch(status, payment_id) as second:
            await header(first)
            refusal = await refused(anext(second))

    assert (refusal.code, refusal.reason) == ("RESOURCE_EXHAUSTED", "TOO_MANY_STREAMS")
