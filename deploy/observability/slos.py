"""The objectives, each over 30 days, and the alerts on how fast their budgets burn.

An objective allows a share of bad events, its *budget*. A burn rate of 1 spends the budget in exactly 30 days. Two
windows have to agree: the long one says that it matters, the short one that it still goes on (Site Reliability
Workbook, chapter 5).
What has no share (an unknown outcome, a database that is away) is an alert of its own in `alerts/`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from deploy.observability.rule import Alert, Group, Recording, Severity

WINDOWS: Final = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
BAD_AT_LEAST: Final = 3
"""Bad events in the long window. Among few calls one alone burns the budget of a day; it wakes nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """A share of events that has to be good."""

    name: str
    goal: float
    means: str
    bad: str
    """Rate of bad events, over `[window]`."""
    every: str
    """Rate of all events, over `[window]`."""

    @property
    def budget(self) -> str:
        """The share that may be bad."""
        return f"{1 - self.goal:.6f}".rstrip("0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Burn:
    """Two windows, and how many times too fast the budget may burn in both."""

    long: str
    short: str
    rate: float


CALLS: Final = (
    'batzen_rpc_requests_total{job="orchestrator",method=~"OrchestratorService/(StartPayment|SubmitPayment)"%s}[window]'
)
BAD_CODES: Final = ',code=~"UNAVAILABLE|INTERNAL|UNKNOWN|DATA_LOSS"'
"""Failures of the suite's own. A deadline is the caller's choice, and every other code an answer."""


def _beyond(metric: str, le: str) -> tuple[str, str]:
    every = f"sum(rate({metric}_count[window]))"
    return f'{every} - sum(rate({metric}_bucket{{le="{le}"}}[window]))', every


_webhook_bad, _webhook_every = _beyond("batzen_webhook_to_status_seconds", "30.0")
_watch_bad, _watch_every = _beyond("batzen_watch_lag_seconds", "1.0")

OBJECTIVES: Final = (
    Objective(
        name="payment-calls",
        goal=0.999,
        means="StartPayment and SubmitPayment are answered, not UNAVAILABLE and not by a fault of ours",
        bad=f"sum(rate({CALLS % BAD_CODES}))",
        every=f"sum(rate({CALLS % ''}))",
    ),
    Objective(
        name="webhook-to-status",
        goal=0.99,
        means="A webhook's transition is in status, and with its streams, within 30 s of its arrival",
        bad=_webhook_bad,
        every=_webhook_every,
    ),
    Objective(
        name="watch-lag",
        goal=0.99,
        means="A transition is sent to a stream within 1 s of its commit",
        bad=_watch_bad,
        every=_watch_every,
    ),
)
FAST: Final = (Burn(long="1h", short="5m", rate=14.4), Burn(long="6h", short="30m", rate=6))
"""2 % of the budget in an hour, or 5 % in six: somebody is woken."""
SLOW: Final = (Burn(long="1d", short="2h", rate=3), Burn(long="3d", short="6h", rate=1))
"""10 % of the budget in a day, or in three: somebody looks."""


def burn_rate(window: str) -> str:
    """Return the name of the burn rates over a window."""
    return f"batzen:slo_burn_rate:{window}"


def bad_events(window: str) -> str:
    """Return the name of the numbers of bad events in a window."""
    return f"batzen:slo_bad_events:{window}"


def _over(expr: str, window: str) -> str:
    return expr.replace("[window]", f"[{window}]")


def _recordings(window: str) -> list[Recording]:
    made = []
    for objective in OBJECTIVES:
        bad = _over(objective.bad, window)
        ratio = f"({bad})\n  / ({_over(objective.every, window)} > 0)\n  / {objective.budget}"
        made.append(Recording(record=burn_rate(window), expr=ratio, labels={"slo": objective.name}))
    return made


def _counts(window: str) -> list[Recording]:
    made = []
    for objective in OBJECTIVES:
        bad = _over(objective.bad, window).replace("rate(", "increase(")
        made.append(Recording(record=bad_events(window), expr=bad, labels={"slo": objective.name}))
    return made


def _burning(burns: Sequence[Burn]) -> str:
    return "\nor\n".join(
        f"({burn_rate(burn.long)} > {burn.rate:g}\n  and {burn_rate(burn.short)} > {burn.rate:g}"
        f"\n  and {bad_events(burn.long)} >= {BAD_AT_LEAST})"
        for burn in burns
    )


GROUPS: Final = (
    Group(
        name="batzen-slo-burn-rates",
        rules=[
            *(recording for window in WINDOWS for recording in _recordings(window)),
            *(recording for burn in (*FAST, *SLOW) for recording in _counts(burn.long)),
        ],
    ),
    Group(
        name="batzen-slo",
        rules=[
            Alert(
                name="BatzenBudgetBurnsFast",
                severity=Severity.PAGE,
                expr=_burning(FAST),
                lasting="2m",
                summary='{{ $labels.slo }}: the month\'s budget burns {{ $value | printf "%.0f" }} times too fast',
            ),
            Alert(
                name="BatzenBudgetBurnsSlowly",
                severity=Severity.TICKET,
                expr=_burning(SLOW),
                lasting="1h",
                summary='{{ $labels.slo }}: the budget burns {{ $value | printf "%.1f" }} times too fast for days',
            ),
        ],
    ),
)
