"""The page that follows SubmitPayment names what is there, each room once, in the order in which rooms may be known."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "ARCHITECTURE.md").read_text()
PAGE = TEXT[TEXT.index("\n## The way of SubmitPayment\n") : TEXT.index("\n## What makes it hold\n")]
CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
ROWS = [line.strip("| ").split(" | ") for line in PAGE.splitlines() if re.match(r"\| \d+ \| ", line)]
ROOMS = [CODE.findall(room) for _, room, _ in ROWS]
LINES_MAX = 40
"""Of the page: longer, nobody walks it to its end."""


def file_of(name: str) -> Path:
    return ROOT / "services" / name


def defined(path: Path) -> set[str]:
    """Return the classes and functions of a file, methods too."""
    tree = ast.parse(path.read_text())
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds)}


def test_the_page_is_short() -> None:
    assert len(ROOMS) > 10
    assert len(PAGE.strip().splitlines()) <= LINES_MAX


@pytest.mark.parametrize("name", sorted({name for name in CODE.findall(TEXT) if name.endswith(".py")}))
def test_every_file_that_is_named_is_there(name: str) -> None:
    assert file_of(name.removeprefix("services/")).exists() or (ROOT / name).exists() or name == "__init__.py"


@pytest.mark.parametrize(("room", "happening"), [row[1:] for row in ROWS])
def test_a_class_is_in_the_file_before_it_and_a_function_in_one_of_its_row(room: str, happening: str) -> None:
    files = [file_of(name) for name in CODE.findall(f"{room} {happening}") if name.endswith(".py")]
    names = CODE.findall(room)
    for path, name in zip(names[::2], names[1::2], strict=True):
        assert name in defined(file_of(path)), name
    for name in CODE.findall(happening):
        if not name.endswith(".py") and name != name.upper():
            assert any(name in defined(path) for path in files), name


def test_no_room_is_crossed_twice() -> None:
    rooms = [re.sub(r"(/\w+\.py|\.py)$", "", names[0]) if names[0].count("/") > 1 else names[0] for names in ROOMS]
    assert len(rooms) == len(set(rooms))


@pytest.mark.parametrize("service", ["orchestrator", "status"])
def test_the_way_goes_down_the_layers(service: str) -> None:
    # Of the gateway it goes down and up: the call log calls back the operation that it was given.
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [layers] = [
        contract["layers"]
        for contract in contracts
        if contract["type"] == "layers" and contract["layers"][0] == f"services.{service}.__main__"
    ]
    names = [names[0] for names in ROOMS if names[0].startswith(f"{service}/")]
    modules = ["services." + name.removesuffix(".py").replace("/", ".") for name in names]
    places = [
        next(place for place, layer in enumerate(layers) if any(is_in(module, one) for one in layer.split(" | ")))
        for module in modules
    ]
    assert places == sorted(places)


def is_in(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}.")
