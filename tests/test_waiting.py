"""No test sleeps: it waits for what it needs, with a limit that a busy machine does not reach."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

from tests.eventually import WITHIN_S

TESTS: Final = Path(__file__).parent
CLIENTS: Final = ("httpx.AsyncClient", "httpx.Client")
MAY_SLEEP: Final = {
    "eventually.py": "the one place that looks again",
    "status/history/": "generators of load: what they do has moments, drawn from a seed, and is judged afterwards",
}
"""Files and folders, and why."""
QUICK_MAX_S: Final = 0.5
MAY_BE_SHORT: Final = {
    "runtime/test_names.py": "what is found without the limit that is tested is found after half a minute",
    "status/history/": "what is held up there on purpose is judged by when it was",
    "orchestrator/hooks.py": "nobody is at the other end",
    "suite/soaking.py": "a browser that leaves a page",
    "hour/stranger.py": "what is killed then",
}
"""Files and folders whose limits say more than that something hangs, and what."""


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


def test_no_browser_has_the_half_minute_that_nobody_chose() -> None:
    """`new_context` of tests/web/browser.py gives it as long as everything else has."""
    opening = {path.name for path in (TESTS / "web").glob("*.py") if ".new_context(" in path.read_text()}

    assert opening == {"browser.py", "gallery.py", "hear.py"}  # the last two are no tests


def test_what_might_hang_is_given_a_minute() -> None:
    """Between the quick waits, which are to come to nothing, and a minute there is what a busy machine reaches."""
    texts = {str(path.relative_to(TESTS)): path.read_text() for path in TESTS.rglob("*.py")}
    short = {
        name: limits
        for name, text in texts.items()
        if any(word in text for word in ("timeout(", "wait_for(", "within_s", "make_channel("))
        and (limits := [one for one in limits_of(ast.parse(text)) if QUICK_MAX_S < one < WITHIN_S])
    }

    assert {name for name in short if not name.startswith(tuple(MAY_BE_SHORT))} == set()
    assert all(any(name.startswith(reasoned) for name in short) for reasoned in MAY_BE_SHORT)


def limits_of(tree: ast.Module) -> list[float]:
    """Return the limits of waits that are numbers, in place or as a constant of the module."""
    constants = {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Constant)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    found = []
    for call in ast.walk(tree):
        if isinstance(call, ast.Call):
            name = ast.unparse(call.func)
            limiting = "timeout_s" if name.endswith("make_channel") else "within_s"
            given = [one.value for one in call.keywords if one.arg == limiting]
            given += call.args[:1] if name == "asyncio.timeout" else call.args[1:2] if name.endswith("wait_for") else []
            for one in given:
                value = one.value if isinstance(one, ast.Constant) else constants.get(ast.unparse(one))
                if isinstance(value, int | float):
                    found.append(float(value))
    return found


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
