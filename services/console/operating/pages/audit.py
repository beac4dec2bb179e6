"""`/audit`: who did what, from each place that writes it down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.routing import BaseRoute

from batzen.gateway.v1.ops_pb2 import ListOperatorActionsRequest as GatewayRequest
from batzen.orchestrator.v1.ops_pb2 import ListOperatorActionsRequest
from services.console.desk import Desk, Visit
from services.console.operating.blocks import Table
from services.console.operating.entries import entries_before
from services.console.operating.listing import Listing
from services.console.operating.views import audit as views


def routes(desk: Desk) -> list[BaseRoute]:
    """Return the routes of the page."""
    return LISTING.routes(desk)


async def _load(visit: Visit, query: Mapping[str, str], token: str, size: int) -> tuple[Table, str]:
    now = visit.front.now()
    actor, payment = query.get("actor", ""), query.get("payment", "")
    match query.get("source", ""):
        case "gateway":
            asked = GatewayRequest(page_size=size, page_token=token, payment_id=payment, actor_id=actor)
            found = await visit.calls.gateway_ops.ListOperatorActions(asked, metadata=visit.word)
            return views.at_stripe(found.actions, now=now), found.next_page_token
        case "console":
            entries, next_token = await entries_before(
                visit.front.held,
                tenant_id=visit.session.tenant_id,
                token=token,
                size=size,
                subject=actor,
                about=payment,
            )
            return views.at_this_front(entries, now=now), next_token
        case _:
            request = ListOperatorActionsRequest(page_size=size, page_token=token, payment_id=payment, actor_id=actor)
            answer = await visit.calls.orchestrator_ops.ListOperatorActions(request, metadata=visit.word)
            return views.decisions(answer.actions, now=now), answer.next_page_token


LISTING: Final = Listing(
    path=views.PATH,
    section="audit",
    title="Audit",
    lead="Who did what. Decisions are written down by the service that acts; nothing is ever changed or deleted.",
    filters=views.filters,
    load=_load,
)
