"""Disputes and inquiries: what the payer's bank takes back, when, and how it ends.

A dispute takes its amount and a fee at once, or later where it was opened so; an inquiry takes nothing, and may become
a dispute. The fee is the stand-in's own figure; whether it comes back with a dispute that is won is said when it is
opened. A debit's dispute is lost at once. What is not answered in time is lost by the clock (U).
"""

from collections.abc import Iterable
from typing import Any

from sandbox import settlement
from sandbox.answers import page
from sandbox.balance_transactions import book
from sandbox.errors import ApiError
from sandbox.world import Object, World

_FEE_MINOR = 1_500
_ANSWER_WITHIN_S = 9 * 86_400  # banks wait 7 to 21 days for evidence
DUE = "dispute_due"  # the label of what is lost unless it is answered, on the agenda
# An appeal follows on a decision, of either side's (U).
_MOVES = {
    "warning_needs_response": ("warning_under_review", "warning_closed", "needs_response", "prevented"),
    "warning_under_review": ("warning_needs_response", "warning_closed", "needs_response", "prevented"),
    "needs_response": ("under_review", "won", "lost", "prevented"),
    "under_review": ("needs_response", "won", "lost", "prevented", "appeal_needs_response"),
    "appeal_needs_response": ("appeal_under_review", "won", "lost"),
    "appeal_under_review": ("appeal_needs_response", "won", "lost"),
    "lost": ("appeal_needs_response",),
}
CLOSED = ("warning_closed", "won", "lost", "prevented")
UNANSWERED = {  # what a bank waits for an answer in → what it becomes by one
    "warning_needs_response": "warning_under_review",
    "needs_response": "under_review",
    "appeal_needs_response": "appeal_under_review",
}
_REFUNDABLE = ("warning_needs_response", "warning_under_review", "warning_closed", "won")
_WINNING, _LOSING = "winning_evidence", "losing_evidence"  # docs.stripe.com/testing
TEXTS = (
    "access_activity_log",
    "billing_address",
    "cancellation_policy_disclosure",
    "cancellation_rebuttal",
    "customer_email_address",
    "customer_name",
    "customer_purchase_ip",
    "duplicate_charge_explanation",
    "duplicate_charge_id",
    "product_description",
    "refund_policy_disclosure",
    "refund_refusal_explanation",
    "service_date",
    "shipping_address",
    "shipping_carrier",
    "shipping_date",
    "shipping_tracking_number",
    "uncategorized_text",
)
FILES = (
    "cancellation_policy",
    "customer_communication",
    "customer_signature",
    "duplicate_charge_documentation",
    "receipt",
    "refund_policy",
    "service_documentation",
    "shipping_documentation",
    "uncategorized_file",
)


def open_dispute(
    world: World,
    charge: Object,
    *,
    amount: int | None = None,
    reason: str | None = None,
    inquiry: bool = False,
    fee: int = _FEE_MINOR,
    returns_fee: bool = False,
    moves_after_s: float = 0.0,
    due_in_s: int = _ANSWER_WITHIN_S,
) -> Object:
    """Let the payer's bank contest a charge, the whole of it unless `amount` says otherwise.

    `fee` is what it costs (minor units), and `returns_fee` whether that comes back when it is won. With `moves_after_s`
    the money is withdrawn, and given back, so long after the event that says why, or at the next settlement.
    """
    if charge["status"] != "succeeded" or not charge["captured"]:
        raise ApiError(f"Charge {charge['id']} took no money, so nobody disputes it.", param="charge")
    settlement.settle(world, charge, announce=True)  # what is taken back has to be on the books first
    final = charge["payment_method_details"]["type"] == "sepa_debit"
    why = reason or ("debit_not_authorized" if final else "fraudulent")
    dispute = world.add(_new(world, charge, amount=amount or charge["amount_captured"], reason=why, due_in_s=due_in_s))
    world.dispute_terms[dispute["id"]] = {
        "fee": fee,
        "returns_fee": returns_fee,
        "moves_after_s": moves_after_s,
        "out": 0,
        "to_move": [],
    }
    charge["disputed"] = True
    world.touch(charge["id"])
    if inquiry:
        dispute.update(status="warning_needs_response", is_charge_refundable=True)
        _call(dispute, case_type="inquiry")
    moved = not inquiry and _move_money(world, dispute, amount=-dispute["amount"], fee=fee)
    if final:
        dispute["status"] = "lost"
        dispute["evidence_details"]["due_by"] = None
    world.emit("charge.dispute.created", dispute)
    if moved:
        world.emit("charge.dispute.funds_withdrawn", dispute)
    if final:
        world.emit("charge.dispute.closed", dispute)
    take_up(world, dispute)
    return dispute


def move(world: World, dispute: Object, *, status: str, reinstated: int | None = None) -> Object:
    """Take a dispute further: evidence was handed in, the bank decided, an inquiry became a dispute, …

    `reinstated` is what comes back with a decision (minor units): all of it when it is won, else nothing.
    """
    before = dispute["status"]
    if status not in _MOVES.get(before, ()):
        raise ApiError(f"A dispute that is {before} does not become {status}.", param="status")
    if UNANSWERED.get(before) == status and not dispute["evidence_details"]["submission_count"]:
        dispute["evidence_details"].update(has_evidence=True, submission_count=1, submission_method="manual")
    return change(world, dispute, status=status, reinstated=reinstated)


def change(world: World, dispute: Object, *, status: str, reinstated: int | None = None) -> Object:
    """Give a dispute its next status, with the money that this moves and the events that say so."""
    before = dispute["status"]
    dispute.update(status=status, is_charge_refundable=status in _REFUNDABLE)
    withdrawn = given_back = False
    if status == "needs_response" and before.startswith("warning"):
        _call(dispute, case_type="chargeback")
        fee = world.dispute_terms[dispute["id"]]["fee"]
        withdrawn = _move_money(world, dispute, amount=-dispute["amount"], fee=fee)
    elif status in CLOSED:
        out = world.dispute_terms[dispute["id"]]["out"]
        given_back = _give_back(world, dispute, amount=out if status == "won" else min(out, reinstated or 0))
    event = "charge.dispute.closed" if status in CLOSED else "charge.dispute.updated"
    world.emit(event, dispute, previous={"status": before})
    if withdrawn:
        world.emit("charge.dispute.funds_withdrawn", dispute)
    if given_back:
        world.emit("charge.dispute.funds_reinstated", dispute)
    return dispute


def forbids_refund(world: World, charge: Object) -> bool:
    """Whether a dispute of a charge stands in the way of refunding it."""
    found = world.by_field("dispute", field="charge", value=charge["id"])
    return any(not dispute["is_charge_refundable"] for dispute in found)


def list_all(world: World, params: dict[str, Any]) -> Object:
    found: Iterable[Object] = world.all("dispute")
    for field in ("charge", "payment_intent"):
        if field in params:
            found = world.by_field("dispute", field=field, value=params[field])
            break
    wanted = {name: params[name] for name in ("charge", "payment_intent") if name in params}
    return page(
        found, params, url="/v1/disputes", keep=lambda dispute: all(dispute[name] == wanted[name] for name in wanted)
    )


def take_up(world: World, dispute: Object) -> None:
    """Put on the agenda what is still to come of a dispute: when it begins, and after a restart."""
    for owed in list(world.dispute_terms[dispute["id"]]["to_move"]):
        _move_later(world, dispute, owed)
    due_by = dispute["evidence_details"]["due_by"]
    if dispute["status"] not in CLOSED and due_by is not None:
        delay_s = max(0.0, due_by - world.clock.now())
        world.later(delay_s, lambda: _lose_unanswered(world, dispute), label=DUE)
    decide_later(world, dispute)


def decide_later(world: World, dispute: Object) -> None:
    """Let the bank decide soon what was answered with one of the texts that Stripe has for tests."""
    said = dispute["evidence"]["uncategorized_text"]
    if dispute["status"] not in UNANSWERED.values() or said not in (_WINNING, _LOSING):
        return
    if dispute["status"].startswith("warning"):
        status = "warning_closed" if said == _WINNING else "needs_response"  # that it escalates: (U)
    else:
        status = "won" if said == _WINNING else "lost"

    def decide() -> None:
        if dispute["status"] in UNANSWERED.values():
            change(world, dispute, status=status)

    world.later(world.settings.settle_delay_s, decide, label=settlement.SETTLEMENT)


def _lose_unanswered(world: World, dispute: Object) -> None:
    """Let time decide: a dispute nobody answered is lost (U); an inquiry stays as it is."""
    if dispute["status"] in ("needs_response", "appeal_needs_response"):
        change(world, dispute, status="lost")


def _give_back(world: World, dispute: Object, *, amount: int) -> bool:
    terms = world.dispute_terms[dispute["id"]]
    returned = terms["fee"] if dispute["status"] == "won" and terms["returns_fee"] else 0
    return amount > 0 and _move_money(world, dispute, amount=amount, fee=-returned)


def _move_money(world: World, dispute: Object, *, amount: int, fee: int) -> bool:
    """Book what a dispute takes (below zero) or gives back; False where that comes later, with an event of its own."""
    terms = world.dispute_terms[dispute["id"]]
    owed = {"amount": amount, "fee": fee}
    terms["out"] -= amount
    if terms["moves_after_s"]:
        terms["to_move"].append(owed)
        _move_later(world, dispute, owed)
        return False
    _book(world, dispute, owed)
    return True


def _move_later(world: World, dispute: Object, owed: Object) -> None:
    terms = world.dispute_terms[dispute["id"]]
    to_move = terms["to_move"]

    def run() -> None:
        if owed not in to_move:
            return
        to_move.remove(owed)
        _book(world, dispute, owed)
        world.emit(f"charge.dispute.funds_{'withdrawn' if owed['amount'] < 0 else 'reinstated'}", dispute)

    world.later(terms["moves_after_s"], run, label=settlement.SETTLEMENT)


def _book(world: World, dispute: Object, owed: Object) -> None:
    booked = book(world, dispute, kind="adjustment", amount=owed["amount"], fee=owed["fee"])
    way, category = ("withdrawal", "dispute") if owed["amount"] < 0 else ("reversal", "dispute_reversal")
    booked.update(description=f"Chargeback {way} for {dispute['charge']}", reporting_category=category)
    dispute["balance_transactions"].append(booked)


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


def _new(world: World, charge: Object, *, amount: int, reason: str, due_in_s: int) -> Object:
    return {
        "id": world.new_id("dispute"),
        "object": "dispute",
        "amount": amount,
        "balance_transactions": [],
        "charge": charge["id"],
        "created": world.clock.seconds(),
        "currency": charge["currency"],
        "enhanced_eligibility_types": [],
        "evidence": dict.fromkeys(sorted((*TEXTS, *FILES))) | {"enhanced_evidence": {}},
        "evidence_details": {
            "due_by": world.clock.seconds() + due_in_s,
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
