"""Schema and statements keep the road to several database servers open: the rules hold, or the exception is listed."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import asyncpg
import pytest

from services.runtime.database.connections import plain_dsn
from services.status.storage import statements
from tests.conftest import Databases
from tests.sharding import (
    BY_INDEX_ALONE,
    PLAN,
    Column,
    Spread,
    Statement,
    builders,
    module_statements,
    spread_of,
    work_statements,
)
from tests.sharding_rules import BUILT, EVERYWHERE, FUNCTIONS, KEYS, PARTS, STATEMENTS, TABLES

COLUMNS = """
SELECT coalesce(parent.relname, c.relname) AS table, c.relname AS name, a.attname AS column, a.attnum - 1 AS place
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
LEFT JOIN pg_inherits i ON i.inhrelid = c.oid LEFT JOIN pg_class parent ON parent.oid = i.inhparent
WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace AND a.attnum > 0
  AND c.relname <> 'schema_migrations'"""
UNIQUE = """
SELECT x.indexrelid::regclass::text AS key, c.relname AS table, array_agg(a.attname::text) AS columns
FROM pg_index x JOIN pg_class c ON c.oid = x.indrelid
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (x.indkey)
WHERE x.indisunique AND c.relnamespace = 'public'::regnamespace AND NOT c.relispartition
GROUP BY 1, 2"""
FOREIGN = "SELECT conname FROM pg_constraint WHERE contype = 'f'"
WORK = """
SELECT c.relname AS table, array_agg(a.attname::text) AS columns, array_agg(format_type(a.atttypid, NULL)) AS types
FROM pg_index x JOIN pg_class c ON c.oid = x.indrelid
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (x.indkey) AND a.attname <> 'tenant_id'
WHERE x.indisprimary AND EXISTS (SELECT FROM pg_attribute d WHERE d.attrelid = c.oid AND d.attname = 'due_time')
GROUP BY 1"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """The database of a service, as its migrations make it."""

    service: str
    connection: asyncpg.Connection

    async def by(self) -> Mapping[str, Column]:
        """Return the distribution column of each table that has one, partitions by their own names, too."""
        wanted = TABLES[self.service]
        rows = await self.connection.fetch(COLUMNS)
        return {
            row["name"]: Column(name=row["column"], place=row["place"])
            for row in rows
            if wanted.get(row["table"]) == row["column"]
        }

    async def key_problems(self) -> set[str]:
        """Return the unique keys that lack the distribution column, and the foreign keys."""
        by = await self.by()
        rows = await self.connection.fetch(UNIQUE)
        lacking = {row["key"] for row in rows if row["table"] in by and by[row["table"]].name not in row["columns"]}
        return lacking | {row["conname"] for row in await self.connection.fetch(FOREIGN)}

    async def statements(self) -> list[Statement]:
        """Return what the service asks of its tables, and the engine of those whose rows are work."""
        asked = [one for one in module_statements(self.service) if one.name not in PARTS]
        for row in await self.connection.fetch(WORK):
            asked += work_statements(row["table"], dict(zip(row["columns"], row["types"], strict=True)))
        return asked


@pytest.fixture(params=TABLES, scope="module")
async def schema(request: pytest.FixtureRequest, databases: Databases) -> AsyncIterator[Schema]:
    database = await databases.create(request.param)
    connection = await asyncpg.connect(plain_dsn(database.owner_url))
    await connection.execute(PLAN)
    await connection.execute(BY_INDEX_ALONE)
    yield Schema(service=request.param, connection=connection)
    await connection.close()
    await databases.drop(database)


async def test_each_table_has_its_place_and_its_column(schema: Schema) -> None:
    rows = await schema.connection.fetch(COLUMNS)
    assert {row["table"] for row in rows} == set(TABLES[schema.service])
    split = {table for table, column in TABLES[schema.service].items() if column != EVERYWHERE}
    assert split <= set(await schema.by())


async def test_each_key_holds_the_column_or_is_listed(schema: Schema) -> None:
    listed = {key for key in KEYS if await schema.connection.fetchval("SELECT to_regclass($1)", key)}
    assert await schema.key_problems() == listed & await schema.key_problems()
    assert listed <= await schema.key_problems(), "listed, and not needed any more"


async def test_each_statement_names_one_or_is_listed(schema: Schema) -> None:
    by = await schema.by()
    found = {one.name: await spread_of(schema.connection, one, by) for one in await schema.statements()}
    wrong = {
        name: f"{spread.name}, listed as {listed(name).name}"
        for name, spread in found.items()
        if spread is not None and spread is not listed(name)
    }
    assert wrong == {}
    mine = {name for name in STATEMENTS if name.startswith(f"{schema.service}.")}
    assert mine <= set(found), "listed, and not asked any more"


def listed(name: str) -> Spread:
    exempt = STATEMENTS.get(name) or STATEMENTS.get(re.sub(r"\(\w+\)$", "", name))
    return Spread.ONE if exempt is None else exempt.spread


async def test_functions_that_read_tables_are_listed(schema: Schema) -> None:
    names = await schema.connection.fetch("SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace")
    assert {row["proname"] for row in names} <= set(FUNCTIONS)


def test_modules_that_build_statements_are_listed() -> None:
    assert set(builders()) == set(BUILT)


# That each rule can fail.


@pytest.mark.parametrize("schema", ["status"], indirect=True)
@pytest.mark.parametrize(
    "planted",
    [
        "CREATE UNIQUE INDEX planted ON payments (tenant_id, client_reference)",
        "ALTER TABLE payment_sellers ADD CONSTRAINT planted UNIQUE (tenant_id, seller_id, open_time)",
        "ALTER TABLE payment_bookings ADD CONSTRAINT planted FOREIGN KEY (tenant_id, payment_id) REFERENCES payments",
    ],
)
async def test_a_key_that_crosses_servers_is_found(schema: Schema, planted: str) -> None:
    planting = schema.connection.transaction()
    await planting.start()
    await schema.connection.execute(planted)
    found = await schema.key_problems()
    await planting.rollback()

    assert found == {"planted"}


@pytest.mark.parametrize("schema", ["status"], indirect=True)
@pytest.mark.parametrize(
    ("text", "spread"),
    [
        (statements.RECORD, Spread.ONE),
        (
            statements.RECORD.replace("tenant_id = $1 AND payment_id = $2", "tenant_id = $1 AND quote_id = $2"),
            Spread.EVERY,
        ),
        (statements.RECORD.replace("AND t.payment_id = payments.payment_id", ""), Spread.EVERY),
        ("SELECT FROM payments WHERE tenant_id = $1 AND payment_id = ANY ($2::text[])", Spread.MANY),
        (
            "SELECT FROM payments p JOIN transitions t USING (tenant_id) WHERE p.payment_id = $1 AND t.payment_id = $2",
            Spread.MANY,
        ),
        (
            "INSERT INTO payment_sellers SELECT $1, s, now(), p FROM unnest($2::text[], $3::text[]) AS a (s, p)",
            Spread.MANY,
        ),
        ("SELECT 1", None),
    ],
)
async def test_what_a_statement_names_is_seen(schema: Schema, text: str, spread: Spread | None) -> None:
    statement = Statement(name="planted", text=text)
    assert await spread_of(schema.connection, statement, await schema.by()) is spread
