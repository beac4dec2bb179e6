"""What would have to be true of a table and of a statement for rows to lie on several database servers.

The rules are those of Citus for distributed tables: the distribution column is in each primary and unique key, no
foreign key crosses it, and a statement that is asked often names one value of it, so that one server answers it alone.
What a statement names is read from PostgreSQL's own plan of it. None of this has run on Citus.
"""

from __future__ import annotations

import ast
import importlib
import json
import pkgutil
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

import asyncpg

from services.runtime.work import statements as work
from services.runtime.work.kinds import RetryPolicy, Work, WorkClass, WorkKind

SERVICES: Final = Path(__file__).parents[1] / "services"
SHARDED: Final = ("status", "orchestrator", "gateway")
IS_SQL: Final = re.compile(r"\s*(WITH|SELECT|INSERT INTO|UPDATE|DELETE FROM)\s(?!\d$)")
PLAN: Final = """
CREATE FUNCTION pg_temp.plan(statement text) RETURNS json LANGUAGE plpgsql AS $$
DECLARE found json;
BEGIN
  EXECUTE 'EXPLAIN (GENERIC_PLAN, VERBOSE, FORMAT JSON) ' || statement INTO found;
  RETURN found;
END $$"""
BY_INDEX_ALONE: Final = "SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_seqscan = off"
"""So that a condition stands where a table is read, however few rows there are."""
ANY: Final = "any"
"""Of a table of which nothing is named."""
CONDITIONS: Final = ("Index Cond", "Recheck Cond", "Filter", "Join Filter", "TID Cond")


class Spread(IntEnum):
    """How many servers have to answer a statement."""

    ONE = 1
    """The one with the payment, or whatever else it names."""
    MANY = 2
    """Those with the payments that it is asked for at once: it is split by server."""
    EVERY = 3
    """All: it names none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A statement of a service, by the name of what holds it."""

    name: str
    text: str


def module_statements(service: str) -> Iterator[Statement]:
    """Yield each statement that is a constant of a module of the service, or stands as it is in a function there."""
    package = importlib.import_module(f"services.{service}")
    seen: set[str] = set()
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if info.name.endswith("__main__"):
            continue
        module = importlib.import_module(info.name)
        place = info.name.removeprefix("services.")
        for name, value in vars(module).items():
            text = getattr(value, "text", value)
            if isinstance(text, str) and IS_SQL.match(text) and text not in seen:
                seen.add(text)
                yield Statement(name=f"{place}.{name}", text=text)
        for function, text in _in_functions(Path(str(module.__file__))):
            if text not in seen:
                seen.add(text)
                yield Statement(name=f"{place}.{function}", text=text)


def builders() -> Iterator[str]:
    """Yield the modules of services to be split that put statements together in a function."""
    for service in SHARDED:
        for path in sorted((SERVICES / service).rglob("*.py")):
            source = path.read_text()
            parts = [
                node.values[0].value
                for function in ast.walk(ast.parse(source))
                if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
                for node in ast.walk(function)
                if isinstance(node, ast.JoinedStr) and node.values and isinstance(node.values[0], ast.Constant)
            ]
            if any(IS_SQL.match(str(part)) for part in parts) or re.search(
                r"\bsa\.(select|insert|update|delete)\(", source
            ):
                yield ".".join(path.relative_to(SERVICES).with_suffix("").parts)


def work_statements(table: str, key: Mapping[str, str]) -> Iterator[Statement]:
    """Yield what the engine asks of a table whose rows are work."""

    async def never(_: Work) -> None:
        raise AssertionError

    retry = RetryPolicy(tries_max=None, first_delay=timedelta(0))
    kind = WorkKind(name=table, work_class=WorkClass.MONEY, table=table, key=key, retry=retry, handler=never)
    made = {
        "next_due": work.next_due([kind], tenants=True),
        "claim": work.claim(kind, tenants=True),
        "renew": work.renew(kind),
        "finish": work.finish(kind),
        "put_back": work.put_back(kind),
        "fail": work.fail(kind),
    }
    yield from (Statement(name=f"work.{name}({table})", text=text) for name, text in made.items())


def _in_functions(path: Path) -> Iterator[tuple[str, str]]:
    for function in ast.walk(ast.parse(path.read_text())):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            nodes = list(ast.walk(function))
            parts = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
            whole = [node.value for node in nodes if isinstance(node, ast.Constant) and id(node) not in parts]
            yield from ((function.name, text) for text in whole if isinstance(text, str) and IS_SQL.match(text))


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """The distribution column of a table."""

    name: str
    place: int
    """Among the columns of the table, from 0 on."""


async def spread_of(connection: asyncpg.Connection, statement: Statement, by: Mapping[str, Column]) -> Spread | None:
    """Return how many servers a statement needs, None if it is about none of the tables in `by`.

    The connection has `PLAN` and `BY_INDEX_ALONE`.
    """
    [found] = json.loads(await connection.fetchval("SELECT pg_temp.plan($1)", statement.text))
    nodes = list(_nodes(found["Plan"]))
    values = {
        value
        for node in nodes
        if node.get("Relation Name") in by
        for value in _values(node, by[node["Relation Name"]], nodes)
    }
    if not values:
        return None
    if ANY in values:
        return Spread.EVERY
    one_of_many = {value for value in values if _is_of_list(value, nodes)}
    named = {value for value in values if value.startswith(("$", "'"))}
    return Spread.MANY if one_of_many or len(named) > 1 else Spread.ONE


Node = Mapping[str, Any]


def _nodes(node: Node) -> Iterator[Node]:
    yield node
    for part in node.get("Plans", ()):
        yield from _nodes(part)


def _values(node: Node, column: Column, nodes: Sequence[Node]) -> Iterator[str]:
    """Yield what a node of a plan says of the distribution column; what a statement changes is read below that."""
    if node["Node Type"] == "ModifyTable":
        if node["Operation"] == "Insert":
            yield _inserted(node, column)
        return
    mine = rf"{re.escape(node['Alias'])}\.{column.name}"
    said = " ".join(
        str(other.get(kind, "")) for other in nodes for kind in CONDITIONS if other is node or kind == "Join Filter"
    )
    found = re.search(rf"\({mine} = \(?([^ ():]+)", said) or re.search(rf"\((\S+) = {mine}\)", said)
    yield ANY if found is None else found[1]


def _inserted(node: Node, column: Column) -> str:
    """Return what becomes the distribution column of a row that is inserted."""
    [source] = [part for part in node["Plans"] if part["Parent Relationship"] == "Outer"]
    while "*SELECT*" in source["Output"][column.place]:
        [source] = source["Plans"]
    return str(source["Output"][column.place]).strip("()")


def _is_of_list(value: str, nodes: Sequence[Node]) -> bool:
    """Whether a value is one of a list that the statement was given."""
    if value == "ANY":
        return True
    of = next((node for node in nodes if node.get("Alias") == value.partition(".")[0]), None)
    if of is not None and of["Node Type"] == "CTE Scan":
        of = next((node for node in nodes if node.get("Subplan Name") == f"CTE {of['CTE Name']}"), None)
    return of is not None and of["Node Type"] == "Function Scan"
