"""What a movement is for, and the ids that follow from that: whoever comes to the same fact asks for the same. Pure.

A fact says what the movement leads to, the cumulative amount and not the one that moves. So of two that come to it at
once one is made, and a process that dies finds its own again.
"""

from __future__ import annotations

import uuid
from typing import Final

from services.gateway.settlement.domain import MovementKind

FACT_NAMESPACE: Final = uuid.UUID("6c1f1f0e-4b0f-5b6c-9a37-2d0c5e9f7a11")
"""Of the ids of movements and of the requests that make them. Never changes: Stripe knows calls by them."""
PREFIXES: Final = {
    MovementKind.TRANSFER: "transfer",
    MovementKind.REVERSAL: "reversal",
    MovementKind.FEE: "fee",
    MovementKind.FEE_REFUND: "feerefund",
    MovementKind.WRITE_OFF: "writeoff",
    MovementKind.NETTING_OUT: "nettingout",
    MovementKind.NETTING_IN: "nettingin",
}


def way_back(kind: MovementKind, of_movement_id: str, until_minor: int) -> str:
    """Return the fact that so much of a transfer, or of a fee, went back in all, in the payment's currency."""
    return f"{kind.lower()}:{of_movement_id}:{until_minor}"


def netting(payment_id: str, attempt: int, seller_id: str, until_minor: int) -> str:
    """Return the fact that so much was kept back from a seller of an attempt in all; both sides of it carry this."""
    named = f"{payment_id}/{attempt}:{seller_id}:{until_minor}"
    return f"netting:{uuid.uuid5(FACT_NAMESPACE, named).hex}"


def movement_id(kind: MovementKind, payment_id: str, fact: str) -> str:
    """Return the id of the movement that makes a fact true."""
    return f"{PREFIXES[kind]}_{uuid.uuid5(FACT_NAMESPACE, f'{payment_id}/{fact}').hex}"


def of_stripe(kind: MovementKind, stripe_id: str) -> str:
    """Return the id of a movement that no call of ours made: of Stripe's."""
    return f"{PREFIXES[kind]}_{stripe_id.partition('_')[2]}"


def request_id(payment_id: str, fact: str, *, refusals: int) -> uuid.UUID:
    """Return the id of the request for a movement that Stripe refused so often before."""
    return uuid.uuid5(FACT_NAMESPACE, f"{payment_id}/{fact}/{refusals}")
