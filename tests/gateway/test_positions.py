"""What each seller is to have, with the figures of docs/money.md."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from services.gateway.disputes.domain import Dispute, Standing, Withdrawal
from services.gateway.intents.domain import Intent
from services.gateway.refunds.domain import Bearer, Refund, RefundState
from services.gateway.settlement.domain import (
    DisputeRecovery,
    Movement,
    MovementKind,
    MovementOrigin,
    MovementState,
    SettlementTerms,
)
from services.gateway.settlement.positions import Position, allocated, positions
from services.shared.split import LineAmount, LinePart, Split

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def line(seller_id: str, gross_minor: int, *, line_id: str = "") -> LinePart:
    """Return a line with a fee of 15 %."""
    fee = gross_minor * 15 // 100
    return LinePart(
        line_id=line_id or f"of-{seller_id}",
        seller_id=seller_id,
        gross_minor=gross_minor,
        seller_minor=gross_minor - fee,
        platform_fee_minor=fee,
    )


def attempt(*lines: LinePart, recovery: DisputeRecovery = DisputeRecovery.NONE, **changes: object) -> Intent:
    """Return an attempt that took all of its lines."""
    total = sum(one.gross_minor for one in lines)
    taken = Intent(
        attempt=1,
        amount_minor=total,
        application_fee_minor=0,
        create_time=NOW,
        captured_minor=total,
        split=Split(lines=lines),
        settlement=SettlementTerms(dispute_recovery=recovery),
    )
    return replace(taken, **changes)  # type: ignore[arg-type]  # as the caller names them


def refund(intent: Intent, amount_minor: int, *, bearer: Bearer = Bearer.SHARED, of: str = "") -> Refund:
    """Return a refund over all lines, or of one."""
    parts = (LineAmount(line_id=of, amount_minor=amount_minor),) if of else allocated(amount_minor, intent, [])
    return Refund(
        refund_id="refund_a", attempt=1, amount_minor=amount_minor, create_time=NOW, bearer=bearer, parts=parts
    )


def dispute(standing: Standing, amount_minor: int, parts: tuple[LineAmount, ...]) -> Dispute:
    """Return a dispute that took what it did from the lines that it did, or gave it back."""
    took = Withdrawal(
        balance_transaction_id="txn_a",
        amount_minor=-amount_minor,
        fee_minor=0,
        currency_code="CHF",
        create_time=NOW,
        available_time=NOW,
    )
    back = replace(took, balance_transaction_id="txn_b", amount_minor=amount_minor)
    return Dispute(
        dispute_id="dp_a",
        status="",
        standing=standing,
        amount_minor=amount_minor,
        currency_code="CHF",
        reason="fraudulent",
        is_charge_refundable=False,
        create_time=NOW,
        withdrawals=(took, back) if standing is Standing.CLOSED else (took,),
        parts=parts,
    )


def owed(found: tuple[Position, ...]) -> dict[str, tuple[int, int]]:
    """Return what each seller is owed, and what of that is held."""
    return {one.seller_id: (one.owed_minor, one.held_minor) for one in found}


CART = (line("s1", 10_000), line("s2", 5_000), line("s3", 3_000))


def test_each_seller_of_a_cart_is_owed_what_the_quote_says() -> None:
    assert owed(positions(attempt(*CART), [], [])) == {"s1": (8_500, 0), "s2": (4_250, 0), "s3": (2_550, 0)}


def test_a_refund_of_one_line_is_its_sellers_matter_alone() -> None:
    intent = attempt(*CART)
    back = refund(intent, 4_000, of="of-s2")
    assert owed(positions(intent, [back], [])) == {"s1": (8_500, 0), "s2": (850, 0), "s3": (2_550, 0)}


def test_a_refund_goes_by_its_bearer() -> None:
    intent = attempt(line("s1", 10_000))
    for bearer, left in ((Bearer.SHARED, 5_100), (Bearer.SELLER, 4_500), (Bearer.PLATFORM, 8_500)):
        assert owed(positions(intent, [refund(intent, 4_000, bearer=bearer)], [])) == {"s1": (left, 0)}
    failed = replace(refund(intent, 4_000), state=RefundState.FAILED)
    assert owed(positions(intent, [failed], [])) == {"s1": (8_500, 0)}


def test_a_dispute_takes_from_the_seller_what_its_terms_say() -> None:
    took = (LineAmount(line_id="of-s1", amount_minor=6_000),)
    expected = {
        (DisputeRecovery.NONE, Standing.OPEN): (8_500, 0),
        (DisputeRecovery.AT_LOSS, Standing.OPEN): (8_500, 0),
        (DisputeRecovery.AT_WITHDRAWAL, Standing.OPEN): (8_500, 5_100),
        (DisputeRecovery.NONE, Standing.LOST): (8_500, 0),
        (DisputeRecovery.AT_LOSS, Standing.LOST): (3_400, 0),
        (DisputeRecovery.AT_WITHDRAWAL, Standing.LOST): (3_400, 0),
        (DisputeRecovery.AT_WITHDRAWAL, Standing.CLOSED): (8_500, 0),
    }
    for (recovery, standing), (due, held) in expected.items():
        intent = attempt(line("s1", 10_000), recovery=recovery, disputes=(dispute(standing, 6_000, took),))
        assert owed(positions(intent, [], [])) == {"s1": (due, held)}


def test_more_lost_than_what_stands_takes_what_stands() -> None:
    intent = attempt(line("s1", 10_000), recovery=DisputeRecovery.AT_LOSS)
    back = refund(intent, 4_000)
    parts = allocated(10_000, intent, [back])
    assert parts == (LineAmount(line_id="of-s1", amount_minor=6_000),)
    lost = replace(intent, disputes=(dispute(Standing.LOST, 10_000, parts),))
    assert owed(positions(lost, [back], [])) == {"s1": (0, 0)}


def test_what_a_destination_charge_moves_is_net_of_its_fee() -> None:
    intent = attempt(line("s1", 10_000), seller_id="s1")
    moved = [
        Movement(
            movement_id=kind,
            kind=kind,
            origin=MovementOrigin.STRIPE,
            attempt=1,
            seller_id="s1",
            amount_minor=minor,
            currency_code="CHF",
            charge_minor=minor,
            state=MovementState.MADE,
            create_time=NOW,
        )
        for kind, minor in ((MovementKind.TRANSFER, 10_000), (MovementKind.FEE, 1_500))
    ]
    [settled] = positions(intent, [], moved)
    assert (settled.moved_minor, settled.due_minor) == (8_500, 0)
    [position] = positions(intent, [refund(intent, 4_000)], moved)
    assert (position.due_minor, position.taken_back_minor, position.fee_minor) == (-3_400, 4_000, 900)
