"""Which mails are not true any more by what was heard of their payment since. Pure.

A mail may leave days after its fact: its server was away, or an operator has one tried again that was given up. What
tells of an event stays true. What says how a payment stands, or what comes next, is looked at again before it leaves;
what came instead has a mail of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from services.orchestrator.facts.domain import FactKind
from services.orchestrator.facts.rules import PAYERS_TURN, Seen
from services.shared.states import State

Values = Mapping[str, str]
Rule = Callable[[Values, Seen], bool]


def is_outdated(kind: FactKind, values: Values, seen: Seen | None, *, now: datetime) -> bool:
    """Whether what a mail says is not so any more; `seen` is what was heard of its payment last, None where nothing."""
    if kind in PLANS and (charge_time := _charge_time(values)) is not None and charge_time <= now:
        return True
    rule = RULES.get(kind)
    return rule is not None and seen is not None and not rule(values, seen)


def _charge_time(values: Values) -> datetime | None:
    said = values.get("charge_time", "")
    return datetime.fromisoformat(said) if said else None


def _is_planned(values: Values, seen: Seen) -> bool:
    is_scheduled = seen.collection == State.SCHEDULED and not seen.captured_minor
    return is_scheduled and seen.charge_time == _charge_time(values)


def _is_unpaid(values: Values, seen: Seen) -> bool:
    if values.get("is_final") == "false":
        return _is_planned(values, seen)
    return seen.collection == State.FAILED and not seen.captured_minor


def _is_over(_: Values, seen: Seen) -> bool:
    return seen.collection == State.EXPIRED and not seen.captured_minor


def _waits_for_payer(_: Values, seen: Seen) -> bool:
    return seen.collection in PAYERS_TURN and not seen.captured_minor


def _stands(values: Values, seen: Seen) -> bool:
    """Whether what had gone back by then has not come back: REFUND_FAILED tells of that."""
    return seen.refunded_minor >= int(values.get("refunded_minor", "0"))


def _needs_somebody(values: Values, seen: Seen) -> bool:
    return values.get("reason", "") in seen.attentions


PLANS: Final = frozenset({FactKind.CHARGE_UPCOMING, FactKind.PAYMENT_SCHEDULED, FactKind.PAYMENT_FAILED})
"""They name the time of a charge that is ahead, where there is one."""
RULES: Final[Mapping[FactKind, Rule]] = {
    FactKind.CHARGE_UPCOMING: _is_planned,
    FactKind.PAYMENT_SCHEDULED: _is_planned,
    FactKind.PAYMENT_FAILED: _is_unpaid,
    FactKind.PAYMENT_EXPIRED: _is_over,
    FactKind.ACTION_REQUIRED: _waits_for_payer,
    FactKind.PAYMENT_REFUNDED: _stands,
    FactKind.ATTENTION_RAISED: _needs_somebody,
}
"""Of each kind that says more than that something happened: whether that is still so."""
