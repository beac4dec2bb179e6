"""Refunds of lines, to the unit: what falls to whom of parts, in which state, and what is written off for one. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batzen.gateway.v1 import split_pb2
from batzen.type.v1.money_pb2 import Money
from services.errors import FieldInvalid
from services.gateway.disputes.domain import Dispute, Standing, Withdrawal
from services.gateway.intents.domain import Intent
from services.gateway.mirror.payment import MirroredPayment
from services.gateway.receivables.domain import Seen, write_off
from services.gateway.refunds.domain import Refund, RefundFacts, RefundState
from services.gateway.settlement.domain import (
    DisputeRecovery,
    Movement,
    MovementKind,
    MovementOrigin,
    MovementState,
    Settled,
    SettlementTerms,
)
from services.gateway.settlement.positions import lines_of, positions, split_of
from services.gateway.settlement.seen import BackFacts, MovedFacts
from services.gateway.stripe_api.objects import refund_facts
from services.gateway.wire import splits
from services.shared.split import LineAmount, LinePart, Split
from services.shared.states import IntentState

NOW = datetime(2026, 3, 1, tzinfo=UTC)
KRW = (
    LinePart(
        line_id="a",
        seller_id="s1",
        gross_minor=33_333,
        seller_minor=27_788,
        platform_fee_minor=5_041,
        fee_vat_minor=504,
        fee_vat_country="KR",
        vat_minor=3_030,
    ),
    LinePart(line_id="b", seller_id="s2", gross_minor=17, seller_minor=15, platform_fee_minor=2, vat_minor=2),
)
"""Ten per cent of 33,333 won is no whole number of them."""
ONE = (LinePart(line_id="a", seller_id="s1", gross_minor=10_000, seller_minor=8_500, platform_fee_minor=1_500),)
TWD = tuple(
    replace(
        one,
        **{
            name: 100 * getattr(one, name)
            for name in ("gross_minor", "seller_minor", "platform_fee_minor", "fee_vat_minor", "vat_minor")
        },
    )
    for one in KRW
)
"""In hundredths, of which Stripe takes and pays whole dollars."""


def paid(split: Split, **changes: object) -> MirroredPayment:
    payment = MirroredPayment.new("main", "pay_a", payer_id="p", seller_id="", currency_code="KRW")
    taken = Intent(
        attempt=1,
        amount_minor=split.total_minor,
        application_fee_minor=0,
        create_time=NOW,
        intent_id="pi_a",
        charge_id="ch_a",
        state=IntentState.SUCCEEDED,
        captured_minor=split.total_minor,
        split=split,
    )
    payment.intents[1] = replace(taken, **changes)  # type: ignore[arg-type]  # as the caller names them
    payment.conclude()
    return payment


def given_back(number: int, parts: tuple[LineAmount, ...], state: RefundState = RefundState.SUCCEEDED) -> Refund:
    return Refund(
        refund_id=f"refund_{number}",
        attempt=1,
        amount_minor=sum(one.amount_minor for one in parts),
        create_time=NOW,
        state=state,
        stripe_refund_id=f"re_{number}",
        parts=parts,
    )


@pytest.mark.parametrize("split", [Split(lines=KRW), Split(lines=TWD, step_minor=100)], ids=["KRW", "TWD"])
@given(data=st.data())
def test_parts_of_lines_whose_shares_are_fractions_add_up_to_the_quote(split: Split, data: st.DataObject) -> None:
    """In whatever steps: units stay whole, seller and platform have all that stands, and nobody less than 0."""
    intent, refunds = paid(split).intents[1], list[Refund]()
    left = {one.line_id: one.gross_minor for one in split.lines}
    before = {one.seller_id: one.owed_minor for one in positions(intent, [], ())}
    assert before == {one.seller_id: one.seller_minor for one in split.lines}
    for number in range(data.draw(st.integers(1, 6))):
        line_id = data.draw(st.sampled_from(sorted(left)))
        units = data.draw(st.integers(0, left[line_id] // split.step_minor))
        if not units:
            continue
        left[line_id] -= units * split.step_minor
        refunds.append(given_back(number, (LineAmount(line_id=line_id, amount_minor=units * split.step_minor),)))
        now = {one.seller_id: one.owed_minor for one in positions(intent, refunds, ())}
        for line in lines_of(intent, refunds):
            shares = split_of(intent).shares(line.line, left)
            kept = shares.platform_fee_minor + shares.fee_vat_minor
            assert shares.seller_minor + kept == line.standing_minor == left[line.line.line_id]
            assert now[line.line.seller_id] == shares.seller_minor >= 0
            assert shares.seller_minor % split.step_minor == 0
            assert now[line.line.seller_id] <= before[line.line.seller_id]
        before = now
    everything = [given_back(99, tuple(LineAmount(line_id=key, amount_minor=minor) for key, minor in left.items()))]
    assert {one.owed_minor for one in positions(intent, [*refunds, *everything], ())} == {0}


def test_a_refund_whose_payer_has_to_act_is_on_its_way() -> None:
    payment = paid(Split(lines=KRW))
    shown = {"id": "re_x", "amount": 10_000, "currency": "krw", "created": 1_772_323_200, "metadata": {}}
    facts = refund_facts({**shown, "status": "requires_action", "reason": "duplicate"})
    assert (facts.state, facts.reason) == (RefundState.REQUIRES_ACTION, "duplicate")

    payment.apply_refund(1, facts)
    amounts = payment.observation.amounts
    assert (amounts.refund_pending_minor, amounts.refunded_minor) == (10_000, 0)
    assert payment.refundable_minor(1) == 23_350
    owed = {one.seller_id: one.due_minor for one in payment.positions(1)}

    payment.apply_refund(1, replace(facts, state=RefundState.CANCELED))
    amounts = payment.observation.amounts
    assert (amounts.refund_pending_minor, amounts.refunded_minor) == (0, 0)
    assert payment.refundable_minor(1) == 33_350
    assert {one.seller_id: one.due_minor for one in payment.positions(1)} != owed


def facts_of(refund: Refund, state: RefundState) -> RefundFacts:
    return RefundFacts(
        stripe_refund_id=refund.stripe_refund_id,
        refund_id=refund.refund_id,
        state=state,
        amount_minor=refund.amount_minor,
        failure_reason="",
        reason="",
        create_time=NOW,
    )


def test_what_was_written_off_for_a_refund_that_failed_is_not_owed_by_anybody() -> None:
    """Else its seller would be paid a second time what it never gave back."""
    payment = paid(Split(lines=KRW))
    parts = (LineAmount(line_id="a", amount_minor=33_333),)
    payment.refunds["refund_1"] = refund = given_back(1, parts)
    payment.movements["transfer_a"] = transferred(27_788)
    seen = Seen(payment_id="pay_a", attempt=1, seller_id="s1", amount_minor=27_788, currency_code="KRW")
    forgiven = write_off(seen, movement_id="writeoff_a", actor_id="anna", note="insolvent", create_time=NOW)
    payment.movements["writeoff_a"] = forgiven
    assert payment.positions(1)[0].due_minor == 0

    payment.apply_refund(1, facts_of(refund, RefundState.FAILED))

    assert payment.positions(1)[0].due_minor == 0
    assert payment.movements["writeoff_a"].state is MovementState.REFUSED


def withdrawn(*amounts_minor: int, standing: Standing) -> Dispute:
    """Return a dispute with what its balance transactions took (below 0) and gave back."""
    return Dispute(
        dispute_id="dp_a",
        status="",
        standing=standing,
        amount_minor=10_000,
        currency_code="KRW",
        reason="fraudulent",
        is_charge_refundable=False,
        create_time=NOW,
        withdrawals=tuple(
            Withdrawal(
                balance_transaction_id=f"txn_{number}",
                amount_minor=minor,
                fee_minor=0,
                currency_code="KRW",
                create_time=NOW,
                available_time=NOW,
            )
            for number, minor in enumerate(amounts_minor)
        ),
    )


def transferred(minor: int) -> Movement:
    return Movement(
        movement_id="transfer_a",
        kind=MovementKind.TRANSFER,
        origin=MovementOrigin.SOURCE,
        attempt=1,
        seller_id="s1",
        amount_minor=minor,
        currency_code="KRW",
        charge_minor=minor,
        state=MovementState.MADE,
        stripe_id="tr_a",
        create_time=NOW,
    )


@pytest.mark.parametrize("recovery", [DisputeRecovery.AT_WITHDRAWAL, DisputeRecovery.AT_LOSS])
def test_what_was_written_off_for_a_dispute_that_is_won_is_not_paid_a_second_time(recovery: DisputeRecovery) -> None:
    """The seller lacked the money, an operator wrote it off, and then the bank gave it back: also after an appeal."""
    payment = paid(Split(lines=ONE), settlement=SettlementTerms(dispute_recovery=recovery))
    payment.movements["transfer_a"] = transferred(8_500)
    payment.apply_disputes(1, [withdrawn(-10_000, standing=Standing.LOST)])
    assert payment.positions(1)[0].due_minor == -8_500
    seen = Seen(payment_id="pay_a", attempt=1, seller_id="s1", amount_minor=8_500, currency_code="KRW")
    payment.movements["writeoff_a"] = write_off(
        seen, movement_id="writeoff_a", actor_id="anna", note="insolvent", create_time=NOW
    )
    payment.conclude()
    assert payment.positions(1)[0].due_minor == 0

    payment.apply_disputes(1, [withdrawn(-10_000, 4_000, standing=Standing.LOST)])  # a part came back
    assert payment.positions(1)[0].due_minor == 0
    assert payment.movements["writeoff_a"].charge_minor == 5_100

    payment.apply_disputes(1, [withdrawn(-10_000, 10_000, standing=Standing.CLOSED)])
    assert payment.positions(1)[0].due_minor == 0
    assert payment.movements["writeoff_a"].state is MovementState.REFUSED
    assert not payment.steps(None)


def test_what_is_written_off_of_a_destination_charge_stays_so_while_its_fee_goes_back() -> None:
    """The fee's way back takes 6.00 from the seller and gives them again: neither is of what it was let off."""
    payment = paid(Split(lines=ONE), seller_id="s1", application_fee_minor=1_500)
    for kind, stripe_id, minor in ((MovementKind.TRANSFER, "tr_a", 10_000), (MovementKind.FEE, "fee_a", 1_500)):
        shown = MovedFacts(
            kind=kind, stripe_id=stripe_id, charge_id="ch_a", amount_minor=minor, currency_code="KRW", create_time=NOW
        )
        payment.apply_moved(1, "s1", shown)
    payment.refunds["refund_1"] = given_back(1, (LineAmount(line_id="a", amount_minor=4_000),))
    seen = Seen(payment_id="pay_a", attempt=1, seller_id="s1", amount_minor=3_400, currency_code="KRW")
    payment.movements["writeoff_a"] = write_off(
        seen, movement_id="writeoff_a", actor_id="anna", note="insolvent", create_time=NOW
    )
    payment.conclude()

    moved = []
    while steps := payment.steps(None):
        [step] = steps
        assert isinstance(step, Movement)
        moved.append((str(step.kind), step.charge_minor))
        payment.reserve(step, asked=NOW)
        payment.made(step.movement_id, f"x_{len(moved)}")
        assert len(moved) < 3

    assert moved == [("REVERSAL", 600), ("FEE_REFUND", 600)]
    assert payment.movements["writeoff_a"].charge_minor == 3_400


def test_what_a_seller_gives_back_after_it_was_written_off_is_no_loss() -> None:
    """Somebody took it back at Stripe's dashboard, once the seller had money again."""
    payment = paid(Split(lines=ONE))
    payment.movements["transfer_a"] = transferred(8_500)
    payment.refunds["refund_1"] = given_back(1, (LineAmount(line_id="a", amount_minor=4_000),))
    seen = Seen(payment_id="pay_a", attempt=1, seller_id="s1", amount_minor=3_400, currency_code="KRW")
    payment.movements["writeoff_a"] = write_off(
        seen, movement_id="writeoff_a", actor_id="anna", note="insolvent", create_time=NOW
    )
    payment.conclude()
    assert payment.movements["writeoff_a"].charge_minor == 3_400

    moved = MovedFacts(
        kind=MovementKind.TRANSFER,
        stripe_id="tr_a",
        charge_id="ch_a",
        amount_minor=8_500,
        currency_code="KRW",
        create_time=NOW,
        back=(BackFacts(stripe_id="trr_a", movement_id="", amount_minor=2_400, create_time=NOW),),
        back_minor=2_400,
    )
    payment.apply_moved(1, "s1", moved)

    assert payment.positions(1)[0].due_minor == 0
    assert payment.movements["writeoff_a"].charge_minor == 1_000


def test_a_dispute_that_takes_its_money_once_more_takes_of_a_line_only_what_is_left_of_it() -> None:
    """It was won, all was refunded, and the appeal is lost: the seller has nothing left to give."""
    payment = paid(Split(lines=ONE), settlement=SettlementTerms(dispute_recovery=DisputeRecovery.AT_LOSS))
    payment.apply_disputes(1, [withdrawn(-10_000, standing=Standing.OPEN)])
    payment.apply_disputes(1, [withdrawn(-10_000, 10_000, standing=Standing.CLOSED)])
    parts = payment.allocated(1, 10_000)
    payment.refunds["refund_1"] = given_back(1, parts)

    payment.apply_disputes(1, [withdrawn(-10_000, 10_000, -10_000, standing=Standing.LOST)])

    [position] = payment.positions(1)
    assert (position.owed_minor, position.target_minor) == (0, 0)
    [line] = lines_of(payment.intents[1], payment.refunds.values())
    assert line.refundable_minor == 0


def test_a_split_that_the_currency_does_not_have_is_refused_before_it_is_charged() -> None:
    """Of dinars Stripe moves no single fils; what is left of such a line could never be told apart."""
    lines = [split_pb2.LinePart(line_id=one, gross_minor=10_005, seller_minor=10_005) for one in ("a", "b")]
    parts = [split_pb2.SellerPart(seller_id="s1", lines=lines)]
    with pytest.raises(FieldInvalid):
        splits.split(parts, amount=Money(amount_minor=20_010, currency_code="KWD"))
    assert splits.split(parts, amount=Money(amount_minor=20_010, currency_code="CHF")) is not None


def test_what_somebody_transferred_in_another_currency_counts_by_the_rate_of_its_charge() -> None:
    """100 won are 10 cents here; of a transfer back a part is so much of it, and all of it is all."""
    payment = paid(Split(lines=KRW), settled=Settled(charge_minor=33_350, amount_minor=3_335, currency_code="USD"))
    moved = MovedFacts(
        kind=MovementKind.TRANSFER,
        stripe_id="tr_x",
        charge_id="ch_a",
        amount_minor=1_001,
        currency_code="USD",
        create_time=NOW,
        back=(
            BackFacts(stripe_id="trr_a", movement_id="", amount_minor=1, create_time=NOW),
            BackFacts(stripe_id="trr_b", movement_id="", amount_minor=1_000, create_time=NOW),
        ),
        back_minor=1_001,
    )

    payment.apply_moved(1, "s1", moved)
    payment.apply_moved(1, "s1", moved)  # an event that comes twice

    assert [(one.movement_id, one.charge_minor) for one in payment.movements.values()] == [
        ("transfer_x", 10_010),
        ("reversal_a", 10),
        ("reversal_b", 10_000),
    ]
    assert payment.positions(1)[0].moved_minor == 0
