"""Payments of a system before this one: taken over whole, with their own times, once; else refused by themselves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from batzen.status.v1 import status_pb2 as pb
from batzen.status.v1.status_pb2_grpc import StatusServiceStub
from batzen.type.v1 import payment_pb2
from services.wire import timestamp
from tests.status.conftest import Replica, move
from tests.status.samples import (
    NOW,
    TOTAL_MINOR,
    new_payment_id,
    new_request_id,
    open_request,
    refused,
    snapshot,
    succeeded,
)

BEGAN = datetime(2024, 3, 5, 9, 30, tzinfo=UTC)
PAID = succeeded(cause="IMPORT", attempt=1)
REFUNDED = succeeded(cause="IMPORT", attempt=1, refunded=5_000)


def imported(*snapshots: Any, **opening: Any) -> pb.ImportedPayment:
    """A payment of March 2024, a minute between two revisions."""
    steps = snapshots or (snapshot(cause="IMPORT"), PAID, REFUNDED)
    return pb.ImportedPayment(
        opening=open_request(**{"seller_ids": ["seller_of_old"], "booking_ids": ["booking_of_old"], **opening}),
        open_time=timestamp(BEGAN),
        revisions=[
            pb.ImportedPayment.Revision(
                request_id=new_request_id(), snapshot=one, record_time=timestamp(BEGAN + timedelta(minutes=number))
            )
            for number, one in enumerate(steps)
        ],
    )


async def taken_over(
    status: StatusServiceStub, *payments: pb.ImportedPayment, dry_run: bool = False
) -> list[pb.ImportPaymentsResponse.Outcome]:
    return list((await status.ImportPayments(pb.ImportPaymentsRequest(payments=payments, dry_run=dry_run))).outcomes)


async def test_a_payment_comes_with_its_revisions_and_their_times(status: StatusServiceStub) -> None:
    payment = imported()
    [outcome] = await taken_over(status, payment)
    assert outcome.is_new
    payment_id = payment.opening.payment_id
    found = (await status.GetPayment(pb.GetPaymentRequest(payment_id=payment_id))).payment
    assert (found.revision, found.settled) == (4, True)
    assert found.state == payment_pb2.PAYMENT_STATE_PARTIALLY_REFUNDED
    times = [found.open_time, found.complete_time, found.update_time]
    assert [one.ToDatetime(UTC) - BEGAN for one in times] == [timedelta(minutes=number) for number in (0, 1, 2)]
    history = (await status.ListTransitions(pb.ListTransitionsRequest(payment_id=payment_id))).transitions
    assert [one.revision for one in history] == [1, 2, 3, 4]
    assert {one.snapshot.cause for one in history} == {payment_pb2.PaymentSnapshot.CAUSE_IMPORT}
    assert [one.snapshot for one in history[1:]] == [one.snapshot for one in payment.revisions]
    assert [one.record_time for one in history[1:]] == [one.record_time for one in payment.revisions]
    assert [one.request_id for one in history[1:]] == [one.request_id for one in payment.revisions]
    listed = await status.ListPayments(pb.ListPaymentsRequest(filter=pb.PaymentFilter(seller_id="seller_of_old")))
    assert payment_id in [one.payment_id for one in listed.payments]


async def test_a_repeat_keeps_nothing_twice_and_other_content_is_refused(status: StatusServiceStub) -> None:
    first, second = imported(), imported()
    assert [one.is_new for one in await taken_over(status, first)] == [True]
    again, new = await taken_over(status, first, second)
    assert (again.is_new, again.reason) == (False, "")
    assert new.is_new
    other = imported(payment_id=first.opening.payment_id, payer_id="somebody_else")
    [refusal] = await taken_over(status, other)
    assert (refusal.is_new, refusal.reason, refusal.field) == (False, "PAYMENT_EXISTS", "opening.payment_id")
    third = imported()
    unlike = imported(payment_id=third.opening.payment_id, payer_id="somebody_else")
    outcomes = await taken_over(status, third, third, unlike)  # all at once
    assert [(one.is_new, one.reason) for one in outcomes] == [(True, ""), (False, ""), (False, "PAYMENT_EXISTS")]


async def test_a_payment_that_was_opened_here_and_is_not_as_far_is_refused(status: StatusServiceStub) -> None:
    payment = imported()
    opened = open_request(**{
        field.name: value for field, value in payment.opening.ListFields() if field.name != "request_id"
    })  # fmt: skip
    await status.OpenPayment(opened)
    [refusal] = await taken_over(status, payment)
    assert refusal.reason == "PAYMENT_EXISTS"


async def test_a_dry_run_says_the_same_and_keeps_nothing(status: StatusServiceStub) -> None:
    good, bad = imported(), imported(snapshot(cause="IMPORT"))
    outcomes = await taken_over(status, good, bad, dry_run=True)
    assert [(one.is_new, one.reason) for one in outcomes] == [(True, ""), (False, "FIELD_INVALID")]
    unknown = await refused(status.GetPayment(pb.GetPaymentRequest(payment_id=good.opening.payment_id)))
    assert unknown.reason == "PAYMENT_NOT_FOUND"
    assert [one.is_new for one in await taken_over(status, good)] == [True]


WAITS = succeeded(cause="IMPORT", refund_pending=5_000)


@pytest.mark.parametrize(
    ("payment", "reason", "field"),
    [
        (imported(snapshot(cause="IMPORT")), "FIELD_INVALID", "revisions"),
        (imported(snapshot(cause="IMPORT"), WAITS), "FIELD_INVALID", "revisions"),
        (imported(PAID), "TRANSITION_ILLEGAL", None),
        (imported(snapshot(cause="IMPORT"), PAID, snapshot("FAILED", cause="IMPORT")), "TRANSITION_ILLEGAL", None),
        (imported(snapshot(cause="IMPORT"), succeeded(attempt=1)), "FIELD_INVALID", "revisions[1].snapshot.cause"),
        (
            imported(snapshot(cause="IMPORT"), snapshot("SUCCEEDED", cause="IMPORT")),
            "AMOUNTS_INCONSISTENT",
            "snapshot.amounts",
        ),
        (
            imported(snapshot(cause="IMPORT"), succeeded(cause="IMPORT", refunded=TOTAL_MINOR + 1)),
            "AMOUNTS_INCONSISTENT",
            "revisions[1].snapshot.amounts",
        ),
        (imported(payer_id=""), "FIELD_MISSING", "opening.payer_id"),
    ],
)
async def test_what_is_not_over_or_cannot_be_is_refused_by_itself(
    status: StatusServiceStub, payment: pb.ImportedPayment, reason: str, field: str | None
) -> None:
    good = imported()
    refusal, kept = await taken_over(status, payment, good)
    assert (refusal.is_new, refusal.reason) == (False, reason)
    assert field is None or refusal.field == field
    assert kept.is_new


async def test_times_run_forwards_and_end_before_now(status: StatusServiceStub) -> None:
    back, late, unsaid = imported(), imported(), imported()
    back.revisions[1].record_time.CopyFrom(timestamp(BEGAN - timedelta(seconds=1)))
    late.revisions[2].record_time.CopyFrom(timestamp(NOW + timedelta(days=1)))
    unsaid.ClearField("open_time")
    twice = imported()
    twice.revisions[1].request_id = twice.revisions[0].request_id
    outcomes = await taken_over(status, back, late, unsaid, twice)
    assert [(one.reason, one.field) for one in outcomes] == [
        ("FIELD_INVALID", "revisions[1].record_time"),
        ("FIELD_INVALID", "revisions"),
        ("FIELD_MISSING", "open_time"),
        ("REQUEST_ID_REUSED", "revisions[1].request_id"),
    ]


async def test_feeds_carry_it_and_it_moves_on_like_any_other(status: StatusServiceStub) -> None:
    begin = (await status.ListPayments(pb.ListPaymentsRequest(page_size=1))).cursor
    payment = imported(payer_id="payer_of_old_feed")
    await taken_over(status, payment)
    feed = pb.WatchPaymentsRequest(
        filter=pb.PaymentFilter(payer_id="payer_of_old_feed"),
        cursor=begin,
        close_when=pb.WatchPaymentsRequest.CLOSE_WHEN_CAUGHT_UP,
    )
    seen = [change.payment.revision async for message in status.WatchPayments(feed) for change in message.changes]
    assert seen == [1, 2, 3, 4]
    moved = await move(
        status, payment.opening.payment_id, succeeded(cause="OBSERVATION", refunded=TOTAL_MINOR), expected=4
    )
    assert moved.revision == 5


async def test_a_call_has_payments_and_not_too_many(status: StatusServiceStub) -> None:
    for payments in ([], [imported()] * 101):
        refusal = await refused(status.ImportPayments(pb.ImportPaymentsRequest(payments=payments)))
        assert (refusal.reason, refusal.field) == ("FIELD_INVALID", "payments")


async def test_only_the_orchestrator_takes_payments_over(replica: Replica) -> None:
    async with replica.connect("anna", roles=("operator",)) as stub:
        request = pb.ImportPaymentsRequest(payments=[imported(payment_id=new_payment_id())])
        assert (await refused(stub.ImportPayments(request))).reason == "PERMISSION_DENIED"
