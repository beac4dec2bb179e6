"""Any history of one payment, also by hand and at Stripe's dashboard: each seller ends with its part. Pure, by seed."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from services.gateway.disputes.domain import Standing
from services.gateway.receivables.domain import Seen, write_off
from services.gateway.refunds.domain import Bearer, RefundFacts, RefundState
from services.gateway.settlement.domain import (
    BALANCE_INSUFFICIENT,
    DisputeRecovery,
    Movement,
    MovementKind,
    MovementOrigin,
    MovementState,
    Settled,
    SettlementTerms,
    went_back,
)
from services.gateway.settlement.positions import lines_of
from services.gateway.settlement.seen import BackFacts, MovedFacts
from services.shared.split import LinePart, Split
from tests.gateway.test_refund_rules import NOW, given_back, paid, withdrawn

STEPS_MAX = 60
OF = {"tr_x": MovementKind.TRANSFER, "fee_x": MovementKind.FEE}


class History:
    """A payment to which things happen by chance."""

    def __init__(self, seed: int) -> None:
        self.chance = chance = random.Random(seed)
        self.is_destination = chance.random() < 0.5
        sellers = 1 if self.is_destination else chance.randint(1, 3)
        self.lines = tuple(self._line(number, sellers) for number in range(chance.randint(sellers, 4)))
        self.total = sum(one.gross_minor for one in self.lines)
        self.fee = sum(one.platform_fee_minor for one in self.lines)
        self.payment = paid(
            Split(lines=self.lines),
            settlement=SettlementTerms(dispute_recovery=chance.choice(list(DisputeRecovery))),
            settled=Settled(charge_minor=self.total, amount_minor=self.total, currency_code="KRW"),
            seller_id="s0" if self.is_destination else "",
            application_fee_minor=self.fee if self.is_destination else 0,
        )
        self.contested: list[int] = []
        self.standing = Standing.CLOSED
        self.back: dict[str, list[BackFacts]] = {"tr_x": [], "fee_x": []}
        self.count = 0
        if self.is_destination:
            self.shows("tr_x", self.total)
            self.shows("fee_x", self.fee)

    def _line(self, number: int, sellers: int) -> LinePart:
        gross = self.chance.randint(1, 20_000)
        fee = gross * self.chance.choice((0, 15, 100)) // 100
        return LinePart(
            line_id=f"l{number}",
            seller_id=f"s{number % sellers}",
            gross_minor=gross,
            seller_minor=gross - fee,
            platform_fee_minor=fee,
        )

    def next(self) -> tuple[int, datetime]:
        self.count += 1
        return self.count, NOW + timedelta(seconds=self.count)

    def shows(self, stripe_id: str, minor: int) -> None:
        """See a transfer or a fee of Stripe's with all that went back on it at its dashboard."""
        if minor:
            shown = MovedFacts(
                kind=OF[stripe_id],
                stripe_id=stripe_id,
                charge_id="ch_a",
                amount_minor=minor,
                currency_code="KRW",
                create_time=NOW,
                back=tuple(self.back[stripe_id]),
            )
            self.payment.apply_moved(1, "s0", shown)

    def left_of(self, stripe_id: str) -> int:
        on = next(one for one in self.payment.movements.values() if one.stripe_id == stripe_id)
        return on.charge_minor - went_back(on, self.payment.movements.values()).charge_minor

    def happens(self) -> None:
        gone = (self.refunded, self.refunded_at_dashboard, self.failed, self.disputed, self.ended, self.ended)
        self.chance.choice((*gone, self.stepped, self.written_off))()

    def refunded(self) -> None:
        if left := self.payment.refundable_minor(1):
            number, at = self.next()
            parts = self.payment.allocated(1, self.chance.randint(1, left))
            refund = replace(given_back(number, parts), bearer=self.chance.choice(list(Bearer)), create_time=at)
            self.payment.refunds[refund.refund_id] = refund
            self.payment.conclude()

    def refunded_at_dashboard(self) -> None:
        """With the seller's part and what Stripe makes of the fee."""
        left = min(self.payment.refundable_minor(1), self.left_of("tr_x")) if self.is_destination else 0
        if not left:
            return
        number, at = self.next()
        minor, refund_id = self.chance.randint(1, left), f"re_{number}"
        self.back["tr_x"].append(
            BackFacts(
                stripe_id=f"trr_{number}",
                movement_id="",
                amount_minor=minor,
                stripe_refund_id=refund_id,
                create_time=at,
            )
        )
        of_fee = min(self.left_of("fee_x"), minor * self.fee // self.total) if self.fee else 0
        if of_fee:
            self.back["fee_x"].append(
                BackFacts(stripe_id=f"fr_{number}", movement_id="", amount_minor=of_fee, create_time=at)
            )
        self.is_refund(refund_id, "", minor, RefundState.SUCCEEDED, at)
        self.shows("tr_x", self.total)
        self.shows("fee_x", self.fee)

    def is_refund(self, stripe_id: str, refund_id: str, minor: int, state: RefundState, at: datetime) -> None:
        shown = RefundFacts(
            stripe_refund_id=stripe_id,
            refund_id=refund_id,
            state=state,
            amount_minor=minor,
            failure_reason="",
            reason="",
            create_time=at,
        )
        self.payment.apply_refund(1, shown)

    def failed(self) -> None:
        made = [one for one in self.payment.refunds.values() if one.state is RefundState.SUCCEEDED]
        if made:
            one = self.chance.choice(made)
            self.is_refund(one.stripe_refund_id, one.refund_id, one.amount_minor, RefundState.FAILED, NOW)

    def disputed(self) -> None:
        """By the bank, or once more after an appeal."""
        if self.standing is Standing.CLOSED:
            self.contested.append(self.contested[0] if self.contested else -self.chance.randint(1, self.total))
            self.is_disputed(Standing.OPEN)

    def ended(self) -> None:
        if self.standing is Standing.OPEN:
            standing = self.chance.choice((Standing.LOST, Standing.CLOSED))
            if standing is Standing.CLOSED:
                self.contested.append(-self.contested[0])
            self.is_disputed(standing)

    def is_disputed(self, standing: Standing) -> None:
        self.standing = standing
        shown = withdrawn(*self.contested, standing=standing)
        self.payment.apply_disputes(1, [replace(shown, amount_minor=-self.contested[0])])

    def steps(self) -> list[Movement]:
        return [one for one in self.payment.steps(None) if isinstance(one, Movement)]

    def stepped(self) -> None:
        for step in self.steps():
            number, at = self.next()
            is_sent = step.kind is MovementKind.TRANSFER
            assert not (is_sent and self.forgiven(step.seller_id)), "sent to who did not give back what it was let off"
            self.payment.reserve(step, asked=at)
            self.payment.made(step.movement_id, f"x_{number}")

    def forgiven(self, seller_id: str) -> list[Movement]:
        write_offs = [one for one in self.payment.movements.values() if one.kind is MovementKind.WRITE_OFF]
        return [one for one in write_offs if one.seller_id == seller_id and one.is_out]

    def refused(self) -> None:
        for step in self.steps():
            _, at = self.next()
            self.payment.reserve(step, asked=at)
            self.payment.refused(step.movement_id, code=BALANCE_INSUFFICIENT, now=at)

    def written_off(self) -> None:
        """What a seller lacks the money for."""
        self.refused()
        for owed in self.payment.receivables[:1]:
            number, at = self.next()
            seen = Seen(
                payment_id="pay_a",
                attempt=1,
                seller_id=owed.seller_id,
                amount_minor=owed.amount_minor,
                currency_code="KRW",
            )
            row = write_off(seen, movement_id=f"writeoff_{number}", actor_id="anna", note="gone", create_time=at)
            self.payment.movements[row.movement_id] = row
            self.payment.conclude()


@pytest.mark.parametrize("seed", range(120))
def test_whatever_happens_each_seller_ends_with_its_part(seed: int) -> None:
    history = History(seed)
    for _ in range(history.chance.randint(4, 16)):
        history.happens()
    for _ in range(STEPS_MAX):
        if not history.steps():
            break
        history.stepped()
    payment = history.payment

    waits = {one.seller_id for one in payment.steps(None)}
    for position in payment.positions(1):
        assert position.due_minor == 0 or (position.due_minor < 0 and position.seller_id in waits), position
    for line in lines_of(payment.intents[1], payment.refunds.values()):
        assert min(line.standing_minor, line.refundable_minor) >= 0, line
    assert all(one.state is not MovementState.PENDING for one in payment.movements.values())
    taken = [one for one in payment.movements.values() if one.origin is MovementOrigin.SOURCE and one.is_out]
    assert sum(one.amount_minor for one in taken) <= history.total
