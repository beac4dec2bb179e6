"""Which payments are meant. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from services.shared.states import State
from services.status.domain.records import Payment
from services.status.domain.snapshot import Snapshot, is_settled, state_of


class Relation(StrEnum):
    """How a payment relates to a filter by a transition."""

    ENTERED = "ENTERED"
    INSIDE = "INSIDE"
    LEFT = "LEFT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which payments to list; what is set has to match, all of it."""

    tenant_id: str
    payer_id: str = ""
    seller_id: str = ""
    booking_id: str = ""
    client_reference: str = ""
    states: tuple[State, ...] = ()
    """One of these; empty means any."""
    unsettled_only: bool = False
    own_of: str = ""
    """Only what is this subject's own, in one of the roles `own_as`; empty means anyone's."""
    own_as: tuple[str, ...] = ()

    def covers(self, payment: Payment) -> bool:
        """Whether what no transition changes of a payment matches: whose it is, and what it is for."""
        opening = payment.opening
        return (
            (not self.payer_id or opening.payer_id == self.payer_id)
            and (not self.seller_id or self.seller_id in opening.seller_ids)
            and (not self.booking_id or self.booking_id in opening.booking_ids)
            and (not self.client_reference or opening.client_reference == self.client_reference)
            and (not self.own_as or payment.belongs_to(self.own_of, roles=self.own_as))
        )

    def admits(self, snapshot: Snapshot) -> bool:
        """Whether what transitions change matches."""
        return (not self.states or state_of(snapshot) in self.states) and not (
            self.unsettled_only and is_settled(snapshot)
        )

    def relation(self, *, before: Snapshot | None, now: Snapshot) -> Relation | None:
        """Return how a payment that is covered relates to the filter by a transition; None: not at all."""
        was_inside = before is not None and self.admits(before)
        if self.admits(now):
            return Relation.INSIDE if was_inside else Relation.ENTERED
        return Relation.LEFT if was_inside else None
