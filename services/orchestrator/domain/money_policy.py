"""What a tenant decides by: when sellers are paid, what disputes and warnings of fraud mean, what goes back. Pure.

A payment keeps the policy of its start: who bought by it is refunded by it, and a seller who sold by it is paid by it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from services.orchestrator.domain.refund import LineStanding

HOURS_MAX: Final = 8_760
"""Of any term: a year, as long as anything is planned ahead."""


class DisputeRecovery(StrEnum):
    """When a seller gives back its part of what a dispute takes."""

    NONE = "NONE"
    AT_WITHDRAWAL = "AT_WITHDRAWAL"
    AT_LOSS = "AT_LOSS"


class FraudWarning(StrEnum):
    """What is done when the card's issuer warns of fraud."""

    ATTEND = "ATTEND"
    """A person decides."""
    REFUND = "REFUND"
    """All that is refundable goes back, once, before it is disputed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundPolicy:
    """What of a line goes back: all of it until some hours before its service, then a percentage, then nothing."""

    full_until_h: int | None = None
    """None: all of it, always."""
    percent: int = 0
    percent_until_h: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MoneyPolicy:
    """The policy of one tenant, or of one type of its sessions. What is not said is as without any policy."""

    pay_after_service_h: int | None = None
    """So many hours after the last service of the payment its sellers are paid; None: once it is captured."""
    dispute_recovery: DisputeRecovery = DisputeRecovery.NONE
    nets_receivables: bool = False
    """What a seller owes is kept back from its transfers."""
    fraud_warning: FraudWarning = FraudWarning.ATTEND
    refund: RefundPolicy = RefundPolicy()

    def pay_time(self, ends: Mapping[str, datetime | None]) -> datetime | None:
        """Return when sellers are paid, by when the service of each line is over; None for once it is captured."""
        known = [end for end in ends.values() if end is not None]
        if self.pay_after_service_h is None or not known:
            return None
        return max(known) + timedelta(hours=self.pay_after_service_h)


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRecord:
    """A policy as it was put."""

    session_type: str
    """Empty: of all that have none of their own."""
    policy: MoneyPolicy
    actor_id: str
    reason: str
    create_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """What a policy gives back now."""

    of_lines: Mapping[str, int]
    """By line, in minor units; lines of which nothing goes back are left out."""
    until: datetime | None
    """Until when it says the same; None for ever."""

    @property
    def amount_minor(self) -> int:
        """Of all lines."""
        return sum(self.of_lines.values())


def allowed(
    policy: RefundPolicy,
    lines: Mapping[str, LineStanding],
    begins: Mapping[str, datetime | None],
    now: datetime,
    *,
    step_minor: int = 1,
) -> Allowed:
    """Return what goes back of each line now, by when its service begins.

    It is counted against what went back before. A percentage is rounded half up. A line without a service date is
    given back whole.
    """
    of_lines, untils = {}, []
    for line_id, line in lines.items():
        percent, until = _percent(policy, begins.get(line_id), now)
        steps = (line.captured_minor // step_minor * percent * 2 + 100) // 200
        gone_minor = line.captured_minor - line.refundable_minor
        minor = min(line.refundable_minor, steps * step_minor - gone_minor)
        if minor > 0:
            of_lines[line_id] = minor
        if until is not None:
            untils.append(until)
    return Allowed(of_lines=of_lines, until=min(untils, default=None))


def fitting_minor(said: Allowed, left: Mapping[str, int], *, step_minor: int = 1) -> int:
    """Return the most that goes back in proportion to what is left of lines, and of none more than the policy gives.

    A step more or less of a line is what rounding makes.
    """
    whole = sum(left.values())
    most = (
        (said.of_lines.get(line_id, 0) + (step_minor if line_id in said.of_lines else 0)) * whole // minor
        for line_id, minor in left.items()
        if minor
    )
    return min((said.amount_minor, *most))


def _percent(policy: RefundPolicy, begin: datetime | None, now: datetime) -> tuple[int, datetime | None]:
    """Return the percentage of a line that goes back now, and until when."""
    if policy.full_until_h is None or begin is None:
        return 100, None
    full_until = begin - timedelta(hours=policy.full_until_h)
    if now < full_until:
        return 100, full_until
    percent_until = begin - timedelta(hours=policy.percent_until_h)
    if now < percent_until and policy.percent:
        return policy.percent, percent_until
    return 0, None
