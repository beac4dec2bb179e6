"""The stand-in beside Stripe's own files, where BATZEN_STRIPE_REFERENCE names their folder.

`openapi.json` is Stripe's published description and `fixtures.json` its sample objects, from github.com/stripe/openapi.
"""

from __future__ import annotations

import json
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from sandbox.control import SandboxControl
from sandbox.operations import OPERATIONS
from sandbox.schema import RESOURCE_OF
from tests.sandbox.samples import Api, debited, opened, paid, seller, set_up

_REFERENCE = os.environ.get("BATZEN_STRIPE_REFERENCE")  # read at import: tests run without such variables
pytestmark = pytest.mark.skipif(_REFERENCE is None, reason="BATZEN_STRIPE_REFERENCE does not name Stripe's files")
ONLY_EXPANDED = {"charge": ("refunds",), "customer": ("sources", "subscriptions", "tax_ids")}
"""The samples show them; the API leaves them out unless asked to expand them."""
NOT_DESCRIBED = {
    "get /v1/confirmation_tokens/{}",
    "post /v1/test_helpers/confirmation_tokens",
    "get /v1/application_fees/{}/refunds/{}",
    "get /v1/mandates/{}",
    "get /v1/payouts",
    "get /v1/payouts/{}",
    "post /v1/payouts",
    "post /v1/payouts/{}",
    "post /v1/payouts/{}/cancel",
    "get /v1/radar/early_fraud_warnings",
    "get /v1/radar/early_fraud_warnings/{}",
    "get /v1/reviews",
    "get /v1/reviews/{}",
    "get /v1/transfers/{}/reversals/{}",
    "post /v1/application_fees/{}/refunds/{}",
    "post /v1/reviews/{}/approve",
    "post /v1/transfers/{}/reversals/{}",
}
"""What the description at hand leaves out, and the client has."""

WITHOUT_SAMPLE = {"confirmation_token", "payout", "radar.early_fraud_warning", "topup"}
KEPT_NOWHERE = {"account_link", "application", "capability"}
"""Shown, and kept under no id of its own."""


@cache
def _read(name: str) -> dict[str, Any]:
    return dict(json.loads((Path(str(_REFERENCE)) / name).read_text()))


def test_every_operation_is_in_stripes_description() -> None:
    known = {f"{verb} {_bare(path)}" for path, verbs in _read("openapi.json")["paths"].items() for verb in verbs}

    assert {_bare(operation.name) for operation in OPERATIONS} - known <= NOT_DESCRIBED


async def test_objects_have_the_shape_of_stripes_samples(v1: Api, control: SandboxControl) -> None:
    account, customer = await seller(v1), await v1.customers.create_async({})
    await debited(v1, customer=customer.id, setup_future_usage="off_session")
    intent = await paid(v1, customer=customer.id, application_fee_amount=700, transfer_data={"destination": account})
    await v1.refunds.create_async(
        {"payment_intent": intent.id, "amount": 300, "reverse_transfer": True, "refund_application_fee": True}
    )
    await control.open_review(intent.id)
    await control.dispute(intent.id)
    await v1.webhook_endpoints.create_async({"url": "http://127.0.0.1:1/", "enabled_events": ["account.updated"]})
    await opened(v1)
    await set_up(v1)

    balance = (await v1.balance.retrieve_async()).to_dict()

    for kind in RESOURCE_OF.keys() - WITHOUT_SAMPLE - KEPT_NOWHERE:
        ours, sample = [balance, *await control.objects(kind)][-1], _read("fixtures.json")["resources"][kind]
        differences = {
            name: (value, ours.get(name, "absent"))
            for name, value in sample.items()
            if name not in ONLY_EXPANDED.get(kind, ()) and not _alike(value, ours.get(name, "absent"))
        }
        assert differences == {}, kind


def _alike(sample: Any, ours: Any) -> bool:
    if sample is None or ours is None:
        return ours != "absent"
    return isinstance(ours, type(sample))


def _bare(path: str) -> str:
    return re.sub(r"{[a-z_]+}", "{}", path)
