"""How a page of blocks is shown, and what an action answers with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from starlette.responses import RedirectResponse, Response

from services.console.desk import Visit
from services.console.operating.blocks import Block, Form, Page, Table
from services.web.failures import Refusal
from services.web.security.forms import Form as Sent
from services.web.sessions.needed import MayOnlyRead

CHOSEN: Final = "chosen."
"""How the fields of ticked rows begin."""

Act = Callable[[Visit, str, Sent], Awaitable[Response]]
"""Visit, request id, fields of the form → what is answered."""


def show(visit: Visit, page: Page, *, status_code: int = 200) -> Response:
    """Answer with a page; each of its forms gets a request id of its own."""
    return visit.page(
        "operating.html",
        {"page": replace(page, blocks=signed(page.blocks, visit.form_field))},
        here=page.section,
        status_code=status_code,
    )


def show_part(visit: Visit, page: Page) -> Response:
    """Answer with a part of a page that was left for later; where no script runs, it is a page of its own."""
    return visit.page(
        "operating_part.html",
        {"page": replace(page, blocks=signed(page.blocks, visit.form_field))},
        here=page.section,
    )


def signed(blocks: Sequence[Block], field: Callable[[], str]) -> tuple[Block, ...]:
    """Return blocks whose forms carry what the server made for them."""
    return tuple(_signed(block, field) for block in blocks)


def _signed(block: Block, field: Callable[[], str]) -> Block:
    if isinstance(block, Form):
        return replace(block, request_id=field())
    if isinstance(block, Table) and block.choose is not None:
        return replace(block, choose=replace(block.choose, request_id=field()))
    return block


def acting(act: Act, *, moves_money: bool = False) -> Callable[[Visit], Awaitable[Response]]:
    """Return an endpoint that takes a form of ours from an operator who may change something."""

    async def endpoint(visit: Visit) -> Response:
        if not visit.may_act:
            raise MayOnlyRead
        if moves_money:
            visit.front.require_recent_proof(visit.session)
        request_id, form = await visit.form()
        return await act(visit, request_id, form)

    return endpoint


def back_to(path: str) -> Response:
    """Answer that it was done, and where one sees it."""
    return RedirectResponse(path, status_code=303)


def text_of(form: Mapping[str, str], name: str) -> str:
    """Return what was filled in, without spaces around it."""
    return form.get(name, "").strip()


def chosen_of(form: Mapping[str, str]) -> list[str]:
    """Return the keys of the rows that were ticked.

    Raises:
        Refusal: None was.
    """
    chosen = [value for name, value in form.items() if name.startswith(CHOSEN) and value]
    if not chosen:
        raise Refusal(400, "FIELD_MISSING", field="chosen", explanation="Choose at least one row first.")
    return chosen


def confirmed(form: Mapping[str, str], wanted: str) -> None:
    """Refuse what was not confirmed by typing what it is about."""
    if text_of(form, "typed") != wanted:
        raise Refusal(400, "FIELD_INVALID", field="typed", explanation=f"To confirm it, type {wanted}.")
