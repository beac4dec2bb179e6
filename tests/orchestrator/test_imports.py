"""Payments of a system before this one, taken over by all services: whole, once, untold; and refunded afterwards."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from typer.testing import CliRunner

from batzen.cli.app import app
from batzen.gateway.v1 import imports_pb2 as gateway_pb
from batzen.gateway.v1 import sellers_pb2
from batzen.gateway.v1.imports_pb2_grpc import ImportServiceStub
from batzen.imports import read_record
from batzen.orchestrator.v1 import imports_pb2 as pb
from batzen.orchestrator.v1 import ops_pb2
from batzen.orchestrator.v1.ops_pb2_grpc import OrchestratorOpsServiceStub
from batzen.status.v1 import status_pb2
from batzen.status.v1.status_pb2_grpc import StatusServiceStub
from batzen.type.v1 import payment_pb2
from services.errors import FieldInvalid
from services.orchestrator.booking_claims import BookingClaims
from services.orchestrator.imports.domain import (
    Contested,
    GivenBack,
    PaymentRecord,
    Step,
    refuse_unfinished,
    revisions,
)
from services.orchestrator.imports.importer import Imports
from services.orchestrator.imports.metrics import UNCOUNTED
from services.orchestrator.imports.store import ImportStore
from services.orchestrator.peers.imports import ImportPeers
from services.orchestrator.storage.booking_claims import BookingClaimStore
from services.orchestrator.wire.imports import payment_id_of
from services.runtime.database.connections import plain_dsn
from services.runtime.observability.metrics import Meter
from services.runtime.process.lifecycle import utc_now
from services.shared.split import Split
from services.shared.states import Cause, State
from services.status.domain.snapshot import Snapshot as StatusSnapshot
from services.status.domain.snapshot import legal_from
from tests.eventually import eventually
from tests.old_system import OldSystem, Record, invented, word
from tests.orchestrator.conftest import Journeys, Orchestrator, World
from tests.orchestrator.lives import Died, Life, Mortal, each_life
from tests.orchestrator.samples import chf, new_id, refund, refused, start, state_of

BEGAN = datetime(2024, 3, 5, 9, 30, tzinfo=UTC)
IMPORTED, UNCHANGED = gateway_pb.IMPORT_RESULT_IMPORTED, gateway_pb.IMPORT_RESULT_UNCHANGED
REFUSED = gateway_pb.IMPORT_RESULT_REFUSED
Outcome = pb.ImportRecordsResponse.Outcome


@pytest.fixture
async def ops(replica: Orchestrator) -> AsyncIterator[OrchestratorOpsServiceStub]:
    async with replica.connect_ops() as stub:
        yield stub


@pytest.fixture(scope="module")
async def old(world: World) -> AsyncIterator[OldSystem]:
    async with OldSystem(world.stripe.base_url, world.stripe_key) as system:
        yield system


def old_payment(number: int = 3, **fields: Any) -> Record:
    return {**invented(number, began=BEGAN, name=word("x").removeprefix("x_")), **fields}


async def take(ops: OrchestratorOpsServiceStub, *records: Record, dry_run: bool = False) -> list[Outcome]:
    request = pb.ImportRecordsRequest(records=map(read_record, records), dry_run=dry_run, actor_id="anna")
    return list((await ops.ImportRecords(request)).outcomes)


def said(outcomes: list[Outcome]) -> list[tuple[int, str, str]]:
    return [(one.result, one.problem.reason, one.problem.field) for one in outcomes]


def of_2024(record: Record) -> Record:
    """Return a record whose times are past for every clock of these tests."""
    return dict(json.loads(re.sub(r'"20\d\d-[^"]*Z"', '"2024-03-05T09:30:00Z"', json.dumps(record))))


async def test_what_was_paid_before_is_settled_history_and_is_refunded_here(
    ops: OrchestratorOpsServiceStub, journeys: Journeys, old: OldSystem, replica: Orchestrator
) -> None:
    request = sellers_pb2.PutSellerAccountRequest(
        request_id="0190a1b2-0000-7000-8000-00000000000a",
        seller_id=(seller_id := word("seller")),
        country_code="CH",
        email="seller@example.org",
    )
    account = (await journeys.gateway.PutSellerAccount(request)).account
    await journeys.stripe.enable_account(account.stripe_account_id, enabled=True)
    intent_id = await old.pay(account.stripe_account_id)
    await old.refund(intent_id, 4_000)
    await journeys.stripe.settle()
    record = of_2024(await old.record(intent_id, seller_id=seller_id))
    [outcome] = await take(ops, record)
    assert outcome.result == IMPORTED, outcome.problem
    payment = await journeys.payment(outcome.payment_id)
    assert (state_of(payment), payment.settled) == ("PARTIALLY_REFUNDED", True)
    assert payment.open_time.ToDatetime(UTC) == BEGAN
    before = await journeys.transitions(outcome.payment_id)
    assert [state_of(one) for one in before] == [
        "INITIALIZED", "REQUIRES_PAYMENT_METHOD", "PROCESSING", "SUCCEEDED", "PARTIALLY_REFUNDED",
    ]  # fmt: skip
    assert {one.snapshot.cause for one in before} == {payment_pb2.PaymentSnapshot.CAUSE_IMPORT}
    await journeys.deliver(await journeys.seen(outcome.payment_id))
    await replica.sweep()
    assert len(await journeys.transitions(outcome.payment_id)) == len(before)  # nothing is news of it

    asked = refund(outcome.payment_id, 6_000, expected_refundable=chf(6_000))
    refunded = await journeys.orchestrator.RefundPayment(asked)
    assert state_of(refunded.payment) == "REFUNDED"
    [given, *_] = await journeys.stripe.objects("refund", payment_intent=intent_id, amount=6_000)
    assert given["status"] == "succeeded"
    said: list[str] = []

    async def is_agreed() -> bool:
        """Whether all say the same: the gateway takes back by itself what a seller has of what was refunded."""
        request = ops_pb2.DiagnosePaymentRequest(payment_id=outcome.payment_id, with_stripe=True)
        found = (await ops.DiagnosePayment(request)).diagnosis.disagreements
        said[:] = [str(one) for one in found if not one.waits_for]
        return not said

    await eventually(is_agreed, what=lambda: "\n".join(said))


async def test_a_refund_of_what_stripe_never_had_is_refused_clearly(
    ops: OrchestratorOpsServiceStub, journeys: Journeys
) -> None:
    record = old_payment()
    [outcome] = await take(ops, record)
    asked = refund(outcome.payment_id, 100, expected_refundable=chf(record["total_minor"]))
    refusal = await refused(journeys.orchestrator.RefundPayment(asked))
    assert (refusal.reason, refusal.metadata["code"]) == ("REFUND_REFUSED", "resource_missing")
    assert state_of(await journeys.payment(outcome.payment_id)) == "SUCCEEDED"


async def test_nobody_is_told_of_what_was_imported(
    ops: OrchestratorOpsServiceStub, replica: Orchestrator, world: World
) -> None:
    paid, failed, back = old_payment(), old_payment(10), old_payment(1)
    outcomes = await take(ops, paid, failed, back)
    assert [one.result for one in outcomes] == [IMPORTED] * 3
    ids = [one.payment_id for one in outcomes]
    connection = await asyncpg.connect(plain_dsn(world.database_url))

    async def count(table: str) -> int:
        return int(await connection.fetchval(f"SELECT count(*) FROM {table} WHERE payment_id = ANY($1::text[])", ids))

    async def are_heard() -> bool:
        await replica.hear()
        return await count("followed_payments") == 3

    try:
        await eventually(are_heard)
        for table in ("facts", "notifications", "mails"):
            assert await count(table) == 0
    finally:
        await connection.close()


async def test_a_record_is_taken_over_once(ops: OrchestratorOpsServiceStub, journeys: Journeys) -> None:
    record = old_payment(1)
    rehearsed = await take(ops, record, dry_run=True)
    assert said(rehearsed) == [(IMPORTED, "", "")]
    request = status_pb2.GetPaymentRequest(payment_id=rehearsed[0].payment_id)
    assert (await refused(journeys.status.GetPayment(request))).reason == "PAYMENT_NOT_FOUND"
    first, again = await take(ops, record), await take(ops, record)
    assert [one.result for one in (*first, *again)] == [IMPORTED, UNCHANGED]
    assert first[0].payment_id == again[0].payment_id == rehearsed[0].payment_id
    twice = old_payment()
    assert [one.result for one in await take(ops, twice, twice)] == [IMPORTED, UNCHANGED]
    back = {"stripe_refund_id": word("re"), "amount_minor": 5_000, "create_time": "2024-03-06T10:00:00Z"}
    unsettled = old_payment(refunds=[back])  # the seller still has all of it
    assert said(await take(ops, unsettled, unsettled)) == [(REFUSED, "RECORD_NOT_SETTLED", "charge")] * 2
    later = {**record["history"][2], "time": "2024-03-05T11:00:00Z"}
    for other in ({"client_reference": "another"}, {"history": [*record["history"][:2], later]}):
        assert said(await take(ops, {**record, **other})) == [(REFUSED, "RECORD_CHANGED", "record_id")]


async def test_wherever_it_dies_a_repeat_completes_what_is_missing(
    ops: OrchestratorOpsServiceStub, replica: Orchestrator, journeys: Journeys, world: World
) -> None:
    claims = BookingClaimStore(replica.held)
    async with (
        world.channel(world.ports["gateway"], "orchestrator") as gateway,
        world.channel(world.ports["status"], "orchestrator") as status,
    ):
        peers = ImportPeers(gateway=ImportServiceStub(gateway), status=StatusServiceStub(status))
        places = []
        for life in each_life():
            mortal: Any = [Mortal(one, life) for one in (peers, ImportStore(replica.held))]
            dying = Imports(
                *mortal, BookingClaims(claims, now=utc_now), Mortal(claims, life), metrics=UNCOUNTED, now=utc_now
            )
            records = [old_payment(), old_payment(1), old_payment(10)]
            asked = list(map(read_record, records))
            with suppress(Died):
                await dying.take("main", asked, dry_run=False, actor_id="anna")
            outcomes = await take(ops, *records)
            assert REFUSED not in [one.result for one in outcomes], (life.place, outcomes)
            states = [state_of(await journeys.payment(one.payment_id)) for one in outcomes]
            assert states == ["SUCCEEDED", "REFUNDED", "FAILED"]
            for one in outcomes:
                assert (await journeys.plan(one.payment_id)).payment_id == one.payment_id
            [claim] = await claims.claims("main", records[0]["booking_ids"])
            assert claim.payment_id == outcomes[0].payment_id
            assert [one.result for one in await take(ops, *records)] == [UNCHANGED] * 3
            places.append(life.place)
    assert {"after at_gateway", "after at_status", "after keep"} <= set(places)


@pytest.mark.parametrize("case", [("before keep", False), ("after at_gateway", True), ("before keep", True)])
async def test_what_came_to_be_between_a_death_and_the_repeat_is_heard(
    ops: OrchestratorOpsServiceStub, replica: Orchestrator, journeys: Journeys, old: OldSystem, case: tuple[str, bool]
) -> None:
    dies, is_disputed = case
    world = replica.world
    request = sellers_pb2.PutSellerAccountRequest(
        request_id=new_id(), seller_id=(seller_id := word("seller")), country_code="CH", email="seller@example.org"
    )
    account = (await journeys.gateway.PutSellerAccount(request)).account
    await journeys.stripe.enable_account(account.stripe_account_id, enabled=True)
    intent_id = await old.pay(account.stripe_account_id)
    await journeys.stripe.settle()
    record = of_2024(await old.record(intent_id, seller_id=seller_id))
    claims, life = BookingClaimStore(replica.held), Life(ends_at=dies)
    async with (
        world.channel(world.ports["gateway"], "orchestrator") as gateway,
        world.channel(world.ports["status"], "orchestrator") as status,
    ):
        peers = ImportPeers(gateway=ImportServiceStub(gateway), status=StatusServiceStub(status))
        mortal: Any = [Mortal(one, life) for one in (peers, ImportStore(replica.held))]
        dying = Imports(*mortal, BookingClaims(claims, now=utc_now), claims, metrics=UNCOUNTED, now=utc_now)
        with suppress(Died):
            await dying.take("main", [read_record(record)], dry_run=False, actor_id="anna")
    assert life.place, "the gateway has it, and its plan is not here"
    payment_id = payment_id_of(record["record_id"], tenant_id="main")
    await (journeys.stripe.dispute(intent_id) if is_disputed else old.refund(intent_id, 4_000))
    await journeys.synced(payment_id)
    assert said(await take(ops, record)) == [(IMPORTED, "", "")]
    await replica.sweep()
    payment, plan = await journeys.payment(payment_id), await journeys.plan(payment_id)
    assert plan.revision == payment.revision
    assert said(await take(ops, record)) == [(UNCHANGED, "", "")]
    if is_disputed:
        assert (state_of(payment), payment.snapshot.amounts.disputed_open_minor) == ("DISPUTED", 10_000)
        return
    assert (state_of(payment), payment.snapshot.amounts.refunded_minor) == ("PARTIALLY_REFUNDED", 4_000)
    given = await journeys.orchestrator.RefundPayment(refund(payment_id, 6_000, expected_refundable=chf(6_000)))
    assert state_of(given.payment) == "REFUNDED"


WRONG: list[tuple[dict[str, Any], str, str]] = [
    ({"history": []}, "FIELD_MISSING", "history"),
    ({"history": [{"state": "PROCESSING", "time": "2024-03-05T09:30:00Z"}]}, "FIELD_INVALID", "history"),
    ({"history": [{"state": "FAILED", "time": "2024-03-05T09:30:00Z"}]}, "FIELD_INVALID", "history"),
    ({"history": [{"state": "SUCCEEDED"}]}, "FIELD_MISSING", "history[0].time"),
    ({"history": [{"state": "SUCCEEDED", "time": "2124-03-05T09:30:00Z"}]}, "FIELD_INVALID", "history"),
    ({"history": [{"state": "REFUNDED", "time": "2024-03-05T09:30:00Z"}]}, "FIELD_INVALID", "history"),
    ({"charge": None}, "FIELD_INVALID", "charge.captured_minor"),
    ({"payer_id": ""}, "FIELD_MISSING", "payer_id"),
    ({"currency_code": ""}, "FIELD_MISSING", "currency_code"),
    ({"booking_ids": ["a", "a"]}, "FIELD_INVALID", "booking_ids"),
    ({"lines": []}, "FIELD_MISSING", "lines"),
    ({"total_minor": -1}, "FIELD_INVALID", "total.amount_minor"),
]


@pytest.mark.parametrize(("fields", "reason", "field"), WRONG)
async def test_a_record_that_is_wrong_is_kept_by_nobody(
    ops: OrchestratorOpsServiceStub, journeys: Journeys, fields: dict[str, Any], reason: str, field: str
) -> None:
    wrong = {name: value for name, value in old_payment(**fields).items() if value is not None}
    good = old_payment()
    outcomes = await take(ops, wrong, good)
    assert said(outcomes) == [(REFUSED, reason, field), (IMPORTED, "", "")]
    if outcomes[0].payment_id:
        request = status_pb2.GetPaymentRequest(payment_id=outcomes[0].payment_id)
        assert (await refused(journeys.status.GetPayment(request))).reason == "PAYMENT_NOT_FOUND"


async def test_a_booking_that_was_paid_before_is_not_paid_again(
    ops: OrchestratorOpsServiceStub, journeys: Journeys
) -> None:
    paid, back, failed = old_payment(), old_payment(1), old_payment(10)
    outcomes = await take(ops, paid, back, failed)
    taken = await refused(journeys.orchestrator.StartPayment(start(booking_ids=paid["booking_ids"])))
    assert (taken.reason, taken.metadata["payment_id"]) == ("BOOKING_HAS_PAYMENT", outcomes[0].payment_id)
    for free in (back, failed):
        await journeys.started(booking_ids=free["booking_ids"])


async def test_customers_and_sellers_come_with_payments(ops: OrchestratorOpsServiceStub, journeys: Journeys) -> None:
    seller_id = word("seller")
    seller = {"type": "seller", "record_id": seller_id, "seller_id": seller_id, "stripe_account_id": word("acct")}
    customer = {
        "type": "customer",
        "record_id": word("user"),
        "payer_id": word("payer"),
        "customer_id": word("cus"),
        "default_method_id": word("pm"),
    }
    wrong = {**customer, "record_id": word("user"), "payer_id": word("payer"), "customer_id": "nobody"}
    outcomes = await take(ops, old_payment(), customer, wrong, seller)
    assert said(outcomes) == [
        (IMPORTED, "", ""), (IMPORTED, "", ""), (REFUSED, "FIELD_INVALID", "customer_id"), (IMPORTED, "", "")
    ]  # fmt: skip
    found = await journeys.gateway.GetSellerAccount(sellers_pb2.GetSellerAccountRequest(seller_id=seller_id))
    assert found.account.stripe_account_id == seller["stripe_account_id"]


async def test_records_are_counted_by_kind_and_result(world: World) -> None:
    meter = Meter()
    async with world.orchestrator(meter=meter) as replica, replica.connect_ops() as ops:
        record = old_payment()
        await take(ops, record, old_payment(history=[]), dry_run=True)
        await take(ops, record, old_payment(history=[]))
        await take(ops, record)
    text = (await meter.text()).decode()
    for result in ("imported", "unchanged", "refused"):
        assert f'batzen_import_records_total{{kind="payment",result="{result}"}} 1.0' in text


async def test_operators_import_and_a_call_has_some_records(replica: Orchestrator) -> None:
    async with replica.connect_ops() as stub:
        for records in ([], [read_record(old_payment())] * 51):
            request = pb.ImportRecordsRequest(records=records, actor_id="anna")
            refusal = await refused(stub.ImportRecords(request))
            assert (refusal.reason, refusal.field) == ("FIELD_INVALID", "records")
    async with replica.connect_ops("shop", roles=("service",)) as stub:
        request = pb.ImportRecordsRequest(records=[read_record(old_payment())], actor_id="anna")
        assert (await refused(stub.ImportRecords(request))).reason == "PERMISSION_DENIED"


async def by_command_line(replica: Orchestrator, file: Path, *more: str) -> tuple[int, str]:
    """Import as an operator does; return exit code and what was said."""
    environment = {
        "BATZEN_TOKEN": replica.world.issuer.mint("anna", roles=["operator"], tenant="main"),
        "BATZEN_ORCHESTRATOR_ADDRESS": f"127.0.0.1:{replica.port}",
        "COLUMNS": "200",
    }
    done = await asyncio.to_thread(CliRunner().invoke, app, ["import", str(file), *more], env=environment)
    return done.exit_code, done.output


def lines_of(*records: Record) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in records)


async def test_a_file_is_imported_by_the_command_line_with_a_row_for_each_record(
    replica: Orchestrator, tmp_path: Path
) -> None:
    card = old_payment(client_reference="4242 4242 4242 4242")
    good = [old_payment(number) for number in range(1, 61)]
    file = tmp_path / "records.jsonl"
    file.write_bytes(lines_of(*good[:30]) + b"\n{nonsense\n" + lines_of(card, old_payment(history=[]), *good[30:]))
    code, rehearsed = await by_command_line(replica, file, "--dry-run", "--json")
    code_then, imported = await by_command_line(replica, file, "--json")
    assert (code, code_then) == (1, 1)
    rows = [json.loads(line) for line in imported.splitlines()]
    assert rows[-1] == {"lines": 64, "dry_run": False, "imported": 60, "unchanged": 0, "refused": 3}
    assert [(one["line"], one["reason"], one["field"]) for one in rows[:-1] if one["result"] == "refused"] == [
        (32, "RECORD_UNREADABLE", ""), (33, "CARD_NUMBER_REFUSED", ""), (34, "FIELD_MISSING", "history")
    ]  # fmt: skip
    assert rehearsed.splitlines()[:-1] == imported.splitlines()[:-1]
    assert not list(tmp_path.glob("*.progress*"))
    code, said_again = await by_command_line(replica, file)
    assert (code, "64 lines: 0 imported, 60 unchanged, 3 refused" in said_again) == (1, True), said_again


async def test_a_run_goes_on_after_what_was_answered_unless_the_file_is_another(
    replica: Orchestrator, journeys: Journeys, tmp_path: Path
) -> None:
    records = [old_payment(number) for number in (2, 3, 4)]
    file, kept = tmp_path / "records.jsonl", tmp_path / "records.jsonl.progress"
    file.write_bytes(lines_of(*records))
    first = lines_of(records[0])
    before = {"bytes": len(first), "lines": 1, "digest": hashlib.sha256(first).hexdigest(), "counts": {"imported": 1}}
    kept.write_text(json.dumps(before))
    code, output = await by_command_line(replica, file)
    assert (code, "goes on after line 1" in output, "3 lines: 3 imported" in output) == (0, True, True), output
    skipped = payment_id_of(records[0]["record_id"], tenant_id="main")
    assert (await refused(journeys.status.GetPayment(status_pb2.GetPaymentRequest(payment_id=skipped)))).reason
    kept.write_text(json.dumps({**before, "digest": "another"}))
    code, output = await by_command_line(replica, file)
    assert (code, "begins anew" in output, "1 imported, 2 unchanged" in output) == (0, True, True), output
    assert state_of(await journeys.payment(skipped)) == "SUCCEEDED"
    kept.write_text("[]")
    assert (await by_command_line(replica, file))[0] == 2
    assert (await by_command_line(replica, file, "--from-start"))[0] == 0


def record_of(*states: State, minor: int = 10_000, **fields: Any) -> PaymentRecord:
    steps = tuple(Step(state=one, time=BEGAN + timedelta(minutes=place)) for place, one in enumerate(states))
    ours: dict[str, Any] = {"captured_minor": minor if states[-1] is State.SUCCEEDED else 0, "has_charge": True}
    return PaymentRecord(
        record_id="r", payment_id="pay_x", payer_id="p", currency_code="CHF", total_minor=minor, steps=steps,
        split=Split(lines=()), **{**ours, **fields},
    )  # fmt: skip


def test_a_history_is_what_the_table_of_moves_allows_and_ends_with_what_came_of_the_money() -> None:
    at = BEGAN + timedelta(days=1)
    dispute = Contested(amount_minor=3_000, is_lost=True, open_time=at, close_time=at + timedelta(days=30))
    early = GivenBack(amount_minor=4_000, time=BEGAN - timedelta(days=1))
    found = revisions(record_of(State.SUCCEEDED, refunds=(early,), disputes=(dispute,)))
    assert [one.snapshot.collection for one in found] == [State.REQUIRES_PAYMENT_METHOD, *[State.SUCCEEDED] * 4]
    assert [one.time for one in found] == sorted(one.time for one in found)
    amounts = found[-1].snapshot.amounts
    assert (amounts.captured_minor, amounts.refunded_minor) == (10_000, 4_000)
    assert (amounts.disputed_open_minor, amounts.disputed_lost_minor) == (0, 3_000)
    assert {one.snapshot.cause for one in found} == {Cause.IMPORT}
    for states in ((State.INITIALIZED, State.SUCCEEDED), (State.PROCESSING, State.FAILED), (State.EXPIRED,)):
        before = State.INITIALIZED
        for one in revisions(record_of(*states)):
            snapshot = StatusSnapshot(
                collection=one.snapshot.collection, cause=Cause.IMPORT, amounts=one.snapshot.amounts
            )
            assert before in legal_from(snapshot, total_is_zero=False)
            before = one.snapshot.collection
    free = revisions(record_of(State.SUCCEEDED, minor=0, has_charge=False))
    assert [one.snapshot.collection for one in free] == [State.SUCCEEDED]


@pytest.mark.parametrize(
    "record",
    [
        record_of(State.PROCESSING),
        record_of(State.FAILED, captured_minor=5),
        record_of(State.SUCCEEDED, captured_minor=0),
    ],
)
def test_what_is_not_over_is_no_history(record: PaymentRecord) -> None:
    with pytest.raises(FieldInvalid):
        refuse_unfinished(record)
