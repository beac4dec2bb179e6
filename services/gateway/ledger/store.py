"""What is booked: facts are added, entries and balances are read. One statement per method."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import asyncpg

from services.gateway.errors import PageTokenInvalid
from services.gateway.ledger import statements
from services.gateway.ledger.domain import OF_SELLERS, SALES, Account, Fact, account_name
from services.gateway.ledger.entry_rows import APPEND, rows
from services.gateway.ledger.metrics import UNCOUNTED, LedgerMetrics
from services.runtime.database.connections import DirectConnections
from services.runtime.process.clock import Clock
from services.shared.paging import position_in, token_for

ALWAYS: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Before anything was booked."""
NEVER: Final = datetime(9999, 12, 31, tzinfo=UTC)
"""After everything that will be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BookedEntry:
    """An entry as it is kept."""

    fact: str
    place: int
    payment_id: str
    account: Account
    seller_id: str
    country: str
    currency_code: str
    amount_minor: int
    vat_minor: int
    stripe_id: str
    actor_id: str
    corrects: str
    record_time: datetime
    value_time: datetime

    @property
    def account_name(self) -> str:
        """The account's full name, such as `seller:s1`."""
        return account_name(self.account, seller_id=self.seller_id, country=self.country)


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryFilter:
    """Which entries; an empty field does not narrow them."""

    payment_id: str = ""
    account: str = ""
    seller_id: str = ""
    country: str = ""
    start_time: datetime = ALWAYS
    end_time: datetime = NEVER
    """Exclusive."""
    by_value_time: bool = False
    """The span and the order are of value dates."""

    def chosen(self) -> dict[str, str]:
        """Return which columns have to be what."""
        return {name: held for name in statements.FILTERS if (held := str(getattr(self, name)))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """What an account comes to."""

    account: Account
    seller_id: str
    country: str
    currency_code: str
    balance_minor: int

    @property
    def account_name(self) -> str:
        """The account's full name."""
        return account_name(self.account, seller_id=self.seller_id, country=self.country)


@dataclass(frozen=True, slots=True, kw_only=True)
class Owed:
    """What a seller is owed in a currency; below zero what it owes."""

    currency_code: str
    owed_minor: int
    held_minor: int
    """What it is not to have while disputes are open; not among what it is owed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementLine:
    """What one fact means for a seller, in minor units: above zero in its favour, but for fee and VAT."""

    fact: str
    currency_code: str
    record_time: datetime
    value_time: datetime
    payment_id: str
    stripe_id: str
    owed_minor: int
    held_minor: int
    gross_minor: int
    """What the payer paid for what the seller sold, below zero what the payer got back; 0 of what is about no sale."""
    fee_minor: int
    """The platform's fee without VAT, below zero where it was given back."""
    fee_vat_minor: int
    sale_vat_minor: int
    """The VAT in the price, which the seller owes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A page of a seller's statement."""

    opening: Sequence[Owed]
    """Before the first line of the page."""
    lines: Sequence[StatementLine]
    closing: Sequence[Owed]
    """After the last line of the page; after the span, on the last page."""
    next_token: str


class Ledger:
    """Adds to the ledger, and reads it."""

    def __init__(self, connections: DirectConnections, *, clock: Clock, metrics: LedgerMetrics = UNCOUNTED) -> None:
        self._connections = connections
        self._clock = clock
        self._metrics = metrics

    async def append(self, tenant_id: str, facts: Sequence[Fact]) -> frozenset[str]:
        """Book facts that are of no payment's mirror, those that are not booked yet; return the names of these."""
        async with self._connections.statement("ledger.append") as connection:
            found = await connection.fetch(APPEND, tenant_id, json.dumps(rows(facts)), self._clock.shift)
        new = frozenset(row["fact"] for row in found)
        self._metrics.booked(one for one in facts if one.fact in new)
        return new

    async def entries(
        self, tenant_id: str, chosen: EntryFilter, *, page_size: int, page_token: str
    ) -> tuple[list[BookedEntry], str]:
        """Return entries, the oldest first, and the token of the next page."""
        walk = f"ledger {tenant_id} {chosen}"
        after = (ALWAYS, "", 0)
        if page_token:
            after = position_in(page_token, walk=walk, parse=_place, invalid=PageTokenInvalid)
        time = "value_time" if chosen.by_value_time else "record_time"
        columns = chosen.chosen()
        async with self._connections.statement(None) as connection:
            found = await connection.fetch(
                statements.entries(list(columns), time=time), tenant_id, chosen.start_time, chosen.end_time, *after,
                page_size + 1, *columns.values(),
            )  # fmt: skip
        page = [_entry(row) for row in found[:page_size]]
        is_last = len(found) <= page_size
        return page, "" if is_last else token_for(_position(found[page_size - 1], time), walk=walk)

    async def balances(
        self, tenant_id: str, *, account: str = "", seller_id: str = "", country: str = "", at: datetime = NEVER
    ) -> list[Balance]:
        """Return what accounts come to before an instant, those at 0 left out; of a seller its own accounts alone."""
        columns = {
            name: held for name, held in (("account", account), ("seller_id", seller_id), ("country", country)) if held
        }
        async with self._connections.statement(None) as connection:
            found = await connection.fetch(
                statements.balances(list(columns)), tenant_id, at, sorted(OF_SELLERS), *columns.values()
            )
        read = [
            Balance(
                account=Account(row["account"]),
                seller_id=row["seller_id"],
                country=row["country"],
                currency_code=row["currency_code"],
                balance_minor=row["balance_minor"],
            )
            for row in found
        ]
        return [one for one in read if not seller_id or one.account in OF_SELLERS]

    async def statement(
        self,
        tenant_id: str,
        seller_id: str,
        *,
        start_time: datetime,
        end_time: datetime,
        page_size: int,
        page_token: str,
    ) -> Statement:
        """Return what a seller was owed, line by line."""
        walk = f"statement {tenant_id} {seller_id} {start_time} {end_time}"
        after_time, after_fact, _ = (start_time, "", 0)
        if page_token:
            after_time, after_fact, _ = position_in(page_token, walk=walk, parse=_place, invalid=PageTokenInvalid)
        async with self._connections.statement(None) as connection:
            opening = await connection.fetch(statements.OWED, tenant_id, after_time, seller_id, after_fact)
            found = await connection.fetch(
                statements.LINES, tenant_id, seller_id, start_time, end_time, after_time, after_fact, page_size + 1,
                sorted(SALES),
            )  # fmt: skip
        # A fact of two currencies is two lines, which stay together.
        page = found[:page_size]
        token = ""
        if len(found) > page_size:
            last = found[page_size]["fact"]
            page = [row for row in page if row["fact"] != last] or page
            token = token_for(_position(page[-1], "record_time"), walk=walk)
        before = [Owed(**dict(row)) for row in opening]
        lines = [StatementLine(**dict(row)) for row in page]
        return Statement(opening=before, lines=lines, closing=closing_of(before, lines), next_token=token)


def closing_of(opening: Iterable[Owed], lines: Iterable[StatementLine]) -> list[Owed]:
    """Return what a seller is owed after lines."""
    sums = {one.currency_code: one for one in opening}
    for line in lines:
        before = sums.get(line.currency_code, Owed(currency_code=line.currency_code, owed_minor=0, held_minor=0))
        sums[line.currency_code] = Owed(
            currency_code=line.currency_code,
            owed_minor=before.owed_minor + line.owed_minor,
            held_minor=before.held_minor + line.held_minor,
        )
    return [sums[code] for code in sorted(sums)]


def _entry(row: asyncpg.Record) -> BookedEntry:
    fields = {name: row[name] for name in BookedEntry.__slots__ if name != "account"}
    return BookedEntry(account=Account(row["account"]), **fields)


def _position(row: asyncpg.Record, time: str) -> str:
    return json.dumps([row[time].isoformat(), row["fact"], row.get("place", 0)])


def _place(text: str) -> tuple[datetime, str, int]:
    time, fact, place = json.loads(text)
    if not isinstance(fact, str) or not isinstance(place, int):
        raise ValueError(text)
    return datetime.fromisoformat(time), fact, place
