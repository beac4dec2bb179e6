"""State diagrams of Mermaid's text as a table: from where, to where, and when. A picture of many arrows says less."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from typing import Final

from tests.reference.sequence import NotUnderstood

_NAMED: Final = re.compile(r'state "(.+)" as (\w+)')
_WAY: Final = re.compile(r"(\w+|\[\*\]) --> (\w+|\[\*\])(?:: (.+))?")
NOWHERE: Final = "[*]"


def ways(text: str) -> Sequence[tuple[str, str, str]]:
    """Return from, to and when, for each arrow; the beginning and the end are empty."""
    names = {NOWHERE: ""}
    found = []
    for line in [line.strip() for line in text.splitlines() if line.strip()][1:]:
        if named := _NAMED.fullmatch(line):
            names[named[2]] = named[1]
        elif way := _WAY.fullmatch(line):
            found.append((names.get(way[1], way[1]), names.get(way[2], way[2]), way[3] or ""))
        else:
            raise NotUnderstood(f"a line of a diagram that is none of ours: {line!r}")
    return found


def table(text: str) -> str:
    """Return a state diagram as HTML."""
    rows = "".join(
        f"<tr><td>{_state(before, 'begins')}</td><td>{_state(after, 'ends')}</td><td>{escape(when)}</td></tr>"
        for before, after, when in ways(text)
    )
    head = "<thead><tr><th>from</th><th>to</th><th>when</th></tr></thead>"
    return f'<div class="wide" tabindex="0"><table>{head}<tbody>{rows}</tbody></table></div>\n'


def _state(name: str, nowhere: str) -> str:
    return f"<code>{escape(name)}</code>" if name else nowhere
