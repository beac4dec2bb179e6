"""What amounts Stripe takes, as data.

Sources: docs.stripe.com/currencies (zero- and three-decimal currencies, special cases, minimum and maximum charge), in
a copy of about 2023. Stripe applies the minimum in the settlement currency after conversion; the sandbox settles every
charge in its own currency, and a currency without a listed minimum takes any positive amount.
"""

from sandbox.errors import ApiError

ZERO_DECIMAL = frozenset("bif clp djf gnf jpy kmf krw mga pyg rwf vnd vuv xaf xof xpf".split())  # noqa: SIM905
THREE_DECIMAL = frozenset("bhd jod kwd omr tnd".split())  # noqa: SIM905 the last digit must be 0
TWO_DECIMAL_ENDING_00 = frozenset({"ugx", "isk"})  # no minor unit any more, still sent with two decimals
TWO_DECIMAL = frozenset(
    """aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bmd bnd bob brl bsd bwp byn bzd cad cdf chf cny cop crc
    cve czk dkk dop dzd egp etb eur fjd fkp gbp gel gip gmd gtq gyd hkd hnl htg huf idr ils inr jmd kes kgs khr kyd kzt
    lak lbp lkr lrd lsl mad mdl mkd mmk mnt mop mur mvr mwk mxn myr mzn nad ngn nio nok npr nzd pab pen pgk php pkr pln
    qar ron rsd rub sar sbd scr sek sgd shp sle sos srd std szl thb tjs top try ttd twd tzs uah usd uyu uzs wst xcd yer
    zar zmw""".split()  # noqa: SIM905
)
KNOWN = ZERO_DECIMAL | THREE_DECIMAL | TWO_DECIMAL_ENDING_00 | TWO_DECIMAL

MINIMUM_MINOR = {
    "usd": 50, "aed": 200, "aud": 50, "bgn": 100, "brl": 50, "cad": 50, "chf": 50, "czk": 1500, "dkk": 250, "eur": 50,
    "gbp": 30, "hkd": 400, "huf": 17500, "inr": 50, "jpy": 50, "mxn": 1000, "myr": 200, "nok": 300, "nzd": 50,
    "pln": 200, "ron": 200, "sek": 300, "sgd": 50, "thb": 1000,
}  # fmt: skip
MAXIMUM_MINOR = 99_999_999  # eight digits
MAXIMUM_MINOR_OF = {"idr": 999_999_999_999}  # twelve digits


def check(amount: int, *, currency: str, param: str = "amount") -> None:
    """Refuse an amount (minor units) Stripe would not charge in `currency` (lowercase code)."""
    if currency not in KNOWN:
        raise ApiError(
            f"Invalid currency: {currency}. Stripe currently supports these currencies: {', '.join(sorted(KNOWN))}",
            param="currency",
        )
    if amount < 1:
        raise ApiError("This value must be greater than or equal to 1.", code="parameter_invalid_integer", param=param)
    if amount > MAXIMUM_MINOR_OF.get(currency, MAXIMUM_MINOR):
        raise ApiError(
            f"Amount must be no more than {shown(MAXIMUM_MINOR_OF.get(currency, MAXIMUM_MINOR), currency=currency)}",
            code="amount_too_large",
            param=param,
        )
    if amount < MINIMUM_MINOR.get(currency, 1):
        raise ApiError(
            f"Amount must be at least {shown(MINIMUM_MINOR[currency], currency=currency)}",
            code="amount_too_small",
            param=param,
        )
    check_step(amount, currency=currency, param=param)


def check_step(amount: int, *, currency: str, param: str = "amount") -> None:
    """Refuse digits the currency cannot carry: three-decimal amounts end in 0, UGX and ISK amounts in 00."""
    step = 10 if currency in THREE_DECIMAL else 100 if currency in TWO_DECIMAL_ENDING_00 else 1
    if amount % step:
        raise ApiError(
            f"Invalid integer: {amount}. Amounts in {currency} must be divisible by {step}.",
            code="parameter_invalid_integer",
            param=param,
        )


def shown(amount: int, *, currency: str) -> str:
    """Return an amount as Stripe's messages show it, such as "$5.00" or "5.00 chf"."""
    digits = 0 if currency in ZERO_DECIMAL else 3 if currency in THREE_DECIMAL else 2
    whole, part = divmod(amount, 10**digits)
    text = f"{whole}.{part:0{digits}}" if digits else str(whole)
    return f"${text}" if currency == "usd" else f"{text} {currency}"
