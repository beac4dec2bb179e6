"""A test reads of the log what one module or one payment said, since others log beside it."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

import pytest

TESTS: Final = Path(__file__).parent
NARROWS: Final = frozenset({"name", "message", "getMessage"})
"""What of a record says whose it is."""


def test_no_test_is_about_the_log_as_a_whole() -> None:
    texts = {path: path.read_text() for path in TESTS.rglob("*.py")}
    reading = {path: ast.parse(text) for path, text in texts.items() if "caplog" in text}

    assert reading
    assert [str(path.relative_to(TESTS)) for path, tree in reading.items() if reads_all(tree)] == []


@pytest.mark.parametrize(
    ("source", "is_all"),
    [
        ("len(caplog.records)", True),
        ("[one.levelno for one in caplog.records if one.levelno > 20]", True),
        ("[one for one in caplog.records if one.name == 'a']", False),
        ("any('a' in one.getMessage() for one in caplog.records)", False),
    ],
)
def test_what_reads_all(source: str, is_all: bool) -> None:
    assert reads_all(ast.parse(source)) is is_all


def reads_all(tree: ast.AST) -> bool:
    """Whether records of the log are taken without a word on whose they are."""
    comprehensions = (ast.ListComp, ast.GeneratorExp, ast.SetComp)
    narrowed = {
        id(node.generators[0].iter)
        for node in ast.walk(tree)
        if isinstance(node, comprehensions)
        and any(isinstance(part, ast.Attribute) and part.attr in NARROWS for part in ast.walk(node))
    }
    return any(
        isinstance(node, ast.Attribute)
        and node.attr == "records"
        and getattr(node.value, "id", "") == "caplog"
        and id(node) not in narrowed
        for node in ast.walk(tree)
    )
