"""Capturing what an attempt holds: whole, in part, and several times where Stripe lets it.

A payment's calls are made one after another, and one without an answer is settled before the next. So the intent's
metadata, which a capture changes in the same step, says which capture was the last, and two of the same amount are told
apart. What was captured before is kept with the call, as a second witness.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from services.errors import FieldInvalid
from services.gateway.call_log.call import Call, Params
from services.gateway.call_log.operation import Operation, SubjectStore
from services.gateway.errors import (
    CaptureExceedsCapturable,
    CaptureNotRepeatable,
    IntentNotFound,
    StripeRefused,
    WrongIntentState,
)
from services.gateway.intents.attempts import EXPANDED, apply_settled, settle
from services.gateway.intents.domain import Intent
from services.gateway.mirror.payment import MirroredPayment
from services.gateway.settlement.positions import beyond, captured_of_lines, split_of
from services.gateway.stripe_api.client import Provider
from services.gateway.stripe_api.currencies import to_stripe
from services.gateway.stripe_api.intent_objects import intent_facts
from services.gateway.stripe_api.metadata import CAPTURE_CALL_ID
from services.gateway.stripe_api.objects import metadata, text
from services.shared.codec import Json
from services.shared.split import LineAmount, added, amounts_of
from services.shared.states import IntentState


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureIntentParams(Params):
    """What is captured, and what the platform keeps of it; `body` is what Stripe is sent."""

    amount_minor: int
    currency_code: str
    application_fee_minor: int
    final_capture: bool
    line_amounts: tuple[LineAmount, ...] = ()
    """What of it falls to each line; empty for by largest remainder over what is left of them."""
    attempt: int = 0
    intent_id: str = ""
    captured_before_minor: int = 0
    """What was captured before; no capture leads to less than that and this one's amount."""
    body: Json | None = None


class CaptureIntent(Operation[CaptureIntentParams, MirroredPayment]):
    """Captures an amount of what the attempt that counts holds."""

    name = "intent.capture"
    params_type = CaptureIntentParams
    retry_until_known = True
    moves_each_time = True

    def __init__(self, provider: Provider, payments: SubjectStore[MirroredPayment]) -> None:
        super().__init__(payments)
        self._provider = provider

    async def prepare(self, payment: MirroredPayment, call: Call[CaptureIntentParams]) -> CaptureIntentParams:
        """Check that so much is held. The lease makes this the only capture that looks at it now."""
        asked = call.params
        if asked.currency_code != payment.currency_code:
            raise FieldInvalid(
                field="amount.currency_code", detail=f"must be {payment.currency_code}, as the payment is"
            )
        intent = payment.intents.get(payment.observation.attempt)
        if intent is None or not intent.is_made:
            raise IntentNotFound
        _check(intent, asked)
        _check_lines(intent, asked.line_amounts)
        return replace(
            asked,
            attempt=intent.attempt,
            intent_id=intent.intent_id,
            captured_before_minor=intent.captured_minor,
            body=_body(intent, call),
        )

    async def send(self, payment: MirroredPayment, call: Call[CaptureIntentParams], *, is_repeat: bool) -> Json:
        """Capture it."""
        intent_id, body = call.params.intent_id, call.params.body or {}
        return await self._provider.intents.capture(intent_id, body, key=call.key, is_repeat=is_repeat)

    async def look_again(
        self, payment: MirroredPayment, call: Call[CaptureIntentParams], refusal: StripeRefused
    ) -> Json:
        """Read the intent: it may be captured by this very call, or hold less than we knew, or nothing any more."""
        intent = await self._provider.intents.reread(call.params.intent_id, refusal)
        if _is_captured_by(intent, call):
            return intent
        apply_settled(payment, call.params.attempt, intent)
        _check(payment.intents[call.params.attempt], call.params)
        raise refusal

    async def look_up(self, payment: MirroredPayment, call: Call[CaptureIntentParams]) -> Json | None:
        """Read the intent, and whether this capture was the last that was made of it."""
        intent = await self._provider.intents.retrieve(call.params.intent_id)
        return intent if _is_captured_by(intent, call) else None

    def record(self, payment: MirroredPayment, call: Call[CaptureIntentParams], answer: Json) -> Mapping[str, str]:
        """Mirror what is taken and what is still held."""
        asked = call.params
        known = payment.intents[asked.attempt]
        fees_minor = (known.captured_fee_minor or 0) + asked.application_fee_minor
        payment.intents[asked.attempt] = replace(
            known,
            captured_fee_minor=fees_minor,
            captured_parts=_parts(known, asked),
        )
        apply_settled(payment, asked.attempt, answer)
        return {"intent_id": text(answer, "id")}

    def discarded(self, payment: MirroredPayment, call: Call[CaptureIntentParams]) -> None:
        """Nothing was reserved; and nothing is unknown any more."""
        settle(payment, is_settled=True)

    def unknown(self, payment: MirroredPayment) -> None:
        """Keep that money may have been taken."""
        settle(payment, is_settled=False)


def _check(intent: Intent, asked: CaptureIntentParams) -> None:
    """Raise what forbids the capture."""
    if intent.state != IntentState.REQUIRES_CAPTURE:
        raise WrongIntentState(intent_state=intent.state)
    if asked.amount_minor > intent.capturable_minor:
        raise CaptureExceedsCapturable(field="amount", capturable_minor=intent.capturable_minor)
    leaves_some = asked.amount_minor < intent.capturable_minor
    if leaves_some and not asked.final_capture and not _is_repeatable(intent):
        raise CaptureNotRepeatable(field="final_capture", capturable_minor=intent.capturable_minor)


def _check_lines(intent: Intent, asked: Sequence[LineAmount]) -> None:
    """Raise what forbids that so much of each line is captured."""
    captured = captured_of_lines(intent)
    left = {line.line_id: line.gross_minor - captured[line.line_id] for line in split_of(intent).lines}
    for number, one in beyond(asked, left, step_minor=split_of(intent).step_minor):
        raise CaptureExceedsCapturable(field=f"line_amounts[{number}]", capturable_minor=max(0, left[one.line_id]))


def _parts(known: Intent, asked: CaptureIntentParams) -> tuple[LineAmount, ...]:
    """Return what of each line was captured after one that names lines: with what those before came to, named or not.

    The mirror may show this capture already, so what was captured before is what the call found then.
    """
    if not asked.line_amounts:
        return known.captured_parts
    before = captured_of_lines(replace(known, captured_minor=asked.captured_before_minor))
    return added(amounts_of(before), asked.line_amounts)


def _is_repeatable(intent: Intent) -> bool:
    return intent.hold is not None and intent.hold.can_capture_again


def _body(intent: Intent, call: Call[CaptureIntentParams]) -> Json:
    asked, currency_code = call.params, call.params.currency_code
    body: dict[str, object] = {
        "amount_to_capture": to_stripe(asked.amount_minor, currency_code),
        "metadata": {CAPTURE_CALL_ID: str(call.call_id)},
        "expand": EXPANDED,
    }
    # Without a fee there is none to be another; with one Stripe wants to hear it with each capture.
    if intent.application_fee_minor or intent.captured_fee_minor or asked.application_fee_minor:
        body["application_fee_amount"] = to_stripe(asked.application_fee_minor, currency_code, field="application_fee")
    if _is_repeatable(intent):  # Stripe takes it of no other charge, and releases what those leave
        body["final_capture"] = asked.final_capture or asked.amount_minor == intent.capturable_minor
    return body


def _is_captured_by(intent: Json, call: Call[CaptureIntentParams]) -> bool:
    """Whether this capture was made."""
    least_minor = call.params.captured_before_minor + call.params.amount_minor
    is_ours = metadata(intent, CAPTURE_CALL_ID) == str(call.call_id)
    return is_ours and intent_facts(intent).captured_minor >= least_minor
