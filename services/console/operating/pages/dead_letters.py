"""`/dead-letters`: what was given up, tried again by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.responses import Response
from starlette.routing import BaseRoute

from batzen.gateway.v1.ops_pb2 import (
    DeadLetter,
    DeadLetterFilter,
    ListDeadLettersRequest,
    ReplayDeadLettersRequest,
)
from services.console.desk import Desk, Visit
from services.console.operating.blocks import Page, Table
from services.console.operating.listing import Listing
from services.console.operating.showing import acting, chosen_of, show
from services.console.operating.views import dead_letters as views
from services.web.failures import Refusal
from services.web.security.forms import Form

SECTION: Final = "dead-letters"
SOUGHT_MAX: Final = 1_000
"""Dead letters that are looked through for one of them."""
PAYLOAD_PAGE: Final = 20
"""The most that the gateway answers with payloads."""


def routes(desk: Desk) -> list[BaseRoute]:
    """Return the routes of the page."""
    return [
        *LISTING.routes(desk),
        desk.route(f"{views.PATH}/replay", acting(_replay), methods=("POST",), here=SECTION),
        desk.route(f"{views.PATH}/{{letter:path}}", _details, here=SECTION),
    ]


async def _load(visit: Visit, query: Mapping[str, str], token: str, size: int) -> tuple[Table, str]:
    request = ListDeadLettersRequest(page_size=size, page_token=token, filter=_filter(query))
    answer = await visit.calls.gateway_ops.ListDeadLetters(request, metadata=visit.word)
    replay = views.replay_form() if visit.may_act else None
    table = views.table(answer.dead_letters, now=visit.front.now(), is_filtered=bool(query), replay=replay)
    return table, answer.next_page_token


def _filter(query: Mapping[str, str]) -> DeadLetterFilter:
    kind = views.KINDS.get(query.get("kind", ""))
    return DeadLetterFilter(kinds=[] if kind is None else [kind[0]], error=query.get("error", ""))


async def _details(visit: Visit) -> Response:
    letter = await _found(visit, visit.request.path_params["letter"])
    page = Page(
        title="Dead letter",
        lead=letter.dead_letter_id,
        section=SECTION,
        crumb=("Dead letters", views.PATH),
        blocks=views.details(letter, now=visit.front.now()),
    )
    return show(visit, page)


async def _found(visit: Visit, letter_id: str) -> DeadLetter:
    """Return one with what it is about, which has personal data: that it was looked at is written down."""
    await visit.audit("view", about=letter_id, detail="dead letter with what was stored")
    token = ""
    for _ in range(SOUGHT_MAX // PAYLOAD_PAGE):
        request = ListDeadLettersRequest(page_size=PAYLOAD_PAGE, page_token=token, with_payload=True)
        answer = await visit.calls.gateway_ops.ListDeadLetters(request, metadata=visit.word)
        for letter in answer.dead_letters:
            if letter.dead_letter_id == letter_id:
                return letter
        if not (token := answer.next_page_token):
            break
    raise Refusal(404, "DEAD_LETTER_NOT_FOUND", explanation="It is no dead letter any more, or never was one.")


async def _replay(visit: Visit, request_id: str, form: Form) -> Response:
    request = ReplayDeadLettersRequest(
        request_id=request_id, dead_letter_ids=chosen_of(form), actor_id=visit.session.subject
    )
    answer = await visit.calls.gateway_ops.ReplayDeadLetters(request, metadata=visit.word)
    page = Page(
        title="Replayed",
        lead="What came of each dead letter that was tried again.",
        section=SECTION,
        crumb=("Dead letters", views.PATH),
        blocks=views.outcomes(answer),
    )
    return show(visit, page)


LISTING: Final = Listing(
    path=views.PATH,
    section=SECTION,
    title="Dead letters",
    lead="What could not be processed or delivered after its last try, and waits for a person.",
    filters=views.filters,
    load=_load,
)
