"""What a receipt says of money that was taken and that went back: lines that add up, VAT of what was paid."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from typing import Final

import pytest

from batzen.status.v1.status_pb2 import Transition
from services.bff.checkout.receipts import receipt
from services.receipts.model import Fact, Receipt
from tests.web import checkout_samples as samples

NO_BREAK: Final = "\N{NO-BREAK SPACE}"


def minor(amount: str) -> int:
    """Read a written amount of francs."""
    return int(re.sub(r"\D", "", amount)) * (-1 if amount.startswith("\N{MINUS SIGN}") else 1)


def test_a_receipt_shows_each_time_that_money_went_back_and_what_is_left() -> None:
    amounts = {"captured_minor": samples.TOTAL_MINOR, "refunded_minor": 5_060}
    session = samples.session("PARTIALLY_REFUNDED", snapshot=samples.snapshot(amounts=amounts))
    found = samples.receipt(session, samples.history(0, 3_060, 3_060, 5_060))
    shown: Receipt = receipt(found, samples.place()).part["receipt"]  # type: ignore[assignment]

    values = [fact.value for fact in (*shown.refunds, *shown.left)]
    assert [value.replace("\N{NO-BREAK SPACE}", " ") for value in values] == ["−CHF 30.60", "−CHF 20.00", "CHF 160.00"]


def _receipt(
    history: list[Transition], *, state: str = "PARTIALLY_REFUNDED", has_one_rate: bool = False, **amounts: int
) -> Receipt:
    session = samples.session(
        state, snapshot=samples.snapshot(amounts={"captured_minor": samples.TOTAL_MINOR} | amounts)
    )
    if has_one_rate:
        session.quote.CopyFrom(samples.one_rate())
    found = samples.receipt(session, history)
    shown: Receipt = receipt(found, samples.place()).part["receipt"]  # type: ignore[assignment]
    return shown


def _facts(facts: Iterable[Fact]) -> list[tuple[str, str]]:
    return [(one.label.replace(NO_BREAK, " "), one.value.replace(NO_BREAK, " ")) for one in facts]


def test_a_refund_that_failed_leaves_a_receipt_by_a_line_of_its_own() -> None:
    shown = _receipt(samples.history(0, 5_000, 0, 5_000), refunded_minor=5_000)

    assert _facts(shown.refunds) == [
        ("Refunded on 5 December 2026", "−CHF 50.00"),
        ("Refund failed on 6 December 2026", "CHF 50.00"),
        ("Refunded on 7 December 2026", "−CHF 50.00"),
    ]
    assert _facts(shown.left) == [("Paid after refunds", "CHF 160.60")]


@pytest.mark.parametrize("seed", range(12))
def test_the_lines_of_a_receipt_add_up_to_what_is_left_of_what_was_taken(seed: int) -> None:
    chance = random.Random(seed)
    history, amounts = [], {}
    for revision in range(1, 8):  # beyond the session's: what came after it was read
        amounts = {"refunded_minor": chance.choice((0, 500, 900)), "disputed_lost_minor": chance.choice((0, 0, 700))}
        history.append(samples.moved(revision, captured_minor=samples.TOTAL_MINOR, **amounts))
        if revision == 3:
            now = amounts
    for known in (history, history[2:], [], history[:2]):
        shown = _receipt(known, **now)
        left_minor = minor(shown.left[0].value) if shown.left else samples.TOTAL_MINOR
        moved_minor = sum(minor(one.value) for one in shown.refunds)
        assert samples.TOTAL_MINOR + moved_minor == left_minor
        assert moved_minor == -sum(now.values())


def test_a_receipt_of_a_part_says_how_much_of_what_was_taken_and_no_vat_of_what_was_not() -> None:
    shown = _receipt([], state="SUCCEEDED", captured_minor=10_000)
    one_rate = _receipt([], state="SUCCEEDED", captured_minor=10_000, has_one_rate=True)

    assert (shown.total, shown.taken, shown.vat) == (f"CHF{NO_BREAK}210.60", f"CHF{NO_BREAK}100.00", [])
    assert shown.vat_note
    assert (_facts(one_rate.vat), one_rate.vat_note) == ([("VAT 8.1 % on CHF 92.51", "CHF 7.49")], "")


def test_a_receipt_says_the_vat_of_what_is_left() -> None:
    part = _receipt(samples.history(5_060), refunded_minor=5_060, has_one_rate=True)
    nothing = _receipt(samples.history(samples.TOTAL_MINOR), refunded_minor=samples.TOTAL_MINOR)

    assert _facts(part.left) == [("Paid after refunds", "CHF 160.00"), ("VAT 8.1 % on CHF 148.01", "CHF 11.99")]
    assert _facts(part.vat) == [("VAT 8.1 % on CHF 194.82", "CHF 15.78")]
    assert (nothing.left[0].label, nothing.vat_note) == ("Paid after refunds", "")


def test_a_dispute_that_was_lost_is_on_the_receipt() -> None:
    shown = _receipt([], state="DISPUTE_LOST", disputed_lost_minor=samples.TOTAL_MINOR)

    assert _facts(shown.refunds) == [("Given back by your bank on 29 November 2026", "−CHF 210.60")]
    assert _facts(shown.left) == [("Paid after refunds", "CHF 0.00")]
