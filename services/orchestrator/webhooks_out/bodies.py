"""Makes the body of a fact in the form that a receiver wants. What only the gateway knows is asked for once a body."""

from __future__ import annotations

from services.orchestrator.domain.attempts import StripeIds
from services.orchestrator.facts.domain import Fact
from services.orchestrator.peers.gateway import Gateway
from services.orchestrator.webhooks_out import payload, wire


def full(fact: Fact) -> bytes:
    """Return the full form of a fact."""
    return payload.full_body(fact, None if fact.payment is None else wire.payment_json(fact.payment))


async def legacy(fact: Fact, gateway: Gateway) -> bytes:
    """Return the old form of a fact that has one. Raises `DependencyUnavailable` while the gateway is away."""
    if fact.payment is None:
        raise ValueError(f"{fact.kind} has no old form: status did not say it")
    payment = wire.legacy_payment(fact.payment)
    ids = await gateway.stripe_ids(fact.payment_id, payment.attempt) if payment.attempt else StripeIds()
    return payload.legacy_body(payment, ids)


def has_legacy_form(fact: Fact) -> bool:
    """Whether the old form can say it: how a payment stands, as status recorded it."""
    return fact.payment is not None
