"""What an answer of Stripe is, and what may be concluded from it: the tables alone."""

from __future__ import annotations

from typing import Any

import pytest

from services.gateway.stripe_api.outcomes import CALLS, Kind, Outcome, conclusion, is_list, is_object, kind_of_error

INTENT = {"id": "pi_1", "object": "payment_intent"}
BEHIND_THE_KEY = {Kind.ANSWER, Kind.DECLINE, Kind.REFUSAL, Kind.FAILURE}
"""What Stripe keeps under a key, and replays."""


def error(**fields: Any) -> dict[str, Any]:
    return {"error": {"type": "invalid_request_error", "message": "no", **fields}}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (None, None, Kind.SILENCE),
        (200, None, Kind.UNREADABLE),
        (302, None, Kind.UNREADABLE),
        (400, error(), Kind.REFUSAL),
        (400, error(type="idempotency_error"), Kind.KEY_REUSED),
        (400, None, Kind.UNREADABLE),
        (400, {"error": "invalid_request"}, Kind.UNREADABLE),
        (400, {"error": {"message": "no"}}, Kind.UNREADABLE),
        (400, [], Kind.UNREADABLE),
        (401, error(), Kind.NO_ACCESS),
        (402, error(type="card_error"), Kind.REFUSAL),
        (402, error(type="card_error", payment_intent=INTENT), Kind.DECLINE),
        (402, error(type="card_error", payment_intent="pi_1"), Kind.REFUSAL),
        (403, error(), Kind.NO_ACCESS),
        (403, error(code="account_invalid"), Kind.REFUSAL),
        (403, None, Kind.NO_ACCESS),
        (404, error(), Kind.NO_ENDPOINT),
        (404, error(code="resource_missing"), Kind.REFUSAL),
        (404, None, Kind.NO_ENDPOINT),
        (407, None, Kind.NO_ACCESS),
        (409, error(type="idempotency_error", code="idempotency_key_in_use"), Kind.KEY_IN_USE),
        (413, error(), Kind.UNREADABLE),
        (429, None, Kind.LIMIT),
        (500, error(type="api_error"), Kind.FAILURE),
        (503, None, Kind.FAILURE),
    ],
)
def test_what_an_error_is(status: int | None, body: object, kind: Kind) -> None:
    assert kind_of_error(status, body) is kind


@pytest.mark.parametrize("kind", Kind)
def test_after_an_earlier_try_only_what_stripe_keeps_under_the_key_ends_a_call(kind: Kind) -> None:
    ends = {Outcome.ANSWERED, Outcome.DECLINED, Outcome.REFUSED, Outcome.NOTHING_HAPPENED}
    fresh = conclusion(kind, is_repeat=True, is_replayed=False)
    replayed = conclusion(kind, is_repeat=True, is_replayed=True)

    assert fresh not in ends or kind in (Kind.ANSWER, Kind.DECLINE)  # these say how the object is
    assert replayed not in ends or kind in BEHIND_THE_KEY
    assert replayed is conclusion(kind, is_repeat=False, is_replayed=True)  # it was executed before, known to us or not


def test_every_kind_has_its_outcome() -> None:
    assert set(CALLS) == set(Kind)


@pytest.mark.parametrize(
    "body", [None, [], "pi_1", {}, {**INTENT, "object": "refund"}, {**INTENT, "id": ""}, {**INTENT, "id": 1}]
)
def test_what_is_no_object_of_the_type(body: object) -> None:
    assert is_object(INTENT, of_type="payment_intent")
    assert not is_object(body, of_type="payment_intent")


@pytest.mark.parametrize(
    "changes",
    [{"object": "search"}, {"data": None}, {"data": [INTENT, {}]}, {"has_more": None}, {"data": [], "has_more": True}],
)
def test_what_is_no_page_of_a_list(changes: dict[str, Any]) -> None:
    page = {"object": "list", "data": [INTENT], "has_more": True}
    assert is_list(page, of_type="payment_intent")
    assert is_list({**page, "data": [], "has_more": False}, of_type="payment_intent")
    assert not is_list({**page, **changes}, of_type="payment_intent")
