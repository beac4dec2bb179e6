"""What a payer does: pay, cancel, have it checked, say how it was.

Each is a form with an id that this front made. The id is the request's at the services: sent twice it is done once.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from batzen.errors import LASTING, BatzenError, ResourceExhausted
from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.type.v1.money_pb2 import Money
from services.bff.checkout import messages, steps, timings
from services.bff.checkout.pages import Handler, of_payer
from services.bff.checkout.room import SEE_OTHER, Room, Visit
from services.bff.checkout.satisfaction import SCORES, Satisfaction
from services.bff.checkout.shown import is_payers_turn, owed_of
from services.bff.checkout.standing import has_receipt
from services.web.failures import RETRY_AFTER, Refusal

MOVED_ON: Final = frozenset({"PAYMENT_STATE", "REQUEST_IN_PROGRESS", "ATTEMPT_OPEN"})
"""Refusals after which the payment's page says more than a sentence could: another tab, or the bank, was faster."""

PRICE_CHANGED: Final = "PRICE_CHANGED"
"""It was priced anew since the page was shown, and nothing was charged."""
TIMING_CHANGED: Final = "TIMING_CHANGED"
"""It is taken at another time than the page says, and nothing was charged."""
NOT_OFFERED: Final = "FIELD_INVALID"
"""Of a choice: what was chosen is not offered any more."""
NOT_TAKEN: Final = "The choice was not taken: an orchestrator of a release before this one knows none."
CONFLICT: Final = 409
PAGE_ALONE: Final = "HOSTED_CHECKOUT_REQUIRED"
"""Methods were declined too often here: the hosted page is left."""
_logger = logging.getLogger(__name__)


class CheckoutActions:
    """Takes forms."""

    def __init__(self, room: Room, satisfaction: Satisfaction) -> None:
        self._room = room
        self._satisfaction = satisfaction

    def routes(self) -> list[BaseRoute]:
        """Return the routes."""
        handlers: Mapping[str, Handler] = {
            "timing": self.timing,
            "submit": self.submit,
            "cancel": self.cancel,
            "check": self.check,
            "answer": self.answer,
        }
        return [
            Route(f"/pay/{{payment_id}}/{name}", of_payer(self._room, handler), methods=["POST"])
            for name, handler in handlers.items()
        ]

    async def timing(self, visit: Visit) -> Response:
        """Take the choice of when the money is taken, and lead to the next step."""
        form, request_id = await self._taken(visit)
        wanted = timings.seen(form)
        if not wanted:
            raise Refusal(400, "FIELD_MISSING", field="timing")
        session = await self._room.payment(visit)
        if not is_payers_turn(session.payment):
            return visit.back()
        try:  # also for the one that it has: another choice may still be under way, and the last one holds
            answer = await self._resume(visit, request_id, timing=wanted)
        except BatzenError as error:
            if error.reason in MOVED_ON:
                return visit.back()
            if error.reason == NOT_OFFERED:
                return visit.back("/timing")
            raise
        return await self._chosen(visit, wanted, answer)

    async def _chosen(self, visit: Visit, wanted: pb.Timing, answer: pb.ResumePaymentResponse) -> Response:
        """Lead on with what was chosen, and only with that; a price that changed over it is shown first."""
        session = answer.session
        if not _is_another(session, wanted):
            if answer.price_changed:
                return await self._show_price(visit, answer.total_before, session)
            return visit.back("/method")
        if not is_payers_turn(session.payment):
            return visit.back()
        if not timings.offered(session, visit.place.now):
            raise Refusal(503, "DEPENDENCY_UNAVAILABLE", explanation=NOT_TAKEN, retry_after=RETRY_AFTER)
        return self._show_timing(visit, session)

    async def submit(self, visit: Visit) -> Response:
        """Pay with what the form names at the price that it was shown with, or lead to where that is done."""
        form, request_id = await self._taken(visit)
        try:
            return await self._go_on(visit, form, request_id)
        except BatzenError as error:
            if error.reason in MOVED_ON:
                return visit.back()
            if error.reason == PAGE_ALONE:
                return visit.back(f"/confirm?method={steps.PAGE}")
            raise

    async def _go_on(self, visit: Visit, form: Mapping[str, str], request_id: str) -> Response:
        wanted, seen = form.get("method", ""), steps.seen_total(form)
        session = await self._room.payment(visit)
        if is_payers_turn(session.payment) and seen is not None and seen != owed_of(session):
            return await self._show_price(visit, seen, session)
        if is_payers_turn(session.payment) and _is_another(session, timings.seen(form)):
            return self._show_timing(visit, session)
        if wanted == steps.PAGE:
            return await self._to_page(visit, session, request_id)
        changed = await self._with_form(visit, session, request_id)
        if changed is not None:
            return changed
        if wanted == steps.CARD:
            return visit.back("/card")
        if seen is None:  # nobody is charged by a form that does not say what its payer was shown
            raise Refusal(400, "FIELD_MISSING", field="total")
        return await self._pay(visit, form, request_id, seen)

    async def _to_page(self, visit: Visit, session: pb.PaymentSession, request_id: str) -> Response:
        """Lead to the page that Stripe hosts; to a fresh one where there is none, or its price does not stand."""
        if session.collection != pb.COLLECTION_CHECKOUT or not session.checkout_url or self._room.is_stale(session):
            answer = await self._resume(visit, request_id, collection=pb.COLLECTION_CHECKOUT)
            if answer.price_changed:
                return await self._show_price(visit, answer.total_before, answer.session, chosen=steps.PAGE)
            if _is_another(answer.session, session.timing):
                return self._show_timing(visit, answer.session)
            session = answer.session
        if not session.checkout_url:
            return visit.back()
        if not visit.place.is_hosted(session.checkout_url):
            raise Refusal(502, "DEPENDENCY_UNAVAILABLE", explanation="The hosted page is at a place of nobody we know.")
        return RedirectResponse(session.checkout_url, status_code=SEE_OTHER)

    async def _with_form(self, visit: Visit, session: pb.PaymentSession, request_id: str) -> Response | None:
        """See that the payment is collected without a page; return the page of a new price where it has one."""
        if session.collection == pb.COLLECTION_ELEMENTS and not self._room.is_stale(session):
            return None
        if not is_payers_turn(session.payment):
            return visit.back()
        answer = await self._resume(visit, request_id, collection=pb.COLLECTION_ELEMENTS)
        if not answer.price_changed:
            return None
        return await self._show_price(visit, answer.total_before, answer.session)

    async def _resume(
        self,
        visit: Visit,
        request_id: str,
        *,
        collection: pb.Collection = pb.COLLECTION_UNSPECIFIED,
        timing: pb.Timing = pb.TIMING_UNSPECIFIED,
    ) -> pb.ResumePaymentResponse:
        asked = pb.ResumePaymentRequest(
            request_id=request_id, payment_id=visit.payment_id, collection=collection, timing=timing
        )
        return await self._room.front.peers.calls.orchestrator.ResumePayment(asked, metadata=self._room.word(visit))

    async def _show_price(self, visit: Visit, seen: Money, session: pb.PaymentSession, *, chosen: str = "") -> Response:
        """Show the new price before anything is paid at it."""
        notice = steps.price_changed(seen, owed_of(session), visit.place)
        kept = await self._room.kept(visit)
        shown = steps.method(session, kept, visit.place, chosen=chosen or visit.choice, notice=notice)
        return self._room.answer(visit.request, shown, status_code=409)

    def _show_timing(self, visit: Visit, session: pb.PaymentSession) -> Response:
        """Show when the money is taken now, before anything is agreed to."""
        notice = steps.timing_changed(session, visit.place)
        return self._room.answer(visit.request, steps.timing(session, visit.place, notice=notice), status_code=CONFLICT)

    async def _pay(self, visit: Visit, form: Mapping[str, str], request_id: str, seen: Money) -> Response:
        """Submit what the form names. What is not known of it afterwards is never told as a failure."""
        try:
            await self._submit(visit, form, request_id, seen)
        except LASTING as error:
            if error.reason not in (PRICE_CHANGED, TIMING_CHANGED):
                raise
            session = await self._room.payment(visit)
            if is_payers_turn(session.payment) and error.reason == TIMING_CHANGED:
                return self._show_timing(visit, session)
            if not is_payers_turn(session.payment) or seen == owed_of(session):
                return visit.back()
            return await self._show_price(visit, seen, session)
        except ResourceExhausted:  # said before anything of it was kept
            raise
        except BatzenError as error:
            _logger.warning("It is not known what became of a submit: %r", error)
            return await self._not_known(visit)
        return visit.back()

    async def _not_known(self, visit: Visit) -> Response:
        """Lead to how the payment stands, or say that nobody knows yet: a submit may be carried on by itself."""
        try:
            session = await self._room.payment(visit)
        except BatzenError:
            revision = await self._room.revision(visit)
        else:
            if not is_payers_turn(session.payment):
                return visit.back()
            revision = session.payment.revision
        return self._room.answer(visit.request, messages.not_known(visit.place, visit.payment_id, revision=revision))

    async def _submit(self, visit: Visit, form: Mapping[str, str], request_id: str, seen: Money) -> None:
        asked = pb.SubmitPaymentRequest(
            request_id=request_id,
            payment_id=visit.payment_id,
            return_url=f"{visit.place.origin}/return/{visit.payment_id}",
            keep_method=form.get("keep") == "yes",
            expected_total=seen,
            expected_timing=timings.seen(form),
        )
        if form.get("method") == steps.AS_ENTERED:
            asked.confirmation_token_id = form.get("token", "")
            asked.use_stripe_sdk = bool(
                asked.confirmation_token_id
            )  # the script that made it shows the bank's question
        else:
            asked.payment_method_id = form.get("method", "")
        await self._room.front.peers.calls.orchestrator.SubmitPayment(asked, metadata=self._room.word(visit))

    async def cancel(self, visit: Visit) -> Response:
        """Cancel the payment."""
        _, request_id = await self._taken(visit)
        asked = pb.CancelPaymentRequest(request_id=request_id, payment_id=visit.payment_id, reason="by its payer")
        try:
            await self._room.front.peers.calls.orchestrator.CancelPayment(asked, metadata=self._room.word(visit))
        except BatzenError as error:
            if error.reason not in MOVED_ON:
                raise
        return visit.back()

    async def check(self, visit: Visit) -> Response:
        """Have the payment read at Stripe."""
        await self._taken(visit)
        await self._room.sync(visit)
        return visit.back()

    async def answer(self, visit: Visit) -> Response:
        """Keep how paying was, of a payment that is the payer's and was paid."""
        form, _ = await self._taken(visit)
        score = form.get("score", "")
        if score not in map(str, SCORES):
            raise Refusal(400, "FIELD_INVALID", field="score")
        session = await self._room.payment(visit)
        if not has_receipt(session.payment):
            return visit.back()
        await self._satisfaction.add(visit.session, visit.payment_id, int(score))
        return visit.back()

    async def _taken(self, visit: Visit) -> tuple[Mapping[str, str], str]:
        await self._room.count(visit)
        form = await self._room.front.forms.read(visit.request)
        return form, self._room.front.forms.take(visit.session, form)


def _is_another(session: pb.PaymentSession, seen: pb.Timing) -> bool:
    """Tell whether the money is taken at another time than the page said.

    A page of an older release says none. Who has a choice agreed to nothing by that.
    """
    if seen == pb.TIMING_UNSPECIFIED:
        return bool(session.timings_offered)
    return seen != session.timing
