"""`/disputes`: what payers' banks contest, with due dates, evidence, and the two ways to answer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp
from starlette.responses import Response
from starlette.routing import BaseRoute

from batzen.gateway.v1.disputes_pb2 import (
    Dispute,
    GetDisputeRequest,
    ListDisputesRequest,
    SubmitDisputeEvidenceRequest,
)
from services.console.desk import Desk, Visit
from services.console.operating.blocks import Page, Table
from services.console.operating.listing import Listing
from services.console.operating.showing import acting, back_to, confirmed, show, show_part, text_of
from services.console.operating.views import disputes as views
from services.web.failures import Refusal
from services.web.security.forms import Form

SECTION: Final = "disputes"
FIELD: Final = "evidence."


def routes(desk: Desk) -> list[BaseRoute]:
    """Return the routes of the page."""
    one = f"{views.PATH}/{{dispute}}"
    return [
        *LISTING.routes(desk),
        desk.route(one, _details, here=SECTION),
        desk.route(f"{one}/evidence", _evidence, here=SECTION),
        desk.route(f"{one}/evidence", acting(_draft, moves_money=True), methods=("POST",), here=SECTION),
        desk.route(f"{one}/submit", acting(_submit, moves_money=True), methods=("POST",), here=SECTION),
    ]


async def _load(visit: Visit, query: Mapping[str, str], token: str, size: int) -> tuple[Table, str]:
    shows = query.get("show", "")
    request = ListDisputesRequest(
        page_size=size,
        page_token=token,
        payment_id=query.get("payment", ""),
        open_only=shows == "open",
        states=views.SHOWS.get(shows, ()),
        due_before_time=None if (due := query.get("due")) is None else _midnight(due),
    )
    answer = await visit.calls.disputes.ListDisputes(request, metadata=visit.word)
    return views.table(answer.disputes, now=visit.front.now(), is_filtered=bool(query)), answer.next_page_token


def _midnight(day: str) -> Timestamp:
    try:
        at = datetime.combine(date.fromisoformat(day), time(), tzinfo=UTC)
    except ValueError:
        raise Refusal(400, "FIELD_INVALID", field="due", explanation="Write the day as 2026-12-24.") from None
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp


async def _details(visit: Visit) -> Response:
    dispute = await _found(visit)
    page = Page(
        title="Dispute",
        lead=dispute.dispute_id,
        section=SECTION,
        crumb=("Disputes", views.PATH),
        blocks=views.details(dispute, now=visit.front.now(), may_act=visit.may_act),
    )
    return show(visit, page)


async def _evidence(visit: Visit) -> Response:
    """Answer with the evidence, which has personal data: that it was looked at is written down."""
    await visit.audit("view", about=_id(visit), detail="evidence of a dispute")
    dispute = await _found(visit, with_evidence=True)
    page = Page(
        title="Evidence",
        lead=dispute.dispute_id,
        section=SECTION,
        crumb=("Dispute", f"{views.PATH}/{dispute.dispute_id}"),
        blocks=(views.evidence(dispute),),
    )
    return show_part(visit, page)


async def _found(visit: Visit, *, with_evidence: bool = False) -> Dispute:
    request = GetDisputeRequest(dispute_id=_id(visit), with_evidence=with_evidence)
    answer = await visit.calls.disputes.GetDispute(request, metadata=visit.word)
    return answer.dispute


async def _draft(visit: Visit, request_id: str, form: Form) -> Response:
    given = {name: text_of(form, f"{FIELD}{name}") for name in views.EVIDENCE}
    evidence = {name: text for name, text in given.items() if text}
    if not evidence:
        raise Refusal(400, "FIELD_MISSING", field="evidence", explanation="Fill in what is to be drafted.")
    request = SubmitDisputeEvidenceRequest(
        request_id=request_id, dispute_id=_id(visit), evidence=evidence, actor_id=visit.session.subject
    )
    await visit.calls.disputes.SubmitDisputeEvidence(request, metadata=visit.word)
    return back_to(f"{views.PATH}/{_id(visit)}")


async def _submit(visit: Visit, request_id: str, form: Form) -> Response:
    confirmed(form, _id(visit))
    request = SubmitDisputeEvidenceRequest(
        request_id=request_id, dispute_id=_id(visit), submit=True, actor_id=visit.session.subject
    )
    await visit.calls.disputes.SubmitDisputeEvidence(request, metadata=visit.word)
    return back_to(f"{views.PATH}/{_id(visit)}")


def _id(visit: Visit) -> str:
    found: str = visit.request.path_params["dispute"]
    return found


LISTING: Final = Listing(
    path=views.PATH,
    section=SECTION,
    title="Disputes",
    lead="Charges that a payer's bank contests, and until when it wants an answer.",
    filters=views.filters,
    load=_load,
)
