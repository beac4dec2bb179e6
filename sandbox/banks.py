"""Test payment methods that are no cards, SEPA debit and TWINT, as data; and which kinds of method a payment takes.

The ids of SEPA debits are those of docs.stripe.com/testing, where every scenario exists for every country. The times
are as in live mode (up to 14 business days, about 5 as a rule), so that a debit can be waited for; in Stripe's test
mode they are seconds and minutes. Stripe has no test id for TWINT: those are the stand-in's own (U).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from sandbox.cards import CARDS, Authentication, Card
from sandbox.declines import Decline
from sandbox.errors import ApiError, named
from sandbox.world import Object, World

SEPA_DEBIT = "sepa_debit"
TWINT = "twint"
_DAY_S = 86_400
_DEBIT_S = 5 * _DAY_S
_DEBIT_DELAYED_S = 14 * _DAY_S
_COUNTRIES = ("at", "be", "de", "fr", "ie")


@dataclass(frozen=True, slots=True)
class _Rules:
    """What a kind of method can pay: docs.stripe.com/payments/sepa-debit and /twint."""

    currency: str
    amount_max: int  # minor units
    redirects: bool  # the payer confirms on a page of the method's own
    reusable: bool  # may be kept for later


_RULES = {
    SEPA_DEBIT: _Rules("eur", 1_000_000, redirects=False, reusable=True),
    TWINT: _Rules("chf", 500_000, redirects=True, reusable=False),
}
KINDS = ("card", *_RULES)


def _failing(code: str, message: str) -> Decline:
    return Decline(code=code, decline_code=None, message=message)


# Stripe names the state that follows, not the code; this is the one of its general failure (U).
_FAILED = _failing("payment_intent_payment_attempt_failed", "The payment attempt failed.")
_INSUFFICIENT = _failing("insufficient_funds", "The customer's account has insufficient funds to cover this payment.")


def _debit(last4: str, country: str, *, takes_s: int = _DEBIT_S, decline: Decline | None = None) -> Card:
    return Card(last4=last4, kind=SEPA_DEBIT, country=country.upper(), takes_s=takes_s, decline=decline)


def _debits(country: str) -> dict[str, Card]:
    named = {
        "success": _debit("3201", country),
        "successDelayed": _debit("3204", country, takes_s=_DEBIT_DELAYED_S),
        "failed": _debit("3202", country, decline=_FAILED),
        "failedDelayed": _debit("3205", country, takes_s=_DEBIT_DELAYED_S, decline=_FAILED),
        "insufficientFunds": _debit("2227", country, decline=_INSUFFICIENT),
    }
    return {f"pm_sepaDebit_{name}_{country}": debit for name, debit in named.items()}


_TWINT = Card(last4="", kind=TWINT, country="CH", authentication=Authentication.ALWAYS)
BANKS: dict[str, Card] = {
    **{name: debit for country in _COUNTRIES for name, debit in _debits(country).items()},
    "pm_twint": _TWINT,
    "pm_twint_processing": Card(
        last4="", kind=TWINT, country="CH", authentication=Authentication.ALWAYS, takes_s=_DAY_S
    ),
}
TEST_METHODS = CARDS | BANKS


def kinds_for(
    *,
    currency: str,
    amount: int,
    manual: bool = False,
    redirects: bool = True,
    kept: bool = False,
    allowed: Iterable[str] | None = None,
    excluded: Iterable[str] = (),
) -> list[str]:
    """Return the kinds of method that can pay an amount (minor units); raises ApiError (400) if there is none.

    Only cards can be held (`manual`); `kept` asks for methods that can be charged again.
    """
    fitting = [
        kind
        for kind, rules in _RULES.items()
        if rules.currency == currency
        and amount <= rules.amount_max
        and not manual
        and (redirects or not rules.redirects)
        and (rules.reusable or not kept)
    ]
    wanted = set(KINDS if allowed is None else allowed) - set(excluded)
    kinds = [kind for kind in ("card", *fitting) if kind in wanted]
    if not kinds:
        raise ApiError("No valid payment method types for this payment.", param="allowed_payment_method_types")
    return kinds


def kinds_kept(*, allowed: Iterable[str] | None = None, excluded: Iterable[str] = ()) -> list[str]:
    """Return the kinds of method that can be set up for later; raises ApiError (400) if there is none."""
    wanted = set(KINDS if allowed is None else allowed) - set(excluded)
    kinds = [kind for kind in KINDS if kind in wanted and (kind not in _RULES or _RULES[kind].reusable)]
    if not kinds:
        raise ApiError("No valid payment method types for this setup.", param="allowed_payment_method_types")
    return kinds


def check_fits(intent: Object, card: Card) -> None:
    """Refuse a payment method of a kind the payment or setup does not take."""
    if card.kind not in intent["payment_method_types"]:
        raise ApiError(
            f"The PaymentMethod provided ({card.kind}) is not allowed for this "
            f"{named(intent['object'])}. Please attach a "
            f"PaymentMethod of one of the following types: {', '.join(intent['payment_method_types'])}.",
            code=f"{intent['object']}_incompatible_payment_method",
            param="payment_method",
        )


def of_method(card: Card) -> Object:
    """Return what a payment method says of itself beside its `type`."""
    return {} if card.kind == TWINT else _account(card)


def of_charge(world: World, method: Object, card: Card) -> Object:
    """Return a charge's `payment_method_details`."""
    mandate = world.mandates.get(method["id"])
    details: Object = {"mandate": mandate}
    if card.kind == SEPA_DEBIT:
        details |= _account(card) | {"expected_debit_date": None}
        del details["generated_from"]
    return {card.kind: details, "type": card.kind}


def _account(card: Card) -> Object:
    return {
        "bank_code": "37040044",
        "branch_code": "",
        "country": card.country,
        "fingerprint": f"sandboxsepa{card.country}{card.last4}",
        "generated_from": {"charge": None, "setup_attempt": None},
        "last4": card.last4,
    }
