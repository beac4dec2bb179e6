"""Payments: the table of all, the page of one, and finding one by any of its ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from starlette.routing import BaseRoute, Route

from services.console.desk import Desk
from services.console.feed import Feed
from services.console.payments import export, find, live, page, table

HERE: Final = "payments"


def routes(desk: Desk) -> Sequence[BaseRoute]:
    """Return the pages of payments."""
    return [
        desk.route(table.PATH, table.show, here=HERE),
        desk.route(export.PATH, export.export, here=HERE),
        desk.route("/find", find.find, here=HERE),
        Route(table.LIVE, Feed(desk.front, filter_of=live.filter_of, render=live.Rows(desk.front.pages).render)),
        desk.route("/payments/{payment_id}", page.show, here=HERE),
    ]
