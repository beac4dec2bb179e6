"""Entries, balances and statements of sellers, as operators read them; and the closings that balances go by."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial

import asyncpg
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import StatusCode
from typer.testing import CliRunner

from batzen.cli.app import app
from batzen.gateway.v1 import ops_pb2
from batzen.gateway.v1.ops_pb2_grpc import GatewayOpsServiceStub
from local.databases import ServiceDatabase
from services.gateway.ledger.closings import OVER_FOR, Closings, Gap
from services.gateway.ledger.domain import Account, Entry, Fact, Place
from services.gateway.ledger.store import Ledger
from services.gateway.settlement.domain import MovementKind
from services.runtime.database.connections import DirectConnections, plain_dsn
from services.runtime.work.kinds import RetryLater, Work
from tests.clock import Clock
from tests.gateway.bookkeeping import Bookkeeping, by_account
from tests.gateway.conftest import Gateway
from tests.gateway.quoted import WITH_VAT
from tests.gateway.samples import new_id, refusal
from tests.gateway.test_ledger import BALANCE, arrival
from tests.gateway.test_positions import line

DAY = timedelta(days=1)
CLEARING_EUR = Place(account=Account.STRIPE_CLEARING, currency_code="EUR")
CONVERSION_EUR = Place(account=Account.CONVERSION, currency_code="EUR")
CONVERSION = Place(account=Account.CONVERSION, currency_code="CHF")


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """A tenant of its own, whose days go by as the test says."""

    tenant_id: str
    ledger: Ledger
    closings: Closings
    clock: Clock
    ops: GatewayOpsServiceStub

    async def book(self, *facts: Fact) -> None:
        """Book facts."""
        await self.ledger.append(self.tenant_id, facts)

    async def close(self) -> timedelta:
        """Close what is over, and return when that is done again."""
        work = Work(kind=self.closings.work, tenant_id=self.tenant_id, key=("ledger",), fence=1, failures=0)
        with pytest.raises(RetryLater) as later:
            await self.closings.close(work)
        return later.value.delay

    async def balances(self, at: datetime | None = None, **asked: str) -> dict[str, int]:
        """Return balances by account, as an operator gets them."""
        request = ops_pb2.GetBalancesRequest(at_time=stamp(at) if at else None, **asked)  # type: ignore[arg-type]
        return {one.account: one.amount.amount_minor for one in (await self.ops.GetBalances(request)).balances}

    async def entries(self, **asked: object) -> list[ops_pb2.LedgerEntry]:
        """Return entries, read in pages of two."""
        found: list[ops_pb2.LedgerEntry] = []
        token = ""
        while token or not found:
            request = ops_pb2.ListLedgerEntriesRequest(page_size=2, page_token=token, **asked)  # type: ignore[arg-type]
            page = await self.ops.ListLedgerEntries(request)
            found += page.entries
            token = page.next_page_token
            if not page.entries:
                break
        return found


@pytest.fixture
async def books(database: ServiceDatabase, replica: Gateway) -> AsyncIterator[Books]:
    tenant_id, clock = new_id("tenant"), Clock()
    url = database.runtime_url
    async with (
        DirectConnections(url, application_name="test", size=2) as held,
        replica.connect_ops(tenant=tenant_id) as ops,
    ):
        closings = Closings(held, clock=clock)
        await closings.begin(tenant_id)
        yield Books(tenant_id=tenant_id, ledger=Ledger(held, clock=clock), closings=closings, clock=clock, ops=ops)


@pytest.fixture
async def owner(database: ServiceDatabase) -> AsyncIterator[asyncpg.Connection]:
    """The database, as its owner may change it."""
    connection = await asyncpg.connect(plain_dsn(database.owner_url))
    yield connection
    await connection.close()


def stamp(instant: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(instant)
    return message


def history() -> Bookkeeping:
    """Return two sellers' payment of which one part went back, and the other was transferred."""
    kept = Bookkeeping(WITH_VAT, line("s2", 5_000))
    kept.captured(15_000)
    kept.refunded(4_000, of="of-s1")
    kept.moved(MovementKind.TRANSFER, 4_250, seller_id="s2")
    kept.post()
    return kept


def names(entries: Sequence[ops_pb2.LedgerEntry]) -> list[str]:
    """Return which facts entries are of, each once."""
    return list(dict.fromkeys(one.transaction_id for one in entries))


async def test_entries_are_listed_by_payment_seller_account_and_span(books: Books) -> None:
    facts = history().facts
    await books.book(*facts)
    between = books.clock.now()
    await books.book(arrival("bt:txn_a"))

    everything = await books.entries()
    assert len(everything) == sum(len(one.entries) for one in facts) + 2
    assert sum(one.amount.amount_minor for one in everything) == 0
    assert names(everything)[-1] == "bt:txn_a"
    assert names(await books.entries(payment_id="pay_a")) == sorted(one.fact for one in facts)
    assert {one.account for one in await books.entries(account="seller:s1")} == {"seller:s1"}
    assert {one.account for one in await books.entries(account="seller")} == {"seller:s1", "seller:s2"}
    assert {one.account for one in await books.entries(account="vat_payable:CH")} == {"vat_payable:CH"}
    of_seller = await books.entries(seller_id="s2")
    assert {one.account for one in of_seller} == {"seller:s2", "platform_fee"}
    assert names(await books.entries(start_time=stamp(between))) == ["bt:txn_a"]
    assert names(await books.entries(end_time=stamp(between))) == sorted(one.fact for one in facts)
    [fee] = [one for one in await books.entries(account="platform_fee", seller_id="s1") if one.fact == "refunded"]
    assert (fee.amount.amount_minor, fee.vat.amount_minor, fee.stripe_id) == (600, -49, "re_1")


async def test_entries_are_listed_by_value_date(books: Books) -> None:
    early, late = datetime(2026, 1, 5, tzinfo=UTC), datetime(2026, 2, 5, tzinfo=UTC)
    await books.book(replace(arrival("bt:late"), value_time=late), replace(arrival("bt:early"), value_time=early))

    assert names(await books.entries(by_value_time=True)) == ["bt:early", "bt:late"]
    assert names(await books.entries(by_value_time=True, start_time=stamp(late))) == ["bt:late"]
    assert await books.entries(end_time=stamp(late)) == []


async def test_a_page_token_is_of_its_own_list(books: Books) -> None:
    await books.book(arrival("bt:a"), arrival("bt:b"))
    page = await books.ops.ListLedgerEntries(ops_pb2.ListLedgerEntriesRequest(page_size=1))
    other = ops_pb2.ListLedgerEntriesRequest(page_token=page.next_page_token, account="bank")
    assert await refusal(books.ops.ListLedgerEntries(other)) == (StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID")
    span = {"start_time": stamp(datetime(2026, 1, 1, tzinfo=UTC)), "end_time": stamp(books.clock.now())}
    wrong = ops_pb2.GetSellerStatementRequest(seller_id="s1", page_token=page.next_page_token, **span)
    assert await refusal(books.ops.GetSellerStatement(wrong)) == (StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID")


@pytest.mark.parametrize(
    "asked",
    [{"account": "platform_revenue"}, {"account": "bank:s1"}, {"account": "seller:s1", "seller_id": "s2"}],
)
async def test_an_account_that_is_none_is_refused(books: Books, asked: dict[str, str]) -> None:
    refused = (StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
    assert await refusal(books.ops.ListLedgerEntries(ops_pb2.ListLedgerEntriesRequest(**asked))) == refused
    assert await refusal(books.ops.GetBalances(ops_pb2.GetBalancesRequest(**asked))) == refused


async def test_balances_are_those_of_a_time_by_closings_and_what_came_since(books: Books) -> None:
    at: list[datetime] = []
    for number in range(4):
        await books.book(arrival(f"bt:{number}"))
        at.append(books.clock.now())
        books.clock.advance(DAY)
        assert timedelta() < await books.close() <= DAY + OVER_FOR
    await books.book(*history().facts)

    expected = by_account(entry for fact in history().facts for entry in fact.entries)
    expected["stripe_clearing"] -= 400
    expected["stripe_balance"] = 400
    assert await books.balances() == expected
    assert sum((await books.balances()).values()) == 0
    for number, time in enumerate(at, start=1):
        assert (await books.balances(at=time))["stripe_balance"] == 100 * number
    assert await books.balances(account="seller") == {"seller:s1": expected["seller:s1"]}
    assert await books.balances(seller_id="s1") == {"seller:s1": expected["seller:s1"]}
    assert await books.balances(account="vat_payable:CH") == {"vat_payable:CH": expected["vat_payable:CH"]}


async def test_a_day_is_closed_once_and_only_when_it_is_over_for_long_enough(
    books: Books, owner: asyncpg.Connection
) -> None:
    closings = "SELECT count(*) FROM ledger_closings WHERE tenant_id = $1"
    await books.book(arrival("bt:a"))
    now = books.clock.now()
    await books.close()
    midnight = datetime(now.year, now.month, now.day, tzinfo=UTC) + DAY
    books.clock.advance(midnight - now + OVER_FOR / 2)
    await books.close()
    assert await owner.fetchval(closings, books.tenant_id) == 0

    books.clock.advance(OVER_FOR)
    await books.close()
    await books.close()
    assert await owner.fetchval(closings, books.tenant_id) == 2
    books.clock.advance(100 * DAY)
    while await books.close() == timedelta():
        pass
    assert await books.balances() == {"stripe_balance": 100, "stripe_clearing": -100}


async def test_a_closing_that_is_not_what_was_booked_is_found(books: Books, owner: asyncpg.Connection) -> None:
    await books.book(arrival("bt:a"))
    first = books.clock.now().date()
    for _ in range(3):
        books.clock.advance(DAY)
        await books.book(arrival(new_id("bt:b")))
        await books.close()
    last = first + 3 * DAY
    assert await books.closings.gaps(books.tenant_id, first=first, last=last) == []

    change = "UPDATE ledger_closings SET {} WHERE tenant_id = $1 AND account = 'stripe_balance' AND day = $2"
    await owner.execute(change.format("moved_minor = moved_minor + 1"), books.tenant_id, first)
    found = await books.closings.gaps(books.tenant_id, first=first, last=last)
    assert found == [
        Gap(
            account="stripe_balance", seller_id="", country="", currency_code="CHF", day=first, closed_minor=101,
            booked_minor=100, gap_minor=-1,
        )
    ]  # fmt: skip
    await owner.execute(change.format("moved_minor = 100, balance_minor = 90"), books.tenant_id, first)
    assert [one.gap_minor for one in await books.closings.gaps(books.tenant_id, first=first, last=last)] == [-10, 10]


async def test_what_an_exchange_leaves_of_a_payment_that_went_back_is_a_difference(
    books: Books, owner: asyncpg.Connection
) -> None:
    kept = Bookkeeping(WITH_VAT, currency_code="EUR")
    kept.captured(10_000)
    kept.moved(MovementKind.TRANSFER, 8_378, at_stripe=(7_959, "CHF"))
    payment = (
        "INSERT INTO payments (tenant_id, payment_id, payer_id, seller_id, currency_code, observation, create_time)"
    )
    await owner.execute(f"{payment} VALUES ($1, 'pay_a', 'payer', 's1', 'EUR', '{{}}', now())", books.tenant_id)

    def exchange(name: str, minor: int, settled_minor: int) -> Fact:
        sides = (
            (CLEARING_EUR, -minor),
            (CONVERSION_EUR, minor),
            (BALANCE, settled_minor),
            (CONVERSION, -settled_minor),
        )
        entries = tuple(Entry(place=place, amount_minor=amount) for place, amount in sides)
        return Fact(fact=name, payment_id="pay_a", entries=entries)

    await books.book(*kept.post(), exchange("bt:charge", 10_000, 9_500))
    books.clock.advance(DAY)
    await books.close()
    assert "fx_difference" not in await books.balances()

    kept.refunded(10_000)
    kept.moved(MovementKind.REVERSAL, 8_378, at_stripe=(7_959, "CHF"))
    await books.book(*kept.post(), exchange("bt:refund", -10_000, -9_600))
    books.clock.advance(DAY)
    await books.close()
    assert await books.balances() == {"stripe_balance": -100, "fx_difference": 100}
    assert names(await books.entries(account="fx_difference")) == ["fx_closed:pay_a:1"]
    books.clock.advance(DAY)
    await books.close()
    assert await books.balances() == {"stripe_balance": -100, "fx_difference": 100}


async def test_a_sellers_statement_has_the_figures_of_an_invoice(books: Books) -> None:
    start = books.clock.now()
    kept = Bookkeeping(WITH_VAT)
    kept.captured(10_000)
    await books.book(*kept.post())
    kept.refunded(4_000)
    await books.book(*kept.post())
    books.clock.advance(DAY)
    await books.close()
    middle = books.clock.now()
    kept.moved(MovementKind.TRANSFER, 5_027)
    await books.book(*kept.post())

    end = books.clock.now() + DAY

    async def statement(since: datetime, **fields: object) -> ops_pb2.GetSellerStatementResponse:
        request = ops_pb2.GetSellerStatementRequest(
            seller_id="s1",
            start_time=stamp(since),
            end_time=stamp(end),
            **fields,  # type: ignore[arg-type]
        )
        return await books.ops.GetSellerStatement(request)

    whole = await statement(start)
    figures = [
        (
            one.fact, one.amount.amount_minor, one.gross.amount_minor, one.platform_fee.amount_minor,
            one.platform_fee_vat.amount_minor, one.sale_vat.amount_minor,
        )
        for one in whole.lines
    ]  # fmt: skip
    assert figures == [
        ("captured", WITH_VAT.seller_minor, 10_000, 1_500, 122, 749),
        ("refunded", -3_351, -4_000, -600, -49, -300),
        ("transfer", -5_027, 0, 0, 0, 0),
    ]
    assert not whole.opening
    assert [(one.owed.amount_minor, one.held.amount_minor) for one in whole.closing] == [(0, 0)]

    later = await statement(middle)
    assert [one.owed.amount_minor for one in later.opening] == [5_027]
    assert [one.fact for one in later.lines] == ["transfer"]

    first = await statement(start, page_size=2)
    assert [one.owed.amount_minor for one in first.closing] == [5_027]
    second = await statement(start, page_size=2, page_token=first.next_page_token)
    assert [one.owed.amount_minor for one in second.opening] == [5_027]
    assert [one.fact for one in second.lines] == ["transfer"]
    assert not second.next_page_token


@pytest.mark.parametrize(
    ("changed", "reason"),
    [({"seller_id": ""}, "FIELD_MISSING"), ({"page_size": 1}, "FIELD_INVALID"), ({"end_time": None}, "FIELD_MISSING")],
)
async def test_a_statement_is_of_a_seller_and_a_span(books: Books, changed: dict[str, object], reason: str) -> None:
    now = books.clock.now()
    asked = {"seller_id": "s1", "start_time": stamp(now), "end_time": stamp(now + DAY), **changed}
    wrong = ops_pb2.GetSellerStatementRequest(**asked)  # type: ignore[arg-type]  # as above
    assert await refusal(books.ops.GetSellerStatement(wrong)) == (StatusCode.INVALID_ARGUMENT, reason)
    empty = ops_pb2.GetSellerStatementRequest(seller_id="s1", start_time=stamp(now), end_time=stamp(now))
    assert await refusal(books.ops.GetSellerStatement(empty)) == (StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")


async def test_the_command_line_prints_entries_and_statements_with_a_running_balance(
    books: Books, replica: Gateway
) -> None:
    await books.book(*history().facts)
    at = f"127.0.0.1:{replica.port}"
    token = replica.issuer.mint("anna", roles=["operator"], tenant=books.tenant_id)
    addresses = [part for name in ("orchestrator", "pricing", "status", "gateway") for part in (f"--{name}", at)]

    async def said(*arguments: str) -> str:
        given = ["--token", token, *addresses, "ledger", *arguments]
        run = partial(CliRunner().invoke, app, given, env={"COLUMNS": "160", "TERM": "dumb", "NO_COLOR": "1"})
        result = await asyncio.to_thread(run)
        assert result.exit_code == 0, result.output
        return result.output

    rows = list(csv.DictReader(io.StringIO(await said("entries", "--account", "seller:s1", "--csv"))))
    assert [(row["transaction"], int(row["amount"]), int(row["balance"])) for row in rows] == [
        ("captured:ch_1:15000", -8_378, -8_378),
        ("refunded:re_1", 3_351, -5_027),
    ]
    assert [row["balance"] for row in json.loads(await said("statement", "s1", "--json"))] == [8_378, 5_027]
    trial = json.loads(await said("balances", "--json"))
    assert sum(row["debit"] for row in trial) == sum(row["credit"] for row in trial) > 0
    assert "5'027" not in await said("statement", "s2")
    assert "50.27 CHF" in await said("statement", "s1")
    assert "Nothing is booked." in await said("entries", "--since", "2000-01-01", "--until", "2000-01-02")
