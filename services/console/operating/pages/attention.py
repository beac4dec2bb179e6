"""`/attention`: what needs an operator, and who looks after it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.responses import Response
from starlette.routing import BaseRoute

from batzen.orchestrator.v1.ops_pb2 import AcknowledgeAttentionRequest, AttentionItem, ListAttentionRequest
from services.console.desk import Desk, Visit
from services.console.operating.blocks import Page, Table
from services.console.operating.listing import Listing
from services.console.operating.showing import acting, back_to, show, text_of
from services.console.operating.views import attention as views
from services.web.failures import Refusal
from services.web.security.forms import Form

SECTION: Final = "attention"
OF_PAYMENT_MAX: Final = 200
"""Items of one payment; it has a few."""


def routes(desk: Desk) -> list[BaseRoute]:
    """Return the routes of the page."""
    one = f"{views.PATH}/{{payment}}/{{item}}"
    return [
        *LISTING.routes(desk),
        desk.route(one, _details, here=SECTION),
        desk.route(f"{one}/acknowledge", acting(_acknowledge), methods=("POST",), here=SECTION),
    ]


async def _load(visit: Visit, query: Mapping[str, str], token: str, size: int) -> tuple[Table, str]:
    request = ListAttentionRequest(
        page_size=size,
        page_token=token,
        payment_id=query.get("payment", ""),
        reason=query.get("reason", "").upper(),
        with_resolved=query.get("show") == "all",
        unacknowledged_only=query.get("show") == "unowned",
    )
    answer = await visit.calls.orchestrator_ops.ListAttention(request, metadata=visit.word)
    return views.table(answer.items, now=visit.front.now(), is_filtered=bool(query)), answer.next_page_token


async def _details(visit: Visit) -> Response:
    item = await _found(visit)
    page = Page(
        title="Attention",
        lead=f"{item.reason} of {item.payment_id}",
        section=SECTION,
        crumb=("Attention", views.PATH),
        blocks=views.details(item, now=visit.front.now(), may_act=visit.may_act),
    )
    return show(visit, page)


async def _found(visit: Visit) -> AttentionItem:
    wanted = visit.request.path_params
    request = ListAttentionRequest(payment_id=wanted["payment"], with_resolved=True, page_size=OF_PAYMENT_MAX)
    answer = await visit.calls.orchestrator_ops.ListAttention(request, metadata=visit.word)
    for item in answer.items:
        if item.item_id == wanted["item"]:
            return item
    raise Refusal(404, "ATTENTION_NOT_FOUND", explanation="There is no such item of this payment.")


async def _acknowledge(visit: Visit, request_id: str, form: Form) -> Response:
    wanted = visit.request.path_params
    request = AcknowledgeAttentionRequest(
        request_id=request_id, item_id=wanted["item"], actor_id=visit.session.subject, note=text_of(form, "note")
    )
    await visit.calls.orchestrator_ops.AcknowledgeAttention(request, metadata=visit.word)
    return back_to(f"{views.PATH}/{wanted['payment']}/{wanted['item']}")


LISTING: Final = Listing(
    path=views.PATH,
    section=SECTION,
    title="Attention",
    lead="What needs an operator: one reason of one payment each.",
    filters=views.filters,
    load=_load,
)
