"""What an older system did at the same Stripe account, taken over without a call to Stripe, and going on from there."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from google.protobuf.json_format import ParseDict

from batzen.gateway.v1 import diagnosis_pb2, intents_pb2, ops_pb2, refunds_pb2, sellers_pb2
from batzen.gateway.v1 import imports_pb2 as pb
from batzen.legacy_records import legacy_payment
from local.databases import ServiceDatabase
from local.issuer import Issuer
from sandbox.control import SandboxControl
from services.errors import RequestInProgress
from services.gateway.imports.domain import CustomerRecord, RecordKind, SellerRecord, mirrored
from services.gateway.imports.store import ImportStore, Named, customer_row, seller_row
from services.gateway.ledger.domain import Account
from services.gateway.wire import imports as wire
from services.runtime.database.connections import plain_dsn
from services.runtime.observability.metrics import Meter
from tests.clock import Clock
from tests.conftest import Databases
from tests.eventually import eventually
from tests.gateway.clocks import level
from tests.gateway.conftest import Gateway, Sink, running_gateway
from tests.gateway.reconciling import reconciling, remainder
from tests.gateway.samples import AMOUNT_MINOR, SUCCEEDED, Payments, new_id, refused
from tests.old_system import OldSystem, Record, invented, word

BEGAN = datetime(2024, 3, 5, 9, 30, tzinfo=UTC)
IMPORTED, UNCHANGED, REFUSED = pb.IMPORT_RESULT_IMPORTED, pb.IMPORT_RESULT_UNCHANGED, pb.IMPORT_RESULT_REFUSED
OF_GATEWAY = ("payer_id", "currency_code", "total_minor", "lines", "charge", "refunds", "disputes")

ImportedRecord = pb.ImportRecordsRequest.Record
Outcome = pb.ImportRecordsResponse.Outcome


def payment_message(record: Record) -> ImportedRecord:
    """Return what the orchestrator makes of a record of a payment."""
    payment = {name: record[name] for name in OF_GATEWAY if name in record}
    payment |= {"payment_id": payment_id_of(record), "open_time": record["history"][0]["time"]}
    return ParseDict(
        {"record_id": record["record_id"], "digest": _digest(record), "payment": payment}, ImportedRecord()
    )


def payment_id_of(record: Record) -> str:
    return "pay_" + record["record_id"].replace("_", "").rjust(26, "x")[-26:]


def other_message(kind: str, *, record_id: str = "", **fields: Any) -> ImportedRecord:
    content = {"record_id": record_id or word(kind), kind: fields}
    return ParseDict({**content, "digest": _digest(fields)}, ImportedRecord())


def _digest(content: Any) -> str:
    return base64.b64encode(hashlib.sha256(repr(content).encode()).digest()).decode()


def old_payment(number: int = 3, **fields: Any) -> Record:
    """Return a record of 2024 with ids of its own, changed by `fields`."""
    return {**invented(number, began=BEGAN, name=word("x").removeprefix("x_")), **fields}


def with_charge(record: Record, **fields: Any) -> Record:
    return {**record, "charge": {**record["charge"], **fields}}


async def take(payments: Payments, *records: ImportedRecord, dry_run: bool = False) -> list[Outcome]:
    request = pb.ImportRecordsRequest(records=records, dry_run=dry_run, actor_id="anna")
    return list((await payments.gateway.ImportRecords(request)).outcomes)


async def writes(stripe: SandboxControl, *names: str) -> dict[str, dict[str, int]]:
    """Return by what was written at Stripe about each of some objects, and how often."""
    calls = {name: await stripe.calls(name) for name in names}
    return {name: {route: n for route, n in of.items() if route.startswith("POST ")} for name, of in calls.items()}


def said(outcomes: list[Outcome]) -> list[tuple[int, str, str]]:
    return [(one.result, one.problem.reason, one.problem.field) for one in outcomes]


@pytest.fixture(scope="module")
async def old(stripe: SandboxControl, stripe_key: str) -> AsyncIterator[OldSystem]:
    async with OldSystem(stripe.base_url, stripe_key) as system:
        yield system


@pytest.fixture(scope="module")
async def owner(database: ServiceDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(plain_dsn(database.owner_url))
    yield connection
    await connection.close()


async def test_what_was_paid_before_is_known_here_and_refunded_by_its_charge(
    payments: Payments, old: OldSystem, replica: Gateway, stripe: SandboxControl
) -> None:
    account = await payments.prepare_seller(seller_id := new_id("seller"))
    intent_id = await old.pay(account.stripe_account_id)
    await old.refund(intent_id, 4_000)
    await stripe.settle()
    record = await old.record(intent_id, seller_id=seller_id)
    before = await writes(stripe, intent_id, account.stripe_account_id)
    [outcome] = await take(payments, payment_message(record))
    assert outcome.result == IMPORTED, outcome.problem
    assert await writes(stripe, intent_id, account.stripe_account_id) == before

    payment_id = payment_id_of(record)
    seen = await payments.seen(payment_id)
    assert seen == outcome.observation
    assert (seen.intent_state, seen.amounts.captured_minor, seen.amounts.refunded_minor) == (SUCCEEDED, 10_000, 4_000)
    assert not seen.HasField("attention")

    request = payments.refund_request(payment_id, 6_000, expected_minor=6_000)
    refunded = (await payments.gateway.CreateRefund(request)).observation
    assert refunded.amounts.refunded_minor == AMOUNT_MINOR

    async def all_came_back() -> bool:
        [transfer] = await stripe.objects("transfer", destination=account.stripe_account_id)
        [fee] = await stripe.objects("application_fee", account=account.stripe_account_id)
        return (transfer["amount_reversed"], fee["amount_refunded"]) == (AMOUNT_MINOR, 1_500)

    await eventually(all_came_back, what="the seller's part and the fee come back")

    async def booked() -> list[ops_pb2.LedgerEntry]:
        async with replica.connect_ops() as ops:
            found = await ops.ListLedgerEntries(ops_pb2.ListLedgerEntriesRequest(payment_id=payment_id))
        return list(found.entries) if any(one.fact == "fee_refund" for one in found.entries) else []

    entries = await eventually(booked, what="the way back is booked")
    kinds = [one.fact for one in entries if one.account not in ("stripe_balance", "stripe_fee")]
    assert "captured" not in kinds
    assert {"opening", "refunded", "reversal"} <= set(kinds)
    of_fee = sum(one.amount.amount_minor for one in entries if one.account == "platform_fee")
    assert of_fee == 900  # what of the fee went back with the second refund; the rest is in the old books
    found = await payments.gateway.GetIntent(intents_pb2.GetIntentRequest(payment_id=payment_id))
    refunds = await payments.gateway.ListRefunds(refunds_pb2.ListRefundsRequest(payment_id=payment_id))
    known = legacy_payment(found, entries=entries, refunds=refunds.refunds)
    assert known.payment_intent_id == intent_id
    assert sorted(one.amount_minor for one in known.refunds) == [4_000, 6_000]
    assert {one.amount_minor: one.processed_by for one in known.refunds}[4_000] == "desk"


async def test_a_refund_of_what_stripe_does_not_have_is_refused_clearly(payments: Payments) -> None:
    record = old_payment()
    assert said(await take(payments, payment_message(record))) == [(IMPORTED, "", "")]
    minor = record["total_minor"]
    request = payments.refund_request(payment_id_of(record), 100, expected_minor=minor)
    _, reason, _, metadata = await refused(payments.gateway.CreateRefund(request))
    assert (reason, metadata["code"]) == ("STRIPE_REFUSED", "resource_missing")
    assert (await payments.seen(payment_id_of(record))).amounts.refund_pending_minor == 0


async def test_a_record_is_taken_over_once_and_another_content_under_its_id_is_refused(payments: Payments) -> None:
    record, failed = old_payment(), old_payment(10)
    first = await take(payments, payment_message(record), payment_message(failed), payment_message(record))
    assert [one.result for one in first] == [IMPORTED, IMPORTED, UNCHANGED]
    again = await take(payments, payment_message(record), payment_message(failed))
    assert [one.result for one in again] == [UNCHANGED, UNCHANGED]
    assert again[0].observation == first[0].observation
    unsettled = payment_message(old_payment(refunds=[{**REFUND, "amount_minor": 5_000}]))
    assert said(await take(payments, unsettled, unsettled)) == [(REFUSED, "RECORD_NOT_SETTLED", "charge")] * 2
    other = {**record, "payer_id": "another"}
    assert said(await take(payments, payment_message(other))) == [(REFUSED, "RECORD_CHANGED", "record_id")]


async def test_a_dry_run_says_the_same_and_keeps_nothing(payments: Payments, owner: asyncpg.Connection) -> None:
    good, seller = old_payment(), other_message("seller", seller_id=new_id("s"), stripe_account_id=word("acct"))
    unsettled = old_payment(1, refunds=[])
    messages = (payment_message(good), payment_message(unsettled), seller)
    rehearsed = await take(payments, *messages, dry_run=True)
    assert await owner.fetchval("SELECT count(*) FROM imports WHERE record_id = $1", good["record_id"]) == 0
    assert await owner.fetchval("SELECT count(*) FROM payments WHERE payment_id = $1", payment_id_of(good)) == 0
    assert said(rehearsed) == said(await take(payments, *messages))
    kept = await owner.fetch("SELECT kind, actor_id FROM imports WHERE record_id = $1", good["record_id"])
    assert [tuple(one) for one in kept] == [("PAYMENT", "anna")]


PAID = old_payment()
TRANSFER = PAID["charge"]["transfers"][0]
LATER = "2024-03-06T10:00:00Z"


def with_transfer(**fields: Any) -> Record:
    return with_charge(PAID, transfers=[{**TRANSFER, **fields}])


REFUND = {"stripe_refund_id": "re_x", "create_time": LATER}
BORNE = {**REFUND, "amount_minor": 1_000, "bearer": "BEARER_PLATFORM"}
BACK = {"stripe_id": "trr_x", "amount_minor": 1_000, "create_time": LATER}


def dispute(**fields: Any) -> Record:
    ours = {"dispute_id": word("dp"), "amount_minor": 5_000, "open_time": LATER, "close_time": LATER}
    return {**ours, **fields}


@pytest.mark.parametrize(
    ("record", "reason", "field"),
    [
        (with_charge(PAID, transfers=[]), "MOVEMENT_MISSING", "charge.transfers"),
        (with_charge(PAID, application_fees=[]), "MOVEMENT_MISSING", "charge.application_fees"),
        ({**PAID, "refunds": [{**REFUND, "amount_minor": 5_000}]}, "RECORD_NOT_SETTLED", "charge"),
        ({**PAID, "lines": []}, "FIELD_MISSING", "lines"),
        ({**PAID, "lines": [{**PAID["lines"][0], "gross_minor": 1}]}, "FIELD_INVALID", "lines[0].fee_minor"),
        ({**PAID, "lines": [{**PAID["lines"][0], "gross_minor": 9_000}]}, "FIELD_INVALID", "lines"),
        ({**PAID, "currency_code": "XXX"}, "CURRENCY_UNKNOWN", "currency_code"),
        ({**PAID, "payer_id": ""}, "FIELD_MISSING", "payer_id"),
        (with_charge(PAID, charge_id=""), "FIELD_MISSING", "charge.charge_id"),
        (with_charge(PAID, intent_id="seti_x"), "FIELD_INVALID", "charge.intent_id"),
        (with_charge(PAID, captured_minor=99_999), "FIELD_INVALID", "charge.captured_minor"),
        (with_transfer(stripe_id="x"), "FIELD_INVALID", "charge.transfers[0].stripe_id"),
        (with_transfer(amount_minor=0), "FIELD_INVALID", "charge.transfers[0].amount_minor"),
        (
            {**PAID, "refunds": [{**REFUND, "amount_minor": 99_999}]},
            "FIELD_INVALID",
            "refunds",
        ),
        ({**PAID, "refunds": [{"stripe_refund_id": "re_x"}]}, "FIELD_INVALID", "refunds[0].amount_minor"),
        ({**PAID, "disputes": [dispute(close_time="2024-03-01T00:00:00Z")]}, "FIELD_INVALID", "disputes[0].close_time"),
        ({**old_payment(10), "disputes": [dispute()]}, "FIELD_INVALID", "refunds"),
        ({**PAID, "refunds": [BORNE, BORNE]}, "FIELD_INVALID", "refunds"),
        ({**PAID, "disputes": [dispute(dispute_id="dp_twice")] * 2}, "FIELD_INVALID", "disputes"),
        (with_charge(PAID, transfers=[TRANSFER, TRANSFER]), "FIELD_INVALID", "charge.transfers"),
        (with_transfer(back=[BACK, BACK]), "FIELD_INVALID", "charge.transfers[0].back"),
    ],
)  # fmt: skip
async def test_what_is_wrong_with_a_record_is_said_by_its_field(
    payments: Payments, record: Record, reason: str, field: str
) -> None:
    good = old_payment()
    outcomes = await take(payments, payment_message(record), payment_message(good))
    assert said(outcomes) == [(REFUSED, reason, field), (IMPORTED, "", "")]


async def test_what_belongs_to_another_payment_is_refused(payments: Payments) -> None:
    first, second = old_payment(), old_payment()
    thief = with_charge(second, charge_id=first["charge"]["charge_id"])
    outcomes = await take(payments, payment_message(first), payment_message(thief))
    assert said(outcomes) == [(IMPORTED, "", ""), (REFUSED, "STRIPE_ID_TAKEN", "charge")]
    own = await payments.intent_id(await payments.paid())
    taken = with_charge(second, intent_id=own)
    assert said(await take(payments, payment_message(taken))) == [(REFUSED, "STRIPE_ID_TAKEN", "charge")]


async def test_disputes_that_are_decided_are_borne_as_they_were(payments: Payments) -> None:
    lost = old_payment(disputes=[dispute(is_lost=True), dispute()])
    [outcome] = await take(payments, payment_message(lost))
    assert outcome.result == IMPORTED, outcome.problem
    amounts = outcome.observation.amounts
    assert (amounts.disputed_lost_minor, amounts.disputed_open_minor) == (5_000, 0)
    assert outcome.observation.attention.reason == "DISPUTE_LOST"
    borne = payment_message(old_payment(disputes=[dispute(is_lost=True)]))
    borne.payment.sellers_bear_disputes = True
    assert said(await take(payments, borne)) == [(REFUSED, "RECORD_NOT_SETTLED", "charge")]


async def test_a_payer_keeps_their_customer_their_consents_and_their_default(
    payments: Payments, owner: asyncpg.Connection
) -> None:
    payer_id, customer_id, method_id = new_id("payer"), word("cus"), word("pm")
    consent = {"payment_method_id": method_id, "actor_id": payer_id, "consent_time": LATER}
    known = {"payer_id": payer_id, "customer_id": customer_id}
    message = other_message("customer", **known, default_method_id=method_id, consents=[consent])
    assert said(await take(payments, message)) == [(IMPORTED, "", "")]
    row = await owner.fetchrow("SELECT customer_id, default_method_id FROM customers WHERE payer_id = $1", payer_id)
    assert tuple(row) == (customer_id, method_id)
    assert await owner.fetchval("SELECT actor_id FROM method_consents WHERE payment_method_id = $1", method_id)
    same = other_message("customer", **known)
    another = other_message("customer", payer_id=payer_id, customer_id=word("cus"))
    stolen = other_message("customer", payer_id=new_id("payer"), customer_id=customer_id)
    assert said(await take(payments, same, another, stolen)) == [
        (IMPORTED, "", ""),
        (REFUSED, "PAYER_HAS_CUSTOMER", "payer_id"),
        (REFUSED, "STRIPE_ID_TAKEN", "customer_id"),
    ]


async def test_a_seller_keeps_their_account(payments: Payments) -> None:
    made = await payments.prepare_seller(new_id("seller"))
    seller_id, account_id = new_id("seller"), word("acct")
    message = other_message("seller", seller_id=seller_id, stripe_account_id=account_id)
    assert said(await take(payments, message, message)) == [(IMPORTED, "", ""), (UNCHANGED, "", "")]
    found = await payments.gateway.GetSellerAccount(sellers_pb2.GetSellerAccountRequest(seller_id=seller_id))
    assert found.account.stripe_account_id == account_id
    exists = other_message("seller", seller_id=seller_id, stripe_account_id=word("acct"))
    stolen = other_message("seller", seller_id=new_id("seller"), stripe_account_id=made.stripe_account_id)
    assert said(await take(payments, exists, stolen)) == [
        (REFUSED, "SELLER_EXISTS", "stripe_account_id"),
        (REFUSED, "STRIPE_ID_TAKEN", "stripe_account_id"),
    ]


async def test_what_got_another_account_or_customer_at_the_same_moment_is_not_said_to_be_kept(
    payments: Payments, replica: Gateway, owner: asyncpg.Connection
) -> None:
    """Between the look and the keeping a seller was put, or a payer began to pay."""
    store = ImportStore(replica.parts.connections, clock=replica.parts.clock)
    made = await payments.prepare_seller(new_id("seller"))
    payer_id = new_id("payer")
    customer = other_message("customer", payer_id=payer_id, customer_id=word("cus"))
    assert said(await take(payments, customer)) == [(IMPORTED, "", "")]
    named = Named(record_id=word("late"), digest=bytes(32))
    of_seller = SellerRecord(seller_id=made.seller_id, stripe_account_id=word("acct"))
    of_payer = CustomerRecord(payer_id=payer_id, customer_id=word("cus"), default_method_id="", consents=())
    for kind, row in (
        (RecordKind.SELLER, seller_row(named, of_seller)),
        (RecordKind.CUSTOMER, customer_row(named, of_payer)),
    ):
        with pytest.raises(RequestInProgress):
            await store.keep("main", kind, [row], actor_id="anna")
    assert await owner.fetchval("SELECT count(*) FROM imports WHERE record_id = $1", named.record_id) == 0


async def test_books_and_stripe_say_the_same_of_what_was_imported(
    databases: Databases, stripe: SandboxControl, sink: tuple[Sink, str], tmp_path: Path
) -> None:
    database, clock, meter, key = (
        await databases.create("gateway"),
        Clock(),
        Meter(),
        f"sk_test_{secrets.token_hex(16)}",
    )
    await level(clock, stripe)
    start = partial(
        running_gateway,
        database.runtime_url,
        stripe_key=key,
        stripe_base=stripe.base_url,
        sink_address=sink[1],
        issuer=Issuer(tmp_path / "keys", now=clock.now),
        clock=clock,
    )
    async with (
        start(meter=meter) as replica,
        reconciling(replica, database, stripe, clock, meter, start) as platform,
        OldSystem(stripe.base_url, key) as old,
    ):
        account = await platform.payments.prepare_seller(seller_id := new_id("seller"))
        with_seller, at_own_cost, plain = [await old.pay(account.stripe_account_id) for _ in range(3)]
        await old.refund(with_seller, 4_000)
        await old.refund(at_own_cost, 2_000, reverses=False)
        await stripe.settle()
        intents = (with_seller, at_own_cost, plain)
        records = [await old.record(one, seller_id=seller_id) for one in intents]
        outcomes = await take(platform.payments, *map(payment_message, records))
        assert said(outcomes) == [(IMPORTED, "", "")] * 3, outcomes
        await platform.payments.gateway.CreateRefund(
            platform.payments.refund_request(payment_id_of(records[2]), AMOUNT_MINOR)
        )
        for record in records:
            await platform.synced(payment_id_of(record))
        await platform.read_on()
        report = await platform.run()
        assert not report.differences, report.differences
        assert remainder(report) == {"CHF": 0}
        for record in records:
            request = diagnosis_pb2.ExaminePaymentsRequest(payment_ids=[payment_id_of(record)], with_stripe=True)
            [found] = (await platform.payments.gateway.ExaminePayments(request)).examinations
            assert [(one.check, one.about, one.sayings) for one in found.disagreements] == []
    await databases.drop(database)


def test_what_came_to_be_before_balance_transactions_are_read_has_nothing_against_it() -> None:
    record = wire.payment(payment_message(old_payment(1)).payment)
    assert record.intent is not None
    for since, booked in ((BEGAN - timedelta(days=1), True), (BEGAN + timedelta(days=1), False)):
        held = mirrored(record, record.intent, tenant_id="main", read_since=since, now=BEGAN + timedelta(days=9))
        assert bool(held.opening) == booked
        assert held.books.carried == held.books.sums
        for fact in held.opening:
            assert {one.place.account for one in fact.entries} == {Account.STRIPE_CLEARING, Account.OPENING}


async def test_only_the_orchestrator_imports_and_a_call_has_some_records(payments: Payments, replica: Gateway) -> None:
    for records in ([], [payment_message(PAID)] * 101):
        request = pb.ImportRecordsRequest(records=records, actor_id="anna")
        assert (await refused(payments.gateway.ImportRecords(request)))[1:3] == ("FIELD_INVALID", "records")
    async with replica.connect("anna", roles=["operator"]) as stub:
        request = pb.ImportRecordsRequest(records=[payment_message(PAID)], actor_id="anna")
        assert (await refused(stub.ImportRecords(request)))[1] == "PERMISSION_DENIED"
