"""Settings, figures, commands and routes as HTML, from their declarations in the code."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import typer.main

from batzen.cli.app import app
from deploy.observability import slos
from deploy.observability.__main__ import GROUPS
from deploy.observability.rule import Alert
from services.runtime.process.program import SERVE
from services.runtime.process.settings import FILE, Declaration
from tests.metrics import CATALOGUE
from tests.reference.documents import ROOT
from tests.reference.site import Names, Page
from tests.reference.templating import Render
from tests.settings import PROGRAMS

SETTINGS: Final = "docs/settings.html"
METRICS: Final = "docs/metrics.html"
RUNBOOK: Final = "docs/runbook.html"
COMMANDS: Final = "reference/commands.html"
REST: Final = "reference/rest.html"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A setting, of all that read it."""

    declaration: Declaration
    defaults: Mapping[str, str | None]
    """Who reads it → the default there; None where it must be set."""

    @property
    def has_one_default(self) -> bool:
        """Whether all that read it have the same default."""
        return len(set(self.defaults.values())) == 1


def settings() -> Sequence[Setting]:
    """Return every setting, by name."""
    found: dict[str, dict[str, Declaration]] = {}
    for program in PROGRAMS:
        for command, declared in program.declarations().items():
            reader = program.service if command == SERVE else f"{program.service} {command}"
            for one in declared:
                found.setdefault(one.name, {})[reader] = one
    return [
        Setting(
            declaration=next(iter(readers.values())),
            defaults={reader: one.default for reader, one in readers.items()},
        )
        for _, readers in sorted(found.items())
    ]


def alerts() -> Sequence[Alert]:
    """Return every alert."""
    return [alert for group in GROUPS for alert in group.alerts]


def alerts_of(metric: str) -> Sequence[Alert]:
    """Return the alerts that stand on a figure, by themselves or by an objective."""
    is_named = re.compile(rf"\b{metric}(_bucket|_sum|_count)?\b").search
    is_objective = any(is_named(one.bad) or is_named(one.every) for one in slos.OBJECTIVES)
    burning = {alert.name for group in slos.GROUPS for alert in group.alerts} if is_objective else set()
    return [alert for alert in alerts() if is_named(alert.expr) or alert.name in burning]


def add_names(names: Names) -> None:
    """Say where settings, figures and alerts are explained."""
    for setting in settings():
        name = setting.declaration.name
        names.add(name, f"{SETTINGS}#{name}")
        if setting.declaration.is_secret:
            names.add(name + FILE, f"{SETTINGS}#{name}")
    for metrics in CATALOGUE.values():
        for metric in metrics:
            names.add(metric.name, f"{METRICS}#{metric.name}")
    for alert in alerts():
        names.add(alert.name, f"{RUNBOOK}#{alert.anchor}")


def parts(render: Render) -> Mapping[str, Mapping[str, str]]:
    """Return what takes the place of the tables that code prints into documents."""
    told = {metric.name: alerts_of(metric.name) for metrics in CATALOGUE.values() for metric in metrics}
    others = [alert for alert in alerts() if not any(alert in several for several in told.values())]
    return {
        "docs/settings.md": {"settings": render("settings.html", SETTINGS, settings=settings(), suffix=FILE)},
        "docs/metrics.md": {
            "metrics": render("metrics.html", METRICS, catalogue=CATALOGUE, alerts=told, others=others)
        },
    }


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command, as it is typed."""

    words: str
    about: str
    usage: str
    options: Sequence[tuple[str, str]]
    """How it is written, and what it means."""
    after: str
    """What its help ends with: examples."""

    @property
    def anchor(self) -> str:
        """Its place on the page."""
        return self.words.replace(" ", "-") or "batzen"


def commands() -> Sequence[Command]:
    """Return every command of `batzen`, with those that are there in a checkout alone."""
    root: Any = typer.main.get_command(app)
    root.load(list(root.commands))
    return list(_commands(root, None))


def _commands(command: Any, above: Any) -> Iterator[Command]:
    context = command.context_class(command, info_name="batzen" if above is None else command.name, parent=above)
    told = [one.get_help_record(context) for one in command.params if not one.hidden and one.name != "help"]
    yield Command(
        words=context.command_path,
        about=inspect.cleandoc(command.help or ""),
        usage=" ".join(command.collect_usage_pieces(context)),
        options=[record for record in told if record is not None],
        after=(command.epilog or "").strip().replace("\n\n", "\n"),
    )
    for name in command.list_commands(context) if hasattr(command, "list_commands") else ():
        below = command.get_command(context, name)
        if not below.hidden:
            yield from _commands(below, context)


def commands_page(render: Render) -> Page:
    """Return the page of all commands."""
    found = commands()
    return Page(
        path=COMMANDS,
        title="Commands",
        body=render("commands.html", COMMANDS, commands=found),
        headings=[(2, one.anchor, one.words) for one in found],
    )


@dataclass(frozen=True, kw_only=True)
class Route:
    """A route of the front, as its description says."""

    method: str
    path: str
    about: str
    parameters: Sequence[Mapping[str, Any]]
    body: str
    """The name of the schema of what is sent; empty for nothing."""
    is_body_required: bool
    answers: Sequence[tuple[str, str, Sequence[str]]]
    """Status, what it means, names of the schemas."""

    @property
    def anchor(self) -> str:
        """Its place on the page."""
        return f"{self.method.lower()}-" + self.path.strip("/").replace("/", "-").replace("{", "").replace("}", "")


def routes() -> tuple[Sequence[Route], Mapping[str, Any]]:
    """Return the routes and schemas of `docs/openapi.json`."""
    document = json.loads((ROOT / "docs/openapi.json").read_text())
    found = [
        Route(
            method=method.upper(),
            path=path,
            about=str(told.get("description") or told.get("summary") or ""),
            parameters=told.get("parameters", []),
            body=next(iter(_schemas(told.get("requestBody", {}))), ""),
            is_body_required=bool(told.get("requestBody", {}).get("required")),
            answers=[
                (code, answer.get("description", ""), _schemas(answer)) for code, answer in told["responses"].items()
            ],
        )
        for path, methods in document["paths"].items()
        for method, told in methods.items()
    ]
    return found, document["components"]["schemas"]


def _schemas(told: Mapping[str, Any]) -> Sequence[str]:
    """Return the names of the schemas of what is sent or answered."""
    found = [content.get("schema", {}) for content in told.get("content", {}).values()]
    return [name for schema in found if (name := str(schema.get("$ref", "")).rpartition("/")[2])]


def rest_page(render: Render) -> Page:
    """Return the page of REST."""
    found, schemas = routes()
    fields = {name: list(_fields(schema)) for name, schema in schemas.items()}
    headings = [(2, one.anchor, f"{one.method} {one.path}") for one in found]
    return Page(
        path=REST,
        title="REST",
        body=render("rest.html", REST, routes=found, schemas=schemas, fields=fields, form=form),
        headings=[*headings, (2, "schemas", "Schemas"), *((3, f"schema-{name}", name) for name in schemas)],
    )


def _fields(schema: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], bool]]:
    """Yield each field of a schema: name, its own schema, whether it must be there."""
    for name, one in schema.get("properties", {}).items():
        yield name, one, name in schema.get("required", ())


def form(schema: Mapping[str, Any]) -> Sequence[tuple[str, bool]]:
    """Return what a value is, in words; each with whether it is the name of a schema."""
    if "$ref" in schema:
        return [(str(schema["$ref"]).rpartition("/")[2], True)]
    if several := schema.get("anyOf") or schema.get("allOf"):
        return [part for one in several for part in (("or", False), *form(one))][1:]
    if schema.get("type") == "array":
        return [("list of", False), *form(schema.get("items", {}))]
    if isinstance(schema.get("additionalProperties"), dict):
        return [("map of", False), *form(schema["additionalProperties"])]
    return [(_plain_form(schema), False)]


def _plain_form(schema: Mapping[str, Any]) -> str:
    if chosen := schema.get("enum") or ([schema["const"]] if "const" in schema else []):
        return " | ".join(f'"{one}"' for one in chosen)
    bounds = [f"{word} {schema[key]:g}" for key, word in _BOUNDS.items() if key in schema]
    said = str(schema.get("format") or schema.get("type") or "anything")
    return ", ".join([said, *bounds, *([schema["pattern"]] if "pattern" in schema else [])])


_BOUNDS: Final = {
    "minimum": "≥",
    "exclusiveMinimum": ">",
    "maximum": "≤",
    "exclusiveMaximum": "<",
    "minLength": "characters ≥",
    "maxLength": "characters ≤",
    "minItems": "items ≥",
    "maxItems": "items ≤",
}
