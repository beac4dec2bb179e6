"""Webhooks: what is delivered, signed so that the official client takes it, and how delivery can go wrong."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable

import pytest
import stripe

from sandbox.control import SandboxControl
from tests.sandbox.samples import Api, Receiver, paid

Listen = Callable[..., Awaitable[str]]
PARAMS = {"amount": 500, "currency": "chf"}
DELAY_S = 0.3


async def test_the_official_client_takes_every_delivery(
    v1: Api, control: SandboxControl, receiver: Receiver, listen: Listen
) -> None:
    secret = await listen()

    intent = await paid(v1, metadata={"order": "7"})
    await control.settle()
    await control.drain()

    events = receiver.events(secret)
    assert {event.type for event in events} == {
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.succeeded",
        "charge.updated",
    }
    (succeeded,) = [event for event in events if event.type == "payment_intent.succeeded"]
    assert (succeeded.api_version, succeeded.livemode) == (stripe.api_version, False)
    assert (succeeded.data.object["id"], succeeded.data.object["metadata"]["order"]) == (intent.id, "7")
    assert (await v1.events.retrieve_async(succeeded.id)).pending_webhooks == 0


async def test_an_event_shows_its_moment_not_what_came_later(
    v1: Api, control: SandboxControl, receiver: Receiver, listen: Listen
) -> None:
    secret = await listen()
    await control.webhooks(hold=True)
    intent = await v1.payment_intents.create_async(PARAMS)
    await v1.payment_intents.cancel_async(intent.id)

    await control.webhooks()
    await control.release()
    await control.drain()

    states = {event.type: event.data.object["status"] for event in receiver.events(secret)}
    assert states == {"payment_intent.created": "requires_payment_method", "payment_intent.canceled": "canceled"}


async def test_an_event_names_the_request_it_comes_from(
    v1: Api, control: SandboxControl, receiver: Receiver, listen: Listen
) -> None:
    secret = await listen()
    intent = await v1.payment_intents.create_async(PARAMS, {"idempotency_key": "k"})
    await control.cancel(intent.id)
    await control.drain()

    by_request, by_dashboard = sorted(receiver.events(secret), key=lambda event: event.type, reverse=True)
    assert (by_request.request.id, by_request.request.idempotency_key) == (intent.last_response.request_id, "k")
    assert (by_dashboard.request.id, by_dashboard.request.idempotency_key) == (None, None)


async def test_another_secret_does_not_verify(
    v1: Api, control: SandboxControl, receiver: Receiver, listen: Listen
) -> None:
    await listen()
    await v1.payment_intents.create_async(PARAMS)
    await control.drain()

    with pytest.raises(stripe.SignatureVerificationError):
        receiver.events("whsec_other")


async def test_while_a_secret_rotates_both_verify(fresh: tuple[Api, SandboxControl], receiver: Receiver) -> None:
    v1, control = fresh
    await control.endpoint(receiver.url, secrets=["whsec_old"])
    await v1.payment_intents.list_async()

    await control.endpoint(receiver.url, secrets=["whsec_new", "whsec_old"])
    await v1.payment_intents.create_async(PARAMS)
    await control.drain()

    assert receiver.types("whsec_new") == receiver.types("whsec_old") == ["payment_intent.created"]


@pytest.mark.parametrize("switch", [{"tamper": True}, {"skew_s": -301.0}])
async def test_a_forged_or_stale_delivery_does_not_verify(
    v1: Api, control: SandboxControl, receiver: Receiver, listen: Listen, switch: dict[str, bool]
) -> None:
    secret = await listen()
    await control.webhooks(**switch)

    await v1.payment_intents.create_async(PARAMS)
    await control.drain()

    assert len(receiver.deliveries) == 1
    with pytest.raises(stripe.SignatureVerificationError):
        receiver.events(secret)


async def test_only_what_an_endpoint_asked_for_is_sent(
    v1: Api, control: SandboxControl, receiver: Receiver, listen: Listen
) -> None:
    secret = await listen("payment_intent.succeeded", "charge.failed")

    await paid(v1)
    await control.drain()

    assert receiver.types(secret) == ["payment_intent.succeeded"]


async def test_the_configured_endpoint_gets_what_it_is_subscribed_to_and_nothing_else(
    fresh: tuple[Api, SandboxControl], receiver: Receiver
) -> None:
    v1, control = fresh
    await control.endpoint(receiver.url, secrets=["whsec_x"], enabled_events=["payment_intent.succeeded"])

    await paid(v1)
    await control.drain()

    (endpoint,) = (await v1.webhook_endpoints.list_async()).data
    assert endpoint.enabled_events == ["payment_intent.succeeded"]
    assert receiver.types("whsec_x") == ["payment_intent.succeeded"]


async def test_a_failed_delivery_is_repeated_and_then_given_up(
    v1: Api, control: SandboxControl, receiver: Receiver, listen: Listen
) -> None:
    secret = await listen()
    receiver.answers.extend([500, 302])
    intent = await v1.payment_intents.create_async(PARAMS)
    await control.drain()

    assert receiver.types(secret) == ["payment_intent.created"] * 3
    mine = [entry for entry in await control.deliveries() if entry["type"] == "payment_intent.created"][-3:]
    assert [(entry["attempt"], entry["outcome"]) for entry in mine] == [(1, 500), (2, 302), (3, 200)]

    receiver.answers.extend([500] * 9)
    await v1.payment_intents.cancel_async(intent.id)
    await control.drain()

    canceled = (await v1.events.list_async({"limit": 1})).data[0]
    attempts = [entry["outcome"] for entry in await control.deliveries() if entry["event"] == canceled.id]
    assert attempts == [500] * 5
    assert canceled.pending_webhooks == 1
    assert [event.id for event in (await v1.events.list_async({"delivery_success": False})).data] == [canceled.id]


async def test_a_lost_event_is_still_in_the_list_and_can_be_sent_again(
    v1: Api, control: SandboxControl, receiver: Receiver, listen: Listen
) -> None:
    secret = await listen()
    await control.webhooks(drop=1.0)
    await v1.payment_intents.create_async(PARAMS)
    await control.drain()
    assert receiver.deliveries == []

    (event,) = (await v1.events.list_async()).data
    await control.redeliver(event.id)
    await control.drain()

    assert [delivered.id for delivered in receiver.events(secret)] == [event.id]


async def test_duplicates_are_the_same_event(
    v1: Api, control: SandboxControl, receiver: Receiver, listen: Listen
) -> None:
    secret = await listen()
    await control.webhooks(duplicate=2)

    await v1.payment_intents.create_async(PARAMS)
    await control.drain()

    events = receiver.events(secret)
    assert (len(events), len({event.id for event in events})) == (3, 1)


async def test_held_events_wait_for_their_release(
    v1: Api, control: SandboxControl, receiver: Receiver, listen: Listen
) -> None:
    secret = await listen()
    await control.webhooks(hold=True)
    intent = await v1.payment_intents.create_async(PARAMS)
    await v1.payment_intents.cancel_async(intent.id)
    await control.drain()
    assert receiver.deliveries == []

    assert await control.release() == 2
    await control.drain()

    assert sorted(receiver.types(secret)) == ["payment_intent.canceled", "payment_intent.created"]


async def test_delayed_events_come_after_the_delay(
    v1: Api, control: SandboxControl, receiver: Receiver, listen: Listen
) -> None:
    secret = await listen()
    await control.webhooks(delay_s=DELAY_S)
    began = time.monotonic()

    await v1.payment_intents.create_async(PARAMS)
    await control.drain()

    assert time.monotonic() - began >= DELAY_S
    assert receiver.types(secret) == ["payment_intent.created"]


async def test_events_change_their_order(fresh: tuple[Api, SandboxControl], receiver: Receiver) -> None:
    v1, control = fresh
    await v1.payment_intents.list_async()
    await control.endpoint(receiver.url, secrets=["whsec_x"])
    await control.webhooks(reorder=True, hold=True)

    for _ in range(8):
        await v1.payment_intents.create_async(PARAMS)
    await control.release()
    await control.drain()

    happened = [event.id for event in reversed((await v1.events.list_async({"limit": 100})).data)]
    delivered = [event.id for event in receiver.events("whsec_x")]
    assert sorted(delivered) == sorted(happened)
    assert delivered != happened


async def test_on_their_way_events_are_shuffled_but_not_kept(
    v1: Api, control: SandboxControl, receiver: Receiver, listen: Listen
) -> None:
    secret = await listen()
    await control.webhooks(reorder=True)

    for _ in range(6):
        await v1.payment_intents.create_async(PARAMS)
    await control.drain()

    assert receiver.types(secret) == ["payment_intent.created"] * 6


async def test_every_account_has_the_configured_endpoint(fresh: tuple[Api, SandboxControl], receiver: Receiver) -> None:
    v1, control = fresh
    await control.endpoint(receiver.url, secrets=["whsec_x"])

    await v1.payment_intents.create_async(PARAMS)
    await control.drain()

    assert receiver.types("whsec_x") == ["payment_intent.created"]


async def test_a_secret_is_told_once(v1: Api, listen: Listen) -> None:
    secret = await listen()

    (endpoint,) = (await v1.webhook_endpoints.list_async()).data
    assert "secret" not in json.dumps((await v1.webhook_endpoints.retrieve_async(endpoint.id)).to_dict())
    assert secret.startswith("whsec_")
    assert (await v1.webhook_endpoints.delete_async(endpoint.id)).deleted
    assert (await v1.webhook_endpoints.list_async()).data == []


@pytest.mark.parametrize(
    ("params", "status"),
    [({"url": "shop.example"}, 400), ({"api_version": "2020-08-27"}, 501)],
)
async def test_an_endpoint_the_stand_in_cannot_serve_is_refused(
    v1: Api, receiver: Receiver, params: dict[str, str | bool], status: int
) -> None:
    with pytest.raises(stripe.StripeError) as caught:
        await v1.webhook_endpoints.create_async({"url": receiver.url, "enabled_events": ["*"], **params})

    assert caught.value.http_status == status
