"""What is looked for in what a stranger was shown. Pure; each says what is wrong, or nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

BATZEN: Final = ".batzen/venv/bin/batzen"
_ID: Final = re.compile(r"\bpay_[0-9a-z]{26}\b")
_CUT: Final = re.compile(r"\bpay_[0-9a-z]{1,25}…")
_PLACE: Final = re.compile(r"\b(?:PAYMENT|SELLER|PAYER|METHOD)_ID\b")
_AMOUNT_ALONE: Final = re.compile(r"(?:captured|refunded|lost) [\d'.]+[A-Z ]*$")
_AMOUNT_WHOLE: Final = re.compile(r" [A-Z]{3}$")
_ROW: Final = re.compile(rf"^(?P<sign>\S) {_ID.pattern}\s+[\d'.]+ [A-Z]{{3}}  (?P<state>[a-z ]+)$", re.MULTILINE)


def hints(text: str) -> Iterator[str]:
    """Yield the commands that a text proposes, as they are to be typed."""
    for line in text.splitlines():
        _, found, rest = line.partition(f"{BATZEN} ")
        if found:
            yield f"{BATZEN} {rest}".rstrip().removesuffix("`").rstrip(")")


def payment_id(text: str) -> str:
    """Return the first payment that a text names; "" if it names none."""
    found = _ID.search(text)
    return found[0] if found else ""


def odd_calls(text: str) -> list[str]:
    """Return lines that propose another way to call the command line."""
    return [line for line in text.splitlines() if "-m batzen" in line]


def blanks(text: str) -> list[str]:
    """Return proposed commands in which something is still to be filled in."""
    return [hint for hint in hints(text) if _PLACE.search(hint)]


def too_wide(text: str, width: int = 80) -> list[str]:
    """Return the lines that do not fit."""
    return [line for line in text.splitlines() if len(line) > width]


def cut_ids(text: str) -> list[str]:
    """Return ids that cannot be copied whole."""
    return _CUT.findall(text)


def typed_values(text: str) -> list[str]:
    """Return what help calls values by the names of Python's types."""
    return re.findall(r"<(?:bool|str|int|float)[^>]*>", text)


def shared_signs(listed: str) -> dict[str, set[str]]:
    """Return the signs in a list that stand for more than one state."""
    states: dict[str, set[str]] = {}
    for row in _ROW.finditer(listed):
        states.setdefault(row["sign"], set()).add(row["state"])
    return {sign: found for sign, found in states.items() if len(found) > 1}


def signs(listed: str) -> dict[str, str]:
    """Return the states of a list by their signs."""
    return {row["sign"]: row["state"] for row in _ROW.finditer(listed)}


def cut_amounts(text: str) -> list[str]:
    """Return lines of a table that end amid an amount, or before its currency."""
    lines = [line.strip() for line in text.splitlines() if "→" not in line]
    return [line for line in lines if _AMOUNT_ALONE.search(line) and not _AMOUNT_WHOLE.search(line)]


def shell_blocks(document: str) -> list[str]:
    """Return the commands that a document shows."""
    return re.findall(r"^```sh\n(.*?)^```", document, re.DOTALL | re.MULTILINE)


def missing(text: str, wanted: Sequence[str]) -> list[str]:
    """Return what should be said and is not."""
    return [one for one in wanted if one not in text]
