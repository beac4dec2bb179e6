"""Comparing the tables that code declares with those that the migrations made."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import create_async_engine

FOREIGN_TABLES = ("schema_migrations",)
"""Tables of the runtime, which no service declares; by prefix."""


async def schema_differences(url: str, metadata: sa.MetaData) -> list[str]:
    """Say how the database differs from `metadata`: tables, columns, types, nullability, primary keys, unique names.

    Partitions are parts of their table.

    Empty means none. A unique constraint and a unique index are the same thing here: its name and columns count.
    """
    engine = create_async_engine(url, poolclass=sa.NullPool)
    async with engine.connect() as connection:
        return await connection.run_sync(_differences, metadata)


def _differences(connection: sa.Connection, metadata: sa.MetaData) -> list[str]:
    inspector = sa.inspect(connection)
    declared = {table.name: _declared(table) for table in metadata.sorted_tables}
    partitions = set(connection.scalars(sa.text("SELECT relname FROM pg_class WHERE relispartition")))
    names = [name for name in inspector.get_table_names() if name not in partitions]
    real = {name: _real(inspector, name) for name in names if not name.startswith(FOREIGN_TABLES)}
    facts = [
        (f"{table}.{key}", declared.get(table, {}).get(key), real.get(table, {}).get(key))
        for table in sorted(declared | real)
        for key in sorted(declared.get(table, {}) | real.get(table, {}))
    ]
    return [f"{name}: the code says {ours}, the database {theirs}" for name, ours, theirs in facts if ours != theirs]


def _declared(table: sa.Table) -> dict[str, str]:
    facts = {f"{column.name}": _column(column.type, nullable=bool(column.nullable)) for column in table.columns}
    facts["primary key"] = _names(column.name for column in table.primary_key.columns)
    for constraint in table.constraints:
        if isinstance(constraint, sa.UniqueConstraint):
            columns = [column.name for column in constraint.columns]
            facts[f"unique {constraint.name or _default_name(table.name, columns)}"] = _names(columns)
    for index in table.indexes:
        if index.unique:
            facts[f"unique {index.name}"] = _names(getattr(item, "name", str(item)) for item in index.expressions)
    return facts


def _real(inspector: sa.Inspector, table: str) -> dict[str, str]:
    facts = {
        found["name"]: _column(found["type"], nullable=found["nullable"]) for found in inspector.get_columns(table)
    }
    facts["primary key"] = _names(inspector.get_pk_constraint(table)["constrained_columns"])
    for index in inspector.get_indexes(table):  # PostgreSQL backs each unique constraint with an index of its name
        if index["unique"]:
            facts[f"unique {index['name']}"] = _names(index.get("expressions") or index["column_names"])
    return facts


def _column(kind: sa.types.TypeEngine[Any], *, nullable: bool) -> str:
    spelled = kind.compile(dialect=postgresql.dialect())  # type: ignore[no-untyped-call]
    return f"{'TEXT' if spelled == 'VARCHAR' else spelled}{'' if nullable else ' NOT NULL'}"


def _default_name(table: str, columns: list[str]) -> str:
    """Return the name PostgreSQL gives an unnamed unique constraint."""
    return f"{table}_{'_'.join(columns)}_key"


def _names(names: Any) -> str:
    return ", ".join(str(name) for name in names)
