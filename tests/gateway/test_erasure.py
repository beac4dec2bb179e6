"""A payer is erased: nothing readable is left, at Stripe neither; the books stay, and who comes back begins anew."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest
from grpc import StatusCode
from typer.testing import CliRunner

from batzen.cli.app import app
from batzen.gateway.v1 import ops_pb2 as pb
from batzen.gateway.v1 import payer_pb2, payment_methods_pb2
from batzen.gateway.v1.ops_pb2_grpc import GatewayOpsServiceStub
from local.databases import ServiceDatabase
from sandbox.control import SandboxControl
from sandbox.faults import Kind
from services.gateway.call_log.engine import Calls
from services.gateway.erasure.delete_customer import DeleteCustomer
from services.gateway.erasure.erasing import Erasing
from services.gateway.payment_methods.store import MethodStore
from services.gateway.personal.metrics import KeyMetrics
from services.runtime.database.connections import plain_dsn
from services.runtime.database.lease import LEASE
from services.runtime.observability.metrics import Meter
from services.runtime.rpc import call_context
from tests.clock import Clock
from tests.eventually import eventually
from tests.gateway.conftest import TOKEN_LIFE, Gateway
from tests.gateway.receiving import Sender, event_of, receiving
from tests.gateway.samples import Payments, new_id, new_request_id, refused
from tests.gateway.stubs import GatewayStubs
from tests.gateway.test_checkout_crashes import Died, Life, Mortal, lives
from tests.metrics import Figures
from tests.personal import readable

NAME, EMAIL, HOLDER = "Zoë Plantederson", "zoe.planted@example.org", "Z PLANTEDERSON-CARD"
PLANTED = (NAME, EMAIL, HOLDER)
DELETE = "DELETE /v1/customers/{customer}"
What = pb.ErasePayerResponse


@pytest.fixture
async def ops(replica: Gateway) -> AsyncIterator[GatewayOpsServiceStub]:
    async with replica.connect_ops() as stub:
        yield stub


@pytest.fixture
async def owner(database: ServiceDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(plain_dsn(database.owner_url))
    yield connection
    await connection.close()


@pytest.fixture
async def sender(replica: Gateway) -> AsyncIterator[Sender]:
    async with receiving(replica.parts.inbox, clock=replica.parts.clock) as made:
        yield made


def zoe() -> payer_pb2.Payer:
    return payer_pb2.Payer(payer_id=new_id("payer"), email=EMAIL, name=NAME, locale="de-CH")


def erase_request(payer_id: str) -> pb.ErasePayerRequest:
    return pb.ErasePayerRequest(request_id=new_request_id(), payer_id=payer_id, actor_id="anna")


async def customers(stripe: SandboxControl, payer_id: str) -> list[dict[str, Any]]:
    return await stripe.objects("customer", **{"metadata.payer_id": payer_id})


async def opened(replica: Gateway, owner: asyncpg.Connection, event_id: str) -> bytes | None:
    """Return the body of an event, if anybody can read it."""
    row = await owner.fetchrow("SELECT event_id, holder, body FROM events WHERE event_id = $1", event_id)
    return await replica.parts.bodies.opened("main", row)


async def looked_at(owner: asyncpg.Connection, *subjects: str) -> None:
    """Wait until nothing is to be looked at of what Stripe reported of some objects: it would hold up an erasure."""
    due = "SELECT NOT EXISTS (SELECT FROM event_runs WHERE subject = ANY($1) AND due_time IS NOT NULL)"
    await eventually(lambda: owner.fetchval(due, subjects))


async def test_nothing_readable_is_left_of_an_erased_payer(  # noqa: PLR0917 fixtures
    replica: Gateway,
    ops: GatewayOpsServiceStub,
    owner: asyncpg.Connection,
    payments: Payments,
    stripe: SandboxControl,
    sender: Sender,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    payer, now = zoe(), replica.parts.clock.now()
    payment_id = await payments.paid(payer=payer)
    intent = (await payments.intents(payment_id))[0]
    (customer,) = await customers(stripe, payer.payer_id)
    person = {"billing_details": {"name": HOLDER, "email": EMAIL}, "customer": customer["id"]}
    charge = {"id": intent["latest_charge"], "object": "charge", "payment_intent": intent["id"], **person}
    late = new_id("pi")
    sent = [
        event_of({**intent, "latest_charge": charge, "receipt_email": EMAIL}, "payment_intent.succeeded", at=now),
        event_of(charge, "charge.succeeded", at=now),  # ignored
        event_of({**customer, "name": NAME}, "customer.created", at=now),  # ignored
        event_of({"id": late, "object": "payment_intent", **person}, "payment_intent.canceled", at=now),  # of nobody
        event_of(
            {"id": new_id("in"), "object": "invoice", **person}, "invoice.created", at=now
        ),  # of the customer alone
    ]
    for event in sent:
        await sender.send(event)
    bodies = {event["id"]: await opened(replica, owner, event["id"]) for event in sent}
    assert all(body is not None and EMAIL.encode() in body for body in bodies.values())
    assert await readable(owner, PLANTED) == []
    assert await readable(owner, [payer.payer_id]), "what is there is found"
    await looked_at(owner, intent["id"], charge["id"])

    answer = await ops.ErasePayer(erase_request(payer.payer_id))

    assert answer.done
    [kept, *_] = (await ops.ListOperatorActions(pb.ListOperatorActionsRequest(page_size=1))).actions
    assert (kept.method, payer.payer_id in kept.asked_json) == ("ErasePayer", True)
    assert {one.what for one in answer.kept} == {What.WHAT_ERASURE, What.WHAT_PAYMENTS, What.WHAT_AT_STRIPE}
    assert await customers(stripe, payer.payer_id) == []
    for event in sent:
        assert await opened(replica, owner, event["id"]) is None, event["type"]
    deleted = event_of({**customer, "name": NAME}, "customer.deleted", at=now)
    disputed = event_of(
        {"id": new_id("dp"), "object": "dispute", "payment_intent": intent["id"], "evidence": {"customer_name": NAME}},
        "charge.dispute.updated",
        at=now,
    )
    for event in (deleted, disputed):  # Stripe tells of the person afterwards, too
        await sender.send(event)
        assert await owner.fetchval("SELECT body = '' FROM events WHERE event_id = $1", event["id"])
    await eventually(
        lambda: owner.fetchval("SELECT state <> 'WAITING' FROM events WHERE event_id = $1", disputed["id"])
    )
    assert await readable(owner, PLANTED) == []
    logged = repr([(record.getMessage(), record.__dict__) for record in caplog.records])
    assert not [text for text in PLANTED if text in logged]
    assert (await payments.synced(payment_id)).amounts.captured_minor > 0
    row = await owner.fetchrow("SELECT * FROM personal_keys WHERE holder = 'payer/' || $1", payer.payer_id)
    assert (row["wrapped_key"], row["destroy_actor_id"]) == (None, "anna")


async def test_an_event_that_waits_when_its_payer_is_erased_is_read_again(  # noqa: PLR0917 fixtures
    replica: Gateway,
    ops: GatewayOpsServiceStub,
    owner: asyncpg.Connection,
    payments: Payments,
    stripe: SandboxControl,
    sender: Sender,
) -> None:
    payer = zoe()
    payment_id = await payments.paid(payer=payer)
    intent_id = await payments.intent_id(payment_id)
    [intent] = await payments.intents(payment_id)
    charge = {"id": intent["latest_charge"], "object": "charge", "payment_intent": intent_id}
    await sender.send(event := event_of(charge, "charge.expired", at=replica.parts.clock.now()))
    await eventually(lambda: owner.fetchval("SELECT state = 'DONE' FROM events WHERE event_id = $1", event["id"]))
    await looked_at(owner, intent_id, charge["id"])
    assert (await ops.ErasePayer(erase_request(payer.payer_id))).done
    refund = await stripe.refund(intent_id, amount=200)
    await owner.execute("UPDATE events SET state = 'WAITING' WHERE event_id = $1", event["id"])

    await sender.send(event_of(refund, "refund.created", at=replica.parts.clock.now()))

    await eventually(lambda: owner.fetchval("SELECT state = 'DONE' FROM events WHERE event_id = $1", event["id"]))
    assert (await payments.synced(payment_id)).amounts.refunded_minor == 200


async def open_attempt(payments: Payments, _stripe: SandboxControl, payer: payer_pb2.Payer) -> str:
    return await payments.created(payer=payer)


async def held(payments: Payments, _stripe: SandboxControl, payer: payer_pb2.Payer) -> str:
    return await payments.held(payer=payer)


async def disputed(payments: Payments, stripe: SandboxControl, payer: payer_pb2.Payer) -> str:
    payment_id = await payments.paid(payer=payer)
    await stripe.dispute(await payments.intent_id(payment_id))
    await payments.synced(payment_id)
    return payment_id


async def refund_pending(payments: Payments, stripe: SandboxControl, payer: payer_pb2.Payer) -> str:
    payment_id = await payments.paid(payer=payer)
    await stripe.fault(Kind.RESET, route="POST /v1/refunds", times=None, after=True)
    await payments.gateway.CreateRefund(payments.refund_request(payment_id, 100))
    return payment_id


@pytest.mark.parametrize("moving", [open_attempt, held, disputed, refund_pending])
async def test_a_payer_whose_money_is_moving_is_not_erased(
    ops: GatewayOpsServiceStub,
    payments: Payments,
    stripe: SandboxControl,
    owner: asyncpg.Connection,
    moving: Callable[[Payments, SandboxControl, payer_pb2.Payer], Awaitable[str]],
) -> None:
    payer = zoe()
    await payments.paid(payer=payer)
    payment_id = await moving(payments, stripe, payer)

    status, reason, _, metadata, *_ = await refused(ops.ErasePayer(erase_request(payer.payer_id)))

    await stripe.clear_faults()
    assert (status, reason) == (StatusCode.FAILED_PRECONDITION, "PAYER_HAS_OPEN_PAYMENTS")
    assert metadata["payment_ids"] == payment_id
    assert len(await customers(stripe, payer.payer_id)) == 1
    assert await owner.fetchval(
        "SELECT count(*) FROM personal_keys WHERE holder = 'payer/' || $1 AND destroy_time IS NULL", payer.payer_id
    )


async def test_an_event_that_waits_and_a_settlement_that_is_due_hold_up_an_erasure(
    ops: GatewayOpsServiceStub, payments: Payments, owner: asyncpg.Connection
) -> None:
    payer = zoe()
    payment_id = await payments.paid(payer=payer)
    await owner.execute(
        """INSERT INTO event_runs (tenant_id, subject, create_time, due_time)
           VALUES ('main', $1, now(), now() + interval '1 day')""",
        await payments.intent_id(payment_id),
    )
    _, reason, _, metadata, *_ = await refused(ops.ErasePayer(erase_request(payer.payer_id)))
    assert (reason, metadata["payment_ids"]) == ("PAYER_HAS_OPEN_PAYMENTS", payment_id)
    await owner.execute("UPDATE event_runs SET due_time = NULL, dead_time = now() WHERE due_time > now()")
    await owner.execute(
        """INSERT INTO settlements (tenant_id, payment_id, missing, seller_ids, due_time, create_time)
           VALUES ('main', $1, '', '{}', now() + interval '1 day', now())""",
        payment_id,
    )
    assert (await refused(ops.ErasePayer(erase_request(payer.payer_id))))[1] == "PAYER_HAS_OPEN_PAYMENTS"
    await owner.execute("DELETE FROM settlements WHERE payment_id = $1", payment_id)

    assert (await ops.ErasePayer(erase_request(payer.payer_id))).done


async def test_who_is_unknown_or_erased_is_erased(ops: GatewayOpsServiceStub, payments: Payments) -> None:
    unknown = await ops.ErasePayer(erase_request(new_id("payer")))
    assert unknown.done
    assert [one.what for one in unknown.kept] == [What.WHAT_ERASURE]
    payer = zoe()
    await payments.paid(payer=payer)
    request = erase_request(payer.payer_id)
    first = await ops.ErasePayer(request)

    assert await ops.ErasePayer(request) == first
    assert (await ops.ErasePayer(erase_request(payer.payer_id))).done
    request.actor_id = "bruno"
    assert (await refused(ops.ErasePayer(request)))[1] == "REQUEST_ID_REUSED"


async def test_an_operator_erases_from_the_command_line(replica: Gateway, payments: Payments) -> None:
    payer = zoe()
    await payments.paid(payer=payer)
    environment = {
        "BATZEN_TOKEN": replica.issuer.mint("anna", roles=["operator"], tenant="main", life=TOKEN_LIFE),
        "BATZEN_GATEWAY_ADDRESS": f"127.0.0.1:{replica.port}",
    }
    command = ["erase-payer", payer.payer_id, "--actor", "anna"]

    async def batzen(answer: str) -> tuple[int, str]:
        done = await asyncio.to_thread(CliRunner().invoke, app, command, env=environment, input=answer)
        return done.exit_code, done.output

    refused_code, asked = await batzen("n\n")
    assert (refused_code, "Nothing takes it back." in asked, "Erased" in asked) == (1, True, False)
    code, said = await batzen("y\n")
    assert (code, "Erased" in said, "kept" in said) == (0, True, True), said


@pytest.mark.parametrize("field", ["request_id", "payer_id", "actor_id"])
async def test_an_erasure_says_whom_and_who_decided(ops: GatewayOpsServiceStub, field: str) -> None:
    request = erase_request("payer_a")
    request.ClearField(field)  # type: ignore[arg-type]
    assert (await refused(ops.ErasePayer(request)))[2] == field


async def test_who_comes_back_gets_another_key_and_customer(
    ops: GatewayOpsServiceStub, payments: Payments, stripe: SandboxControl, owner: asyncpg.Connection
) -> None:
    payer = zoe()
    await payments.paid(payer=payer)
    (first,) = await customers(stripe, payer.payer_id)
    await ops.ErasePayer(erase_request(payer.payer_id))

    await payments.paid(payer=payer)

    (second,) = await customers(stripe, payer.payer_id)
    assert (second["name"], second["email"]) == (NAME, EMAIL)
    assert second["id"] != first["id"]
    keys = await owner.fetch(
        """SELECT generation, destroy_time IS NULL AS is_live FROM personal_keys
           WHERE holder = 'payer/' || $1 ORDER BY generation""",
        payer.payer_id,
    )
    assert [tuple(key) for key in keys] == [(1, False), (2, True)]


async def test_the_methods_a_payer_kept_are_forgotten(
    ops: GatewayOpsServiceStub, gateway: GatewayStubs, owner: asyncpg.Connection
) -> None:
    payer = zoe()
    await gateway.AttachPaymentMethod(
        payment_methods_pb2.AttachPaymentMethodRequest(
            request_id=new_request_id(), payer=payer, payment_method_id="pm_card_visa"
        )
    )
    answer = await ops.ErasePayer(erase_request(payer.payer_id))

    assert What.WHAT_CONSENTS in {one.what for one in answer.kept}
    listing = payment_methods_pb2.ListPaymentMethodsRequest(payer_id=payer.payer_id)
    assert not (await gateway.ListPaymentMethods(listing)).payment_methods
    rows = await owner.fetch("SELECT state, mirrored::text FROM payment_methods WHERE payer_id = $1", payer.payer_id)
    assert [(row["state"], "visa" in row["mirrored"]) for row in rows] == [("DETACHED", False)]


async def test_stripe_is_asked_until_the_customer_is_gone(  # noqa: PLR0917 fixtures
    replica: Gateway,
    ops: GatewayOpsServiceStub,
    payments: Payments,
    stripe: SandboxControl,
    owner: asyncpg.Connection,
    clock: Clock,
) -> None:
    payer = zoe()
    await payments.paid(payer=payer)
    await stripe.fault(Kind.SERVER_ERROR, route=DELETE, times=None, should_retry=False)
    request = erase_request(payer.payer_id)

    assert not (await ops.ErasePayer(request)).done

    assert await customers(stripe, payer.payer_id)
    await stripe.clear_faults()
    clock.advance(timedelta(minutes=10))

    async def is_over() -> bool:
        await replica.parts.work.once()
        return bool(
            await owner.fetchval("SELECT end_time IS NOT NULL FROM erasures WHERE request_id = $1", request.request_id)
        )

    await eventually(is_over)
    assert await customers(stripe, payer.payer_id) == []
    assert (await ops.ErasePayer(request)).done


async def test_a_customer_who_is_just_being_made_is_known_before_the_key_is_destroyed(
    ops: GatewayOpsServiceStub, gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    payer = zoe()
    await stripe.fault(Kind.RESET, route="POST /v1/customers", times=None, after=True)
    assert (await refused(gateway.CreateIntent(payments.create_request(payer=payer))))[1] == "STRIPE_UNAVAILABLE"
    assert (await refused(ops.ErasePayer(erase_request(payer.payer_id))))[1] == "STRIPE_UNAVAILABLE"
    await stripe.clear_faults()
    assert len(await customers(stripe, payer.payer_id)) == 1

    assert (await ops.ErasePayer(erase_request(payer.payer_id))).done

    assert await customers(stripe, payer.payer_id) == []


class MortalConnections:
    """Statements of a process that dies right before or after one."""

    def __init__(self, real: Any, life: Life) -> None:
        self._real = real
        self._life = life

    @asynccontextmanager
    async def statement(self, point: str | None) -> AsyncIterator[Any]:
        if point is None:
            async with self._real.statement(point) as connection:
                yield connection
            return
        self._life.reach(f"before {point}")
        async with self._real.statement(point) as connection:
            yield connection
        self._life.reach(f"after {point}")


def mortal_erasing(replica: Gateway, life: Life, meter: Meter) -> Erasing:
    parts = replica.parts
    held: Any = MortalConnections(parts.connections, life)
    provider: Any = SimpleNamespace(customers=Mortal(parts.provider.customers, life))
    payers = MethodStore(held, clock=parts.clock)
    calls = Calls(parts.call_store, [DeleteCustomer(provider, payers)], now=parts.clock.now)
    return Erasing(
        held,
        parts.store,
        calls,
        parts.customers,
        parts.methods,
        parts.keys,
        clock=parts.clock,
        metrics=KeyMetrics(meter),
    )


@pytest.mark.faults
async def test_it_ends_wherever_the_process_dies(  # noqa: PLR0917 fixtures
    replica: Gateway,
    ops: GatewayOpsServiceStub,
    payments: Payments,
    stripe: SandboxControl,
    owner: asyncpg.Connection,
    clock: Clock,
) -> None:
    places, meter = [], Meter()
    for number, life in enumerate(lives()):
        payer = zoe()
        await payments.paid(payer=payer)
        request = erase_request(payer.payer_id)
        with call_context.acting_for("main"):
            try:
                await mortal_erasing(replica, life, meter).erase(
                    "main", payer.payer_id, request_id=uuid.UUID(request.request_id), request_hash=b"", actor_id="anna"
                )
            except Died:
                places.append(life.place)
        clock.advance(LEASE + timedelta(seconds=10))
        is_begun = await owner.fetchval("SELECT count(*) FROM erasures WHERE request_id = $1", request.request_id)
        assert bool(is_begun) == bool(number), life.place  # the first place is before anything was written
        if is_begun:  # nobody repeats it

            async def is_over(request_id: str = request.request_id) -> bool:
                await replica.parts.work.once()
                return bool(
                    await owner.fetchval("SELECT end_time IS NOT NULL FROM erasures WHERE request_id = $1", request_id)
                )

            await eventually(is_over)
        else:
            assert len(await customers(stripe, payer.payer_id)) == 1
            assert (await ops.ErasePayer(request)).done
        assert await customers(stripe, payer.payer_id) == [], life.place
    steps = ("erase.begin", "delete", "customer.delete.record", "erase.empty", "erase.end")
    assert {f"after {step}" for step in steps} <= set(places)
    assert Figures.read(await meter.text()).of("batzen_personal_keys_total", outcome="destroyed") >= len(steps)
