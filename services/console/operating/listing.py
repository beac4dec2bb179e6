"""A list of something, page by page, with its filters in the address and its export: the same for all lists.

    LETTERS = Listing(path="/dead-letters", …, load=load)
    routes = [*LETTERS.routes(desk), …]

`load` gets the filters and a page token, and returns a table and the next token. The export walks the same pages.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlencode

from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute

from services.console.desk import Desk, Visit
from services.console.operating import exporting
from services.console.operating.blocks import Block, Field, Page, Table, View
from services.console.operating.showing import show

PAGE_SIZE: Final = 50
EXPORT_PAGE_SIZE: Final = 200
"""The most that the services answer at once."""
EXPORT_ROWS_MAX: Final = 10_000
"""Of one export, ~5 MB; who needs more narrows the filter."""
PAGE: Final = "page"
"""The parameter of the page token."""
FILTER_CHARACTERS_MAX: Final = 300

Load = Callable[[Visit, Mapping[str, str], str, int], Awaitable[tuple[Table, str]]]
"""Visit, filters, page token, page size → a page as a table, and the token of the next."""
Beside = Callable[[Visit, Mapping[str, str]], Awaitable[Sequence[Block]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One list."""

    path: str
    section: str
    title: str
    lead: str
    load: Load
    filters: Callable[[Mapping[str, str]], Sequence[Field]] = lambda _: ()
    above: Beside | None = None
    """What stands above the list."""
    below: Beside | None = None
    is_personal: bool = False
    """Personal data stands in it: that it is looked at is written down."""
    crumb: tuple[str, str] | None = None
    views: Sequence[View] = ()

    def routes(self, desk: Desk) -> list[BaseRoute]:
        """Return the page and its export."""
        return [
            desk.route(self.path, self.page, here=self.section),
            desk.route(f"{self.path}.csv", self.export, here=self.section),
        ]

    async def page(self, visit: Visit) -> Response:
        """Answer with a page of the list."""
        query = self.query(visit)
        if self.is_personal:
            await visit.audit("view", about=self.path, detail=urlencode(query))
        token = visit.request.query_params.get(PAGE, "")
        table, next_token = await self.load(visit, query, token, PAGE_SIZE)
        above = await self.above(visit, query) if self.above else ()
        below = await self.below(visit, query) if self.below else ()
        page = Page(
            title=self.title,
            lead=self.lead,
            section=self.section,
            path=self.path,
            crumb=self.crumb,
            views=self.views,
            filters=tuple(self.filters(query)),
            blocks=(*above, self.paged(table, query, token=token, next_token=next_token), *below),
        )
        return show(visit, page)

    async def export(self, visit: Visit) -> Response:
        """Answer with all pages as one file, and write down that it was taken along, before it is."""
        query = self.query(visit)
        first = await self.load(visit, query, "", EXPORT_PAGE_SIZE)
        await visit.audit("export", about=self.path, detail=urlencode(query))
        name = self.path.strip("/").replace("/", "-")
        return StreamingResponse(
            self._lines(visit, query, first),
            media_type="text/csv; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}.csv"'},
        )

    def query(self, visit: Visit) -> dict[str, str]:
        """Return the filters of a request that are ours and not empty."""
        names = {field.name for field in self.filters({})}
        given = visit.request.query_params
        return {
            name: given[name].strip()[:FILTER_CHARACTERS_MAX] for name in sorted(names) if given.get(name, "").strip()
        }

    def paged(self, table: Table, query: Mapping[str, str], *, token: str, next_token: str) -> Table:
        """Return the table with the addresses of its other pages and of its export."""
        return replace(
            table,
            next_url=address(self.path, {**query, PAGE: next_token}) if next_token else "",
            first_url=address(self.path, query) if token else "",
            csv_url=address(f"{self.path}.csv", query) if table.rows else "",
        )

    async def _lines(self, visit: Visit, query: Mapping[str, str], first: tuple[Table, str]) -> AsyncIterator[str]:
        table, token = first
        yield exporting.head(table.columns)
        rows = 0
        while True:
            yield exporting.lines(table.rows)
            rows += len(table.rows)
            if not token:
                return
            if rows >= EXPORT_ROWS_MAX:
                yield exporting.cut_short(rows)
                return
            table, token = await self.load(visit, query, token, EXPORT_PAGE_SIZE)


def address(path: str, query: Mapping[str, str]) -> str:
    """Return a path with its parameters."""
    return f"{path}?{urlencode(query)}" if query else path
