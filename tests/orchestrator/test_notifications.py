"""Notifications are read by those whom they are for, once each and in order; nobody is told what they opted out of."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Generator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from grpc import aio

from batzen import errors
from batzen.client import Addresses, Client
from batzen.notifications import watch_notifications
from batzen.orchestrator.v1 import notifications_pb2 as pb
from batzen.orchestrator.v1 import ops_pb2
from batzen.orchestrator.v1.notifications_pb2_grpc import NotificationServiceStub
from local.databases import ServiceDatabase
from local.ports import free_ports
from services.orchestrator.facts.domain import Fact, FactKind, fact_id
from services.orchestrator.notifications.kinds import TELLINGS
from services.orchestrator.notifications.store import FORGET
from services.runtime.database.connections import DirectConnections, plain_dsn
from services.runtime.database.request_expiry import forget
from services.runtime.rpc.limits import Limits
from tests.eventually import eventually
from tests.orchestrator.conftest import Orchestrator
from tests.orchestrator.samples import Clock, new_id, new_payment_id
from tests.refusals import details_of

OTHERS = "NOT_FOUND", "NOTIFICATION_NOT_FOUND"
RECEIVED = "PAYMENT_RECEIVED"
MAIL, IN_APP = pb.NOTIFICATION_CHANNEL_MAIL, pb.NOTIFICATION_CHANNEL_IN_APP
PAYER, SELLER, OPERATOR = (
    pb.NOTIFICATION_RECIPIENT_PAYER,
    pb.NOTIFICATION_RECIPIENT_SELLER,
    pb.NOTIFICATION_RECIPIENT_OPERATOR,
)


def named(role: str) -> str:
    return f"{role}-{''.join(secrets.choice('abcdefghijkl') for _ in range(12))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A payer and a seller of the test's own, whom facts are told."""

    replica: Orchestrator
    payer_id: str
    seller_id: str

    async def tell(self, kind: FactKind = FactKind.PAYMENT_RECEIVED, *, times: int = 1, **changes: Any) -> list[Fact]:
        facts = []
        for _ in range(times):
            payment_id = new_payment_id()
            fields: dict[str, Any] = {
                "tenant_id": "main",
                "fact_id": fact_id(kind, payment_id),
                "kind": kind,
                "occur_time": self.replica.world.clock.now(),
                "payment_id": payment_id,
                "payer_id": self.payer_id,
                "seller_ids": (self.seller_id,),
                "values": {"amount_minor": "1250", "currency_code": "CHF"},
            }
            facts.append(Fact(**(fields | changes)))
        await self.replica.parts.facts.keep("main", facts)
        return facts


@pytest.fixture
def told(replica: Orchestrator) -> Told:
    return Told(replica=replica, payer_id=named("payer"), seller_id=named("seller"))


@pytest.fixture
async def as_payer(replica: Orchestrator, told: Told) -> AsyncIterator[NotificationServiceStub]:
    async with replica.connect_notifications(told.payer_id, roles=["payer"]) as stub:
        yield stub


@pytest.fixture
async def as_shop(replica: Orchestrator) -> AsyncIterator[NotificationServiceStub]:
    async with replica.connect_notifications("shop") as stub:
        yield stub


@pytest.fixture
async def as_operator(replica: Orchestrator) -> AsyncIterator[NotificationServiceStub]:
    async with replica.connect_notifications("anna", roles=["operator"]) as stub:
        yield stub


@pytest.fixture
async def rows(database: ServiceDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(plain_dsn(database.owner_url))
    yield connection
    await connection.close()


@contextmanager
def refusing(code: str, reason: str) -> Generator[None]:
    """The call inside is refused so."""
    with pytest.raises(aio.AioRpcError) as caught:
        yield
    assert (caught.value.code().name, details_of(caught.value).reason) == (code, reason)


def numbers(answer: pb.ListNotificationsResponse | pb.WatchNotificationsResponse) -> list[int]:
    return [int(one.notification_id) for one in answer.notifications]


def mark(number: int, **changes: Any) -> pb.MarkNotificationReadRequest:
    return pb.MarkNotificationReadRequest(request_id=new_id(), notification_id=str(number), **changes)


def mark_all(number: int, **changes: Any) -> pb.MarkAllNotificationsReadRequest:
    return pb.MarkAllNotificationsReadRequest(request_id=new_id(), up_to_notification_id=str(number), **changes)


def prefer(*which: tuple[str, Any, bool], **changes: Any) -> pb.SetNotificationPreferencesRequest:
    preferences = [pb.NotificationPreference(kind=kind, channel=by, opted_out=out) for kind, by, out in which]
    return pb.SetNotificationPreferencesRequest(request_id=new_id(), preferences=preferences, **changes)


async def test_a_payer_lists_marks_and_counts_what_they_were_told(
    told: Told, as_payer: NotificationServiceStub
) -> None:
    [fact] = await told.tell()
    await told.tell(FactKind.PAYMENT_REFUNDED, times=4)
    newest = await as_payer.ListNotifications(pb.ListNotificationsRequest(page_size=3))
    rest = await as_payer.ListNotifications(pb.ListNotificationsRequest(page_size=3, page_token=newest.next_page_token))
    assert (numbers(newest), numbers(rest), rest.next_page_token) == ([5, 4, 3], [2, 1], "")
    assert newest.unread_count == 5
    first = rest.notifications[-1]
    assert (first.kind, first.payment_id, first.recipient_id) == (RECEIVED, fact.payment_id, told.payer_id)
    assert (first.category, first.priority) == ("PAYMENT", pb.NOTIFICATION_PRIORITY_MEDIUM)
    assert (dict(first.values), first.recipient) == (dict(fact.values), PAYER)

    read = (await as_payer.MarkNotificationRead(mark(5))).notification
    again = (await as_payer.MarkNotificationRead(mark(5))).notification
    assert read.HasField("read_time")
    assert again.read_time == read.read_time
    assert (await as_payer.MarkAllNotificationsRead(mark_all(3))).unread_count == 1
    unread = await as_payer.ListNotifications(pb.ListNotificationsRequest(unread_only=True))
    assert (numbers(unread), unread.unread_count) == ([4], 1)
    with refusing("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID"):
        await as_payer.ListNotifications(
            pb.ListNotificationsRequest(page_token=newest.next_page_token, unread_only=True)
        )


async def test_each_has_their_own_and_no_others(
    told: Told,
    as_payer: NotificationServiceStub,
    as_shop: NotificationServiceStub,
    as_operator: NotificationServiceStub,
) -> None:
    await told.tell()
    stranger = pb.ListNotificationsRequest(recipient=PAYER, recipient_id=named("stranger"))
    assert len((await as_payer.ListNotifications(stranger)).notifications) == 1  # forced to their own
    with refusing("PERMISSION_DENIED", "PERMISSION_DENIED"):
        await as_payer.ListNotifications(pb.ListNotificationsRequest(recipient=SELLER))
    sold = pb.ListNotificationsRequest(recipient=SELLER, recipient_id=told.seller_id)
    for caller in (as_shop, as_operator):
        assert numbers(await caller.ListNotifications(sold)) == [1]
    async with told.replica.connect_notifications(told.seller_id, roles=["seller"]) as as_seller:
        assert numbers(await as_seller.ListNotifications(pb.ListNotificationsRequest())) == [1]
        with refusing(*OTHERS):
            await as_seller.MarkNotificationRead(mark(2))
    async with told.replica.connect_notifications(told.payer_id, roles=["payer", "seller"]) as as_both:
        with refusing("INVALID_ARGUMENT", "FIELD_MISSING"):
            await as_both.ListNotifications(pb.ListNotificationsRequest())
        assert numbers(await as_both.ListNotifications(pb.ListNotificationsRequest(recipient=PAYER))) == [1]
    async with told.replica.connect_notifications(told.payer_id, roles=["payer"], tenant="other") as elsewhere:
        assert numbers(await elsewhere.ListNotifications(pb.ListNotificationsRequest())) == []
        with refusing(*OTHERS):
            await elsewhere.MarkAllNotificationsRead(mark_all(1))


async def test_operators_read_all_and_change_what_is_theirs(
    told: Told, as_operator: NotificationServiceStub, as_shop: NotificationServiceStub
) -> None:
    [fact] = await told.tell(FactKind.TRANSFER_FAILED)
    own = await as_operator.ListNotifications(pb.ListNotificationsRequest(page_size=200))
    [one] = [one for one in own.notifications if one.payment_id == fact.payment_id]
    assert (one.recipient, one.recipient_id) == (OPERATOR, "")
    assert (await as_operator.MarkNotificationRead(mark(int(one.notification_id)))).notification.HasField("read_time")
    with refusing("PERMISSION_DENIED", "PERMISSION_DENIED"):
        await as_operator.MarkNotificationRead(mark(1, recipient=SELLER, recipient_id=told.seller_id))
    for wrong in (
        pb.ListNotificationsRequest(),
        pb.ListNotificationsRequest(recipient=PAYER),
    ):
        with refusing("INVALID_ARGUMENT", "FIELD_MISSING"):
            await as_shop.ListNotifications(wrong)
    with refusing("INVALID_ARGUMENT", "FIELD_INVALID"):
        await as_shop.ListNotifications(pb.ListNotificationsRequest(recipient=OPERATOR, recipient_id="anna"))


async def test_a_kind_of_a_later_release_is_listed_and_a_number_without_end_is_refused(
    told: Told, as_payer: NotificationServiceStub, rows: asyncpg.Connection
) -> None:
    await told.tell(times=2)
    await rows.execute(
        "UPDATE notifications SET kind = 'OF_TOMORROW' WHERE recipient_id = $1 AND number = 1", told.payer_id
    )
    newer, older = (await as_payer.ListNotifications(pb.ListNotificationsRequest())).notifications
    assert [(one.kind, one.category) for one in (newer, older)] == [(RECEIVED, "PAYMENT"), ("OF_TOMORROW", "")]
    endless = pb.MarkNotificationReadRequest(request_id=new_id(), notification_id="9" * 5_000)
    with refusing("INVALID_ARGUMENT", "FIELD_INVALID"):
        await as_payer.MarkNotificationRead(endless)


async def test_what_somebody_opted_out_of_is_not_told_by_that_channel(
    told: Told, as_payer: NotificationServiceStub, rows: asyncpg.Connection
) -> None:
    async def mails() -> int:
        return int(await rows.fetchval("SELECT count(*) FROM mails WHERE recipient_id = $1", told.payer_id))

    await as_payer.SetNotificationPreferences(prefer((RECEIVED, MAIL, True)))
    await told.tell()
    assert (numbers(await as_payer.ListNotifications(pb.ListNotificationsRequest())), await mails()) == ([1], 0)
    answer = await as_payer.SetNotificationPreferences(prefer((RECEIVED, MAIL, False), (RECEIVED, IN_APP, True)))
    assert await as_payer.GetNotificationPreferences(pb.GetNotificationPreferencesRequest()) == (
        pb.GetNotificationPreferencesResponse(preferences=answer.preferences)
    )
    stands = {(one.kind, one.channel): (one.opted_out, one.mandatory) for one in answer.preferences}
    assert stands[RECEIVED, IN_APP] == (True, False)
    assert stands[RECEIVED, MAIL] == (False, False)
    assert stands["PAYMENT_REFUNDED", MAIL] == (False, True)
    await told.tell()
    assert (numbers(await as_payer.ListNotifications(pb.ListNotificationsRequest())), await mails()) == ([1], 1)


@pytest.mark.parametrize(
    ("which", "refusal"),
    [
        ([("PAYMENT_REFUNDED", MAIL, True)], ("FAILED_PRECONDITION", "NOTIFICATION_MANDATORY")),
        ([(RECEIVED, IN_APP, True), ("PAYMENT_FAILED", MAIL, True)], ("FAILED_PRECONDITION", "NOTIFICATION_MANDATORY")),
        ([("TRANSFER_FAILED", MAIL, True)], ("INVALID_ARGUMENT", "FIELD_INVALID")),
        ([("SOMETHING", MAIL, True)], ("INVALID_ARGUMENT", "FIELD_INVALID")),
        ([(RECEIVED, 0, True)], ("INVALID_ARGUMENT", "FIELD_INVALID")),
        ([(RECEIVED, MAIL, True), (RECEIVED, MAIL, False)], ("INVALID_ARGUMENT", "FIELD_INVALID")),
        ([], ("INVALID_ARGUMENT", "FIELD_MISSING")),
    ],
)
async def test_what_nobody_opts_out_of(
    as_payer: NotificationServiceStub, which: Sequence[tuple[str, Any, bool]], refusal: tuple[str, str]
) -> None:
    with refusing(*refusal):
        await as_payer.SetNotificationPreferences(prefer(*which))
    answer = await as_payer.GetNotificationPreferences(pb.GetNotificationPreferencesRequest())
    assert not [one for one in answer.preferences if one.opted_out]


async def test_a_tenant_says_how_it_tells(replica: Orchestrator, told: Told, rows: asyncpg.Connection) -> None:
    """Of another tenant: what `main` tells is told to other tests, too."""
    tenant_id = named("tenant")
    policy = pb.NotificationPolicy(
        switches=[
            pb.NotificationSwitch(kind=RECEIVED, recipient=SELLER, channels=[MAIL]),
            pb.NotificationSwitch(kind=RECEIVED, recipient=PAYER),
            pb.NotificationSwitch(kind="ATTENTION_RAISED", recipient=OPERATOR, channels=[MAIL]),
        ],
        operator_addresses=["ops@example.ch"],
        sender_name="Skischule Älplä",
        payment_url="https://shop.example/payments/{payment_id}",
        locale="de-CH",
        time_zone="Europe/Zurich",
        unsubscribe_url="https://shop.example/off?t={token}",
        address=["Dorfstrasse 1", "7500 St. Moritz"],
        vat_id="CHE-123.456.788 MWST",
    )
    put = pb.PutNotificationPolicyRequest(request_id=new_id(), policy=policy, actor_id="anna", reason="quieter")
    async with replica.connect_ops(tenant=tenant_id) as ops:
        first = await ops.PutNotificationPolicy(put)
        assert await ops.PutNotificationPolicy(put) == first
        with refusing("ALREADY_EXISTS", "REQUEST_ID_REUSED"):
            await ops.PutNotificationPolicy(
                pb.PutNotificationPolicyRequest(request_id=put.request_id, policy=policy, actor_id="bo", reason="other")
            )
        listed = await ops.ListNotificationPolicies(pb.ListNotificationPoliciesRequest(page_size=1))
        assert (listed.records[0], listed.records[0].policy) == (first.record, policy)
        assert len(listed.defaults) == len(TELLINGS)
        done = await ops.ListOperatorActions(ops_pb2.ListOperatorActionsRequest(page_size=1))
        assert (done.actions[0].method, done.actions[0].reason) == ("PutNotificationPolicy", "quieter")
        assert "ops@example.ch" not in str(done)
        with refusing("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID"):
            await ops.ListNotificationPolicies(pb.ListNotificationPoliciesRequest(page_token="none"))
    for kind in (FactKind.PAYMENT_RECEIVED, FactKind.ATTENTION_RAISED):
        payment_id = new_payment_id()
        fact = Fact(
            tenant_id=tenant_id,
            fact_id=fact_id(kind, payment_id),
            kind=kind,
            occur_time=replica.world.clock.now(),
            payment_id=payment_id,
            payer_id=told.payer_id,
            seller_ids=(told.seller_id,),
            values={"reason": "STUCK"},
        )
        await replica.parts.facts.keep(tenant_id, [fact])
    told_by = [
        tuple(row)
        for table in ("notifications", "mails")
        for row in await rows.fetch(
            f"SELECT '{table}', kind, recipient_kind FROM {table} WHERE tenant_id = $1",
            tenant_id,
        )
    ]
    assert sorted(told_by) == [("mails", "ATTENTION_RAISED", "OPERATOR"), ("mails", RECEIVED, "SELLER")]


@pytest.mark.parametrize(
    "wrong",
    [
        {"payment_url": "https://shop.example/payments"},
        {"payment_url": "http://shop.example/{payment_id}"},
        {"payment_url": "https://shop.example/{payment_id}/{other}"},
        {"operator_addresses": ["no address"]},
        {"sender_name": "Ski\r\nBcc: everybody@example.ch"},
        {"time_zone": "Europe/Nowhere"},
        {"time_zone": "../../etc/passwd"},
        {"locale": "no locale at all"},
        {"switches": [pb.NotificationSwitch(kind=RECEIVED, recipient=OPERATOR)]},
        {"unsubscribe_url": "https://shop.example/off"},
        {"address": ["a line"] * 7},
        {"address": ["Dorfstrasse 1\nTotal: CHF 0.00"]},
        {"vat_id": "CHE-1"},
        {"switches": [pb.NotificationSwitch(kind=RECEIVED, recipient=PAYER)] * 2},
    ],
)
async def test_a_policy_that_cannot_be_followed_is_refused(replica: Orchestrator, wrong: dict[str, Any]) -> None:
    async with replica.connect_ops(tenant="other") as ops:
        with refusing("INVALID_ARGUMENT", "FIELD_INVALID"):
            await ops.PutNotificationPolicy(
                pb.PutNotificationPolicyRequest(
                    request_id=new_id(), policy=pb.NotificationPolicy(**wrong), actor_id="anna", reason="why"
                )
            )


async def test_a_watch_goes_on_where_it_was_without_a_gap_or_a_repeat(
    told: Told, as_payer: NotificationServiceStub
) -> None:
    await told.tell(times=2)
    watch = as_payer.WatchNotifications(pb.WatchNotificationsRequest())
    begin = await watch.read()
    assert (numbers(begin), begin.after_notification_id) == ([], "2")
    await told.tell(times=3)
    seen: list[int] = []
    while len(seen) < 3:
        message = await watch.read()
        seen += numbers(message)
    assert (seen, message.after_notification_id) == ([3, 4, 5], "5")
    watch.cancel()
    await told.tell()
    resumed = as_payer.WatchNotifications(pb.WatchNotificationsRequest(after_notification_id="4"))
    assert (await resumed.read()).after_notification_id == "4"
    assert numbers(await resumed.read()) == [5, 6]
    resumed.cancel()
    ahead = as_payer.WatchNotifications(pb.WatchNotificationsRequest(after_notification_id="7"))
    with refusing("INVALID_ARGUMENT", "FIELD_INVALID"):
        await ahead.read()
    watches = told.replica.parts.telling.watches
    await eventually(lambda: watches.is_empty)


async def test_a_caller_has_only_so_many_watches(told: Told) -> None:
    limits = Limits(streams_per_caller_max=1)
    async with (
        told.replica.world.orchestrator(limits=limits) as replica,
        replica.connect_notifications(told.payer_id, roles=["payer"]) as stub,
    ):
        first = stub.WatchNotifications(pb.WatchNotificationsRequest())
        await first.read()
        with refusing("RESOURCE_EXHAUSTED", "TOO_MANY_STREAMS"):
            await stub.WatchNotifications(pb.WatchNotificationsRequest()).read()
        first.cancel()


async def test_many_who_tell_at_once_are_watched_in_order(told: Told, as_payer: NotificationServiceStub) -> None:
    """Numbers become visible in their order, whoever commits first."""
    watch = as_payer.WatchNotifications(pb.WatchNotificationsRequest(after_notification_id="0"))
    telling = asyncio.gather(*(told.tell(times=1 + place % 3) for place in range(24)))
    wanted = sum(1 + place % 3 for place in range(24))
    seen: list[int] = []
    while len(seen) < wanted:
        seen += numbers(await watch.read())
    await telling
    watch.cancel()
    assert seen == list(range(1, wanted + 1))


async def test_a_watch_hears_what_another_process_told(told: Told, as_payer: NotificationServiceStub) -> None:
    watch = as_payer.WatchNotifications(pb.WatchNotificationsRequest())
    await watch.read()
    async with told.replica.world.orchestrator() as other:
        await Told(replica=other, payer_id=told.payer_id, seller_id=told.seller_id).tell()
    assert numbers(await watch.read()) == [1]
    watch.cancel()


async def test_what_was_told_a_year_ago_is_forgotten(
    told: Told, held: DirectConnections, as_payer: NotificationServiceStub, clock: Clock
) -> None:
    await told.tell(times=2)
    await forget(held, FORGET, now=clock.now() + timedelta(days=364))
    assert numbers(await as_payer.ListNotifications(pb.ListNotificationsRequest())) == [2, 1]
    await forget(held, FORGET, now=clock.now() + timedelta(days=366))
    assert numbers(await as_payer.ListNotifications(pb.ListNotificationsRequest())) == []
    await told.tell()
    assert numbers(await as_payer.ListNotifications(pb.ListNotificationsRequest())) == [3]


@pytest.fixture
async def held(database: ServiceDatabase) -> AsyncIterator[DirectConnections]:
    async with DirectConnections(database.runtime_url, application_name="notification-tests", size=1) as held:
        yield held


async def test_a_client_follows_over_replicas_that_go(told: Told) -> None:
    """The second replica has the address of the first, which is gone with the stream."""
    await told.tell()
    request = pb.WatchNotificationsRequest(after_notification_id="0")
    world, address = told.replica.world, f"127.0.0.1:{free_ports()['orchestrator']}"
    token = world.issuer.mint(told.payer_id, roles=["payer"], tenant="main")
    async with (
        Client(token=token, addresses=Addresses(orchestrator=address)) as client,
        aclosing(watch_notifications(client.notifications, request, pause_first_s=0.01)) as coming,
    ):
        async with world.orchestrator(address=address):
            assert (await anext(coming)).notification_id == "1"
            await told.tell(times=2)
            assert (await anext(coming)).notification_id == "2"
        await told.tell()
        async with world.orchestrator(address=address):
            assert [(await anext(coming)).notification_id for _ in range(2)] == ["3", "4"]


async def test_a_client_hears_why_it_may_not_watch(told: Told) -> None:
    token = told.replica.world.issuer.mint(told.payer_id, roles=["payer"], tenant="main")
    address = f"127.0.0.1:{told.replica.port}"
    request = pb.WatchNotificationsRequest(recipient=SELLER)
    async with (
        Client(token=token, addresses=Addresses(orchestrator=address)) as client,
        aclosing(watch_notifications(client.notifications, request)) as coming,
    ):
        with pytest.raises(errors.PermissionDenied):
            await anext(coming)
