"""Stripe's transfers and application fees, and what a charge says of those that came with it, read into facts."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from services.gateway.intents.domain import ChargeFacts
from services.gateway.settlement.domain import MovementKind
from services.gateway.settlement.seen import BackFacts, MovedFacts
from services.gateway.stripe_api.currencies import from_stripe
from services.gateway.stripe_api.metadata import ACTOR_ID, CALL_ID, MOVEMENT_ID
from services.gateway.stripe_api.objects import amount, metadata, number, part, parts, reference, text
from services.shared.codec import Json

TRANSFERS: Final = "transfer"
FEES: Final = "application_fee"


def moved_facts(shown: Json) -> MovedFacts:
    """Read a transfer or an application fee as Stripe shows it, with the newest of what went back on it."""
    is_transfer = shown["object"] == TRANSFERS
    return MovedFacts(
        kind=MovementKind.TRANSFER if is_transfer else MovementKind.FEE,
        stripe_id=str(shown["id"]),
        movement_id=metadata(shown, MOVEMENT_ID),
        actor_id=metadata(shown, ACTOR_ID),
        call_id=metadata(shown, CALL_ID),
        account_id=reference(shown, "destination" if is_transfer else "account"),
        charge_id=reference(shown, "source_transaction" if is_transfer else "charge"),
        amount_minor=amount(shown, "amount"),
        currency_code=str(shown["currency"]).upper(),
        create_time=_time(shown),
        back=backs(parts(part(shown, "reversals" if is_transfer else "refunds"), "data")),
        back_minor=amount(shown, "amount_reversed" if is_transfer else "amount_refunded"),
    )


def backs(shown: Iterable[Json]) -> tuple[BackFacts, ...]:
    """Read reversals, or refunds of a fee."""
    return tuple(
        BackFacts(
            stripe_id=str(one["id"]),
            movement_id=metadata(one, MOVEMENT_ID),
            actor_id=metadata(one, ACTOR_ID),
            call_id=metadata(one, CALL_ID),
            amount_minor=amount(one, "amount"),
            stripe_refund_id=reference(one, "source_refund"),
            create_time=_time(one),
        )
        for one in shown
    )


def charge_facts(charge: Json) -> ChargeFacts | None:
    """Read what a charge that took money says of what Stripe booked and moved with it; None where it took none."""
    if text(charge, "status") != "succeeded" or not number(charge, "amount_captured"):
        return None
    captured_minor = amount(charge, "amount_captured")
    details = part(charge, "payment_method_details")
    multicapture = part(part(details, text(details, "type")), "multicapture")
    transfer_minor = part(charge, "transfer_data").get("amount")
    currency = str(charge["currency"])
    return ChargeFacts(
        charge_id=str(charge["id"]),
        captured_minor=captured_minor,
        currency_code=currency.upper(),
        balance_transaction_id=reference(charge, "balance_transaction"),
        transfer_id=reference(charge, "transfer"),
        transfer_minor=captured_minor if transfer_minor is None else from_stripe(int(str(transfer_minor)), currency),
        fee_id=reference(charge, "application_fee"),
        fee_minor=min(captured_minor, from_stripe(number(charge, "application_fee_amount"), currency)),
        is_captured_once=text(multicapture, "status") != "available",
        create_time=_time(charge),
    )


def _time(shown: Json) -> datetime:
    return datetime.fromtimestamp(number(shown, "created"), UTC)
