"""The demo's verdict on its books: what is right passes, and whatever is wrong is said."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from batzen.gateway.v1.ops_pb2 import GetReconciliationResponse
from batzen.type.v1.money_pb2 import Money
from local.books import Balance, Books, Part


def _money(minor: int) -> Money:
    return Money(amount_minor=minor, currency_code="CHF")


def _books() -> Books:
    """Return 100.00 of a seller who gave back 30.00, as it should be."""
    report = GetReconciliationResponse(done=True, unexplained=[_money(0)])
    report.sums.add(list="charges", matched_count=1, matched=_money(10_000))
    return Books(
        balances=[
            Balance(account="stripe_balance", amount=_money(1_500)),
            Balance(account="platform_fee", amount=_money(-1_500)),
        ],
        parts=[Part(seller_id="anna", currency_code="CHF", quoted_minor=8_500, returned_minor=2_550, has_minor=5_950)],
        report=report,
    )


def test_books_that_are_right_have_no_problems() -> None:
    assert _books().problems == []


def _other(change: Callable[[Books], object]) -> Books:
    books = _books()
    change(books)
    return books


def _with(account: str, minor: int, against: str = "platform_fee") -> Books:
    more = [Balance(account=account, amount=_money(minor)), Balance(account=against, amount=_money(-minor))]
    return Books(balances=[*_books().balances, *more], parts=_books().parts, report=_books().report)


def _without_part(minor: int) -> Books:
    part = Part(seller_id="anna", currency_code="CHF", quoted_minor=8_500, returned_minor=2_550, has_minor=minor)
    return Books(balances=_books().balances, parts=[part], report=_books().report)


@pytest.mark.parametrize(
    ("books", "said"),
    [
        (_other(lambda books: setattr(books.balances[0].amount, "amount_minor", 1_501)), "does not balance: 0.01 CHF"),
        (Books(balances=[], parts=[], report=_books().report), "Nothing is booked."),
        (_with("seller:anna", -5), "seller:anna should be at 0, and is at -0.05 CHF."),
        (_with("stripe_clearing", 7), "stripe_clearing should be at 0"),
        (_with("unclassified", 7), "unclassified should be at 0"),
        (_without_part(8_500), "anna has 85.00 CHF; by its quotes it is 59.50 CHF."),
        (_other(lambda books: setattr(books.report, "done", False)), "did not come to its end"),
        (_other(lambda books: setattr(books.report, "cut_short", "too many")), "too many"),
        (_other(lambda books: books.report.ClearField("sums")), "compared nothing"),
        (
            _other(lambda books: setattr(books.report.sums[0], "in_transit_count", 2)),
            "2 amounts are still on their way",
        ),
        (_other(lambda books: books.report.differences.add(stripe_id="ch_1", figure="net")), "differ: ch_1 net"),
        (_other(lambda books: setattr(books.report.unexplained[0], "amount_minor", 7)), "remainder of 0.07 CHF"),
    ],
)
def test_whatever_is_wrong_with_them_is_said(books: Books, said: str) -> None:
    (problem,) = books.problems

    assert said in problem
