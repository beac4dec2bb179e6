"""`/stuck`: payments that do not move. What is decided of one stands on its own page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.routing import BaseRoute

from batzen.orchestrator.v1.ops_pb2 import ListStuckPaymentsRequest
from services.console.desk import Desk, Visit
from services.console.operating.blocks import Table
from services.console.operating.listing import Listing
from services.console.operating.views import stuck as views


def routes(desk: Desk) -> list[BaseRoute]:
    """Return the routes of the page."""
    return LISTING.routes(desk)


async def _load(visit: Visit, query: Mapping[str, str], token: str, size: int) -> tuple[Table, str]:
    request = ListStuckPaymentsRequest(
        page_size=size,
        page_token=token,
        reason=query.get("reason", ""),
        age_min_s=views.AGES.get(query.get("age", ""), 0),
    )
    answer = await visit.calls.orchestrator_ops.ListStuckPayments(request, metadata=visit.word)
    return views.table(answer.payments, now=visit.front.now(), is_filtered=bool(query)), answer.next_page_token


LISTING: Final = Listing(
    path=views.PATH,
    section="stuck",
    title="Stuck payments",
    lead="Payments that do not move as they should: why, since when, and what may be decided on their page.",
    filters=views.filters,
    load=_load,
)
