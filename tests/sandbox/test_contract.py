"""What the stand-in is held to: strict on what it takes and on what it says, and 501 for what it does not model."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator
from functools import cache
from typing import Any

import httpx
import pytest
import stripe
from jsonschema import Draft202012Validator

from sandbox.control import SandboxControl
from sandbox.schema import RESOURCE_OF, ApiSchema, load
from sandbox.state import Sandbox
from tests.eventually import WITHIN_S
from tests.sandbox.samples import Api, Connect, debited, opened, paid, seller, set_up

KEY = "sk_test_contract"
URL = "http://127.0.0.1:1/"


@pytest.fixture
async def http(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    """For what the official client would never send."""
    headers = {"authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(
        base_url=sandbox.base_url, headers=headers, trust_env=False, timeout=WITHIN_S
    ) as client:
        yield client


@cache
def _validators() -> dict[str, Draft202012Validator]:
    schema: ApiSchema = load()
    definitions = json.loads(json.dumps(schema.schemas).replace('"$ref": "', '"$ref": "#/$defs/'))
    return {
        kind: Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": definitions})
        for kind, name in RESOURCE_OF.items()
    }


async def test_every_object_conforms_by_an_independent_validator(v1: Api, control: SandboxControl) -> None:
    account = await seller(v1)
    customer = await v1.customers.create_async({"email": "p@example.com"})
    split = {"application_fee_amount": 700, "transfer_data": {"destination": account}}
    done = await paid(v1, customer=customer.id, setup_future_usage="off_session", **split)
    await v1.refunds.create_async(
        {"payment_intent": done.id, "amount": 300, "reverse_transfer": True, "refund_application_fee": True}
    )
    for card in ("pm_card_pendingRefund", "pm_card_refundFail"):
        await v1.refunds.create_async({"payment_intent": (await paid(v1, card=card)).id})
    await control.settle()
    asked = await paid(v1, card="pm_card_threeDSecure2Required")
    await control.authenticate(asked.id, succeed=False)
    await paid(v1, card="pm_card_threeDSecure2Required")
    with pytest.raises(stripe.CardError):
        await paid(v1, card="pm_card_radarBlock")
    await v1.payment_intents.cancel_async((await paid(v1, capture_method="manual")).id)
    contested = await control.dispute((await paid(v1)).id)
    await control.move_dispute(contested["id"], "won")
    doubted = await paid(v1)
    await control.warn_of_fraud(doubted.id)
    await control.open_review(doubted.id)
    await control.dispute(doubted.id, inquiry=True)
    await control.force((await v1.payment_intents.create_async({"amount": 500, "currency": "chf"})).id, "processing")
    await v1.webhook_endpoints.create_async({"url": "http://127.0.0.1:1/", "enabled_events": ["account.updated"]})
    await control.pay_session((await opened(v1)).url)
    await v1.checkout.sessions.expire_async((await opened(v1)).id)
    for scenario in ("success", "failed"):
        await control.finish_debit((await debited(v1, scenario)).id)
    await control.pay_session((await opened(v1)).url, payment_method="pm_twint")
    await set_up(v1, customer=customer.id)
    kept = await set_up(v1, card="pm_card_authenticationRequired")
    await control.authenticate(kept.id, succeed=False)
    with pytest.raises(stripe.CardError):
        await set_up(v1, card="pm_card_chargeDeclined")
    await v1.setup_intents.cancel_async((await v1.setup_intents.create_async({})).id)

    await v1.test_helpers.confirmation_tokens.create_async({"payment_method": "pm_card_visa"})
    await control.pay_out(account, amount=500, currency="chf")
    await control.top_up((await v1.accounts.retrieve_current_async()).id, 500, currency="chf")
    await control.require(account, ["external_account"])
    await control.disconnect_account(await seller(v1))
    connected = await _payloads(control, "account.application.deauthorized", "capability.updated")
    link = await v1.account_links.create_async(
        {"account": account, "type": "account_onboarding", "return_url": URL, "refresh_url": URL}
    )
    by_themselves = {"account_link": link.to_dict()} | {one["object"]: one for one in connected}
    by_themselves["balance"] = (await v1.balance.retrieve_async()).to_dict()

    for kind, validator in _validators().items():
        if kind in by_themselves:  # shown, and kept under no id of its own
            assert [error.message for error in validator.iter_errors(by_themselves[kind])] == [], kind
            continue
        found = await control.objects(kind)
        assert found, kind
        for obj in found:
            assert [error.message for error in validator.iter_errors(obj)] == [], kind
    for event in await control.objects("event"):
        payload = event["data"]["object"]
        assert [error.message for error in _validators()[payload["object"]].iter_errors(payload)] == [], event["type"]


async def _payloads(control: SandboxControl, *types: str) -> list[dict[str, Any]]:
    return [event["data"]["object"] for event in await control.objects("event") if event["type"] in types]


async def test_an_answer_of_ours_that_breaks_the_schema_is_a_500(v1: Api, sandbox: Sandbox) -> None:
    intent = await v1.payment_intents.create_async({"amount": 500, "currency": "chf"})
    _, held = sandbox.locate(intent.id)
    held["amount"] = "500"

    for call in (
        v1.payment_intents.retrieve_async(intent.id),
        v1.payment_intents.list_async(),
        v1.payment_intents.cancel_async(intent.id),
    ):
        with pytest.raises(stripe.APIError, match=r"breaks the schema: .*amount: '500' is not of type"):
            await call


async def test_every_answer_names_its_request(v1: Api, http: httpx.AsyncClient) -> None:
    intent = await v1.payment_intents.create_async({"amount": 500, "currency": "chf"})
    assert intent.last_response.request_id.startswith("req_")

    for path in ("/v1/payment_intents/pi_nobody", "/v1/nothing", "/v1/coupons"):
        answer = await http.get(path)
        assert answer.headers["request-id"] in answer.json()["error"]["request_log_url"]


@pytest.mark.parametrize(
    "params",
    [{"bogus": 1}, {"automatic_payment_methods": {"enabled": True, "bogus": 1}}, {"transfer_data": {"account": "x"}}],
)
async def test_a_parameter_stripe_does_not_know_is_refused(v1: Api, params: dict[str, Any]) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await v1.payment_intents.create_async({"amount": 500, "currency": "chf", **params})

    assert (caught.value.http_status, caught.value.code) == (400, "parameter_unknown")


@pytest.mark.parametrize(
    ("method", "path", "data"),
    [
        ("GET", "/v1/coupons", {}),
        ("GET", "/v1/payment_intents/search", {}),
        ("POST", "/v1/checkout/sessions", {"mode": "subscription"}),
        ("POST", "/v1/payment_intents/pi_1/increment_authorization", {"amount": "500"}),
        ("POST", "/v1/payment_intents", {"amount": "500", "currency": "chf", "confirmation_token": "ctoken_1"}),
        ("POST", "/v1/payment_intents", {"amount": "500", "currency": "chf", "transfer_data[destination]": "acct_1",
                                         "payment_method_options[card][moto]": "true"}),
        ("POST", "/v1/transfers/tr_1/reversals", {"refund_application_fee": "true"}),
        ("POST", "/v1/payouts/po_1/reverse", {}),
    ],
)  # fmt: skip
async def test_what_is_not_modelled_is_a_501_and_never_a_success(
    http: httpx.AsyncClient, control: SandboxControl, method: str, path: str, data: dict[str, str]
) -> None:
    before = await control.counts()

    answer = await http.request(method, path, data=data or None)

    assert (answer.status_code, answer.json()["error"]["code"]) == (501, "sandbox_not_modelled")
    assert await control.counts() == before


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/v1/nothing"), ("DELETE", "/v1/payment_intents"), ("GET", "/v1/payment_intents/a/b/c")],
)
async def test_what_stripe_does_not_know_is_a_404(http: httpx.AsyncClient, method: str, path: str) -> None:
    answer = await http.request(method, path)

    assert answer.status_code == 404
    assert "Unrecognized request URL" in answer.json()["error"]["message"]


@pytest.mark.parametrize("key", ["sk_live_51abc", "sk_test_", "rk_live_x", "nonsense"])
async def test_only_test_keys_are_taken(connect: Connect, key: str) -> None:
    with pytest.raises(stripe.AuthenticationError) as caught:
        await connect(key).payment_intents.list_async()

    assert f"{key} " not in f"{caught.value} "


async def test_without_a_key_nothing_is_said(http: httpx.AsyncClient) -> None:
    for headers in ({"authorization": ""}, {"authorization": "Basic abc"}):
        assert (await http.get("/v1/payment_intents", headers=headers)).status_code == 401


async def test_keys_of_one_account_open_the_same_account_and_others_another(connect: Connect) -> None:
    name = secrets.token_hex(8)
    keys = [f"sk_test_{name}_1", f"rk_test_{name}_2", f"sk_test_{name}", f"sk_test_{name}0_1"]

    first, second, third, other = [(await connect(key).accounts.retrieve_current_async()).id for key in keys]
    intent = await connect(keys[0]).payment_intents.create_async({"amount": 500, "currency": "chf"})

    assert first == second == third != other
    assert (await connect(keys[1]).payment_intents.retrieve_async(intent.id)).id == intent.id


async def test_accounts_do_not_see_one_another(connect: Connect) -> None:
    ours, theirs = connect(), connect()
    intent = await ours.payment_intents.create_async({"amount": 500, "currency": "chf"})

    with pytest.raises(stripe.InvalidRequestError) as caught:
        await theirs.payment_intents.retrieve_async(intent.id)

    assert (caught.value.http_status, caught.value.code) == (404, "resource_missing")
    assert (await theirs.payment_intents.list_async()).data == []


async def test_a_publishable_key_may_only_confirm_and_read(http: httpx.AsyncClient, v1: Api) -> None:
    intent = await v1.payment_intents.create_async({"amount": 500, "currency": "chf"})
    browser = {"authorization": "Bearer pk_test_x"}
    path = f"/v1/payment_intents/{intent.id}"

    seen = await http.get(path, params={"client_secret": intent.client_secret}, headers=browser)

    assert seen.json()["id"] == intent.id
    assert (await http.get(path, headers=browser)).status_code == 404
    for method, refused in (("POST", f"{path}/cancel"), ("POST", "/v1/refunds"), ("GET", "/v1/payment_intents")):
        assert (await http.request(method, refused, headers=browser)).status_code == 403


@pytest.mark.parametrize(
    ("headers", "status"), [({"stripe-version": "2020-08-27"}, 400), ({"stripe-account": "acct_1"}, 501)]
)
async def test_another_version_or_account_is_refused(
    http: httpx.AsyncClient, headers: dict[str, str], status: int
) -> None:
    assert (await http.get("/v1/payment_intents", headers=headers)).status_code == status


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"amount=\xff\xfe", 400),
        (b"&".join(b"a%d=1" % number for number in range(2_000)), 400),
        (b"a=" + b"x" * 1_000_001, 413),
        (b"amount=" + b"9" * 5_000 + b"&currency=chf", 400),
        ("expand[²]=customer&amount=500&currency=chf".encode(), 400),
        (b"", 400),
    ],
)
async def test_a_malformed_request_is_refused_and_the_next_one_works(
    http: httpx.AsyncClient, content: bytes, status: int
) -> None:
    answer = await http.post("/v1/payment_intents", content=content)

    assert (answer.status_code, answer.json()["error"]["type"]) == (status, "invalid_request_error")
    assert (await http.get("/v1/payment_intents")).status_code == 200
