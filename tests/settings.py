"""The settings of the suite as Markdown, from their declarations in the code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from services.bff.__main__ import PROGRAM as BFF
from services.console.__main__ import PROGRAM as CONSOLE
from services.gateway.__main__ import PROGRAM as GATEWAY
from services.orchestrator.__main__ import PROGRAM as ORCHESTRATOR
from services.pricing.__main__ import PROGRAM as PRICING
from services.runtime.process.program import SERVE, Program
from services.runtime.process.settings import FILE, Declaration
from services.status.__main__ import PROGRAM as STATUS

PROGRAMS: Final[tuple[Program[Any], ...]] = (ORCHESTRATOR, PRICING, STATUS, GATEWAY, BFF, CONSOLE)
HEAD: Final = ("| name | value | default | meaning |", "| --- | --- | --- | --- |")


def tables() -> str:
    """Return what every service reads, what each one adds to it, and what the commands read."""
    declared = {program.service: program.declarations() for program in PROGRAMS}
    serving = {service: {one.name: one for one in commands[SERVE]} for service, commands in declared.items()}
    common = set.intersection(*(set(settings) for settings in serving.values()))
    lines = ["### Every service", "", *HEAD]
    lines += [_row({service: settings[name] for service, settings in serving.items()}) for name in _ordered(common)]
    for service, settings in serving.items():
        own = [one for name, one in settings.items() if name not in common]
        lines += ["", f"### `{service}` besides", "", *(_rows(own) if own else ["Nothing."])]
    for service, commands in declared.items():
        for command, ones in commands.items():
            if command != SERVE:
                lines += ["", f"### `python -m services.{service} {command}`", "", *_rows(ones)]
    return "\n".join(lines) + "\n"


def names() -> set[str]:
    """Return all names that mean something, those of secrets' files among them."""
    ones = [one for program in PROGRAMS for declared in program.declarations().values() for one in declared]
    return {one.name for one in ones} | {one.name + FILE for one in ones if one.is_secret}


def _ordered(wanted: set[str]) -> list[str]:
    return [one.name for one in PROGRAMS[0].declarations()[SERVE] if one.name in wanted]


def _rows(ones: Iterable[Declaration]) -> list[str]:
    return [*HEAD, *(_row({"": one}) for one in ones)]


def _row(by_service: Mapping[str, Declaration]) -> str:
    """Return the line of a setting; services that differ in its default are named with it."""
    one = next(iter(by_service.values()))
    defaults = {service: _default(declaration) for service, declaration in by_service.items()}
    differ = len(set(defaults.values())) > 1
    default = ", ".join(f"{service} {shown}" for service, shown in defaults.items()) if differ else _default(one)
    form = one.form
    if one.is_secret:
        form += f"; secret, also by `{FILE}`" + (", followed" if one.is_followed else "")
    return f"| `{one.name}` | {form} | {default} | {one.doc} |"


def _default(one: Declaration) -> str:
    if one.default is None:
        return "must be set"
    return f"`{one.default}`" if one.default and " " not in one.default else one.default or "–"
