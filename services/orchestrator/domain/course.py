"""How a payment goes, beside its state: what its plan has to remember from one step to the next. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from services.orchestrator.domain.terms import Collection


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What has come of a payment so far. A field that is added has a default: it is stored as JSON."""

    collection: Collection | None = None
    """How the method is collected now, if another way than the terms say was taken since."""
    turn_time: datetime | None = None
    """When the payer's turn came back to them after a plan of ours; their time is counted from then."""
    charge_time: datetime | None = None
    """When a scheduled payment is charged next."""
    charge_tries: int = 0
    """Of the plan: how many charges were begun without the payer."""
    hold_expire_time: datetime | None = None
    """When what is held lapses at Stripe."""
    hold_warned: bool = False
    """An operator was told that the hold is about to lapse."""
    preserve_time: datetime | None = None
    """Until when the payer has asked to be waited for."""
    recovery_count: int = 0
    recovered_from: str = ""
