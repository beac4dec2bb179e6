"""What happens to the payments of a table, as rows of it: the stream of its page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from starlette.datastructures import QueryParams

from batzen.status.v1.status_pb2 import PaymentFilter, WatchPaymentsResponse
from services.console.payments import filters
from services.console.payments.table import row_of
from services.web.events.frames import Event
from services.web.failures import Refusal
from services.web.pages import Pages
from services.web.sessions.domain import Session

ROWS: Final = "rows"
"""The event whose data are rows of the table."""
LEFT: Final = WatchPaymentsResponse.RELATION_LEFT

Change = WatchPaymentsResponse.Change


def filter_of(params: QueryParams) -> PaymentFilter:
    """Return what the address of a page filters by.

    Raises:
        Refusal: It cannot be read.
    """
    chosen, wanted = filters.read(params)
    if chosen.errors:
        field, sentence = next(iter(chosen.errors.items()))
        raise Refusal(400, "FIELD_INVALID", field=field, explanation=sentence)
    return wanted


class Rows:
    """Makes rows of changes."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    def render(self, changes: Sequence[Change], _: Session) -> Sequence[Event]:
        """Return one event with all rows. One that left the filter stays where it stands, as it stands now."""
        html = "".join(
            self._pages.render("payments/row.html", {"row": row_of(change.payment), "left": change.relation == LEFT})
            for change in changes
        )
        return [Event(name=ROWS, data=html)]
