"""What each record of a payment says of it, and where two of them disagree; as batzen.type.v1 says it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

NOTHING: Final = "nothing"
"""What a side says that has none of what a disagreement is about."""


class Keeper(StrEnum):
    """Who says something of a payment."""

    PLAN = "PLAN"
    STATUS = "STATUS"
    MIRROR = "MIRROR"
    LEDGER = "LEDGER"
    QUOTE = "QUOTE"
    STRIPE = "STRIPE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that is always so of a payment at rest."""

    name: str
    """In UPPER_SNAKE_CASE; never changes, since findings and figures go by it."""
    meaning: str
    """What a disagreement that it finds says, as a sentence."""
    remedy: str
    """What would be done about it, as a sentence."""


@dataclass(frozen=True, slots=True)
class Saying:
    """What one side says of what they disagree about."""

    keeper: Keeper
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """Two records say different things, or one contradicts itself."""

    check: Check
    sayings: tuple[Saying, ...]
    about: str = ""
    """What it is about, such as a refund or a seller; empty where that is the payment as a whole."""
    waits_for: str = ""
    """What is on its way that may end it by itself, as a sentence; empty where nothing is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One thing that a keeper says: an amount where there is a currency, else a text."""

    name: str
    text: str = ""
    amount_minor: int = 0
    currency_code: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What one keeper says of a payment."""

    keeper: Keeper
    figures: tuple[Figure, ...] = ()
    problem: str = ""
    """Why nothing is known of this side, as a sentence; empty where it answered."""


def differ(
    check: Check, one: tuple[Keeper, object], other: tuple[Keeper, object], *, about: str = "", waits_for: str = ""
) -> list[Disagreement]:
    """Return that two sides disagree, or nothing where they say the same. None is said as `NOTHING`."""
    if one[1] == other[1]:
        return []
    sayings = (Saying(one[0], said(one[1])), Saying(other[0], said(other[1])))
    return [Disagreement(check=check, sayings=sayings, about=about, waits_for=waits_for)]


def said(value: object) -> str:
    """Return what a side says as people read it."""
    if value is None or value == "":
        return NOTHING
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value)) or NOTHING
    return str(value)


def money(amount_minor: int, currency_code: str) -> str:
    """Return an amount as a disagreement says it: in minor units, as all records have it."""
    return f"{amount_minor} {currency_code}"


def table(checks: Iterable[Sequence[Check]]) -> str:
    """Return checks as Markdown, for docs/doctor.md."""
    rows = ["| check | what it means | what would be done |", "| --- | --- | --- |"]
    rows += [f"| `{one.name}` | {one.meaning} | {one.remedy} |" for group in checks for one in group]
    return "\n".join(rows) + "\n"
