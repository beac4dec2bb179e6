"""What operators do is kept for ever, with why, and how it stood before and after: once each, whoever does it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
import pytest

from batzen.orchestrator.v1 import ops_pb2 as pb
from batzen.orchestrator.v1.ops_pb2_grpc import OrchestratorOpsServiceStub
from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from local.databases import ServiceDatabase
from services.runtime.database.connections import plain_dsn
from tests.orchestrator.conftest import Journeys, Orchestrator
from tests.orchestrator.crash_injection import ask, mortal_orchestrator
from tests.orchestrator.lives import Lives
from tests.orchestrator.samples import PAYER, TOTAL_MINOR, cancel, chf, new_id, refund, refused, submit


@pytest.fixture
async def ops(replica: Orchestrator) -> AsyncIterator[OrchestratorOpsServiceStub]:
    async with replica.connect_ops() as stub:
        yield stub


@pytest.fixture
async def of_anna(replica: Orchestrator) -> AsyncIterator[OrchestratorServiceStub]:
    """What is asked by an operator."""
    async with replica.connect("anna", roles=("operator",)) as stub:
        yield stub


async def actions(ops: OrchestratorOpsServiceStub, **of: Any) -> Sequence[pb.OperatorAction]:
    return (await ops.ListOperatorActions(pb.ListOperatorActionsRequest(**of))).actions


def standing(stored: str) -> tuple[str, int]:
    """Return how a payment stood: its collection, and what went back."""
    snapshot = json.loads(stored)["snapshot"]
    return snapshot["collection"], snapshot["amounts"].get("refunded_minor", 0)


async def test_what_an_operator_does_to_a_payment_is_kept_with_before_and_after(
    ops: OrchestratorOpsServiceStub, of_anna: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await journeys.paid()
    asked = refund(payment_id, 4_000, actor_id="bo", beyond_policy_reason="The lift stood still.")
    await of_anna.RefundPayment(asked)
    await of_anna.RefundPayment(asked)  # a repeat is the same action
    assert (await refused(of_anna.CancelPayment(cancel(payment_id, reason="Rain")))).reason == "PAYMENT_STATE"
    await journeys.orchestrator.RefundPayment(refund(payment_id, 1_000, expected_refundable=chf(TOTAL_MINOR - 4_000)))

    last, first = await actions(ops, payment_id=payment_id)  # what a service asked for is no operator's

    assert (first.method, first.caller, first.actor_id) == ("RefundPayment", "anna", "bo")
    assert (first.reason, first.refusal, first.request_id) == ("The lift stood still.", "", asked.request_id)
    assert json.loads(first.asked_json) == {
        "amount": {"amount_minor": "4000", "currency_code": "CHF"},
        "expected_refundable": {"amount_minor": str(TOTAL_MINOR), "currency_code": "CHF"},
    }
    assert standing(first.before_json) == ("SUCCEEDED", 0)
    assert standing(first.after_json) == ("SUCCEEDED", 4_000)
    assert (last.method, last.actor_id, last.reason, last.refusal) == ("CancelPayment", "anna", "Rain", "PAYMENT_STATE")
    assert standing(last.before_json) == standing(last.after_json) == ("SUCCEEDED", 4_000)
    assert last.action_id > first.action_id


async def test_an_action_is_kept_once_wherever_the_process_dies_that_carries_it_out(
    replica: Orchestrator, ops: OrchestratorOpsServiceStub, journeys: Journeys, lives: Lives
) -> None:
    for life in lives():
        payment_id = await journeys.started()
        asked = cancel(payment_id, reason="Rain")
        async with mortal_orchestrator(replica, life) as (parts, _):
            await ask(parts, asked, role="operator")
        await replica.sweep()
        found = [(one.method, one.reason, one.refusal) for one in await actions(ops, payment_id=payment_id)]
        if life.place == "before accept":
            assert found == [], "it was never written down"
            continue
        assert found == [("CancelPayment", "Rain", "")], life.place
        [kept] = await actions(ops, payment_id=payment_id)
        assert standing(kept.before_json) == ("REQUIRES_PAYMENT_METHOD", 0), life.place
        assert standing(kept.after_json) == ("CANCELED", 0), life.place


async def test_what_is_said_of_starts_and_policies_is_listed_too_and_by_operator(
    replica: Orchestrator,
) -> None:
    """Of a tenant of the test's own."""
    async with replica.connect_ops("cleo", tenant=f"tenant-{new_id()}") as ops:
        pause = pb.PauseStartsRequest(request_id=new_id(), actor_id="cleo", reason="Prices are wrong.")
        for request in (pause, pause):
            await ops.PauseStarts(request)
        await ops.ResumeStarts(pb.ResumeStartsRequest(request_id=new_id(), actor_id="dan", reason="They are right."))
        for hours in (1, 2):
            policy = pb.MoneyPolicy(pay_after_service_hours=hours)
            put = pb.PutPolicyRequest(request_id=new_id(), policy=policy, actor_id="cleo", reason=f"{hours} h.")
            await ops.PutPolicy(put)

        of_cleo = await actions(ops, actor_id="cleo")
        first = await ops.ListOperatorActions(pb.ListOperatorActionsRequest(page_size=3))
        rest = await ops.ListOperatorActions(
            pb.ListOperatorActionsRequest(page_size=3, page_token=first.next_page_token)
        )
        foreign = pb.ListOperatorActionsRequest(page_token=first.next_page_token, actor_id="cleo")
        assert (await refused(ops.ListOperatorActions(foreign))).reason == "PAGE_TOKEN_INVALID"

    assert [(one.method, one.reason) for one in of_cleo] == [
        ("PutPolicy", "2 h."),
        ("PutPolicy", "1 h."),
        ("PauseStarts", "Prices are wrong."),
    ]
    assert [json.loads(one.before_json)["policy"]["pay_after_service_h"] for one in of_cleo[:1]] == [1]
    assert [json.loads(one.after_json)["policy"]["pay_after_service_h"] for one in of_cleo[:2]] == [2, 1]
    assert of_cleo[1].before_json == ""
    assert [one.method for one in (*first.actions, *rest.actions)] == [
        "PutPolicy",
        "PutPolicy",
        "ResumeStarts",
        "PauseStarts",
    ]
    [resumed] = [one for one in first.actions if one.method == "ResumeStarts"]
    assert (json.loads(resumed.before_json)["paused"], json.loads(resumed.after_json)["paused"]) == (True, False)
    assert rest.next_page_token == ""


async def test_the_payer_of_a_payment_is_no_operator_and_no_action_is_ever_changed(
    replica: Orchestrator, ops: OrchestratorOpsServiceStub, journeys: Journeys, database: ServiceDatabase
) -> None:
    payment_id = await journeys.started()
    async with replica.connect(PAYER, roles=("payer",)) as payer:
        await payer.SubmitPayment(submit(payment_id))
    assert not await actions(ops, payment_id=payment_id)
    connection = await asyncpg.connect(plain_dsn(database.runtime_url))
    try:
        for change in ("UPDATE operator_actions SET reason = ''", "DELETE FROM operator_actions"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(change)
    finally:
        await connection.close()
