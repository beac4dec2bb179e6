"""Rules of refunds: where one stands, and what a payer was promised back and did not get. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from services.shared.split import LineAmount


class RefundState(StrEnum):
    """Where a refund stands."""

    PENDING = "PENDING"
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


ON_ITS_WAY: Final = frozenset({RefundState.PENDING, RefundState.SUCCEEDED})
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
    bearer: Bearer = Bearer.SHARED
    parts: tuple[LineAmount, ...] = ()
    """What of it falls to each line; what was taken beyond the total falls to none."""
    fail_time: datetime | None = None
    """When it was first seen that the payer does not get it; None also until that is kept."""

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
    create_time: datetime


def refunded_minor(refunds: Sequence[Refund], attempt: int, state: RefundState) -> int:
    """Return what refunds of an attempt in one state come to."""
    return sum(one.amount_minor for one in refunds if one.attempt == attempt and one.state == state)


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
