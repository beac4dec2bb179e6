"""Stripe's webhooks at the old address: handed on unread, taken where the gateway takes them."""

from __future__ import annotations

import json
import time
import uuid

import httpx
import pytest
from starlette.requests import Request
from starlette.types import Message

from local.suite import Suite
from sandbox.delivery import sign
from services.bff import webhooks as webhooks_module
from services.bff.webhooks import BODY_BYTES_MAX, PATHS, handing_on
from services.web.failures import Refusal
from services.web.rates import Rate
from tests.eventually import WITHIN_S

HERE, OF_SELLERS = PATHS


def an_event(note: str = "") -> bytes:
    event = {
        "id": f"evt_{uuid.uuid4().hex}",
        "object": "event",
        "type": "customer.updated",
        "created": int(time.time()),
        "livemode": False,
        "api_version": "2026-01-28.endive",
        "data": {"object": {"id": "cus_unknown", "object": "customer", "description": note}},
    }
    return json.dumps(event).encode()


async def posted(suite: Suite, body: bytes, *, path: str = HERE, secret: str | None = None) -> httpx.Response:
    secrets = (secret or suite.stripe.webhook_secrets,)
    headers = {
        "content-type": "application/json",
        "stripe-signature": sign(body, secrets=secrets, timestamp=int(time.time())),
        "sec-fetch-site": "cross-site",
    }
    async with httpx.AsyncClient(base_url=suite.front_url("bff"), timeout=WITHIN_S) as stripe:
        return await stripe.post(path, content=body, headers=headers)


async def test_what_stripe_signed_is_received_however_long_it_is(suite: Suite) -> None:
    short = await posted(suite, an_event())
    long = await posted(suite, an_event("x" * 100_000))

    assert (short.status_code, short.json()) == (200, {"received": True})
    assert (long.status_code, long.json()) == (200, {"received": True})


@pytest.mark.parametrize("path", PATHS)
async def test_what_another_signed_is_not_received(suite: Suite, path: str) -> None:
    answer = await posted(suite, an_event(), path=path, secret="whsec_another")

    assert (answer.status_code, answer.json()) == (400, {"received": False})


async def test_what_is_too_long_is_not_read(suite: Suite) -> None:
    answer = await posted(suite, b"x" * (BODY_BYTES_MAX + 1))

    assert (answer.status_code, answer.json()["code"]) == (413, "BODY_TOO_LARGE")


async def receive() -> Message:
    return {"type": "http.request", "body": an_event(), "more_body": False}


def a_request(**headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": HERE, "query_string": b"", "headers": raw}
    return Request({**scope, "client": ("192.0.2.1", 1)}, receive)


async def test_what_is_not_signed_is_not_handed_on() -> None:
    async with handing_on("http://127.0.0.1:1") as webhooks:
        with pytest.raises(Refusal, match="FIELD_MISSING"):
            await webhooks.endpoint(a_request())


async def test_who_floods_the_path_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks_module, "WEBHOOKS", Rate(name="webhooks", per_second=0.001, burst=1))
    async with handing_on(None) as webhooks:
        with pytest.raises(Refusal, match="NOT_FOUND"):
            await webhooks.endpoint(a_request())
        with pytest.raises(Refusal, match="TOO_MANY_REQUESTS"):
            await webhooks.endpoint(a_request())


async def test_what_the_gateway_does_not_answer_is_not_received() -> None:
    async with handing_on("http://127.0.0.1:1") as webhooks:
        answer = await webhooks.endpoint(a_request(stripe_signature="t=1,v1=a"))

    assert (answer.status_code, json.loads(bytes(answer.body))) == (503, {"received": False})
