"""Doctor's verdict on a payment: what each record says side by side, and where they disagree. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from batzen.cli.diagnosis_view import KEEPERS, in_units
from batzen.cli.diagnosis_view import verdict as in_words
from batzen.orchestrator.v1.ops_pb2 import Diagnosis
from batzen.type.v1.diagnosis_pb2 import Disagreement, Figure
from services.console.amounts import sum_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One figure, by keeper."""

    name: str
    cells: Sequence[str]
    """In the order of the columns; empty where that one does not say it."""
    differs: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Two records say different things."""

    check: str
    about: str
    meaning: str
    sayings: Sequence[tuple[str, str]]
    remedy: str
    waits_for: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """All of it."""

    words: str
    is_good: bool
    is_moving: bool
    with_stripe: bool
    keepers: Sequence[str]
    lines: Sequence[Line]
    findings: Sequence[Finding]
    problems: Sequence[tuple[str, str]]
    """Who did not answer, and why."""


def verdict_of(diagnosis: Diagnosis, *, with_stripe: bool) -> Verdict:
    """Return a diagnosis as it is shown."""
    rows: dict[str, dict[int, str]] = {}
    for side in diagnosis.sides:
        for figure in side.figures:
            rows.setdefault(figure.name, {})[side.keeper] = _said(figure)
    keepers = [keeper for keeper in KEEPERS if any(keeper in row for row in rows.values())]
    return Verdict(
        words=in_words(diagnosis),
        is_good=not diagnosis.disagreements and not any(side.problem for side in diagnosis.sides),
        is_moving=diagnosis.is_moving,
        with_stripe=with_stripe,
        keepers=[KEEPERS[keeper] for keeper in keepers],
        lines=[
            Line(
                name=name.replace("_", " "),
                cells=[row.get(keeper, "") for keeper in keepers],
                differs=len(set(row.values())) > 1,
            )
            for name, row in rows.items()
        ],
        findings=[_finding(one, diagnosis.payment_id) for one in diagnosis.disagreements],
        problems=[(_keeper(side.keeper), side.problem) for side in diagnosis.sides if side.problem],
    )


def _said(figure: Figure) -> str:
    return sum_of(figure.amount) if figure.WhichOneof("value") == "amount" else in_units(figure.text)


def _finding(one: Disagreement, payment_id: str) -> Finding:
    return Finding(
        check=one.check,
        about=one.about,
        meaning=one.meaning,
        sayings=[(_keeper(each.keeper), in_units(each.text)) for each in one.sayings],
        remedy=one.remedy.replace("PAYMENT_ID", payment_id).replace("`", ""),
        waits_for=one.waits_for,
    )


def _keeper(number: int) -> str:
    return KEEPERS.get(number, "another service")
