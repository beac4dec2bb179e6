"""What an operator may decide of a payment, and which of that fits how it stands. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from services.orchestrator.domain.plan import Plan
from services.orchestrator.domain.transitions import UNTIL_RESOLVED
from services.shared.states import AttentionReason, State


class Resolution(StrEnum):
    """What may be decided."""

    SETTLE_AS_SEEN = "SETTLE_AS_SEEN"
    """It is read anew at Stripe, and settled as it is seen there."""
    CANCEL = "CANCEL"
    REFUND_SURPLUS = "REFUND_SURPLUS"
    """What other attempts took goes back."""
    GIVE_UP_TRANSITIONS = "GIVE_UP_TRANSITIONS"
    """What status refused for good is given up."""
    CLEAR_ATTENTION = "CLEAR_ATTENTION"
    TRY_NOW = "TRY_NOW"
    """What is to be done on it is tried at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What an operator decided."""

    resolution: Resolution
    actor_id: str
    expected: State | None = None
    """Where the collection is to stand after that; None: wherever Stripe and the books say."""
    reasons: frozenset[str] = frozenset()
    """Which attention is taken off; empty: all that may be, where any is."""
    clear_attention: bool = False
    expected_surplus_minor: int = 0
    """What goes back of other attempts, as the operator saw it."""
    expected_surplus_currency: str = ""
    """The currency of that."""


CLEARABLE: Final = UNTIL_RESOLVED - {AttentionReason.TRANSITION_REFUSED}
"""Attention that an operator takes off by saying so. What is seen at Stripe would come back with the next observation,
`STUCK` goes when it moves, and `TRANSITION_REFUSED` with what was refused."""

READS_STRIPE: Final = frozenset({Resolution.SETTLE_AS_SEEN, Resolution.CANCEL, Resolution.TRY_NOW})
"""After these the collection may stand elsewhere than before."""


def fitting(plan: Plan) -> tuple[Resolution, ...]:
    """Return what fits, in the order of the enum."""
    return tuple(one for one in Resolution if fits(plan, one))


def fits(plan: Plan, resolution: Resolution, *, reasons: Iterable[str] = ()) -> bool:
    """Whether something may be decided of a payment; of CLEAR_ATTENTION, for each of `reasons` if there are any."""
    latest = plan.latest_snapshot
    match resolution:
        case Resolution.SETTLE_AS_SEEN:
            return plan.has_intent
        case Resolution.CANCEL:
            return latest.is_cancelable
        case Resolution.REFUND_SURPLUS:
            return latest.amounts.surplus_minor > 0
        case Resolution.GIVE_UP_TRANSITIONS:
            return latest.needs(AttentionReason.TRANSITION_REFUSED)
        case Resolution.CLEAR_ATTENTION:
            wanted = set(reasons)
            there = clearable(plan)
            return bool(there) and wanted <= there
        case Resolution.TRY_NOW:
            return True


def clearable(plan: Plan) -> frozenset[str]:
    """Return the reasons for attention that an operator may take off."""
    return frozenset(one.reason for one in plan.latest_snapshot.attentions if one.reason in CLEARABLE)
