"""The small model says what is wrong, each kind of it; what is right passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.status.v1 import status_pb2
from batzen.type.v1 import payment_pb2
from services.wire import timestamp
from tests.orchestrator.samples import TOTAL_MINOR, chf
from tests.orchestrator.stripe_truth import (
    AtStripe,
    Followed,
    check_always,
    check_bookings,
    check_history,
    check_settled,
)

NOW = datetime(2030, 1, 1, tzinfo=UTC)
PAYMENT_ID = "pay_one"


def intent(name: str, status: str, **changes: Any) -> dict[str, Any]:
    return {"id": name, "status": status, "amount_received": 0, "amount_capturable": 0, **changes}


def paid(name: str, amount_minor: int = TOTAL_MINOR) -> dict[str, Any]:
    return intent(name, "succeeded", amount_received=amount_minor)


def seen(*intents: dict[str, Any], **changes: Any) -> AtStripe:
    charges = [{"status": "succeeded", "amount_captured": one["amount_received"]} for one in intents]
    held: dict[str, Any] = {"intents": intents, "setups": [], "pages": [], "charges": charges, "refunds": []}
    return AtStripe(**(held | changes))


def payment(collection: str, **amounts: int) -> status_pb2.Payment:
    snapshot = payment_pb2.PaymentSnapshot(
        collection=f"PAYMENT_STATE_{collection}", amounts=payment_pb2.PaymentSnapshot.Amounts(**amounts)
    )
    return status_pb2.Payment(payment_id=PAYMENT_ID, revision=3, snapshot=snapshot, total=chf(TOTAL_MINOR))


def plan(next_step: str = "", *, after: timedelta = timedelta(hours=1), **changes: Any) -> pb.PaymentPlan:
    made = pb.PaymentPlan(payment_id=PAYMENT_ID, revision=3, next_step=next_step, **changes)
    if next_step:
        made.next_time.CopyFrom(timestamp(NOW + after))
    return made


def followed(**changes: Any) -> Followed:
    return Followed(payment_id=PAYMENT_ID, payer_id="payer_one", timing=pb.TIMING_IMMEDIATE, **changes)


SUCCEEDED = payment("SUCCEEDED", captured_minor=TOTAL_MINOR, authorized_minor=TOTAL_MINOR)
WAITING = payment("REQUIRES_PAYMENT_METHOD")
OPEN = intent("pi_open", "requires_payment_method")


@pytest.mark.parametrize(
    ("said", "at_stripe"),
    [
        (SUCCEEDED, seen(paid("pi_1"), paid("pi_2"))),
        (payment("SUCCEEDED", captured_minor=TOTAL_MINOR + 1, authorized_minor=TOTAL_MINOR + 1), seen(paid("pi_1"))),
        (SUCCEEDED, seen(paid("pi_1", TOTAL_MINOR + 1))),
        (payment("AUTHORIZED", capturable_minor=1), seen()),
        (payment("SUCCEEDED", captured_minor=1, authorized_minor=1, refunded_minor=2), seen()),
        (WAITING, seen(OPEN, intent("pi_other", "requires_action"))),
        (WAITING, seen(OPEN, pages=[{"id": "cs", "status": "open", "payment_intent": None, "setup_intent": None}])),
        (SUCCEEDED, seen(paid("pi_1"), OPEN)),
    ],
)
def test_what_may_never_be_is_found(said: status_pb2.Payment, at_stripe: AtStripe) -> None:
    check_always(followed(), SUCCEEDED, seen(paid("pi_1")))
    check_always(followed(), WAITING, seen(OPEN))
    with pytest.raises(AssertionError):
        check_always(followed(), said, at_stripe)


@pytest.mark.parametrize(
    ("said", "planned", "at_stripe"),
    [
        (SUCCEEDED, plan(), seen()),
        (payment("CANCELED"), plan(), seen(paid("pi_1"))),
        (payment("CANCELED"), plan(), seen(OPEN)),
        (payment("PROCESSING"), plan("EXPIRE"), seen(OPEN)),
        (WAITING, plan(), seen(OPEN)),
        (WAITING, plan("EXPIRE", after=-timedelta(hours=1)), seen(OPEN)),
        (WAITING, plan("EXPIRE"), seen()),
        (WAITING, plan("EXPIRE", pending_steps=["record step"]), seen(OPEN)),
        (payment("SCHEDULED"), plan("CHARGE"), seen(setups=[intent("seti", "requires_action")])),
        (SUCCEEDED, plan(), seen(paid("pi_1"), refunds=[{"amount": 5, "status": "succeeded"}])),
        (payment("SUCCEEDED", captured_minor=5, authorized_minor=5), plan(), seen(paid("pi_1", 5))),
    ],
)
def test_what_may_not_stay_so_is_found(said: status_pb2.Payment, planned: pb.PaymentPlan, at_stripe: AtStripe) -> None:
    check_settled(followed(), SUCCEEDED, plan(), seen(paid("pi_1")), now=NOW)
    check_settled(followed(), WAITING, plan("EXPIRE"), seen(OPEN), now=NOW)
    with pytest.raises(AssertionError):
        check_settled(followed(), said, planned, at_stripe, now=NOW)


def test_what_clients_were_told_counts() -> None:
    called_off, captured = followed(), followed()
    called_off.told.is_called_off = True
    captured.told.captured_minor = TOTAL_MINOR
    for one, said, planned in ((called_off, WAITING, plan("EXPIRE")), (captured, payment("CANCELED"), plan())):
        with pytest.raises(AssertionError):
            check_settled(one, said, planned, seen(*([OPEN] if planned.next_step else [])), now=NOW)


def history() -> list[status_pb2.Transition]:
    names = ("INITIALIZED", "REQUIRES_PAYMENT_METHOD", "PROCESSING")
    return [
        status_pb2.Transition(revision=place, request_id=f"request_{place}", snapshot=payment(name).snapshot)
        for place, name in enumerate(names, start=1)
    ]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda steps: steps.pop(1),
        lambda steps: setattr(steps[2], "request_id", steps[1].request_id),
        lambda steps: steps[2].snapshot.CopyFrom(steps[1].snapshot),
        lambda steps: steps[1].snapshot.CopyFrom(payment("AUTHORIZED").snapshot),
    ],
)
def test_a_history_that_is_none_is_found(spoil: Callable[[list[status_pb2.Transition]], Any]) -> None:
    check_history(followed(), history())
    spoilt = history()
    spoil(spoilt)
    with pytest.raises(AssertionError):
        check_history(followed(), spoilt)
    with pytest.raises(AssertionError):
        check_history(followed(history=history()), spoilt)


def test_two_payments_of_one_booking_are_found() -> None:
    first, second = followed(booking_ids=["booking"]), replace(followed(booking_ids=["booking"]), payment_id="pay_two")
    check_bookings([first, second], {"pay_one": payment("CANCELED"), "pay_two": SUCCEEDED})
    with pytest.raises(AssertionError):
        check_bookings([first, second], {"pay_one": WAITING, "pay_two": SUCCEEDED})
