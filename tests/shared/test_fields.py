"""A field that is wrong is refused by its path, and one that is right comes back as it is."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial

import pytest

from batzen.type.v1.money_pb2 import Money
from services.errors import FieldInvalid, FieldMissing, InvalidRequest
from services.shared import fields
from services.shared.amounts import AMOUNT_MINOR_MAX
from services.shared.refusals import Refusal, to_json

PAYMENT_ID = "pay_01kb9x3t5v8w2y4z6a7c9e1g3h"
Check = Callable[[str], object]

identifier = partial(fields.identifier, field="it")
payment_id = partial(fields.payment_id, field="it")
reference = partial(fields.reference, field="it")
text = partial(fields.text, field="it", characters_max=5)
url = partial(fields.url, field="it")
email = partial(fields.email, field="it")
locale = partial(fields.locale, field="it")
country = partial(fields.country, field="it")


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (identifier, "a"),
        (identifier, "!" * 128),
        (payment_id, PAYMENT_ID),
        (reference, ""),
        (reference, "Rüüdlingen Nr. 4"),
        (text, ""),
        (text, "a\nb\tc"),
        (url, "https://shop.example/done?x=1#y"),
        (url, "http://localhost:8080/done"),
        (url, "http://[::1]/done"),
        (email, "a@b"),
        (locale, "de-CH-1996"),
        (country, "CH"),
    ],
)
def test_a_value_that_is_right_comes_back_as_it_is(check: Check, value: str) -> None:
    assert check(value) == value


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (identifier, "a b"),
        (identifier, "é"),
        (identifier, "a" * 129),
        (payment_id, "pay_1"),
        (payment_id, f"{PAYMENT_ID}\n"),
        (reference, "a" * 129),
        (reference, "a\nb"),
        (text, "abcdef"),
        (text, "a\0b"),
        (url, "http://shop.example/done"),
        (url, "javascript:alert(1)"),
        (url, "https://"),
        (url, "https://[::1"),
        (url, "https://shop.example/a b"),
        (url, "https://shop.example/" + "a" * 2_000),
        (email, "a"),
        (email, "a\0@b"),
        (email, "a@" + "b" * 320),
        (locale, "de_CH"),
        (locale, "de-" + "-".join(["abcdefgh"] * 4)),
        (country, "ch"),
        (country, "CHE"),
    ],
)
def test_a_value_that_is_wrong_is_refused_by_its_path(check: Check, value: str) -> None:
    with pytest.raises(FieldInvalid) as refused:
        check(value)
    assert refused.value.field == "it"


@pytest.mark.parametrize(
    "check",
    [identifier, payment_id, url, email, locale, country, partial(fields.reference, field="it", required=True)],
)
def test_a_value_that_is_missing_is_said_to_be_missing(check: Check) -> None:
    with pytest.raises(FieldMissing) as refused:
        check("")
    assert refused.value.field == "it"


def test_a_request_id_is_a_uuid_in_any_of_its_forms() -> None:
    name = uuid.uuid4()
    assert fields.request_id(str(name)) == fields.request_id(name.hex.upper()) == name
    with pytest.raises(FieldInvalid):
        fields.request_id("1")
    with pytest.raises(FieldMissing):
        fields.request_id("")


@pytest.mark.parametrize("amount_minor", [1, AMOUNT_MINOR_MAX])
def test_an_amount_within_its_limits_comes_back_as_it_is(amount_minor: int) -> None:
    money = Money(amount_minor=amount_minor, currency_code="CHF")
    assert fields.money(money, field="total", least_minor=1) is money


@pytest.mark.parametrize(
    ("money", "is_set", "error", "field"),
    [
        (Money(), False, FieldMissing, "total"),
        (Money(amount_minor=1), True, FieldMissing, "total.currency_code"),
        (Money(amount_minor=1, currency_code="chf"), True, FieldInvalid, "total.currency_code"),
        (Money(amount_minor=0, currency_code="CHF"), True, FieldInvalid, "total.amount_minor"),
        (Money(amount_minor=AMOUNT_MINOR_MAX + 1, currency_code="CHF"), True, FieldInvalid, "total.amount_minor"),
    ],
)
def test_an_amount_is_refused_by_the_part_that_is_wrong(
    money: Money, is_set: bool, error: type[InvalidRequest], field: str
) -> None:
    with pytest.raises(error) as refused:
        fields.money(money, field="total", least_minor=1, is_set=is_set)
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("labels", "field"),
    [
        ({str(number): "" for number in range(51)}, "labels"),
        ({"": "value"}, "labels"),
        ({"k" * 41: "value"}, "labels"),
        ({"a\0": "value"}, "labels"),
        ({"key": "v" * 501}, "labels[key]"),
        ({"key": "\0"}, "labels[key]"),
    ],
)
def test_labels_are_few_and_short(labels: dict[str, str], field: str) -> None:
    with pytest.raises(FieldInvalid) as refused:
        fields.labels(labels)
    assert refused.value.field == field
    assert fields.labels({"k" * 40: "v" * 500}) == {"k" * 40: "v" * 500}


def test_a_page_has_its_default_size_unless_one_is_asked_for() -> None:
    assert fields.page_size(0, default=50, at_most=200) == 50
    assert fields.page_size(200, default=50, at_most=200) == 200
    for wrong in (-1, 201):
        with pytest.raises(FieldInvalid):
            fields.page_size(wrong, default=50, at_most=200)


def test_a_refusal_is_raised_again_word_for_word() -> None:
    first = FieldInvalid(field="total", detail="Too much.", limit=5)
    kept = to_json(first)
    again = Refusal.from_json(kept)
    assert (again.status, again.reason, again.field, again.metadata) == (
        "INVALID_ARGUMENT",
        "FIELD_INVALID",
        "total",
        {"limit": "5"},
    )
    assert str(again) == str(first)
    assert to_json(again) == kept
