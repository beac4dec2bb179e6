"""What operators read is what messages say: amounts to the last digit, texts as text, forms for who may act."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta

import pytest

from batzen.gateway.v1.disputes_pb2 import Dispute
from batzen.gateway.v1.ops_pb2 import GetBalancesResponse, ReplayDeadLettersResponse
from batzen.pricing.v1.price_book_pb2 import Discount
from batzen.type.v1.money_pb2 import Money
from services.console.operating import cells, exporting
from services.console.operating.blocks import Cell, Column, Form, Row, Table, Tone
from services.console.operating.drafts import changed, last_day
from services.console.operating.views import (
    attention,
    dead_letters,
    disputes,
    price_changes,
    sellers,
    subscriptions,
)
from services.web.assets import Assets
from services.web.failures import Refusal
from services.web.pages import Pages
from tests.web.rendered import SERVICES
from tests.web.states import console_pages
from tests.web.states.console_pages import DISPUTE, ITEMS, LETTERS, NOW, RECEIVER, STATES, at, chf


@pytest.mark.parametrize(
    ("amount_minor", "currency", "text", "plain"),
    [
        (123_456_789, "CHF", "CHF\u00a01’234’567.89", "1234567.89"),
        (-5, "CHF", "−CHF\u00a00.05", "-0.05"),
        (1_234, "JPY", "JPY\u00a01’234", "1234"),
        (1_234, "KWD", "KWD\u00a01.234", "1.234"),
        (2**53 + 1, "CHF", "CHF\u00a090’071’992’547’409.93", "90071992547409.93"),
    ],
    ids=str,
)
def test_an_amount_is_exact(amount_minor: int, currency: str, text: str, plain: str) -> None:
    cell = cells.amount(Money(amount_minor=amount_minor, currency_code=currency))

    assert cell.text == text
    assert cell.exported == f"{plain} {currency}"


@pytest.mark.parametrize(
    "text",
    ["=1+1", "+41 44 000", "-1+1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\ufeff=1", "\u00a0@x", "-", "--5", "\n=1"],
)
def test_a_cell_that_begins_like_a_formula_is_text(text: str) -> None:
    assert exporting.neutral(text) == f"'{text}"


@pytest.mark.parametrize("text", ["-5", "-1234.50 CHF", "0.05 CHF", "a=b", "", "pay_abc", "2026-11-29T13:05:00+00:00"])
def test_a_number_stays_one(text: str) -> None:
    assert exporting.neutral(text) == text


def test_an_export_is_read_as_it_was_shown() -> None:
    columns = (Column(title="Reason"), Column(title="Amount"))
    rows = [Row(key="1", cells=(Cell(text='=HYPERLINK("x")\n"quoted", and more'), cells.amount(chf(-1_250))))]

    text = exporting.head(columns) + exporting.lines(rows)

    assert text.startswith(exporting.MARK)
    assert list(csv.reader(io.StringIO(text.removeprefix(exporting.MARK)))) == [
        ["Reason", "Amount"],
        ['\'=HYPERLINK("x")\n"quoted", and more', "-12.50 CHF"],
    ]


@pytest.mark.parametrize(
    ("days", "tone", "note"), [(-10, Tone.WARN, "in 10 d"), (-2, Tone.BAD, "in 2 d"), (1, Tone.BAD, "1 d ago")]
)
def test_a_due_date_presses_as_it_comes_near(days: int, tone: Tone, note: str) -> None:
    dispute = Dispute(state=Dispute.STATE_NEEDS_RESPONSE, evidence_due_time=at(days=days))

    due = disputes.table([dispute], now=NOW, is_filtered=False).rows[0].cells[2]

    assert (due.tone, due.note) == (tone, note)


def test_a_dispute_is_answered_while_an_answer_is_wanted_and_an_inquiry_is_not_given_up() -> None:
    inquiry = Dispute()
    inquiry.CopyFrom(DISPUTE)
    inquiry.inquiry = True
    won = Dispute(state=Dispute.STATE_WON)

    def keys(dispute: Dispute, *, may_act: bool = True) -> list[str]:
        return [one.key for one in disputes.details(dispute, now=NOW, may_act=may_act) if isinstance(one, Form)]

    assert keys(DISPUTE) == ["draft", "submit", "accept"]
    assert keys(inquiry) == ["draft", "submit"]
    assert keys(won) == []
    assert keys(DISPUTE, may_act=False) == []


def test_who_only_reads_sees_nothing_to_press() -> None:
    blocks = [
        *attention.details(ITEMS[0], now=NOW, may_act=False),
        *sellers.account(console_pages.SELLER, now=NOW, may_act=False),
        *subscriptions.details(RECEIVER, now=NOW, may_act=False),
        dead_letters.table(LETTERS, now=NOW, is_filtered=False, replay=None),
    ]

    assert not any(isinstance(block, Form) or (isinstance(block, Table) and block.choose) for block in blocks)


def test_what_a_seller_is_owed_is_the_other_side_of_the_ledger() -> None:
    balances = GetBalancesResponse(
        balances=[
            GetBalancesResponse.Balance(account="seller:a", seller_id="a", amount=chf(-500)),
            GetBalancesResponse.Balance(account="seller:b", seller_id="b", amount=chf(500)),
            GetBalancesResponse.Balance(account="platform_fee", amount=chf(0)),
        ]
    )

    rows = sellers.balances(balances).rows

    assert [row.cells[2].raw for row in rows] == ["5.00 CHF", "-5.00 CHF"]
    assert [row.cells[2].tone for row in rows] == [Tone.PLAIN, Tone.BAD]


@pytest.mark.parametrize(
    ("went", "failed", "title", "tone"),
    [
        (2, 0, "2 dead letters went through.", Tone.GOOD),
        (1, 1, "1 dead letter went through, 1 failed again.", Tone.WARN),
        (0, 1, "1 dead letter failed again.", Tone.BAD),
    ],
)
def test_a_replay_says_what_came_of_it(went: int, failed: int, title: str, tone: Tone) -> None:
    one = ReplayDeadLettersResponse.Outcome
    answer = ReplayDeadLettersResponse(outcomes=[one(succeeded=True)] * went + [one(error="no")] * failed)

    note, table = dead_letters.outcomes(answer)

    assert (getattr(note, "title", ""), getattr(note, "tone", "")) == (title, tone)
    assert isinstance(table, Table)
    assert len(table.rows) == went + failed


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (timedelta(seconds=3), "now"),
        (timedelta(minutes=59), "59 min ago"),
        (timedelta(hours=-5), "in 5 h"),
        (timedelta(days=400), "400 d ago"),
    ],
    ids=str,
)
def test_how_far_away_an_instant_is(before: timedelta, said: str) -> None:
    assert cells.away(NOW - before, NOW) == said


def test_html_in_a_text_stays_text() -> None:
    assets = Assets([SERVICES / "web" / "static", SERVICES / "console" / "static"])
    pages = Pages([SERVICES / "console" / "templates", SERVICES / "web" / "templates"], assets=assets)

    html = pages.render("operating.html", STATES["dead-letters"].values("en"))

    assert "&lt;b&gt;HTML&lt;/b&gt; in an error stays text" in html
    assert "<b>HTML" not in html


@pytest.mark.parametrize(
    ("until", "day"),
    [
        ("2026-12-24T23:00:00+00:00", "2026-12-24"),
        ("2026-12-24T22:59:59+00:00", "2026-12-24"),
        ("2026-12-24T00:00:00+00:00", "2026-12-24"),
        ("2026-07-01T22:00:00+00:00", "2026-07-01"),
    ],
)
def test_a_change_that_is_not_of_its_end_leaves_a_coupon_its_end(until: str, day: str) -> None:
    coupon = Discount(discount_id="spring", percent="10")
    coupon.valid_until.FromDatetime(datetime.fromisoformat(until))
    unchanged = {field.name: field.value for field in price_changes.try_form(coupon, {}).fields}

    new = changed(coupon, unchanged | {"percent": "20"})

    assert unchanged["until"] == day
    assert isinstance(new, Discount)
    assert (new.percent, new.valid_until) == ("20", coupon.valid_until)


@pytest.mark.parametrize(
    ("day", "until"),
    [
        ("2026-12-31", "2026-12-31T23:00:00+00:00"),
        ("2026-07-01", "2026-07-01T22:00:00+00:00"),
        ("2026-03-29", "2026-03-29T22:00:00+00:00"),
    ],
)
def test_a_coupon_is_given_to_the_end_of_its_last_day_in_zurich(day: str, until: str) -> None:
    coupon = Discount(discount_id="spring", percent="10")

    new = changed(coupon, {"until": day})

    assert isinstance(new, Discount)
    assert new.valid_until.ToDatetime(tzinfo=UTC) == datetime.fromisoformat(until)
    assert last_day(new) == day


@pytest.mark.parametrize("day", ["9999-12-31", "2026-02-30", "tomorrow"])
def test_what_is_no_day_is_refused(day: str) -> None:
    with pytest.raises(Refusal):
        changed(Discount(discount_id="spring", percent="10"), {"until": day})
