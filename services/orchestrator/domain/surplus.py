"""What is done about money, or a page, of an attempt that does not count: it is given back, and closed. Pure."""

from __future__ import annotations

from dataclasses import replace
from enum import StrEnum

from services.orchestrator.domain.course import Course
from services.orchestrator.domain.payment import TAKEN
from services.orchestrator.domain.plan import Plan


class SurplusRefund(StrEnum):
    """How money that came on another attempt goes back; it is booked, and has an operator's attention, either way."""

    AT_ONCE = "at_once"
    """By itself."""
    PERSON = "person"
    """A person looks at it first."""


def leaves_attempt_open(plan: Plan) -> bool:
    """Whether an earlier attempt took or holds the money, and the one that came after it may still be paid."""
    latest = plan.latest_snapshot
    return (
        latest.collection in TAKEN and 0 < latest.attempt < plan.attempt and plan.course.closed_attempt < plan.attempt
    )


def has_more(plan: Plan) -> bool:
    """Whether more came on other attempts than was decided on."""
    return plan.latest_snapshot.amounts.surplus_minor > plan.course.surplus_minor


def is_due(plan: Plan) -> bool:
    """Whether something is to be done about another attempt."""
    return leaves_attempt_open(plan) or has_more(plan)


def with_surplus(course: Course, surplus_minor: int) -> Course:
    """Return how it goes once so much is left of what came on other attempts: what was given back is forgotten."""
    return replace(course, surplus_minor=min(course.surplus_minor, surplus_minor))
