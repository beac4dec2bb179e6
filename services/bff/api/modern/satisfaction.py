"""`/v1/satisfaction`: how paying was, as payers say, by day. For whoever runs the platform; no payer is named."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Final, TypeAlias

from fastapi import APIRouter, Query

from services.bff.api.modern import models
from services.bff.api.who import Staff
from services.bff.checkout.satisfaction import answers_by_day
from services.web.failures import Refusal
from services.web.front import Front

PATH: Final = "/v1/satisfaction"
DAYS_MAX: Final = 400
"""A year, and a month before it to compare with."""
FIRST: Final = date(2000, 1, 1)
LAST: Final = date(2999, 12, 31)
"""Within these a day has a beginning and an end in every zone."""
_FORM: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"

From: TypeAlias = Annotated[
    str, Query(alias="from", pattern=_FORM, description="The first day, `YYYY-MM-DD`.", examples=["2026-11-01"])
]
To: TypeAlias = Annotated[
    str,
    Query(
        alias="to",
        pattern=_FORM,
        description=f"The last day; the span has at most {DAYS_MAX} days.",
        examples=["2026-11-30"],
    ),
]


class SatisfactionResources:
    """The handler of the answers."""

    def __init__(self, front: Front) -> None:
        self._front = front

    def add_to(self, router: APIRouter) -> None:
        """Add the route."""
        router.add_api_route("/satisfaction", self.get_satisfaction, methods=["GET"])

    async def get_satisfaction(self, staff: Staff, first: From, last: To) -> models.Satisfaction:
        """Count the answers of the caller's tenant by day of Europe/Zurich. For a service or an operator."""
        begin, end = _day(first, "from"), _day(last, "to")
        if not 0 <= (end - begin).days < DAYS_MAX:
            explanation = f"must be at most {DAYS_MAX - 1} days after `from`, and not before it"
            raise Refusal(400, "FIELD_INVALID", field="to", explanation=explanation)
        found = await answers_by_day(self._front.held, staff.tenant_id, begin, end)
        return models.Satisfaction(
            days=[
                models.SatisfactionDay(day=one.day, answer_count=one.answer_count, score_sum=one.score_sum)
                for one in found
            ]
        )


def _day(text: str, field: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise Refusal(400, "FIELD_INVALID", field=field, explanation="must be a day, YYYY-MM-DD") from error
    if not FIRST <= day <= LAST:
        raise Refusal(400, "FIELD_INVALID", field=field, explanation=f"must be {FIRST} to {LAST}")
    return day
