"""WatchMany over a real channel: many payments on one stream, each as if it had a stream of its own."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from google.rpc import code_pb2
from grpc import aio

from batzen.status.v1 import status_pb2 as pb
from local.databases import ServiceDatabase
from local.issuer import Issuer
from services.runtime.rpc.identity import LEEWAY
from services.runtime.rpc.limits import Limits
from services.status.watches.send_queue import StreamLimits
from services.status.wire.requests import COMMANDS_MAX
from tests.status.conftest import Clock, Replica, StatusServiceStub, move, running_replica
from tests.status.samples import new_payment_id, open_request, refusal_of, snapshot
from tests.status.streaming import Command, add, drop, renew, watch_many
from tests.status.watching import SMALL_WINDOW

STEPS = [snapshot(attempt=attempt) for attempt in range(1, 300)]


async def opened(status: StatusServiceStub, count: int, **fields: object) -> list[str]:
    answers = [await status.OpenPayment(open_request(**fields)) for _ in range(count)]
    return [answer.payment.payment_id for answer in answers]


async def test_each_payment_begins_where_it_is_asked_to_and_goes_on(status: StatusServiceStub) -> None:
    fresh, behind, level = await opened(status, 3)
    await move(status, behind, *STEPS[:4])
    async with watch_many(status) as many:
        await many.say(add(fresh), add(behind, after_revision=2), add(level, after_revision=1))

        begun = await many.created(fresh)
        assert (begun.current_revision, begun.payment.payment_id, begun.payment.revision) == (1, fresh, 1)
        begun = await many.created(behind)
        assert (begun.current_revision, begun.HasField("payment")) == (5, False)
        assert (await many.created(level)).current_revision == 1
        assert await many.revisions(behind, upto=5) == [3, 4, 5]
        for payment_id, expected in ((level, 1), (fresh, 1), (behind, 5)):
            await move(status, payment_id, STEPS[10], expected=expected)
            assert await many.revisions(payment_id, upto=expected + 1) == [expected + 1]


async def test_what_is_carried_is_what_history_says(status: StatusServiceStub, payment: pb.Payment) -> None:
    await move(status, payment.payment_id, *STEPS[:250])
    carried = []
    async with watch_many(status) as many:
        await many.say(add(payment.payment_id, after_revision=0))
        await many.created(payment.payment_id)
        while not carried or carried[-1].revision < 251:
            carried.append((await many.event()).transition)

    stored = await status.ListTransitions(pb.ListTransitionsRequest(payment_id=payment.payment_id, page_size=500))
    assert carried == list(stored.transitions)


async def test_what_is_ready_together_comes_in_one_message(status: StatusServiceStub) -> None:
    payment_ids = await opened(status, 40)
    async with watch_many(status) as many:
        await many.say(*(add(payment_id) for payment_id in payment_ids))
        for payment_id in payment_ids:
            await many.created(payment_id)

    assert many.messages == 1


async def test_writers_and_a_caller_that_adds_and_drops_meet_without_a_gap(status: StatusServiceStub) -> None:
    payment_ids = await opened(status, 4)
    last = 60

    async def write(payment_id: str) -> None:
        await move(status, payment_id, *STEPS[: last - 1])

    async with watch_many(status) as many, asyncio.TaskGroup() as writing:
        seen = {payment_id: [0] for payment_id in payment_ids}
        for payment_id in payment_ids:
            writing.create_task(write(payment_id))
            await many.say(add(payment_id, after_revision=0))
        dropped: set[str] = set()
        while any(revisions[-1] < last for revisions in seen.values()):
            event = await many.event()
            match event.WhichOneof("event"):
                case "transition" if event.transition.payment_id not in dropped:
                    payment_id, revision = event.transition.payment_id, event.transition.revision
                    seen[payment_id].append(revision)
                    if revision % 7 == 0:
                        dropped.add(payment_id)
                        await many.say(drop(payment_id))
                case "canceled":
                    payment_id = event.canceled.payment_id
                    dropped.remove(payment_id)
                    assert event.canceled.resume_after_revision >= seen[payment_id][-1]
                    await many.say(add(payment_id, after_revision=seen[payment_id][-1]))

    assert all(revisions == list(range(last + 1)) for revisions in seen.values())


async def test_a_drop_is_answered_and_ends_what_comes(status: StatusServiceStub) -> None:
    dropped, kept = await opened(status, 2)
    async with watch_many(status) as many:
        await many.say(add(dropped), add(kept), drop(dropped), drop(new_payment_id()))
        await many.created(dropped)
        await many.created(kept)
        end = await many.canceled(dropped)
        assert (end.code, end.reason, end.resume_after_revision) == (code_pb2.OK, "", 1)

        await move(status, dropped, snapshot())
        await move(status, kept, snapshot())
        assert await many.revisions(kept, upto=2) == [2]


async def test_another_add_takes_the_place_of_a_watch(status: StatusServiceStub, payment: pb.Payment) -> None:
    await move(status, payment.payment_id, *STEPS[:3])
    async with watch_many(status) as many:
        await many.say(add(payment.payment_id))
        await many.created(payment.payment_id)
        await many.say(add(payment.payment_id, after_revision=1))
        assert (await many.canceled(payment.payment_id)).code == code_pb2.OK
        await many.created(payment.payment_id)
        assert await many.revisions(payment.payment_id, upto=4) == [2, 3, 4]

        await many.say(add(payment.payment_id, after_revision=4), add(payment.payment_id, after_revision=3))
        for _ in range(2):
            assert (await many.canceled(payment.payment_id)).reason == ""
            await many.created(payment.payment_id)
        assert await many.revisions(payment.payment_id, upto=4) == [4]


async def test_the_newest_alone_is_carried_where_that_is_wanted(status: StatusServiceStub) -> None:
    newest, every = await opened(status, 2)
    for payment_id in (newest, every):
        await move(status, payment_id, *STEPS[:120])
    async with watch_many(status) as many:
        await many.say(add(newest, after_revision=1, latest_only=True))
        await many.created(newest)
        assert await many.revisions(newest, upto=121) == [121]
        await many.say(add(every, after_revision=1))
        await many.created(every)
        assert await many.revisions(every, upto=121) == list(range(2, 122))


async def test_a_refused_add_closes_its_watch_and_nothing_else(status: StatusServiceStub, payment: pb.Payment) -> None:
    unknown = new_payment_id()
    async with watch_many(status) as many:
        await many.say(add(unknown), add("pay_1"), add(""), add(payment.payment_id, after_revision=9))
        ends = [(await many.event()).canceled for _ in range(4)]
        await many.say(add(payment.payment_id, after_revision=-1))
        ends.append(await many.canceled(payment.payment_id))
        await many.say(add(payment.payment_id))
        await many.created(payment.payment_id)

    reasons = {(end.payment_id, code_pb2.Code.Name(end.code), end.reason) for end in ends}
    assert reasons == {
        (unknown, "NOT_FOUND", "PAYMENT_NOT_FOUND"),
        ("pay_1", "INVALID_ARGUMENT", "FIELD_INVALID"),
        ("", "INVALID_ARGUMENT", "FIELD_MISSING"),
        (payment.payment_id, "OUT_OF_RANGE", "REVISION_AHEAD"),
        (payment.payment_id, "INVALID_ARGUMENT", "FIELD_INVALID"),
    }
    assert not any(end.HasField("resume_after_revision") for end in ends)
    metadata = {end.reason: dict(end.metadata) for end in ends}
    assert metadata["REVISION_AHEAD"] == {"field": "after_revision", "current_revision": "1"}
    assert metadata["FIELD_MISSING"] == {"field": "payment_id"}
    assert all(end.message for end in ends)


@pytest.mark.parametrize(
    ("commands", "field"),
    [([], "commands"), ([drop("x")] * (COMMANDS_MAX + 1), "commands"), ([drop("x"), Command()], "commands[1]")],
)
async def test_what_is_no_command_ends_the_stream(
    status: StatusServiceStub, commands: list[Command], field: str
) -> None:
    async with watch_many(status) as many:
        await many.say(*commands)
        with pytest.raises(aio.AioRpcError) as error:
            await many.call.read()

    refusal = refusal_of(error.value)
    assert (refusal.code, refusal.reason, refusal.field) == ("INVALID_ARGUMENT", "FIELD_INVALID", field)


async def test_watches_go_on_when_their_caller_has_said_all(status: StatusServiceStub, payment: pb.Payment) -> None:
    async with watch_many(status) as many:
        await many.say(add(payment.payment_id))
        await many.call.done_writing()
        await many.created(payment.payment_id)
        await move(status, payment.payment_id, snapshot())
        assert await many.revisions(payment.payment_id, upto=2) == [2]


async def test_a_stream_and_a_process_have_only_so_many_watches(database: ServiceDatabase, issuer: Issuer) -> None:
    limits = StreamLimits(watches_per_stream_max=2, watches_max=3)
    async with (
        running_replica(database.runtime_url, issuer=issuer, feed_limits=limits) as replica,
        replica.connect() as status,
        watch_many(status) as first,
        watch_many(status) as second,
    ):
        a, b, c = await opened(status, 3)
        await first.say(add(a), add(b), add(c))
        end = await first.canceled(c)
        assert (code_pb2.Code.Name(end.code), end.reason) == ("RESOURCE_EXHAUSTED", "TOO_MANY_WATCHES")
        assert dict(end.metadata) == {"max": "2"}
        await second.say(add(a), add(b))
        assert dict((await second.canceled(b)).metadata) == {"max": "3"}
        await second.created(a)

        for payment_id in (a, b):
            await first.created(payment_id)
        await first.say(drop(a), add(c))
        await first.canceled(a)
        await first.created(c)


async def test_a_payer_watches_no_more_than_its_own(replica: Replica, status: StatusServiceStub) -> None:
    (own,) = await opened(status, 1, payer_id="payer_9", seller_ids=["seller_9"])
    (others,) = await opened(status, 1)
    for subject, role in (("payer_9", "payer"), ("seller_9", "seller")):
        async with replica.connect(subject, roles=[role]) as caller, watch_many(caller) as many:
            await many.say(add(own), add(others))
            await many.created(own)
            assert (await many.canceled(others)).reason == "PAYMENT_NOT_FOUND"


async def test_an_assertion_narrows_a_watch_to_what_its_user_may_see(
    replica: Replica, status: StatusServiceStub
) -> None:
    (own,) = await opened(status, 1, payer_id="payer_9", seller_ids=["seller_9"])
    (others,) = await opened(status, 1)
    payer = replica.issuer.mint("payer_9", roles=["payer"])
    seller = replica.issuer.mint("seller_9", roles=["seller"])
    elsewhere = replica.issuer.mint("payer_9", roles=["payer"], tenant="elsewhere")
    nobody = replica.issuer.mint("payer_9", roles=[])
    async with replica.connect("bff") as bff, watch_many(bff) as many:
        for assertion in (payer, seller):
            await many.say(add(own, assertion=assertion), add(others, assertion=assertion))
            await many.created(own)
            assert (await many.canceled(others)).reason == "PAYMENT_NOT_FOUND"
            await many.say(drop(own))
            await many.canceled(own)
        for assertion, reason in (
            (elsewhere, "PERMISSION_DENIED"),
            (nobody, "PERMISSION_DENIED"),
            (payer[:-4], "UNAUTHENTICATED"),
            ("x", "UNAUTHENTICATED"),
        ):
            await many.say(add(own, assertion=assertion))
            canceled = await many.canceled(own)
            assert canceled.reason == reason
            if reason == "UNAUTHENTICATED":  # not the token of the stream, which is good
                assert canceled.message.startswith("`assertion`: The watch carries no valid assertion"), canceled

    async with replica.connect("payer_1", roles=["payer"]) as other, watch_many(other) as many:
        await many.say(add(own, assertion=payer))
        assert (await many.canceled(own)).reason == "PAYMENT_NOT_FOUND", "an assertion does not widen"


async def test_an_assertion_that_expires_ends_its_watches_unless_it_is_renewed(
    database: ServiceDatabase, issuer: Issuer
) -> None:
    now = Clock()
    async with (
        running_replica(
            database.runtime_url, issuer=issuer, feed_limits=StreamLimits(heartbeat_s=0.2), now=now
        ) as replica,
        replica.connect("bff") as bff,
        replica.connect() as status,
        watch_many(bff) as many,
    ):
        first, second, open_end = await opened(status, 3)
        minute, hour = timedelta(minutes=1), timedelta(hours=1)
        brief = {name: issuer.mint(name, roles=["payer", "service"], life=minute) for name in ("anna", "bert")}
        await many.say(add(first, assertion=brief["anna"]), add(second, assertion=brief["bert"]), add(open_end))
        for payment_id in (first, second, open_end):
            await many.created(payment_id)
        await many.say(renew("nonsense"), renew(issuer.mint("anna", roles=["payer", "service"], life=hour)))
        await move(status, open_end, snapshot())
        assert await many.revisions(open_end, upto=2) == [2]

        now.pass_by(minute + LEEWAY)
        end = await many.canceled(second)
        assert (end.reason, end.resume_after_revision) == ("UNAUTHENTICATED", 1)
        assert end.message == "The watch carries no valid assertion of its person. It has expired."
        await move(status, first, snapshot())
        assert await many.revisions(first, upto=2) == [2]


async def test_a_renewed_assertion_that_reaches_less_ends_what_it_does_not_reach(
    replica: Replica, status: StatusServiceStub
) -> None:
    (own,) = await opened(status, 1, payer_id="anna", seller_ids=["shop"])
    (sold,) = await opened(status, 1, payer_id="bert", seller_ids=["anna"])
    wide = replica.issuer.mint("anna", roles=["payer", "seller"], life=timedelta(minutes=1))
    narrow = replica.issuer.mint("anna", roles=["payer"], life=timedelta(minutes=2))
    async with replica.connect("bff") as bff, watch_many(bff) as many:
        await many.say(add(own, assertion=wide), add(sold, assertion=wide))
        await many.created(own)
        await many.created(sold)
        await many.say(renew(narrow))
        assert (await many.canceled(sold)).reason == "PAYMENT_NOT_FOUND"
        await move(status, own, snapshot())
        assert await many.revisions(own, upto=2) == [2]


async def test_a_watch_that_ends_before_it_begins_is_answered_once_and_leaves_the_stream_alone(
    replica: Replica, status: StatusServiceStub
) -> None:
    (own,) = await opened(status, 1, payer_id="anna", seller_ids=["shop"])
    (sold,) = await opened(status, 1, payer_id="bert", seller_ids=["anna"])
    buyer = replica.issuer.mint("anna", roles=["payer"], life=timedelta(minutes=1))
    seller = replica.issuer.mint("anna", roles=["seller"], life=timedelta(minutes=2))
    async with replica.connect("bff") as bff, watch_many(bff) as many:
        await many.say(add(own, assertion=buyer), add(sold, assertion=seller))
        assert (await many.canceled(own)).reason == "PAYMENT_NOT_FOUND", "the newer assertion does not reach it"
        await many.created(sold)
        await move(status, sold, snapshot())
        assert await many.revisions(sold, upto=2) == [2]


async def test_a_quiet_stream_says_that_it_lives(database: ServiceDatabase, issuer: Issuer) -> None:
    limits = StreamLimits(heartbeat_s=0.05)
    async with (
        running_replica(database.runtime_url, issuer=issuer, feed_limits=limits) as replica,
        replica.connect() as status,
        watch_many(status) as many,
    ):
        for _ in range(3):
            assert (await many.event(heartbeats=True)).WhichOneof("event") == "heartbeat"


@pytest.mark.parametrize(
    ("limits", "reason"), [(StreamLimits(stream_age_max_s=1.0), "STREAM_TOO_OLD"), (StreamLimits(), "SHUTTING_DOWN")]
)
async def test_a_stream_that_has_to_end_says_why(
    database: ServiceDatabase, issuer: Issuer, limits: StreamLimits, reason: str
) -> None:
    async with (
        running_replica(database.runtime_url, issuer=issuer, feed_limits=limits) as replica,
        replica.connect() as status,
    ):
        (payment_id,) = await opened(status, 1)
        async with watch_many(status) as many:
            await many.say(add(payment_id))
            if reason == "SHUTTING_DOWN":  # the other may be too old before it has said anything
                await many.created(payment_id)
                await replica.drain()
            with pytest.raises(aio.AioRpcError) as error:
                await many.end()

    refusal = refusal_of(error.value)
    assert (refusal.code, refusal.reason) == ("UNAVAILABLE", reason)


async def test_a_caller_has_only_so_many_streams_of_either_kind(database: ServiceDatabase, issuer: Issuer) -> None:
    async with (
        running_replica(database.runtime_url, issuer=issuer, limits=Limits(streams_per_caller_max=1)) as replica,
        replica.connect() as status,
        watch_many(status) as first,
    ):
        (payment_id,) = await opened(status, 1)
        await first.say(add(payment_id))
        await first.created(payment_id)
        async with watch_many(status) as second:
            with pytest.raises(aio.AioRpcError) as error:
                await second.call.read()

    assert refusal_of(error.value).reason == "TOO_MANY_STREAMS"


async def test_a_slow_reader_of_many_payments_gets_all_of_each(database: ServiceDatabase, issuer: Issuer) -> None:
    limits = StreamLimits(queue_max=3, queue_bytes_max=40_000, message_bytes_max=20_000)
    async with (
        running_replica(database.runtime_url, issuer=issuer, feed_limits=limits) as replica,
        replica.connect() as status,
        replica.connect("slow", options=SMALL_WINDOW) as slow,
        watch_many(slow) as many,
    ):
        payment_ids = await opened(status, 5)
        await many.say(*(add(payment_id) for payment_id in payment_ids))
        for payment_id in payment_ids:
            await many.created(payment_id)
        large = [snapshot(attempt=attempt, reason="x" * 9_000) for attempt in range(1, 20)]
        await asyncio.gather(*(move(status, payment_id, *large) for payment_id in payment_ids))

        seen: dict[str, list[int]] = {payment_id: [1] for payment_id in payment_ids}
        while any(revisions[-1] < 20 for revisions in seen.values()):
            event = await many.event()
            seen[event.transition.payment_id].append(event.transition.revision)

    assert all(revisions == list(range(1, 21)) for revisions in seen.values())


async def test_commands_wait_for_a_caller_that_does_not_read_what_comes_of_them(
    database: ServiceDatabase, issuer: Issuer
) -> None:
    limits = StreamLimits(queue_bytes_max=10_000, message_bytes_max=20_000)
    async with (
        running_replica(database.runtime_url, issuer=issuer, feed_limits=limits) as replica,
        replica.connect() as status,
        replica.connect("slow", options=SMALL_WINDOW) as slow,
        watch_many(slow) as many,
    ):
        payment_ids = await opened(status, 20, labels={"note": "x" * 500})
        for _ in range(15):
            await many.say(*map(add, payment_ids))
        await many.say(drop(payment_ids[0]))

        for payment_id in payment_ids:
            await many.created(payment_id)
        for _ in range(14):
            for payment_id in payment_ids:
                await many.canceled(payment_id)
            for payment_id in payment_ids:
                await many.created(payment_id)
        await many.canceled(payment_ids[0])
