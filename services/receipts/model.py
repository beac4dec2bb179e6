"""What a receipt shows: values that are ready to be shown, on the page and in the mail alike. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of the price."""

    label: str
    amount: str
    note: str = ""
    kind: str = "line"
    """`line`, `discount`, `surcharge` or `vat`."""
    is_within: bool = False
    """It is a part of the prices above, and adds nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A line of a list: what, and how much or which."""

    label: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """Who sold, or paid."""

    name: str
    lines: Sequence[str] = ()
    vat_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What was paid, for the books of the payer."""

    number: str
    date: str
    title: str
    """What was bought, as the one who sold it calls it; may be empty."""
    seller: Party
    """Of whom it was bought, and who writes the receipt."""
    providers: Sequence[Party]
    """Whose services or goods it was for, as far as they are to be named."""
    rows: Sequence[Row]
    vat: Sequence[Fact]
    """Each rate, with what it is of."""
    vat_note: str
    """Why its VAT, or that of what is left of it, is not shown; empty where it is."""
    paid: Sequence[Fact]
    refunds: Sequence[Fact]
    """Each time that money went back, or turned out not to have."""
    left: Sequence[Fact]
    """What was paid after them, with its VAT; nothing where nothing went back."""
    total: str
    taken: str
    """What was taken of the total; empty where that is all of it."""
