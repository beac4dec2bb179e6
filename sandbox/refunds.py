"""Refunds: limits, slow and failing ones, and what they take back from a seller."""

from collections.abc import Callable, Iterable
from typing import Any

from sandbox import charging, disputes, fees, reversals, settlement
from sandbox.answers import page
from sandbox.balance_transactions import available_with, book
from sandbox.cards import RefundOutcome
from sandbox.currencies import check_step, shown
from sandbox.errors import ApiError
from sandbox.world import Object, World, merge_metadata

_COUNTED = ("pending", "requires_action", "succeeded")  # statuses that use up the charge's refundable amount


def create(world: World, params: dict[str, Any]) -> Object:
    charge = _charge(world, params)
    if disputes.forbids_refund(world, charge):
        raise ApiError(f"Charge {charge['id']} has been charged back; cannot issue a refund.", code="charge_disputed")
    refundable = _refundable(world, charge)
    if refundable <= 0:
        raise ApiError(f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    amount = params.get("amount", refundable)
    currency = charge["currency"]
    if amount < 1:
        raise ApiError(
            "This value must be greater than or equal to 1.", code="parameter_invalid_integer", param="amount"
        )
    if amount > refundable:
        raise ApiError(
            f"Refund amount ({shown(amount, currency=currency)}) is greater than unrefunded amount on charge "
            f"({shown(refundable, currency=currency)})",
            param="amount",
        )
    check_step(amount, currency=currency)
    reverse, return_fee = params.get("reverse_transfer", False), params.get("refund_application_fee", False)
    _check_split(charge, reverse=reverse, return_fee=return_fee)
    if (reverse or return_fee) and amount != charge["amount_captured"]:
        _check_captured_once(world, charge)
    settlement.settle(world, charge, announce=True)  # what is refunded has to be on the books first
    refund = world.add(_new(world, params, charge=charge, amount=amount))
    outcome = world.cards[charge["payment_method"]].refund
    if outcome is RefundOutcome.PENDING_THEN_SUCCEEDS:
        refund.update(status="pending", pending_reason="processing")
    else:
        refund["balance_transaction"] = _book(world, refund)
    take_up(world, refund)
    if reverse:
        for transfer in world.by_field("transfer", field="source_transaction", value=charge["id"]):
            _reverse_transfer(world, charge, refund, transfer)
    if return_fee:
        for fee in world.by_field("application_fee", field="charge", value=charge["id"]):
            _return_fee(world, charge, refund, fee)
    charging.count_refunded(charge, amount)
    world.emit("refund.created", refund)
    world.emit("charge.refunded", charge)
    return refund


def take_up(world: World, refund: Object) -> None:
    """Let what is still to come of a refund come: after it was made, and after a restart."""
    charge = world.get("charge", refund["charge"])
    outcome = world.cards[charge["payment_method"]].refund
    if refund["status"] == "pending":
        _later(world, lambda: _succeed(world, refund))
    elif refund["status"] == "succeeded" and outcome is RefundOutcome.SUCCEEDS_THEN_FAILS:
        _later(world, lambda: _fail(world, refund, charge))


def retrieve(world: World, _params: dict[str, Any], refund_id: str) -> Object:
    return world.get("refund", refund_id)


def update(world: World, params: dict[str, Any], refund_id: str) -> Object:
    """Change metadata: the only thing about a refund that can change."""
    refund = world.get("refund", refund_id)
    if "metadata" in params:
        before = refund["metadata"]
        refund["metadata"] = merge_metadata(before, params["metadata"])
        if refund["metadata"] != before:
            world.emit("refund.updated", refund, previous={"metadata": before})
    return refund


def list_all(world: World, params: dict[str, Any]) -> Object:
    found: Iterable[Object] = world.all("refund")
    for field in ("payment_intent", "charge"):
        if field in params:
            world.referred(field, params[field], param=field)
            found = world.by_field("refund", field=field, value=params[field])
            break
    charge = params.get("charge")
    return page(found, params, url="/v1/refunds", keep=lambda refund: charge in (None, refund["charge"]))


def _charge(world: World, params: dict[str, Any]) -> Object:
    if "charge" in params and "payment_intent" in params:
        raise ApiError("You may only specify one of these parameters: charge, payment_intent.", param="charge")
    if "charge" in params:
        charge = world.referred("charge", params["charge"], param="charge")
    elif "payment_intent" in params:
        intent = world.referred("payment_intent", params["payment_intent"], param="payment_intent")
        found = world.find(intent["latest_charge"]) if intent["latest_charge"] else None
        if found is None or found["status"] != "succeeded":
            raise ApiError(
                f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund.",
                param="payment_intent",
            )
        charge = found
    else:
        raise ApiError(
            "One of the following params should be provided for this request: payment_intent or charge.",
            code="parameter_missing",
        )
    if charge["status"] != "succeeded":
        raise ApiError(f"Charge {charge['id']} did not succeed, so it cannot be refunded.", param="charge")
    if charge["refunded"]:
        raise ApiError(f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    if not charge["amount_captured"]:
        raise ApiError(
            f"Charge {charge['id']} has not been captured. Cancel its PaymentIntent to release the funds.",
            code="payment_intent_unexpected_state",
        )
    return charge


def _refundable(world: World, charge: Object) -> int:
    found = world.by_field("refund", field="charge", value=charge["id"])
    taken = sum(int(refund["amount"]) for refund in found if refund["status"] in _COUNTED)
    return int(charge["amount_captured"]) - taken


def _check_split(charge: Object, *, reverse: bool, return_fee: bool) -> None:
    if reverse and charge["transfer_data"] is None:
        raise ApiError(
            f"Charge {charge['id']} has no transfer, so `reverse_transfer` cannot be set.", param="reverse_transfer"
        )
    if return_fee and not charge["application_fee_amount"]:
        raise ApiError(
            f"Charge {charge['id']} has no application fee, so `refund_application_fee` cannot be set.",
            param="refund_application_fee",
        )
    if return_fee and not reverse:
        raise ApiError(
            "Refunding the application fee of a destination charge requires `reverse_transfer`.",
            param="refund_application_fee",
        )


def _check_captured_once(world: World, charge: Object) -> None:
    """Refuse what Stripe does not do for a charge that is captured in parts. The words: (U)."""
    if len(settlement.captures_of(world, charge)) > 1 or not charge["captured"]:
        raise ApiError(
            f"Charge {charge['id']} was captured in several parts. A partial refund of it takes neither "
            "`reverse_transfer` nor `refund_application_fee`; use transfer reversals and application fee refunds."
        )


def _new(world: World, params: dict[str, Any], *, charge: Object, amount: int) -> Object:
    card: Object = {
        "reference": world.token(12),
        "reference_status": "available",
        "reference_type": "acquirer_reference_number",
        "type": "refund",
    }
    return {
        "id": world.new_id("refund"),
        "object": "refund",
        "amount": amount,
        "balance_transaction": None,
        "charge": charge["id"],
        "created": world.clock.seconds(),
        "currency": charge["currency"],
        "customer": charge["customer"],
        "customer_account": None,
        "destination_details": {"card": card, "type": "card"},
        "metadata": merge_metadata({}, params.get("metadata", {})),
        "payment_intent": charge["payment_intent"],
        "payment_method": charge["payment_method"],
        "reason": params.get("reason"),
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": "succeeded",
        "transfer_reversal": None,
    }


def _succeed(world: World, refund: Object) -> None:
    refund.update(status="succeeded", pending_reason=None)
    refund["balance_transaction"] = _book(world, refund)
    _changed(world, refund, previous={"status": "pending", "pending_reason": "processing"})


def _fail(world: World, refund: Object, charge: Object) -> None:
    """Let a succeeded refund fail: the money comes back to the platform, the reversed transfer does not return."""
    refund.update(status="failed", failure_reason="unknown")
    row = book(world, refund, kind="refund_failure", amount=refund["amount"])
    refund["failure_balance_transaction"] = row["id"]
    charging.count_refunded(charge, -refund["amount"])
    world.touch(charge["id"])
    world.emit("refund.failed", refund)
    _changed(world, refund, previous={"status": "succeeded"})


def _changed(world: World, refund: Object, *, previous: Object) -> None:
    world.emit("refund.updated", refund, previous=previous)
    world.emit("charge.refund.updated", refund, previous=previous)


def _reverse_transfer(world: World, charge: Object, refund: Object, transfer: Object) -> None:
    left = transfer["amount"] - transfer["amount_reversed"]
    amount = _share(transfer["amount"], refund, charge, left=left)
    if amount:
        refund["transfer_reversal"] = reversals.reverse(world, transfer, amount=amount, refund=refund)["id"]


def _return_fee(world: World, charge: Object, refund: Object, fee: Object) -> None:
    amount = _share(fee["amount"], refund, charge, left=fee["amount"] - fee["amount_refunded"])
    if amount:
        fees.give_back(world, fee, amount=amount)


def _share(total: int, refund: Object, charge: Object, *, left: int) -> int:
    """Return the part of `total` that goes with a refund: in proportion, half up over all that was refunded so far.

    Stripe says "proportional", and nothing of rounding. This way the parts of refunds that add up to the charge add up
    to exactly the total, in whatever steps, and a refund before that left the total alone takes nothing of it later.
    """
    captured, before = int(charge["amount_captured"]), int(charge["amount_refunded"])

    def until(refunded: int) -> int:
        return (2 * total * refunded + captured) // (2 * captured)

    return min(left, until(before + int(refund["amount"])) - until(before))


def _book(world: World, refund: Object) -> str:
    """Take a refund from the platform's balance; of money that is not available yet, with that money."""
    charge = world.get("charge", refund["charge"])
    kind = "refund" if world.cards[charge["payment_method"]].kind == "card" else "payment_refund"
    available_on = available_with(world, charge["balance_transaction"])
    return str(book(world, refund, kind=kind, amount=-refund["amount"], available_on=available_on)["id"])


def _later(world: World, action: Callable[[], None]) -> None:
    world.later(world.settings.settle_delay_s, action, label=settlement.SETTLEMENT)
