"""An attempt and a movement as the statements that write them are given them."""

from __future__ import annotations

from dataclasses import replace

from services.gateway.disputes.domain import Dispute
from services.gateway.intents.domain import Intent
from services.gateway.settlement.domain import Movement
from services.shared import codec


def intent_row(one: Intent, *, payer_id: str, claims_method_id: str = "") -> dict[str, object]:
    """Return an attempt with its disputes; `claims_method_id` is the kept method that it begins to claim."""
    return {
        "attempt": one.attempt,
        "intent_id": one.intent_id,
        "charge_id": one.charge_id,
        "session_id": one.session_id,
        "needs_method_id": one.needs_method_id,
        "claims_method_id": claims_method_id,
        "kept_method_id": one.kept_method_id,
        "payer_id": payer_id,
        "consent_actor_id": one.consent_actor_id,
        "consent_time": one.consent_time.isoformat() if one.consent_time is not None else None,
        "mirrored": codec.to_json(replace(one, disputes=())),
        "disputes": [_dispute_row(each) for each in one.disputes],
        "create_time": one.create_time.isoformat(),
    }


def movement_row(one: Movement) -> dict[str, object]:
    """Return a movement."""
    return {
        "movement_id": one.movement_id,
        "kind": one.kind,
        "seller_id": one.seller_id,
        "stripe_id": one.stripe_id,
        "mirrored": codec.to_json(one),
        "create_time": one.create_time.isoformat(),
    }


def _dispute_row(dispute: Dispute) -> dict[str, object]:
    due_time, warning_time = dispute.due_time, dispute.next_warning_time()
    return {
        "dispute_id": dispute.dispute_id,
        "state": dispute.state,
        "is_open": dispute.is_open,
        "answer_due_time": due_time.isoformat() if due_time is not None else None,
        "mirrored": codec.to_json(dispute),
        "create_time": dispute.create_time.isoformat(),
        "due_time": warning_time.isoformat() if warning_time is not None else None,
    }
