"""After an erasure nothing of the person can be read in any database or log of the suite, in whatever form."""

from __future__ import annotations

import secrets
from collections.abc import Collection

import asyncpg
import httpx
import stripe as stripe_client

from batzen.client import new_request_id
from batzen.gateway.v1.ops_pb2 import ErasePayerRequest
from local.environments import SERVICES
from services.runtime.database.connections import plain_dsn
from tests.eventually import WITHIN_S
from tests.personal import forms_of, readable
from tests.suite.journeys import Traveller

NAME, EMAIL, HOLDER = "Zoë Plantederson", "zoe.planted@example.ch", "Z PLANTEDERSON-CARD"
PLANTED = (NAME, EMAIL, HOLDER)


async def where(traveller: Traveller, texts: Collection[str]) -> list[str]:
    """Return where in the databases and logs one of the texts can be read."""
    found = []
    for service in SERVICES:
        connection = await asyncpg.connect(plain_dsn(traveller.suite.owner_url(service)))
        found += [f"{service}: {place}" for place in await readable(connection, texts)]
        await connection.close()
    for log in sorted(traveller.suite.logs.glob("*.log")):
        content = log.read_bytes()
        found += [f"{log.name}: {text!r}" for text in texts if any(form in content for form in forms_of(text))]
    return found


async def card_of(traveller: Traveller, customer_id: str) -> str:
    """Have Stripe keep a card that has its holder's name, and return its id."""
    assert traveller.suite.sandbox is not None
    async with httpx.AsyncClient(
        base_url=traveller.suite.sandbox_url,
        headers={
            "authorization": f"Bearer {traveller.suite.stripe.api_key}",
            "stripe-version": stripe_client.api_version,
        },
        trust_env=False,
        timeout=WITHIN_S,
    ) as stripe:
        kept = await stripe.post("/v1/payment_methods/pm_card_visa/attach", data={"customer": customer_id})
        assert kept.status_code == 200, kept.text
        method_id = str(kept.json()["id"])
        changed = await stripe.post(
            f"/v1/payment_methods/{method_id}", data={"billing_details[name]": HOLDER, "billing_details[email]": EMAIL}
        )
    assert changed.status_code == 200, changed.text
    return method_id


async def test_nothing_of_an_erased_payer_can_be_read_anywhere(traveller: Traveller) -> None:
    payer_id = f"payer_{''.join(secrets.choice('abcdefgh') for _ in range(12))}"
    request = traveller.start_request()
    request.payer.payer_id, request.payer.name, request.payer.email = payer_id, NAME, EMAIL
    payment_id = (await traveller.started(request)).payment.payment_id
    intent = await traveller.intent_of(payment_id)
    await traveller.sandbox.webhooks(hold=True)
    method_id = await card_of(traveller, str(intent["customer"]))
    async with traveller.suite.client("payer", sub=payer_id) as payer:
        traveller.payer = payer
        await traveller.submit(payment_id, method_id)
    await traveller.sandbox.webhooks()
    await traveller.until(payment_id, "SUCCEEDED")
    [charge] = await traveller.sandbox.objects("charge", payment_intent=str(intent["id"]))
    assert charge["billing_details"]["name"] == HOLDER, "Stripe has it, and tells of it"
    assert await where(traveller, [payer_id]), "what is there is found"
    assert await where(traveller, PLANTED) == []

    async with traveller.suite.client("operator", sub="clerk") as operator:
        answer = await operator.gateway_ops.ErasePayer(
            ErasePayerRequest(request_id=new_request_id(), payer_id=payer_id, actor_id="clerk")
        )
    await traveller.sandbox.settle()

    assert answer.done
    assert await traveller.sandbox.objects("customer", **{"metadata.payer_id": payer_id}) == []
    assert await where(traveller, PLANTED) == []
    assert (await traveller.payment(payment_id)).payer_id == payer_id
