"""Texts of Stripe's that nothing could store are storable once they were read, in answers and in events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.gateway.errors import StripeRefused
from services.gateway.stripe_api.client import Provider
from services.gateway.stripe_api.intent_objects import intent_facts
from services.gateway.webhooks import events

UNFIT = r"a\u0000b\ud83dc"
FIT = "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c"


@asynccontextmanager
async def answering(status: int, body: str) -> AsyncIterator[Provider]:
    """Answer every request alike, as Stripe might."""
    content = body.encode()
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head.encode() + content)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        provider = Provider("sk_test_x", api_base=f"http://127.0.0.1:{port}")
        try:
            yield provider
        finally:
            await provider.close()


async def test_an_answer_of_stripe_can_be_stored() -> None:
    body = f'{{"id": "acct_1", "object": "account", "requirements": {{"currently_due": ["{UNFIT}"]}}}}'
    async with answering(200, body) as provider:
        account = await provider.accounts.retrieve("acct_1")

    assert account["requirements"]["currently_due"] == [FIT]


async def test_what_stripe_says_of_a_refusal_can_be_stored() -> None:
    body = f'{{"error": {{"type": "invalid_request_error", "code": "x{UNFIT}", "message": "{UNFIT}"}}}}'
    async with answering(400, body) as provider:
        with pytest.raises(StripeRefused) as refused:
            await provider.accounts.retrieve("acct_1")

    assert refused.value.metadata["code"] == f"x{FIT}"
    assert FIT in str(refused.value)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("Your card was declined.", "Your card was declined."),
        ("x" * 10_000, "x" * 499 + "…"),
        ("The card 4242 4242 4242 4242 was declined.", "(withheld: it looked like a card number)"),
    ],
)
def test_the_message_of_a_decline_is_bounded_and_tells_no_card_number(said: str, kept: str) -> None:
    intent = {
        "id": "pi_1",
        "status": "requires_payment_method",
        "amount": 100,
        "currency": "chf",
        "last_payment_error": {"code": "card_declined", "message": said},
    }

    error = intent_facts(intent).error

    assert error is not None
    assert error.message == kept


def test_an_event_of_stripe_is_read_into_what_can_be_stored() -> None:
    body = (
        '{"id": "evt_1", "object": "event", "type": "payment_intent.succeeded", "created": 1, "livemode": false,'
        ' "api_version": "2025-01-01", "data": {"object": {"id": "pi_1", "object": "payment_intent",'
        f' "metadata": {{"payment_id": "{UNFIT}"}}}}}}}}'
    )
    assert json.loads(body)
    assert FIT in repr(events.read(body.encode()).object)
