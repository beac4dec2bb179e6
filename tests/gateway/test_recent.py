"""A process starts a call on what it saved last without reading it, and never on what has moved since."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import asyncpg
import pytest
from grpc import StatusCode, aio

from batzen.gateway.v1 import intents_pb2, payer_pb2
from local.databases import ServiceDatabase
from services.errors import DependencyUnavailable
from services.gateway.mirror.payment import MirroredPayment
from services.gateway.mirror.recent import RecentPayments
from services.runtime.database.connections import DirectConnections, plain_dsn
from services.runtime.work.loops import failure_counts
from tests.gateway.conftest import Gateway, Sink
from tests.gateway.receiving import event_of, receiving
from tests.gateway.samples import AMOUNT_MINOR, REQUIRES_ACTION, SUCCEEDED, Payments, new_id, reason_of, refusal
from tests.gateway.stubs import GatewayStubs


@pytest.fixture
async def other(start_gateway: Callable[[], Any]) -> AsyncIterator[GatewayStubs]:
    """Another replica on the same database."""
    async with start_gateway() as running, running.connect() as stub:
        yield stub


@contextmanager
def counted(replica: Gateway, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str | None]]:
    """Collect the points of the statements that are made inside, each of which commits by itself.

    Not those of loops: the engine has its own here, and other tests' services theirs.
    """
    made: list[str | None] = []
    statement = DirectConnections.statement
    with monkeypatch.context() as patch:

        def counting(self: DirectConnections, point: str | None) -> Any:
            task = asyncio.current_task()
            assert task is not None
            if self is replica.parts.connections and task.get_name() not in failure_counts():
                made.append(point)
            return statement(self, point)

        patch.setattr(DirectConnections, "statement", counting)
        yield made


def known_payer() -> payer_pb2.Payer:
    return payer_pb2.Payer(payer_id=new_id("payer"), email="payer@example.org", name="Ada")


async def test_a_payment_takes_five_statements_and_three_more_for_a_new_payer(
    replica: Gateway, gateway: GatewayStubs, payments: Payments, monkeypatch: pytest.MonkeyPatch
) -> None:
    payer = known_payer()
    await payments.created(payer=payer)  # the seller's account is known from here on

    with counted(replica, monkeypatch) as made:
        payment_id = await payments.created(payer=payer)
        assert made == ["intent.create.start", "intent.create.record"]
        made.clear()
        await gateway.ConfirmIntent(payments.confirm_request(payment_id))
        assert made == ["intent.confirm.start", "intent.confirm.record"]
        made.clear()
        (paid,) = await payments.intents(payment_id)
        async with receiving(replica.parts.inbox, clock=replica.parts.clock) as sender:
            await sender.send(event_of(paid, "payment_intent.succeeded", at=replica.parts.clock.now()))
        assert made == ["webhook.store"]
        made.clear()
        await payments.created(payer=known_payer())
        assert made[:3] == ["personal.key", "customer.begin", "customer.create.record"]
        assert len(made) == 5


async def test_a_refund_and_a_cancel_start_at_once_too(
    replica: Gateway, gateway: GatewayStubs, payments: Payments, monkeypatch: pytest.MonkeyPatch
) -> None:
    paid, created = await payments.paid(), await payments.created()

    with counted(replica, monkeypatch) as made:
        await gateway.CreateRefund(payments.refund_request(paid, 100))
        await gateway.CancelIntent(payments.cancel_request(created))

    refund = ["payment.read", "refund.create.start", "refund.create.record"]
    assert made == [*refund, "intent.cancel.start", "intent.cancel.record"]


async def test_what_another_process_did_is_seen_before_anything_is_asked_of_stripe(
    gateway: GatewayStubs, other: GatewayStubs, payments: Payments
) -> None:
    payment_id = await payments.paid()
    await other.CreateRefund(payments.refund_request(payment_id, AMOUNT_MINOR))

    again = payments.refund_request(payment_id, AMOUNT_MINOR)  # as the copy here would allow
    assert await refusal(gateway.CreateRefund(again)) == (StatusCode.FAILED_PRECONDITION, "REFUNDABLE_CHANGED")


async def test_confirms_at_once_in_two_processes_that_both_know_the_payment_charge_once(
    gateway: GatewayStubs, other: GatewayStubs, payments: Payments
) -> None:
    payment_id = await payments.created()
    for each in (other, gateway):  # both have saved it last at some time
        await each.SyncIntent(intents_pb2.SyncIntentRequest(payment_id=payment_id))

    async def confirm(stub: GatewayStubs) -> str:
        try:
            await stub.ConfirmIntent(payments.confirm_request(payment_id))
        except aio.AioRpcError as refused:
            return reason_of(refused)
        return "paid"

    outcomes = await asyncio.gather(*(confirm(stub) for stub in (gateway, other, gateway, other)))

    assert sorted(outcomes) == ["INTENT_STATE", "INTENT_STATE", "INTENT_STATE", "paid"]
    assert len(await payments.charges(payment_id)) == 1


async def test_a_repeat_under_a_known_payment_is_answered_and_makes_no_second_call(
    gateway: GatewayStubs, payments: Payments
) -> None:
    payment_id = await payments.paid()
    request = payments.refund_request(payment_id, 100)
    first = await gateway.CreateRefund(request)

    assert await gateway.CreateRefund(request) == first
    assert await refusal(
        gateway.CreateRefund(payments.refund_request(payment_id, 200, request_id=request.request_id))
    ) == (
        StatusCode.ALREADY_EXISTS,
        "REQUEST_ID_REUSED",
    )


async def test_a_request_of_another_payment_starts_none(gateway: GatewayStubs, payments: Payments) -> None:
    first = payments.create_request()
    await gateway.CreateIntent(first)
    second = payments.create_request(request_id=first.request_id)

    assert (await refusal(gateway.CreateIntent(second)))[1] == "REQUEST_ID_REUSED"
    assert await payments.intents(second.payment_id) == []


async def test_a_payment_that_a_restore_took_back_is_read(
    gateway: GatewayStubs, payments: Payments, database: ServiceDatabase
) -> None:
    """What the copy says of a refund was lost with the last commits; the row has an earlier fence."""
    payment_id = await payments.paid()
    async with owning(database) as connection:
        before = await snapshot(connection, payment_id)
        await gateway.CreateRefund(payments.refund_request(payment_id, 400))
        await restore(connection, payment_id, before)

    stale = payments.refund_request(payment_id, 100, expected_minor=AMOUNT_MINOR - 400)
    assert (await refusal(gateway.CreateRefund(stale)))[1] == "REFUNDABLE_CHANGED"


async def test_an_event_about_what_a_restore_took_back_is_worked_on(
    replica: Gateway, gateway: GatewayStubs, payments: Payments, database: ServiceDatabase, delivered: Sink
) -> None:
    payment_id = await payments.created()
    async with owning(database) as connection:
        before = await snapshot(connection, payment_id)
        await gateway.ConfirmIntent(payments.confirm_request(payment_id))
        await restore(connection, payment_id, before)

    (paid,) = await payments.intents(payment_id)
    async with receiving(replica.parts.inbox, clock=replica.parts.clock) as sender:
        await sender.send(event_of(paid, "payment_intent.succeeded", at=replica.parts.clock.now()))

    await delivered.hears(payment_id, lambda seen: seen.intent_state == SUCCEEDED)


async def test_an_event_about_what_a_restore_took_back_is_worked_on_though_another_process_held_the_payment_since(
    replica: Gateway,
    other: GatewayStubs,
    payments: Payments,
    database: ServiceDatabase,
    delivered: Sink,
) -> None:
    """Whoever held it left a newer fence, and had read nothing at Stripe."""
    payment_id = await payments.created()
    async with owning(database) as connection:
        before = await snapshot(connection, payment_id)
        await payments.gateway.ConfirmIntent(payments.confirm_request(payment_id))
        await restore(connection, payment_id, before)
    assert (await refusal(other.CancelIntent(payments.cancel_request(payment_id, attempt=2))))[1] == "INTENT_NOT_FOUND"

    (paid,) = await payments.intents(payment_id)
    async with receiving(replica.parts.inbox, clock=replica.parts.clock) as sender:
        await sender.send(event_of(paid, "payment_intent.succeeded", at=replica.parts.clock.now()))

    await delivered.hears(payment_id, lambda seen: seen.intent_state == SUCCEEDED)


async def test_an_event_that_says_again_what_was_true_before_another_process_moved_the_payment_is_worked_on(
    replica: Gateway,
    other: GatewayStubs,
    payments: Payments,
    delivered: Sink,
) -> None:
    """The payer fails to authenticate the same card twice: the copy is of the first time, the row of the second try."""
    payment_id = await payments.created()
    await payments.gateway.ConfirmIntent(payments.confirm_request(payment_id, "threeDSecure2Required"))
    failed = await payments.stripe.authenticate(await payments.intent_id(payment_id), succeed=False)
    await payments.synced(payment_id)
    card = failed["last_payment_error"]["payment_method"]["id"]
    again = payments.confirm_request(payment_id, payment_method_id=card)
    assert (await other.ConfirmIntent(again)).observation.intent_state == REQUIRES_ACTION

    shown = await payments.stripe.authenticate(await payments.intent_id(payment_id), succeed=False)
    async with receiving(replica.parts.inbox, clock=replica.parts.clock) as sender:
        await sender.send(event_of(shown, "payment_intent.payment_failed", at=replica.parts.clock.now()))

    await delivered.hears(payment_id, lambda seen: seen.decline_count == 2)


async def test_an_event_is_not_done_on_the_word_of_a_payment_that_somebody_works_on(
    replica: Gateway, payments: Payments
) -> None:
    """What they saw at Stripe may be older than the event, and they are about to save it."""
    payment_id, parts = await payments.paid(), replica.parts
    (paid,) = await payments.intents(payment_id)
    held = await parts.store.take("main", payment_id)
    assert held is not None
    async with parts.store.leases.holding(held), receiving(parts.inbox, clock=parts.clock) as sender:
        event = event_of(paid, "payment_intent.succeeded", at=parts.clock.now())
        assert await sender.send(event) == "ACCEPTED"
        await parts.store.save(held, point="test.release", now=parts.clock.now(), release=True)
        again = event_of(paid, "payment_intent.succeeded", at=parts.clock.now())
        assert await sender.send(again) == "ALREADY_APPLIED"


@pytest.mark.parametrize("point", ["intent.create.start", "intent.confirm.start", "refund.create.start"])
async def test_a_start_that_committed_and_said_nothing_has_its_effect_once(
    gateway: GatewayStubs, payments: Payments, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    """The call is held under a lease that nobody here knows of; it ends, and whoever comes then carries the call on."""
    call = {
        "intent.create.start": lambda: gateway.CreateIntent(creating),
        "intent.confirm.start": lambda: gateway.ConfirmIntent(confirming),
        "refund.create.start": lambda: gateway.CreateRefund(refunding),
    }[point]
    creating = payments.create_request()
    if point != "intent.create.start":
        await gateway.CreateIntent(creating)
    confirming = payments.confirm_request(creating.payment_id)
    if point == "refund.create.start":
        await gateway.ConfirmIntent(confirming)
    refunding = payments.refund_request(creating.payment_id, 4_000)

    with silent_once(monkeypatch, point) as broken:
        answer = await call()  # sent again by the channel

    assert broken == [point]
    assert answer.observation.mirror_version
    assert len(await payments.intents(creating.payment_id)) == 1
    assert len(await payments.charges(creating.payment_id)) == (point != "intent.create.start")
    assert len(await payments.refunds(creating.payment_id)) == (point == "refund.create.start")
    assert not answer.observation.outcome_unknown


@contextmanager
def silent_once(monkeypatch: pytest.MonkeyPatch, lost: str) -> Iterator[list[str]]:
    """Have the connection break once after the statement of a point was committed; that is in the list then."""
    statement, broken = DirectConnections.statement, list[str]()
    with monkeypatch.context() as patch:

        @asynccontextmanager
        async def breaking(self: DirectConnections, point: str | None) -> AsyncIterator[asyncpg.Connection]:
            async with statement(self, point) as connection:
                yield connection
            if point == lost and not broken:
                broken.append(point)
                raise DependencyUnavailable(dependency="database")

        patch.setattr(DirectConnections, "statement", breaking)
        yield broken


@asynccontextmanager
async def owning(database: ServiceDatabase) -> AsyncIterator[asyncpg.Connection]:
    """The database, as only its owner may put it back: the service never takes an entry out of the ledger."""
    connection = await asyncpg.connect(plain_dsn(database.owner_url))
    yield connection
    await connection.close()


async def snapshot(connection: asyncpg.Connection, payment_id: str) -> dict[str, list[asyncpg.Record]]:
    """Return the rows of a payment."""
    return {
        table: await connection.fetch(f"SELECT * FROM {table} WHERE payment_id = $1", payment_id)
        for table in ("payments", "intents", "refunds", "looks", "ledger_entries")
    }


async def restore(connection: asyncpg.Connection, payment_id: str, rows: dict[str, list[asyncpg.Record]]) -> None:
    """Put the rows of a payment back to what they were, as a database does that lost its last commits."""
    async with connection.transaction():
        await connection.execute("DELETE FROM calls WHERE subject_id = $1 AND state <> 'ANSWERED'", payment_id)
        for table, kept in rows.items():
            await connection.execute(f"DELETE FROM {table} WHERE payment_id = $1", payment_id)
            for row in kept:
                places = ", ".join(f"${number}" for number in range(1, len(row) + 1))
                await connection.execute(f"INSERT INTO {table} VALUES ({places})", *row.values())


def test_the_copies_are_bounded_and_found_by_stripes_ids() -> None:
    recent = RecentPayments(size_max=2)
    for number in range(3):
        recent.put(a_payment(f"pay_{number}"), fence=number)

    assert recent.get(("main", "pay_0")) is None
    kept = recent.get(("main", "pay_2"))
    assert kept is not None
    assert kept.fence == 2
    kept.intents.clear()
    again = recent.get(("main", "pay_2"))
    assert again is not None
    assert again.fence == 2
    recent.forget(("main", "pay_2"))
    assert recent.get(("main", "pay_2")) is None


def a_payment(payment_id: str) -> MirroredPayment:
    return MirroredPayment.new("main", payment_id, payer_id="payer", seller_id="seller", currency_code="CHF")
