"""How paying was, as payers say: two charts over days, and a table that says the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from services.console.operating import cells
from services.console.operating.answers_reader import DayAnswers
from services.console.operating.blocks import Block, Cell, CellKind, Chart, Column, Empty, Line, Note, Row, Table, Tone
from services.console.operating.views.figures import day_of

DIGITS: Final = 2
"""Of a mean score: it is counted in hundredths."""
NONE: Final = Empty(
    title="No answers yet.", hint="Once a payment is done its page asks the payer how paying was, from 1 to 5."
)


def unknown() -> tuple[Block, ...]:
    """Return that nobody is asked here."""
    return (
        Note(
            title="What payers answer is not read here.",
            text="BATZEN_BFF_URL is not set: the console does not know where the payers' front is.",
        ),
    )


def unavailable(why: str) -> tuple[Block, ...]:
    """Return that the front of payers said nothing; the other figures are not from there."""
    return (
        Note(
            title="What payers answered cannot be shown now.",
            text=f"The payers' front was asked. {why} All else on this page is complete.",
            tone=Tone.WARN,
        ),
    )


def answers(found: Sequence[DayAnswers], *, days: Sequence[str]) -> tuple[Block, ...]:
    """Return the answers day by day."""
    return (*_charts(found, days), _table(found)) if found else (_table(found),)


def mean(score_sum: int, answer_count: int) -> int:
    """Return the mean score in hundredths, by integers; half a hundredth is rounded up."""
    return (200 * score_sum + answer_count) // (2 * answer_count)


def _charts(found: Sequence[DayAnswers], days: Sequence[str]) -> tuple[Block, ...]:
    by_day = {one.day: one for one in found}
    ordered = [by_day.get(day) for day in days]
    counts = [0 if one is None else one.answer_count for one in ordered]
    means = [None if one is None else mean(one.score_sum, one.answer_count) for one in ordered]
    total = sum(one.answer_count for one in found)
    whole = _written(mean(sum(one.score_sum for one in found), total))
    return (
        Chart(
            key="answers",
            title="Answers of payers",
            says=f"{cells.count(total).text} payers said in {len(days)} days how paying was, "
            "of all sellers and in all currencies.",
            days=days,
            lines=(Line(name="Answers", values=counts, texts=[cells.count(one).text for one in counts]),),
        ),
        Chart(
            key="scores",
            title="Mean score",
            says=f"Of 1 to 5 the mean of all answers is {whole}.",
            days=days,
            lines=(
                Line(
                    name="Mean score",
                    values=means,
                    texts=[cells.NOTHING if one is None else _written(one) for one in means],
                ),
            ),
            digits=DIGITS,
        ),
    )


def _table(found: Sequence[DayAnswers]) -> Table:
    return Table(
        key="satisfaction",
        caption="How paying was, as payers say, the newest day first",
        columns=(
            Column(title="Day"),
            Column(title="Answers", is_number=True),
            Column(title="Mean score, of 1 to 5", is_number=True),
        ),
        rows=tuple(
            Row(
                key=one.day,
                cells=(
                    day_of(one.day),
                    cells.count(one.answer_count),
                    Cell(text=_written(mean(one.score_sum, one.answer_count)), kind=CellKind.NUMBER),
                ),
            )
            for one in sorted(found, key=lambda one: one.day, reverse=True)
        ),
        empty=NONE,
    )


def _written(hundredths: int) -> str:
    return f"{hundredths // 100}.{hundredths % 100:02}"
