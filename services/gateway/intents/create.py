"""Creating the intent of an attempt: one that takes or holds money, or one that keeps a method for a later attempt."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from services.errors import FieldInvalid
from services.gateway.call_log.call import Call, Params
from services.gateway.call_log.operation import Operation, SubjectStore
from services.gateway.errors import Amendable, AttemptOpen, StripeRefused
from services.gateway.intents.domain import Intent
from services.gateway.mirror.payment import MirroredPayment
from services.gateway.settlement.domain import SettlementTerms
from services.gateway.stripe_api.client import Provider
from services.gateway.stripe_api.currencies import charge_to_stripe, to_stripe
from services.gateway.stripe_api.intent_objects import attempt_facts
from services.gateway.stripe_api.metadata import ATTEMPT, CALL_ID, PAYMENT_ID
from services.gateway.stripe_api.objects import metadata, text
from services.gateway.stripe_api.outcomes import MISSING
from services.shared.codec import Json
from services.shared.split import Split
from services.shared.states import AttemptKind, IntentState

DESTINATION: Final = "transfer_data"
NOT_PAYABLE: Final = frozenset({"account_invalid", "insufficient_capabilities_for_transfer"})
"""Codes of refusals that are about the seller's account, whatever parameter they name."""
SUFFIX: Final = "statement_descriptor_suffix"
OPTIONAL: Final = ("description", SUFFIX)
"""Parameters of an intent without which it takes the same money, named as ours are."""
MULTICAPTURE: Final = {"card": {"request_multicapture": "if_available"}}
"""Asked for with every hold. Whether it was given stands on the charge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateIntentParams(Params):
    """What a new intent is to be; `body` is what Stripe is sent."""

    attempt: int
    amount_minor: int
    currency_code: str
    application_fee_minor: int
    customer_id: str
    account_id: str
    description: str
    capture_manually: bool
    statement_descriptor_suffix: str = ""
    """What statements show behind the platform's prefix; of a charge for one seller alone."""
    setup_only: bool = False
    keep_method: bool = False
    consent_actor_id: str = ""
    """Who agreed that the method is kept; empty where none is."""
    seller_id: str = ""
    """Whom Stripe transfers to with the charge; empty where we transfer by calls of our own, if to anybody."""
    split: Split | None = None
    settlement: SettlementTerms = field(default_factory=SettlementTerms)
    metadata: Json | None = None
    """The caller's, as it is put on the intent."""
    body: Json | None = None


class AmendableIntent(Amendable):
    """Stripe refused a part of this that can be amended; send the same call again, which Stripe will see as another."""

    def __init__(
        self, refusal: StripeRefused, *, customer_id: str, is_of_account: bool = False, detail: str = ""
    ) -> None:
        super().__init__(refusal)
        self.customer_id = customer_id
        """Of the call that was refused."""
        self.is_of_account = is_of_account
        """It is the seller's account that is refused."""
        self.detail = detail
        """Which of `OPTIONAL` is refused; empty if it is none of them."""


class CreateIntent(Operation[CreateIntentParams, MirroredPayment]):
    """Creates the intent of one attempt: as a destination charge, or as a setup. Moves no money."""

    name = "intent.create"
    params_type = CreateIntentParams

    def __init__(self, provider: Provider, payments: SubjectStore[MirroredPayment]) -> None:
        super().__init__(payments)
        self._provider = provider

    async def prepare(self, payment: MirroredPayment, call: Call[CreateIntentParams]) -> CreateIntentParams:
        """Check the attempt, and return exactly what Stripe is sent."""
        asked = call.params
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
                kind=AttemptKind.SETUP_INTENT if asked.setup_only else AttemptKind.INTENT,
                is_setup=asked.setup_only,
                capture_manually=asked.capture_manually,
                consent_actor_id=asked.consent_actor_id,
                consent_time=call.create_time if asked.consent_actor_id else None,
            ),
            currency_code=asked.currency_code,
        )
        body = _setup_body if asked.setup_only else _intent_body
        return replace(asked, body=body(payment, call))

    async def send(self, payment: MirroredPayment, call: Call[CreateIntentParams], *, is_repeat: bool) -> Json:
        """Create it. Raises AmendableIntent for a refusal that another body may avoid."""
        create = self._provider.intents.create_setup if call.params.setup_only else self._provider.intents.create
        try:
            return await create(call.params.body or {}, key=call.key, is_repeat=is_repeat)
        except StripeRefused as refusal:
            amendable = _amendable(refusal, call.params)
            if amendable is None:
                raise
            raise amendable from refusal

    async def look_again(
        self, payment: MirroredPayment, call: Call[CreateIntentParams], refusal: StripeRefused
    ) -> Json:
        """Close the attempt that never came to be, so that the next one may begin: there is nothing to read."""
        attempt = call.params.attempt
        payment.intents[attempt] = replace(payment.intents[attempt], state=IntentState.CANCELED)
        raise refusal

    async def look_up(self, payment: MirroredPayment, call: Call[CreateIntentParams]) -> Json | None:
        """Find the intent with this call's id in its metadata among the customer's."""
        # One whose customer is gone is gone, too: nobody has the secret of an intent that was never answered.
        found = await self._provider.intents.of_customer(
            call.params.customer_id, since=call.create_time, of_setup=call.params.setup_only
        )
        return next((intent for intent in found if metadata(intent, CALL_ID) == str(call.call_id)), None)

    def record(self, payment: MirroredPayment, call: Call[CreateIntentParams], answer: Json) -> Mapping[str, str]:
        """Mirror the new intent."""
        payment.apply_intent(call.params.attempt, attempt_facts(answer))
        return {"intent_id": text(answer, "id")}

    def discarded(self, payment: MirroredPayment, call: Call[CreateIntentParams]) -> None:
        """Take the attempt back."""
        del payment.intents[call.params.attempt]
        payment.conclude()


def begin_attempt(payment: MirroredPayment, begun: Intent, *, currency_code: str) -> None:
    """Add an attempt, of whatever kind, to a payment whose latest one is over.

    Raises AttemptOpen, or FieldInvalid for a number or a currency that is not the payment's.
    """
    latest = payment.latest
    if latest is not None and not latest.is_over:
        raise AttemptOpen(attempt=latest.attempt, intent_state=latest.state)
    # The caller counts one that Stripe refused to make, or asks for it again.
    next_attempt = latest.attempt + 1 if latest else 1
    if not next_attempt <= begun.attempt <= max(payment.intents, default=0) + 1:
        raise FieldInvalid(field="attempt", detail=f"must be at most {next_attempt}, the next one")
    if currency_code != payment.currency_code:
        raise FieldInvalid(field="amount.currency_code", detail=f"must be {payment.currency_code}, as the payment is")
    payment.intents[begun.attempt] = begun


def our_metadata(payment_id: str, attempt: int, call_id: uuid.UUID) -> dict[str, str]:
    """Return by what an object of an attempt is found again."""
    return {PAYMENT_ID: payment_id, ATTEMPT: str(attempt), CALL_ID: str(call_id)}


def recipient(asked: CreateIntentParams, payment_id: str) -> dict[str, object]:
    """Return to whom the charge goes: to its one seller, or to the platform, whose transfers are of the same group."""
    if asked.account_id:
        shown = {SUFFIX: asked.statement_descriptor_suffix} if asked.statement_descriptor_suffix else {}
        return {DESTINATION: {"destination": asked.account_id}, **shown}
    return {"transfer_group": payment_id}


# Stripe compares bodies under one key, so the same call always gives the same body.


def _intent_body(payment: MirroredPayment, call: Call[CreateIntentParams]) -> Json:
    asked = call.params
    body: dict[str, object] = {
        "amount": charge_to_stripe(asked.amount_minor, payment.currency_code),
        "currency": payment.currency_code.lower(),
        "customer": asked.customer_id,
        **recipient(asked, payment.payment_id),
        "automatic_payment_methods": {"enabled": True},
        "metadata": _metadata(payment, call),
    }
    if asked.application_fee_minor:
        body["application_fee_amount"] = to_stripe(
            asked.application_fee_minor, payment.currency_code, field="application_fee"
        )
    if asked.description:
        body["description"] = asked.description
    if asked.capture_manually:
        body["capture_method"] = "manual"
        body["payment_method_options"] = MULTICAPTURE
    if asked.keep_method:
        body["setup_future_usage"] = "off_session"
    return body


def _setup_body(payment: MirroredPayment, call: Call[CreateIntentParams]) -> Json:
    body: dict[str, object] = {
        "customer": call.params.customer_id,
        "usage": "off_session",
        "automatic_payment_methods": {"enabled": True},
        "metadata": _metadata(payment, call),
    }
    if call.params.description:
        body["description"] = call.params.description
    return body


def _metadata(payment: MirroredPayment, call: Call[CreateIntentParams]) -> Json:
    return {**(call.params.metadata or {}), **our_metadata(payment.payment_id, call.params.attempt, call.call_id)}


def _amendable(refusal: StripeRefused, asked: CreateIntentParams) -> AmendableIntent | None:
    """Return what can be amended of a refused call: a customer that is gone, an account, a detail; None if nothing."""
    code, param = refusal.metadata.get("code", ""), refusal.metadata.get("param", "")
    is_of_account = param.startswith(DESTINATION) or code in NOT_PAYABLE
    is_of_customer = param == "customer" and code == MISSING
    detail = param if param in OPTIONAL and param in (asked.body or {}) else ""
    if is_of_account or is_of_customer or detail:
        return AmendableIntent(refusal, customer_id=asked.customer_id, is_of_account=is_of_account, detail=detail)
    return None
