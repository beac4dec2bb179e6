"""`/figures`: what payments came to, by day, seller and method."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from starlette.responses import Response
from starlette.routing import BaseRoute

from batzen.orchestrator.v1.ops_pb2 import GetPaymentFiguresRequest, GetPaymentFiguresResponse
from services.console.desk import Desk, Visit
from services.console.operating import cells
from services.console.operating.answers_reader import AnswersReader, AnswersUnavailable
from services.console.operating.blocks import Block, Field, Page, Table, View
from services.console.operating.listing import Listing
from services.console.operating.showing import show
from services.console.operating.views import figures as views
from services.console.operating.views import satisfaction
from services.web.front import person_of

SECTION: Final = "figures"
BY: Final[Mapping[str, GetPaymentFiguresRequest.By]] = {
    "day": GetPaymentFiguresRequest.BY_DAY,
    "seller": GetPaymentFiguresRequest.BY_SELLER,
    "method": GetPaymentFiguresRequest.BY_METHOD,
}
TITLES: Final = {"day": "By day", "seller": "By seller", "method": "By method"}
ROWS_MAX: Final = 1_000
"""The most that the orchestrator answers at once: a year of days in two currencies."""


class FiguresRoom:
    """The pages. What payers say of paying is asked beside the figures; without it they are shown all the same."""

    def __init__(self, answers: AnswersReader | None) -> None:
        self._answers = answers

    def routes(self, desk: Desk) -> list[BaseRoute]:
        """Return the routes of the pages."""
        return [
            desk.route(views.PATH, self._by_day, here=SECTION),
            *(desk.route(f"{_path(by)}.csv", LISTINGS[by].export, here=SECTION) for by in BY),
            *(desk.route(_path(by), LISTINGS[by].page, here=SECTION) for by in BY if by != "day"),
        ]

    async def _by_day(self, visit: Visit) -> Response:
        given = visit.request.query_params
        names = ("days", "currency", "seller")
        query = {name: given[name].strip()[:128] for name in names if given.get(name, "").strip()}
        first, last = _span(visit, query)
        answer, said = await asyncio.gather(_figures(visit, query, "day", "", ROWS_MAX), self._said(visit, first, last))
        currencies = views.currencies_of(answer.rows) or ["CHF"]
        currency = query.get("currency") if query.get("currency") in currencies else currencies[0]
        heard = cells.at(cells.instant(answer.heard_time)) if answer.HasField("heard_time") else ""
        days = LISTINGS["day"].paged(views.by_day(answer.rows), query, token="", next_token="")
        page = Page(
            title="Figures",
            lead=f"What payments came to. What happened up to {heard} is counted."
            if heard
            else "What payments came to. Nothing was counted yet.",
            section=SECTION,
            path=views.PATH,
            views=_views("day"),
            filters=views.filters(query, currencies),
            blocks=(
                *views.charts(answer.rows, currency=currency or "CHF", first=first, last=last),
                *said,
                views.declines(answer.rows),
                days,
            ),
        )
        return show(visit, page)

    async def _said(self, visit: Visit, first: str, last: str) -> tuple[Block, ...]:
        if self._answers is None:
            return satisfaction.unknown()
        try:
            found = await self._answers.days(person_of(visit.session), first, last, correlation_id=visit.correlation_id)
        except AnswersUnavailable as error:
            return satisfaction.unavailable(str(error))
        return satisfaction.answers(found, days=views.days_of(first, last))


def _path(by: str) -> str:
    return views.PATH if by == "day" else f"{views.PATH}/{by}"


def _views(here: str) -> tuple[View, ...]:
    return tuple(View(title=text, path=_path(by), is_here=by == here) for by, text in TITLES.items())


def _span(visit: Visit, query: Mapping[str, str]) -> tuple[str, str]:
    return views.span(query, visit.front.now().astimezone(cells.ZONE).date())


async def _figures(visit: Visit, query: Mapping[str, str], by: str, token: str, size: int) -> GetPaymentFiguresResponse:
    first, last = _span(visit, query)
    request = GetPaymentFiguresRequest(
        start_date=first,
        end_date=last,
        by=BY[by],
        seller_id=query.get("seller", "") if by == "day" else "",
        page_size=size,
        page_token=token,
    )
    return await visit.calls.orchestrator_ops.GetPaymentFigures(request, metadata=visit.word)


def _filters_of_days(query: Mapping[str, str]) -> tuple[Field, ...]:
    return views.filters(query, ())


def _listing(by: str) -> Listing:
    tables = {"day": views.by_day, "seller": views.by_seller, "method": views.by_method}

    async def load(visit: Visit, query: Mapping[str, str], token: str, size: int) -> tuple[Table, str]:
        answer = await _figures(visit, query, by, token, size)
        return tables[by](answer.rows), answer.next_page_token

    return Listing(
        path=_path(by),
        section=SECTION,
        title="Figures",
        lead="What payments came to over the whole span.",
        filters=_filters_of_days if by == "day" else views.span_filter,
        load=load,
        views=_views(by),
    )


LISTINGS: Final = {by: _listing(by) for by in BY}
