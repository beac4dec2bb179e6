"""The platform's own systems hear of a payment: from Stripe to a receiver that checks it, all between them real."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from batzen import webhooks
from batzen.client import Client, new_request_id
from batzen.orchestrator.v1 import webhooks_pb2 as pb
from batzen.webhooks import WebhookEvent
from tests.eventually import eventually
from tests.orchestrator.receivers import Receiver, receiver, says
from tests.suite.journeys import REFUND_MINOR, TOTAL_MINOR, Traveller, state_name

FULL, LEGACY = pb.WebhookSubscription.FORM_FULL, pb.WebhookSubscription.FORM_LEGACY


@asynccontextmanager
async def subscribed(operators: Client, system: Receiver, form: pb.WebhookSubscription.Form) -> AsyncIterator[str]:
    """Have a system sent how payments move, and yield the secret; afterwards it is sent nothing more."""
    name = "hears-" + "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(12))
    put = pb.PutWebhookSubscriptionRequest(
        request_id=new_request_id(),
        subscription_id=name,
        url=system.url(),
        kinds=["PAYMENT_MOVED"],
        form=form,
        actor_id="anna",
        reason="a test",
    )
    yield (await operators.orchestrator_ops.PutWebhookSubscription(put)).secret
    delete = pb.DeleteWebhookSubscriptionRequest(
        request_id=new_request_id(), subscription_id=name, actor_id="anna", reason="a test"
    )
    await operators.orchestrator_ops.DeleteWebhookSubscription(delete)


def heard(system: Receiver, secret: str) -> list[WebhookEvent]:
    """Return what a system was sent, each id once, as it would read it."""
    events: dict[str, WebhookEvent] = {}
    for request in system.requests:
        event = webhooks.verified(request.body, request.headers, secrets=[secret])
        events.setdefault(event.event_id, event)
    return list(events.values())


async def test_the_reservation_system_and_a_newer_one_hear_of_each_step_in_order(traveller: Traveller) -> None:
    reservation = f"res_{secrets.token_hex(8)}"
    async with (
        traveller.suite.client("operator", sub="anna") as operators,
        receiver(says("204 No Content")) as reservations,
        receiver(says("200 OK")) as newer,
        subscribed(operators, reservations, LEGACY) as old_secret,
        subscribed(operators, newer, FULL) as secret,
    ):
        request = traveller.start_request()
        request.booking_ids.append(reservation)
        payment_id = (await traveller.started(request)).payment.payment_id
        await traveller.submit(payment_id, "pm_card_visa")
        await traveller.refund(payment_id, amount_minor=REFUND_MINOR, refundable_minor=TOTAL_MINOR)
        await traveller.until(payment_id, "PARTIALLY_REFUNDED")
        history = await traveller.history(payment_id)

        def told() -> list[Any]:
            payments = [event.payment for event in heard(newer, secret)]
            return [one for one in payments if one is not None and one.payment_id == payment_id]

        def told_of_old() -> list[dict[str, Any]]:
            found = [dict(event.content) for event in heard(reservations, old_secret)]
            return [one for one in found if one["reservationId"] == reservation]

        await eventually(lambda: len(told()) >= len(history))
        await eventually(lambda: len(told_of_old()) >= len(history))

    assert [(one.revision, state_name(one.state)) for one in told()] == [
        (one.revision, state_name(one.state)) for one in history
    ]
    assert told()[-1].snapshot == history[-1].snapshot
    intent = await traveller.intent_of(payment_id)
    statuses = [one["paymentStatus"] for one in told_of_old()]
    assert statuses == sorted(statuses, key=["pending", "processing", "succeeded"].index)
    last = told_of_old()[-1]
    assert last.pop("paidAt")
    assert last == {
        "reservationId": reservation,
        "paymentStatus": "succeeded",
        "stripeSessionId": None,
        "stripePaymentIntentId": intent["id"],
        "paidAmount": TOTAL_MINOR,
        "paidCurrency": "CHF",
    }
    with pytest.raises(webhooks.WebhookRefused):
        heard(newer, old_secret)
