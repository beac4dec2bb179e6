"""The glossary defines each word before it uses it, and every name that it gives is there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from google.protobuf import descriptor_pool

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs/glossary.md").read_text()
TERMS = re.findall(r"^\*\*(.+?)\*\*: ((?:.+\n)+?)((?:`[^`\n]+` ?)+)$", TEXT, re.MULTILINE)
NAMES = sorted({name for _, _, names in TERMS for name in re.findall(r"`(.+?)`", names)})
PACKAGES = (
    "type.v1.money type.v1.payment status.v1.status pricing.v1.pricing orchestrator.v1.orchestrator "
    "orchestrator.v1.ops orchestrator.v1.webhooks gateway.v1.intents gateway.v1.sellers gateway.v1.observation "
    "gateway.v1.ops gateway.v1.payer gateway.v1.payment_methods gateway.v1.checkout gateway.v1.contacts"
)


def test_each_term_is_defined_once_and_before_it_is_used() -> None:
    assert len(TERMS) == TEXT.count("\n**")
    known: set[str] = set()
    for term, definition, _ in TERMS:
        assert term not in known
        for used in re.findall(r"(?<!\*)\*([^*\n]+)\*(?!\*)", definition):
            word = used.lower()
            assert {word, word.removesuffix("s"), word.removesuffix("es")} & known, (term, used)
        known.add(term)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_the_glossary_gives_is_there(name: str) -> None:
    if name.startswith("batzen."):
        assert is_in_the_contracts(name)
    elif name.startswith("services."):
        assert is_in_the_code(name)
    else:
        assert is_in_the_tables(*name.split("."))


def is_in_the_contracts(name: str) -> bool:
    for package in PACKAGES.split():
        importlib.import_module(f"batzen.{package}_pb2")
    pool = descriptor_pool.Default()  # type: ignore[no-untyped-call]
    owner, _, field = name.rpartition(".")
    for find in (pool.FindMessageTypeByName, pool.FindEnumTypeByName):
        try:
            find(name)
        except KeyError:
            continue
        return True
    return field in pool.FindMessageTypeByName(owner).fields_by_name


def is_in_the_code(name: str) -> bool:
    parts = name.split(".")
    for end in range(len(parts), 1, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            found = getattr(found, part)
        return True
    return False


def is_in_the_tables(service: str, table: str, column: str = "tenant_id") -> bool:
    migrations = sorted((ROOT / f"services/{service}/migrations").glob("*.sql"))
    tables = "\n".join(path.read_text() for path in migrations)
    body = re.search(rf"^CREATE TABLE {table} \((.+?)^\)", tables, re.MULTILINE | re.DOTALL)
    return body is not None and re.search(rf"^\s+{column}\s", body[1], re.MULTILINE) is not None
