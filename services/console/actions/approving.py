"""The pages of what waits for a second person: the list, and one with what comes of it if it is released now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from batzen.errors import BatzenError
from batzen.status.v1.status_pb2 import GetPaymentRequest, Payment
from services.console.actions.approvals import Approval, ApprovalState, ApprovalStore
from services.console.actions.doing import do
from services.console.actions.domain import Preview, Unreadable, check_confirmation, plain
from services.console.actions.kinds import Action
from services.console.amounts import sum_of
from services.console.desk import Desk, Visit, trouble_of
from services.console.metrics import APPROVALS_DECIDED
from services.console.payments.shown import Badge, Moment, moment_of, words
from services.web.failures import Failure, Refusal
from services.web.sessions.needed import MayOnlyRead

HERE: Final = "approvals"
MOVED: Final = "The payment moved since you looked at it, and nothing was done. Look again, then decide."
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
    may_settle: bool
    """Whether one may ask what became of it: it was released, and its outcome is not known."""
    seen: str
    """The payment's revision, as what comes of it is shown for."""
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
            desk.route("/approvals/{request_id}/settle", self.settle, methods=("POST",), here=HERE),
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
        if approval.state is ApprovalState.OPEN and given.get("seen", "") != str(
            (await _payment(visit, approval)).revision
        ):
            return await self._show(visit, approval, errors={"": MOVED}, status_code=409)
        is_released = await self._store.release(session.tenant_id, approval.request_id, by=session.subject)
        if is_released:
            _count(visit, approval, "released")
        if not is_released and not self._carries_on(visit, await self._of(visit)):
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

    async def settle(self, visit: Visit) -> Response:
        """Ask the services what became of the call of a release, and write it down; nothing is called again."""
        self._require_writer(visit)
        await visit.form()
        approval, tenant_id = await self._of(visit), visit.session.tenant_id
        if approval.state is not ApprovalState.RELEASED:
            return await self._show(visit, approval, errors=_TOO_LATE, status_code=409)
        refusal = await self._actions[approval.ask.action].outcome(visit, approval.ask, approval.request_id)
        if refusal is not None:
            await self._store.end(tenant_id, approval.request_id, refusal=refusal)
        elif approval.is_given_up(now=visit.front.now()):
            await self._store.give_up(tenant_id, approval.request_id)
        else:
            return await self._show(visit, approval, errors=_NOT_KNOWN, status_code=409)
        await visit.audit(f"{approval.ask.action}.settled", about=approval.ask.payment_id, detail=approval.request_id)
        return RedirectResponse(f"/approvals/{approval.request_id}", status_code=303)

    async def decline(self, visit: Visit) -> Response:
        """Decline it; who asked withdraws it."""
        self._require_writer(visit)
        await visit.form()
        approval, session = await self._of(visit), visit.session
        if not await self._store.decline(session.tenant_id, approval.request_id, by=session.subject):
            return await self._show(visit, await self._of(visit), errors=_TOO_LATE, status_code=409)
        _count(visit, approval, "withdrawn" if approval.asked_by == session.subject else "declined")
        await visit.audit(f"{approval.ask.action}.declined", about=approval.ask.payment_id, detail=approval.request_id)
        return RedirectResponse("/approvals", status_code=303)

    async def _show(
        self, visit: Visit, approval: Approval, *, errors: Mapping[str, str], status_code: int = 200
    ) -> Response:
        now, subject, ask = visit.front.now(), visit.session.subject, approval.ask
        preview, trouble, seen = None, None, ""
        if approval.is_open(now=now) or self._carries_on(visit, approval):
            try:
                payment = await _payment(visit, approval)
                seen = str(payment.revision)
                preview = await self._actions[ask.action].preview(visit, payment, ask)
            except BatzenError as error:
                trouble = trouble_of(error, correlation_id=visit.correlation_id)
        is_released = approval.state is ApprovalState.RELEASED
        page = ApprovalPage(
            row=self._row(visit, approval),
            preview=preview,
            trouble=trouble,
            may_release=visit.may_act
            and (trouble is None or is_released)  # what was done already may have no preview
            and approval.may_release(subject, now=now),
            may_settle=visit.may_act and is_released,
            seen=seen,
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
    def _carries_on(visit: Visit, approval: Approval) -> bool:
        is_released = approval.state is ApprovalState.RELEASED
        return is_released and approval.may_release(visit.session.subject, now=visit.front.now())

    @staticmethod
    def _require_writer(visit: Visit) -> None:
        if not visit.may_act:
            raise MayOnlyRead


def _count(visit: Visit, approval: Approval, decision: str) -> None:
    visit.front.meter.counter(APPROVALS_DECIDED).add(approval.ask.action, decision)


async def _payment(visit: Visit, approval: Approval) -> Payment:
    request = GetPaymentRequest(payment_id=approval.ask.payment_id)
    answer = await visit.calls.status.GetPayment(request, metadata=visit.word)
    return answer.payment


_NOT_KNOWN: Final = {"": "No service has answered it yet: it may be under way, or was not sent. Nothing was changed."}
_TOO_LATE: Final = {"": "Nothing was done: it is decided already, has expired, or is your own."}
