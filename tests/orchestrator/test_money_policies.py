"""Policies of money: kept with their history, taken at the start, said with the charge, and what they give back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from batzen.orchestrator.v1 import ops_pb2
from batzen.orchestrator.v1.ops_pb2_grpc import OrchestratorOpsServiceStub
from batzen.pricing.v1 import pricing_pb2
from services.orchestrator.domain.money_policy import Allowed, MoneyPolicy, RefundPolicy, allowed, fitting_minor
from services.orchestrator.domain.refund import LineStanding
from services.orchestrator.wire import services
from services.wire import timestamp
from tests.orchestrator.conftest import Journeys, Orchestrator, World
from tests.orchestrator.samples import TOTAL_MINOR, chf, line, new_id, refund, refused
from tests.orchestrator.test_several_sellers import preview

BEGIN = datetime(2026, 3, 29, 8, tzinfo=UTC)
HOUR = timedelta(hours=1)
FLEXIBLE = RefundPolicy(full_until_h=48, percent=50, percent_until_h=24)


def standing(captured_minor: int = 10_000, gone_minor: int = 0) -> dict[str, LineStanding]:
    left_minor = captured_minor - gone_minor
    return {"1": LineStanding(captured_minor=captured_minor, standing_minor=left_minor, refundable_minor=left_minor)}


@pytest.mark.parametrize(
    ("before", "gone_minor", "minor", "until"),
    [
        (48 * HOUR + timedelta(seconds=1), 0, 10_000, 48 * HOUR),
        (48 * HOUR, 0, 5_000, 24 * HOUR),
        (48 * HOUR, 4_000, 1_000, 24 * HOUR),  # what went back before counts
        (48 * HOUR, 6_000, 0, 24 * HOUR),
        (24 * HOUR, 0, 0, None),
        (-HOUR, 0, 0, None),
    ],
)
def test_what_goes_back_depends_on_the_hours_before_the_service(
    before: timedelta, gone_minor: int, minor: int, until: timedelta | None
) -> None:
    said = allowed(FLEXIBLE, standing(gone_minor=gone_minor), {"1": BEGIN}, BEGIN - before)
    expected = None if until is None else BEGIN - until
    assert said == Allowed(of_lines={"1": minor} if minor else {}, until=expected)


def test_without_a_policy_or_a_date_all_goes_back() -> None:
    for policy, begin in ((RefundPolicy(), BEGIN), (FLEXIBLE, None)):
        assert allowed(policy, standing(gone_minor=1), {"1": begin}, BEGIN) == Allowed(
            of_lines={"1": 9_999}, until=None
        )


def test_a_percentage_is_rounded_half_up_in_whole_steps() -> None:
    now = BEGIN - 30 * HOUR
    assert allowed(FLEXIBLE, standing(101), {"1": BEGIN}, now).amount_minor == 51
    assert allowed(FLEXIBLE, standing(1_010), {"1": BEGIN}, now, step_minor=10).amount_minor == 510


def test_a_line_of_which_nothing_goes_back_any_more_does_not_give_for_another() -> None:
    """Of an amount alone each line gives in proportion: so half and half, over and over, all would go back."""
    said = allowed(FLEXIBLE, standing(10_000) | {"2": standing(10_000)["1"]}, {"1": BEGIN, "2": None}, BEGIN)
    assert (said.amount_minor, said.of_lines) == (10_000, {"2": 10_000})
    assert fitting_minor(said, {"1": 10_000, "2": 10_000}) == 0
    assert fitting_minor(said, {"2": 10_000}) == 10_000
    now = BEGIN - 30 * HOUR  # half of each, whatever rounding does to them
    said = allowed(FLEXIBLE, standing(101) | {"2": standing(303)["1"]}, {"1": BEGIN, "2": BEGIN}, now)
    assert fitting_minor(said, {"1": 101, "2": 303}) == said.amount_minor == 203


def test_a_day_begins_and_ends_by_the_clock_of_its_zone() -> None:
    """The night to 29 March is an hour shorter in Zurich, and not in Tokyo."""
    lines = [
        line(line_id="zurich", service_date="2026-03-29"),
        line(line_id="tokyo", service_date="2026-03-29", time_zone="Asia/Tokyo"),
        line(line_id="instant", service_time=timestamp(BEGIN)),
        line(line_id="none"),
    ]
    stored = pricing_pb2.CreateQuoteRequest(lines=lines).SerializeToString()
    assert services.begins(stored) == {
        "zurich": datetime(2026, 3, 28, 23, tzinfo=UTC),
        "tokyo": datetime(2026, 3, 28, 15, tzinfo=UTC),
        "instant": BEGIN,
        "none": None,
    }
    assert services.ends(stored)["zurich"] == datetime(2026, 3, 29, 22, tzinfo=UTC)
    assert MoneyPolicy(pay_after_service_h=2).pay_time(services.ends(stored)) == datetime(2026, 3, 30, 0, tzinfo=UTC)
    assert MoneyPolicy(pay_after_service_h=2).pay_time({"none": None}) is None
    assert MoneyPolicy().pay_time(services.ends(stored)) is None


@pytest.fixture
async def ops(replica: Orchestrator) -> AsyncIterator[OrchestratorOpsServiceStub]:
    async with replica.connect_ops() as stub:
        yield stub


def put(session_type: str, policy: ops_pb2.MoneyPolicy, **changes: Any) -> ops_pb2.PutPolicyRequest:
    fields: dict[str, Any] = {
        "request_id": new_id(),
        "session_type": session_type,
        "policy": policy,
        "actor_id": "anna",
        "reason": "as of spring",
    }
    return ops_pb2.PutPolicyRequest(**(fields | changes))


def flexible() -> ops_pb2.MoneyPolicy:
    return ops_pb2.MoneyPolicy(
        refund=ops_pb2.RefundPolicy(full_until_hours=48, percent=50, percent_until_hours=24),
        pay_after_service_hours=24,
        dispute_recovery=ops_pb2.MoneyPolicy.DISPUTE_RECOVERY_AT_LOSS,
        nets_receivables=True,
        fraud_warning=ops_pb2.MoneyPolicy.FRAUD_WARNING_ATTEND,
    )


async def test_each_policy_is_kept_and_the_newest_holds(ops: OrchestratorOpsServiceStub) -> None:
    session_type = f"kept_{new_id()}"[:64]
    first = put(session_type, flexible())
    answer = await ops.PutPolicy(first)
    assert (answer.record.policy, answer.record.actor_id, answer.record.reason) == (flexible(), "anna", "as of spring")
    assert (await ops.PutPolicy(first)).record == answer.record
    second = put(session_type, ops_pb2.MoneyPolicy())
    records = await asyncio.gather(*(ops.PutPolicy(second) for _ in range(4)))
    assert len({one.record.create_time.ToNanoseconds() for one in records}) == 1

    page = await ops.ListPolicies(ops_pb2.ListPoliciesRequest(page_size=1))
    [newest] = page.records
    assert (newest.session_type, newest.policy.HasField("refund")) == (session_type, False)
    page = await ops.ListPolicies(ops_pb2.ListPoliciesRequest(page_size=1, page_token=page.next_page_token))
    assert [one.policy for one in page.records] == [flexible()]

    first.reason = "another"
    assert (await refused(ops.PutPolicy(first))).reason == "REQUEST_ID_REUSED"
    bad = ops_pb2.ListPoliciesRequest(page_token="nonsense")
    assert (await refused(ops.ListPolicies(bad))).reason == "PAGE_TOKEN_INVALID"


@pytest.mark.parametrize(
    ("policy", "field"),
    [
        ({"pay_after_service_hours": 8_761}, "policy.pay_after_service_hours"),
        ({"dispute_recovery": 99}, "policy.dispute_recovery"),
        ({"fraud_warning": 99}, "policy.fraud_warning"),
        ({"refund": {"full_until_hours": -1}}, "policy.refund.full_until_hours"),
        ({"refund": {"percent": 101}}, "policy.refund.percent"),
        ({"refund": {"full_until_hours": 1, "percent_until_hours": 2}}, "policy.refund.percent_until_hours"),
    ],
)
async def test_a_policy_that_is_none_is_refused(
    policy: Mapping[str, Any], field: str, ops: OrchestratorOpsServiceStub
) -> None:
    refusal = await refused(ops.PutPolicy(put("", ops_pb2.MoneyPolicy(**policy))))
    assert (refusal.code, refusal.field) == ("INVALID_ARGUMENT", field)


async def test_a_payment_is_refunded_by_the_policy_of_its_start(
    world: World, journeys: Journeys, replica: Orchestrator, ops: OrchestratorOpsServiceStub
) -> None:
    session_type = f"by_{new_id()}"[:64]
    await ops.PutPolicy(put(session_type, flexible()))
    begin = world.clock.now() + 72 * HOUR
    payment_id = await journeys.paid(session_type=session_type, lines=[line(service_time=timestamp(begin))])
    [intent] = await journeys.intents(payment_id)
    assert intent["transfer_data"] is None, "its seller is paid later than it is captured"
    await ops.PutPolicy(put(session_type, ops_pb2.MoneyPolicy()))  # of later payments

    async with replica.connect() as service, replica.connect("anna", roles=["operator"]) as operator:
        seen = await service.PreviewRefund(preview(payment_id))
        assert (seen.policy_amount, seen.policy_until.ToDatetime(UTC)) == (chf(TOTAL_MINOR), begin - 48 * HOUR)
        world.clock.advance(30 * HOUR)
        seen = await service.PreviewRefund(preview(payment_id))
        assert (seen.policy_amount, seen.policy_until.ToDatetime(UTC)) == (chf(5_000), begin - 24 * HOUR)

        refusal = await refused(service.RefundPayment(refund(payment_id, 5_001)))
        assert (refusal.reason, refusal.metadata["allowed_minor"]) == ("REFUND_BEYOND_POLICY", "5000")
        asked = refund(payment_id, 5_001, beyond_policy_reason="goodwill")
        refusal = await refused(service.RefundPayment(asked))
        assert (refusal.reason, refusal.field) == ("FIELD_INVALID", "beyond_policy_reason"), "an operator's alone"

        by_policy = refund(payment_id, line_amounts=seen.policy_lines)
        by_policy.ClearField("amount")
        assert (await service.RefundPayment(by_policy)).amount == chf(5_000)
        world.clock.advance(30 * HOUR)
        assert (await service.RefundPayment(by_policy)).amount == chf(5_000), "a repeat is no refund of today"
        assert (await service.PreviewRefund(preview(payment_id))).policy_amount == chf(0)

        asked = refund(payment_id, 1, expected_refundable=chf(5_000), beyond_policy_reason="goodwill")
        assert (await operator.RefundPayment(asked)).amount == chf(1)
