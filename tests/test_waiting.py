"""No test sleeps: it waits for what it needs, with a limit that a busy machine does not reach."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

TESTS: Final = Path(__file__).parent
CLIENTS: Final = ("httpx.AsyncClient", "httpx.Client")
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


def test_no_client_has_the_five_seconds_that_nobody_chose() -> None:
    """A front that is starved of its processor answers later than what httpx waits for by itself."""
    texts = {path: path.read_text() for path in TESTS.rglob("*.py")}
    unlimited = {
        f"{path.relative_to(TESTS)}:{node.lineno}"
        for path, text in texts.items()
        if "Client(" in text
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in CLIENTS and "timeout" not in _names(node)
    }

    assert unlimited == set()


def _names(call: ast.Call) -> set[str | None]:
    return {one.arg for one in call.keywords}


def sleeps(tree: ast.AST) -> bool:
    """Whether some time is slept away; `sleep(0)` is a turn of the loop and takes none."""
    return any(
        isinstance(node, ast.Call)
        and (getattr(node.func, "attr", None) or getattr(node.func, "id", None)) == "sleep"
        and not (isinstance(node.args[0], ast.Constant) and node.args[0].value == 0)
        for node in ast.walk(tree)
    )
