"""Payouts of an account to its bank: of a connected account in its own world, of the platform in the platform's.

What moves them is a control. A payout that was paid may still come back: it has failed then.
"""

from typing import Any

from sandbox.answers import page
from sandbox.errors import ApiError
from sandbox.world import Object, World

_ARRIVES_S = 2 * 86_400
_EVENT_OF = {"paid": "payout.paid", "failed": "payout.failed", "canceled": "payout.canceled"}
_BEFORE = {
    "in_transit": ("pending",),
    "paid": ("pending", "in_transit"),
    "failed": ("pending", "in_transit", "paid"),
    "canceled": ("pending",),
}


def make(world: World, *, amount: int, currency: str, automatic: bool = True) -> Object:
    """Send money off to the bank; below zero the bank is charged."""
    payout: Object = {
        "id": world.new_id("payout"),
        "object": "payout",
        "amount": amount,
        "application_fee": None,
        "application_fee_amount": None,
        "arrival_date": world.clock.seconds() + _ARRIVES_S,
        "automatic": automatic,
        "balance_transaction": None,
        "created": world.clock.seconds(),
        "currency": currency.lower(),
        "description": None,
        "destination": None,
        "failure_balance_transaction": None,
        "failure_code": None,
        "failure_message": None,
        "livemode": False,
        "metadata": {},
        "method": "standard",
        "original_payout": None,
        "payout_method": None,
        "reconciliation_status": "in_progress" if automatic else "not_applicable",
        "reversed_by": None,
        "source_type": "card",
        "statement_descriptor": None,
        "status": "pending",
        "trace_id": None,
        "type": "bank_account",
    }
    world.add(payout)
    world.emit("payout.created", payout)
    return payout


def move(world: World, payout: Object, *, status: str, failure_code: str = "account_closed") -> Object:
    """Take a payout to its next status."""
    if payout["status"] not in _BEFORE.get(status, ()):
        raise ApiError(f"A payout that is {payout['status']} does not become {status}.", status=409)
    previous = {"status": payout["status"]}
    payout["status"] = status
    if status == "failed":
        payout |= {"failure_code": failure_code, "failure_message": "The bank did not take it."}
    world.emit(_EVENT_OF.get(status, "payout.updated"), payout, previous=previous)
    return payout


def reconcile(world: World, payout: Object) -> Object:
    """Let Stripe say that it knows what is in an automatic payout."""
    payout["reconciliation_status"] = "completed"
    world.emit("payout.reconciliation_completed", payout, previous={"reconciliation_status": "in_progress"})
    return payout


def list_all(world: World, params: dict[str, Any]) -> Object:
    status = params.get("status")
    return page(world.all("payout"), params, url="/v1/payouts", keep=lambda payout: status in (None, payout["status"]))
