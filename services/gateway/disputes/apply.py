"""Disputes as Stripe shows them, put into the mirror."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from services.errors import InvalidRequest
from services.gateway.disputes import domain as disputes
from services.gateway.disputes.domain import Dispute
from services.gateway.intents.operations import observe
from services.gateway.mirror.store import MirroredPayment
from services.gateway.stripe_api.currencies import AmountNotRepresentable, from_stripe

Json = Mapping[str, Any]


def apply_disputes(held: MirroredPayment, attempt: int, shown: Sequence[Json]) -> None:
    """Put all disputes of an attempt's charge into the mirror. Stripe never takes one back, so none is forgotten."""
    intent = held.intents[attempt]
    known = {dispute.dispute_id: dispute for dispute in intent.disputes}
    for one in shown:
        dispute = _dispute(one, currency_code=held.currency_code, captured_minor=intent.captured_minor)
        known[dispute.dispute_id] = dispute
    contested = tuple(known[dispute_id] for dispute_id in sorted(known))
    held.intents[attempt] = replace(intent, disputes=contested)
    observe(held)


def _dispute(shown: Json, *, currency_code: str, captured_minor: int) -> Dispute:
    status, details = str(shown["status"]), shown.get("evidence_details") or {}
    due = int(details.get("due_by") or 0)  # 0 where no evidence is taken
    moved = sum(int(entry["amount"]) for entry in shown.get("balance_transactions") or ())
    return Dispute(
        dispute_id=str(shown["id"]),
        status=status,
        standing=disputes.standing_of(status, is_withdrawn=moved < 0),
        amount_minor=_amount_minor(shown, currency_code=currency_code, captured_minor=captured_minor),
        reason=str(shown.get("reason") or "unknown"),
        is_charge_refundable=bool(shown.get("is_charge_refundable")),
        evidence_due_time=datetime.fromtimestamp(due, UTC) if due else None,
    )


def _amount_minor(shown: Json, *, currency_code: str, captured_minor: int) -> int:
    """Return what is contested; all that was taken where the bank says it in another currency, or in parts of ours."""
    currency = str(shown["currency"])
    if currency.upper() != currency_code:
        return captured_minor
    try:
        return from_stripe(int(shown["amount"]), currency)
    except (InvalidRequest, AmountNotRepresentable):
        return captured_minor
