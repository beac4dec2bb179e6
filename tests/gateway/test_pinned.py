"""What Stripe knows a call by, to the byte: another key or body, and what was made before is made a second time."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from services.gateway.call_log.call import Call, Params, call_id_of
from services.gateway.call_log.operation import Operation
from services.gateway.intents.cancel import CancelIntent, CancelIntentParams
from services.gateway.intents.capture import CaptureIntent, CaptureIntentParams
from services.gateway.intents.confirm import ConfirmIntent, ConfirmIntentParams
from services.gateway.intents.create import CreateIntent, CreateIntentParams
from services.gateway.intents.domain import Hold, Intent
from services.gateway.mirror.observation import Observation
from services.gateway.mirror.payment import MirroredPayment
from services.gateway.refunds.operations import CreateRefund, CreateRefundParams
from services.gateway.stripe_api.idempotency_keys import idempotency_key
from services.shared import codec
from services.shared.states import IntentState

REQUEST_ID = uuid.UUID("00000000-0000-4000-8000-000000000001")
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def payment(*intents: Intent) -> MirroredPayment:
    held = MirroredPayment(
        tenant_id="main",
        payment_id="pay_1",
        payer_id="payer_1",
        seller_id="seller_1",
        currency_code="CHF",
        observation=Observation(payment_id="pay_1"),
        fence=1,
        intents={one.attempt: one for one in intents},
        refunds={},
        movements={},
        unsettled=False,
        open_calls=[],
    )
    held.conclude()
    return held


def attempt(state: IntentState) -> Intent:
    captured_minor = 5_000 if state == IntentState.SUCCEEDED else 0
    return Intent(
        attempt=1,
        amount_minor=5_000,
        application_fee_minor=750,
        create_time=NOW,
        intent_id="pi_1",
        state=state,
        captured_minor=captured_minor,
    )


CREATE = {
    "attempt": 1,
    "amount_minor": 5_000,
    "currency_code": "CHF",
    "application_fee_minor": 750,
    "customer_id": "cus_1",
    "account_id": "acct_1",
    "description": "Lesson",
    "capture_manually": True,
}
CONFIRM = {"attempt": 1, "return_url": "https://shop.example/return"}
CANCEL = {"attempt": 1, "reason": "abandoned"}
CAPTURE = {"amount_minor": 2_000, "currency_code": "CHF", "application_fee_minor": 300, "final_capture": True}
HELD = replace(
    attempt(IntentState.REQUIRES_CAPTURE), capturable_minor=5_000, capture_manually=True, hold=Hold(expire_time=NOW)
)
REFUND = {
    "refund_id": "refund_1",
    "amount_minor": 1_000,
    "expected_refundable_minor": 5_000,
    "reverse_transfer": True,
    "refund_application_fee": True,
    "reason": "duplicate",
    "actor_id": "anna",
}
SENT = [
    (
        CreateIntent,
        CREATE,
        payment(),
        "intent.create:6f938eeb-5071-5cc0-a7c5-2723404d4046",
        '{"amount": 5000, "currency": "chf", "customer": "cus_1", "transfer_data": {"destination": "acct_1"}, '
        '"automatic_payment_methods": {"enabled": true}, "metadata": {"payment_id": "pay_1", "attempt": "1", '
        '"call_id": "6f938eeb-5071-5cc0-a7c5-2723404d4046"}, "application_fee_amount": 750, "description": "Lesson", '
        '"capture_method": "manual", "payment_method_options": {"card": {"request_multicapture": "if_available"}}}',
    ),
    (
        CreateIntent,
        CREATE
        | {
            "capture_manually": False,
            "setup_only": True,
            "consent_actor_id": "payer_1",
            "metadata": {"bookingId": "b_1"},
        },
        payment(),
        "intent.create:6f938eeb-5071-5cc0-a7c5-2723404d4046",
        '{"customer": "cus_1", "usage": "off_session", "automatic_payment_methods": {"enabled": true}, "metadata": '
        '{"bookingId": "b_1", "payment_id": "pay_1", "attempt": "1", '
        '"call_id": "6f938eeb-5071-5cc0-a7c5-2723404d4046"}, "description": "Lesson"}',
    ),
    (
        CreateIntent,
        CREATE | {"attempt": 2, "capture_manually": False, "keep_method": True, "description": ""},
        payment(attempt(IntentState.CANCELED)),
        "intent.create:6f938eeb-5071-5cc0-a7c5-2723404d4046",
        '{"amount": 5000, "currency": "chf", "customer": "cus_1", "transfer_data": {"destination": "acct_1"}, '
        '"automatic_payment_methods": {"enabled": true}, "metadata": {"payment_id": "pay_1", "attempt": "2", '
        '"call_id": "6f938eeb-5071-5cc0-a7c5-2723404d4046"}, "application_fee_amount": 750, '
        '"setup_future_usage": "off_session"}',
    ),
    (
        ConfirmIntent,
        CONFIRM | {"payment_method_id": "pm_1"},
        payment(attempt(IntentState.REQUIRES_PAYMENT_METHOD)),
        "intent.confirm:f6331b6c-b55f-51a1-9281-7a2f8f3fca8c",
        '{"return_url": "https://shop.example/return", "expand": ["latest_charge", "payment_method"], '
        '"payment_method": "pm_1"}',
    ),
    (
        ConfirmIntent,
        CONFIRM | {"confirmation_token_id": "ctoken_1"},
        payment(attempt(IntentState.REQUIRES_PAYMENT_METHOD)),
        "intent.confirm:f6331b6c-b55f-51a1-9281-7a2f8f3fca8c",
        '{"return_url": "https://shop.example/return", "expand": ["latest_charge", "payment_method"], '
        '"confirmation_token": "ctoken_1"}',
    ),
    (
        ConfirmIntent,
        CONFIRM | {"confirmation_token_id": "ctoken_1", "use_stripe_sdk": True},
        payment(attempt(IntentState.REQUIRES_PAYMENT_METHOD)),
        "intent.confirm:f6331b6c-b55f-51a1-9281-7a2f8f3fca8c",
        '{"return_url": "https://shop.example/return", "expand": ["latest_charge", "payment_method"], '
        '"confirmation_token": "ctoken_1", "use_stripe_sdk": true}',
    ),
    (
        ConfirmIntent,
        CONFIRM | {"payment_method_id": "pm_1", "off_session": True},
        payment(attempt(IntentState.REQUIRES_PAYMENT_METHOD)),
        "intent.confirm:f6331b6c-b55f-51a1-9281-7a2f8f3fca8c",
        '{"return_url": "https://shop.example/return", "expand": ["latest_charge", "payment_method"], '
        '"payment_method": "pm_1", "off_session": true}',
    ),
    (
        ConfirmIntent,
        CONFIRM | {"payment_method_id": "pm_1", "keep_method": True},
        payment(attempt(IntentState.REQUIRES_PAYMENT_METHOD)),
        "intent.confirm:f6331b6c-b55f-51a1-9281-7a2f8f3fca8c",
        '{"return_url": "https://shop.example/return", "expand": ["latest_charge", "payment_method"], '
        '"payment_method": "pm_1", "setup_future_usage": "off_session"}',
    ),
    (
        ConfirmIntent,
        CONFIRM | {"payment_method_id": "pm_1", "keep_method": True},
        payment(replace(attempt(IntentState.REQUIRES_ACTION), intent_id="seti_1", is_setup=True)),
        "intent.confirm:f6331b6c-b55f-51a1-9281-7a2f8f3fca8c",
        '{"return_url": "https://shop.example/return", "expand": ["payment_method"], "payment_method": "pm_1"}',
    ),
    (
        CaptureIntent,
        CAPTURE,
        payment(HELD),
        "intent.capture:f3587108-a692-5fad-9963-3466e84144c0",
        '{"amount_to_capture": 2000, "metadata": {"capture_call_id": "f3587108-a692-5fad-9963-3466e84144c0"}, '
        '"expand": ["latest_charge", "payment_method"], "application_fee_amount": 300}',
    ),
    (
        CaptureIntent,
        CAPTURE | {"final_capture": False},
        payment(replace(HELD, hold=Hold(expire_time=NOW, can_capture_again=True))),
        "intent.capture:f3587108-a692-5fad-9963-3466e84144c0",
        '{"amount_to_capture": 2000, "metadata": {"capture_call_id": "f3587108-a692-5fad-9963-3466e84144c0"}, '
        '"expand": ["latest_charge", "payment_method"], "application_fee_amount": 300, "final_capture": false}',
    ),
    (
        CancelIntent,
        CANCEL,
        payment(attempt(IntentState.REQUIRES_ACTION)),
        "intent.cancel:b792fdf9-7cea-5eac-b0d7-881ddb8a5623",
        '{"cancellation_reason": "abandoned"}',
    ),
    (
        CreateRefund,
        REFUND,
        payment(attempt(IntentState.SUCCEEDED)),
        "refund.create:caaed44d-716a-5e3b-b11a-1ed9909f99e5",
        '{"payment_intent": "pi_1", "amount": 1000, "reverse_transfer": false, "refund_application_fee": false, '
        '"metadata": {"payment_id": "pay_1", "refund_id": "refund_1", "bearer": "SHARED", "actor_id": "anna", '
        '"lines": "[[\\"\\",1000]]"}, "reason": "duplicate"}',
    ),
]


def call_of(operation: type[Operation[Any, Any]], params: Params) -> Call[Any]:
    return Call(
        tenant_id="main",
        call_id=call_id_of("main", operation.name, REQUEST_ID),
        operation=operation.name,
        request_id=REQUEST_ID,
        request_hash=b"",
        subject_id="pay_1",
        params=params,
        create_time=NOW,
    )


class NobodyElse:
    """A table of methods in which nothing stands."""

    async def check_belongs(self, tenant_id: str, payer_id: str, method_id: str) -> None:
        pass


@pytest.mark.parametrize(("kind", "stored", "held", "key", "body"), SENT)
async def test_what_is_sent_and_under_which_key_stays_as_it_was(
    kind: Any, stored: dict[str, object], held: MirroredPayment, key: str, body: str
) -> None:
    call = call_of(kind, codec.from_json(kind.params_type, stored))

    operation = ConfirmIntent(None, None, NobodyElse()) if kind is ConfirmIntent else kind(None, None)  # type: ignore[arg-type]
    prepared = await operation.prepare(held, call)

    assert json.dumps(prepared.body) == body
    assert call.key == key


def test_keys_are_made_as_they_were() -> None:
    call = call_of(CreateRefund, Params())
    assert call.key == "refund.create:caaed44d-716a-5e3b-b11a-1ed9909f99e5"
    assert call.with_new_key(NOW).key == f"{call.key}:1"
    assert (
        idempotency_key("account.create", "main", "seller_1", 1)
        == "account.create:6e22211e-3c75-5546-9364-cdc3c32c4fc8"
    )
    assert (
        idempotency_key("customer.create", "main", "payer_1", 1)
        == "customer.create:a6b13278-c169-5d04-afa0-1a6d848046f0"
    )


BEFORE = {"send_before_time": "2026-11-20T12:00:00+00:00"}
"""As rows of calls hold their parameters, before `prepare` and after."""


@pytest.mark.parametrize(
    ("kind", "stored"),
    [
        (CreateIntentParams, CREATE),
        (CreateIntentParams, CREATE | BEFORE | {"body": {"amount": 5_000, "metadata": {"attempt": "1"}}}),
        (ConfirmIntentParams, CONFIRM | BEFORE | {"payment_method_id": "pm_1"}),
        (ConfirmIntentParams, CONFIRM | {"payment_method_id": "pm_1", "intent_id": "pi_1", "body": {"expand": ["a"]}}),
        (CaptureIntentParams, CAPTURE),
        (CaptureIntentParams, CAPTURE | {"attempt": 1, "intent_id": "pi_1", "captured_before_minor": 5, "body": {}}),
        (CancelIntentParams, CANCEL | {"intent_id": "pi_1", "body": {}}),
        (CreateRefundParams, REFUND | {"intent_id": "pi_1", "body": {"amount": 1_000}}),
    ],
)
def test_parameters_that_were_written_down_are_read_and_written_as_they_are(
    kind: type[Params], stored: dict[str, object]
) -> None:
    read = codec.from_json(kind, stored)

    written = json.loads(json.dumps(codec.to_json(read)))

    assert written.items() >= stored.items()
    assert codec.from_json(kind, written) == read


def test_a_field_of_a_later_release_is_passed_over_and_one_of_another_type_is_not() -> None:
    assert codec.from_json(CancelIntentParams, CANCEL | {"later": 1}) == codec.from_json(CancelIntentParams, CANCEL)
    for attempt_number in ("1", True, 1.0, [1]):
        with pytest.raises(TypeError):
            codec.from_json(CancelIntentParams, CANCEL | {"attempt": attempt_number})
    with pytest.raises(TypeError):
        codec.from_json(CancelIntentParams, {"reason": "abandoned"})
