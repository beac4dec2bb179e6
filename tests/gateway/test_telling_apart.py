"""What of refunds and disputes falls to which line is the same in whatever order facts become known: all orders."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import permutations
from typing import Final

import pytest

from services.gateway.disputes.domain import Dispute, Standing, Withdrawal
from services.gateway.ledger.balances import Known, Sums, balances
from services.gateway.ledger.posting import post
from services.gateway.mirror.payment import MirroredPayment
from services.gateway.refunds.domain import Bearer, Refund, RefundFacts, RefundState
from services.gateway.settlement.domain import DisputeRecovery, Movement, Settled
from services.gateway.settlement.positions import lines_of
from services.gateway.settlement.telling_apart import told_apart
from services.shared.split import LineAmount
from services.shared.states import IntentState
from tests.gateway.bookkeeping import by_account
from tests.gateway.test_positions import NOW, attempt, line

AT_LOSS, AT_WITHDRAWAL, NONE = DisputeRecovery.AT_LOSS, DisputeRecovery.AT_WITHDRAWAL, DisputeRecovery.NONE
Happens = Callable[[MirroredPayment], None]


def sold(recovery: DisputeRecovery) -> MirroredPayment:
    """100.00 of s1 and 50.00 of s2, of which they are to have 85.00 and 42.50, and have it."""
    payment = MirroredPayment.new("main", "pay_a", payer_id="payer_a", seller_id="", currency_code="CHF")
    taken = attempt(line("s1", 10_000), line("s2", 5_000), recovery=recovery)
    settled = Settled(charge_minor=15_000, amount_minor=15_000, currency_code="CHF")
    payment.intents = {
        1: replace(taken, state=IntentState.SUCCEEDED, intent_id="pi_a", charge_id="ch_a", settled=settled)
    }
    payment.conclude()
    settle(payment)
    return payment


def settle(payment: MirroredPayment) -> None:
    """Move what is missing, as whoever settles does, and book it."""
    for _ in range(20):
        moves = [one for one in payment.steps(None) if isinstance(one, Movement)]
        for move in moves:
            payment.reserve(move, asked=NOW)
            payment.made(move.movement_id, f"at_stripe_{len(payment.movements)}")
        if not moves:
            break
    payment.books, _ = post(payment.books, known(payment), payment_id="pay_a", counting=1)


def known(payment: MirroredPayment) -> Known:
    return Known(
        currency_code=payment.currency_code,
        intents=payment.intents,
        refunds=payment.refunds,
        movements=payment.movements,
    )


# What happens, to a payment that knows nothing of what is in no line before.


def reserved(amount_minor: int, *, of: str = "", bearer: Bearer = Bearer.SHARED) -> Happens:
    """Somebody refunds here, all lines or one."""

    def happens(payment: MirroredPayment) -> None:
        parts = (LineAmount(line_id=of, amount_minor=amount_minor),) if of else payment.allocated(1, amount_minor)
        payment.refunds["refund_ours"] = Refund(
            refund_id="refund_ours",
            attempt=1,
            amount_minor=amount_minor,
            create_time=NOW + timedelta(seconds=30),
            actor_id="operator_1",
            bearer=bearer,
            parts=parts,
        )
        payment.conclude()

    return happens


def refused(payment: MirroredPayment) -> None:
    """Stripe does not take that refund."""
    ours = payment.refunds["refund_ours"]
    payment.refunds["refund_ours"] = replace(ours, state=RefundState.FAILED, failure_reason="refused")
    payment.conclude()


def discarded(payment: MirroredPayment) -> None:
    """That refund never reached Stripe."""
    del payment.refunds["refund_ours"]
    payment.conclude()


def answered(state: RefundState) -> Happens:
    """Stripe took that refund, and it stands so."""
    return shown("re_ours", 0, state, refund_id="refund_ours")


def shown(
    stripe_id: str, amount_minor: int, state: RefundState = RefundState.SUCCEEDED, *, at: int = 0, refund_id: str = ""
) -> Happens:
    """Stripe shows a refund that was made so many seconds after the charge."""

    def happens(payment: MirroredPayment) -> None:
        payment.apply_refund(
            1,
            RefundFacts(
                stripe_refund_id=stripe_id,
                refund_id=refund_id,
                state=state,
                amount_minor=amount_minor,
                failure_reason="",
                reason="",
                create_time=NOW + timedelta(seconds=at),
            ),
        )

    return happens


def disputed(standing: Standing, *moved_minor: int, at: int, dispute_id: str = "dp_a") -> Happens:
    """Stripe shows a dispute that took so much, or gave it back, from so many seconds after the charge on."""

    def happens(payment: MirroredPayment) -> None:
        withdrawals = tuple(
            Withdrawal(
                balance_transaction_id=f"txn_{place}",
                amount_minor=minor,
                fee_minor=0,
                currency_code="CHF",
                create_time=NOW + timedelta(seconds=at + 100 * place),
                available_time=NOW,
            )
            for place, minor in enumerate(moved_minor)
        )
        found = Dispute(
            dispute_id=dispute_id,
            status="",
            standing=standing,
            amount_minor=-moved_minor[0],
            currency_code="CHF",
            reason="fraudulent",
            is_charge_refundable=False,
            create_time=NOW + timedelta(seconds=at),
            withdrawals=withdrawals,
        )
        payment.apply_disputes(1, [found])

    return happens


@dataclass(frozen=True, kw_only=True)
class Case:
    """What happened, and what it comes to whenever each becomes known."""

    facts: Mapping[str, Happens]
    """In threads, such as `ours 1` and `ours 2`: of one thread the later is known later."""
    parts: Mapping[str, tuple[int, int]]
    """What of each refund and dispute falls to the line of s1 and of s2."""
    have: Mapping[DisputeRecovery, tuple[int, int]]
    """What s1 and s2 have in the end, by their terms."""


CASES: Final = {
    "refused, as all was refunded at the dashboard": Case(
        facts={"ours 1": reserved(15_000), "ours 2": refused, "dashboard": shown("re_a", 15_000)},
        parts={"re_a": (10_000, 5_000)},
        have=dict.fromkeys((AT_LOSS, AT_WITHDRAWAL, NONE), (0, 0)),
    ),
    "refused, as all is contested, which is lost": Case(
        facts={
            "ours 1": reserved(15_000),
            "ours 2": refused,
            "dispute 1": disputed(Standing.OPEN, -15_000, at=10),
            "dispute 2": disputed(Standing.LOST, -15_000, at=10),
        },
        parts={"dp_a": (10_000, 5_000)},
        have={AT_LOSS: (0, 0), AT_WITHDRAWAL: (0, 0), NONE: (8_500, 4_250)},
    ),
    "never sent, and all is contested": Case(
        facts={"ours 1": reserved(7_500), "ours 2": discarded, "dispute": disputed(Standing.OPEN, -15_000, at=10)},
        parts={"dp_a": (10_000, 5_000)},
        have={AT_LOSS: (8_500, 4_250), AT_WITHDRAWAL: (0, 0), NONE: (8_500, 4_250)},
    ),
    "half is refunded and comes back, all is contested and lost": Case(
        facts={
            "ours 1": reserved(7_500),
            "ours 2": answered(RefundState.SUCCEEDED),
            "ours 3": answered(RefundState.FAILED),
            "dispute 1": disputed(Standing.OPEN, -15_000, at=50),
            "dispute 2": disputed(Standing.LOST, -15_000, at=50),
        },
        parts={"dp_a": (10_000, 5_000)},
        have={AT_LOSS: (0, 0), AT_WITHDRAWAL: (0, 0), NONE: (8_500, 4_250)},
    ),
    "half is refunded, all is contested and lost": Case(
        facts={
            "ours 1": reserved(5_000, of="of-s2"),
            "ours 2": answered(RefundState.SUCCEEDED),
            "dispute 1": disputed(Standing.OPEN, -15_000, at=50),
            "dispute 2": disputed(Standing.LOST, -15_000, at=50),
        },
        parts={"refund_ours": (0, 5_000), "dp_a": (10_000, 0)},
        have={AT_LOSS: (0, 0), AT_WITHDRAWAL: (0, 0), NONE: (8_500, 0)},
    ),
    "a line is refunded and comes back, some is refunded at the dashboard and some is lost": Case(
        facts={
            "ours 1": reserved(10_000, of="of-s1"),
            "ours 2": answered(RefundState.FAILED),
            "dashboard": shown("re_a", 1_000, at=40),
            "dispute 1": disputed(Standing.OPEN, -3_001, at=50),
            "dispute 2": disputed(Standing.LOST, -3_001, at=50),
        },
        # 666.67 and 333.33; then in proportion to the 9333 and 4667 that are left: 2000.6 and 1000.4.
        parts={"re_a": (667, 333), "dp_a": (2_001, 1_000)},
        # Of the 7332 and 3667 that stand the platform keeps 1099.8 and 550.05.
        have={AT_LOSS: (6_232, 3_117), AT_WITHDRAWAL: (6_232, 3_117), NONE: (7_933, 3_967)},
    ),
    "a refund at the dashboard comes back, all is contested and won": Case(
        facts={
            "dashboard 1": shown("re_a", 6_000),
            "dashboard 2": shown("re_a", 6_000, RefundState.FAILED),
            "another": shown("re_b", 3_000, at=5),
            "dispute 1": disputed(Standing.OPEN, -15_000, at=50),
            "dispute 2": disputed(Standing.CLOSED, -15_000, 15_000, at=50),
        },
        parts={"re_b": (2_000, 1_000)},
        have=dict.fromkeys((AT_LOSS, AT_WITHDRAWAL, NONE), (6_800, 3_400)),
    ),
    "at the sellers' cost, and more is contested than is left": Case(
        facts={
            "ours 1": reserved(3_000, bearer=Bearer.SELLER),
            "ours 2": refused,
            "dispute a": disputed(Standing.LOST, -9_000, at=10),
            "dispute b": disputed(Standing.LOST, -9_000, at=20, dispute_id="dp_b"),
            "dashboard": shown("re_a", 1_500, at=15),
        },
        parts={"dp_a": (6_000, 3_000), "re_a": (1_000, 500), "dp_b": (3_000, 1_500)},
        # Of 10.00 and 5.00 that are refunded each gives its share: 8.50 and 4.25.
        have={AT_LOSS: (0, 0), AT_WITHDRAWAL: (0, 0), NONE: (7_650, 3_825)},
    ),
    "what was won is refunded at the dashboard, and the appeal is lost": Case(
        facts={
            "dispute 1": disputed(Standing.CLOSED, -15_000, 15_000, at=10),
            "dispute 2": disputed(Standing.LOST, -15_000, 15_000, -15_000, at=10),
            "dashboard": shown("re_a", 6_000, at=150),
        },
        parts={"re_a": (4_000, 2_000), "dp_a": (6_000, 3_000)},
        have={AT_LOSS: (0, 0), AT_WITHDRAWAL: (0, 0), NONE: (5_100, 2_550)},
    ),
    "refunded here of what was won before its money is back": Case(
        facts={
            "dispute 1": disputed(Standing.CLOSED, -15_000, at=10),
            "ours 1": reserved(6_000),
            "ours 2": answered(RefundState.SUCCEEDED),
            "dispute 2": disputed(Standing.CLOSED, -15_000, 15_000, at=10),
        },
        parts={"refund_ours": (4_000, 2_000)},
        have=dict.fromkeys((AT_LOSS, AT_WITHDRAWAL, NONE), (5_100, 2_550)),
    ),
}


def orders(facts: Mapping[str, Happens]) -> Iterator[tuple[str, ...]]:
    """Yield every order in which facts can become known."""
    for order in permutations(facts):
        threads: dict[str, list[str]] = {}
        for name in order:
            threads.setdefault(name.split()[0], []).append(name)
        if all(names == sorted(names) or names[0].split()[1].isalpha() for names in threads.values()):
            yield order


@pytest.mark.parametrize("recovery", [AT_LOSS, AT_WITHDRAWAL, NONE])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_falls_to_each_line_is_the_same_in_every_order(case: Case, recovery: DisputeRecovery) -> None:
    """And each seller has it in the end, whatever was moved on the way; the books say the same."""
    for order in orders(case.facts):
        payment = sold(recovery)
        for name in order:
            case.facts[name](payment)
            settle(payment)

        assert parts_of(payment) == case.parts, order
        assert [(one.moved_minor, one.target_minor) for one in payment.positions(1)] == [
            (have, have) for have in case.have[recovery]
        ], order
        assert all(one.refundable_minor >= 0 for one in lines_of(payment.intents[1], payment.refunds.values())), order
        booked = Sums(payment.books.sums)
        assert balances(known(payment), payment.books.marks).less(booked).entries() == ()
        told = told_apart(payment.intents[1], payment.refunds.values())
        assert told.refunds == tuple(payment.refunds.values())
        assert told.disputes == payment.intents[1].disputes


def test_what_was_booked_for_other_lines_is_booked_anew_under_a_name_of_its_own() -> None:
    """All was refunded at the dashboard while a refund of all waited here, of which Stripe then takes nothing."""
    payment = sold(AT_LOSS)
    reserved(15_000)(payment)
    shown("re_a", 15_000)(payment)
    settle(payment)
    refused(payment)

    [fact] = post(payment.books, known(payment), payment_id="pay_a", counting=1)[1]

    assert (fact.fact, fact.stripe_id, fact.value_time) == ("reallocated:re_a", "re_a", None)
    assert by_account(fact.entries) == {
        "seller:s1": 8_500,
        "seller:s2": 4_250,
        "platform_fee": 2_250,
        "refund_borne": -15_000,
    }


def test_what_fell_to_no_line_for_ever_is_healed_when_next_something_is_concluded() -> None:
    """As an earlier release kept it: all is refunded at the dashboard or lost, of no line, and booked as that."""
    for takes, of in ((shown("re_a", 15_000), "re_a"), (disputed(Standing.LOST, -15_000, at=10), "dp_a")):
        payment = sold(AT_LOSS)
        takes(payment)
        payment.refunds = {key: replace(one, parts=()) for key, one in payment.refunds.items()}
        of_no_line = tuple(replace(one, parts=()) for one in payment.intents[1].disputes)
        payment.intents[1] = replace(payment.intents[1], disputes=of_no_line)
        payment.books, _ = post(payment.books, known(payment), payment_id="pay_a", counting=1)
        assert [one.due_minor for one in payment.positions(1)] == [0, 0]

        payment.conclude()
        [fact] = post(payment.books, known(payment), payment_id="pay_a", counting=1)[1]
        settle(payment)

        assert (fact.fact, parts_of(payment)) == (f"reallocated:{of}", {of: (10_000, 5_000)})
        assert [one.moved_minor for one in payment.positions(1)] == [0, 0]


def test_a_refund_that_was_booked_without_its_lines_is_booked_with_them_and_comes_to_the_same() -> None:
    payment = sold(AT_LOSS)
    shown("re_a", 6_000)(payment)
    settle(payment)
    marks = {key: replace(one, parts=()) if key == "refund_a" else one for key, one in payment.books.marks.items()}
    payment.books = replace(payment.books, marks=marks)

    books, facts = post(payment.books, known(payment), payment_id="pay_a", counting=1)

    assert [one.fact for one in facts] == ["adjusted:pay_a", "reallocated:re_a"]
    assert by_account([entry for one in facts for entry in one.entries]) == {}
    assert Sums(books.sums).less(Sums(payment.books.sums)).entries() == ()


def parts_of(payment: MirroredPayment) -> dict[str, tuple[int, int]]:
    """Return what of each that counts falls to the lines of s1 and s2."""
    counts = [one for one in payment.refunds.values() if one.state is RefundState.SUCCEEDED]
    found = {one.refund_id.replace("refund_a", "re_a").replace("refund_b", "re_b"): one.parts for one in counts}
    found |= {one.dispute_id: one.parts for one in payment.intents[1].disputes if one.parts}
    by_line = {key: {part.line_id: part.amount_minor for part in parts} for key, parts in found.items()}
    return {key: (parts.get("of-s1", 0), parts.get("of-s2", 0)) for key, parts in by_line.items()}
