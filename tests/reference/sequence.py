"""Sequence diagrams: what is read of Mermaid's text, and how it is drawn as an SVG of our own.

Documents keep diagrams as Mermaid's text, which hosts of repositories draw by themselves. A page that loads nothing
from elsewhere cannot: here they become plain SVG, whose colours are the page's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Final

CHARACTER: Final = 6.9
"""How wide a character of 13 px is, rather too wide than too narrow."""
LINE: Final = 17
"""Between two lines of text, in px."""
SIDE: Final = 12
"""Left and right of all, in px."""
TEXT_MAX: Final = 34
"""Characters in a line of text above an arrow or in a note."""
GAP_MIN: Final = 96
"""Between two participants, in px."""

_PARTICIPANT: Final = re.compile(r"(?:participant|actor) (\w+)(?: as (.+))?")
_MESSAGE: Final = re.compile(r"(\w+)\s*(-->>|->>|--\)|-\))\s*(\w+)\s*:\s*(.*)")
_NOTE: Final = re.compile(r"Note over (\w+)(?:,\s*(\w+))?\s*:\s*(.*)")
_BLOCK: Final = re.compile(r"(alt|opt|loop|par|else|and|end)\b\s*(.*)")
_OPENING: Final = frozenset({"alt", "opt", "loop", "par"})


class NotUnderstood(Exception):
    """A line of a diagram that is none of what is drawn here."""


@dataclass(frozen=True)
class Message:
    """An arrow from one to another, or to itself."""

    sender: str
    receiver: str
    text: str
    is_answer: bool


@dataclass(frozen=True)
class Note:
    """A word over one participant, or over several."""

    first: str
    last: str
    text: str


@dataclass(frozen=True)
class Block:
    """The beginning (`alt`), a further part (`else`) or the end of what happens under a condition."""

    word: str
    text: str


@dataclass(frozen=True)
class Diagram:
    """Who takes part, in order, with the name that is shown, and what happens."""

    participants: dict[str, str]
    steps: Sequence[Message | Note | Block]


def parsed(text: str) -> Diagram:
    """Return the diagram that Mermaid's text says."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines or lines[0] != "sequenceDiagram":
        raise NotUnderstood("a diagram that is no sequence")
    participants: dict[str, str] = {}
    steps: list[Message | Note | Block] = []
    for line in lines[1:]:
        if found := _PARTICIPANT.fullmatch(line):
            participants[found[1]] = found[2] or found[1]
            continue
        steps.append(_step(line))
    _check(participants, steps)
    return Diagram(participants, steps)


def _step(line: str) -> Message | Note | Block:
    if found := _MESSAGE.fullmatch(line):
        return Message(found[1], found[3], found[4], is_answer=found[2].startswith("--"))
    if found := _NOTE.fullmatch(line):
        return Note(found[1], found[2] or found[1], found[3])
    if found := _BLOCK.fullmatch(line):
        return Block(found[1], found[2])
    raise NotUnderstood(f"a line of a diagram that is none of ours: {line!r}")


def _check(participants: dict[str, str], steps: Sequence[Message | Note | Block]) -> None:
    depth = 0
    for step in steps:
        if isinstance(step, Block):
            depth += (step.word in _OPENING) - (step.word == "end")
            if depth < 0 or (depth == 0 and step.word in ("else", "and")):
                raise NotUnderstood(f"{step.word!r} ends what did not begin")
            continue
        named = (step.sender, step.receiver) if isinstance(step, Message) else (step.first, step.last)
        if unknown := [one for one in named if one not in participants]:
            raise NotUnderstood(f"{unknown[0]} takes no part")
    if depth:
        raise NotUnderstood("something that begins has no end")


def told(diagram: Diagram) -> Iterator[str]:
    """Yield each step in words, for who does not look at a picture."""
    names = diagram.participants
    for step in diagram.steps:
        if isinstance(step, Message):
            link = "answers" if step.is_answer else "to"
            yield f"{names[step.sender]} {link} {names[step.receiver]}: {step.text}"
        elif isinstance(step, Note):
            yield f"({names[step.first]}: {step.text})"
        elif step.word != "end":
            yield f"{step.word} {step.text}".strip()


def svg(diagram: Diagram, *, title: str) -> str:
    """Return the diagram as an SVG element for a page whose style names its colours."""
    return _Drawing(diagram).drawn(title)


class _Drawing:
    """One diagram on its way to be drawn, from the top down."""

    def __init__(self, diagram: Diagram) -> None:
        self._diagram = diagram
        self._order = list(diagram.participants)
        self._middle = self._middles()
        self._wide = self._middle[-1] + self._half(-1) + SIDE
        self._y = 0.0
        self._parts: list[str] = []
        self._open: list[float] = []
        """Where blocks that have no end yet begin."""

    def drawn(self, title: str) -> str:
        top = self._heads()
        self._y = top + 14
        for step in self._diagram.steps:
            if isinstance(step, Message):
                self._message(step)
            elif isinstance(step, Note):
                self._note(step)
            else:
                self._block(step)
        bottom = self._y + 12
        lines = "".join(f'<line class="life" x1="{x:g}" y1="{top}" x2="{x:g}" y2="{bottom:g}"/>' for x in self._middle)
        size = f'viewBox="0 0 {self._wide:g} {bottom + 4:g}" width="{self._wide:g}" height="{bottom + 4:g}"'
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="sequence" role="img" aria-label="{escape(title)}" {size}>'
            f"{lines}{''.join(self._parts)}</svg>"
        )

    def _half(self, place: int) -> float:
        """Return half the width of the head of a participant."""
        name = self._diagram.participants[self._order[place]]
        return max(len(line) for line in _wrapped(name, 20)) * CHARACTER / 2 + 10

    def _middles(self) -> list[float]:
        """Return where each participant stands, with room for all that is between them."""
        several = range(len(self._order))
        gaps = [max(GAP_MIN, self._half(i) + self._half(i + 1) + 14) for i, _ in pairwise(several)] + [0.0]
        for step in self._diagram.steps:
            if isinstance(step, Block):
                continue
            wide = max(len(line) for line in _wrapped(step.text)) * CHARACTER + 22
            if isinstance(step, Message):
                first, last = sorted((self._order.index(step.sender), self._order.index(step.receiver)))
            else:
                first = last = self._order.index(step.first)
            if first == last:  # over one alone: half on either side, or a loop to the right
                right = wide + 34 if isinstance(step, Message) else wide / 2
                gaps[first] = max(gaps[first], right + 8)
                continue
            missing = wide - sum(gaps[first:last])
            if missing > 0:
                for i in range(first, last):
                    gaps[i] += missing / (last - first)
        middle = [SIDE + max(self._half(0), self._widest_note(0) / 2)]
        for gap in gaps[:-1]:
            middle.append(round(middle[-1] + gap, 1))
        self._last_room = gaps[-1]
        return middle

    def _widest_note(self, place: int) -> float:
        notes = [
            step.text
            for step in self._diagram.steps
            if isinstance(step, Note) and step.first == step.last == self._order[place]
        ]
        return max((len(line) * CHARACTER + 20 for text in notes for line in _wrapped(text)), default=0.0)

    def _heads(self) -> float:
        named = [_wrapped(name, 20) for name in self._diagram.participants.values()]
        height = max(map(len, named)) * LINE + 14
        for place, lines in enumerate(named):
            x, half = self._middle[place], self._half(place)
            self._parts.append(
                f'<rect class="head" x="{x - half:g}" y="2" width="{half * 2:g}" height="{height}" rx="6"/>'
            )
            self._text(lines, x, 2 + (height - len(lines) * LINE) / 2 + 13, "name")
        self._wide = max(self._wide, self._middle[-1] + self._last_room + SIDE)
        return height + 2.0

    def _message(self, step: Message) -> None:
        lines = _wrapped(step.text)
        start, end = (self._middle[self._order.index(one)] for one in (step.sender, step.receiver))
        dashed = " answer" if step.is_answer else ""
        if start == end:
            self._text(lines, start + 40, self._y + 15, "said left")
            y = self._y + 10
            self._parts.append(f'<path class="arrow{dashed}" d="M{start:g} {y:g}h30v18h-25"/>')
            self._parts.append(_tip(start, y + 18, -1))
            self._y += max(len(lines) * LINE, 28) + 12
            return
        self._text(lines, (start + end) / 2, self._y + 13, "said")
        y = self._y + len(lines) * LINE + 4
        way = 1 if end > start else -1
        self._parts.append(f'<line class="arrow{dashed}" x1="{start:g}" y1="{y:g}" x2="{end - 7 * way:g}" y2="{y:g}"/>')
        self._parts.append(_tip(end, y, way))
        self._y = y + 14

    def _note(self, step: Note) -> None:
        lines = _wrapped(step.text)
        first, last = (self._middle[self._order.index(one)] for one in (step.first, step.last))
        wide = max(max(map(len, lines)) * CHARACTER + 16, last - first + 30)
        x, height = (first + last) / 2, len(lines) * LINE + 8
        self._parts.append(
            f'<rect class="note" x="{x - wide / 2:g}" y="{self._y:g}" width="{wide:g}" height="{height}" rx="4"/>'
        )
        self._text(lines, x, self._y + 17, "noted")
        self._y += height + 12

    def _block(self, step: Block) -> None:
        if step.word == "end":
            top = self._open.pop()
            inset = 4 + 6 * len(self._open)
            self._parts.append(
                f'<rect class="frame" x="{inset}" y="{top:g}" width="{self._wide - 2 * inset:g}"'
                f' height="{self._y - top:g}" rx="6"/>'
            )
            self._y += 12
            return
        inset = 4 + 6 * (len(self._open) - (step.word not in _OPENING))
        if step.word in _OPENING:
            self._open.append(self._y)
        else:
            self._parts.append(
                f'<line class="between" x1="{inset}" y1="{self._y:g}" x2="{self._wide - inset:g}" y2="{self._y:g}"/>'
            )
        self._text([f"{step.word} {step.text}".strip()], inset + 8, self._y + 17, "when")
        self._y += 30

    def _text(self, lines: Sequence[str], x: float, y: float, kind: str) -> None:
        for i, line in enumerate(lines):
            self._parts.append(f'<text class="{kind}" x="{x:g}" y="{y + i * LINE:g}">{escape(line)}</text>')


def _tip(x: float, y: float, way: int) -> str:
    return f'<path class="tip" d="M{x:g} {y:g}l{-9 * way} -4.5v9z"/>'


def _wrapped(text: str, wide: int = TEXT_MAX) -> list[str]:
    """Return a text in lines of about equal length."""
    if len(text) <= wide:
        return [text]
    lines = -(-len(text) // wide)
    target = max(len(text) / lines + 4, *map(len, text.split()))
    found = [""]
    for word in text.split():
        if found[-1] and len(found[-1]) + 1 + len(word) > target:
            found.append(word)
        else:
            found[-1] = f"{found[-1]} {word}".strip()
    return found
