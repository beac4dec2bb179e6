"""What webhooks say: the full form under the contract's names, and the old form that the reservation system knows."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.status.v1 import status_pb2
from batzen.type.v1 import payment_pb2
from services.orchestrator.domain.attempts import StripeIds
from services.orchestrator.facts.domain import Fact, FactKind, fact_id
from services.orchestrator.peers.gateway import Gateway
from services.orchestrator.webhooks_out import bodies, payload, wire
from services.shared.states import State
from tests.orchestrator.conftest import Journeys
from tests.orchestrator.samples import TOTAL_MINOR, VISA, new_id, page

AT = datetime(2026, 3, 1, 9, 30, 15, 250_000, tzinfo=UTC)
LEGACY_FIELDS = (
    *("reservationId", "paymentStatus", "stripeSessionId", "stripePaymentIntentId"),
    *("paidAmount", "paidCurrency", "paidAt"),
)
NO_IDS = StripeIds()


def payment(collection: State = State.SUCCEEDED, **changes: Any) -> status_pb2.Payment:
    made = status_pb2.Payment(
        payment_id="pay_a", revision=4, payer_id="payer_1", booking_ids=["res_1"], labels={"shop": "Zürich"}
    )
    made.snapshot.collection = payment_pb2.PaymentState.Value(f"PAYMENT_STATE_{collection}")
    made.snapshot.attempt = 1
    made.snapshot.amounts.captured_minor = 12_550 if collection is State.SUCCEEDED else 0
    made.total.amount_minor, made.total.currency_code = 12_550, "CHF"
    if collection in {State.SUCCEEDED, State.FAILED, State.CANCELED, State.EXPIRED}:
        made.complete_time.FromDatetime(AT)
    made.MergeFrom(status_pb2.Payment(**changes))
    return made


def moved(what: status_pb2.Payment) -> Fact:
    return Fact(
        tenant_id="main",
        fact_id=fact_id(FactKind.PAYMENT_MOVED, what.payment_id, str(what.revision)),
        kind=FactKind.PAYMENT_MOVED,
        occur_time=AT,
        payment_id=what.payment_id,
        revision=what.revision,
        payer_id=what.payer_id,
        values={"state": "SUCCEEDED"},
        payment=what.SerializeToString(),
    )


def test_the_full_form_has_the_payment_as_status_recorded_it() -> None:
    fact = moved(payment())
    said = json.loads(bodies.full(fact))

    assert (said["type"], said["timestamp"]) == ("payment.moved", "2026-03-01T09:30:15.250Z")
    data = said["data"]
    assert ParseDict(data.pop("payment"), status_pb2.Payment()) == payment()
    assert data == {
        "tenant": "main",
        "fact_id": str(fact.fact_id),
        "payment_id": "pay_a",
        "revision": 4,
        "payer_id": "payer_1",
        "seller_ids": [],
        "values": {"state": "SUCCEEDED"},
    }


def test_the_full_form_says_what_is_zero_too_and_amounts_so_that_no_reader_rounds_them() -> None:
    said = json.loads(bodies.full(moved(payment(total={"amount_minor": 2**53 + 1}))))["data"]["payment"]

    assert said["total"] == {"amount_minor": str(2**53 + 1), "currency_code": "CHF"}
    assert said["snapshot"]["amounts"]["refunded_minor"] == "0"


def test_a_body_is_the_same_bytes_whenever_it_is_made() -> None:
    assert bodies.full(moved(payment())) == bodies.full(moved(payment()))


def test_a_fact_that_status_did_not_say_has_no_payment_and_no_old_form() -> None:
    fact = Fact(
        tenant_id="main", fact_id=fact_id(FactKind.PAYOUT_FAILED, "a"), kind=FactKind.PAYOUT_FAILED, occur_time=AT
    )

    assert json.loads(bodies.full(fact))["data"]["payment"] is None
    assert not bodies.has_legacy_form(fact)
    assert bodies.has_legacy_form(moved(payment()))


@pytest.mark.parametrize("kind", FactKind)
def test_each_kind_has_a_name_of_the_convention(kind: FactKind) -> None:
    assert payload.event_type(kind).replace(".", "_").upper() == kind


def old_form(what: status_pb2.Payment, ids: StripeIds = NO_IDS) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(payload.legacy_body(wire.legacy_payment(what.SerializeToString()), ids))
    assert tuple(said) == LEGACY_FIELDS
    return said


def test_the_old_form_of_a_paid_payment() -> None:
    assert old_form(payment(), StripeIds(session_id="cs_1", intent_id="pi_1")) == {
        "reservationId": "res_1",
        "paymentStatus": "succeeded",
        "stripeSessionId": "cs_1",
        "stripePaymentIntentId": "pi_1",
        "paidAmount": 12_550,
        "paidCurrency": "CHF",
        "paidAt": "2026-03-01T09:30:15.250Z",
    }


@pytest.mark.parametrize("collection", [state for state in State if state in payload.LEGACY_STATUSES])
def test_of_an_unpaid_one_the_old_form_says_no_amount(collection: State) -> None:
    said = old_form(payment(collection))

    assert said["paymentStatus"] in {"pending", "processing", "succeeded", "failed"}
    is_paid = collection is State.SUCCEEDED
    assert [said[name] is not None for name in ("paidAmount", "paidCurrency", "paidAt")] == [is_paid] * 3
    assert (said["stripeSessionId"], said["stripePaymentIntentId"]) == (None, None)


def test_the_old_form_knows_a_word_for_each_way_a_collection_may_stand() -> None:
    never_a_collection = {State.PARTIALLY_REFUNDED, State.REFUNDED, State.DISPUTED, State.DISPUTE_LOST}

    assert set(State) - set(payload.LEGACY_STATUSES) == never_a_collection


def test_what_is_given_back_stays_paid_in_the_old_form() -> None:
    refunded = payment()
    refunded.snapshot.amounts.refunded_minor = 12_550

    assert (old_form(refunded)["paymentStatus"], old_form(refunded)["paidAmount"]) == ("succeeded", 12_550)


def test_a_payment_that_had_nothing_to_collect_is_paid_with_nothing() -> None:
    free = payment()
    free.snapshot.amounts.captured_minor = 0

    assert (old_form(free)["paymentStatus"], old_form(free)["paidAmount"]) == ("succeeded", 0)


def test_several_reservations_are_joined() -> None:
    assert old_form(payment(booking_ids=["res_2"]))["reservationId"] == "res_1,res_2"


def test_a_test_says_nothing_of_any_payment() -> None:
    said = json.loads(payload.test_body(tenant_id="main", subscription_id="reservations", time=AT))

    assert said["type"] == "test"
    assert not set(said) & set(LEGACY_FIELDS)


async def test_stripe_s_ids_are_those_of_the_attempt_that_the_revision_speaks_of(journeys: Journeys) -> None:
    stubs = journeys.gateway
    gateway = Gateway(intents=stubs, checkout=stubs, refunds=stubs, contacts=stubs)
    session = (await journeys.orchestrator.StartPayment(page(booking_ids=[f"res_{new_id()}"]))).session
    payment_id = session.payment.payment_id
    opened = await journeys.payment(payment_id)
    await journeys.stripe.pay_session(session.checkout_url, payment_method=VISA)
    await journeys.orchestrator.SyncPayment(pb.SyncPaymentRequest(payment_id=payment_id))
    [intent] = await journeys.intents(payment_id)

    said = json.loads(await bodies.legacy(moved(await journeys.payment(payment_id)), gateway))
    assert said["stripePaymentIntentId"] == intent["id"]
    assert said["stripeSessionId"].startswith("cs_")
    assert (said["paymentStatus"], said["paidAmount"], said["paidCurrency"]) == ("succeeded", TOTAL_MINOR, "CHF")

    opened.snapshot.attempt = 2  # of which the gateway knows nothing
    said = json.loads(await bodies.legacy(moved(opened), gateway))
    assert (said["paymentStatus"], said["stripeSessionId"], said["stripePaymentIntentId"]) == ("pending", None, None)
    opened.payment_id = "pay_unknown"
    assert json.loads(await bodies.legacy(moved(opened), gateway))["stripeSessionId"] is None
