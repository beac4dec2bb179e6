"""What a webhook's body says of a fact. Pure; made once, since a repeat has to be the same bytes.

The full form says everything, under the names of the contracts. The old form is what the reservation system was sent
before there was a suite: one payment, how it stands, and Stripe's ids. In both, amounts are minor units.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from services.orchestrator.domain.attempts import StripeIds
from services.orchestrator.facts.domain import Fact, FactKind
from services.shared.states import State

TEST_TYPE: Final = "test"

LEGACY_STATUSES: Final[Mapping[State, str]] = {
    State.INITIALIZED: "pending",
    State.REQUIRES_PAYMENT_METHOD: "pending",
    State.SCHEDULED: "pending",
    State.REQUIRES_ACTION: "pending",
    State.PROCESSING: "processing",
    State.AUTHORIZED: "processing",
    State.SUCCEEDED: "succeeded",
    State.FAILED: "failed",
    State.CANCELED: "failed",
    State.EXPIRED: "failed",
}
"""How a collection stands → `paymentStatus`. What is given back or disputed later stays `succeeded`, having no word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LegacyPayment:
    """What the old form says of a payment at one revision, but for Stripe's ids."""

    booking_ids: Sequence[str]
    attempt: int
    """0 before the first: then Stripe knows nothing of it."""
    collection: State
    captured_minor: int
    currency_code: str
    complete_time: datetime | None


def event_type(kind: FactKind) -> str:
    """Return the name of a kind of facts as the convention writes it: PAYMENT_MOVED is `payment.moved`."""
    return kind.lower().replace("_", ".")


def full_body(fact: Fact, payment: Mapping[str, object] | None) -> bytes:
    """Return the full form; `payment` is the fact's payment as JSON, None where status did not say so."""
    return _json(
        {
            "type": event_type(fact.kind),
            "timestamp": instant(fact.occur_time),
            "data": {
                "tenant": fact.tenant_id,
                "fact_id": str(fact.fact_id),
                "payment_id": fact.payment_id,
                "revision": fact.revision,
                "payer_id": fact.payer_id,
                "seller_ids": list(fact.seller_ids),
                "values": dict(fact.values),
                "payment": payment,
            },
        }
    )


def legacy_body(payment: LegacyPayment, ids: StripeIds) -> bytes:
    """Return the old form. What is not known, or not so yet, is null; several reservations are joined by commas."""
    is_paid = payment.collection is State.SUCCEEDED
    return _json(
        {
            "reservationId": ",".join(payment.booking_ids),
            "paymentStatus": LEGACY_STATUSES[payment.collection],
            "stripeSessionId": ids.session_id or None,
            "stripePaymentIntentId": ids.intent_id or None,
            "paidAmount": payment.captured_minor if is_paid else None,
            "paidCurrency": payment.currency_code if is_paid else None,
            "paidAt": instant(payment.complete_time) if is_paid and payment.complete_time else None,
        }
    )


def test_body(*, tenant_id: str, subscription_id: str, time: datetime) -> bytes:
    """Return what a test sends, to receivers of either form: it says nothing of any payment, so nobody acts on it."""
    data = {"tenant": tenant_id, "subscription_id": subscription_id}
    return _json({"type": TEST_TYPE, "timestamp": instant(time), "data": data})


def instant(time: datetime) -> str:
    """Return a time as RFC 3339 writes it, in UTC, to the millisecond."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _json(value: Mapping[str, object]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
