"""What a dispute takes of each seller, by its balance transactions alone: the figures of docs/money.md."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.gateway.disputes.domain import Dispute, Standing, Withdrawal
from services.gateway.intents.domain import Intent
from services.gateway.mirror.payment import MirroredPayment
from services.gateway.settlement.domain import DisputeRecovery
from services.shared.states import IntentState
from tests.gateway.test_disputes import dispute, moved
from tests.gateway.test_domain import NOW
from tests.gateway.test_positions import attempt, line, owed, refund

TAKEN = moved(-6_000, fee_minor=1_500)
BACK = replace(moved(6_000), balance_transaction_id="txn_2")


def payment_of(intent: Intent) -> MirroredPayment:
    made = MirroredPayment.new("main", "pay_a", payer_id="payer_a", seller_id="s1", currency_code="CHF")
    made.intents = {1: replace(intent, state=IntentState.SUCCEEDED, intent_id="pi_a")}
    made.conclude()
    return made


def paid_by(recovery: DisputeRecovery) -> MirroredPayment:
    """100.00 of which s1 is to have 85.00."""
    return payment_of(attempt(line("s1", 10_000), recovery=recovery))


def seen(payment: MirroredPayment, standing: Standing, *withdrawals: Withdrawal, amount_minor: int = 6_000) -> Dispute:
    """Let Stripe show a dispute, and return it as it is kept."""
    payment.apply_disputes(1, [dispute(standing, amount_minor, withdrawals=withdrawals)])
    (kept,) = payment.intents[1].disputes
    return kept


def stand(payment: MirroredPayment) -> tuple[int, int]:
    """What s1 is owed, and what of that is held."""
    return owed(payment.positions(1))["s1"]


def test_a_dispute_takes_nothing_before_its_balance_transaction_is_there() -> None:
    payment = paid_by(DisputeRecovery.AT_WITHDRAWAL)

    early = seen(payment, Standing.OPEN)
    assert (early.withdrawn_minor, early.standing_of_money, early.parts, stand(payment)) == (
        0,
        Standing.INQUIRY,
        (),
        (8_500, 0),
    )
    taken = seen(payment, Standing.OPEN, TAKEN)  # rows 9 and 10: 60.00 withdrawn, 51.00 held back
    assert (taken.withdrawn_minor, taken.standing_of_money, stand(payment)) == (6_000, Standing.OPEN, (8_500, 5_100))


@pytest.mark.parametrize(
    ("recovery", "lost"),
    [
        (DisputeRecovery.AT_WITHDRAWAL, (3_400, 0)),  # row 11
        (DisputeRecovery.AT_LOSS, (3_400, 0)),  # row 11'
        (DisputeRecovery.NONE, (8_500, 0)),  # row 11''
    ],
)
def test_what_is_lost_is_the_sellers_as_its_terms_say(recovery: DisputeRecovery, lost: tuple[int, int]) -> None:
    payment = paid_by(recovery)
    seen(payment, Standing.OPEN, TAKEN)

    ended = seen(payment, Standing.LOST, TAKEN)

    assert (ended.lost_minor, ended.is_settled, stand(payment)) == (6_000, True, lost)


def test_what_is_won_is_the_sellers_again_once_it_is_back() -> None:
    payment = paid_by(DisputeRecovery.AT_WITHDRAWAL)
    seen(payment, Standing.OPEN, TAKEN)

    won = seen(payment, Standing.CLOSED, TAKEN)  # Stripe says that it is won, and has not given it back
    assert (won.is_settled, stand(payment)) == (False, (8_500, 5_100))
    back = seen(payment, Standing.CLOSED, TAKEN, BACK)  # row 12
    assert (back.withdrawn_minor, back.is_settled, stand(payment)) == (0, True, (8_500, 0))


def test_more_lost_than_what_stands_is_the_sellers_as_far_as_its_part_stands() -> None:
    payment = paid_by(DisputeRecovery.AT_LOSS)
    back = refund(payment.intents[1], 4_000)
    payment.refunds[back.refund_id] = back
    assert stand(payment) == (5_100, 0)

    lost = seen(payment, Standing.LOST, moved(-10_000), amount_minor=10_000)  # row 13

    assert (lost.lost_minor, sum(one.amount_minor for one in lost.parts), stand(payment)) == (10_000, 6_000, (0, 0))


def test_of_what_comes_back_in_part_what_no_seller_bore_comes_back_first() -> None:
    payment = paid_by(DisputeRecovery.AT_LOSS)
    back = refund(payment.intents[1], 4_000)
    payment.refunds[back.refund_id] = back
    whole = moved(-10_000)
    seen(payment, Standing.OPEN, whole, amount_minor=10_000)

    mostly = seen(payment, Standing.LOST, whole, moved(3_000), amount_minor=10_000)
    assert (mostly.lost_minor, mostly.parts[0].amount_minor) == (7_000, 6_000)
    half = seen(payment, Standing.LOST, whole, moved(3_000), moved(4_000), amount_minor=10_000)
    assert (half.lost_minor, half.parts[0].amount_minor, stand(payment)) == (3_000, 3_000, (2_550, 0))


def test_several_disputes_take_of_each_line_at_most_what_is_left() -> None:
    payment = payment_of(attempt(line("s1", 10_000), line("s2", 5_000), recovery=DisputeRecovery.AT_LOSS))
    first = dispute(Standing.LOST, 9_000, dispute_id="dp_a", withdrawals=(moved(-9_000),))
    second = dispute(Standing.LOST, 9_000, dispute_id="dp_b", withdrawals=(moved(-9_000),))

    payment.apply_disputes(1, [second, first])

    parts = [[one.amount_minor for one in each.parts] for each in payment.intents[1].disputes]
    assert parts == [[6_000, 3_000], [4_000, 2_000]]
    assert owed(payment.positions(1)) == {"s1": (0, 0), "s2": (0, 0)}


@pytest.mark.parametrize(
    ("withdrawals", "withdrawn_minor"),
    [
        ((moved(-9_500, currency_code="EUR", rate="0.95"),), 10_000),
        ((moved(-9_500, currency_code="EUR", rate="0.95"), moved(9_612, currency_code="EUR", rate="0.9612")), 0),
        ((moved(-9_500, currency_code="EUR", rate="0.95"), moved(2_850, currency_code="EUR", rate="0.95")), 7_000),
        ((moved(-9_500, currency_code="EUR"),), 10_000),
        ((moved(-1_534_217, currency_code="JPY", rate="153.42169"),), 10_000),
        # Rates are of Stripe's units, which may be others than ours.
        ((moved(-6_400, currency_code="EUR", rate="0.0064"), moved(6_412, currency_code="EUR", rate="0.006413")), 0),
        ((moved(-6_400, currency_code="EUR", rate="0.0064"), moved(1_600, currency_code="EUR", rate="0.0064")), 7_500),
        ((moved(-9_500, currency_code="EUR", rate="0.95"), moved(0, fee_minor=-1_500, currency_code="EUR")), 10_000),
    ],
)
def test_what_was_settled_in_another_currency_is_counted_in_the_payments(
    withdrawals: tuple[Withdrawal, ...], withdrawn_minor: int
) -> None:
    contested = dispute(Standing.OPEN, 10_000, withdrawals=withdrawals)

    assert contested.withdrawn_minor == withdrawn_minor


def test_what_is_ours_of_a_dispute_stays_when_stripe_shows_it_again() -> None:
    ours = {
        "evidence_actor_id": "anna",
        "accept_actor_id": "bo",
        "accept_time": NOW,
        "warned_days": 3,
        "evidence_due_time": NOW,
    }
    known = dispute(Standing.OPEN, **ours)
    shown = dispute(Standing.OPEN, evidence_due_time=NOW)

    assert shown.shown_again(known) == known
    assert replace(shown, evidence_due_time=None).shown_again(known).warned_days == 0
