"""What needs an operator is a list: each reason is raised, looked after and resolved by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
import pytest

from batzen.orchestrator.v1 import ops_pb2 as pb
from batzen.orchestrator.v1.ops_pb2_grpc import OrchestratorOpsServiceStub
from batzen.type.v1 import payment_pb2
from local.databases import ServiceDatabase
from services.orchestrator.domain.resolution import Resolution
from services.runtime.database.connections import plain_dsn
from tests.orchestrator.conftest import Journeys, Orchestrator
from tests.orchestrator.resolutions import paid_late, resolve
from tests.orchestrator.samples import new_id, refused, retry
from tests.orchestrator.test_following import heard
from tests.orchestrator.test_surplus import PAGE

CAUSE = payment_pb2.PaymentSnapshot.Cause


@pytest.fixture
async def ops(replica: Orchestrator) -> AsyncIterator[OrchestratorOpsServiceStub]:
    async with replica.connect_ops() as stub:
        yield stub


@pytest.fixture
async def rows(database: ServiceDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(plain_dsn(database.owner_url))
    yield connection
    await connection.close()


async def items(ops: OrchestratorOpsServiceStub, **of: Any) -> Sequence[pb.AttentionItem]:
    return (await ops.ListAttention(pb.ListAttentionRequest(**of))).items


def acknowledge(item: pb.AttentionItem, **changes: Any) -> pb.AcknowledgeAttentionRequest:
    fields = {"request_id": new_id(), "item_id": item.item_id, "actor_id": "anna", "note": "I call them."}
    return pb.AcknowledgeAttentionRequest(**(fields | changes))


async def paid_late_and_twice(replica: Orchestrator, journeys: Journeys) -> str:
    """Return a payment whose page was paid, and then twice the forms before it, one after the other."""
    payment_id = await journeys.started()
    [first] = await journeys.intents(payment_id)
    url = (await journeys.orchestrator.RetryPayment(retry(payment_id, collection=PAGE))).session.checkout_url
    await journeys.stripe.pay_session(url)
    await journeys.deliver(await journeys.synced(payment_id))
    await journeys.stripe.force(first["id"], "succeeded")
    await journeys.deliver(await journeys.synced(payment_id))
    await replica.sweep()
    return payment_id


async def test_reasons_stand_beside_each_other_and_each_is_resolved_by_itself(
    replica: Orchestrator, ops: OrchestratorOpsServiceStub, journeys: Journeys, rows: asyncpg.Connection
) -> None:
    payment_id = await paid_late(replica, journeys)
    [intent] = await journeys.intents(payment_id)
    await journeys.stripe.dispute(intent["id"])
    await journeys.deliver(await journeys.synced(payment_id))
    await replica.sweep()
    payment = await journeys.payment(payment_id)
    assert [one.reason for one in payment.snapshot.attentions] == ["DISPUTE_OPEN", "LATE_MONEY"]
    assert (payment.snapshot.attention.reason, payment.snapshot.attention.detail) == (
        "DISPUTE_OPEN",
        " ".join(one.detail for one in payment.snapshot.attentions),
    )
    await heard(replica, rows, journeys, payment_id)
    newest, oldest = await items(ops, payment_id=payment_id)
    assert [(one.reason, one.raise_revision) for one in (newest, oldest)] == [
        ("DISPUTE_OPEN", payment.revision),
        ("LATE_MONEY", payment.revision - 1),
    ]
    assert newest.detail == payment.snapshot.attentions[0].detail

    await ops.ResolvePayment(resolve(payment_id, Resolution.CLEAR_ATTENTION))
    await heard(replica, rows, journeys, payment_id)
    assert [one.reason for one in await items(ops, payment_id=payment_id)] == ["DISPUTE_OPEN"]
    _, resolved = await items(ops, payment_id=payment_id, with_resolved=True)
    assert (resolved.reason, CAUSE.Name(resolved.resolve_cause)) == ("LATE_MONEY", "CAUSE_OPERATOR")
    assert resolved.resolve_revision == payment.revision + 1
    assert (await refused(ops.AcknowledgeAttention(acknowledge(resolved)))).reason == "ATTENTION_RESOLVED"


async def test_somebody_looks_after_an_item_until_it_says_something_else(
    replica: Orchestrator, ops: OrchestratorOpsServiceStub, journeys: Journeys, rows: asyncpg.Connection
) -> None:
    payment_id = await paid_late_and_twice(replica, journeys)
    await heard(replica, rows, journeys, payment_id)
    [item] = await items(ops, payment_id=payment_id)
    asked = acknowledge(item)
    looked_after = (await ops.AcknowledgeAttention(asked)).item
    assert (looked_after.acknowledged_by, looked_after.note) == ("anna", "I call them.")
    assert (await ops.AcknowledgeAttention(asked)).item == looked_after
    assert (
        await refused(ops.AcknowledgeAttention(acknowledge(item, request_id=asked.request_id, note="")))
    ).reason == ("REQUEST_ID_REUSED")
    assert not await items(ops, payment_id=payment_id, unacknowledged_only=True)
    by_bo = (await ops.AcknowledgeAttention(acknowledge(item, actor_id="bo", note=""))).item
    assert (by_bo.acknowledged_by, by_bo.note) == ("bo", "")
    done = (await ops.ListOperatorActions(pb.ListOperatorActionsRequest(payment_id=payment_id))).actions
    assert [(one.method, one.actor_id) for one in done] == [
        ("AcknowledgeAttention", "bo"),
        ("AcknowledgeAttention", "anna"),
    ]

    await journeys.stripe.refund((await journeys.intents(payment_id))[0]["id"], amount=4_000)
    await journeys.deliver(await journeys.synced(payment_id))
    await replica.sweep()
    await heard(replica, rows, journeys, payment_id)
    [changed] = await items(ops, payment_id=payment_id, unacknowledged_only=True)
    assert (changed.item_id, changed.acknowledged_by, changed.HasField("change_time")) == (item.item_id, "", True)
    assert changed.detail != item.detail


async def test_items_are_listed_in_pages_by_reason(
    replica: Orchestrator, ops: OrchestratorOpsServiceStub, journeys: Journeys, rows: asyncpg.Connection
) -> None:
    late = [await paid_late(replica, journeys) for _ in range(3)]
    for payment_id in late:
        await heard(replica, rows, journeys, payment_id)
    found: list[str] = []
    token = ""
    while set(found) < set(late):
        asked = pb.ListAttentionRequest(reason="LATE_MONEY", page_size=2, page_token=token)
        page = await ops.ListAttention(asked)
        assert {one.reason for one in page.items} == {"LATE_MONEY"}
        found += [one.payment_id for one in page.items]
        token = page.next_page_token
    assert [one for one in found if one in late] == late[::-1]
    assert len(found) == len(set(found))
    (first,), (other,) = [await items(ops, payment_id=one) for one in late[:2]]
    await ops.AcknowledgeAttention(asked_first := acknowledge(first))
    reused = acknowledge(other, request_id=asked_first.request_id)
    assert (await refused(ops.AcknowledgeAttention(reused))).reason == "REQUEST_ID_REUSED"
    assert [one.acknowledged_by for one in await items(ops, payment_id=late[1])] == [""], "no action was kept of it"
    forged = pb.ListAttentionRequest(page_token="nonsense")
    assert (await refused(ops.ListAttention(forged))).reason == "PAGE_TOKEN_INVALID"


async def test_an_item_of_nobody_is_not_found(ops: OrchestratorOpsServiceStub) -> None:
    nobody = acknowledge(pb.AttentionItem(item_id=new_id()))
    assert (await refused(ops.AcknowledgeAttention(nobody))).reason == "ATTENTION_NOT_FOUND"
    for changes, field in (
        ({"item_id": "x"}, "item_id"),
        ({"actor_id": ""}, "actor_id"),
        ({"note": "x" * 501}, "note"),
    ):
        wrong = acknowledge(pb.AttentionItem(item_id=new_id()), **changes)
        assert (await refused(ops.AcknowledgeAttention(wrong))).field == field
