"""What is moved next: whatever happened, in whatever order, each seller ends with its part, or with a named wait."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.gateway.disputes.domain import Standing
from services.gateway.errors import TransferExceedsPart
from services.gateway.intents.domain import ChargeFacts, Intent
from services.gateway.refunds.domain import Bearer, Refund, RefundState
from services.gateway.settlement import facts
from services.gateway.settlement.domain import (
    BALANCE_INSUFFICIENT,
    DisputeRecovery,
    Movement,
    MovementKind,
    MovementOrigin,
    MovementState,
    Settled,
    SettlementTerms,
    Wait,
    WaitReason,
    went_back,
)
from services.gateway.settlement.moves import ByHand, Step, by_hand, exchanged, most_within, steps
from services.gateway.settlement.positions import LineStanding, Position, allocated, lines_of, positions
from services.gateway.settlement.seen import BackFacts, MovedFacts, came_with, seen
from services.gateway.settlement.standings import standings
from services.shared.split import LinePart
from tests.gateway.test_positions import attempt, dispute, line, refund

PAYMENT_ID = "pay_a"
NOW = datetime(2026, 3, 1, tzinfo=UTC)
CHF = "CHF"
STEPS_MAX = 60


class Account:
    """An attempt, and what became of the steps that were taken for it."""

    def __init__(self, intent: Intent, *, counts: bool = True) -> None:
        rate = Settled(charge_minor=intent.captured_minor, amount_minor=intent.captured_minor, currency_code=CHF)
        self.intent = intent if intent.settled is not None else replace(intent, settled=rate)
        self.counts = counts
        self.refunds: list[Refund] = []
        self.movements: dict[str, Movement] = {}
        self.facts: list[str] = []
        self.now = NOW

    def next(self, now: datetime | None = None) -> tuple[Step, ...]:
        moved = tuple(self.movements.values())
        return steps(PAYMENT_ID, self.intent, self.refunds, moved, counts=self.counts, now=now or self.now)

    def make(self, step: Movement) -> None:
        """Let Stripe make it."""
        assert step.fact not in self.facts
        self.facts.append(step.fact)
        self.now += timedelta(seconds=1)
        self.movements[step.movement_id] = replace(step, state=MovementState.MADE, create_time=self.now)

    def refuse(self, step: Movement, code: str = BALANCE_INSUFFICIENT) -> None:
        known = self.movements.get(step.movement_id, step)
        self.movements[step.movement_id] = replace(
            step,
            state=MovementState.REFUSED,
            refusals=known.refusals + 1,
            refusal_code=code,
            refuse_time=self.now,
            create_time=known.create_time,
        )

    def settle(self) -> tuple[Step, ...]:
        """Take every step until none is left but waits."""
        for _ in range(STEPS_MAX):
            left = self.next()
            made = [one for one in left if isinstance(one, Movement)]
            if not made:
                return left
            self.make(made[0])
        raise AssertionError("it never comes to rest")

    def with_charge(self, *, fee_minor: int) -> None:
        """Let Stripe move what it moves with a destination charge."""
        for kind, minor in ((MovementKind.TRANSFER, self.intent.captured_minor), (MovementKind.FEE, fee_minor)):
            if minor:
                self.movements[kind] = Movement(
                    movement_id=kind,
                    kind=kind,
                    origin=MovementOrigin.STRIPE,
                    attempt=1,
                    seller_id=self.intent.seller_id,
                    amount_minor=minor,
                    currency_code=CHF,
                    charge_minor=minor,
                    state=MovementState.MADE,
                    create_time=NOW,
                )

    def shown(self, kind: MovementKind, minor: int, *, stripe_refund_id: str = "") -> None:
        """Let somebody move something back at Stripe's dashboard."""
        on = {MovementKind.REVERSAL: MovementKind.TRANSFER, MovementKind.FEE_REFUND: MovementKind.FEE}[kind]
        self.movements[f"{kind}_shown"] = replace(
            self.movements[on],
            movement_id=f"{kind}_shown",
            kind=kind,
            amount_minor=minor,
            charge_minor=minor,
            of_movement_id=on,
            stripe_refund_id=stripe_refund_id,
        )

    def has(self) -> dict[str, int]:
        return {one.seller_id: one.moved_minor for one in self.positions()}

    def positions(self) -> tuple[Position, ...]:
        return positions(self.intent, self.refunds, tuple(self.movements.values()))

    def amounts(self, kind: MovementKind) -> list[int]:
        return [one.amount_minor for one in self.movements.values() if one.kind is kind and one.is_out]


def cart(*lines: LinePart, **changes: object) -> Account:
    return Account(attempt(*(lines or (line("s1", 10_000), line("s2", 5_000), line("s3", 3_000))), **changes))  # type: ignore[arg-type]


def destination(*, fee_minor: int = 1_500) -> Account:
    account = Account(attempt(line("s1", 10_000), seller_id="s1", application_fee_minor=fee_minor))
    account.with_charge(fee_minor=fee_minor)
    return account


def test_a_cart_of_three_sellers_is_transferred_from_its_charge() -> None:
    account = cart()
    assert account.settle() == ()
    assert account.has() == {"s1": 8_500, "s2": 4_250, "s3": 2_550}
    assert {one.origin for one in account.movements.values()} == {MovementOrigin.SOURCE}


def test_what_stripe_moves_with_the_charge_is_not_moved_again() -> None:
    account = destination()
    assert account.next() == ()
    account.movements.clear()
    assert account.next() == ()  # it was not seen yet


def test_a_refund_of_a_destination_charge_goes_back_gross_with_its_fee() -> None:
    account = destination()
    account.refunds = [refund(account.intent, 4_000)]
    assert account.settle() == ()
    assert (account.amounts(MovementKind.REVERSAL), account.amounts(MovementKind.FEE_REFUND)) == ([4_000], [600])
    assert account.has() == {"s1": 5_100}


def test_the_ways_back_wait_until_it_is_seen_what_went() -> None:
    account = destination()
    account.movements.clear()
    account.refunds = [refund(account.intent, 4_000)]
    assert [one.reason for one in account.settle() if isinstance(one, Wait)] == [WaitReason.CHARGE]


def test_at_the_sellers_cost_the_fee_stays() -> None:
    account = destination()
    account.refunds = [refund(account.intent, 4_000, bearer=Bearer.SELLER)]
    account.settle()
    assert (account.amounts(MovementKind.REVERSAL), account.amounts(MovementKind.FEE_REFUND)) == ([4_000], [])


def test_a_refund_that_fails_later_is_followed_by_a_plain_transfer() -> None:
    account = destination()
    account.refunds = [refund(account.intent, 4_000)]
    account.settle()
    account.refunds = [replace(account.refunds[0], state=RefundState.FAILED)]
    account.settle()
    assert account.has() == {"s1": 8_500}
    assert account.amounts(MovementKind.TRANSFER) == [10_000, 3_400]


def netted(account: Account, kind: MovementKind, minor: int) -> None:
    moved = Movement(
        movement_id=kind, kind=kind, origin=MovementOrigin.WAY_BACK, attempt=1, seller_id="s1", amount_minor=minor,
        currency_code=CHF, charge_minor=minor, state=MovementState.MADE, create_time=NOW,
    )  # fmt: skip
    account.movements[moved.movement_id] = moved


def test_what_was_netted_for_a_refund_that_fails_later_is_transferred() -> None:
    account = cart(line("s1", 10_000))
    account.settle()
    account.refunds = [refund(account.intent, 4_000)]
    netted(account, MovementKind.NETTING_IN, 3_400)
    assert account.next() == ()
    account.refunds = [replace(account.refunds[0], state=RefundState.FAILED)]
    assert account.settle() == ()
    assert account.has() == {"s1": 8_500}
    assert sum(account.amounts(MovementKind.TRANSFER)) == 8_500 + 3_400


def test_what_was_kept_back_is_owed_once_the_payer_has_it_again_and_due_if_the_refund_fails() -> None:
    account = cart(line("s1", 5_000))
    netted(account, MovementKind.NETTING_OUT, 3_400)
    assert account.settle() == ()
    assert account.amounts(MovementKind.TRANSFER) == [850]
    account.refunds = [refund(account.intent, 5_000)]
    assert [one.reason for one in account.settle() if isinstance(one, Wait)] == [WaitReason.SELLER_OWES]
    assert account.amounts(MovementKind.REVERSAL) == [850]
    account.refunds = [replace(account.refunds[0], state=RefundState.FAILED)]
    assert account.settle() == ()
    assert account.has() == {"s1": 4_250}
    assert sum(account.amounts(MovementKind.TRANSFER)) == 850 + 850


def test_a_discount_of_the_platforms_is_carried_by_its_balance() -> None:
    # 100.00 with a coupon of 10.00 that the platform funds: 90.00 is charged, the seller gets 84.25 less what fits.
    one = LinePart(
        line_id="a",
        seller_id="s1",
        gross_minor=8_000,
        seller_minor=8_425,
        platform_fee_minor=1_500,
        discounts_funded_minor=1_925,
    )
    account = cart(one)
    assert account.settle() == ()
    assert [(each.origin, each.amount_minor) for each in account.movements.values()] == [
        (MovementOrigin.SOURCE, 8_000),
        (MovementOrigin.EXCESS, 425),
    ]


def test_own_goods_and_fees_stay_and_a_share_of_zero_makes_no_transfer() -> None:
    own = replace(line("platform", 2_000), is_platform=True, seller_minor=2_000, platform_fee_minor=0)
    nothing = replace(line("s2", 1_000), seller_minor=0, platform_fee_minor=1_000)
    account = cart(line("s1", 10_000), own, nothing)
    assert account.settle() == ()
    assert account.amounts(MovementKind.TRANSFER) == [8_500]


def test_in_another_currency_each_seller_gets_what_the_rate_makes_of_its_part() -> None:
    # 100.00 EUR → 95.00 CHF; 85.00 EUR are 80.75 CHF; of 34.00 EUR back 32.30 CHF go back.
    rate = Settled(charge_minor=10_000, amount_minor=9_500, currency_code=CHF)
    account = cart(line("s1", 10_000), settled=rate)
    account.settle()
    [transfer] = account.movements.values()
    assert (transfer.amount_minor, transfer.currency_code, transfer.charge_minor) == (8_075, "CHF", 8_500)
    account.refunds = [refund(account.intent, 4_000)]
    account.settle()
    assert account.amounts(MovementKind.REVERSAL) == [3_230]
    assert account.has() == {"s1": 5_100}


def test_parts_round_down_and_the_rest_stays_with_the_platform() -> None:
    rate = Settled(charge_minor=10_000, amount_minor=9_533, currency_code=CHF)
    account = cart(line("s1", 3_333), line("s2", 3_333), line("s3", 3_334), settled=rate)
    account.settle()
    due = [one.charge_minor for one in account.movements.values()]
    assert account.amounts(MovementKind.TRANSFER) == [minor * 9_533 // 10_000 for minor in due]
    worthless = Settled(charge_minor=10_000, amount_minor=1, currency_code=CHF)
    assert cart(line("s1", 10_000), settled=worthless).settle() == ()  # 0.85 of a unit is no transfer


@pytest.mark.parametrize("seed", range(20))
def test_a_source_is_used_up_exactly_and_never_beyond(seed: int) -> None:
    chance = random.Random(seed)
    rate = Settled(charge_minor=chance.randint(1, 9_999), amount_minor=chance.randint(1, 9_999), currency_code=CHF)
    for _ in range(100):
        amount = chance.randint(0, 20_000)
        most = most_within(amount, rate)
        assert exchanged(most, rate) <= amount < exchanged(most + 1, rate)


def test_until_its_time_a_seller_is_not_paid_and_gives_nothing_back_that_it_has_not() -> None:
    account = cart(line("s1", 10_000), settlement=SettlementTerms(pay_time=NOW + timedelta(days=2)))
    [wait] = account.next()
    assert wait == Wait(attempt=1, seller_id="s1", reason=WaitReason.PAY_TIME, until=NOW + timedelta(days=2))
    account.refunds = [refund(account.intent, 4_000)]
    account.now = NOW + timedelta(days=2)
    account.settle()
    assert account.amounts(MovementKind.TRANSFER) == [5_100]


def test_a_charge_that_stripe_doubts_is_not_paid_on_but_goes_back() -> None:
    doubted = (("prv_a", "review.opened"),)
    account = cart(line("s1", 10_000), notices=doubted)
    assert [one.reason for one in account.settle() if isinstance(one, Wait)] == [WaitReason.HELD_BACK]
    account = destination()
    account.intent = replace(account.intent, notices=doubted)
    account.refunds = [refund(account.intent, 4_000)]
    assert account.settle() == ()


def test_what_stripe_refuses_rests_and_is_named() -> None:
    account = cart(line("s1", 10_000))
    rests = []
    for _ in range(10):
        [step] = account.next()
        assert isinstance(step, Movement)
        account.refuse(step)
        [wait] = account.next()
        assert isinstance(wait, Wait)
        assert wait.reason is WaitReason.BALANCE
        assert wait.until is not None
        rests.append(wait.until - account.now)
        account.now = wait.until
    assert rests == sorted(rests)
    assert (rests[0], rests[-1]) == (timedelta(minutes=1), timedelta(hours=1))
    assert account.settle() == ()
    assert account.has() == {"s1": 8_500}


@pytest.mark.parametrize(
    ("code", "after", "says"),
    [
        (BALANCE_INSUFFICIENT, timedelta(hours=23), ("BALANCE", False)),
        (BALANCE_INSUFFICIENT, timedelta(hours=24), ("BALANCE", True)),
        ("insufficient_capabilities_for_transfer", timedelta(0), ("SELLER", False)),
        ("insufficient_capabilities_for_transfer", timedelta(hours=24), ("SELLER", True)),
        ("account_invalid", timedelta(0), ("SELLER_GONE", True)),
        ("parameter_invalid", timedelta(0), ("REFUSED", True)),
    ],
)
def test_an_operator_hears_of_what_waits_for_long_or_for_good(
    code: str, after: timedelta, says: tuple[str, bool]
) -> None:
    account = cart(line("s1", 10_000), create_time=NOW)
    [step] = account.next()
    assert isinstance(step, Movement)
    account.now = step.create_time + after
    account.refuse(step, code)
    [standing] = standings(PAYMENT_ID, account.intent, [], account.movements.values())
    assert (standing.waits_for, standing.needs_operator) == says
    assert (standing.owed_minor, standing.transferred_minor) == (8_500, 0)
    assert (standing.attention("CHF") is not None) == says[1]


def test_a_seller_who_cannot_give_back_owes() -> None:
    account = cart(line("s1", 10_000))
    account.settle()
    account.refunds = [refund(account.intent, 4_000)]
    [step] = account.next()
    assert isinstance(step, Movement)
    account.refuse(step)
    [wait] = account.next()
    assert isinstance(wait, Wait)
    assert wait.reason is WaitReason.SELLER_OWES


def test_what_was_taken_back_for_a_dispute_is_sent_again_as_another_transfer() -> None:
    account = cart(line("s1", 10_000), settlement=SettlementTerms(dispute_recovery=DisputeRecovery.AT_WITHDRAWAL))
    account.settle()
    taken = dispute(Standing.OPEN, 10_000, allocated(10_000, account.intent, []))
    account.intent = replace(account.intent, disputes=(taken,))
    account.settle()
    assert account.has() == {"s1": 0}
    account.intent = replace(account.intent, disputes=())  # won, and the money is back
    account.settle()
    assert account.has() == {"s1": 8_500}
    # The charge covers 15.00 that were not taken from it before; the rest comes from the platform's balance.
    assert account.amounts(MovementKind.TRANSFER) == [8_500, 1_500, 7_000]
    assert len(set(account.facts)) == len(account.facts)


def test_a_surplus_attempt_pays_nobody_by_our_calls() -> None:
    account = Account(attempt(line("s1", 10_000)), counts=False)
    assert account.settle() == ()
    assert account.movements == {}
    counted = cart(line("s1", 10_000))
    counted.settle()
    counted.counts = False
    assert counted.settle() == ()
    assert counted.has() == {"s1": 0}


def test_what_was_moved_by_hand_is_left_so() -> None:
    account = cart(line("s1", 10_000))
    account.settle()
    [transfer] = account.movements.values()
    reversal = replace(
        transfer,
        movement_id="reversal_a",
        kind=MovementKind.REVERSAL,
        amount_minor=2_000,
        charge_minor=2_000,
        of_movement_id=transfer.movement_id,
        actor_id="anna",
        fact="",
        create_time=NOW + timedelta(hours=1),
    )
    account.movements["reversal_a"] = reversal
    assert account.settle() == ()
    assert account.has() == {"s1": 6_500}
    account.refunds = [refund(account.intent, 4_000)]
    account.settle()
    assert account.has() == {"s1": 5_100}


def test_a_refund_with_all_its_ways_back_at_the_dashboard_leaves_the_rest_to_be_settled_as_ever() -> None:
    """40.00 of 100.00 there, with the seller's part and the fee; then 60.00 by us, which fail later."""
    account = destination()
    account.shown(MovementKind.REVERSAL, 4_000, stripe_refund_id="re_a")
    assert account.settle() == ()  # it may be seen before its refund is
    account.shown(MovementKind.FEE_REFUND, 600)
    assert account.settle() == ()
    account.refunds = [replace(refund(account.intent, 4_000), stripe_refund_id="re_a")]
    assert account.settle() == ()
    assert account.has() == {"s1": 5_100}

    rest = replace(refund(account.intent, 6_000), refund_id="refund_b")
    account.refunds.append(rest)
    assert account.settle() == ()
    assert account.has() == {"s1": 0}

    account.refunds[1] = replace(rest, state=RefundState.FAILED)
    assert account.settle() == ()
    assert account.has() == {"s1": 5_100}


def test_a_refund_of_the_dashboard_that_fails_leaves_no_gift_behind() -> None:
    """The fee that went back with it is made good by what is sent again, so the next refund takes all its part."""
    account = destination()
    failed = replace(refund(account.intent, 4_000), stripe_refund_id="re_a", state=RefundState.FAILED)
    account.refunds = [failed]
    account.shown(MovementKind.REVERSAL, 4_000, stripe_refund_id="re_a")
    account.shown(MovementKind.FEE_REFUND, 600)
    assert account.settle() == ()
    assert account.has() == {"s1": 8_500}

    account.refunds.append(replace(refund(account.intent, 1_000), refund_id="refund_b"))
    assert account.settle() == ()
    assert account.has() == {"s1": 7_650}


def test_of_what_was_taken_back_by_hand_no_more_comes_back_for_the_fee_of_it() -> None:
    """40.00 of 100.00 refunded, and taken back by hand without its fee of 6.00: that stays lacking, and is all."""
    account = destination()
    account.shown(MovementKind.REVERSAL, 4_000)
    account.refunds = [refund(account.intent, 4_000)]
    assert account.settle() == ()
    assert account.has() == {"s1": 4_500}
    assert account.facts == []


def test_what_a_call_of_ours_took_back_and_was_forgotten_is_no_hand_s() -> None:
    """As after a failover that lost it: the fee follows, and nothing is asked for a second time."""
    account = destination()
    account.refunds = [refund(account.intent, 4_000)]
    [reversal] = [one for one in account.next() if isinstance(one, Movement)]
    [transfer] = [one for one in account.movements.values() if one.kind is MovementKind.TRANSFER]
    back = BackFacts(stripe_id="trr_a", movement_id=reversal.movement_id, amount_minor=4_000, create_time=NOW)
    shown = MovedFacts(
        kind=MovementKind.TRANSFER,
        stripe_id=transfer.stripe_id or "tr_a",
        movement_id=transfer.movement_id,
        amount_minor=10_000,
        currency_code=CHF,
        create_time=NOW,
        back=(back,),
        back_minor=4_000,
    )
    account.movements = seen(account.movements, shown, attempt=1, seller_id="s1", charge_minor=10_000)
    found = account.movements[reversal.movement_id]
    assert (found.origin, found.state, found.charge_minor) == (MovementOrigin.WAY_BACK, MovementState.MADE, 4_000)
    assert account.settle() == ()
    assert account.has() == {"s1": 5_100}


def test_what_went_back_is_in_the_currency_of_a_transfer_that_was_assumed_before() -> None:
    """A charge of 100.00 EUR names its transfer; that itself shows 95.00 CHF, and 38.00 of them taken back."""
    charged = ChargeFacts(
        charge_id="ch_a",
        captured_minor=10_000,
        currency_code="EUR",
        transfer_id="tr_a",
        transfer_minor=10_000,
        fee_minor=0,
        is_captured_once=True,
        create_time=NOW,
    )
    [assumed] = came_with(charged)
    known = seen({}, assumed, attempt=1, seller_id="s1", charge_minor=10_000)
    back = BackFacts(stripe_id="trr_a", movement_id="", amount_minor=3_800, create_time=NOW)
    shown = replace(assumed, amount_minor=9_500, currency_code=CHF, is_assumed=False, back=(back,), back_minor=3_800)
    transfer, reversal = seen(known, shown, attempt=1, seller_id="s1", charge_minor=10_000).values()
    assert (transfer.amount_minor, transfer.currency_code, transfer.charge_minor) == (9_500, CHF, 10_000)
    assert (reversal.amount_minor, reversal.currency_code, reversal.charge_minor) == (3_800, CHF, 4_000)


def test_what_was_taken_back_and_sent_again_at_the_dashboard_is_not_withheld() -> None:
    account = cart(line("s1", 10_000))
    account.settle()
    [transfer] = account.movements.values()
    shown = replace(transfer, movement_id="transfer_shown", origin=MovementOrigin.STRIPE, amount_minor=2_000)
    later = NOW + timedelta(hours=1)
    account.movements["reversal_shown"] = replace(
        shown,
        movement_id="reversal_shown",
        kind=MovementKind.REVERSAL,
        charge_minor=2_000,
        of_movement_id=transfer.movement_id,
        create_time=later,
    )
    account.movements["transfer_shown"] = replace(shown, charge_minor=2_000, create_time=later + timedelta(hours=1))
    assert account.settle() == ()
    account.now = later + timedelta(hours=2)
    account.refunds = [refund(account.intent, 4_000)]
    account.settle()
    assert account.has() == {"s1": 5_100}
    account.refunds = [replace(account.refunds[0], state=RefundState.FAILED)]
    account.settle()
    assert account.has() == {"s1": 8_500}


def test_a_fee_that_was_given_back_at_the_dashboard_is_left_so() -> None:
    account = destination()
    account.shown(MovementKind.FEE_REFUND, 600)
    assert account.settle() == ()
    assert account.has() == {"s1": 9_100}


def test_a_part_of_a_transfer_that_comes_back_is_one_that_its_currency_has() -> None:
    """100.00 settled in Kuwaiti dinar, of which Stripe moves no single fils."""
    account = cart(settled=Settled(charge_minor=18_000, amount_minor=58_210, currency_code="KWD"))
    account.settle()
    account.refunds = [refund(account.intent, 4_321)]
    account.settle()
    account.refunds.append(replace(refund(account.intent, 13_679), refund_id="refund_b"))
    account.settle()
    assert account.has() == {"s1": 0, "s2": 0, "s3": 0}
    amounts = [one.amount_minor for one in account.movements.values()]
    assert not [minor for minor in amounts if minor % 10]
    out, back = account.amounts(MovementKind.TRANSFER), account.amounts(MovementKind.REVERSAL)
    assert (sum(out), len(back)) == (sum(back), 6)


def test_what_stripe_transfers_with_a_charge_is_not_sent_by_hand_before_it_is_seen() -> None:
    """Of a hold that is captured in parts the rate is known from the first, and the next transfer is not seen yet."""
    account = destination()
    del account.movements[MovementKind.TRANSFER], account.movements[MovementKind.FEE]
    asked = ByHand(seller_id="s1", charge_minor=100, actor_id="anna")
    with pytest.raises(TransferExceedsPart):
        by_hand(PAYMENT_ID, account.intent, [], [], asked)


def test_nothing_is_asked_for_while_a_call_is_not_answered() -> None:
    account = cart(line("s1", 10_000))
    [step] = account.next()
    assert isinstance(step, Movement)
    account.movements[step.movement_id] = step
    [wait] = account.next()
    assert isinstance(wait, Wait)
    assert wait.reason is WaitReason.CALL


@pytest.mark.parametrize("seed", range(60))
def test_any_history_ends_with_what_is_due(seed: int) -> None:
    """Captures, refunds, disputes in any order, with any refusals: at the end each has its part, or a named wait."""
    chance = random.Random(seed)
    is_destination = seed % 3 == 0
    if is_destination:
        account = destination()
    else:
        rate = Settled(charge_minor=18_000, amount_minor=chance.choice((18_000, 17_100, 17_103)), currency_code=CHF)
        account = cart(settled=rate)
    recovery = chance.choice(list(DisputeRecovery))
    account.intent = replace(account.intent, settlement=SettlementTerms(dispute_recovery=recovery))
    for number in range(chance.randint(1, 8)):
        _happens(chance, account, number)
        for step in account.next(account.now):
            if isinstance(step, Movement) and chance.random() < 0.7:
                account.make(step) if chance.random() < 0.7 else account.refuse(step)
        account.now += timedelta(days=2)
    left = account.settle()

    waits = {one.seller_id for one in left}
    for position in positions(account.intent, account.refunds, tuple(account.movements.values())):
        if position.target_minor >= 0:
            assert position.moved_minor == position.target_minor, (seed, position)
        else:
            assert position.seller_id in waits or position.moved_minor == position.target_minor
    _is_sound(account)


def _happens(chance: random.Random, account: Account, number: int) -> None:
    left = sum(one.refundable_minor for one in _lines(account))
    match chance.choice(("refund", "refund", "fail", "dispute", "ends")):
        case "refund" if left:
            minor = chance.randint(1, left)
            parts = allocated(minor, account.intent, account.refunds)
            account.refunds.append(
                Refund(
                    refund_id=f"refund_{number}",
                    attempt=1,
                    amount_minor=minor,
                    create_time=account.now,
                    bearer=chance.choice((Bearer.SHARED, Bearer.SHARED, Bearer.PLATFORM)),
                    parts=parts,
                )
            )
        case "fail" if account.refunds:
            place = chance.randrange(len(account.refunds))
            account.refunds[place] = replace(account.refunds[place], state=RefundState.FAILED)
        case "dispute" if left and not account.intent.disputes:
            minor = chance.randint(1, left)
            taken = dispute(Standing.OPEN, minor, allocated(minor, account.intent, account.refunds))
            account.intent = replace(account.intent, disputes=(taken,))
        case "ends" if account.intent.disputes:
            ended = replace(account.intent.disputes[0], standing=chance.choice((Standing.LOST, Standing.CLOSED)))
            account.intent = replace(account.intent, disputes=(ended,))


def _lines(account: Account) -> tuple[LineStanding, ...]:
    return lines_of(account.intent, account.refunds)


def _is_sound(account: Account) -> None:
    """What is never wrong at Stripe, whatever happened."""
    out = [one for one in account.movements.values() if one.is_out]
    settled = account.intent.settled
    assert settled is not None
    assert sum(one.amount_minor for one in out if one.origin is MovementOrigin.SOURCE) <= settled.amount_minor
    for transfer in out:
        back = went_back(transfer, out)
        assert back.amount_minor <= transfer.amount_minor
        assert back.charge_minor <= transfer.charge_minor
        assert (back.charge_minor == transfer.charge_minor) <= (back.amount_minor == transfer.amount_minor)
    ids = [facts.request_id(PAYMENT_ID, one.fact, refusals=one.refusals) for one in out if one.fact]
    assert len(set(ids)) == len(ids)
