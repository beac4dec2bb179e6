"""Tables as CSV files that a spreadsheet opens without running anything in them. Pure.

A cell that begins like a formula gets an apostrophe before it, as OWASP says; a number stays a number.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Final

from services.console.operating.blocks import Column, Row

FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What a spreadsheet takes for the beginning of a formula."""
MARK: Final = "\N{BYTE ORDER MARK}"
"""By which a spreadsheet knows that it is UTF-8."""
_AMOUNT: Final = re.compile(r"-?\d+(\.\d+)?( [A-Z]{3})?", re.ASCII)
"""What begins with a minus and is nothing but a number, or an amount."""


def neutral(text: str) -> str:
    """Return a cell that nothing is run in."""
    if _AMOUNT.fullmatch(text):
        return text
    return f"'{text}" if text.lstrip(" \N{NO-BREAK SPACE}\N{BYTE ORDER MARK}").startswith(FORMULA) else text


def head(columns: Sequence[Column]) -> str:
    """Return the first line."""
    return MARK + _lines([[column.title for column in columns]])


def lines(rows: Iterable[Row]) -> str:
    """Return the lines of rows."""
    return _lines([cell.exported for cell in row.cells] for row in rows)


def _lines(rows: Iterable[Iterable[str]]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\r\n").writerows([neutral(text) for text in row] for row in rows)
    return file.getvalue()


def cut_short(rows: int) -> str:
    """Return the last line of an export that does not hold everything."""
    return _lines([[f"Not everything: the export ends after {rows} rows. Narrow the filter for the rest."]])
