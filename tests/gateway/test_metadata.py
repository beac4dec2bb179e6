"""What is put on Stripe's objects: within its limits, whole, and never ours by another's word."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.errors import FieldInvalid
from services.gateway.errors import MetadataTooLarge
from services.gateway.stripe_api.metadata import KEY_CHARACTERS_MAX, KEYS_MAX, OURS, VALUE_CHARACTERS_MAX, checked

IDS = st.lists(st.text("abcdef0123456789-", min_size=1, max_size=64), min_size=1, max_size=200)


@given(ids=IDS)
def test_a_list_of_any_length_comes_back_whole_from_its_keys_and_each_is_a_list_of_its_own(ids: list[str]) -> None:
    kept = checked({"bookingIds": ",".join(ids)}, field="metadata")

    assert list(kept) == ["bookingIds", *(f"bookingIds_{number}" for number in range(2, len(kept) + 1))]
    assert all(0 < len(part) <= VALUE_CHARACTERS_MAX for part in kept.values())
    assert [one for part in kept.values() for one in part.split(",")] == ids


def test_what_fits_is_kept_as_it_is() -> None:
    given_by_caller = {"bookingId": "b" * VALUE_CHARACTERS_MAX, "vatRate": "8.1", "k" * KEY_CHARACTERS_MAX: "v, w"}

    assert checked(given_by_caller, field="metadata") == given_by_caller


@pytest.mark.parametrize(
    "too_large",
    [
        {"one": "x" * (VALUE_CHARACTERS_MAX + 1)},
        {"one": "," + "x" * VALUE_CHARACTERS_MAX},
        {f"key{number}": "v" for number in range(KEYS_MAX - len(OURS) + 1)},
        {"k" * (KEY_CHARACTERS_MAX + 1): "v"},
        {"k" * KEY_CHARACTERS_MAX: ",".join(["v" * 20] * 40)},  # where it goes on the key is too long
        {"ids": ",".join(["v" * 250] * (KEYS_MAX * 2))},
    ],
)
def test_what_does_not_fit_is_refused(too_large: dict[str, str]) -> None:
    with pytest.raises(MetadataTooLarge):
        checked(too_large, field="metadata")


@pytest.mark.parametrize(
    "wrong",
    [
        *({name: "mine"} for name in sorted(OURS)),
        {"": "v"},
        {"a[b]": "v"},
        {"Schlüssel": "v"},
        {"k": ""},
        {"k": "a\0b"},
        {"ids": ",".join(["v" * 100] * 6), "ids_2": "another"},
        {"ids_2": "another", "ids": ",".join(["v" * 100] * 6)},
    ],
)
def test_what_can_be_no_metadata_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(FieldInvalid):
        checked(wrong, field="metadata")
