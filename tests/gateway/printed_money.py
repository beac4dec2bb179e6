"""What docs/money.md shows of whole payments, printed by the code: facts, balance transactions, what is left then."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta

from services.gateway.balance.domain import BalanceTransaction, facts_of
from services.gateway.disputes.domain import Standing
from services.gateway.ledger.domain import Entry, Fact
from services.gateway.settlement.domain import DisputeRecovery, MovementKind
from tests.gateway.bookkeeping import NOW, Bookkeeping, by_account, entries_of
from tests.gateway.printed_ledger import postings, table
from tests.gateway.quoted import CART, COUPON, ONE

TRANSFER, FEE = MovementKind.TRANSFER, MovementKind.FEE
REVERSAL, FEE_REFUND = MovementKind.REVERSAL, MovementKind.FEE_REFUND


@dataclass(kw_only=True)
class Life:
    """One payment, and the platform's balance."""

    title: str
    books: Bookkeeping
    facts: list[Fact] = field(default_factory=list)

    def shown(self, kind: str, minor: int, source: str, **more: int | str) -> list[Fact]:
        """Book a balance transaction that Stripe shows."""
        fee = int(more.pop("fee_minor", 0))
        row = BalanceTransaction(
            balance_transaction_id=f"txn_{kind}",
            type=kind,
            reporting_category=kind,
            amount_minor=minor,
            fee_minor=fee,
            net_minor=minor - fee,
            currency_code=str(more.pop("currency_code", "CHF")),
            source_id=source,
            create_time=NOW,
            available_time=NOW + timedelta(days=2),
            **more,  # type: ignore[arg-type]  # the amount in the source's own currency
        )
        return list(facts_of(row, payment_id="pay_a"))


Step = tuple[str, Callable[[Life], list[Fact]]]


def lives() -> str:
    """Return whole lives of payments."""
    rows: list[tuple[str, str, str]] = []
    for life, steps in stories():
        rows.append((f"**{life.title}**", "", ""))
        for what, happens in steps:
            facts = happens(life) + list(life.books.post())
            life.facts += facts
            rows += [(what if number == 0 else "", f"`{one.fact}`", postings(one)) for number, one in enumerate(facts)]
        rows.append(("→ what is left", "", _left(life.facts)))
    return table(("", "fact", "postings, minor units"), rows)


def stories() -> Iterator[tuple[Life, list[Step]]]:
    """Yield payments with what happens to them, in order."""
    yield Life(title="One seller, 100.00, fee 15 %, Stripe's fee 3.20", books=Bookkeeping(ONE)), [
        ("captured", lambda life: _do(life.books.captured(10_000))),
        ("Stripe shows the charge", lambda life: life.shown("charge", 10_000, "ch_1", fee_minor=320)),
        ("Stripe transferred, and took the fee back", _moved((TRANSFER, 10_000), (FEE, 1_500))),
        ("Stripe shows the transfer", lambda life: life.shown("transfer", -10_000, "transfer_at_stripe_1")),
        ("Stripe shows the fee", lambda life: life.shown("application_fee", 1_500, "fee_at_stripe_2")),
        ("40.00 refunded", lambda life: _do(life.books.refunded(4_000))),
        ("the seller's part and the fee come back", _moved((REVERSAL, 4_000), (FEE_REFUND, 600))),
        ("Stripe shows all three", _shows_the_way_back),
        ("paid out", lambda life: life.shown("payout", -580, "po_1")),
        ("the payout comes back", lambda life: life.shown("payout_failure", 580, "po_1")),
    ]  # fmt: skip
    yield Life(title="Three sellers, 180.00; s2's 50.00 goes back", books=Bookkeeping(*CART)), [
        ("captured", lambda life: _do(life.books.captured(18_000))),
        ("each gets a transfer", _transferred(s1=8_500, s2=4_250, s3=2_550)),
        ("s2's line refunded", lambda life: _do(life.books.refunded(5_000, of="of-s2"))),
        ("s2's transfer reversed", lambda life: _do(life.books.moved(MovementKind.REVERSAL, 4_250, seller_id="s2"))),
    ]  # fmt: skip
    yield Life(title="A coupon of 10.00 that the platform funds", books=Bookkeeping(COUPON)), [
        ("captured", lambda life: _do(life.books.captured(9_000))),
        ("the seller gets its due", _transferred(s1=8_425)),
    ]  # fmt: skip
    lost = Bookkeeping(ONE, recovery=DisputeRecovery.AT_WITHDRAWAL)
    yield Life(title="A dispute over 60.00, taken back at once, and lost", books=lost), [
        ("captured", lambda life: _do(life.books.captured(10_000))),
        ("transferred, net of the fee", _moved((TRANSFER, 10_000), (FEE, 1_500))),
        ("60.00 withdrawn", lambda life: _do(life.books.disputed(Standing.OPEN, 6_000))),
        ("Stripe shows it, with its fee", lambda life: life.shown("adjustment", -6_000, "dp_1", fee_minor=1_500)),
        ("taken back from the seller", _moved((REVERSAL, 6_000), (FEE_REFUND, 900))),
        ("lost", lambda life: _do(life.books.disputed(Standing.LOST, 6_000))),
    ]  # fmt: skip
    abroad = Bookkeeping(ONE, currency_code="EUR")
    yield Life(title="100.00 EUR, settled in CHF at 0.95", books=abroad), [
        ("captured", lambda life: _do(life.books.captured(10_000))),
        ("Stripe shows the charge, in CHF", _shows_in_francs),
        ("the seller's 85.00 EUR, in CHF", _abroad),
        ("Stripe shows the transfer", lambda life: life.shown("transfer", -8_075, "transfer_at_stripe_1")),
    ]  # fmt: skip


def _do(_: object) -> list[Fact]:
    """Return that nothing is booked beside what the payment books."""
    return []


def _moved(*movements: tuple[MovementKind, int]) -> Callable[[Life], list[Fact]]:
    def happens(life: Life) -> list[Fact]:
        return [fact for kind, minor in movements for fact in _do(life.books.moved(kind, minor))]

    return happens


def _transferred(**sellers: int) -> Callable[[Life], list[Fact]]:
    def happens(life: Life) -> list[Fact]:
        for seller_id, minor in sellers.items():
            life.books.moved(MovementKind.TRANSFER, minor, seller_id=seller_id)
        return []

    return happens


def _abroad(life: Life) -> list[Fact]:
    return _do(life.books.moved(MovementKind.TRANSFER, 8_500, at_stripe=(8_075, "CHF")))


def _shows_in_francs(life: Life) -> list[Fact]:
    return life.shown("charge", 9_500, "ch_1", own_amount_minor=10_000, own_currency_code="EUR")


def _shows_the_way_back(life: Life) -> list[Fact]:
    refund = life.shown("refund", -4_000, "re_1")
    return [
        *refund,
        *life.shown("transfer_refund", 4_000, "reversal_at_stripe_3"),
        *life.shown("application_fee_refund", -600, "fee_refund_at_stripe_4"),
    ]


def _left(facts: Iterable[Fact]) -> str:
    entries: list[Entry] = entries_of(facts)
    parts = []
    for code in dict.fromkeys(entry.place.currency_code for entry in entries):
        suffix = "" if code == "CHF" else f" {code}"
        sums = by_account(entries, currency_code=code)
        parts += [f"{name} {minor}{suffix}".replace("-", "−") for name, minor in sums.items()]
    return " · ".join(parts)
