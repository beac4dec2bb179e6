"""What operators see of a payment at Stripe: its attempts, the calls without an answer, the events that came in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import StatusCode

from batzen.gateway.v1 import observation_pb2
from batzen.gateway.v1 import ops_pb2 as pb
from batzen.gateway.v1.ops_pb2_grpc import GatewayOpsServiceStub
from sandbox.control import SandboxControl
from sandbox.faults import Kind
from services.gateway.webhooks import listing
from services.shared.paging import token_for
from tests.eventually import eventually
from tests.gateway.conftest import Gateway
from tests.gateway.receiving import Sender, event_of, receiving
from tests.gateway.samples import AMOUNT_MINOR, CONFIRM, Payments, new_id, refused
from tests.gateway.stubs import GatewayStubs


@pytest.fixture
async def ops(replica: Gateway) -> AsyncIterator[GatewayOpsServiceStub]:
    async with replica.connect_ops() as stub:
        yield stub


@pytest.fixture
async def sender(replica: Gateway) -> AsyncIterator[Sender]:
    async with receiving(replica.parts.inbox, clock=replica.parts.clock) as sending:
        yield sending


async def attempts_of(ops: GatewayOpsServiceStub, payment_id: str) -> pb.ListAttemptsResponse:
    return await ops.ListAttempts(pb.ListAttemptsRequest(payment_id=payment_id))


async def events(ops: GatewayOpsServiceStub, **wanted: Any) -> list[pb.WebhookEvent]:
    """Return all that match, page by page."""
    found: list[pb.WebhookEvent] = []
    request = pb.ListWebhookEventsRequest(**({"page_size": 2} | wanted))
    while True:
        page = await ops.ListWebhookEvents(request)
        assert len(page.events) <= 2
        found += page.events
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


# Attempts.


async def test_attempts_are_listed_as_they_stand_at_stripe(
    ops: GatewayOpsServiceStub, payments: Payments, gateway: GatewayStubs
) -> None:
    payment_id = await payments.created()
    await gateway.ConfirmIntent(payments.confirm_request(payment_id, "visa_chargeDeclinedInsufficientFunds"))

    [declined] = (await attempts_of(ops, payment_id)).attempts

    assert (declined.attempt, declined.counts, declined.decline_count) == (1, True, 1)
    assert declined.last_error.decline_code == "insufficient_funds"
    assert declined.charge_id, "the charge that failed"
    assert declined.intent_id == await payments.intent_id(payment_id)

    await gateway.CancelIntent(payments.cancel_request(payment_id))
    second = payments.create_request(payment_id=payment_id, attempt=2)
    await gateway.CreateIntent(second)
    await gateway.ConfirmIntent(payments.confirm_request(payment_id, attempt=2))

    first, paid = (await attempts_of(ops, payment_id)).attempts
    assert (first.attempt, first.state, first.counts) == (1, observation_pb2.INTENT_STATE_CANCELED, False)
    assert (paid.attempt, paid.state, paid.counts) == (2, observation_pb2.INTENT_STATE_SUCCEEDED, True)
    assert (paid.captured_minor, paid.refundable_minor) == (AMOUNT_MINOR, AMOUNT_MINOR)
    [charge] = await payments.charges(payment_id)
    assert (paid.charge_id, paid.intent_id) == (charge["id"], await payments.intent_id(payment_id))
    assert (paid.method.type, paid.method.brand) == ("card", "visa")
    assert paid.kind == observation_pb2.ATTEMPT_KIND_INTENT
    assert not paid.HasField("last_error")


async def test_a_hold_says_when_it_lapses(ops: GatewayOpsServiceStub, payments: Payments) -> None:
    [held] = (await attempts_of(ops, await payments.held())).attempts

    assert (held.capturable_minor, held.captured_minor) == (AMOUNT_MINOR, 0)
    assert held.HasField("hold_expire_time")


async def test_a_call_without_an_answer_is_listed_until_it_has_one(
    ops: GatewayOpsServiceStub, payments: Payments, gateway: GatewayStubs, stripe: SandboxControl
) -> None:
    payment_id = await payments.created()
    request = payments.confirm_request(payment_id)
    await stripe.fault(Kind.SERVER_ERROR, route=CONFIRM, times=None, should_retry=False)
    await gateway.ConfirmIntent(request)

    [call] = (await attempts_of(ops, payment_id)).calls

    assert (call.operation, call.request_id) == ("intent.confirm", request.request_id)
    assert (call.outcome_unknown, call.given_up) == (True, False)
    assert call.tries > 0
    await stripe.clear_faults()
    await gateway.ConfirmIntent(request)

    async def is_answered() -> bool:
        return not (await attempts_of(ops, payment_id)).calls

    await eventually(is_answered)


async def test_a_payment_that_is_not_here_has_no_attempts(
    replica: Gateway, ops: GatewayOpsServiceStub, payments: Payments
) -> None:
    assert await attempts_of(ops, new_id("pay")) == pb.ListAttemptsResponse()
    payment_id = await payments.created()
    async with replica.connect_ops(tenant="other") as elsewhere:
        assert await attempts_of(elsewhere, payment_id) == pb.ListAttemptsResponse()
    for wrong, reason in (("", "FIELD_MISSING"), ("a b", "FIELD_INVALID")):
        assert (await refused(attempts_of(ops, wrong)))[1:3] == (reason, "payment_id")


# Events.


async def test_events_of_a_payment_are_found_with_what_became_of_them(
    replica: Gateway, ops: GatewayOpsServiceStub, payments: Payments, sender: Sender
) -> None:
    payment_id = await payments.paid()
    [intent] = await payments.intents(payment_id)
    [charge] = await payments.charges(payment_id)
    begin, now = Timestamp(), replica.parts.clock.now()
    begin.FromDatetime(now)
    sent = [
        event_of(held, event_type, at=now)
        for held, event_type in (
            (intent, "payment_intent.succeeded"),
            (charge, "charge.succeeded"),
            (intent, "payment_intent.unheard_of"),
        )
    ]
    for one in sent:
        await sender.send(one)

    found = await events(ops, payment_id=payment_id)

    assert [one.event_id for one in found] == [one["id"] for one in reversed(sent)], "the newest first, each once"
    assert {(one.payment_id, one.subject_id) for one in found} == {(payment_id, intent["id"])}
    newest = found[0]
    assert (newest.type, newest.state) == ("payment_intent.unheard_of", pb.WebhookEvent.STATE_IGNORED)
    assert (found[2].state, found[2].HasField("done_time")) == (pb.WebhookEvent.STATE_DONE, True)
    assert found[2].receive_time.ToDatetime() >= now.replace(tzinfo=None)
    assert await events(ops, subject_id=intent["id"]) == found
    assert await events(ops, start_time=begin, types=["charge.succeeded"]) == [found[1]]
    by_state = await events(ops, start_time=begin, states=[pb.WebhookEvent.STATE_IGNORED])
    assert newest in by_state
    assert {one.state for one in by_state} == {pb.WebhookEvent.STATE_IGNORED}
    assert await events(ops, payment_id=payment_id, end_time=begin) == []
    async with replica.connect_ops(tenant="other") as elsewhere:
        assert await events(elsewhere, payment_id=payment_id) == []
        assert await events(elsewhere, start_time=begin) == []


async def test_what_a_filter_passes_over_ends_a_page_and_not_the_walk(
    replica: Gateway,
    ops: GatewayOpsServiceStub,
    sender: Sender,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listing, "LOOKED_AT_MAX", 2)
    begin = Timestamp()
    begin.FromDatetime(replica.parts.clock.now())
    intent = {"id": f"pi_{new_id('x')}", "object": "payment_intent", "metadata": {}}
    rare = event_of(intent, "payment_intent.rare", at=replica.parts.clock.now())
    for one in [rare, *(event_of(intent, "payment_intent.often", at=replica.parts.clock.now()) for _ in range(5))]:
        await sender.send(one)
    wanted = pb.ListWebhookEventsRequest(types=["payment_intent.rare"], start_time=begin)

    pages = []
    while not pages or pages[-1].next_page_token:
        pages.append(await ops.ListWebhookEvents(wanted))
        wanted.page_token = pages[-1].next_page_token

    assert [one.event_id for page in pages for one in page.events] == [rare["id"]]
    assert len(pages) >= 3, "two are looked at for each"


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        ({"page_size": 201}, "page_size"),
        ({"payment_id": "a b"}, "payment_id"),
        ({"payment_id": "pay_a", "subject_id": "pi_a"}, "subject_id"),
        ({"types": ["x"] * 21}, "types"),
        ({"types": ["x" * 101]}, "types[0]"),
        ({"states": [0]}, "states[0]"),
        ({"start_time": Timestamp(seconds=2), "end_time": Timestamp(seconds=1)}, "end_time"),
        ({"start_time": Timestamp(seconds=2**60)}, "start_time"),
    ],
)
async def test_a_list_of_events_that_makes_no_sense_is_refused(
    ops: GatewayOpsServiceStub, wanted: dict[str, Any], path: str
) -> None:
    code, reason, field, _ = await refused(ops.ListWebhookEvents(pb.ListWebhookEventsRequest(**wanted)))

    assert (code, reason, field) == (StatusCode.INVALID_ARGUMENT, "FIELD_INVALID", path)


async def test_a_token_of_another_list_of_events_is_refused(ops: GatewayOpsServiceStub, replica: Gateway) -> None:
    now = replica.parts.clock.now() - timedelta(days=1)
    for position in ("", "[]", f'["{now.isoformat()}", 1]', '["2026-11-29T12:00:00", "evt_a"]'):
        request = pb.ListWebhookEventsRequest(page_token=token_for(position, walk="events main"))
        assert (await refused(ops.ListWebhookEvents(request)))[1] == "PAGE_TOKEN_INVALID"
