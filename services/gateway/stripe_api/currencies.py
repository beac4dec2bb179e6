"""Stripe's currency facts as data, and the exact way between ISO 4217 minor units and Stripe's own.

The suite counts money in the minor unit that ISO 4217 gives a currency; Stripe counts in units that differ for some.
Only this module knows how: everything else of the gateway holds ISO amounts, and converts at the edge.

    currency   ISO amount    Stripe's amount   why
    CHF        1234          1234              two digits on both sides
    JPY        1234          1234              none on both sides
    KWD        1230          1230              three on both sides, the last must be 0 at Stripe
    ISK, UGX   5             500               none in ISO, two at Stripe, which must be 00
    MGA        500           5                 two in ISO (though 1 ariary is 5 iraimbilanja), none at Stripe

What a currency cannot express is refused, never rounded. Facts are from docs.stripe.com/currencies in a copy of about
2023, unless the line says otherwise; Stripe's own answer has the last word on each charge.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.errors import InvalidRequest

# https://docs.stripe.com/currencies#zero-decimal, about 2023: sent in whole units. UGX stands there too, but see below.
_ZERO_DECIMAL = "BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF"

# https://docs.stripe.com/currencies#three-decimal, about 2023: sent in thousandths, and the last digit must be 0.
_THREE_DECIMAL = "BHD JOD KWD OMR TND"
_THREE_DECIMAL_STEP = 10

# https://docs.stripe.com/currencies#special-cases, about 2023: without a minor unit, yet sent with two decimals "00".
_ENDING_IN_00 = "ISK UGX"

# https://docs.stripe.com/currencies#presentment-currencies, about 2023: the rest, sent in hundredths. STD is Stripe's
# code (ISO 4217 has replaced it by STN); it is what Stripe charges in. HUF and TWD are charged with both decimals.
_TWO_DECIMAL = """
    AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BWP BYN BZD CAD CDF CHF CNY COP CRC CVE
    CZK DKK DOP DZD EGP ETB EUR FJD FKP GBP GEL GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR JMD KES KGS KHR KYD KZT LAK
    LBP LKR LRD LSL MAD MDL MKD MMK MNT MOP MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR
    RON RSD RUB SAR SBD SCR SEK SGD SHP SLE SOS SRD STD SZL THB TJS TOP TRY TTD TWD TZS UAH USD UYU UZS WST XCD YER ZAR
    ZMW
"""

# ISO 4217 list one, 2023: where its digits are not Stripe's.
_ISO_DIGITS = {"ISK": 0, "UGX": 0, "MGA": 2}

# https://docs.stripe.com/currencies#special-cases, about 2023: charged in hundredths, paid out in whole units only.
_PAID_OUT_WHOLE = frozenset({"HUF", "TWD"})
_PAYOUT_STEP_WHOLE = 100

# https://docs.stripe.com/currencies#minimum-and-maximum-charge-amounts, about 2023, in Stripe's units. Stripe applies
# the minimum in the currency the account settles in, after conversion: for a currency that is charged and settled alike
# it is this; for any other, and those without an entry, only Stripe's answer tells.
_MINIMUM_STRIPE = {
    "AED": 200, "AUD": 50, "BGN": 100, "BRL": 50, "CAD": 50, "CHF": 50, "CZK": 1500, "DKK": 250, "EUR": 50, "GBP": 30,
    "HKD": 400, "HUF": 17500, "INR": 50, "JPY": 50, "MXN": 1000, "MYR": 200, "NOK": 300, "NZD": 50, "PLN": 200,
    "RON": 200, "SEK": 300, "SGD": 50, "THB": 1000, "USD": 50,
}  # fmt: skip

# Same section, about 2023: eight digits of Stripe's units, twelve for IDR.
_MAXIMUM_STRIPE = 99_999_999
_MAXIMUM_STRIPE_OF = {"IDR": 999_999_999_999}


class CurrencyUnknown(InvalidRequest):
    """Stripe does not charge in this currency."""

    reason = "CURRENCY_UNKNOWN"


class AmountNotChargeable(InvalidRequest):
    """Stripe cannot charge this amount in this currency; see GetLimits."""

    reason = "AMOUNT_NOT_CHARGEABLE"
    limit = "It must be {minimum_minor} to {maximum_minor} minor units of {currency_code}, in steps of {step_minor}."


class AmountNotRepresentable(ValueError):
    """Stripe named an amount that has no exact ISO 4217 value: a fact to look at, never one to round.

    Nor is it a refusal of ours: whoever asked did nothing wrong, and money may have moved.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What Stripe charges in one currency, in ISO minor units: a multiple of `step_minor` within both bounds."""

    minimum_minor: int
    maximum_minor: int
    step_minor: int
    payout_step_minor: int
    """Payouts are made in multiples of this; what is below stays in the balance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unit:
    """How one currency is counted here and there; one Stripe unit is `minor` / `stripe` ISO minor units."""

    minor: int
    stripe: int
    step_stripe: int


def to_stripe(amount_minor: int, currency_code: str, *, field: str = "amount") -> int:
    """Return Stripe's number for an ISO amount of any sign, exactly.

    Checks only that Stripe can express it; see `charge_to_stripe` for what can be charged. `field` is the path of the
    amount in the caller's request. Raises CurrencyUnknown, and AmountNotChargeable for digits Stripe does not take.
    """
    unit = _unit(currency_code, field=field)
    amount, rest = divmod(amount_minor * unit.stripe, unit.minor)
    if rest or amount % unit.step_stripe:
        raise _not_chargeable(currency_code, field=field)
    return amount


def charge_to_stripe(amount_minor: int, currency_code: str, *, field: str = "amount") -> int:
    """Return Stripe's number for an ISO amount that is to be charged: as `to_stripe`, and within the limits."""
    amount = to_stripe(amount_minor, currency_code, field=field)
    bounds = limits(currency_code)
    if not bounds.minimum_minor <= amount_minor <= bounds.maximum_minor:
        raise _not_chargeable(currency_code, field=field)
    return amount


def from_stripe(amount: int, currency: str) -> int:
    """Return the ISO minor units of one of Stripe's amounts, exactly; `currency` as Stripe writes it, in lower case.

    Raises AmountNotRepresentable for what has no exact value (5.50 ISK), or is in a currency that is not known here.
    """
    unit = _UNITS.get(currency.upper())
    if unit is None:
        raise AmountNotRepresentable(f"{currency} is no currency that Stripe charges in")
    amount_minor, rest = divmod(amount * unit.minor, unit.stripe)
    if rest:
        raise AmountNotRepresentable(f"{amount} {currency} of Stripe's units is no whole number of minor units")
    return amount_minor


def limits(currency_code: str, *, field: str = "currency_code") -> Limits:
    """Return what Stripe charges in a currency, in ISO minor units. Raises CurrencyUnknown."""
    unit = _unit(currency_code, field=field)
    # The smallest multiple of both units that Stripe expresses: 10 for KWD, 100 for MGA, 1 for nearly all.
    step_minor = max(1, unit.step_stripe * unit.minor // unit.stripe)
    minimum = _MINIMUM_STRIPE.get(currency_code, 0) * unit.minor // unit.stripe
    maximum = _MAXIMUM_STRIPE_OF.get(currency_code, _MAXIMUM_STRIPE) * unit.minor // unit.stripe
    return Limits(
        minimum_minor=max(minimum, step_minor),
        maximum_minor=maximum - maximum % step_minor,
        step_minor=step_minor,
        payout_step_minor=_PAYOUT_STEP_WHOLE if currency_code in _PAID_OUT_WHOLE else step_minor,
    )


def currency_codes() -> frozenset[str]:
    """Return every currency Stripe charges in, by its ISO 4217 code."""
    return frozenset(_UNITS)


def _unit(currency_code: str, *, field: str) -> _Unit:
    try:
        return _UNITS[currency_code]
    except KeyError:
        raise CurrencyUnknown(field=field, currency_code=currency_code) from None


def _not_chargeable(currency_code: str, *, field: str) -> AmountNotChargeable:
    bounds = limits(currency_code)
    return AmountNotChargeable(
        field=field,
        currency_code=currency_code,
        minimum_minor=bounds.minimum_minor,
        maximum_minor=bounds.maximum_minor,
        step_minor=bounds.step_minor,
    )


def _units() -> dict[str, _Unit]:
    stripe_digits = (
        dict.fromkeys(_ZERO_DECIMAL.split(), 0)
        | dict.fromkeys(_TWO_DECIMAL.split(), 2)
        | dict.fromkeys(_ENDING_IN_00.split(), 2)
        | dict.fromkeys(_THREE_DECIMAL.split(), 3)
    )
    steps = dict.fromkeys(_THREE_DECIMAL.split(), _THREE_DECIMAL_STEP) | dict.fromkeys(_ENDING_IN_00.split(), 100)
    return {
        code: _Unit(minor=10 ** _ISO_DIGITS.get(code, digits), stripe=10**digits, step_stripe=steps.get(code, 1))
        for code, digits in stripe_digits.items()
    }


_UNITS = _units()
