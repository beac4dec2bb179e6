"""The ledger in the database: booked with the mirror, in one statement, balanced, and never changed."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import asyncpg
import pytest

from local.databases import ServiceDatabase
from services.gateway.ledger.domain import Account, Entry, Fact, Place
from services.gateway.ledger.entry_rows import APPEND, rows
from services.runtime.database.connections import plain_dsn
from tests.gateway.conftest import Gateway
from tests.gateway.samples import AMOUNT_MINOR, FEE_MINOR, Payments, new_id

ENTRIES = "SELECT * FROM ledger_entries WHERE payment_id = $1 ORDER BY record_time, fact, place"
CLEARING = Place(account=Account.STRIPE_CLEARING, currency_code="CHF")
BALANCE = Place(account=Account.STRIPE_BALANCE, currency_code="CHF")


@pytest.fixture
async def runtime(database: ServiceDatabase) -> AsyncIterator[asyncpg.Connection]:
    """The database, as the service sees it."""
    connection = await asyncpg.connect(plain_dsn(database.runtime_url))
    yield connection
    await connection.close()


def arrival(fact: str, minor: int = 100) -> Fact:
    """Return a fact of no payment."""
    entries = (Entry(place=BALANCE, amount_minor=minor), Entry(place=CLEARING, amount_minor=-minor))
    return Fact(fact=fact, entries=entries)


async def append(connection: asyncpg.Connection, facts: Sequence[dict[str, object]]) -> list[str]:
    """Book rows, and return the facts of those that were new."""
    found = await connection.fetch(APPEND, "main", json.dumps(facts), timedelta())
    return [row["fact"] for row in found]


async def test_a_payment_is_booked_with_what_is_mirrored_of_it(
    payments: Payments, runtime: asyncpg.Connection, replica: Gateway
) -> None:
    created = await payments.created()
    assert await runtime.fetch(ENTRIES, created) == []

    payment_id = await payments.paid()
    [charge] = await payments.charges(payment_id)
    captured = [one for one in await runtime.fetch(ENTRIES, payment_id) if one["fact"].startswith("captured:")]
    assert {(one["account"], one["amount_minor"]) for one in captured} == {
        ("stripe_clearing", AMOUNT_MINOR),
        ("seller", FEE_MINOR - AMOUNT_MINOR),
        ("platform_fee", -FEE_MINOR),
    }
    assert {(one["fact"], one["stripe_id"], one["seller_id"] or payments.seller_id) for one in captured} == {
        (f"captured:{charge['id']}:{AMOUNT_MINOR}", charge["id"], payments.seller_id)
    }
    assert len({one["record_time"] for one in captured}) == 1

    await payments.gateway.CreateRefund(payments.refund_request(payment_id, 4_000, actor_id="somebody"))
    [refund] = await payments.refunds(payment_id)
    refunded = [one for one in await runtime.fetch(ENTRIES, payment_id) if one["fact"] == f"refunded:{refund['id']}"]
    assert sorted(one["amount_minor"] for one in refunded) == [-4_000, 600, 3_400]
    assert {one["actor_id"] for one in refunded} == {"somebody"}

    await payments.synced(payment_id)  # what is read again says nothing new
    facts = {one["fact"] for one in await runtime.fetch(ENTRIES, payment_id)}
    assert len([one for one in facts if one.startswith(("captured", "refunded"))]) == 2
    books = await replica.parts.store.require("main", payment_id)
    assert books.books.marks["charge:1"].minor == AMOUNT_MINOR


async def test_a_fact_is_booked_once(runtime: asyncpg.Connection) -> None:
    name = new_id("bt:txn")
    assert await append(runtime, rows([arrival(name)])) == [name, name]
    assert await append(runtime, rows([arrival(name), arrival(f"{name}:more")])) == [f"{name}:more"] * 2


@pytest.mark.parametrize("change", ["amount", "missing", "added"])
async def test_the_database_refuses_a_fact_that_is_not_balanced(runtime: asyncpg.Connection, change: str) -> None:
    name = new_id("bt:txn")
    first, second = rows([arrival(name)])
    wrong = [first, {**second, "amount_minor": -101}] if change == "amount" else [first]
    if change == "added":  # to one that is there
        await append(runtime, [first, second])
        wrong = [{**first, "place": 3, "amount_minor": 1}]
    with pytest.raises(asyncpg.CheckViolationError, match="do not come to zero"):
        await append(runtime, wrong)
    assert await runtime.fetchval("SELECT count(*) FROM ledger_entries WHERE fact = $1", name) == 2 * (
        change == "added"
    )


async def test_entries_of_other_currencies_do_not_make_up_for_each_other(runtime: asyncpg.Connection) -> None:
    first, second = rows([arrival(new_id("bt:txn"))])
    with pytest.raises(asyncpg.CheckViolationError, match="do not come to zero"):
        await append(runtime, [first, {**second, "currency_code": "EUR"}])


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_entries SET amount_minor = 0",
        "DELETE FROM ledger_entries",
        "TRUNCATE ledger_entries",
        "ALTER TABLE ledger_entries DISABLE TRIGGER ledger_entries_balanced",
    ],
)
async def test_what_is_booked_is_never_changed_by_the_service(runtime: asyncpg.Connection, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await runtime.execute(statement)
