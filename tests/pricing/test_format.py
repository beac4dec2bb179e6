"""Display strings: as people of each locale write amounts, and never anything but the amount."""

from __future__ import annotations

import unicodedata
import uuid
from decimal import Decimal
from typing import Any

import grpc
import pytest
from babel import Locale, localedata
from babel.numbers import format_currency, get_currency_symbol
from grpc import aio
from hypothesis import strategies as st

from batzen.pricing.v1 import price_book_pb2, pricing_pb2
from batzen.type.v1 import money_pb2
from services.pricing.domain.errors import LocaleUnknown
from services.pricing.domain.exact import AMOUNT_MINOR_MAX
from services.pricing.quote_service import QUOTE_BYTES_MAX
from services.pricing.storage.store import QuoteStore, RequestKey
from services.pricing.wire.locales import formats_of, require_locales
from services.shared.locale_format import LocaleFormat
from tests.pricing.conftest import Stub
from tests.pricing.properties import holds_for
from tests.pricing.samples import CURRENCIES, EXCLUSIVE, chf, line, order, refusal_of

NARROW, SPACE = "\N{NARROW NO-BREAK SPACE}", "\N{NO-BREAK SPACE}"
LOCALES = sorted(identifier.replace("_", "-") for identifier in localedata.locale_identifiers() if identifier != "root")
"""Every locale that CLDR describes."""


def format_of(locale: str, currency_code: str) -> LocaleFormat:
    return formats_of([locale], currency_code=currency_code, digits=CURRENCIES[currency_code].digits)[locale]


@pytest.mark.parametrize(
    ("locale", "currency_code", "amount_minor", "display"),
    [
        ("de-CH", "CHF", 123_450, f"CHF{SPACE}1’234.50"),
        ("de-CH", "CHF", -123_450, "CHF-1’234.50"),
        ("fr-FR", "EUR", 123_450, f"1{NARROW}234,50{SPACE}€"),
        ("en-US", "JPY", 1_200, "¥1,200"),
        ("en-US", "USD", -5, "-$0.05"),
        ("de-DE", "EUR", 100_000_000, f"1.000.000,00{SPACE}€"),
        ("de-AT", "EUR", 123_450, f"€{SPACE}1.234,50"),
        ("de-LI", "CHF", 123_450, f"CHF{SPACE}1’234.50"),
        ("fr-CH", "CHF", 123_450, f"1{NARROW}234.50{SPACE}CHF"),  # a point in amounts, a comma in other numbers
        ("it-CH", "CHF", 123_450, f"CHF{SPACE}1’234.50"),
        ("it-IT", "EUR", 0, f"0,00{SPACE}€"),
        ("sq-AL", "ALL", 1_050, f"10,50{SPACE}Lekë"),  # CLDR would drop the 50
        ("en-US", "KWD", 1_234, f"KWD{SPACE}1.234"),
        ("en-IN", "INR", 12_345_678_900, "₹12,34,56,789.00"),
        ("sv-SE", "SEK", -100, f"−1,00{SPACE}kr"),
        ("pt-CV", "CVE", 12_345, f"123,45{SPACE}CVE"),
        ("en-LI", "CHF", 100, f"CHF{SPACE}1.00"),  # as in English, since CLDR has none for Liechtenstein
        ("zh-TW", "TWD", 100, "$1.00"),
        ("DE-ch", "CHF", 100, f"CHF{SPACE}1.00"),
        ("de-CH", "CHF", AMOUNT_MINOR_MAX, f"CHF{SPACE}90’071’992’547’409.91"),
    ],
)
def test_an_amount_is_written_as_people_there_write_it(
    locale: str, currency_code: str, amount_minor: int, display: str
) -> None:
    assert format_of(locale, currency_code).amount(amount_minor) == display


@pytest.mark.parametrize(
    ("locale", "display"),
    [("de-CH", "8.1%"), ("fr-FR", f"8,1{SPACE}%"), ("de-DE", f"8,1{SPACE}%"), ("en-US", "8.1%"), ("tr-TR", "%8,1")],
)
def test_a_rate_is_written_as_people_there_write_it(locale: str, display: str) -> None:
    assert format_of(locale, "CHF").percent("8.1") == display


@pytest.mark.parametrize(
    "locale",
    [
        "", "d", "xx", "xx-CH", "und", "und-CH", "root", "de_CH", "de-", "-de", "de--CH", "de-CH-", "de-Switzerland-CH",
        "de-CH-u-nu-latn", "x-private", "i-klingon", "../de", "de/CH", "de\0", "de-CH\n", "dé", "de-CH@euro",
        "a" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_locale_is_refused(locale: str) -> None:
    with pytest.raises(LocaleUnknown) as refused:
        require_locales(["de-CH", locale])

    assert refused.value.field == "locales[1]"


@holds_for(
    locale=st.sampled_from(LOCALES),
    currency_code=st.sampled_from(sorted(CURRENCIES)),
    amount_minor=st.integers(-AMOUNT_MINOR_MAX, AMOUNT_MINOR_MAX) | st.integers(-200_000, 200_000),
)
def test_every_display_string_reads_back_as_the_amount(locale: str, currency_code: str, amount_minor: int) -> None:
    display = format_of(locale, currency_code).amount(amount_minor)

    digits = CURRENCIES[currency_code].digits
    assert read_back(display, locale=locale, currency_code=currency_code) == (amount_minor, digits)


@holds_for(locale=st.sampled_from(LOCALES), parts=st.integers(0, 10_000_000))
def test_every_rate_on_display_reads_back(locale: str, parts: int) -> None:
    rate = Decimal(parts).scaleb(-4)

    display = format_of(locale, "CHF").percent(f"{rate:f}")

    signs = Locale.parse(locale, sep="-").number_symbols["latn"]
    number = display.replace(signs["percentSign"], "").strip()
    assert number != display
    assert Decimal(number.replace(signs["group"], "").replace(signs["decimal"], ".")) == rate


@holds_for(
    locale=st.sampled_from(LOCALES),
    currency_code=st.sampled_from(sorted(CURRENCIES)),
    amount_minor=st.integers(0, AMOUNT_MINOR_MAX),
)
def test_babel_writes_the_same_where_it_is_given_our_digits(locale: str, currency_code: str, amount_minor: int) -> None:
    """But for what it leaves out: the space after letters, signs of amounts only, and symbols that can be seen."""
    found = Locale.parse(locale, sep="-")
    signs = found.number_symbols["latn"]
    if {"currencyDecimal", "currencyGroup"} & signs.keys() or is_blank(get_currency_symbol(currency_code, found)):
        return
    digits = CURRENCIES[currency_code].digits
    pattern = found.currency_formats["standard"].pattern.replace(".00", f".{'0' * digits}" if digits else "")

    theirs = format_currency(
        Decimal(amount_minor).scaleb(-digits), currency_code, format=pattern, locale=found, currency_digits=False
    )

    ours = format_of(locale, currency_code).amount(amount_minor)
    assert ours in (theirs, *(theirs[:place] + SPACE + theirs[place:] for place in range(len(theirs))))


def read_back(display: str, *, locale: str, currency_code: str) -> tuple[int, int]:
    """Return the minor units on display, and how many digits follow the point."""
    found = Locale.parse(locale, sep="-")
    signs = found.number_symbols["latn"]
    symbol = get_currency_symbol(currency_code, found)
    number = display.replace(currency_code if is_blank(symbol) else symbol, "", 1)
    assert number != display
    negative = signs["minusSign"] in number
    number = number.replace(signs["minusSign"], "")
    number = "".join(character for character in number if unicodedata.category(character) != "Cf").strip()
    number = number.replace(signs.get("currencyGroup", signs["group"]), "")
    whole, _, fraction = number.partition(signs.get("currencyDecimal", signs["decimal"]))
    assert (whole + fraction).isascii()
    assert (whole + fraction).isdigit()
    return int(whole + fraction) * (-1 if negative else 1), len(fraction)


def is_blank(symbol: str) -> bool:
    return all(unicodedata.category(character)[0] in "ZC" for character in symbol)


async def test_every_row_is_written_in_each_locale_that_was_asked_for(pricing: Stub) -> None:
    request = order(
        line(quantity="12", unit_amount=chf(12_300)),
        line(line_id="tea", unit_amount=chf(455), tax_category="reduced", tax_behavior=EXCLUSIVE),
        adjustments=[
            pricing_pb2.Adjustment(
                adjustment_id="ten",
                direction=price_book_pb2.ADJUSTMENT_DIRECTION_DISCOUNT,
                percent="10",
                funder=price_book_pb2.FUNDER_SELLER,
            )
        ],
        locales=["de-CH", "fr-FR"],
    )

    quote = (await pricing.CreateQuote(request)).quote

    swiss = [(row.display["de-CH"], row.rate_display.get("de-CH", "")) for row in quote.rows]
    assert swiss == [
        (f"CHF{SPACE}1’476.00", ""),
        (f"CHF{SPACE}4.55", ""),
        ("CHF-148.06", ""),
        (f"CHF{SPACE}0.11", "2.6%"),
        (f"CHF{SPACE}99.54", "8.1%"),
        (f"CHF{SPACE}199.87", "15%"),
    ]
    assert quote.rows[4].display["fr-FR"] == f"99,54{SPACE}CHF"
    assert quote.rows[4].rate_display["fr-FR"] == f"8,1{SPACE}%"
    assert dict(quote.total_display) == {"de-CH": f"CHF{SPACE}1’332.60", "fr-FR": f"1{NARROW}332,60{SPACE}CHF"}


async def test_without_locales_there_are_no_display_strings(pricing: Stub) -> None:
    quote = (await pricing.CreateQuote(order())).quote

    assert not quote.total_display
    assert not any(row.display or row.rate_display for row in quote.rows)


@pytest.mark.parametrize(
    ("locales", "reason", "field"),
    [
        (["de-CH", "xx-CH"], "LOCALE_UNKNOWN", "locales[1]"),
        (["de_CH"], "LOCALE_UNKNOWN", "locales[0]"),
        (["de-CH", "DE-ch"], "FIELD_INVALID", "locales[1]"),
        ([f"de-{place:03}" for place in range(11)], "FIELD_INVALID", "locales"),
    ],
)
async def test_locales_that_are_wrong_are_refused(pricing: Stub, locales: list[str], reason: str, field: str) -> None:
    with pytest.raises(aio.AioRpcError) as refused:
        await pricing.CreateQuote(order(locales=locales))

    refusal = refusal_of(refused.value)
    assert (refusal.reason, refusal.field) == (reason, field)


def largest(**changes: Any) -> pricing_pb2.CreateQuoteRequest:
    """Return a request for 1,000 lines of 1,000 sellers, each taxed unlike the others, in ten long locales."""
    lines = [
        line(
            line_id=f"{number:064}",
            seller_id=f"{number:0128}",
            unit_amount=money_pb2.Money(amount_minor=6 * 10**12, currency_code="LBP"),
            tax_category=f"{number:032}",
            tax_treatment=price_book_pb2.TAX_TREATMENT_EXEMPT,
            tax_treatment_reason="\N{OGHAM LETTER BEITH}" * 200,
        )
        for number in range(1_000)
    ]
    return order(*lines, locales=[f"ca-Latn-{place:03}-valencia" for place in range(10)], **changes)


async def test_the_largest_quote_is_answered_and_reads_back(pricing: Stub) -> None:
    quote = (await pricing.CreateQuote(largest())).quote

    assert len(quote.rows) == 3_000
    assert (await pricing.GetQuote(pricing_pb2.GetQuoteRequest(quote_id=quote.quote_id))).quote == quote


@pytest.mark.parametrize("preview", [False, True])
async def test_a_quote_that_nobody_could_receive_is_refused_and_not_kept(
    pricing: Stub, store: QuoteStore, preview: bool
) -> None:
    adjustments = [
        pricing_pb2.Adjustment(
            adjustment_id=f"{number:064}",
            direction=price_book_pb2.ADJUSTMENT_DIRECTION_SURCHARGE,
            percent="1",
            funder=price_book_pb2.FUNDER_PLATFORM,
        )
        for number in range(20)
    ]
    request = largest(adjustments=adjustments, preview=preview)

    with pytest.raises(aio.AioRpcError) as refused:
        await pricing.CreateQuote(request)

    refusal = refusal_of(refused.value)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "QUOTE_TOO_LARGE")
    assert refusal.metadata == {"bytes_max": str(QUOTE_BYTES_MAX)}
    key = RequestKey(tenant_id="main", caller="orchestrator", request_id=uuid.UUID(request.request_id))
    assert await store.find_by_request(key) is None
