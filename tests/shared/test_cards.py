"""A card's number is found however it is written, and what merely has many digits is let through."""

from __future__ import annotations

import random
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from services.shared.cards import BRANDS, holds_card_number, may_hold_card_number

NUMBERS = {
    "Visa": "4242424242424242",
    "Visa of 13 digits": "4222222222222",
    "Visa of 19 digits": "4000000000000000006",
    "Mastercard": "5555555555554444",
    "Mastercard of the second series": "2223003122003222",
    "American Express": "378282246310005",
    "Diners Club": "36227206271667",
    "Diners Club of 16 digits": "3056930009020004",
    "Discover": "6011111111111117",
    "JCB": "3566002020360505",
    "UnionPay": "6200000000000005",
    "UnionPay of 19 digits": "6205500000000000004",
    "BCcard": "6555900000604105",
    "Maestro": "6759649826438453",
    "Maestro of 12 digits": "501800000009",
}

DISGUISES = {
    "blanks": "4242 4242 4242 4242",
    "two blanks": "4242  4242  4242  4242",
    "odd blanks": "4242\u00a04242\u20094242\u30004242",
    "a blank that is a letter": "4242\u31644242\u31644242\u31644242",
    "tabs and lines": "4242\t4242\n4242\r\n4242",
    "dots": "4242.4242.4242.4242",
    "dashes": "4242-4242-4242-4242",
    "dashes of all kinds": "4242–4242—4242−4242",
    "slashes": "4242/4242/4242\\4242",
    "underscores": "4242_4242_4242_4242",
    "colons": "4242:4242:4242:4242",
    "several separators": "4242 - 4242 - 4242 - 4242",
    "a blank after each digit": " ".join("4242424242424242"),
    "pairs": "42.42.42.42.42.42.42.42",
    "full-width digits": "４２４２４２４２４２４２４２４２",
    "Arabic digits": "٤٢٤٢ ٤٢٤٢ ٤٢٤٢ ٤٢٤٢",
    "mathematical digits": "𝟒𝟐𝟒𝟐𝟒𝟐𝟒𝟐𝟒𝟐𝟒𝟐𝟒𝟐𝟒𝟐",
    "circled digits": "④②④②④②④②④②④②④②④②",
    "keycaps": "".join(f"{digit}\ufe0f\u20e3" for digit in "4242424242424242"),
    "characters of no width": "4242\u200b4242\u200d4242\ufeff4242",
    "soft hyphens": "42\u00ad42424242\u00ad42424242",
    "percent-encoded blanks": "4242%204242%204242%204242",
    "percent-encoded digits": "".join(f"%3{digit}" for digit in "4242424242424242"),
    "letters around it": "x4242424242424242x",
    "its expiry before and its check after": "12/29 4242 4242 4242 4242 123",
    "in a URL": "https://shop.example/back?card=4242424242424242&x=1",
    "in an address": "4242424242424242@shop.example",
}

OTHERS = {
    "nothing": "",
    "a number that fails Luhn's check": "4242424242424241",
    "digits of no brand": "9999999999999995",
    "a part of a longer number": "114242424242424242",
    "too short": "424242424242",
    "a reference by the second": "20261128090407",
    "one with letters": "booking 20261128090407",
    "a telephone number": "+41 44 668 18 00",
    "a telephone number of 12 digits": "+62 812 3456 7897",
    "a lesson's time": "Lesson on 23.01.2026 10:00-12:00",
    "another's": "30.01.2026 04:07:36",
    "a moment as programs write it": "2026-11-30 22:30:07.505781+00:00",
    "a moment with nanoseconds": "2026-11-28 09:40:07.123456789",
}


@pytest.mark.parametrize("number", NUMBERS.values(), ids=NUMBERS)
def test_a_number_of_each_brand_and_length_is_found(number: str) -> None:
    assert holds_card_number(number)
    assert holds_card_number(f"Please charge {number}.")


@pytest.mark.parametrize("text", DISGUISES.values(), ids=DISGUISES)
def test_a_disguise_is_seen_through(text: str) -> None:
    assert holds_card_number(text)
    assert may_hold_card_number(b"\x0a\x40" + text.encode() + b"\x12")


@pytest.mark.parametrize("text", OTHERS.values(), ids=OTHERS)
def test_other_numbers_are_let_through(text: str) -> None:
    assert not holds_card_number(text)


def test_no_moment_passes_for_a_card_in_whatever_form() -> None:
    chance = random.Random(1)
    forms = ("%Y%m%d%H%M%S", "%Y%m%d%H%M%S%f", "%Y-%m-%d %H:%M:%S.%f", "%d.%m.%Y %H:%M:%S", "%m/%d/%Y %H:%M:%S")
    for _ in range(5_000):
        moment = datetime(1971, 1, 1, tzinfo=UTC) + timedelta(seconds=chance.random() * 4e9)
        since_1970_us = int(moment.timestamp() * 1e6)
        written = [moment.strftime(form) for form in forms]
        written += [moment.isoformat(), moment.strftime("%Y%m%d%H%M%S%f")[:17]]
        if 2005 <= moment.year <= 2035:
            written += [str(since_1970_us // 1_000), str(since_1970_us), str(since_1970_us * 1_000)]
        assert not [text for text in written if holds_card_number(text)]


def test_no_id_of_ours_passes_for_a_card() -> None:
    for _ in range(5_000):
        made = uuid.uuid4()
        assert not [text for text in (str(made), made.hex, f"refund_{made.hex}") if holds_card_number(text)]


def test_a_number_beside_a_uuid_is_found() -> None:
    assert holds_card_number(f"{uuid.uuid4()} 4242424242424242 {uuid.uuid4().hex}")


def test_no_brand_has_the_prefix_of_a_year_or_of_seconds_since_1970() -> None:
    assert not [
        brand for brand in BRANDS if any(brand.first[:2] <= year <= brand.last[:2] for year in ("17", "18", "19", "20"))
    ]


def test_text_that_can_be_no_card_is_not_looked_at_closely() -> None:
    assert not may_hold_card_number(b"\x0a\x1apay_01kb5xk3zj7w9n2q4r6t8v0y1a \x12\x04note 12.50 CHF")
    assert not may_hold_card_number("Zürich, 12. Mai".encode())
