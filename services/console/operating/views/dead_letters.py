"""Dead letters: what was given up, and what came of trying it again."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final
from urllib.parse import quote

from batzen.gateway.v1.ops_pb2 import DeadLetter, ReplayDeadLettersResponse
from services.console.operating import cells
from services.console.operating.blocks import (
    Block,
    Cell,
    Column,
    Empty,
    Fact,
    Facts,
    Field,
    Form,
    Note,
    Option,
    Row,
    Table,
    Text,
    Tone,
)

PATH: Final = "/dead-letters"
KINDS: Final[Mapping[str, tuple[DeadLetter.Kind, str]]] = {
    "event": (DeadLetter.KIND_WEBHOOK_EVENT, "Event of Stripe"),
    "delivery": (DeadLetter.KIND_DELIVERY, "Observation not delivered"),
    "call": (DeadLetter.KIND_UNSETTLED_CALL, "Call without an outcome"),
    "notice": (DeadLetter.KIND_NOTICE, "Notice not delivered"),
}
_NAMES: Final = dict(KINDS.values())
COLUMNS: Final = (
    Column(title="Dead letter"),
    Column(title="What"),
    Column(title="About"),
    Column(title="Last error", is_wide=True),
    Column(title="Given up"),
    Column(title="Tries", is_number=True),
    Column(title="Payment"),
)
NONE: Final = Empty(
    title="No dead letters.", hint="What could not be processed or delivered after its last try would wait here."
)
NONE_SUCH: Final = Empty(title="No dead letter fits.", hint="Take a filter away to see the others.")


def filters(query: Mapping[str, str]) -> tuple[Field, ...]:
    """Return what may be asked for."""
    kinds = [Option(value="", text="All kinds"), *(Option(value=key, text=text) for key, (_, text) in KINDS.items())]
    return (
        Field(name="kind", label="Kind", kind="select", value=query.get("kind", ""), options=kinds),
        Field(name="error", label="Error contains", value=query.get("error", "")),
    )


def table(letters: Iterable[DeadLetter], *, now: datetime, is_filtered: bool, replay: Form | None) -> Table:
    """Return dead letters as a table."""
    return Table(
        key="dead-letters",
        caption="Dead letters, the oldest first",
        columns=COLUMNS,
        rows=tuple(_row(one, now) for one in letters),
        empty=NONE_SUCH if is_filtered else NONE,
        choose=replay,
    )


def replay_form() -> Form:
    """Return what may be done with dead letters."""
    return Form(
        key="replay",
        title="Replay",
        action=f"{PATH}/replay",
        submit="Replay the chosen",
        consequence="Each is tried once more, now. One that fails again stops no other and waits here as before.",
    )


def details(letter: DeadLetter, *, now: datetime) -> tuple[Block, ...]:
    """Return all that is known of one."""
    facts = Facts(
        key="letter",
        title="What was given up",
        facts=(
            Fact(name="What", value=_kind(letter)),
            Fact(name="About", value=cells.code(letter.subject_id)),
            Fact(name="Type", value=cells.said(letter.subject_type)),
            Fact(name="Payment", value=cells.payment(letter.payment_id)),
            Fact(name="Given up", value=cells.moment(letter.hold_time, now=now)),
            Fact(name="Tries", value=cells.count(letter.attempt_count)),
        ),
    )
    tries = Table(
        key="tries",
        caption="Tries that failed",
        columns=(Column(title="When"), Column(title="Error"), Column(title="What went wrong", is_wide=True)),
        rows=tuple(
            Row(
                key=str(place),
                cells=(
                    cells.moment(one.try_time, now=now),
                    cells.code(one.error_class),
                    cells.said(one.error),
                ),
            )
            for place, one in enumerate(reversed(letter.tries))
        ),
        empty=Empty(title="No try was kept.", hint=letter.last_error),
    )
    texts = (
        Text(
            key=f"payload-{place}",
            title=f"{one.subject_type or 'As stored'}, came in {cells.at(cells.instant(one.receive_time))}",
            text=_pretty(one.body),
        )
        for place, one in enumerate(letter.payloads)
    )
    return (facts, tries, *texts)


def outcomes(answer: ReplayDeadLettersResponse) -> tuple[Block, ...]:
    """Return what came of a replay."""
    went, failed = (
        [one for one in answer.outcomes if one.succeeded],
        [one for one in answer.outcomes if not one.succeeded],
    )
    return (_told(len(went), len(failed)), _outcomes((*failed, *went)))


def _told(went: int, failed: int) -> Note:
    if not failed:
        return Note(title=f"{_letters(went)} went through.", tone=Tone.GOOD)
    text = "What failed waits as before, with this try among its tries."
    if not went:
        return Note(title=f"{_letters(failed)} failed again.", text=text, tone=Tone.BAD)
    return Note(title=f"{_letters(went)} went through, {failed} failed again.", text=text, tone=Tone.WARN)


def _letters(number: int) -> str:
    return "1 dead letter" if number == 1 else f"{number} dead letters"


def _outcomes(found: Sequence[ReplayDeadLettersResponse.Outcome]) -> Table:
    return Table(
        key="outcomes",
        caption="What came of each",
        columns=(Column(title="Dead letter"), Column(title="Outcome"), Column(title="What went wrong", is_wide=True)),
        rows=tuple(
            Row(
                key=one.dead_letter_id,
                cells=(
                    cells.code(one.dead_letter_id),
                    cells.yes_no(one.succeeded, good="Went through", bad="Failed again"),
                    cells.said(one.error),
                ),
            )
            for one in found
        ),
        empty=Empty(title="Nothing was tried."),
    )


def _row(letter: DeadLetter, now: datetime) -> Row:
    return Row(
        key=letter.dead_letter_id,
        cells=(
            cells.code(letter.dead_letter_id, href=f"{PATH}/{quote(letter.dead_letter_id)}"),
            _kind(letter),
            cells.said(letter.subject_type, note=letter.subject_id if letter.subject_id != letter.payment_id else ""),
            cells.said(letter.last_error),
            cells.moment(letter.hold_time, now=now),
            cells.count(letter.attempt_count),
            cells.payment(letter.payment_id),
        ),
    )


def _kind(letter: DeadLetter) -> Cell:
    return cells.said(_NAMES.get(letter.kind, str(letter.kind)))


def _pretty(body: bytes) -> str:
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except ValueError:
        return body.decode(errors="replace")
