"""The schema of pricing, the data that comes with it, and what its process needs to start."""

from __future__ import annotations

import tomllib
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from asyncpg.connection import LoggedQuery
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from batzen.pricing.v1 import pricing_pb2
from local.databases import ServiceDatabase
from services.gateway.stripe_api.currencies import currency_codes, limits
from services.pricing.__main__ import read_settings
from services.pricing.domain.book import FeeBasis
from services.pricing.seed import DATA, load_currencies
from services.pricing.storage import tables
from services.pricing.storage.idempotency import FORGET
from services.pricing.storage.store import KEEP, REDEEM
from services.runtime.database.connections import DirectConnections, plain_dsn
from services.runtime.database.request_expiry import REQUESTS_KEPT, forget
from services.runtime.process.settings import SettingsError, settings_from
from tests.pricing.conftest import Stub
from tests.pricing.samples import BOOK, NOW, order
from tests.schema import schema_differences


async def test_the_tables_of_the_code_are_those_of_the_migrations(database: ServiceDatabase) -> None:
    assert await schema_differences(database.owner_url, tables.metadata) == []


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE quotes SET caller = 'x'",
        "DELETE FROM quotes",
        "TRUNCATE quotes",
        "UPDATE price_book_entries SET actor = 'x'",
        "DELETE FROM price_book_entries",
        "DELETE FROM discount_uses",
    ],
)
async def test_the_runtime_role_cannot_rewrite_history(database: ServiceDatabase, statement: str) -> None:
    connection = await asyncpg.connect(plain_dsn(database.runtime_url))
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("code", "digits"),
    [("CHF", 2), ("EUR", 2), ("JPY", 0), ("ISK", 0), ("UGX", 0), ("KWD", 3), ("TND", 3), ("MGA", 2), ("HUF", 2)],
)
def test_currencies_have_the_minor_units_of_iso_4217(code: str, digits: int) -> None:
    assert load_currencies()[code].digits == digits


def test_every_currency_stands_once_and_is_a_code() -> None:
    table = tomllib.loads((DATA / "currencies.toml").read_text())
    codes = [code for line in table["minor_units"].values() for code in line.split()]

    assert len(codes) == len(set(codes)) == len(load_currencies())
    assert all(len(code) == 3 and code.isascii() and code.isupper() for code in codes)
    assert table["source"]
    assert table["read_date"]


def test_every_step_is_of_one_currency_and_names_its_source() -> None:
    steps = tomllib.loads((DATA / "currencies.toml").read_text())["step"]
    codes = [code for step in steps for code in step["codes"].split()]

    assert len(codes) == len(set(codes))
    assert load_currencies().keys() >= set(codes)
    assert all(step["minor"] > 1 and step["source"] and step["read_date"] for step in steps)


def test_steps_are_those_that_the_gateway_charges_in() -> None:
    priced = load_currencies()
    charged = currency_codes() & priced.keys()

    assert {code: priced[code].step_minor for code in charged} == {code: limits(code).step_minor for code in charged}
    assert all(priced[code].step_minor == 1 for code in priced.keys() - charged)


def test_every_currency_that_stripe_charges_in_can_be_priced() -> None:
    """But for two whose codes ISO 4217 has withdrawn: the guilder became XCG, the dobra STN."""
    priced = set(load_currencies())

    assert currency_codes() - priced == {"ANG", "STD"}
    assert {"XCG", "STN"} <= priced


@asynccontextmanager
async def noting(held: DirectConnections, engine: AsyncEngine) -> AsyncIterator[list[str]]:
    """Note every statement that is sent to the database while inside."""
    sent: list[str] = []

    def note(query: LoggedQuery) -> None:
        sent.append(query.query)

    def note_too(*call: Any) -> None:
        sent.append(call[2])

    event.listen(engine.sync_engine, "before_cursor_execute", note_too)
    async with held.statement(None) as connection:  # which whoever is next, and alone, gets again
        connection.add_query_logger(note)
    try:
        yield sent
    finally:
        event.remove(engine.sync_engine, "before_cursor_execute", note_too)
        connection.remove_query_logger(note)


async def test_a_quote_without_a_limited_discount_is_kept_in_one_round_trip(
    pricing: Stub, held: DirectConnections, engine: AsyncEngine
) -> None:
    await pricing.CreateQuote(order())  # the price book is in memory from here on

    async with noting(held, engine) as sent:
        await pricing.CreateQuote(order(locales=["de-CH"]))

    assert sent == [KEEP]


async def test_a_quote_without_a_limited_discount_is_redeemed_in_one_round_trip(
    pricing: Stub, held: DirectConnections, engine: AsyncEngine
) -> None:
    quote_id = (await pricing.CreateQuote(order())).quote.quote_id

    async with noting(held, engine) as sent:
        await pricing.RedeemQuote(pricing_pb2.RedeemQuoteRequest(request_id=str(uuid.uuid4()), quote_id=quote_id))

    assert sent == [REDEEM]


async def test_requests_are_forgotten_after_90_days_and_what_they_did_stays_done_once(
    pricing: Stub, database: ServiceDatabase
) -> None:
    quote_id = (await pricing.CreateQuote(order())).quote.quote_id
    redeem = pricing_pb2.RedeemQuoteRequest(request_id=str(uuid.uuid4()), quote_id=quote_id)
    first = await pricing.RedeemQuote(redeem)

    async with DirectConnections(database.runtime_url, application_name="pricing-tests", size=1) as held:
        assert await forget(held, FORGET, now=NOW + REQUESTS_KEPT) == 0
        assert await forget(held, FORGET, now=NOW + REQUESTS_KEPT + timedelta(seconds=1)) >= 1
        assert await forget(held, FORGET, now=NOW + REQUESTS_KEPT + timedelta(seconds=1)) == 0

    assert await pricing.RedeemQuote(redeem) == first


def test_every_rate_names_the_page_it_was_read_from() -> None:
    rates = tomllib.loads((DATA / "tax_rates.toml").read_text())["rate"]

    assert all(rate["source"].startswith("https://") and rate["read_date"] for rate in rates)
    keys = [(rate["country"], rate["tax_category"], rate["effective_from"]) for rate in rates]
    assert len(keys) == len(set(keys))
    (plan,) = BOOK.fee_plans["", ""]
    assert (str(plan.tiers[0].percent), plan.basis) == ("15", FeeBasis.BASE)


def test_missing_settings_are_named_all_at_once() -> None:
    with pytest.raises(SettingsError) as refused:
        settings_from({}, read_settings)

    assert [problem.split()[0] for problem in refused.value.problems] == [
        "BATZEN_RUNTIME_DATABASE_URL",
        "BATZEN_JWKS",
        "BATZEN_TOKEN_ISSUER",
        "BATZEN_TOKEN_AUDIENCE",
        "BATZEN_ENVIRONMENT",
    ]
