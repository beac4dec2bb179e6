"""OpenPayment with a first transition: two revisions in one commit, or what RecordTransition comes to."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from batzen.status.v1 import status_pb2 as pb
from tests.status.conftest import StatusServiceStub, move
from tests.status.samples import new_payment_id, new_request_id, open_request, refused, snapshot, succeeded
from tests.status.test_batches import history
from tests.status.test_changes import feed


def first(to: Any = None, *, request_id: str | None = None) -> pb.FirstTransition:
    return pb.FirstTransition(request_id=request_id or new_request_id(), snapshot=to or snapshot())


async def test_a_payment_is_opened_with_its_first_transition_in_one_transaction(status: StatusServiceStub) -> None:
    request = open_request(first_transition=first())

    async with feed(status) as changes:
        assert await changes.next() == []
        answer = await status.OpenPayment(request)
        seen = await changes.until(answer.payment.payment_id, 2)

    transitions = await history(status, answer.payment.payment_id)
    assert [each.revision for each in transitions] == [1, 2]
    assert [each.request_id for each in transitions] == [request.request_id, request.first_transition.request_id]
    assert answer.first_transition == transitions[1]
    assert transitions[1].snapshot == request.first_transition.snapshot
    assert (answer.payment.revision, answer.payment.snapshot) == (2, request.first_transition.snapshot)
    stored = await status.GetPayment(pb.GetPaymentRequest(payment_id=answer.payment.payment_id))
    assert stored.payment == answer.payment
    assert [revision for payment_id, revision, _ in seen if payment_id == answer.payment.payment_id] == [1, 2]


async def test_copies_of_an_opening_write_its_first_transition_once(status: StatusServiceStub) -> None:
    request = open_request(first_transition=first())

    answers = await asyncio.gather(*[status.OpenPayment(request) for _ in range(20)])

    assert len({answer.SerializeToString(deterministic=True) for answer in answers}) == 1
    assert len(await history(status, request.payment_id)) == 2


async def test_a_repeat_returns_the_first_transition_and_the_payment_of_now(status: StatusServiceStub) -> None:
    request = open_request(first_transition=first())
    opened = await status.OpenPayment(request)
    now = await move(status, request.payment_id, snapshot("PROCESSING"), expected=2)

    repeat = await status.OpenPayment(request)

    assert repeat.first_transition == opened.first_transition
    assert (repeat.payment.revision, repeat.payment) == (3, now)


async def test_a_payment_that_was_opened_alone_gets_the_transition(status: StatusServiceStub) -> None:
    request = open_request()
    await status.OpenPayment(request)
    request.first_transition.CopyFrom(first())

    answer = await status.OpenPayment(request)

    assert (answer.payment.revision, answer.first_transition.revision) == (2, 2)
    assert len(await history(status, request.payment_id)) == 2


async def test_a_payment_that_moved_otherwise_refuses_the_first_transition(status: StatusServiceStub) -> None:
    request = open_request()
    await status.OpenPayment(request)
    await move(status, request.payment_id, snapshot("SCHEDULED"), expected=1)
    request.first_transition.CopyFrom(first())

    assert (await refused(status.OpenPayment(request))).reason == "REVISION_CONFLICT"
    assert len(await history(status, request.payment_id)) == 2


async def test_an_opening_that_ends_collecting_has_an_end(status: StatusServiceStub) -> None:
    answer = await status.OpenPayment(open_request(first_transition=first(snapshot("CANCELED"))))

    assert answer.payment.HasField("complete_time")
    assert answer.payment.settled


@pytest.mark.parametrize(
    ("to", "code", "reason", "field"),
    [
        (snapshot("PROCESSING"), "FAILED_PRECONDITION", "TRANSITION_ILLEGAL", None),
        (succeeded(captured=0), "INVALID_ARGUMENT", "AMOUNTS_INCONSISTENT", "first_transition.snapshot.amounts"),
        (succeeded(captured=99_999), "INVALID_ARGUMENT", "AMOUNTS_INCONSISTENT", "first_transition.snapshot.amounts"),
        (snapshot("REFUNDED"), "INVALID_ARGUMENT", "FIELD_INVALID", "first_transition.snapshot.collection"),
    ],
)
async def test_a_first_transition_that_may_not_be_opens_nothing(
    status: StatusServiceStub, to: object, code: str, reason: str, field: str | None
) -> None:
    request = open_request(payment_id=new_payment_id(), first_transition=first(to))

    refusal = await refused(status.OpenPayment(request))

    assert (refusal.code, refusal.reason, refusal.field) == (code, reason, field)
    unknown = await refused(status.GetPayment(pb.GetPaymentRequest(payment_id=request.payment_id)))
    assert unknown.reason == "PAYMENT_NOT_FOUND"


async def test_the_first_transition_has_a_request_id_of_its_own(status: StatusServiceStub) -> None:
    request = open_request()
    request.first_transition.CopyFrom(first(request_id=request.request_id))

    refusal = await refused(status.OpenPayment(request))

    assert (refusal.reason, refusal.field) == ("REQUEST_ID_REUSED", "first_transition.request_id")
