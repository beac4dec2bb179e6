"""Operators say where webhooks go, see what came of them, and send them again; each action is kept with its reason."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from batzen.orchestrator.v1 import ops_pb2
from batzen.orchestrator.v1 import webhooks_pb2 as pb
from batzen.orchestrator.v1.ops_pb2_grpc import OrchestratorOpsServiceStub
from services.orchestrator.facts.domain import FactKind
from services.orchestrator.webhooks_out import log
from services.orchestrator.webhooks_out.domain import SUBSCRIPTIONS_MAX, TRIED_FOR
from tests.orchestrator.conftest import Orchestrator, World
from tests.orchestrator.hooks import Room, new_name, of, room
from tests.orchestrator.receivers import Receiver, receiver, says
from tests.orchestrator.samples import new_id, new_payment_id, refused

OK = says("200 OK", body=b"thank you")
BROKEN = says("500 Internal Server Error")
SAID: dict[str, Any] = {"actor_id": "anna", "reason": "the reservations want to know"}
DELIVERY = pb.WebhookDelivery
SUBSCRIPTION = pb.WebhookSubscription


@dataclass(kw_only=True)
class Operator:
    """An operator of a tenant that nobody else has, and a room that sends its webhooks."""

    ops: OrchestratorOpsServiceStub
    hooks: Room

    async def put(self, name: str, url: str, **changes: Any) -> pb.PutWebhookSubscriptionResponse:
        fields = {"request_id": new_id(), "subscription_id": name, "url": url, **SAID, **changes}
        return await self.ops.PutWebhookSubscription(pb.PutWebhookSubscriptionRequest(**fields))

    async def listed(self, **wanted: Any) -> list[pb.WebhookDelivery]:
        """Return deliveries of all pages, the newest first."""
        found: list[pb.WebhookDelivery] = []
        token = ""
        while True:
            request = pb.ListWebhookDeliveriesRequest(page_token=token, **wanted)
            answer = await self.ops.ListWebhookDeliveries(request)
            found += answer.deliveries
            token = answer.next_page_token
            if not token:
                return found

    async def replay(self, **what: Any) -> pb.ReplayWebhookDeliveriesResponse:
        fields = {"request_id": new_id(), **SAID, **what}
        return await self.ops.ReplayWebhookDeliveries(pb.ReplayWebhookDeliveriesRequest(**fields))

    async def actions(self) -> list[ops_pb2.OperatorAction]:
        """Return what was done, the oldest first."""
        answer = await self.ops.ListOperatorActions(ops_pb2.ListOperatorActionsRequest(page_size=200))
        return list(answer.actions)[::-1]


def stamp(time: datetime) -> Timestamp:
    message = Timestamp()
    message.FromDatetime(time)
    return message


def period(name: str, begin: datetime, end: datetime, **changes: Any) -> pb.ReplayWebhookDeliveriesRequest.Period:
    return pb.ReplayWebhookDeliveriesRequest.Period(
        subscription_id=name, from_time=stamp(begin), to_time=stamp(end), **changes
    )


@pytest.fixture
async def operator(replica: Orchestrator, world: World) -> AsyncIterator[Operator]:
    async with room(world.database_url, clock=world.clock) as hooks, replica.connect_ops(tenant=hooks.tenant_id) as ops:
        yield Operator(ops=ops, hooks=hooks)


@pytest.fixture
async def good() -> AsyncIterator[Receiver]:
    async with receiver(OK) as made:
        yield made


async def test_a_subscription_is_put_listed_changed_and_deleted_and_its_secret_said_once(
    operator: Operator, good: Receiver
) -> None:
    request_id = new_id()
    first = await operator.put("reservations", good.url(), request_id=request_id, kinds=["PAYMENT_MOVED"])
    repeated = await operator.put("reservations", good.url(), request_id=request_id, kinds=["PAYMENT_MOVED"])
    assert first.secret.startswith("whsec_")
    assert repeated.secret == first.secret
    changed = await operator.put("reservations", good.url(), form=SUBSCRIPTION.FORM_LEGACY, paused=True)
    assert (changed.secret, changed.subscription.form, changed.subscription.paused) == (
        "", SUBSCRIPTION.FORM_LEGACY, True
    )  # fmt: skip
    await operator.put("books", good.url())
    pages, token = [], ""
    for _ in range(2):
        request = pb.ListWebhookSubscriptionsRequest(page_size=1, page_token=token)
        pages.append(await operator.ops.ListWebhookSubscriptions(request))
        token = pages[-1].next_page_token
    names = [one.subscription_id for page in pages for one in page.subscriptions]
    assert (names, token) == (["books", "reservations"], "")
    assert first.secret not in str(pages)
    delete = pb.DeleteWebhookSubscriptionRequest(request_id=new_id(), subscription_id="reservations", **SAID)
    for _ in range(2):
        await operator.ops.DeleteWebhookSubscription(delete)
    left = await operator.ops.ListWebhookSubscriptions(pb.ListWebhookSubscriptionsRequest())
    assert [one.subscription_id for one in left.subscriptions] == ["books"]
    kept = await operator.actions()
    assert [one.method for one in kept] == ["PutWebhookSubscription"] * 3 + ["DeleteWebhookSubscription"]
    assert {(one.actor_id, one.reason) for one in kept} == {(SAID["actor_id"], SAID["reason"])}
    assert first.secret not in str(kept)


async def test_a_secret_is_rotated_and_said_to_its_request_alone(operator: Operator, good: Receiver) -> None:
    put = await operator.put("reservations", good.url())
    request = pb.RotateWebhookSecretRequest(request_id=new_id(), subscription_id="reservations", **SAID)
    request.overlap.FromTimedelta(timedelta(hours=2))
    rotated, repeated = [await operator.ops.RotateWebhookSecret(request) for _ in range(2)]
    assert put.secret != rotated.secret == repeated.secret
    newest, earlier = rotated.subscription.secrets
    assert not newest.HasField("expire_time")
    assert earlier.expire_time.ToDatetime() - newest.create_time.ToDatetime() == timedelta(hours=2)
    at_once = pb.RotateWebhookSecretRequest(request_id=new_id(), subscription_id="reservations", **SAID)
    at_once.overlap.FromTimedelta(timedelta(0))
    assert len((await operator.ops.RotateWebhookSecret(at_once)).subscription.secrets) == 1
    for _ in range(6):
        by_default = pb.RotateWebhookSecretRequest(request_id=new_id(), subscription_id="reservations", **SAID)
        last = await operator.ops.RotateWebhookSecret(by_default)
    assert len(last.subscription.secrets) == 5


async def test_a_test_event_is_sent_at_once_and_ends_the_rest_of_a_receiver(operator: Operator) -> None:
    async with receiver(BROKEN) as bad:
        await operator.put("reservations", bad.url(), paused=True)
        request = pb.TestWebhookSubscriptionRequest(request_id=new_id(), subscription_id="reservations")
        first, repeated = [(await operator.ops.TestWebhookSubscription(request)).delivery for _ in range(2)]
        assert first == repeated
        assert (first.kind, first.state, first.tries[0].status) == ("TEST", DELIVERY.STATE_DEAD, 500)
        assert json.loads(bad.requests[0].body)["type"] == "test"
        failing = (await operator.ops.ListWebhookSubscriptions(pb.ListWebhookSubscriptionsRequest())).subscriptions[0]
        assert (failing.failures, failing.HasField("failing_time"), failing.dead_count) == (1, True, 0)
        bad.answer = OK
        again = pb.TestWebhookSubscriptionRequest(request_id=new_id(), subscription_id="reservations")
        taken = (await operator.ops.TestWebhookSubscription(again)).delivery
        assert (taken.state, taken.tries[0].answer, len(bad.requests)) == (DELIVERY.STATE_DELIVERED, "thank you", 2)
        well = (await operator.ops.ListWebhookSubscriptions(pb.ListWebhookSubscriptionsRequest())).subscriptions[0]
        assert (well.failures, well.HasField("failing_time")) == (0, False)


async def test_deliveries_are_listed_by_what_they_are_about_page_by_page(operator: Operator, good: Receiver) -> None:
    await operator.put("all", good.url())
    await operator.put("paid", good.url(), kinds=["PAYMENT_RECEIVED"])
    first, second = new_name("pay_") + "a" * 14, new_name("pay_") + "a" * 14
    began = operator.hooks.clock.now()
    for payment_id in (first, second):
        for revision in (1, 2, 3):
            await operator.hooks.happen(payment_id, revision)
    paid = operator.hooks.fact(first, 4, kind=FactKind.PAYMENT_RECEIVED)
    await operator.hooks.facts.keep(operator.hooks.tenant_id, [paid])
    await operator.hooks.send()
    every = await operator.listed(page_size=3)
    assert len(every) == len({one.delivery_id for one in every}) == 8
    assert [one.create_time.ToDatetime() for one in every] == sorted(
        (one.create_time.ToDatetime() for one in every), reverse=True
    )
    assert {one.subscription_id for one in await operator.listed(subscription_id="paid")} == {"paid"}
    of_second = await operator.listed(payment_id=second)
    assert [one.revision for one in of_second] == [3, 2, 1]
    assert json.loads(of_second[0].body)["data"]["revision"] == 3
    assert await operator.listed(state=DELIVERY.STATE_WAITING) == []
    assert len(await operator.listed(state=DELIVERY.STATE_DELIVERED)) == 8
    assert await operator.listed(to_time=stamp(began)) == []
    assert len(await operator.listed(from_time=stamp(began))) == 8


async def test_what_was_delivered_or_given_up_is_sent_again_in_its_order(operator: Operator) -> None:
    async with receiver(OK) as bad:
        await operator.put("all", bad.url())
        hooks, payment_id, began = operator.hooks, new_name("pay_"), operator.hooks.clock.now()
        for revision in (1, 2, 3):
            await hooks.happen(payment_id, revision)
        await hooks.send()
        third, second, _ = await operator.listed()
        bad.answer = BROKEN
        ids = [third.delivery_id, second.delivery_id]
        request_id = new_id()
        for _ in range(2):
            replayed = await operator.replay(delivery_ids=ids, request_id=request_id)
            assert (replayed.replayed_count, replayed.has_more) == (2, False)
        await hooks.send()
        assert of(payment_id, bad.requests) == [1, 2, 3, 2]
        waiting = await operator.listed(state=DELIVERY.STATE_WAITING)
        assert [(one.revision, one.try_count) for one in waiting] == [(3, 1), (2, 2)]
        bad.answer = OK
        await operator.replay(delivery_ids=[second.delivery_id])  # what waits is tried now
        await hooks.send()
        assert of(payment_id, bad.requests) == [1, 2, 3, 2, 2, 3]
        assert [one.headers["webhook-id"] for one in bad.requests[-2:]] == ids[::-1]
        end = hooks.clock.now() + timedelta(seconds=1)
        assert (await operator.replay(period=period("all", began, end))).replayed_count == 0
        again = await operator.replay(period=period("all", began, end, delivered_too=True))
        assert again.replayed_count == 3
        await hooks.send()
        assert of(payment_id, bad.requests)[-3:] == [1, 2, 3]


async def test_a_replay_never_tells_a_receiver_of_the_old_form_how_a_payment_stood_before_what_it_took(
    operator: Operator,
) -> None:
    """Two are dead letters, and what came later was taken: by the old form nobody tells which is newer."""
    async with receiver(BROKEN) as old:
        await operator.put("old", old.url(), form=SUBSCRIPTION.FORM_LEGACY)
        hooks, began = operator.hooks, operator.hooks.clock.now()
        paid, unpaid = new_payment_id(), new_payment_id()
        for payment_id in (paid, unpaid):
            await hooks.happen(payment_id, 1)
            await hooks.happen(payment_id, 2)
        await hooks.send()
        hooks.later(TRIED_FOR)
        await hooks.send()
        hooks.later(TRIED_FOR)
        await hooks.send()
        assert [one.state for one in await operator.listed()] == [DELIVERY.STATE_DEAD] * 4
        old.answer = OK
        await hooks.happen(paid, 3)
        hooks.later(timedelta(hours=1))
        await hooks.send()
        [taken] = await operator.listed(state=DELIVERY.STATE_DELIVERED)
        sent_before = len(old.requests)
        end = hooks.clock.now() + timedelta(seconds=1)
        assert (await operator.replay(period=period("old", began, end))).replayed_count == 4
        await hooks.send()
        of_paid = [(one.revision, one.state) for one in await operator.listed(payment_id=paid)]
        assert of_paid == [(3, DELIVERY.STATE_DELIVERED), (2, DELIVERY.STATE_CANCELED), (1, DELIVERY.STATE_CANCELED)]
        of_unpaid = [one.delivery_id for one in await operator.listed(payment_id=unpaid)][::-1]
        assert [one.headers["webhook-id"] for one in old.requests[sent_before:]] == of_unpaid
        await operator.replay(delivery_ids=[taken.delivery_id])  # the newest may be sent again
        await hooks.send()
        assert old.requests[-1].headers["webhook-id"] == taken.delivery_id
        again = await operator.replay(period=period("old", began, end, delivered_too=True))
        assert again.replayed_count == 3, "of what was cancelled nothing is true any more"
        await hooks.send()
        assert await operator.listed(state=DELIVERY.STATE_WAITING) == []


async def test_a_long_period_is_replayed_in_parts(
    operator: Operator, good: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "REPLAYED_MAX", 3)
    await operator.put("all", good.url())
    hooks, payment_id, began = operator.hooks, new_name("pay_"), operator.hooks.clock.now()
    for revision in range(1, 6):
        await hooks.happen(payment_id, revision)
    await hooks.send()
    end = hooks.clock.now() + timedelta(seconds=1)
    first = await operator.replay(period=period("all", began, end, delivered_too=True))
    assert (first.replayed_count, first.has_more) == (3, True)
    rest = await operator.replay(
        period=period("all", first.next_time.ToDatetime(tzinfo=began.tzinfo), end, delivered_too=True)
    )
    assert (rest.replayed_count, rest.has_more) == (2, False)
    await hooks.send()
    assert of(payment_id, good.requests) == [*range(1, 6), *range(1, 6)]


NOT_FOUND = ("NOT_FOUND", "WEBHOOK_SUBSCRIPTION_NOT_FOUND")
INVALID = ("INVALID_ARGUMENT", "FIELD_INVALID")
MISSING = ("INVALID_ARGUMENT", "FIELD_MISSING")
TOKEN = ("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID")
SOON = datetime(2026, 5, 1, 8)  # noqa: DTZ001 protobuf takes it for UTC
LATER = SOON + timedelta(hours=1)
PUT, LIST = "PutWebhookSubscription", "ListWebhookDeliveries"
ROTATE, REPLAY = "RotateWebhookSecret", "ReplayWebhookDeliveries"
OF_OLD: dict[str, Any] = {"form": SUBSCRIPTION.FORM_LEGACY, "kinds": ["DISPUTE_OPENED"]}
GOOD: dict[str, Any] = {"subscription_id": "a", "url": "https://example.com/hook", "request_id": new_id(), **SAID}
AGAIN: dict[str, Any] = {"request_id": new_id(), **SAID}
BY_NAME: dict[str, Any] = {"request_id": new_id(), "subscription_id": "a"}


@pytest.mark.parametrize(
    ("method", "asked", "refusal", "field"),
    [
        (PUT, GOOD | {"subscription_id": ""}, MISSING, "subscription_id"),
        (PUT, GOOD | {"subscription_id": "Reservations"}, INVALID, "subscription_id"),
        (PUT, GOOD | {"url": ""}, MISSING, "url"),
        (PUT, GOOD | {"url": "http://169.254.169.254/latest"}, INVALID, "url"),
        (PUT, GOOD | {"kinds": ["PAYMENT_MOVED", "PAYMENT_GONE"]}, INVALID, "kinds[1]"),
        (PUT, GOOD | OF_OLD, INVALID, "kinds[0]"),
        (PUT, GOOD | {"form": 9}, INVALID, "form"),
        (PUT, GOOD | {"reason": ""}, MISSING, "reason"),
        (PUT, GOOD | {"actor_id": ""}, MISSING, "actor_id"),
        (REPLAY, AGAIN, MISSING, "delivery_ids"),
        (REPLAY, AGAIN | {"delivery_ids": ["a"]}, INVALID, "delivery_ids[0]"),
        (REPLAY, AGAIN | {"delivery_ids": [new_id()] * 201}, INVALID, "delivery_ids"),
        (REPLAY, AGAIN | {"delivery_ids": [new_id()]}, ("NOT_FOUND", "WEBHOOK_DELIVERY_NOT_FOUND"), ""),
        (REPLAY, AGAIN | {"period": period("a", LATER, SOON)}, INVALID, "period.to_time"),
        (REPLAY, AGAIN | {"period": period("a", SOON, LATER)}, NOT_FOUND, ""),
        (REPLAY, AGAIN | {"period": {"subscription_id": "a"}}, MISSING, "period.from_time"),
        (REPLAY, AGAIN | {"period": {"subscription_id": "a"}, "delivery_ids": [new_id()]}, INVALID, "period"),
        (LIST, {"state": 9}, INVALID, "state"),
        (LIST, {"page_token": "a"}, TOKEN, "page_token"),
        (LIST, {"to_time": {"seconds": 10**12}}, INVALID, "to_time"),
        ("ListWebhookSubscriptions", {"page_token": "a"}, TOKEN, "page_token"),
        ("TestWebhookSubscription", BY_NAME, NOT_FOUND, ""),
        (ROTATE, BY_NAME | SAID, NOT_FOUND, ""),
        (ROTATE, BY_NAME | SAID | {"overlap": {"seconds": -1}}, INVALID, "overlap"),
        ("DeleteWebhookSubscription", BY_NAME | SAID, NOT_FOUND, ""),
    ],
)
async def test_what_cannot_be_is_refused_by_name(
    operator: Operator, method: str, asked: dict[str, Any], refusal: tuple[str, str], field: str
) -> None:
    request: Message = getattr(pb, f"{method}Request")(**asked)
    said = await refused(getattr(operator.ops, method)(request))
    assert (said.code, said.reason, said.field) == (*refusal, field)


async def test_a_name_that_was_deleted_is_not_taken_again_while_its_deliveries_are_kept(
    operator: Operator, good: Receiver
) -> None:
    await operator.put("reservations", good.url())
    await operator.hooks.happen(new_name("pay_"), 1)
    await operator.hooks.send()
    [delivery] = await operator.listed()
    await operator.ops.DeleteWebhookSubscription(
        pb.DeleteWebhookSubscriptionRequest(request_id=new_id(), subscription_id="reservations", **SAID)
    )
    said = await refused(operator.put("reservations", good.url()))
    assert (said.code, said.reason) == ("FAILED_PRECONDITION", "WEBHOOK_SUBSCRIPTION_DELETED")
    said = await refused(operator.replay(delivery_ids=[delivery.delivery_id]))
    assert (said.code, said.reason) == NOT_FOUND
    assert [one.state for one in await operator.listed()] == [DELIVERY.STATE_DELIVERED]


async def test_a_request_id_is_used_for_one_thing(operator: Operator, good: Receiver) -> None:
    request_id = new_id()
    await operator.put("a", good.url(), request_id=request_id)
    said = await refused(operator.put("a", good.url(), request_id=request_id, paused=True))
    assert (said.code, said.reason) == ("ALREADY_EXISTS", "REQUEST_ID_REUSED")


async def test_a_tenant_has_so_many_subscriptions_and_no_other_sees_them(
    operator: Operator, replica: Orchestrator, good: Receiver
) -> None:
    for place in range(SUBSCRIPTIONS_MAX):
        await operator.put(f"number-{place}", good.url())
    said = await refused(operator.put("one-more", good.url()))
    assert (said.code, said.reason) == ("RESOURCE_EXHAUSTED", "TOO_MANY_WEBHOOK_SUBSCRIPTIONS")
    await operator.put("number-0", good.url(), paused=True)
    async with replica.connect_ops(tenant=new_name("tenant_")) as other:
        found = await other.ListWebhookSubscriptions(pb.ListWebhookSubscriptionsRequest())
        assert list(found.subscriptions) == []
        test = pb.TestWebhookSubscriptionRequest(request_id=new_id(), subscription_id="number-1")
        assert (await refused(other.TestWebhookSubscription(test))).reason == NOT_FOUND[1]


async def test_without_a_key_nothing_is_subscribed_and_nothing_signed(
    operator: Operator, world: World, good: Receiver
) -> None:
    await operator.put("reservations", good.url())
    async with AsyncExitStack() as stack:
        keyless = await stack.enter_async_context(world.orchestrator(webhook_keys=None))
        ops = await stack.enter_async_context(keyless.connect_ops(tenant=operator.hooks.tenant_id))
        rotate = pb.RotateWebhookSecretRequest(request_id=new_id(), subscription_id="reservations", **SAID)
        test = pb.TestWebhookSubscriptionRequest(request_id=new_id(), subscription_id="reservations")
        without = Operator(ops=ops, hooks=operator.hooks)
        for call in (
            without.put("other", good.url()), ops.RotateWebhookSecret(rotate), ops.TestWebhookSubscription(test)
        ):  # fmt: skip
            said = await refused(call)
            assert (said.code, said.reason) == ("FAILED_PRECONDITION", "WEBHOOKS_NOT_CONFIGURED")
    assert good.requests == []
