"""What an unfinished payment is picked up from, and how: one table, which the code runs on and the docs print. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from services.orchestrator.domain.payment import SESSION_COMPLETE, SESSION_EXPIRED, Snapshot
from services.orchestrator.domain.policies import PRESERVE_MAX, PRESERVE_WINDOW
from services.shared.states import State


class Interruption(StrEnum):
    """What came between a payer and their payment."""

    PRESERVED = "PRESERVED"
    """They asked to be waited for."""
    PRICE_CHANGED = "PRICE_CHANGED"
    """The quote did not stand any more, and another one says something else."""
    SESSION_EXPIRED = "SESSION_EXPIRED"
    """Their hosted page ended by itself."""
    DECLINED = "DECLINED"
    """Their method was declined, or the money of one did not come."""
    AUTHENTICATION = "AUTHENTICATION"
    """Their bank asked for them."""
    ABSENCE = "ABSENCE"
    """They went away, with nothing else known."""
    CONNECTION = "CONNECTION"
    """A caller lost its connection to us."""
    STATE_MISMATCH = "STATE_MISMATCH"
    """Status is at another revision than the plan."""
    OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"
    """Stripe does not say what became of a call."""


class Spacing(StrEnum):
    """How tries follow each other."""

    NONE = "none"
    LINEAR = "linear"
    EXPONENTIAL = "exponential"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """How something is recovered from."""

    tries: int | None
    """How often it is tried by itself; None until it is settled, 0 where the payer has to come."""
    spacing: Spacing
    then: str
    """What follows, in words."""
    window: timedelta = timedelta(0)
    """For how long its payer is waited for beside, unless they say otherwise."""
    window_max: timedelta = timedelta(0)


_TIMES: Final = {0: "no", 1: "once"}
_PAYER: Final = "ResumePayment: the same attempt where it is open and its price stands, else a fresh one"
RECOVERIES: Final[Mapping[Interruption, Recovery]] = {
    Interruption.CONNECTION: Recovery(
        tries=3, spacing=Spacing.EXPONENTIAL, then="the caller is told, and sends the same request again"
    ),
    Interruption.STATE_MISMATCH: Recovery(
        tries=2, spacing=Spacing.LINEAR, then="the plan goes on from what status holds and the gateway has seen"
    ),
    Interruption.DECLINED: Recovery(
        tries=1, spacing=Spacing.NONE, then="the payer's turn again, with this or another method"
    ),
    Interruption.PRESERVED: Recovery(
        tries=0, spacing=Spacing.NONE, then=_PAYER, window=PRESERVE_WINDOW, window_max=PRESERVE_MAX
    ),
    Interruption.SESSION_EXPIRED: Recovery(tries=0, spacing=Spacing.NONE, then=_PAYER),
    Interruption.AUTHENTICATION: Recovery(tries=0, spacing=Spacing.NONE, then=_PAYER),
    Interruption.ABSENCE: Recovery(tries=0, spacing=Spacing.NONE, then=_PAYER),
    Interruption.PRICE_CHANGED: Recovery(
        tries=0, spacing=Spacing.NONE, then="a fresh attempt at the new price, which its payer has to submit"
    ),
    Interruption.OUTCOME_UNKNOWN: Recovery(
        tries=None, spacing=Spacing.EXPONENTIAL, then="what Stripe says is applied; nothing is concluded before"
    ),
}


def interruption(latest: Snapshot, *, is_preserved: bool) -> Interruption:
    """Return what a payment that waits for its payer is picked up from."""
    if is_preserved:
        return Interruption.PRESERVED
    if latest.reason in (SESSION_EXPIRED, SESSION_COMPLETE):
        return Interruption.SESSION_EXPIRED if latest.reason == SESSION_EXPIRED else Interruption.DECLINED
    if latest.last_error is not None:
        return Interruption.DECLINED
    return Interruption.AUTHENTICATION if latest.collection is State.REQUIRES_ACTION else Interruption.ABSENCE


def table() -> str:
    """Return the policies as Markdown."""
    lines = ["| interruption | tried by itself | for how long | then |", "| --- | --- | --- | --- |"]
    for name, one in RECOVERIES.items():
        tries = "until it is settled" if one.tries is None else _TIMES.get(one.tries, f"{one.tries} times")
        spacing = "" if one.spacing is Spacing.NONE else f", {one.spacing}"
        window = f"{_span(one.window)}, at most {_span(one.window_max)}" if one.window else "–"
        lines.append(f"| `{name}` | {tries}{spacing} | {window} | {one.then} |")
    return "\n".join(lines) + "\n"


def _span(span: timedelta) -> str:
    minutes = int(span.total_seconds() // 60)
    return f"{minutes // 60} h" if minutes >= 60 else f"{minutes} min"
