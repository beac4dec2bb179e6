"""The pages of a payment: each asks how it stands, and shows that or leads to where it does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from batzen.errors import BatzenError, FailedPrecondition
from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.status.v1.status_pb2 import GetPaymentRequest
from batzen.type.v1.payment_pb2 import PaymentState
from services.bff.checkout import messages, standing, steps, timings
from services.bff.checkout.receipts import receipt
from services.bff.checkout.room import NoSession, Room, Visit, remember
from services.bff.checkout.satisfaction import Satisfaction
from services.bff.checkout.shown import Shown, is_payers_turn, state_of
from services.web.failures import Refusal

Handler = Callable[[Visit], Awaitable[Response]]


class CheckoutPages:
    """What a payer looks at."""

    def __init__(self, room: Room, satisfaction: Satisfaction) -> None:
        self._room = room
        self._satisfaction = satisfaction

    def routes(self) -> list[BaseRoute]:
        """Return the routes."""
        return [
            Route("/pay/{payment_id}", self._of_payer(self.home), methods=["GET"]),
            Route("/pay/{payment_id}/timing", self._of_payer(self.timing), methods=["GET"]),
            Route("/pay/{payment_id}/method", self._of_payer(self.method), methods=["GET"]),
            Route("/pay/{payment_id}/confirm", self._of_payer(self.confirm), methods=["GET"]),
            Route("/pay/{payment_id}/card", self._of_payer(self.card), methods=["GET"]),
            Route("/pay/{payment_id}/receipt", self._of_payer(self.receipt), methods=["GET"]),
            Route("/pay/{payment_id}/broken", self._of_payer(self.broken), methods=["GET"]),
            Route("/pay/{payment_id}/state", self.state, methods=["GET"]),
        ]

    def _of_payer(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        return of_payer(self._room, handler)

    async def home(self, visit: Visit) -> Response:
        """Show how the payment stands, or the first step of the way.

        Who comes back from a bank or asks to check has it read at Stripe first; the address then loses what it brought.
        """
        if visit.request.query_params.keys() & {"returned", "check"}:
            await self._room.sync(visit)
            return visit.back("?plain=1" if visit.place.is_plain else "")
        session = await self._room.payment(visit)
        answered = await self._satisfaction.answered(visit.session, visit.payment_id)
        shown = standing.standing(session, visit.place, answered=answered)
        if shown is None:
            shown = await self._first_step(visit, session)
        return self._room.answer(visit.request, shown)

    async def _first_step(self, visit: Visit, session: pb.PaymentSession) -> Shown:
        is_new = not session.payment.snapshot.HasField("last_error") and not visit.choice
        if is_new and timings.is_shown(session, visit.place.now):
            return steps.timing(session, visit.place)
        return steps.method(session, await self._room.kept(visit), visit.place, chosen=visit.choice)

    async def timing(self, visit: Visit) -> Response:
        """Show when the money is taken, or let that be chosen."""
        session = await self._room.payment(visit)
        if not is_payers_turn(session.payment) or not timings.is_shown(session, visit.place.now):
            return visit.back()
        return self._room.answer(visit.request, steps.timing(session, visit.place))

    async def method(self, visit: Visit) -> Response:
        """Show the ways to pay."""
        session = await self._room.payment(visit)
        if not is_payers_turn(session.payment):
            return visit.back()
        shown = steps.method(session, await self._room.kept(visit), visit.place, chosen=visit.choice)
        return self._room.answer(visit.request, shown)

    async def confirm(self, visit: Visit) -> Response:
        """Show the last look before paying with the way that the address names."""
        session = await self._room.payment(visit)
        if not is_payers_turn(session.payment):
            return visit.back()
        methods = steps.methods(session, await self._room.kept(visit), visit.place)
        wanted = next((one for one in methods if one.value == visit.choice and not one.problem), None)
        if wanted is None:
            return visit.back("/method")
        answer = self._room.answer(visit.request, steps.confirm(session, wanted, visit.place))
        return remember(answer, visit, wanted.value, is_secure=self._room.front.settings.is_secure)

    async def card(self, visit: Visit) -> Response:
        """Show the form for a new card, where this payment has one."""
        session = await self._room.payment(visit)
        if not is_payers_turn(session.payment) or not session.client_secret or visit.place.is_plain:
            return visit.back()
        return self._room.answer(visit.request, steps.card(session, visit.place))

    async def receipt(self, visit: Visit) -> Response:
        """Show what was paid."""
        asked = pb.GetReceiptRequest(payment_id=visit.payment_id)
        try:
            answer = await self._room.front.peers.calls.orchestrator.GetReceipt(asked, metadata=self._room.word(visit))
        except FailedPrecondition:  # nothing was taken
            return visit.back()
        return self._room.answer(visit.request, receipt(answer.receipt, visit.place))

    async def broken(self, visit: Visit) -> Response:
        """Say that the page's script met an error, and lead on to the page without it."""
        return self._room.answer(visit.request, messages.broken(visit.place, visit.payment_id))

    async def state(self, request: Request) -> Response:
        """Say at which revision the payment stands, for a page that comes back into view."""
        try:
            visit = await self._room.visit(request)
            asked = GetPaymentRequest(payment_id=visit.payment_id)
            answer = await self._room.front.peers.calls.status.GetPayment(asked, metadata=self._room.word(visit))
        except NoSession:
            raise Refusal(401, "LOGIN_REQUIRED") from None
        etag = f'"{answer.payment.revision}"'
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers={"ETag": etag})
        clock = visit.place.words.clock(self._room.front.now())
        state = PaymentState.Name(state_of(answer.payment)).removeprefix("PAYMENT_STATE_")
        told = {"revision": answer.payment.revision, "state": state, "checked": clock}
        return JSONResponse(told, headers={"ETag": etag})


def of_payer(room: Room, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """Return the endpoint of a handler: it has a session, and what is refused is said on a page."""

    async def endpoint(request: Request) -> Response:
        try:
            visit = await room.visit(request)
        except NoSession:
            return room.answer(request, messages.log_in_again(room.anonymous(request)), status_code=401)
        try:
            return await handler(visit)
        except (BatzenError, Refusal) as error:
            return room.refused(visit, error)

    return endpoint
