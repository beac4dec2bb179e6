"""The rules of a payer's methods, without any database: the default, duplicates, expiry, what a reading changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.customers.domain import changed, details_of, digests, dropped
from services.gateway.payment_methods.domain import (
    READ_AGE_MAX,
    Consent,
    MethodFacts,
    MethodState,
    PayerMethods,
    is_expired,
)
from services.shared.payment import Method

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
CUSTOMER = "cus_1"


def payer() -> PayerMethods:
    return PayerMethods(
        tenant_id="main",
        payer_id="ada",
        customer_id=CUSTOMER,
        fence=1,
        methods={},
        default_id="",
        read_time=NOW,
        open_calls=[],
    )


def facts(method_id: str, *, fingerprint: str = "", customer_id: str = CUSTOMER) -> MethodFacts:
    return MethodFacts(
        method=Method(payment_method_id=method_id, type="card", brand="visa", last4="4242"),
        fingerprint=fingerprint,
        customer_id=customer_id,
    )


def keep(held: PayerMethods, *method_ids: str) -> None:
    """Keep methods one after another; those whose ids begin with the same letter are the same card."""
    for method_id in method_ids:
        held.keep(facts(method_id, fingerprint=method_id[0]), now=NOW + timedelta(seconds=len(held.methods)))


def listed(held: PayerMethods) -> list[str]:
    return [one.method_id for one in held.listed()]


@pytest.mark.parametrize(
    ("now", "expired"),
    [
        (datetime(2028, 2, 29, 23, 59, 59, tzinfo=UTC), False),
        (datetime(2028, 3, 1, tzinfo=UTC), True),
        (datetime(2027, 12, 31, tzinfo=UTC), False),
        (datetime(2029, 1, 1, tzinfo=UTC), True),
    ],
)
def test_a_card_is_good_through_the_last_day_of_its_month(now: datetime, expired: bool) -> None:
    assert is_expired(Method(expire_month=2, expire_year=2028), now) is expired
    assert not is_expired(Method(), now)  # a debit


def test_one_of_each_card_is_listed_the_default_first_and_then_the_newest() -> None:
    held = payer()
    keep(held, "a1", "b1", "c1", "b2")
    assert listed(held) == ["a1", "b2", "c1"]

    held.default_id = "b1"
    assert listed(held) == ["b1", "c1", "a1"]


def test_methods_without_a_fingerprint_are_all_different() -> None:
    held = payer()
    for method_id in ("x", "y"):
        held.keep(facts(method_id), now=NOW)
    assert sorted(listed(held)) == ["x", "y"]
    assert held.same_as("x") == ["x"]


def test_the_default_follows_its_card_and_passes_on_to_the_newest() -> None:
    held = payer()
    keep(held, "a1", "b1", "a2")
    assert held.default_id == "a2"
    assert held.same_as("a2") == ["a1", "a2"]

    held.detach(["a1", "a2"], now=NOW)
    assert held.default_id == "b1"
    held.detach(["b1"], now=NOW)
    assert (held.default_id, listed(held)) == ("", [])


def test_a_method_on_its_way_out_is_not_listed_and_may_come_back_as_it_was() -> None:
    held = payer()
    keep(held, "a1", "b1")
    held.begin_detaching(["a1"])
    assert (listed(held), held.find("a1"), held.count) == (["b1"], None, 2)

    held.keep(facts("a1", fingerprint="a"), now=NOW)  # as a webhook shows it meanwhile
    assert listed(held) == ["b1"]
    held.keep_again(["a1", "gone"])
    assert listed(held) == ["a1", "b1"]


def test_the_first_consent_stands_and_outlives_what_it_was_about() -> None:
    held, first = payer(), Consent(consent_time=NOW, actor_id="ada")
    held.keep(facts("a1"), now=NOW)
    held.keep(facts("a1"), now=NOW, consent=first)
    held.keep(facts("a1"), now=NOW, consent=Consent(consent_time=NOW, actor_id="another"))
    held.detach(["a1"], now=NOW)

    gone = held.methods["a1"]
    assert (gone.state, gone.consent, gone.method.last4, gone.fingerprint) == (MethodState.DETACHED, first, "", "")


def test_a_reading_keeps_what_it_shows_and_forgets_the_rest() -> None:
    held = payer()
    keep(held, "a1", "b1")
    held.take_all([facts("c1"), facts("b1", fingerprint="b"), facts("d1")], now=NOW + timedelta(hours=1))
    assert listed(held) == ["c1", "d1", "b1"]  # Stripe's order of what was not known, the newest first
    assert held.default_id == "c1"  # in the place of one that is gone


def test_what_a_customer_kept_who_is_gone_is_gone() -> None:
    held = payer()
    keep(held, "a1")
    held.customer_id = "cus_2"
    held.forget_strangers(now=NOW)
    assert (listed(held), held.default_id) == ([], "")


@pytest.mark.parametrize(
    ("changes", "is_due"),
    [
        ({}, False),
        ({"read_time": None}, True),
        ({"read_time": NOW - READ_AGE_MAX}, True),
        ({"unread_time": NOW + timedelta(seconds=1)}, True),
        ({"unread_time": NOW - timedelta(seconds=1)}, False),
        ({"read_time": None, "customer_id": ""}, False),
    ],
)
def test_stripe_is_asked_when_it_may_know_more(changes: dict[str, object], is_due: bool) -> None:
    held = payer()
    for name, value in changes.items():
        setattr(held, name, value)
    assert held.is_to_be_read(NOW) is is_due


ACTS = st.lists(
    st.tuples(
        st.sampled_from(["keep", "detach", "default", "mark", "back"]), st.sampled_from(["a1", "a2", "b1", "c1"])
    ),
    max_size=30,
)


@given(ACTS)
def test_whatever_happens_there_is_one_default_among_what_is_kept(acts: list[tuple[str, str]]) -> None:
    held = payer()
    for act, method_id in acts:
        match act:
            case "keep":
                keep(held, method_id)
            case "detach":
                held.detach(held.same_as(method_id), now=NOW)
            case "default" if held.find(method_id) is not None:
                held.default_id = method_id
            case "mark":
                held.begin_detaching(held.same_as(method_id))
            case "back":
                held.keep_again(held.same_as(method_id))
        shown = listed(held)
        assert len({one[0] for one in shown}) == len(shown)
        assert {one[0] for one in shown} == {one.method_id[0] for one in held.kept()}
        if held.find(held.default_id) is not None:
            assert shown[0] == held.default_id


def test_only_what_is_new_of_a_person_is_told() -> None:
    told = digests("main", "ada", details_of("ada", email="ada@example.org", name="Ada", locale="de"))
    again = details_of("ada", email="ada@example.org", name="Ada King", locale="")
    assert changed("main", "ada", again, told=told) == {"name": "Ada King"}
    assert changed("main", "bob", again, told=told).keys() == {"email", "name"}  # digests are of one payer
    assert "ada@example.org" not in str(told)


@pytest.mark.parametrize(
    ("param", "without"),
    [("email", ["email"]), ("", ["email", "name"]), ("metadata", []), ("preferred_locales[0]", [])],
)
def test_a_refusal_names_what_is_left_out(param: str, without: list[str]) -> None:
    assert dropped({"email": "x", "name": "y", "metadata": {}}, param) == without
