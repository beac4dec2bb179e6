"""Payouts of an account to its bank: of a connected account in its own world, of the platform in the platform's.

An automatic payout is made by a control. Without an amount it sweeps what is available, and Stripe says soon after
which balance transactions are in it (`payout.reconciliation_completed`); its own is one of them (U). It arrives after
two days, unless a control moves it. A payout that was paid may still come back: it has failed then.
"""

from typing import Any

from sandbox import settlement
from sandbox.answers import page
from sandbox.balance_transactions import book
from sandbox.currencies import KNOWN, check_step
from sandbox.errors import ApiError, not_modelled
from sandbox.shelf import Shelf, within
from sandbox.world import Object, World, merge_metadata

_ARRIVAL = "payouts"  # the label of payouts to come on the agenda
_DAY_S = 86_400
_ARRIVES_S = 2 * _DAY_S
_DESCRIPTOR_MAX = 22  # characters on the bank's statement
_EVENT_OF = {"paid": "payout.paid", "failed": "payout.failed", "canceled": "payout.canceled"}
_BACK = {"failed": "payout_failure", "canceled": "payout_cancel"}
_BEFORE = {
    "in_transit": ("pending",),
    "paid": ("pending", "in_transit"),
    "failed": ("pending", "in_transit", "paid"),
    "canceled": ("pending",),
}


def create(world: World, params: dict[str, Any]) -> Object:
    """Pay out by hand, as far as there is something available."""
    amount, currency = params["amount"], params["currency"].lower()
    if params.get("method", "standard") != "standard":
        raise not_modelled("instant payouts")
    if currency not in KNOWN:
        raise ApiError(f"Invalid currency: {currency}", param="currency")
    if amount < 1:
        raise ApiError("Invalid positive integer", code="parameter_invalid_integer", param="amount")
    check_step(amount, currency=currency)
    if len(params.get("statement_descriptor", "")) > _DESCRIPTOR_MAX:
        raise ApiError(
            f"The statement descriptor must be at most {_DESCRIPTOR_MAX} characters.", param="statement_descriptor"
        )
    if amount > world.balance.available.get(currency, 0):
        raise ApiError(
            "You have insufficient funds in your Stripe account for this transfer.", code="balance_insufficient"
        )
    given = {name: params.get(name) for name in ("description", "statement_descriptor")}
    given["metadata"] = merge_metadata({}, params.get("metadata", {}))
    return make(world, amount=amount, currency=currency, automatic=False, **given)


def sweep(world: World, *, currency: str) -> Object:
    """Pay out automatically what is available."""
    world.balance.mature(world.clock.now())
    amount = world.balance.available.get(currency, 0)
    if amount <= 0:
        raise ApiError(f"Nothing in {currency} is available to be paid out.", code="balance_insufficient")
    gone = {row["id"] for inside in world.paid_out.values() for row in inside}
    inside = Shelf(
        row
        for row in world.all("balance_transaction")
        if row["currency"] == currency and row["status"] == "available" and row["id"] not in gone
    )
    payout = make(world, amount=amount, currency=currency)
    inside.add(world.get("balance_transaction", payout["balance_transaction"]))
    world.paid_out[payout["id"]] = inside
    _reconcile_later(world, payout)
    return payout


def drain(world: World, *, currency: str) -> Object:
    """Pay out all that an account has, also what is not available yet."""
    for row in world.all("balance_transaction"):
        if row["currency"] == currency:
            row["available_on"] = min(row["available_on"], world.clock.seconds())
            world.touch(row["id"])
    world.balance.recount(world.all("balance_transaction"))
    return sweep(world, currency=currency)


def schedule(world: World, *, daily: bool) -> None:
    """Sweep every currency at the end of each day, or no more."""
    begins = daily and not world.pays_out_daily
    world.pays_out_daily = daily
    if begins:
        take_up_schedule(world)


def take_up_schedule(world: World) -> None:
    """Let the next day's payouts come: after the schedule was set, and after a restart."""
    if not world.pays_out_daily:
        return

    def end_of_day() -> None:
        if not world.pays_out_daily:
            return
        world.balance.mature(world.clock.now())
        for currency in [currency for currency, amount in world.balance.available.items() if amount > 0]:
            sweep(world, currency=currency)
        take_up_schedule(world)

    world.later(_DAY_S - world.clock.now() % _DAY_S, end_of_day, label=_ARRIVAL)


def make(world: World, *, amount: int, currency: str, automatic: bool = True, **given: Any) -> Object:
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
        **given,
    }
    payout["balance_transaction"] = book(world, payout, kind="payout", amount=-amount)["id"]
    world.add(payout)
    world.emit("payout.created", payout)
    take_up(world, payout)
    return payout


def take_up(world: World, payout: Object) -> None:
    """Let what is still to come of a payout come: after it was made, and after a restart."""
    _reconcile_later(world, payout)
    if payout["status"] in _BEFORE["paid"]:
        world.later(payout["arrival_date"] - world.clock.now(), lambda: _arrive(world, payout), label=_ARRIVAL)


def move(world: World, payout: Object, *, status: str, failure_code: str = "account_closed") -> Object:
    """Take a payout to its next status."""
    if payout["status"] not in _BEFORE.get(status, ()):
        raise ApiError(f"A payout that is {payout['status']} does not become {status}.", status=409)
    previous: Object = {"status": payout["status"]}
    payout["status"] = status
    if status == "failed":
        payout |= {"failure_code": failure_code, "failure_message": "The bank did not take it."}
    if status in _BACK:
        back = book(world, payout, kind=_BACK[status], amount=payout["amount"])
        payout["failure_balance_transaction"] = back["id"]
    world.emit(_EVENT_OF.get(status, "payout.updated"), payout, previous=previous)
    return payout


def cancel(world: World, _params: dict[str, Any], payout_id: str) -> Object:
    """Stop a payout made by hand before the bank has it. The words of refusals: (U)."""
    payout = world.get("payout", payout_id)
    if payout["automatic"] or payout["status"] != "pending":
        because = "is automatic" if payout["automatic"] else f"has a status of {payout['status']}"
        raise ApiError(f"Payouts can only be canceled while they are pending and not automatic; this one {because}.")
    return move(world, payout, status="canceled")


def update(world: World, params: dict[str, Any], payout_id: str) -> Object:
    """Change metadata: the only thing about a payout that can change."""
    payout = world.get("payout", payout_id)
    if "metadata" in params:
        before = payout["metadata"]
        payout["metadata"] = merge_metadata(before, params["metadata"])
        if payout["metadata"] != before:
            world.emit("payout.updated", payout, previous={"metadata": before})
    return payout


def reconcile(world: World, payout: Object) -> Object:
    """Let Stripe say that it knows what is in an automatic payout."""
    payout["reconciliation_status"] = "completed"
    world.emit("payout.reconciliation_completed", payout, previous={"reconciliation_status": "in_progress"})
    return payout


def list_all(world: World, params: dict[str, Any]) -> Object:
    status, arrival = params.get("status"), params.get("arrival_date")
    return page(
        world.all("payout"),
        params,
        url="/v1/payouts",
        keep=lambda payout: status in (None, payout["status"]) and within(payout["arrival_date"], arrival),
    )


def _reconcile_later(world: World, payout: Object) -> None:
    if payout["id"] not in world.paid_out:
        return

    def say() -> None:
        if payout["reconciliation_status"] == "in_progress":
            reconcile(world, payout)

    world.later(world.settings.settle_delay_s, say, label=settlement.SETTLEMENT)


def _arrive(world: World, payout: Object) -> None:
    if payout["status"] in _BEFORE["paid"]:
        move(world, payout, status="paid")
