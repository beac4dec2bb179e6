"""A rule of Prometheus as a value, and the YAML it is printed as."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

SERVICES: Final = ("gateway", "orchestrator", "pricing", "status")
FRONTS: Final = ("bff", "console")
PROCESSES: Final = (*SERVICES, *FRONTS)
JOBS: Final = f'job=~"{"|".join(PROCESSES)}"'
"""Selects what all services have; the scrape's job is the service's name."""
RUNBOOK: Final = "docs/runbook.md"
"""A section for each alert; the template of a notification puts the address of one's own copy before it."""


class Severity(StrEnum):
    """Who hears of an alert, and when."""

    PAGE = "page"
    """Somebody is woken: money or callers are hurt now."""
    TICKET = "ticket"
    """Somebody looks within a working day."""
    INFO = "info"
    """Nobody has to do anything; it is shown beside others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A series that is calculated ahead."""

    record: str
    expr: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """When somebody is told, and what."""

    name: str
    severity: Severity
    expr: str
    lasting: str
    """How long it must be so, in Prometheus' words; `0s` for at once."""
    summary: str
    """One line, with the values of the labels that matter."""

    @property
    def anchor(self) -> str:
        """The section of the runbook, as its heading is turned into an anchor."""
        return self.name.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Rules that are evaluated together, in their order."""

    name: str
    rules: Sequence[Recording | Alert]

    @property
    def alerts(self) -> Sequence[Alert]:
        return [rule for rule in self.rules if isinstance(rule, Alert)]


Node = str | Mapping[str, "Node"] | Sequence["Node"]


def rule_file(groups: Sequence[Group]) -> dict[str, Node]:
    """Return the content of a rule file."""
    return {"groups": [{"name": group.name, "rules": [_rule(rule) for rule in group.rules]} for group in groups]}


def _rule(rule: Recording | Alert) -> dict[str, Node]:
    if isinstance(rule, Recording):
        labels: dict[str, Node] = {"labels": dict(rule.labels)} if rule.labels else {}
        return {"record": rule.record, "expr": rule.expr, **labels}
    return {
        "alert": rule.name,
        "expr": rule.expr,
        "for": rule.lasting,
        "labels": {"severity": str(rule.severity)},
        "annotations": {"summary": rule.summary, "runbook_url": f"{RUNBOOK}#{rule.anchor}"},
    }


def yaml(node: Node) -> str:
    """Return a tree of texts as YAML: blocks, every text in quotes, longer expressions line by line."""
    return "\n".join(_lines(node)) + "\n"


def _lines(node: Node, indent: str = "") -> Iterator[str]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _entry(f"{indent}{key}:", value, indent + "  ")
    elif not isinstance(node, str):
        for value in node:
            first, *rest = (
                _lines(value, indent + "  ") if not isinstance(value, str) else [indent + "  " + _text(value)]
            )
            yield f"{indent}- {first.strip()}"
            yield from rest


def _entry(key: str, value: Node, indent: str) -> Iterator[str]:
    if not isinstance(value, str):
        yield key
        yield from _lines(value, indent)
    elif "\n" in value:
        yield f"{key} |-"
        yield from (f"{indent}{line}" for line in value.split("\n"))
    else:
        yield f"{key} {_text(value)}"


def _text(value: str) -> str:
    quoted = value.replace("'", "''")
    return f"'{quoted}'"
