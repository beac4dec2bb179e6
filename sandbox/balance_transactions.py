"""Balance transactions: whatever changes what an account has books exactly one.

When money becomes available: what a payer paid after two days; what goes on from a charge (transfer, application fee)
and what comes back of it with the charge (U); everything else at once (U).
"""

from collections.abc import Iterable
from typing import Any

from sandbox import exchange_rates
from sandbox.answers import page
from sandbox.world import Object, World

_AVAILABLE_AFTER_S = 2 * 86_400
_PAID_BY_PAYER = ("charge", "payment")
_CATEGORY_OF = {
    "application_fee": "platform_earning",
    "application_fee_refund": "platform_earning_refund",
    "payment": "charge",
    "payment_refund": "refund",
    "payout_cancel": "payout_reversal",
    "payout_failure": "payout_reversal",
    "reserved_funds": "risk_reserved_funds",
    "stripe_fee": "fee",
    "stripe_fx_fee": "fee",
    "tax_fee": "tax",
    "transfer_refund": "transfer_reversal",
}
_FEE_NAMES = {"stripe_fee": "Stripe processing fees", "application_fee": "Application fee"}


def book(
    world: World,
    source: Object,
    *,
    kind: str,
    amount: int,
    fee: int = 0,
    fee_kind: str = "stripe_fee",
    available_on: int | None = None,
) -> Object:
    """Book a balance transaction of `source` (signed minor units); `available_on` says when, where it is not as usual.

    Of a source it takes `id`, `currency` and `description`. Money in a currency that the account does not settle in is
    exchanged; `fee` is in the currency it is settled in.
    """
    now = world.clock.seconds()
    money = exchange_rates.settled(world, amount, currency=source["currency"])
    if available_on is None:
        available_on = now + _AVAILABLE_AFTER_S if kind in _PAID_BY_PAYER else now
    row = world.add(
        {
            "id": world.new_id("balance_transaction"),
            "object": "balance_transaction",
            "amount": money.amount,
            "available_on": max(now, available_on),
            "balance_type": "payments",
            "created": now,
            "currency": money.currency,
            "description": source.get("description"),
            "exchange_rate": money.rate,
            "fee": fee,
            "fee_details": [_fee_detail(fee, currency=money.currency, kind=fee_kind)] if fee else [],
            "net": money.amount - fee,
            "reporting_category": _CATEGORY_OF.get(kind, kind),
            "source": source["id"],
            "status": "pending" if available_on > now else "available",
            "type": kind,
        }
    )
    world.balance.count(row)
    return row


def available_with(world: World, row_id: str | None) -> int | None:
    """Return when a balance transaction becomes available: what goes on from it does then, too."""
    row = world.find(row_id) if row_id else None
    return int(row["available_on"]) if row is not None else None


def balance(world: World, _params: dict[str, Any]) -> Object:
    """Return what the account has that asks, or that is asked for."""
    return world.balance.shown()


def list_all(world: World, params: dict[str, Any]) -> Object:
    found: Iterable[Object] = world.all("balance_transaction")
    if "payout" in params:
        found = world.paid_out.get(params["payout"], ())
    elif "source" in params:
        found = world.by_field("balance_transaction", field="source", value=params["source"])
    wanted = {name: params[name] for name in ("type", "currency", "source") if name in params}
    return page(
        found,
        params,
        url="/v1/balance_transactions",
        keep=lambda row: all(row[name] == wanted[name] for name in wanted),
    )


def _fee_detail(amount: int, *, currency: str, kind: str) -> Object:
    return {
        "amount": amount,
        "application": None,
        "currency": currency,
        "description": _FEE_NAMES[kind],
        "type": kind,
    }
