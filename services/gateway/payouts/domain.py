"""Money on its way to a bank account, and which of two sights of it is the later. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

STATES: Final[Mapping[str, int]] = {"pending": 0, "in_transit": 1, "paid": 2, "canceled": 3, "failed": 3}
"""Stripe's, by how far they are: one that was paid may still come back, and nothing follows the last two."""
UNKNOWN_STATE: Final = 1
"""How far a state is that Stripe invents: between the beginning and the end."""
RECONCILED: Final[Mapping[str, int]] = {"not_applicable": 0, "in_progress": 1, "completed": 2}
FAILED: Final = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Payout:
    """A payout, as last known."""

    payout_id: str
    seller_id: str
    """Empty for the platform's own."""
    stripe_account_id: str
    """The seller's; empty for the platform's own."""
    amount_minor: int
    """Below zero where the bank account is charged for a negative balance."""
    currency_code: str
    state: str
    arrival_time: datetime
    create_time: datetime
    failure_code: str
    automatic: bool
    reconciliation_status: str
    shown_time: datetime
    """By Stripe's clock, in whole seconds: when its state was so."""


def later(one: Payout, other: Payout) -> Payout:
    """Return what two sights of a payout say together: the same whichever was seen first, and however often.

    The state that is further counts, of two that are as far the one that was shown later. So an event that comes late
    takes nothing back, though events are dated in whole seconds.
    """
    latest = max(one, other, key=_place)
    reconciled = max(one.reconciliation_status, other.reconciliation_status, key=_reconciled)
    return replace(latest, reconciliation_status=reconciled)


def table() -> str:
    """Return the states by how far they are, as Markdown."""
    steps = sorted(set(STATES.values()))
    lines = ["| how far | state |", "| --- | --- |"]
    lines += [
        f"| {step + 1} | {' or '.join(f'`{name}`' for name in STATES if STATES[name] == step)} |" for step in steps
    ]
    return "\n".join(lines) + "\n"


def _place(sight: Payout) -> tuple[int, datetime, str, datetime, str]:
    far = STATES.get(sight.state, UNKNOWN_STATE)
    return far, sight.shown_time, sight.state, sight.arrival_time, sight.failure_code


def _reconciled(status: str) -> tuple[int, str]:
    return RECONCILED.get(status, 0), status
