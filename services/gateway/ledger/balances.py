"""What the accounts are to show of one payment, given what is known of its money. Pure.

Nothing here depends on the order in which things happened. What falls to whom of each line is said by
`services/shared/split.py` and `settlement/positions.py`, by which the settlement goes, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from services.gateway.disputes.domain import Standing
from services.gateway.intents.domain import Intent
from services.gateway.ledger.books import Mark
from services.gateway.ledger.domain import Account, Entry, Place
from services.gateway.refunds.domain import Refund, RefundState
from services.gateway.settlement.domain import NOT_AT_STRIPE, TO_SELLER, Movement, MovementKind
from services.gateway.settlement.positions import LineStanding, Taken, became_of, split_of
from services.shared.split import Split


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What of a payment does not change once it is there: how it is split, and what each mark is of."""

    currency_code: str
    intents: Mapping[int, Intent]
    refunds: Mapping[str, Refund]
    movements: Mapping[str, Movement]


class Sums:
    """Amounts by place, and the VAT that goes with them."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._amounts: dict[Place, int] = {}
        self._vat: dict[Place, int] = {}
        for one in entries:
            self.add(one.place, one.amount_minor, vat_minor=one.vat_minor)

    def add(self, place: Place, amount_minor: int, *, vat_minor: int = 0) -> None:
        """Add an amount."""
        self._amounts[place] = self._amounts.get(place, 0) + amount_minor
        self._vat[place] = self._vat.get(place, 0) + vat_minor

    def entries(self) -> tuple[Entry, ...]:
        """Return what there is, in the order in which it came in."""
        return tuple(
            Entry(place=place, amount_minor=minor, vat_minor=self._vat[place])
            for place, minor in self._amounts.items()
            if minor or self._vat[place]
        )

    def less(self, other: Sums) -> Sums:
        """Return what these have more than others."""
        rest = Sums(self.entries())
        for one in other.entries():
            rest.add(one.place, -one.amount_minor, vat_minor=-one.vat_minor)
        return rest


def balances(known: Known, marks: Mapping[str, Mark]) -> Sums:
    """Return what the accounts are to show while each thing is as its mark says."""
    books = _Payment(known, marks)
    for attempt, intent in known.intents.items():
        books.attempt(attempt, intent)
    for movement in known.movements.values():
        if movement.movement_id in marks and marks[movement.movement_id].minor:
            books.moved(movement, marks[movement.movement_id].minor)
    return books.sums


class _Payment:
    """Adds up one payment."""

    def __init__(self, known: Known, marks: Mapping[str, Mark]) -> None:
        self._known = known
        self._marks = marks
        self.sums = Sums()

    def attempt(self, attempt: int, intent: Intent) -> None:
        """Add what one attempt took, and what of that went back or is contested."""
        mark = self._marks.get(f"charge:{attempt}", Mark(of=""))
        taken = replace(intent, captured_minor=mark.minor, captured_parts=mark.parts)
        refunds = list(self._booked_refunds(attempt))
        disputes = [self._marks[one.dispute_id] for one in intent.disputes if one.dispute_id in self._marks]
        refunded = sum(one.amount_minor for one in refunds)
        lost = sum(one.minor for one in disputes if one.is_lost)
        withheld = sum(one.minor for one in disputes) - lost
        if not (mark.minor or refunded or lost or withheld):
            return
        self._add(Account.STRIPE_CLEARING, mark.minor - refunded - withheld - lost)
        lines = () if mark.is_surplus else self._lines(taken, refunds, disputes)
        split = split_of(taken)
        for line in lines:
            self._line(split, line, lines)
        self._add(Account.DISPUTE_WITHHELD, withheld)
        # What is of no line: taken beyond what is charged, given back of that, and then at the platform's cost.
        surplus = mark.minor - sum(one.captured_minor for one in lines)
        refunded -= sum(one.shared_minor + one.by_seller_minor + one.by_platform_minor for one in lines)
        lost -= sum(one.lost_minor + one.lost_by_platform_minor for one in lines)
        of_surplus = min(surplus, refunded)
        lost_of_surplus = min(surplus - of_surplus, lost)
        self._add(Account.PAYER_SURPLUS, of_surplus + lost_of_surplus - surplus)
        self._add(Account.REFUND_BORNE, refunded - of_surplus)
        self._add(Account.DISPUTE_LOSS, lost - lost_of_surplus)

    def moved(self, movement: Movement, charge_minor: int) -> None:
        """Add what moved between the platform and a seller, so much of it: a write-off may become less."""
        sign = 1 if movement.kind in TO_SELLER else -1
        at_charge, at_stripe = sign * charge_minor, sign * movement.settled_minor(charge_minor)
        currency_code = movement.currency_code
        self._add(Account.SELLER, at_charge, seller_id=movement.seller_id)
        if movement.kind in NOT_AT_STRIPE:
            is_loss = movement.kind is MovementKind.WRITE_OFF
            against = Account.SELLER_LOSS if is_loss else Account.NETTING
            self._add(against, -at_charge, seller_id=movement.seller_id)
            return
        self._add(Account.STRIPE_CLEARING, -at_stripe, currency_code=currency_code)
        if currency_code != self._known.currency_code:
            self._add(Account.CONVERSION, -at_charge)
            self._add(Account.CONVERSION, at_stripe, currency_code=currency_code)
        else:
            self._add(Account.UNCLASSIFIED, at_stripe - at_charge)

    def _lines(self, taken: Intent, refunds: Iterable[Refund], disputes: Iterable[Mark]) -> tuple[LineStanding, ...]:
        standing = {True: Standing.LOST, False: Standing.OPEN}
        contested = [Taken(standing=standing[one.is_lost], parts=one.parts) for one in disputes if one.minor]
        return became_of(taken, refunds, contested)

    def _line(self, split: Split, line: LineStanding, lines: Sequence[LineStanding]) -> None:
        """Add what of one line falls to whom."""
        part = line.line
        shares = split.shares(part, {one.line.line_id: one.standing_minor for one in lines})
        seller_id = part.seller_id
        if part.is_platform:
            self._add(Account.PLATFORM_SALES, line.by_seller_minor - shares.seller_minor, seller_id=seller_id)
        else:
            to_have = split.seller_minor(part, {one.line.line_id: one.released_minor for one in lines})
            sold = line.standing_minor - line.by_seller_minor
            vat = _in_proportion(part.vat_minor - part.platform_vat_minor, sold, part.gross_minor)
            self._add(Account.SELLER, line.by_seller_minor - to_have, seller_id=seller_id, vat_minor=vat)
            self._add(Account.SELLER_HELD, to_have - shares.seller_minor, seller_id=seller_id)
        self._add(Account.PLATFORM_FEE, -shares.platform_fee_minor, seller_id=seller_id, vat_minor=shares.fee_vat_minor)
        self._add_vat(-shares.fee_vat_minor, part.fee_vat_country, seller_id=seller_id)
        self._add_vat(-shares.platform_vat_minor, part.vat_country, seller_id=seller_id)
        self._add(Account.DISCOUNTS_FUNDED, shares.discounts_funded_minor, seller_id=seller_id)
        self._add(Account.SURCHARGES, -shares.surcharges_minor, seller_id=seller_id)
        self._add(Account.ROUNDING, -shares.rounding_minor, seller_id=seller_id)
        self._add(Account.REFUND_BORNE, line.by_platform_minor, seller_id=seller_id)
        self._add(Account.DISPUTE_LOSS, line.lost_by_platform_minor, seller_id=seller_id)

    def _booked_refunds(self, attempt: int) -> Iterable[Refund]:
        for one in self._known.refunds.values():
            mark = self._marks.get(one.refund_id)
            if one.attempt == attempt and mark is not None and mark.minor:
                yield replace(one, state=RefundState.SUCCEEDED, parts=mark.parts)

    def _add_vat(self, amount_minor: int, country: str, *, seller_id: str) -> None:
        if amount_minor:
            currency_code = self._known.currency_code
            place = Place(
                account=Account.VAT_PAYABLE, currency_code=currency_code, seller_id=seller_id, country=country
            )
            self.sums.add(place, amount_minor)

    def _add(
        self,
        account: Account,
        amount_minor: int,
        *,
        currency_code: str = "",
        seller_id: str = "",
        vat_minor: int = 0,
    ) -> None:
        if amount_minor or vat_minor:
            place = Place(
                account=account, currency_code=currency_code or self._known.currency_code, seller_id=seller_id
            )
            self.sums.add(place, amount_minor, vat_minor=vat_minor)


def _in_proportion(minor: int, stands: int, whole: int) -> int:
    """Return so much of an amount as stands, rounded half up."""
    return (2 * minor * stands + whole) // (2 * whole) if whole else 0
