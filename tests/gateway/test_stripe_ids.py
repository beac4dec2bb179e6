"""What goes into a path of Stripe's API is an id of Stripe's, whoever named it."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.cards import CARDS
from services.errors import FieldInvalid, FieldMissing
from services.gateway.stripe_api import stripe_ids
from services.gateway.stripe_api.client import Provider
from services.gateway.stripe_api.stripe_ids import ACCOUNT, INTENT, PAYMENT_METHOD, NotAnId

PLAIN = frozenset(string.ascii_letters + string.digits + "_")


@pytest.mark.parametrize(
    "value", [*CARDS, "pm_1QabcdefGhijklmnopQrstuv", "card_1QabcdefGhijklmnopQrstuv", "src_1Qabcdef"]
)
def test_what_stripe_names_its_methods_is_taken(value: str) -> None:
    assert stripe_ids.read(value, PAYMENT_METHOD, field="payment_method_id") == value


@given(st.text() | st.text().map("acct_".__add__) | st.text(alphabet=sorted(PLAIN)).map("acct_".__add__))
def test_letters_digits_and_underscores_after_the_prefix_are_taken_and_nothing_else(value: str) -> None:
    rest = value.removeprefix("acct_")
    if rest and rest != value and PLAIN.issuperset(rest) and len(value) <= stripe_ids.CHARACTERS_MAX:
        assert stripe_ids.in_path(stripe_ids.read(value, ACCOUNT, field="stripe_account_id"), ACCOUNT) == value
        return
    with pytest.raises((FieldInvalid, FieldMissing)) as refusal:
        stripe_ids.read(value, ACCOUNT, field="stripe_account_id")
    assert refusal.value.field == "stripe_account_id"
    with pytest.raises(NotAnId):
        stripe_ids.in_path(value, ACCOUNT)


@pytest.mark.parametrize("value", ["", ".", "..", "pi_", "pi_1/confirm", "acct_1", "pi_1\n"])
async def test_the_last_guard_sends_nothing(value: str) -> None:
    provider = Provider("sk_test_1", api_base="http://127.0.0.1:1")
    for call in (
        provider.intents.retrieve(value),
        provider.intents.confirm(value, {}, key="k"),
        provider.intents.cancel(value, {}, key="k"),
        provider.accounts.retrieve(value.replace("acct_1", "pi_1")),
    ):
        with pytest.raises(NotAnId):
            await call
    assert stripe_ids.in_path("pi_1", INTENT) == "pi_1"
    await provider.close()
