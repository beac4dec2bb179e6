"""The bracket notation, read under the schema of the operation it is for."""

from functools import cache
from urllib.parse import urlencode

import pytest

from sandbox import forms
from sandbox.errors import ApiError
from sandbox.schema import ApiSchema, load

_CREATE = "post /v1/payment_intents"


@cache
def _schema() -> ApiSchema:
    return load()


def _decoded(operation: str = _CREATE, **pairs: str) -> dict[str, object]:
    return _schema().decode(operation, forms.read(urlencode(pairs)))


def _refusal(operation: str = _CREATE, **pairs: str) -> ApiError:
    with pytest.raises(ApiError) as caught:
        _decoded(operation, **pairs)
    return caught.value


def test_values_get_the_types_the_schema_names() -> None:
    decoded = _decoded(
        **{
            "amount": "1500",
            "currency": "chf",
            "confirm": "true",
            "expand[0]": "latest_charge",
            "expand[1]": "customer",
            "metadata[payment_id]": "7",
            "transfer_data[destination]": "acct_1",
        }
    )

    assert decoded == {
        "amount": 1500,
        "currency": "chf",
        "confirm": True,
        "expand": ["latest_charge", "customer"],
        "metadata": {"payment_id": "7"},
        "transfer_data": {"destination": "acct_1"},
    }


def test_arrays_without_indices_keep_their_order() -> None:
    raw = forms.read("enabled_events[]=charge.updated&enabled_events[]=charge.failed&url=http%3A%2F%2Fx")

    decoded = _schema().decode("post /v1/webhook_endpoints", raw)

    assert decoded["enabled_events"] == ["charge.updated", "charge.failed"]


def test_the_empty_string_clears_only_where_the_schema_says_so() -> None:
    assert _decoded("post /v1/payment_intents/{intent}", metadata="") == {"metadata": ""}
    assert _refusal(amount="100", currency="chf", metadata="").param == "metadata"


@pytest.mark.parametrize("name", ["bogus", "automatic_payment_methods[bogus]", "transfer_data[destination_id]"])
def test_an_unknown_parameter_is_refused_at_every_depth(name: str) -> None:
    refusal = _refusal(**{"amount": "100", "currency": "chf", name: "1"})

    assert (refusal.status, refusal.code, refusal.param) == (400, "parameter_unknown", name)


def test_a_missing_parameter_is_named() -> None:
    refusal = _refusal(amount="100")

    assert (refusal.code, refusal.param) == ("parameter_missing", "currency")


@pytest.mark.parametrize("text", ["12x", "", "1.5", "１２", "1" * 40, " 5"])
def test_what_is_not_an_integer_is_refused(text: str) -> None:
    refusal = _refusal(amount=text, currency="chf")

    assert (refusal.code, refusal.param) == ("parameter_invalid_integer", "amount")


def test_a_known_set_of_values_is_closed_for_requests() -> None:
    refusal = _refusal(amount="100", currency="chf", capture_method="tomorrow")

    assert refusal.param == "capture_method"
    assert "automatic_async" in refusal.message


def test_payment_method_types_is_gone() -> None:
    refusal = _refusal(**{"amount": "100", "currency": "chf", "payment_method_types[0]": "card"})

    assert refusal.code == "payment_method_types_no_longer_supported"


@pytest.mark.parametrize(
    "encoded", ["a=1&a[b]=2", "a[b]=2&a=1", "a]=1", "[a]=1", "a" + "[b]" * 20 + "=1", "a[b=1", "a[0][b]=1&a[0]=2"]
)
def test_malformed_names_are_refused(encoded: str) -> None:
    with pytest.raises(ApiError):
        forms.read(encoded)


def test_an_array_may_not_be_given_as_an_object() -> None:
    assert _refusal(**{"amount": "100", "currency": "chf", "expand[first]": "x"}).param == "expand"
