"""`/reconciliations`: comparing with Stripe, and what was different."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp
from starlette.responses import Response
from starlette.routing import BaseRoute

from batzen.gateway.v1.ops_pb2 import (
    GetReconciliationRequest,
    GetReconciliationResponse,
    ListOperatorActionsRequest,
    ReconcileRequest,
)
from services.console.desk import Desk, Visit
from services.console.operating.blocks import Block, Table
from services.console.operating.listing import Listing
from services.console.operating.showing import acting, back_to, text_of
from services.console.operating.views import reconciliation as views
from services.web.failures import Refusal
from services.web.security.forms import Form

SECTION: Final = "reconciliation"


def routes(desk: Desk) -> list[BaseRoute]:
    """Return the routes of the page."""
    return [
        *RUNS.routes(desk),
        desk.route(views.PATH, acting(_start), methods=("POST",), here=SECTION),
        desk.route(f"{views.PATH}/{{run}}.csv", _export, here=SECTION),
        desk.route(f"{views.PATH}/{{run}}", _run, here=SECTION),
    ]


async def _load(visit: Visit, _: Mapping[str, str], token: str, size: int) -> tuple[Table, str]:
    request = ListOperatorActionsRequest(page_size=size, page_token=token)
    answer = await visit.calls.gateway_ops.ListOperatorActions(request, metadata=visit.word)
    return views.runs(answer.actions, now=visit.front.now()), answer.next_page_token


async def _above(visit: Visit, _: Mapping[str, str]) -> Sequence[Block]:
    if not visit.may_act:
        return ()
    yesterday = visit.front.now().date() - timedelta(days=1)
    return (views.start_form(first=yesterday.isoformat(), last=yesterday.isoformat()),)


async def _start(visit: Visit, request_id: str, form: Form) -> Response:
    request = ReconcileRequest(
        request_id=request_id,
        start_time=_midnight(text_of(form, "first"), "first"),
        end_time=_midnight(text_of(form, "last"), "last", days=1),
        repair=form.get("repair") == "on",
        actor_id=visit.session.subject,
    )
    answer = await visit.calls.gateway_ops.Reconcile(request, metadata=visit.word)
    return back_to(f"{views.PATH}/{answer.reconciliation_id}")


def _midnight(day: str, field: str, *, days: int = 0) -> Timestamp:
    try:
        at = datetime.combine(date.fromisoformat(day) + timedelta(days=days), time(), tzinfo=UTC)
    except (ValueError, OverflowError):
        raise Refusal(400, "FIELD_INVALID", field=field, explanation="Write the day as 2026-12-24.") from None
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp


async def _run(visit: Visit) -> Response:
    return await _differences(visit.request.path_params["run"]).page(visit)


async def _export(visit: Visit) -> Response:
    return await _differences(visit.request.path_params["run"]).export(visit)


def _differences(run_id: str) -> Listing:
    """Return the list of what one run found, below what it compared."""
    last: list[GetReconciliationResponse] = []

    async def load(visit: Visit, _: Mapping[str, str], token: str, size: int) -> tuple[Table, str]:
        request = GetReconciliationRequest(reconciliation_id=run_id, page_size=size, page_token=token)
        answer = await visit.calls.gateway_ops.GetReconciliation(request, metadata=visit.word)
        last[:] = [answer]
        return views.differences(answer, now=visit.front.now()), answer.next_page_token

    async def above(visit: Visit, _: Mapping[str, str]) -> Sequence[Block]:
        return views.details(last[0], now=visit.front.now())

    return Listing(
        path=f"{views.PATH}/{run_id}",
        section=SECTION,
        title="Reconciliation",
        lead=run_id,
        crumb=("Reconciliations", views.PATH),
        load=load,
        above=above,
    )


RUNS: Final = Listing(
    path=views.PATH,
    section=SECTION,
    title="Reconciliations",
    lead="Ledger and mirror compared with Stripe, list by list.",
    load=_load,
    above=_above,
)
