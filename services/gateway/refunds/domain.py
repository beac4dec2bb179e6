"""Rules of refunds: where one stands, and what a payer was promised back and did not get. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from services.shared.split import LineAmount


class RefundState(StrEnum):
    """Where a refund stands."""

    PENDING = "PENDING"
    REQUIRES_ACTION = "REQUIRES_ACTION"
    """The payer has to do something to get it, of which Stripe tells them."""
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"


class Bearer(StrEnum):
    """At whose cost a refund is."""

    SHARED = "SHARED"
    """Seller and platform give back what they had of it."""
    SELLER = "SELLER"
    """The seller gives back all of it; the platform keeps its fee."""
    PLATFORM = "PLATFORM"
    """The platform gives all of it; the seller keeps its part."""


UNDECIDED: Final = frozenset({RefundState.PENDING, RefundState.REQUIRES_ACTION})
"""The payer does not have the money yet."""
ON_ITS_WAY: Final = UNDECIDED | {RefundState.SUCCEEDED}
"""The payer has the money, or will have it unless something goes wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refund:
    """Money on its way back."""

    refund_id: str
    attempt: int
    amount_minor: int
    create_time: datetime
    state: RefundState = RefundState.PENDING
    stripe_refund_id: str = ""
    failure_reason: str = ""
    actor_id: str = ""
    """Who decided; empty for one that was made at Stripe's dashboard."""
    reason: str = ""
    """Why, in Stripe's word; empty where nobody said."""
    bearer: Bearer = Bearer.SHARED
    parts: tuple[LineAmount, ...] = ()
    """What of it falls to each line; what was taken beyond the total falls to none."""
    fail_time: datetime | None = None
    """When it was first seen that the payer does not get it; None also until that is kept."""

    @property
    def is_decided(self) -> bool:
        """Whether somebody decided here what is given back, and of which lines; of the dashboard's nobody did."""
        return self.actor_id != ""

    @property
    def is_returned(self) -> bool:
        """Whether Stripe took it and the payer does not get it; one that was refused was never promised."""
        return self.state not in ON_ITS_WAY and self.stripe_refund_id != ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundFacts:
    """One refund as Stripe showed it, in ISO minor units."""

    stripe_refund_id: str
    refund_id: str
    """Ours, as its metadata claims; empty for one that was made at Stripe's dashboard."""
    state: RefundState
    amount_minor: int
    failure_reason: str
    reason: str
    create_time: datetime
    actor_id: str = ""
    """Who decided, as its metadata says, as also the next two; empty for one that we did not make."""
    bearer: Bearer = Bearer.SHARED
    parts: tuple[LineAmount, ...] = ()


def given_back_minor(refunds: Iterable[Refund], attempt: int) -> int:
    """Return what a payer got back of an attempt."""
    return sum(one.amount_minor for one in refunds if one.attempt == attempt and one.state == RefundState.SUCCEEDED)


def undecided_minor(refunds: Iterable[Refund], attempt: int) -> int:
    """Return what of an attempt is on its way back to its payer, who does not have it yet."""
    return sum(one.amount_minor for one in refunds if one.attempt == attempt and one.state in UNDECIDED)


def owed_minor(refunds: Sequence[Refund]) -> int:
    """Return what a payer was promised back and did not get: of refunds that failed after Stripe took them.

    A refund that was made after one was seen to have failed counts as its replacement, as far as it goes. One that was
    made before was meant for something else.
    """
    replacements = {one.refund_id: one.amount_minor for one in refunds if one.state in ON_ITS_WAY}
    owed = 0
    for failed in sorted((one for one in refunds if one.is_returned), key=lambda one: (one.create_time, one.refund_id)):
        missing = failed.amount_minor
        for later in refunds:
            if missing and later.refund_id in replacements and _is_after(later, failed):
                used = min(missing, replacements[later.refund_id])
                replacements[later.refund_id] -= used
                missing -= used
        owed += missing
    return owed


def _is_after(later: Refund, failed: Refund) -> bool:
    """Whether a refund was made after another was seen to have failed; Stripe counts whole seconds."""
    return failed.fail_time is not None and later.create_time >= failed.fail_time.replace(microsecond=0)
