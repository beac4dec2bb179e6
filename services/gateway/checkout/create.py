"""Creating the hosted page of an attempt: one on which money is taken or held, or a method is kept for later."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Self

from services.gateway.call_log.call import Call
from services.gateway.call_log.operation import Operation, SubjectStore
from services.gateway.checkout.life import asked_expiry, send_before
from services.gateway.checkout.lines import PageLine, line_items
from services.gateway.checkout.modes import Mode, mode_of
from services.gateway.errors import StripeRefused
from services.gateway.intents.create import (
    DESTINATION,
    MULTICAPTURE,
    NOT_PAYABLE,
    OPTIONAL,
    AmendableIntent,
    CreateIntentParams,
    begin_attempt,
    our_metadata,
    recipient,
)
from services.gateway.intents.domain import Intent
from services.gateway.mirror.payment import MirroredPayment
from services.gateway.stripe_api.client import Provider
from services.gateway.stripe_api.currencies import to_stripe
from services.gateway.stripe_api.metadata import CALL_ID
from services.gateway.stripe_api.objects import metadata, part, text
from services.gateway.stripe_api.outcomes import MISSING
from services.gateway.stripe_api.session_objects import session_facts
from services.shared.codec import Json
from services.shared.states import AttemptKind, IntentState


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateSessionParams(CreateIntentParams):
    """What a new page is to be; `metadata` is put on the intent that it makes."""

    success_url: str
    cancel_url: str
    expire_time: datetime | None = None
    """When it ends by itself, as asked; None for the longest life."""
    lines: tuple[PageLine, ...] = ()
    session_metadata: Json | None = None
    locale: str
    """One of Checkout's own."""

    @classmethod
    def of(
        cls,
        intent: CreateIntentParams,
        *,
        success_url: str,
        cancel_url: str,
        expire_time: datetime | None,
        lines: tuple[PageLine, ...],
        session_metadata: Json | None,
        locale: str,
    ) -> Self:
        """Return the parameters of a page that makes an intent as described."""
        return cls(
            **{one.name: getattr(intent, one.name) for one in fields(CreateIntentParams)},
            success_url=success_url,
            cancel_url=cancel_url,
            expire_time=expire_time,
            lines=lines,
            session_metadata=session_metadata,
            locale=locale,
        )


class CreateSession(Operation[CreateSessionParams, MirroredPayment]):
    """Creates the page of one attempt. Moves no money: its payer does, there."""

    name = "checkout.create"
    params_type = CreateSessionParams

    def __init__(
        self, provider: Provider, payments: SubjectStore[MirroredPayment], *, now: Callable[[], datetime]
    ) -> None:
        super().__init__(payments)
        self._provider = provider
        self._now = now

    async def prepare(self, payment: MirroredPayment, call: Call[CreateSessionParams]) -> CreateSessionParams:
        """Check the attempt and the end of its page, and return exactly what Stripe is sent."""
        asked = call.params
        expiry = asked_expiry(asked.expire_time, self._now())
        begin_attempt(
            payment,
            Intent(
                attempt=asked.attempt,
                amount_minor=asked.amount_minor,
                application_fee_minor=asked.application_fee_minor,
                create_time=call.create_time,
                seller_id=asked.seller_id,
                split=asked.split,
                settlement=asked.settlement,
                kind=AttemptKind.CHECKOUT_SESSION,
                is_setup=asked.setup_only,
                capture_manually=asked.capture_manually,
                consent_actor_id=asked.consent_actor_id,
                consent_time=call.create_time if asked.consent_actor_id else None,
            ),
            currency_code=asked.currency_code,
        )
        return replace(
            asked,
            body=_body(payment, call, expiry=expiry),
            send_before_time=send_before(asked.send_before_time, expiry),
        )

    async def send(self, payment: MirroredPayment, call: Call[CreateSessionParams], *, is_repeat: bool) -> Json:
        """Create it. Raises AmendableIntent for a refusal that another body may avoid."""
        try:
            return await self._provider.sessions.create(call.params.body or {}, key=call.key, is_repeat=is_repeat)
        except StripeRefused as refusal:
            amendable = _amendable(refusal, call.params)
            if amendable is None:
                raise
            raise amendable from refusal

    async def look_again(
        self, payment: MirroredPayment, call: Call[CreateSessionParams], refusal: StripeRefused
    ) -> Json:
        """Close the attempt that never came to be, so that the next one may begin: nobody has its page's address."""
        attempt = call.params.attempt
        payment.intents[attempt] = replace(payment.intents[attempt], state=IntentState.CANCELED)
        raise refusal

    async def look_up(self, payment: MirroredPayment, call: Call[CreateSessionParams]) -> Json | None:
        """Find the session with this call's id in its metadata among the customer's."""
        found = await self._provider.sessions.of_customer(call.params.customer_id, since=call.create_time)
        return next((session for session in found if metadata(session, CALL_ID) == str(call.call_id)), None)

    def record(self, payment: MirroredPayment, call: Call[CreateSessionParams], answer: Json) -> Mapping[str, str]:
        """Mirror the new page."""
        payment.apply_session(call.params.attempt, session_facts(answer))
        return {"session_id": text(answer, "id")}

    def discarded(self, payment: MirroredPayment, call: Call[CreateSessionParams]) -> None:
        """Take the attempt back."""
        del payment.intents[call.params.attempt]
        payment.conclude()


# Stripe compares bodies under one key, so the same call always gives the same body.


def _body(payment: MirroredPayment, call: Call[CreateSessionParams], *, expiry: datetime | None) -> Json:
    asked = call.params
    mode = mode_of(setup_only=asked.setup_only, capture_manually=asked.capture_manually)
    ours = our_metadata(payment.payment_id, asked.attempt, call.call_id)
    body: dict[str, object] = {
        "mode": mode.mode,
        "customer": asked.customer_id,
        "client_reference_id": payment.payment_id,
        "success_url": asked.success_url,
        "cancel_url": asked.cancel_url,
        "locale": asked.locale,
        "metadata": {**(asked.session_metadata or {}), **ours},
        mode.intent_data: _intent_data(asked, payment.payment_id, mode)
        | {"metadata": {**(asked.metadata or {}), **ours}},
    }
    if asked.setup_only:
        body["currency"] = asked.currency_code.lower()  # by which Stripe knows what methods it may offer
    else:
        body["line_items"] = line_items(asked.lines, currency_code=asked.currency_code)
        # Else Stripe may take another amount in the payer's own currency.
        body["adaptive_pricing"] = {"enabled": False}
    if mode.capture_method:
        body["payment_method_options"] = MULTICAPTURE
    if expiry is not None:
        body["expires_at"] = int(expiry.timestamp())
    return body


def _intent_data(asked: CreateSessionParams, payment_id: str, mode: Mode) -> dict[str, object]:
    """Return what is said of the intent that the page makes."""
    data: dict[str, object] = {}
    if asked.description:
        data["description"] = asked.description
    if asked.setup_only:
        return data
    data |= recipient(asked, payment_id)
    if asked.application_fee_minor:
        data["application_fee_amount"] = to_stripe(
            asked.application_fee_minor, asked.currency_code, field="application_fee"
        )
    if mode.capture_method:
        data["capture_method"] = mode.capture_method
    if asked.keep_method:
        data["setup_future_usage"] = "off_session"
    return data


def _amendable(refusal: StripeRefused, asked: CreateSessionParams) -> AmendableIntent | None:
    """Return what can be amended of a refused call: a customer that is gone, an account, a detail; None if nothing."""
    code, param = refusal.metadata.get("code", ""), refusal.metadata.get("param", "")
    intent_data = mode_of(setup_only=asked.setup_only, capture_manually=asked.capture_manually).intent_data
    is_of_account = DESTINATION in param or code in NOT_PAYABLE
    is_of_customer = param == "customer" and code == MISSING
    sent = part(asked.body or {}, intent_data)
    detail = next((one for one in OPTIONAL if one in sent and param == f"{intent_data}[{one}]"), "")
    if is_of_account or is_of_customer or detail:
        return AmendableIntent(refusal, customer_id=asked.customer_id, is_of_account=is_of_account, detail=detail)
    return None
