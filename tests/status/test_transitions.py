"""RecordTransition over a real channel: what is written once, what is refused, and who wins."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import asyncpg
import pytest
from grpc import aio

from batzen.status.v1 import status_pb2 as pb
from batzen.type.v1 import money_pb2, payment_pb2
from local.databases import ServiceDatabase
from services.runtime.database.connections import plain_dsn
from tests.status.conftest import StatusServiceStub, move
from tests.status.samples import (
    new_payment_id,
    new_request_id,
    open_request,
    record_request,
    refusal_of,
    refused,
    snapshot,
    succeeded,
)

FULL = payment_pb2.PaymentSnapshot(
    collection=payment_pb2.PAYMENT_STATE_REQUIRES_PAYMENT_METHOD,
    cause=payment_pb2.PaymentSnapshot.CAUSE_OBSERVATION,
    amounts=payment_pb2.PaymentSnapshot.Amounts(authorized_minor=2**63 - 1, surplus_minor=3),
    last_error=payment_pb2.PaymentError(
        code="card_declined", decline_code="insufficient_funds", message="Zu wenig Guthaben 💸", recoverable=True
    ),
    attention=payment_pb2.PaymentSnapshot.Attention(reason="SURPLUS", detail="Taken twice. Too late."),
    attentions=[
        payment_pb2.PaymentSnapshot.Attention(reason="SURPLUS", detail="Taken twice."),
        payment_pb2.PaymentSnapshot.Attention(reason="LATE_MONEY", detail="Too late."),
    ],
    reason="DECLINED",
    method=payment_pb2.PaymentSnapshot.Method(
        payment_method_id="pm_1", type="card", brand="visa", last4="4242", expire_month=12, expire_year=2030
    ),
    attempt=2,
    decline_count=1,
)
UNSPEAKABLE: list[tuple[Any, str]] = [
    (snapshot("UNSPECIFIED"), "snapshot.collection"),
    (snapshot("REFUNDED"), "snapshot.collection"),
    (snapshot(cause="UNSPECIFIED"), "snapshot.cause"),
    (snapshot(attempt=-1), "snapshot.attempt"),
    (snapshot(decline_count=-1), "snapshot.decline_count"),
    (snapshot(reason="a\0b"), "snapshot.reason"),
    (snapshot(last_error=payment_pb2.PaymentError(message="\0")), "snapshot.last_error.message"),
    (snapshot(reason="x" * 17_000), "snapshot"),
]


async def test_a_transition_is_kept_as_it_was_told(status: StatusServiceStub, payment: pb.Payment) -> None:
    request = record_request(payment.payment_id, expected=1, to=FULL)

    answer = await status.RecordTransition(request)

    assert (answer.transition.revision, answer.transition.request_id) == (2, request.request_id)
    assert answer.transition.snapshot == FULL
    assert answer.payment.snapshot == FULL
    assert (answer.payment.revision, answer.payment.update_time) == (2, answer.transition.record_time)
    stored = await status.ListTransitions(pb.ListTransitionsRequest(payment_id=payment.payment_id))
    assert stored.transitions[1] == answer.transition


async def test_a_payment_on_its_way_has_state_phase_and_end(status: StatusServiceStub, payment: pb.Payment) -> None:
    way = [
        (snapshot(), "REQUIRES_PAYMENT_METHOD", "COLLECTING", False),
        (snapshot("PROCESSING"), "PROCESSING", "PROCESSING", False),
        (snapshot("REQUIRES_ACTION"), "REQUIRES_ACTION", "COLLECTING", False),
        (snapshot("AUTHORIZED", authorized=12_000, capturable=12_000), "AUTHORIZED", "COLLECTED", False),
        (succeeded(), "SUCCEEDED", "COLLECTED", True),
        (succeeded(refund_pending=2_000), "SUCCEEDED", "COLLECTED", False),
        (succeeded(refunded=2_000), "PARTIALLY_REFUNDED", "REVERSED", True),
        (succeeded(refunded=12_000), "REFUNDED", "REVERSED", True),
        (succeeded(refunded=2_000), "PARTIALLY_REFUNDED", "REVERSED", True),
        (succeeded(refunded=2_000, disputed_open=12_000), "DISPUTED", "REVERSED", False),
        (succeeded(refunded=2_000, disputed_lost=12_000), "DISPUTE_LOST", "REVERSED", True),
    ]
    for expected, (to, state, phase, settled) in enumerate(way, start=1):
        answer = await status.RecordTransition(record_request(payment.payment_id, expected=expected, to=to))
        for seen in (answer.payment, answer.transition):
            assert payment_pb2.PaymentState.Name(seen.state) == f"PAYMENT_STATE_{state}"
            assert (pb.Phase.Name(seen.phase), seen.settled) == (f"PHASE_{phase}", settled)
        assert answer.payment.HasField("complete_time") is (expected >= 5)


async def test_twenty_copies_of_a_request_write_one_transition(status: StatusServiceStub, payment: pb.Payment) -> None:
    request = record_request(payment.payment_id, expected=1, to=snapshot())

    answers = await asyncio.gather(*[status.RecordTransition(request) for _ in range(20)])

    assert len({answer.SerializeToString(deterministic=True) for answer in answers}) == 1
    stored = await status.ListTransitions(pb.ListTransitionsRequest(payment_id=payment.payment_id))
    assert [transition.revision for transition in stored.transitions] == [1, 2]


@pytest.mark.parametrize("expected", [1, 3, 99])
async def test_a_repeat_returns_what_was_written_whatever_happened_since(
    status: StatusServiceStub, payment: pb.Payment, expected: int
) -> None:
    request = record_request(payment.payment_id, expected=1, to=snapshot())
    first = await status.RecordTransition(request)
    now = await move(status, payment.payment_id, snapshot("PROCESSING"), expected=2)
    request.expected_revision = expected

    repeat = await status.RecordTransition(request)

    assert repeat.transition == first.transition
    assert repeat.payment == now


async def test_of_fifty_writers_one_wins_and_the_others_hear_where_it_stands(
    status: StatusServiceStub, payment: pb.Payment
) -> None:
    async def write(number: int) -> Any:
        try:
            return await status.RecordTransition(
                record_request(payment.payment_id, expected=1, to=snapshot(attempt=number))
            )
        except aio.AioRpcError as error:
            return refusal_of(error)

    outcomes = await asyncio.gather(*[write(number) for number in range(50)])

    winners = [outcome for outcome in outcomes if isinstance(outcome, pb.RecordTransitionResponse)]
    assert len(winners) == 1
    for loser in outcomes:
        if loser is not winners[0]:
            assert (loser.code, loser.reason) == ("ABORTED", "REVISION_CONFLICT")
            assert loser.metadata == {"current_revision": "2"}


async def test_writers_who_try_again_make_one_line(status: StatusServiceStub, payment: pb.Payment) -> None:
    async def write(number: int) -> None:
        expected = 1
        while True:
            request = record_request(payment.payment_id, expected=expected, to=snapshot(attempt=number))
            try:
                await status.RecordTransition(request)
            except aio.AioRpcError as error:
                expected = int(refusal_of(error).metadata["current_revision"])
            else:
                return

    await asyncio.gather(*[write(number) for number in range(1, 21)])

    stored = (await status.ListTransitions(pb.ListTransitionsRequest(payment_id=payment.payment_id))).transitions
    assert [transition.revision for transition in stored] == list(range(1, 22))
    assert sorted(transition.snapshot.attempt for transition in stored) == list(range(21))


async def test_the_same_request_with_another_snapshot_is_refused(
    status: StatusServiceStub, payment: pb.Payment
) -> None:
    request = record_request(payment.payment_id, expected=1, to=snapshot())
    await status.RecordTransition(request)
    for expected in (1, 2):
        other = record_request(
            payment.payment_id, expected=expected, to=snapshot("FAILED"), request_id=request.request_id
        )
        refusal = await refused(status.RecordTransition(other))
        assert (refusal.code, refusal.reason, refusal.field) == ("ALREADY_EXISTS", "REQUEST_ID_REUSED", "request_id")


async def test_a_request_id_counts_within_its_payment(status: StatusServiceStub, payment: pb.Payment) -> None:
    other = (await status.OpenPayment(open_request())).payment
    request_id = new_request_id()

    for payment_id in (payment.payment_id, other.payment_id):
        answer = await status.RecordTransition(
            record_request(payment_id, expected=1, to=snapshot(), request_id=request_id.upper())
        )
        assert answer.transition.request_id == request_id


async def test_an_unknown_payment_cannot_move(status: StatusServiceStub) -> None:
    refusal = await refused(status.RecordTransition(record_request(new_payment_id(), expected=1, to=snapshot())))

    assert (refusal.code, refusal.reason) == ("NOT_FOUND", "PAYMENT_NOT_FOUND")


async def test_a_move_the_table_lacks_is_refused(status: StatusServiceStub, payment: pb.Payment) -> None:
    await move(status, payment.payment_id, snapshot(), succeeded())

    for cause in ("STEP", "OBSERVATION", "OPERATOR"):
        refusal = await refused(
            status.RecordTransition(record_request(payment.payment_id, expected=3, to=snapshot("FAILED", cause=cause)))
        )
        assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "TRANSITION_ILLEGAL")
        assert refusal.metadata == {"from": "SUCCEEDED", "to": "FAILED"}
    assert (await status.GetPayment(pb.GetPaymentRequest(payment_id=payment.payment_id))).payment.revision == 3


async def test_a_wrong_revision_is_said_before_an_illegal_move(status: StatusServiceStub, payment: pb.Payment) -> None:
    await move(status, payment.payment_id, snapshot(), succeeded())

    refusal = await refused(
        status.RecordTransition(record_request(payment.payment_id, expected=2, to=snapshot("FAILED")))
    )

    assert (refusal.reason, refusal.metadata) == ("REVISION_CONFLICT", {"current_revision": "3"})


@pytest.mark.parametrize("total", [0, 1])
async def test_only_a_total_of_nothing_succeeds_without_taking_anything(status: StatusServiceStub, total: int) -> None:
    opened = await status.OpenPayment(open_request(total=money_pb2.Money(amount_minor=total, currency_code="CHF")))
    straight = record_request(opened.payment.payment_id, expected=1, to=snapshot("SUCCEEDED"))

    if total == 0:
        assert (await status.RecordTransition(straight)).payment.settled
        return
    refusal = await refused(status.RecordTransition(straight))
    assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "AMOUNTS_INCONSISTENT")
    taken = record_request(opened.payment.payment_id, expected=1, to=snapshot("SUCCEEDED", authorized=1, captured=1))
    assert (await refused(status.RecordTransition(taken))).reason == "TRANSITION_ILLEGAL"


@pytest.mark.parametrize("ended", ["FAILED", "CANCELED", "EXPIRED"])
async def test_late_money_is_taken_in_and_the_first_end_is_remembered(
    status: StatusServiceStub, payment: pb.Payment, ended: str
) -> None:
    before = await move(status, payment.payment_id, snapshot(), snapshot(ended))

    attention = payment_pb2.PaymentSnapshot.Attention(reason="LATE_MONEY")
    late = await move(status, payment.payment_id, succeeded(cause="OBSERVATION", attention=attention), expected=3)

    assert late.state == payment_pb2.PAYMENT_STATE_SUCCEEDED
    assert late.complete_time == before.complete_time


@pytest.mark.parametrize(
    "amounts",
    [
        {"captured": 1},
        {"authorized": 10, "captured": 6, "capturable": 5},
        {"authorized": 10, "captured": 10, "refunded": 6, "refund_pending": 5},
        {"surplus": -1},
    ],
)
async def test_amounts_that_contradict_each_other_are_refused(
    status: StatusServiceStub, payment: pb.Payment, amounts: dict[str, int]
) -> None:
    for payment_id in (payment.payment_id, new_payment_id()):
        refusal = await refused(status.RecordTransition(record_request(payment_id, expected=1, to=snapshot(**amounts))))
        assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "AMOUNTS_INCONSISTENT")
        assert refusal.field == "snapshot.amounts"


@pytest.mark.parametrize(("to", "path"), UNSPEAKABLE)
async def test_a_snapshot_that_cannot_be_is_refused(
    status: StatusServiceStub, payment: pb.Payment, to: Any, path: str
) -> None:
    refusal = await refused(status.RecordTransition(record_request(payment.payment_id, expected=1, to=to)))

    assert (refusal.code, refusal.reason, refusal.field) == ("INVALID_ARGUMENT", "FIELD_INVALID", path)


async def test_a_transition_that_lacks_something_is_refused(status: StatusServiceStub, payment: pb.Payment) -> None:
    whole = record_request(payment.payment_id, expected=1, to=snapshot())
    for field in ("request_id", "payment_id", "snapshot"):
        request = pb.RecordTransitionRequest()
        request.CopyFrom(whole)
        request.ClearField(field)
        refusal = await refused(status.RecordTransition(request))
        assert (refusal.reason, refusal.field) == ("FIELD_MISSING", field)
    whole.expected_revision = 0
    refusal = await refused(status.RecordTransition(whole))
    assert (refusal.reason, refusal.field) == ("FIELD_INVALID", "expected_revision")


async def test_time_in_a_history_never_runs_backwards(
    status: StatusServiceStub, payment: pb.Payment, database: ServiceDatabase
) -> None:
    connection = await asyncpg.connect(plain_dsn(database.runtime_url))
    try:  # as another replica would, whose clock is ahead
        await connection.execute(
            "UPDATE payments SET update_time = update_time + interval '1 minute' WHERE payment_id = $1",
            payment.payment_id,
        )
    finally:
        await connection.close()

    await move(status, payment.payment_id, snapshot(), snapshot("PROCESSING"))

    stored = await status.ListTransitions(pb.ListTransitionsRequest(payment_id=payment.payment_id))
    times = [transition.record_time.ToNanoseconds() for transition in stored.transitions]
    assert all(earlier <= later for earlier, later in pairwise(times))
    assert times[1] - times[0] == 60 * 10**9


async def test_every_transition_knows_the_transaction_that_wrote_it(
    status: StatusServiceStub, payment: pb.Payment, database: ServiceDatabase
) -> None:
    await move(status, payment.payment_id, snapshot(), snapshot("PROCESSING"))
    connection = await asyncpg.connect(plain_dsn(database.runtime_url))
    try:
        rows = await connection.fetch(
            "SELECT xid::text FROM transitions WHERE payment_id = $1 ORDER BY revision", payment.payment_id
        )
    finally:
        await connection.close()

    numbers = [int(row["xid"]) for row in rows]
    assert len(set(numbers)) == 3
    assert numbers == sorted(numbers)
