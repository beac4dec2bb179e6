"""What each type of Stripe's events makes us do: said of every type that concerns money."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from stripe.params._webhook_endpoint_create_params import WebhookEndpointCreateParams

from services.gateway.webhooks import events
from services.gateway.webhooks.events import ACTIONS, Action, Event, subscribed_types

ABOUT_MONEY = (
    "application_fee.",
    "charge.",
    "checkout.session.",
    "payment_intent.",
    "payout.",
    "radar.",
    "refund.",
    "review.",
    "transfer.",
)


def _types() -> list[str]:
    """Return every type that the installed package knows."""
    asked = WebhookEndpointCreateParams.__annotations__["enabled_events"]
    return [name for name in _texts(asked) if name != "*"]


def _texts(annotation: Any) -> list[str]:
    if isinstance(annotation, str):
        return [annotation]
    return [text for part in get_args(annotation) for text in _texts(part)]


def test_every_type_of_stripes_that_concerns_money_is_classified() -> None:
    money = [name for name in _types() if name.startswith(ABOUT_MONEY)]

    assert len(money) > 40
    assert [name for name in money if name not in ACTIONS] == []
    assert [name for name in ACTIONS if name not in _types()] == []


@pytest.mark.parametrize("account", [None, "acct_1"])
def test_an_endpoint_subscribes_to_every_type_that_is_acted_on_and_to_no_other(account: str | None) -> None:
    subscribed = subscribed_types(of_accounts=account is not None)

    acted_on = [name for name in _types() if _event(name, account=account).action is not Action.IGNORE]

    assert sorted(subscribed) == sorted(acted_on)
    assert len(subscribed) == len(set(subscribed))


@pytest.mark.parametrize("event_type", [name for name in ACTIONS if name.startswith("charge.dispute.")])
def test_whatever_happens_to_a_dispute_is_read(event_type: str) -> None:
    assert ACTIONS[event_type] is Action.DISPUTE


def test_what_moves_money_of_a_payment_without_us_is_never_ignored() -> None:
    quiet = {name for name, action in ACTIONS.items() if action is Action.IGNORE}

    assert not [name for name in quiet if name.startswith(("refund.", "radar.", "review.", "charge.dispute"))]
    assert not {"charge.refunded", "charge.captured", "charge.expired", "payout.failed"} & quiet


@pytest.mark.parametrize(
    ("held", "is_over"),
    [({"open": True}, False), ({"open": False}, True), ({"actionable": True}, False), ({"actionable": False}, True)],
)
def test_a_review_or_a_warning_says_itself_when_it_is_over(held: dict[str, Any], is_over: bool) -> None:
    assert _event("review.opened", id="prv_1", **held).is_over is is_over


def _event(event_type: str, *, account: str | None = None, **held: Any) -> Event:
    body = {"id": "evt_1", "object": "event", "type": event_type, "livemode": False, "created": 1, "account": account}
    return events.read(json.dumps(body | {"data": {"object": {"id": "obj_1", **held}}}).encode())
