"""What a caller asked for with a start, beside what is priced. Only what its payer may choose changes. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from services.orchestrator.domain.money_policy import MoneyPolicy

DEFAULT_ZONE: Final = "Europe/Zurich"


class Timing(StrEnum):
    """When the money is taken."""

    IMMEDIATE = "IMMEDIATE"
    MANUAL_CAPTURE = "MANUAL_CAPTURE"
    SCHEDULED = "SCHEDULED"


class Collection(StrEnum):
    """How the payer's method is collected."""

    CHECKOUT = "CHECKOUT"
    ELEMENTS = "ELEMENTS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The terms of one payment. A field that is added has a default: it is stored as JSON."""

    timing: Timing = Timing.IMMEDIATE
    """As the start asked, or as the payer has chosen since."""
    timings_offered: tuple[Timing, ...] = ()
    """What the payer may choose among, in the order in which it is shown; empty where they have no choice."""
    timing_time: datetime | None = None
    """When the payer chose last: what was submitted before then was for another timing. None of what they did not."""
    timing_asked_time: datetime | None = None
    """When the last choice was asked for, also one of the timing that the payment had: what was asked for before it,
    and is carried on after it, is no choice any more."""
    timing_attempt: int = 0
    """From which attempt on they are known to be of the timing that was chosen."""
    collection: Collection = Collection.ELEMENTS
    """As the start asked for it; `Course.collection` is how it is now."""
    cancel_url: str = ""
    locale: str = ""
    time_zone: str = DEFAULT_ZONE
    """Of the seller: the plan of tries keeps its local time."""
    charge_time: datetime | None = None
    """When a scheduled payment was to be charged, as the start asked; `Course.charge_time` is when it is now. Also of
    a payment that is not scheduled, and may become so."""
    charge_local_time: str = ""
    """The same by the clock of `time_zone`, where it was asked for so."""
    capture_time: datetime | None = None
    """When the rest of a hold is captured by itself."""
    release_before_lapse: bool = False
    """A hold is released before it would lapse."""
    keep_method: bool = False
    """The method that pays is kept for later charges."""
    policy: MoneyPolicy = field(default_factory=MoneyPolicy)
    """As it held at the start."""
    checkout_type: str = ""
    cart_line_ids: tuple[str, ...] = ()
    checkout_description: str = ""
    import_record_id: str = ""
    """Of the record in a system before this one that it was imported from; empty of one that was started here."""
    checkout_expires_after_s: int | None = None
    """None for Stripe's own limit."""

    @property
    def checkout_expires_after(self) -> timedelta | None:
        """After how long a hosted page ends by itself."""
        return None if self.checkout_expires_after_s is None else timedelta(seconds=self.checkout_expires_after_s)
