"""Currencies an account settles in, and what becomes of money in another: it is exchanged as it is booked.

An account settles every charge in its own currency unless told otherwise. (U): rounding half up to the unit; that the
rate is the one of the moment, also of what a refund or a dispute takes; that it applies to minor units as they are.
"""

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

from sandbox.currencies import KNOWN
from sandbox.errors import not_modelled
from sandbox.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """Money as it is booked: minor units of a currency, and the rate if it was exchanged."""

    amount: int
    currency: str
    rate: float | None = None  # as Stripe shows it; reckoned with as a decimal


def settled(world: World, amount: int, *, currency: str) -> Settled:
    """Return an amount in the currency that the account settles it in, at the rate of now."""
    terms = world.settles_in
    if not terms or currency in terms["currencies"]:
        return Settled(amount=amount, currency=currency)
    rate = Decimal(_rate(world, currency))
    exchanged = int((amount * rate).quantize(Decimal(1), rounding=ROUND_HALF_UP))
    return Settled(amount=exchanged, currency=terms["default_currency"], rate=float(rate))


def check(world: World, currency: str) -> None:
    """Refuse (501) a charge that the account could not settle: nobody told the rate."""
    if world.settles_in and currency not in world.settles_in["currencies"]:
        _rate(world, currency)


def set_terms(world: World, *, default_currency: str, currencies: list[str], rates: dict[str, str]) -> None:
    """Say what an account settles in; anything else becomes the default currency, by its rate to that one.

    Rates that are not given stay.
    """
    for rate in rates.values():
        _check_rate(rate)
    for currency in (default_currency, *currencies, *rates):
        if currency not in KNOWN:
            raise ValueError(f"{currency!r} is no currency.")
    if default_currency not in currencies:
        raise ValueError("The default currency has to be one that the account settles in.")
    before = world.settles_in.get("rates", {})
    world.settles_in.update(default_currency=default_currency, currencies=currencies, rates=before | rates)


def _check_rate(rate: str) -> None:
    try:
        if Decimal(rate) > 0:
            return
    except InvalidOperation:
        pass
    raise ValueError(f"{rate!r} is no rate.")


def _rate(world: World, currency: str) -> str:
    rate = world.settles_in["rates"].get(currency)
    if rate is None:
        raise not_modelled(f"an exchange of {currency} to {world.settles_in['default_currency']} without a rate")
    return str(rate)
