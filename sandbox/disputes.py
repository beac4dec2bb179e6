"""Disputes and inquiries: what the payer's bank takes back, when, and how it ends.

A dispute takes its amount and a fee at once; an inquiry takes nothing, and may become a dispute. Fees are the
stand-in's own figure.
"""

from typing import Any

from sandbox import settlement
from sandbox.answers import page
from sandbox.errors import ApiError
from sandbox.world import Object, World

_FEE_MINOR = 1_500
_ANSWER_WITHIN_S = 7 * 86_400  # as long as a bank waits for evidence
_MOVES = {
    "warning_needs_response": ("warning_under_review", "warning_closed", "needs_response"),
    "warning_under_review": ("warning_closed", "needs_response"),
    "needs_response": ("under_review", "won", "lost"),
    "under_review": ("won", "lost"),
}
_CLOSED = ("warning_closed", "won", "lost")
_REFUNDABLE = ("warning_needs_response", "warning_under_review", "warning_closed", "won")
_EVIDENCE = (
    "access_activity_log",
    "billing_address",
    "cancellation_policy",
    "cancellation_policy_disclosure",
    "cancellation_rebuttal",
    "customer_communication",
    "customer_email_address",
    "customer_name",
    "customer_purchase_ip",
    "customer_signature",
    "duplicate_charge_documentation",
    "duplicate_charge_explanation",
    "duplicate_charge_id",
    "product_description",
    "receipt",
    "refund_policy",
    "refund_policy_disclosure",
    "refund_refusal_explanation",
    "service_date",
    "service_documentation",
    "shipping_address",
    "shipping_carrier",
    "shipping_date",
    "shipping_documentation",
    "shipping_tracking_number",
    "uncategorized_file",
    "uncategorized_text",
)


def open_dispute(
    world: World, charge: Object, *, amount: int | None = None, reason: str = "fraudulent", inquiry: bool = False
) -> Object:
    """Let the payer's bank contest a charge, the whole of it unless `amount` says otherwise."""
    if charge["status"] != "succeeded" or not charge["captured"]:
        raise ApiError(f"Charge {charge['id']} took no money, so nobody disputes it.", param="charge")
    settlement.settle(world, charge, announce=True)  # what is taken back has to be on the books first
    dispute = world.add(_new(world, charge, amount=amount or charge["amount_captured"], reason=reason))
    charge["disputed"] = True
    if inquiry:
        dispute.update(status="warning_needs_response", is_charge_refundable=True)
        _call(dispute, case_type="inquiry")
    else:
        _withdraw(world, dispute)
    world.emit("charge.dispute.created", dispute)
    if not inquiry:
        world.emit("charge.dispute.funds_withdrawn", dispute)
    return dispute


def move(world: World, dispute: Object, *, status: str) -> Object:
    """Take a dispute further: evidence was handed in, the bank decided, an inquiry became a dispute."""
    before = dispute["status"]
    if status not in _MOVES.get(before, ()):
        raise ApiError(f"A dispute that is {before} does not become {status}.", param="status")
    previous = {"status": before}
    if status == "needs_response":
        _withdraw(world, dispute)
        _call(dispute, case_type="chargeback")
    elif status in ("under_review", "warning_under_review"):
        dispute["evidence_details"].update(has_evidence=True, submission_count=1, submission_method="manual")
    dispute.update(status=status, is_charge_refundable=status in _REFUNDABLE)
    if status == "won":
        dispute["balance_transactions"].append(
            settlement.entry(world, dispute, kind="adjustment", amount=dispute["amount"])
        )
    world.emit("charge.dispute.closed" if status in _CLOSED else "charge.dispute.updated", dispute, previous=previous)
    if status == "needs_response":
        world.emit("charge.dispute.funds_withdrawn", dispute)
    elif status == "won":
        world.emit("charge.dispute.funds_reinstated", dispute)
    return dispute


def forbids_refund(world: World, charge: Object) -> bool:
    """Whether a dispute of a charge stands in the way of refunding it."""
    found = world.by_field("dispute", field="charge", value=charge["id"])
    return any(not dispute["is_charge_refundable"] for dispute in found)


def list_all(world: World, params: dict[str, Any]) -> Object:
    found = list(world.all("dispute"))
    for field in ("charge", "payment_intent"):
        if field in params:
            found = world.by_field("dispute", field=field, value=params[field])
            break
    wanted = {name: params[name] for name in ("charge", "payment_intent") if name in params}
    return page(
        found, params, url="/v1/disputes", keep=lambda dispute: all(dispute[name] == wanted[name] for name in wanted)
    )


def _withdraw(world: World, dispute: Object) -> None:
    dispute["balance_transactions"].append(
        settlement.entry(world, dispute, kind="adjustment", amount=-dispute["amount"], fee=_FEE_MINOR)
    )


def _call(dispute: Object, *, case_type: str) -> None:
    """Say in a card's details which case it is; a debit's dispute has none."""
    if dispute["payment_method_details"] is not None:
        dispute["payment_method_details"]["card"]["case_type"] = case_type


def _details(charge: Object) -> Object | None:
    card = charge["payment_method_details"].get("card")
    if card is None:
        return None
    brand = card["brand"]
    return {
        "card": {"brand": brand, "case_type": "chargeback", "network": brand, "network_reason_code": "10.4"},
        "type": "card",
    }


def _new(world: World, charge: Object, *, amount: int, reason: str) -> Object:
    return {
        "id": world.new_id("dispute"),
        "object": "dispute",
        "amount": amount,
        "balance_transactions": [],
        "charge": charge["id"],
        "created": world.clock.seconds(),
        "currency": charge["currency"],
        "enhanced_eligibility_types": [],
        "evidence": dict.fromkeys(_EVIDENCE) | {"enhanced_evidence": {}},
        "evidence_details": {
            "due_by": world.clock.seconds() + _ANSWER_WITHIN_S,
            "enhanced_eligibility": {},
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
            "submission_method": "not_submitted",
        },
        "is_charge_refundable": False,
        "livemode": False,
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "payment_method_details": _details(charge),
        "reason": reason,
        "status": "needs_response",
    }
