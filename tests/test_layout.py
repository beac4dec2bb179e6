"""One role has one file name in every service, so that whoever knows one service finds their way in the others."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SERVICES = ("orchestrator", "pricing", "status", "gateway")

NAMELESS = re.compile(r"utils?|helpers?|misc|common|convert|reading|writing|manager|base")
"""What a file may not be called, since it does not say what is in it or has another name here."""

ROLES = {
    "requests.py": "wire",
    "responses.py": "wire",
    "tables.py": "storage",
    "rows.py": "storage",
}
"""File of one role → the room that it is in, where a service has it."""

KNOW_PROTOBUF = re.compile(
    r"""
      (.*/)?wire(/.*)?              # messages from and to the domain's values
    | (.*/)?servicers?(/.*)?        # the RPCs
    | .*_rpcs | event_sink          # parts of a servicer
    | (.*/)?peers(/.*)?             # the other services, on the calling side
    | commands/.* | request_runner | queries | syncs | receipts  # pass on what peers answered
    | steps | attempts | sessions | unit_of_work | transition_outbox  # likewise
    | (deliveries|notices)/outbox   # call the sink of the gateway's observations and notices
    | imports/importer              # passes on what operators sent
    | quote_service                 # keeps quotes as they were answered
    | drafting                      # entries of the price book are kept as they were put
    | __main__ | wiring | seed      # wiring
    """,
    re.VERBOSE,
)
"""Modules of a service that may import generated code. Every other has domain values alone."""


PURE = re.compile(r"(.*/)?(domain|errors|currencies)(/|$)")
"""Modules of rules, which raise what callers are refused with. The currencies of Stripe are such rules, too."""


def modules(service: str) -> Iterator[tuple[str, ast.Module]]:
    """Yield each module of a service, by its path in it without `.py`."""
    home = ROOT / "services" / service
    for path in sorted(home.rglob("*.py")):
        yield path.relative_to(home).with_suffix("").as_posix(), ast.parse(path.read_text())


def imported(tree: ast.Module) -> set[str]:
    """Return the modules that a module imports, also for typing only."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_has_the_same_rooms(service: str) -> None:
    home = ROOT / "services" / service
    for path in ("__init__.py", "__main__.py", "metrics.py", "migrations", "wire/requests.py", "wire/responses.py"):
        assert (home / path).exists(), path
    assert (home / "domain").is_dir() or any(home.rglob("domain.py"))  # the gateway has one a resource
    assert (home / "servicers").is_dir() != (home / "servicer.py").exists()


@pytest.mark.parametrize("service", SERVICES)
def test_every_room_says_what_it_owns(service: str) -> None:
    rooms = [name for name, tree in modules(service) if name.endswith("__init__") and not ast.get_docstring(tree)]
    assert rooms == []


@pytest.mark.parametrize("service", SERVICES)
def test_a_file_is_called_by_its_role(service: str) -> None:
    for name, _ in modules(service):
        *rooms, stem = name.split("/")
        assert not NAMELESS.fullmatch(stem), name
        room = ROLES.get(f"{stem}.py")
        assert room is None or room in rooms, name


@pytest.mark.parametrize("service", SERVICES)
def test_servicers_are_where_they_are_looked_for(service: str) -> None:
    for name, tree in modules(service):
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and node.name.endswith("Servicer"):
                assert name == "servicer" or name.startswith("servicers/") or name.endswith("event_sink"), name


@pytest.mark.parametrize("service", SERVICES)
def test_reasons_of_refusals_stand_in_the_domain(service: str) -> None:
    elsewhere = [
        f"{name}: {node.name}"
        for name, tree in modules(service)
        for node in tree.body
        if isinstance(node, ast.ClassDef) and not PURE.match(name)
        for part in node.body
        if isinstance(part, ast.Assign) and any(isinstance(to, ast.Name) and to.id == "reason" for to in part.targets)
    ]
    assert elsewhere == []


@pytest.mark.parametrize("service", SERVICES)
def test_protobuf_stops_at_the_wire(service: str) -> None:
    beyond = [
        name
        for name, tree in modules(service)
        if not KNOW_PROTOBUF.fullmatch(name)
        and any(
            module.endswith(("_pb2", "_pb2_grpc")) or module.startswith("google.protobuf") for module in imported(tree)
        )
    ]
    assert beyond == []
