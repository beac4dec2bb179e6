"""A payment whose money moves as a test says, and what the ledger books of it; without a database or Stripe."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from services.gateway.disputes.domain import Dispute, Standing, Withdrawal
from services.gateway.intents.domain import Intent
from services.gateway.ledger.balances import Known, Sums
from services.gateway.ledger.books import NOTHING, Books, from_json, to_json
from services.gateway.ledger.domain import Entry, Fact
from services.gateway.ledger.posting import post
from services.gateway.refunds.domain import Bearer, Refund, RefundState
from services.gateway.settlement.domain import (
    DisputeRecovery,
    Movement,
    MovementKind,
    MovementOrigin,
    MovementState,
    SettlementTerms,
)
from services.gateway.settlement.positions import allocated
from services.shared.split import LineAmount, LinePart, Split

NOW = datetime(2026, 3, 1, tzinfo=UTC)
_TAKEN = (Standing.OPEN, Standing.LOST)


class Bookkeeping:
    """One payment. What happens is booked by `post`, at once or together with what happens before that."""

    def __init__(
        self,
        *lines: LinePart,
        currency_code: str = "CHF",
        recovery: DisputeRecovery = DisputeRecovery.NONE,
        step_minor: int = 1,
    ) -> None:
        split = Split(lines=lines, step_minor=step_minor)
        self.currency_code = currency_code
        self.first = Intent(
            attempt=1,
            amount_minor=split.total_minor,
            application_fee_minor=0,
            create_time=NOW,
            charge_id="ch_1",
            split=split,
            settlement=SettlementTerms(dispute_recovery=recovery),
        )
        self.intents = {1: self.first}
        self.refunds: dict[str, Refund] = {}
        self.movements: dict[str, Movement] = {}
        self.books: Books = NOTHING
        self.facts: list[Fact] = []

    def post(self) -> tuple[Fact, ...]:
        """Book what is not booked yet, and return it."""
        known = Known(
            currency_code=self.currency_code,
            intents=self.intents,
            refunds=self.refunds,
            movements=self.movements,
        )
        books, facts = post(from_json(to_json(self.books)), known, payment_id="pay_a", counting=1)
        self.books = books
        self.facts += facts
        return facts

    def captured(self, minor: int, *, attempt: int = 1, parts: Sequence[LineAmount] = ()) -> None:
        """A charge took so much so far."""
        intent = self.intents.get(attempt, replace(self.first, attempt=attempt, charge_id=f"ch_{attempt}"))
        self.intents[attempt] = replace(intent, captured_minor=minor, captured_parts=tuple(parts))

    def refunded(self, minor: int, *, bearer: Bearer = Bearer.SHARED, attempt: int = 1, of: str | None = None) -> str:
        """So much is on its way back, of all lines or of one; return the refund's id."""
        number = len(self.refunds) + 1
        parts = self._allocated(minor, attempt) if of is None else (LineAmount(line_id=of, amount_minor=minor),)
        refund = Refund(
            refund_id=f"refund_{number}",
            attempt=attempt,
            amount_minor=minor,
            create_time=NOW + timedelta(minutes=number),
            stripe_refund_id=f"re_{number}",
            bearer=bearer,
            parts=parts,
        )
        self.refunds[refund.refund_id] = refund
        return refund.refund_id

    def refund_is(self, refund_id: str, state: RefundState) -> None:
        """A refund stands otherwise."""
        self.refunds[refund_id] = replace(self.refunds[refund_id], state=state)

    def moved(
        self,
        kind: MovementKind,
        minor: int,
        *,
        seller_id: str = "s1",
        attempt: int = 1,
        at_stripe: tuple[int, str] | None = None,
    ) -> str:
        """So much moved between the platform and a seller; return the movement's id."""
        number = len(self.movements) + 1
        amount_minor, currency_code = at_stripe or (minor, self.currency_code)
        movement = Movement(
            movement_id=f"{kind.lower()}_{number}",
            kind=kind,
            origin=MovementOrigin.SOURCE,
            attempt=attempt,
            seller_id=seller_id,
            amount_minor=amount_minor,
            currency_code=currency_code,
            charge_minor=minor,
            state=MovementState.MADE,
            stripe_id=f"{kind.lower()}_at_stripe_{number}",
            create_time=NOW + timedelta(minutes=number),
        )
        self.movements[movement.movement_id] = movement
        return movement.movement_id

    def disputed(self, standing: Standing, minor: int, *, dispute_id: str = "dp_1", attempt: int = 1) -> None:
        """A dispute over so much stands so; what it takes of each line stays as it was when it took it first."""
        intent = self.intents[attempt]
        known = {one.dispute_id: one for one in intent.disputes}
        parts = known[dispute_id].parts if dispute_id in known else ()
        if not parts and standing in _TAKEN:
            parts = self._allocated(minor, attempt)
        known[dispute_id] = _dispute(dispute_id, standing, minor, parts)
        self.intents[attempt] = replace(intent, disputes=tuple(known.values()))

    def _allocated(self, minor: int, attempt: int) -> tuple[LineAmount, ...]:
        return allocated(minor, self.intents[attempt], self.refunds.values())


def _dispute(dispute_id: str, standing: Standing, minor: int, parts: tuple[LineAmount, ...]) -> Dispute:
    taken = Withdrawal(
        balance_transaction_id=f"txn_{dispute_id}",
        amount_minor=-minor,
        fee_minor=1_500,
        currency_code="CHF",
        create_time=NOW,
        available_time=NOW,
    )
    return Dispute(
        dispute_id=dispute_id,
        status="",
        standing=standing,
        amount_minor=minor,
        currency_code="CHF",
        reason="fraudulent",
        is_charge_refundable=False,
        create_time=NOW,
        withdrawals=(taken,) if standing in _TAKEN else (),
        parts=parts,
    )


def entries_of(facts: Iterable[Fact]) -> list[Entry]:
    """Return all entries of facts."""
    return [entry for fact in facts for entry in fact.entries]


def by_account(entries: Iterable[Entry], *, currency_code: str = "CHF") -> dict[str, int]:
    """Return what entries in one currency come to, account by account; accounts at 0 are left out."""
    sums: dict[str, int] = {}
    for one in Sums(entries).entries():
        if one.place.currency_code == currency_code:
            sums[one.place.name] = sums.get(one.place.name, 0) + one.amount_minor
    return {name: minor for name, minor in sums.items() if minor}
