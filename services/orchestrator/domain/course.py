"""How a payment goes, beside its state: what its plan has to remember from one step to the next. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from services.orchestrator.domain.captures import Capture
from services.orchestrator.domain.terms import Collection


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What has come of a payment so far. A field that is added has a default: it is stored as JSON."""

    collection: Collection | None = None
    """How the method is collected now, if another way than the terms say was taken since."""
    submitted_by: str = ""
    """The submit that began last, by the id that is derived from it: where the payer's bank is, is of that one."""
    turn_time: datetime | None = None
    """When the payer's turn came back to them after a plan of ours; their time is counted from then."""
    charge_time: datetime | None = None
    """When a scheduled payment is charged next; while a try is under way, when after that. None after the last."""
    charge_wall_time: str = ""
    """What the clock in the seller's zone shows then, `HH:MM:SS`; further tries keep it."""
    charge_tries: int = 0
    """Of the plan: how many charges were begun without the payer."""
    first_try_time: datetime | None = None
    """When the first of them was begun; the days of the plan are counted from then."""
    declines_before: int = 0
    """How many declines were seen when the last of them was begun."""
    tried_for: str = ""
    """The request that wanted the last of them, by the id that is derived from it; empty where the plan did."""
    kept_method_id: str = ""
    """What they charge: the method that a setup kept."""
    hold_expire_time: datetime | None = None
    """When what is held lapses at Stripe."""
    hold_warned: bool = False
    """An operator was told that the hold is about to lapse."""
    can_capture_again: bool = False
    """A part of what is held may be captured, and more later."""
    came_late: bool = False
    """An operator took the attention off money that came after the payment had ended. It stays late money: what is held
    of it is captured by nobody else."""
    captures: tuple[Capture, ...] = ()
    """Those that were decided and have no answer yet, the oldest first."""
    preserve_time: datetime | None = None
    """Until when the payer has asked to be waited for."""
    preserve_reason: str = ""
    recovery_count: int = 0
    recovered_from: str = ""
    closed_attempt: int = 0
    """The last attempt that was closed after an earlier one was paid."""
    is_held_back: bool = False
    """A warning of fraud or a review is open, so nothing is charged or captured by itself."""
    fraud_warned: bool = False
    """The card's issuer warns of fraud, and a refund may still avert a dispute."""
    fraud_refunded: bool = False
    """What the policy gives back for that was given back, or refused for good."""
    surplus_minor: int = 0
    """What came on other attempts, as far as it was decided on."""
    quote_expire_time: datetime | None = None
    """Until when its quote stands; None before it is priced."""
    vat_minor: int = 0
    """The VAT on what is charged."""
    vat_rate: str = ""
    """In percent; several with commas between."""
    original_minor: int = 0
    """What would be charged without discounts and surcharges."""
    quote_count: int = 1
    """How many quotes it was given, one after another."""
    priced_by: str = ""
    """The request that had it priced anew last."""
    priced_time: datetime | None = None
    """When that was: what was submitted before then was for another price."""
    total_before_minor: int = 0
    """What it cost before that."""

    def capture(self, request_id: str) -> Capture | None:
        """Return the capture that was decided for a request, if there is one without an answer."""
        return next((one for one in self.captures if one.request_id == request_id), None)

    def with_hold(self, expire_time: datetime | None, *, can_capture_again: bool) -> Course:
        """Return how it goes once it was seen how long the hold lasts; of a hold that lasts longer nobody was told."""
        is_longer = expire_time is not None and (self.hold_expire_time is None or expire_time > self.hold_expire_time)
        return replace(
            self,
            hold_expire_time=expire_time,
            can_capture_again=can_capture_again,
            hold_warned=self.hold_warned and not is_longer,
        )

    def with_capture(self, capture: Capture) -> Course:
        """Return how it goes once a capture was decided, or something is known of it."""
        others = tuple(one for one in self.captures if one.request_id != capture.request_id)
        return replace(self, captures=(*others, capture))

    def without_capture(self, request_id: str) -> Course:
        """Return how it goes once a capture has its answer."""
        return replace(self, captures=tuple(one for one in self.captures if one.request_id != request_id))
