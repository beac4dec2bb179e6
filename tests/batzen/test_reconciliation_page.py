"""The page of a reconciliation: the sums, each difference, and nothing of it is taken for markup."""

from __future__ import annotations

from batzen.cli.reconciliation_page import KIND_NAMES, page, verdict
from batzen.gateway.v1.ops_pb2 import GetReconciliationResponse as Report
from batzen.type.v1.money_pb2 import Money


def chf(amount_minor: int) -> Money:
    return Money(amount_minor=amount_minor, currency_code="CHF")


def report(**fields: object) -> Report:
    return Report(done=True, unexplained=[chf(0)], actor_id="<b>anna</b>", **fields)


def test_each_kind_has_a_name() -> None:
    assert set(KIND_NAMES) == set(Report.Difference.Kind.values())


def test_what_is_the_same_says_so() -> None:
    assert verdict(report()) == (True, "Stripe and we say the same.")
    assert verdict(report(repaired_count=2)) == (True, "Stripe and we say the same; 2 mended.")
    assert not verdict(report(cut_short="Too much."))[0]


def test_a_page_says_each_sum_and_difference_and_takes_no_text_for_markup() -> None:
    difference = Report.Difference(
        kind=Report.Difference.KIND_AMOUNT,
        stripe_id="<script>alert(1)</script>",
        payment_id='pay_"a"',
        figure="<i>net</i>",
        ours=chf(1_000_000),
        theirs=chf(999_999),
        detail="<img src=x>",
        repair_reason="a & b",
    )
    found = report(
        differences=[difference],
        counts=[Report.KindCount(kind=Report.Difference.KIND_AMOUNT, count=1)],
        sums=[Report.Sum(list="charges", matched_count=12_345, matched=chf(50_000))],
    )
    written = page(found)
    assert verdict(found) == (False, "1 difference.")
    for text in ("10'000.00 CHF", "9'999.99 CHF", "12'345", "500.00 CHF"):
        assert text.replace("'", "&#x27;") in written
    for text in ("<script>alert", "<i>net", "<img", "<b>anna", 'pay_"a"'):
        assert text not in written
