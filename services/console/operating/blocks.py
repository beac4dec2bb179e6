"""What a page of the console is made of: frozen values that templates show and tests compare. Pure.

A view turns messages of the services into these; a template knows nothing else. So every state of a page can be shown
without a suite, and what stands in a table is what its CSV export has.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar


class Tone(StrEnum):
    """How something is meant; always said in words as well, since colour alone tells nobody."""

    PLAIN = "plain"
    QUIET = "quiet"
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"


class CellKind(StrEnum):
    """How a value is set."""

    TEXT = "text"
    NUMBER = "number"
    """To the right, with figures of one width."""
    CODE = "code"
    """An id: one may copy it, and it may be cut."""
    BADGE = "badge"
    TIME = "time"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One value."""

    text: str
    kind: CellKind = CellKind.TEXT
    tone: Tone = Tone.PLAIN
    href: str = ""
    """Where it leads: a path of ours, never an address from a message."""
    note: str = ""
    """A second, quieter line."""
    raw: str = ""
    """For programs and exports, where it is another than the text: an instant in ISO 8601, an amount without sign."""

    @property
    def exported(self) -> str:
        """What an export says."""
        return self.raw or self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """The head of a column."""

    title: str
    is_number: bool = False
    is_wide: bool = False
    """Has sentences in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row."""

    key: str
    """Names what it is about, for whoever chooses it."""
    cells: Sequence[Cell]


@dataclass(frozen=True, slots=True, kw_only=True)
class Empty:
    """Why there is nothing, and what next."""

    title: str
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One choice."""

    value: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """What a person fills in. Of a kind `select`, `text`, `area`, `date`, `number`, `check` or `hidden`."""

    name: str
    label: str
    kind: str = "text"
    value: str = ""
    options: Sequence[Option] = ()
    hint: str = ""
    is_required: bool = False
    characters_max: int = 500
    wanted: str = ""
    """What has to be typed, character by character, before the form is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """Something an operator may do here. It is posted with a request id that the server made."""

    template: ClassVar[str] = "blocks/form.html"

    key: str
    title: str
    action: str
    submit: str
    consequence: str = ""
    """What follows, before one does it."""
    fields: Sequence[Field] = ()
    tone: Tone = Tone.PLAIN
    is_open: bool = False
    """Shown at once; else behind its title."""
    method: str = "post"
    """`get` for what changes nothing, which is an address then."""
    request_id: str = ""
    """Set where it is cells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under heads."""

    template: ClassVar[str] = "blocks/table.html"

    key: str
    caption: str
    columns: Sequence[Column]
    rows: Sequence[Row]
    empty: Empty
    choose: Form | None = None
    """What may be done with rows that one ticks."""
    next_url: str = ""
    """The next page; empty for the last."""
    first_url: str = ""
    """The first page; empty there."""
    csv_url: str = ""
    is_caption_hidden: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A name and its value."""

    name: str
    value: Cell


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of one thing."""

    template: ClassVar[str] = "blocks/facts.html"

    key: str
    title: str
    facts: Sequence[Fact]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One figure that one should see first."""

    name: str
    value: str
    note: str = ""
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiles:
    """Some figures side by side."""

    template: ClassVar[str] = "blocks/tiles.html"

    key: str
    title: str
    tiles: Sequence[Tile]


@dataclass(frozen=True, slots=True, kw_only=True)
class Light:
    """Whether a limit is kept: by colour, shape and words."""

    name: str
    value: str
    limit: str
    tone: Tone
    says: str
    """`kept`, `not kept`, `not known`."""
    share: int
    """How much of its bar is filled, 0 to 100."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lights:
    """Limits, and whether they are kept."""

    template: ClassVar[str] = "blocks/lights.html"

    key: str
    title: str
    lights: Sequence[Light]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a chart."""

    name: str
    values: Sequence[int | None]
    """In whole units; an amount in minor ones. None where there is no value, which is not 0."""
    texts: Sequence[str]
    """Each value as it is written; the browser formats none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Lines over days. It is drawn by the browser; the table beside it says the same."""

    template: ClassVar[str] = "blocks/chart.html"

    key: str
    title: str
    says: str
    """What one sees, in a sentence."""
    days: Sequence[str]
    """ISO dates."""
    lines: Sequence[Line]
    digits: int = 0
    """Digits of a value that stand behind the point: for the axis, which is the browser's."""

    @property
    def figures(self) -> str:
        """What the browser draws, as JSON."""
        lines = [{"name": one.name, "values": list(one.values), "texts": list(one.texts)} for one in self.lines]
        return json.dumps({"days": list(self.days), "lines": lines, "digits": self.digits})


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something that is said to the operator: what came of what they did, or what they should know."""

    template: ClassVar[str] = "blocks/note.html"

    title: str
    text: str = ""
    tone: Tone = Tone.PLAIN
    secret: str = ""
    """Shown once, to be copied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """Something long as it was stored, behind its title."""

    template: ClassVar[str] = "blocks/text.html"

    key: str
    title: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Later:
    """A part that takes longer than a page should, and is asked for once the page is there."""

    template: ClassVar[str] = "blocks/later.html"

    key: str
    title: str
    url: str
    every_s: int = 0
    """How often it is asked for again; 0 for once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What went wrong, for a person."""

    template: ClassVar[str] = "blocks/failure.html"

    title: str
    text: str
    code: str
    correlation_id: str = ""
    again_url: str = ""


Block = Form | Table | Facts | Tiles | Lights | Chart | Note | Text | Later | Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One of some pages that belong together."""

    title: str
    path: str
    is_here: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of the console."""

    title: str
    lead: str
    """A sentence on what stands here."""
    section: str
    """Its place in the navigation."""
    blocks: Sequence[Block]
    filters: Sequence[Field] = ()
    path: str = ""
    """Where its filters lead."""
    crumb: tuple[str, str] | None = None
    """Title and path of the page above."""
    views: Sequence[View] = ()
    """Pages that stand side by side with this one."""
