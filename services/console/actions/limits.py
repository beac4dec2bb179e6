"""The limits of actions, as a deployment sets them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from batzen.cli import money
from services.console.actions.domain import Limits
from services.runtime.process.settings import Form, Reader

TYPED_ABOVE: Final = "200.00 CHF, 200.00 EUR"
RELEASED_ABOVE: Final = "2000.00 CHF, 2000.00 EUR"
RELEASED_ABOVE_A_DAY: Final = "10000.00 CHF, 10000.00 EUR"


def _amounts(text: str) -> Mapping[str, int]:
    amounts = [money.parse(part) for part in text.split(",")]
    return {amount.currency_code: amount.amount_minor for amount in amounts}


amounts: Form[Mapping[str, int]] = Form(_amounts, "amounts with their currencies: 200.00 CHF, 200.00 EUR")


def read(reader: Reader) -> Limits:
    """Read the limits."""
    return Limits(
        typed_above=reader(
            "BATZEN_CONSOLE_TYPED_ABOVE",
            amounts,
            default=_amounts(TYPED_ABOVE),
            doc="Above these amounts an operator types the amount before it is moved; always, in other currencies.",
        ),
        released_above=reader(
            "BATZEN_CONSOLE_RELEASED_ABOVE",
            amounts,
            default=_amounts(RELEASED_ABOVE),
            doc="Above these amounts, of one call or of all that was moved alone on one payment, a second operator "
            "releases what the first asks for; always, in other currencies.",
        ),
        released_above_a_day=reader(
            "BATZEN_CONSOLE_RELEASED_ABOVE_A_DAY",
            amounts,
            default=_amounts(RELEASED_ABOVE_A_DAY),
            doc="Above these amounts, of all that one operator moved alone in 24 hours, a second operator releases "
            "what the first asks for; always, in other currencies.",
        ),
    )
