"""How amounts are written in texts for operators: as the command line writes them."""

from __future__ import annotations

import pytest

from batzen.cli import money
from services.gateway.stripe_api.currencies import currency_codes
from services.shared import amounts


@pytest.mark.parametrize("amount_minor", [0, 1, -1, 99, 4_400, 125_050, -10_000_000, 2**53 - 1])
def test_every_currency_is_written_as_the_command_line_does(amount_minor: int) -> None:
    for code in currency_codes() | set(money.DIGITS):
        assert amounts.written(amount_minor, code) == money.shown(amount_minor, code)


def test_an_amount_is_written_by_its_currency() -> None:
    assert amounts.written(125_050, "CHF") == "1'250.50 CHF"
    assert amounts.written(4_400, "JPY") == "4'400 JPY"
    assert amounts.written(4_400, "KWD") == "4.400 KWD"
