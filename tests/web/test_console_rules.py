"""What the console decides by itself: what a form needs, when a second person is, and in which order is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from batzen.gateway.v1.ops_pb2 import LedgerEntry
from batzen.status.v1.status_pb2 import Payment, Transition
from batzen.type.v1 import payment_pb2
from batzen.type.v1.money_pb2 import Money
from batzen.type.v1.payment_pb2 import PaymentSnapshot
from services.console.actions.approvals import Approval, ApprovalState
from services.console.actions.domain import (
    Ask,
    Limits,
    MovedAlone,
    Unreadable,
    check_confirmation,
    read_amount,
    require_seen,
)
from services.console.actions.kinds import Action
from services.console.actions.kinds.capture import Capture
from services.console.actions.kinds.moving import Cancel
from services.console.actions.kinds.refund import Refund
from services.console.actions.kinds.resolve import Resolve
from services.console.operating.exporting import lines
from services.console.payments.export import row_of
from services.console.payments.offers import offers_of
from services.console.payments.shown import state_of
from services.console.payments.timeline import in_order, of_history, of_ledger

NOW = datetime(2026, 11, 29, 13, tzinfo=UTC)
LIMITS = Limits(typed_above={"CHF": 20_000}, released_above={"CHF": 200_000}, released_above_a_day={"CHF": 1_000_000})
NOTHING = MovedAlone(of_payment_minor=0, of_day_minor=0)
PAID = Payment(
    payment_id="pay_a",
    revision=4,
    state=payment_pb2.PAYMENT_STATE_SUCCEEDED,
    settled=True,
    snapshot=PaymentSnapshot(
        collection=payment_pb2.PAYMENT_STATE_SUCCEEDED,
        amounts=PaymentSnapshot.Amounts(authorized_minor=9_000, captured_minor=9_000),
    ),
    total=Money(amount_minor=9_000, currency_code="CHF"),
    seller_ids=["seller_a"],
)


def _chf(minor: int) -> Money:
    return Money(amount_minor=minor, currency_code="CHF")


def _at(seconds: int) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(NOW + timedelta(seconds=seconds))
    return stamp


@pytest.mark.parametrize(
    ("moved", "typed", "released"),
    [
        (None, False, False),
        (_chf(20_000), False, False),
        (_chf(20_001), True, False),
        (_chf(200_001), True, True),
        (Money(amount_minor=1, currency_code="JPY"), True, True),
    ],
)
def test_a_limit_is_of_each_currency_and_one_without_is_always_above(
    moved: Money | None, typed: bool, released: bool
) -> None:
    assert (LIMITS.needs_typing(moved), LIMITS.needs_release(moved, NOTHING)) == (typed, released)


@pytest.mark.parametrize(
    ("before", "released"),
    [
        (MovedAlone(of_payment_minor=100_000, of_day_minor=100_000), False),
        (MovedAlone(of_payment_minor=100_001, of_day_minor=100_001), True),
        (MovedAlone(of_payment_minor=0, of_day_minor=900_000), False),
        (MovedAlone(of_payment_minor=0, of_day_minor=900_001), True),
    ],
)
def test_a_limit_is_not_passed_in_parts(before: MovedAlone, released: bool) -> None:
    assert LIMITS.needs_release(_chf(100_000), before) is released


@pytest.mark.parametrize(
    ("action", "given", "minor"),
    [
        (Cancel(), {}, 250_000),
        (Resolve(), {"way": "RESOLUTION_CANCEL"}, 250_000),
        (Resolve(), {"way": "RESOLUTION_TRY_NOW"}, None),
        (Resolve(), {"way": "RESOLUTION_CLEAR_ATTENTION"}, None),
        (Capture(), {"amount": "1.00", "rest": "release"}, 250_000),
        (Capture(), {"amount": "1.00", "rest": "keep"}, 100),
    ],
)
def test_a_hold_that_is_given_away_counts_as_money_that_moves(
    action: Action, given: dict[str, str], minor: int | None
) -> None:
    held = Payment()
    held.CopyFrom(PAID)
    held.snapshot.amounts.CopyFrom(PaymentSnapshot.Amounts(authorized_minor=250_000, capturable_minor=250_000))

    weighed = action.read(held, given).weighed

    assert (weighed and weighed.amount_minor) == minor


def test_a_refund_is_sent_with_what_was_looked_at() -> None:
    given = {"amount": "10.00", "why": "REASON_DUPLICATE", "bearer": "shared"}

    require_seen(Refund().read(PAID, {**given, "expected": "90.00"}))
    with pytest.raises(Unreadable):
        require_seen(Refund().read(PAID, given))


@pytest.mark.parametrize("typed", ["2500.00", "2'500.00", " 2500.00 ", "2 500.00"])
def test_an_amount_is_typed_as_people_write_it(typed: str) -> None:
    fields = {"reason": " why ", "typed": typed}

    assert check_confirmation(fields, _chf(250_000), needs_typing=True) == "why"


@pytest.mark.parametrize("typed", ["", "2500", "2500.0", "250.00", "25000.00", "CHF 2500.00"])
def test_another_amount_confirms_nothing(typed: str) -> None:
    with pytest.raises(Unreadable) as raised:
        check_confirmation({"reason": "why", "typed": typed}, _chf(250_000), needs_typing=True)

    assert set(raised.value.errors) == {"typed"}


@pytest.mark.parametrize("text", ["", "ten", "0", "-1", "1.005", "1e3", "9" * 30])
def test_what_is_no_amount_above_nothing_is_not_read(text: str) -> None:
    with pytest.raises(Unreadable):
        read_amount(text, "CHF")


@pytest.mark.parametrize("wrong", [{"why": "BECAUSE"}, {"bearer": "nobody"}, {"seller": "another"}, {"expected": "x"}])
def test_a_refund_reads_nothing_that_it_does_not_offer(wrong: dict[str, str]) -> None:
    given = {"amount": "10.00", "why": "REASON_DUPLICATE", "bearer": "shared", **wrong}

    with pytest.raises(Unreadable):
        Refund().read(PAID, given)


def test_what_a_payment_offers_follows_from_its_amounts_and_its_collection() -> None:
    held = Payment()
    held.CopyFrom(PAID)
    held.settled = False
    held.snapshot.collection = payment_pb2.PAYMENT_STATE_AUTHORIZED
    held.snapshot.amounts.CopyFrom(PaymentSnapshot.Amounts(authorized_minor=9_000, capturable_minor=9_000))
    gone = Payment()
    gone.CopyFrom(PAID)
    gone.snapshot.amounts.refunded_minor = 8_000
    gone.snapshot.amounts.refund_pending_minor = 1_000

    assert [offer.key for offer in offers_of(PAID)] == ["refund"]
    assert [offer.key for offer in offers_of(held)] == ["capture", "resolve", "cancel"]
    assert list(offers_of(gone)) == []


def test_a_state_that_is_newer_than_the_console_is_shown_all_the_same() -> None:
    newer = Payment(state=99)  # type: ignore[arg-type] as another release would send it

    assert state_of(newer).word == "State 99"


def test_what_happened_is_told_newest_first_and_one_booking_is_one_entry() -> None:
    history = [Transition(revision=number, record_time=_at(0), state=PAID.state) for number in (1, 2)]
    ledger = [
        LedgerEntry(transaction_id="t", fact="captured", account=account, amount=_chf(minor), record_time=_at(5))
        for account, minor in (("stripe_clearing", 9_000), ("seller:a", -9_000))
    ]

    entries = in_order(of_history(history, "CHF"), of_ledger(ledger))

    assert [entry.title for entry in entries] == [
        "Booked: captured",
        "Succeeded (revision 2)",
        "Succeeded (revision 1)",
    ]
    assert [name for name, _ in entries[0].more] == ["stripe_clearing", "seller:a"]


def test_who_asked_never_releases_and_what_was_released_is_carried_on_by_who_did() -> None:
    def approval(state: ApprovalState, decided_by: str = "") -> Approval:
        return Approval(
            request_id="r",
            ask=Ask(action="refund", payment_id="pay_a", fields={}, moved=_chf(1)),
            reason="why",
            asked_by="anna",
            ask_time=NOW,
            expire_time=NOW + timedelta(hours=24),
            state=state,
            decided_by=decided_by,
            decide_time=None,
            outcome="",
        )

    waits, released = approval(ApprovalState.OPEN), approval(ApprovalState.RELEASED, "bert")

    assert (waits.may_release("anna", now=NOW), waits.may_release("bert", now=NOW)) == (False, True)
    assert not waits.may_release("bert", now=NOW + timedelta(hours=24))
    assert (released.may_release("bert", now=NOW), released.may_release("carl", now=NOW)) == (True, False)
    assert not released.may_release("bert", now=NOW + timedelta(hours=24)), "what is carried on expires, too"


def test_a_call_that_may_still_be_under_way_is_not_given_up() -> None:
    released = Approval(
        request_id="r",
        ask=Ask(action="refund", payment_id="pay_a", fields={}, moved=_chf(1)),
        reason="why",
        asked_by="anna",
        ask_time=NOW - timedelta(hours=24),
        expire_time=NOW,
        state=ApprovalState.RELEASED,
        decided_by="bert",
        decide_time=NOW - timedelta(seconds=1),
        outcome="",
    )

    assert not released.is_given_up(now=NOW + timedelta(minutes=1))
    assert released.is_given_up(now=NOW + timedelta(hours=1))


def test_an_exported_payment_runs_nothing_in_a_spreadsheet() -> None:
    payment = Payment()
    payment.CopyFrom(PAID)
    payment.client_reference = "=HYPERLINK(1)"
    payment.payer_id = "-1+cmd"

    line = lines([row_of(payment)])

    assert "'=HYPERLINK(1)" in line
    assert "'-1+cmd" in line
    assert ",CHF,90.00,90.00,0.00," in line
