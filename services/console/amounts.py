"""How the console writes amounts, on every page alike. Pure: integers in, text out, nothing is ever a float."""

from __future__ import annotations

from batzen.cli.money import DIGITS, DIGITS_USUAL
from batzen.type.v1.money_pb2 import Money


def digits_of(currency_code: str) -> int:
    """Return how many digits of an amount stand behind the point."""
    return DIGITS.get(currency_code, DIGITS_USUAL)


def plain(amount_minor: int, currency_code: str) -> str:
    """Return `1250.50`, for programs and fields."""
    digits = digits_of(currency_code)
    sign = "-" if amount_minor < 0 else ""
    units = str(abs(amount_minor)).rjust(digits + 1, "0")
    return f"{sign}{units[:-digits]}.{units[-digits:]}" if digits else f"{sign}{units}"


def written(amount_minor: int, currency_code: str) -> str:
    """Return `CHF 1’250.50`, which no line breaks."""
    whole, point, fraction = plain(abs(amount_minor), currency_code).partition(".")
    grouped = f"{int(whole):,}".replace(",", "’")
    sign = "\N{MINUS SIGN}" if amount_minor < 0 else ""
    return f"{sign}{currency_code}\N{NO-BREAK SPACE}{grouped}{point}{fraction}"


def sum_of(message: Money) -> str:
    """Return an amount as it is shown."""
    return written(message.amount_minor, message.currency_code)
