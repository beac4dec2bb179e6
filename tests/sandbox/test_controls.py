"""The control routes, through their client."""

from __future__ import annotations

import asyncio

import httpx
import pytest
import stripe

from sandbox.control import Refused, SandboxControl
from tests.eventually import WITHIN_S
from tests.sandbox.samples import Api, paid, seller


async def test_health_says_which_api_it_stands_in_for(control: SandboxControl) -> None:
    assert await control.health() == stripe.api_version


async def test_objects_are_found_by_their_fields(v1: Api, control: SandboxControl) -> None:
    await paid(v1, metadata={"payment_id": "pay_objects"})
    declined = {"metadata.payment_id": "pay_objects_2"}
    with pytest.raises(stripe.CardError):
        await paid(v1, card="pm_card_chargeDeclined", metadata={"payment_id": "pay_objects_2"})

    (intent,) = await control.objects("payment_intent", **{"metadata.payment_id": "pay_objects"})

    assert intent["status"] == "succeeded"
    assert len(await control.objects("charge", payment_intent=intent["id"], status="succeeded")) == 1
    assert [found["status"] for found in await control.objects("payment_intent", **declined)] == [
        "requires_payment_method"
    ]
    assert await control.objects("payment_intent", **{"metadata.payment_id": "pay_nobody"}) == []


async def test_time_spent_is_counted_per_route(fresh: tuple[Api, SandboxControl]) -> None:
    v1, control = fresh
    await control.set_latency(20)
    await v1.payment_intents.create_async({"amount": 500, "currency": "chf"})
    await v1.payment_intents.list_async()
    await control.objects("payment_intent")

    metrics = await control.metrics()

    assert {route: figures["count"] for route, figures in metrics.items()} == {
        "GET /v1/payment_intents": 1,
        "POST /v1/payment_intents": 1,
    }
    assert all(0.02 <= figures["seconds"] == figures["seconds_max"] for figures in metrics.values())
    await control.clear_metrics()
    assert await control.metrics() == {}


async def test_calls_are_counted_by_what_they_name(fresh: tuple[Api, SandboxControl]) -> None:
    v1, control = fresh
    first, second = [await paid(v1) for _ in range(2)]
    await v1.refunds.create_async({"payment_intent": first.id, "amount": 100})
    for _ in range(2):
        await v1.payment_intents.retrieve_async(second.id)

    assert await control.calls(first.id) == {"POST /v1/refunds": 1}
    assert await control.calls(second.id) == {"GET /v1/payment_intents/{intent}": 2}
    await control.clear_metrics()
    assert await control.calls(first.id) == {}


async def test_the_clock_moves_forward_only(fresh: tuple[Api, SandboxControl]) -> None:
    v1, control = fresh
    before = await control.now()
    assert await control.advance(3_600) == 0
    assert await control.now() >= before + 3_600
    assert (await v1.payment_intents.create_async({"amount": 500, "currency": "chf"})).created >= int(before) + 3_600

    with pytest.raises(Refused):
        await control.advance(-1)


async def test_advancing_lets_what_is_due_happen(fresh: tuple[Api, SandboxControl]) -> None:
    v1, control = fresh
    await paid(v1, capture_method="manual")

    assert await control.advance(8 * 86_400) == 1


async def test_reset_forgets_everything(fresh: tuple[Api, SandboxControl]) -> None:
    v1, control = fresh
    await paid(v1)
    await control.fault("server_error", times=None)
    await control.webhooks(drop=1.0)
    await control.endpoint("http://127.0.0.1:1/", secrets=["whsec_x"])

    await control.reset()

    assert (await control.counts(), await control.faults(), await control.deliveries()) == ({}, [], [])
    assert (await v1.payment_intents.list_async()).data == []
    assert (await v1.webhook_endpoints.list_async()).data == []


async def test_reset_lets_paused_calls_go(fresh: tuple[Api, SandboxControl]) -> None:
    _, control = fresh
    await control.fault("pause", route="GET *")
    async with httpx.AsyncClient(base_url=control.base_url, trust_env=False, timeout=WITHIN_S) as http:
        request = http.get("/v1/customers", headers={"authorization": "Bearer sk_test_x"})
        waiting = asyncio.ensure_future(request)
        await control.until_paused()

        await control.reset()

        assert (await waiting).status_code == 200


async def test_one_capability_is_switched_and_the_rest_stays(control: SandboxControl, v1: Api) -> None:
    capabilities = {"card_payments": {"requested": True}, "transfers": {"requested": True}}
    destination = {"destination": (await v1.accounts.create_async({"capabilities": capabilities})).id}  # type: ignore[typeddict-item]

    account = await control.set_capability(destination["destination"], "transfers", active=False)

    assert account["capabilities"] == {"card_payments": "active", "transfers": "inactive"}
    assert account["charges_enabled"]
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await paid(v1, transfer_data=destination)
    assert caught.value.code == "insufficient_capabilities_for_transfer"
    await control.set_capability(destination["destination"], "transfers", active=True)
    assert (await paid(v1, transfer_data=destination)).status == "succeeded"


async def test_an_account_that_was_disconnected_is_nowhere(control: SandboxControl, v1: Api) -> None:
    account_id = await seller(v1)

    await control.disconnect_account(account_id)

    with pytest.raises(stripe.PermissionError) as forbidden:
        await v1.accounts.retrieve_async(account_id)
    assert forbidden.value.error.code == "account_invalid"
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await paid(v1, transfer_data={"destination": account_id})
    assert (caught.value.code, caught.value.param) == ("resource_missing", "transfer_data[destination]")


async def test_a_deleted_customer_pays_for_nothing_more(control: SandboxControl, v1: Api) -> None:
    customer = await v1.customers.create_async({"email": "ada@example.org"})

    await control.delete_customer(customer.id)

    assert (await v1.customers.retrieve_async(customer.id)).deleted
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await paid(v1, customer=customer.id)
    error = caught.value
    assert (error.http_status, error.code, error.param) == (400, "resource_missing", "customer")


@pytest.mark.parametrize(
    "email",
    ["ada@localhost", "ada..l@example.org", ".ada@example.org", "ada@example..org", "ada@-a.org", "\u00e4@a.org"],
)
async def test_an_address_that_is_none_is_refused(v1: Api, email: str) -> None:
    for create in (v1.customers.create_async, v1.accounts.create_async):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            await create({"email": email})  # type: ignore[arg-type]  # both take an address
        assert (caught.value.code, caught.value.param) == ("email_invalid", "email")


async def test_what_does_not_exist_is_refused(control: SandboxControl, v1: Api) -> None:
    customer = await v1.customers.create_async({})

    for call, status in (
        (control.force("pi_nobody", "succeeded"), 404),
        (control.force(customer.id, "succeeded"), 404),
        (control.cancel("pi_nobody"), 404),
        (control.refund("pi_nobody"), 404),
        (control.authenticate("pi_nobody", succeed=True), 404),
        (control.redeliver("evt_nobody"), 404),
        (control.enable_account("acct_nobody", enabled=True), 404),
        (control.set_capability("acct_nobody", "transfers", active=False), 404),
        (control.set_capability(customer.id, "transfers", active=False), 404),
        (control.disconnect_account("acct_nobody"), 404),
        (control.delete_customer("cus_nobody"), 404),
        (control.post("/webhooks", colour="red"), 400),
        (control.get("/objects"), 400),
        (control.get("/nothing"), 404),
    ):
        with pytest.raises(Refused) as caught:
            await call
        assert caught.value.status == status
