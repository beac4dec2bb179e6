"""What the demo shows at its end, in a terminal of any width."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from batzen.status.v1.status_pb2 import Payment
from batzen.type.v1.money_pb2 import Money
from local.demo_view import DemoView, Shown
from local.record import Record


@pytest.mark.parametrize("width", [80, 100, 160])
def test_its_table_cuts_neither_an_id_nor_an_amount(width: int) -> None:
    payment = Payment(payment_id="pay_01m8mcr8jggbymg6ratfhn6p1m")
    payment.snapshot.amounts.captured_minor = 999_999_99
    record = Record(total=Money(amount_minor=999_999_99, currency_code="CHF"), payment=payment, waited_s=1.234)
    shown = Shown(
        number=1, title="Held, captured in two parts, the rest given back", wanted=("succeeded",), record=record
    )
    out = io.StringIO()
    DemoView(Console(file=out, width=width)).summary([shown], note="")

    said = out.getvalue()
    assert payment.payment_id in said
    assert "captured 999'999.99 CHF" in said
    assert "1234 ms" in said
    assert max(map(len, said.splitlines())) <= min(width, 100)
