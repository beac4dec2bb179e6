"""The pages of actions: what is asked, what comes of it, and the one form that does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from batzen.status.v1.status_pb2 import GetPaymentRequest, Payment
from services.console.actions.alone import AloneStore
from services.console.actions.approvals import ApprovalStore
from services.console.actions.approving import MOVED
from services.console.actions.doing import do, was_asked
from services.console.actions.domain import Ask, Limits, Unreadable, check_confirmation, require_seen
from services.console.actions.kinds import Action
from services.console.actions.views import AskPage, Confirmation, ReviewPage, ask_page, review_page
from services.console.desk import Desk, Visit
from services.console.metrics import APPROVALS_OPENED
from services.web.failures import Refusal
from services.web.security.forms import FIELD
from services.web.sessions.domain import Session
from services.web.sessions.needed import MayOnlyRead

HERE: Final = "payments"
REVIEW: Final = "review"
"""The field of an address that says: show what comes of it."""


class ActionRoom:
    """The routes of all actions."""

    def __init__(
        self, actions: Sequence[Action], *, limits: Limits, approvals: ApprovalStore, alone: AloneStore
    ) -> None:
        self._actions = actions
        self._limits = limits
        self._approvals = approvals
        self._alone = alone

    def routes(self, desk: Desk) -> Sequence[BaseRoute]:
        """Return a page and a form for each action."""
        found: list[BaseRoute] = []
        for action in self._actions:
            path = f"/payments/{{payment_id}}/{action.key}"
            found.append(desk.route(path, _Asking(self, action).show, here=HERE))
            found.append(desk.route(path, _Asking(self, action).send, methods=("POST",), here=HERE))
        return found

    async def confirmation(self, session: Session, ask: Ask) -> Confirmation:
        """Return what an ask needs before it is done, as things stand."""
        released = await self._alone.needs_release(session.tenant_id, ask.payment_id, ask.weighed, by=session.subject)
        return Confirmation(typed=self.needs_typing(ask), released=released)

    def needs_typing(self, ask: Ask) -> bool:
        """Tell whether the amount has to be typed."""
        return ask.moved is not None and self._limits.needs_typing(ask.weighed)

    @property
    def alone(self) -> AloneStore:
        """Where what is moved without a second person is counted."""
        return self._alone

    @property
    def approvals(self) -> ApprovalStore:
        """Where what waits for a second person is kept."""
        return self._approvals


class _Asking:
    """One action's page and form."""

    def __init__(self, room: ActionRoom, action: Action) -> None:
        self._room = room
        self._action = action

    async def show(self, visit: Visit) -> Response:
        """Answer with what is asked, or with what would come of it."""
        _require_writer(visit)
        payment = await payment_of(visit)
        given = dict(visit.request.query_params)
        inputs = self._action.inputs(payment, given)
        if inputs and given.get(REVIEW) != "1":
            return _show_ask(visit, ask_page(self._action, payment, inputs, errors={}))
        try:
            ask = await self._action.weigh(visit, self._action.read(payment, given))
        except Unreadable as error:
            return _show_ask(visit, ask_page(self._action, payment, inputs, errors=error.errors), status_code=400)
        return await self._show_review(visit, payment, ask, given={})

    async def send(self, visit: Visit) -> Response:
        """Do what the form says, once all that it needs is there."""
        _require_writer(visit)
        visit.front.require_recent_proof(visit.session)
        request_id, form = await visit.form(purpose=self._purpose(visit))
        given = dict(form)
        if await self._room.approvals.get(visit.session.tenant_id, request_id) is not None:
            return RedirectResponse(f"/approvals/{request_id}", status_code=303)  # it waits, whatever the form says now
        payment = await payment_of(visit)
        try:
            ask = await self._action.weigh(visit, self._action.read(payment, given))
            require_seen(ask)
            reason = check_confirmation(given, ask.moved, needs_typing=self._room.needs_typing(ask))
        except Unreadable as error:
            return await self._mend(visit, payment, given, error)
        await _require_same(visit, payment, ask, request_id, seen=given.get("seen", ""))
        session = visit.session
        if not await self._room.alone.take(
            session.tenant_id, request_id, ask.payment_id, ask.weighed, by=session.subject
        ):
            return await self._wait(visit, ask, request_id, reason)
        outcome = await do(visit, self._action, ask, request_id=request_id, reason=reason, asked_by=session.subject)
        if outcome.trouble is None:
            return RedirectResponse(f"/payments/{ask.payment_id}?asked={self._action.key}", status_code=303)
        again = {
            name: value for name, value in given.items() if name in {*ask.fields, FIELD, "seen", "reason", "typed"}
        }
        values = {
            "title": self._action.title,
            "payment_id": ask.payment_id,
            "trouble": outcome.trouble,
            "is_known": outcome.is_known,
            "action": f"/payments/{ask.payment_id}/{self._action.key}",
            "again": again,
        }
        return visit.page("actions/outcome.html", values, here=HERE, status_code=outcome.trouble.status)

    def _purpose(self, visit: Visit) -> str:
        """Return what a form is made for: one id is counted once, so it is for one action on one payment alone."""
        return f"{self._action.key} {visit.request.path_params['payment_id']}"

    async def _wait(self, visit: Visit, ask: Ask, request_id: str, reason: str) -> Response:
        """Keep it for a second person; refuse it where the same waits already."""
        session = visit.session
        waiting = await self._room.approvals.add(
            session.tenant_id, request_id, ask, reason=reason, asked_by=session.subject
        )
        if waiting != request_id:
            raise Refusal(
                409, "APPROVAL_WAITS", explanation="The same waits for a second person already: see approvals."
            )
        visit.front.meter.counter(APPROVALS_OPENED).add(ask.action)
        await visit.audit(f"{ask.action}.waits", about=ask.payment_id, detail=f"{request_id}: {reason}")
        return RedirectResponse(f"/approvals/{request_id}", status_code=303)

    async def _mend(self, visit: Visit, payment: Payment, given: Mapping[str, str], error: Unreadable) -> Response:
        """Answer with the form again, with what is wrong beside each field."""
        try:
            ask = await self._action.weigh(visit, self._action.read(payment, given))
        except Unreadable:
            inputs = self._action.inputs(payment, given)
            return _show_ask(visit, ask_page(self._action, payment, inputs, errors=error.errors), status_code=400)
        return await self._show_review(visit, payment, ask, given=given, errors=error.errors)

    async def _show_review(
        self,
        visit: Visit,
        payment: Payment,
        ask: Ask,
        *,
        given: Mapping[str, str],
        errors: Mapping[str, str] | None = None,
    ) -> Response:
        visit.front.require_recent_proof(visit.session)  # asked for here, where nothing is lost by it
        preview = await self._action.preview(visit, payment, ask)
        page = review_page(
            self._action,
            payment,
            ask,
            preview,
            needs=await self._room.confirmation(visit.session, ask),
            form=visit.form_field(purpose=self._purpose(visit)),
            given=given,
            errors=errors or {},
        )
        return _show_review_page(visit, page, status_code=400 if errors else 200)


async def payment_of(visit: Visit) -> Payment:
    """Return the payment of the address."""
    payment_id: str = visit.request.path_params["payment_id"]
    answer = await visit.calls.status.GetPayment(GetPaymentRequest(payment_id=payment_id), metadata=visit.word)
    return answer.payment


async def _require_same(visit: Visit, payment: Payment, ask: Ask, request_id: str, *, seen: str) -> None:
    """Refuse where the payment moved since it was looked at, unless it was this very request that moved it.

    Raises:
        Refusal: It moved. A refund is told apart by what was refundable, which the service compares.
    """
    if "expected" in ask.fields or seen == str(payment.revision):
        return
    if not await was_asked(visit, ask, request_id):
        raise Refusal(409, "PAYMENT_STATE", explanation=MOVED)


def _require_writer(visit: Visit) -> None:
    if not visit.may_act:
        raise MayOnlyRead


def _show_ask(visit: Visit, page: AskPage, *, status_code: int = 200) -> Response:
    return visit.page("actions/ask.html", {"page": page}, here=HERE, status_code=status_code)


def _show_review_page(visit: Visit, page: ReviewPage, *, status_code: int) -> Response:
    return visit.page("actions/review.html", {"page": page}, here=HERE, status_code=status_code)
