"""No test sleeps: it waits for what it needs, with a limit."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

TESTS: Final = Path(__file__).parent
MAY_SLEEP: Final = {
    "eventually.py": "the one place that looks again",
    "status/history/": "generators of load: what they do has moments, drawn from a seed, and is judged afterwards",
}
"""Files and folders, and why."""


def test_nothing_sleeps_but_what_has_a_reason() -> None:
    texts = {path: path.read_text() for path in TESTS.rglob("*.py")}
    sleeping = {path for path, text in texts.items() if "sleep" in text and sleeps(ast.parse(text))}

    names = {str(path.relative_to(TESTS)) for path in sleeping}
    assert {name for name in names if not name.startswith(tuple(MAY_SLEEP))} == set()
    assert all(any(name.startswith(reasoned) for name in names) for reasoned in MAY_SLEEP)


def sleeps(tree: ast.AST) -> bool:
    """Whether some time is slept away; `sleep(0)` is a turn of the loop and takes none."""
    return any(
        isinstance(node, ast.Call)
        and (getattr(node.func, "attr", None) or getattr(node.func, "id", None)) == "sleep"
        and not (isinstance(node.args[0], ast.Constant) and node.args[0].value == 0)
        for node in ast.walk(tree)
    )
