"""A diagnosis as lines for a terminal: what each record says side by side, and what disagrees. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap
from typing import Final

from batzen.cli import money
from batzen.orchestrator.v1.ops_pb2 import Diagnosis
from batzen.type.v1 import diagnosis_pb2
from batzen.type.v1.diagnosis_pb2 import Disagreement, Figure

KEEPERS: Final[Mapping[int, str]] = {
    diagnosis_pb2.KEEPER_PLAN: "plan",
    diagnosis_pb2.KEEPER_STATUS: "status",
    diagnosis_pb2.KEEPER_QUOTE: "quote",
    diagnosis_pb2.KEEPER_MIRROR: "mirror",
    diagnosis_pb2.KEEPER_LEDGER: "ledger",
    diagnosis_pb2.KEEPER_STRIPE: "Stripe",
}
"""Who says something, for people, in the order of the columns."""
WIDTH: Final = 80
GAP: Final = 2
NAME_MAX: Final = 24
"""Characters of a figure's name beside the columns; a longer one is cut."""
_MINOR: Final = re.compile(r"(?<![\w.-])(-?\d+) ([A-Z]{3})(?![\w-])")
"""An amount as services say it."""

Rows = dict[str, dict[int, Figure]]


def lines(diagnosis: Diagnosis, *, width: int = WIDTH, batzen: str = "batzen") -> Iterator[tuple[str, str]]:
    """Yield the lines, each with its style; `batzen` is how the command line is called here."""
    count = len(diagnosis.disagreements)
    yield f"{diagnosis.payment_id}   {verdict(diagnosis)}", "bold red" if count else "bold green"
    yield "", ""
    yield from _amounts(diagnosis, width)
    yield from _texts(diagnosis, width)
    for side in diagnosis.sides:
        if side.problem:
            yield from _wrapped(f"{_keeper(side.keeper)}: {side.problem}", width, style="yellow")
    for number, one in enumerate(diagnosis.disagreements, start=1):
        yield "", ""
        yield from _disagreement(number, one, diagnosis.payment_id, width, batzen)
    if diagnosis.is_moving:
        yield "", ""
        moving = "It moved each time it was read: what disagrees may be a moment between two. Ask again."
        yield from _wrapped(moving, width, style="yellow")


def verdict(diagnosis: Diagnosis) -> str:
    """Return what came of it in a few words."""
    count = len(diagnosis.disagreements)
    silent = ", ".join(_keeper(side.keeper) for side in diagnosis.sides if side.problem)
    beside = f", without {silent}" if silent else ""
    if not count:
        return f"all records agree{beside}"
    return f"{count} disagreement{'s' if count > 1 else ''}{beside}"


def _rows(diagnosis: Diagnosis, kind: str) -> Rows:
    """Return the figures of one kind by name and keeper, in the order in which they first come."""
    rows: Rows = {}
    for side in diagnosis.sides:
        for figure in side.figures:
            if figure.WhichOneof("value") == kind:
                rows.setdefault(figure.name, {})[side.keeper] = figure
    return rows


def _amounts(diagnosis: Diagnosis, width: int) -> Iterator[tuple[str, str]]:
    """Yield the amounts as a table of the keepers who answered; as lists where that is too wide."""
    rows = _rows(diagnosis, "amount")
    if not rows:
        return
    currencies = [figure.amount.currency_code for row in rows.values() for figure in row.values()]
    usual = max(set(currencies), key=currencies.count)
    cells = {name: {keeper: _amount(figure, usual) for keeper, figure in row.items()} for name, row in rows.items()}
    keepers = [keeper for keeper in KEEPERS if any(keeper in row for row in cells.values())]
    columns = [
        max(len(KEEPERS[keeper]), *(len(row.get(keeper, "")) for row in cells.values())) + GAP for keeper in keepers
    ]
    names = max(len(usual), *(min(len(name), NAME_MAX) for name in cells))
    if names + sum(columns) > width:
        yield from _lists({name: {k: f"{v} {usual}" for k, v in row.items()} for name, row in cells.items()}, width)
        return
    head = [KEEPERS[keeper].rjust(column) for keeper, column in zip(keepers, columns, strict=True)]
    yield usual.ljust(names) + "".join(head), "dim"
    for name, row in cells.items():
        values = [row.get(keeper, "").rjust(column) for keeper, column in zip(keepers, columns, strict=True)]
        yield (_cut(name, names).ljust(names) + "".join(values)).rstrip(), "red" if len(set(row.values())) > 1 else ""
    yield "", ""


def _amount(figure: Figure, usual: str) -> str:
    amount = figure.amount
    shown = money.shown(amount.amount_minor, amount.currency_code)
    return shown.removesuffix(f" {usual}")


def _texts(diagnosis: Diagnosis, width: int) -> Iterator[tuple[str, str]]:
    rows = _rows(diagnosis, "text")
    yield from _lists({name: {k: one.text for k, one in row.items()} for name, row in rows.items()}, width)


def _lists(rows: dict[str, dict[int, str]], width: int) -> Iterator[tuple[str, str]]:
    """Yield each figure as a line: who says the same is named together."""
    names = max((min(len(name), NAME_MAX) for name in rows), default=0)
    for name, row in rows.items():
        said: dict[str, list[str]] = {}
        for keeper in KEEPERS:
            if keeper in row:
                said.setdefault(in_units(row[keeper]) or "nothing", []).append(KEEPERS[keeper])
        text = "; ".join(f"{', '.join(who)}: {what}" for what, who in said.items())
        style = "red" if len(said) > 1 else ""
        yield from _wrapped(text, width, style=style, first=_cut(name, names).ljust(names + GAP))


def _disagreement(
    number: int, one: Disagreement, payment_id: str, width: int, batzen: str
) -> Iterator[tuple[str, str]]:
    yield from _wrapped(f"{one.check}  {one.about}".rstrip(), width, style="bold red", first=f"{number}. ")
    yield from _wrapped(one.meaning, width, first="   ")
    keepers = max((len(_keeper(each.keeper)) for each in one.sayings), default=0)
    for each in one.sayings:
        who = _keeper(each.keeper).ljust(keepers)
        yield from _wrapped(in_units(each.text), width, style="bold", first=f"     {who}  ")
    if one.waits_for:
        yield from _wrapped(f"It may end by itself: {one.waits_for}", width, style="yellow", first="   ")
    remedy = one.remedy.replace("PAYMENT_ID", payment_id).replace("`batzen ", f"`{batzen} ")
    remedy = remedy.replace("`.", "").replace("`", "")  # typed as it stands
    yield from _wrapped(remedy, width, first="   → ")


def in_units(text: str) -> str:
    """Return a text with its amounts as people write them: services say them in minor units."""
    return _MINOR.sub(lambda found: money.shown(int(found[1]), found[2]), text)


def _keeper(number: int) -> str:
    return KEEPERS.get(number, "another service")


def _cut(name: str, width: int) -> str:
    return name if len(name) <= width else f"{name[: width - 1]}…"


def _wrapped(text: str, width: int, *, style: str = "", first: str = "") -> Iterator[tuple[str, str]]:
    """Yield a text in lines that fit, those after the first below where its words begin."""
    found: Sequence[str] = wrap(text, max(width - len(first), 20)) or [""]
    for number, part in enumerate(found):
        yield (first if number == 0 else " " * len(first)) + part, style
