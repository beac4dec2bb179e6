"""What is captured of a hold: decided once, kept until it is answered, and asked for exactly so. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Capture:
    """One capture that was decided, in minor units of the payment's currency."""

    request_id: str
    """Under which the gateway is asked; derived from the caller's request, or from the step of the plan."""
    amount_minor: int
    fee_minor: int
    """What the platform keeps of it."""
    is_final: bool
    """What is left of the hold is released."""
    is_of_plan: bool = False
    """A step of the plan decided it, and no caller waits for its answer."""
    is_settled: bool = False
    """What came of it is known, and in the plan."""
    refusal: Mapping[str, object] | None = None
    """Why it will never be made, as `services.shared.refusals` keeps it; None of one that was made."""
