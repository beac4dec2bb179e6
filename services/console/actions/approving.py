"""The pages of what waits for a second person: the list, and one with what comes of it if it is released now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from batzen.errors import BatzenError
from batzen.status.v1.status_pb2 import GetPaymentRequest
from services.console.actions.approvals import Approval, ApprovalState, ApprovalStore
from services.console.actions.doing import do
from services.console.actions.domain import Preview, Unreadable, check_confirmation, plain
from services.console.actions.kinds import Action
from services.console.desk import Desk, Visit, trouble_of
from services.console.payments.shown import Badge, Moment, moment_of, sum_of, words
from services.web.failures import Failure, Refusal
from services.web.sessions.needed import MayOnlyRead

HERE: Final = "approvals"
TONES: Final = {
    ApprovalState.OPEN: "busy",
    ApprovalState.RELEASED: "warn",
    ApprovalState.DONE: "good",
    ApprovalState.REFUSED: "bad",
}
SAID: Final = {ApprovalState.OPEN: "Waits", ApprovalState.RELEASED: "Released, outcome not known"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRow:
    """One of the list."""

    request_id: str
    title: str
    payment_id: str
    amount: str
    state: Badge
    asked_by: str
    decided_by: str
    at: Moment
    until: Moment
    reason: str
    outcome: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalPage:
    """One, with what comes of it."""

    row: ApprovalRow
    preview: Preview | None
    trouble: Failure | None
    """Why what comes of it cannot be said; then it cannot be released either."""
    may_release: bool
    may_decline: bool
    is_own: bool
    typed: str
    form: str
    errors: Mapping[str, str]


class ApprovalRoom:
    """The routes of approvals."""

    def __init__(self, actions: Sequence[Action], store: ApprovalStore) -> None:
        self._actions = {action.key: action for action in actions}
        self._store = store

    def routes(self, desk: Desk) -> Sequence[BaseRoute]:
        """Return them."""
        return [
            desk.route("/approvals", self.show_all, here=HERE),
            desk.route("/approvals/{request_id}", self.show, here=HERE),
            desk.route("/approvals/{request_id}/release", self.release, methods=("POST",), here=HERE),
            desk.route("/approvals/{request_id}/decline", self.decline, methods=("POST",), here=HERE),
        ]

    async def show_all(self, visit: Visit) -> Response:
        """Answer with the newest."""
        found = await self._store.newest(visit.session.tenant_id)
        return visit.page("approvals/list.html", {"rows": [self._row(visit, one) for one in found]}, here=HERE)

    async def show(self, visit: Visit) -> Response:
        """Answer with one."""
        return await self._show(visit, await self._of(visit), errors={})

    async def release(self, visit: Visit) -> Response:
        """Release it, and do it; or carry on what this person released."""
        self._require_writer(visit)
        visit.front.require_recent_proof(visit.session)
        _, given = await visit.form()
        approval, session = await self._of(visit), visit.session
        try:
            check_confirmation(dict(given), approval.ask.moved, needs_typing=True, wants_reason=False)
        except Unreadable as error:
            return await self._show(visit, approval, errors=error.errors, status_code=400)
        is_released = await self._store.release(session.tenant_id, approval.request_id, by=session.subject)
        if not is_released and not self._carries_on(await self._of(visit), session.subject):
            return await self._show(visit, await self._of(visit), errors=_TOO_LATE, status_code=409)
        outcome = await do(
            visit,
            self._actions[approval.ask.action],
            approval.ask,
            request_id=approval.request_id,
            reason=approval.reason,
            asked_by=approval.asked_by,
        )
        if outcome.is_known:
            refusal = "" if outcome.trouble is None else outcome.trouble.code
            await self._store.end(session.tenant_id, approval.request_id, refusal=refusal)
        return RedirectResponse(f"/approvals/{approval.request_id}", status_code=303)

    async def decline(self, visit: Visit) -> Response:
        """Decline it; who asked withdraws it."""
        self._require_writer(visit)
        await visit.form()
        approval, session = await self._of(visit), visit.session
        if not await self._store.decline(session.tenant_id, approval.request_id, by=session.subject):
            return await self._show(visit, await self._of(visit), errors=_TOO_LATE, status_code=409)
        await visit.audit(f"{approval.ask.action}.declined", about=approval.ask.payment_id, detail=approval.request_id)
        return RedirectResponse("/approvals", status_code=303)

    async def _show(
        self, visit: Visit, approval: Approval, *, errors: Mapping[str, str], status_code: int = 200
    ) -> Response:
        now, subject, ask = visit.front.now(), visit.session.subject, approval.ask
        preview, trouble = None, None
        if approval.is_open(now=now):
            try:
                answer = await visit.calls.status.GetPayment(
                    GetPaymentRequest(payment_id=ask.payment_id), metadata=visit.word
                )
                preview = await self._actions[ask.action].preview(visit, answer.payment, ask)
            except BatzenError as error:
                trouble = trouble_of(error, correlation_id=visit.correlation_id)
        page = ApprovalPage(
            row=self._row(visit, approval),
            preview=preview,
            trouble=trouble,
            may_release=visit.may_act and trouble is None and approval.may_release(subject, now=now),
            may_decline=visit.may_act and approval.is_open(now=now),
            is_own=approval.asked_by == subject,
            typed="" if ask.moved is None else plain(ask.moved),
            form=visit.form_field(),
            errors=errors,
        )
        return visit.page("approvals/one.html", {"page": page}, here=HERE, status_code=status_code)

    async def _of(self, visit: Visit) -> Approval:
        found = await self._store.get(visit.session.tenant_id, visit.request.path_params["request_id"])
        if found is None:
            raise Refusal(404, "NOT_FOUND", explanation="Nobody asked for a release under this id.")
        return found

    def _row(self, visit: Visit, one: Approval) -> ApprovalRow:
        is_over = one.state is ApprovalState.OPEN and not one.is_open(now=visit.front.now())
        word = "Expired" if is_over else SAID.get(one.state, words(one.state))
        return ApprovalRow(
            request_id=one.request_id,
            title=self._actions[one.ask.action].title,
            payment_id=one.ask.payment_id,
            amount="" if one.ask.moved is None else sum_of(one.ask.moved),
            state=Badge(word, "quiet" if is_over else TONES.get(one.state, "quiet")),
            asked_by=one.asked_by,
            decided_by=one.decided_by,
            at=moment_of(one.ask_time),
            until=moment_of(one.expire_time),
            reason=one.reason,
            outcome=one.outcome,
        )

    @staticmethod
    def _carries_on(approval: Approval, subject: str) -> bool:
        return approval.state is ApprovalState.RELEASED and approval.decided_by == subject

    @staticmethod
    def _require_writer(visit: Visit) -> None:
        if not visit.may_act:
            raise MayOnlyRead


_TOO_LATE: Final = {"": "Nothing was done: it is decided already, has expired, or is your own."}
