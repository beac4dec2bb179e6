"""Which payments are meant. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
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
    opened_from: datetime | None = None
    opened_before: datetime | None = None
    currency_code: str = ""
    total_min_minor: int | None = None
    total_max_minor: int | None = None
    attention_only: bool = False
    """Only what needs an operator."""
    attention_reasons: tuple[str, ...] = ()
    """For one of these; empty means any, or none."""
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
            and (not self.currency_code or opening.currency_code == self.currency_code)
            and (self.opened_from is None or payment.open_time >= self.opened_from)
            and (self.opened_before is None or payment.open_time < self.opened_before)
            and (not self.own_as or payment.belongs_to(self.own_of, roles=self.own_as))
        )

    def admits(self, snapshot: Snapshot, *, opened_minor: int) -> bool:
        """Whether what transitions change matches, of a payment that was opened with a total."""
        return (
            (not self.states or state_of(snapshot) in self.states)
            and not (self.unsettled_only and is_settled(snapshot))
            and self._takes_total(opened_minor if snapshot.total_minor is None else snapshot.total_minor)
            and self._takes_attentions({one.reason for one in snapshot.attentions})
        )

    def relation(self, *, before: Snapshot | None, now: Snapshot, opened_minor: int) -> Relation | None:
        """Return how a payment that is covered relates to the filter by a transition; None: not at all."""
        was_inside = before is not None and self.admits(before, opened_minor=opened_minor)
        if self.admits(now, opened_minor=opened_minor):
            return Relation.INSIDE if was_inside else Relation.ENTERED
        return Relation.LEFT if was_inside else None

    def _takes_total(self, total_minor: int) -> bool:
        is_enough = self.total_min_minor is None or total_minor >= self.total_min_minor
        return is_enough and (self.total_max_minor is None or total_minor <= self.total_max_minor)

    def _takes_attentions(self, reasons: set[str]) -> bool:
        if self.attention_reasons:
            return not reasons.isdisjoint(self.attention_reasons)
        return bool(reasons) or not self.attention_only
