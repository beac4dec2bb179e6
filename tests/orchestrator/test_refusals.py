"""Every refusal that the contract documents: its status, its reason, its field, and that nothing changes by it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from batzen.gateway.v1 import observation_pb2
from batzen.gateway.v1.observation_pb2_grpc import GatewayEventSinkServiceStub
from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from batzen.status.v1 import status_pb2
from batzen.type.v1 import money_pb2
from tests.orchestrator.conftest import Journeys, Orchestrator, World
from tests.orchestrator.samples import (
    PAYER,
    TOTAL_MINOR,
    Refusal,
    cancel,
    chf,
    line,
    new_id,
    refund,
    refused,
    start,
    submit,
    without,
)

UNKNOWN = "pay_00000000000000000000000000"
CARD = "4242 4242 4242 4242"
MISSING, INVALID = "FIELD_MISSING", "FIELD_INVALID"


def wrong_starts() -> list[Any]:
    def case(name: str, field: str, reason: str, **changes: Any) -> Any:
        return pytest.param(start(**changes), field, reason, id=name)

    payer = {"payer_id": PAYER}
    below_zero = line(unit_amount=chf(-1))
    return [
        case("no request id", "request_id", MISSING, request_id=""),
        case("a request id that is no UUID", "request_id", INVALID, request_id="one"),
        case("no payer", "payer.payer_id", MISSING, payer=pb.Payer()),
        case("a payer id with a blank", "payer.payer_id", INVALID, payer=pb.Payer(payer_id="payer 1")),
        case("a long payer id", "payer.payer_id", INVALID, payer=pb.Payer(payer_id="p" * 129)),
        case("no e-mail address", "payer.email", INVALID, payer=pb.Payer(**payer, email="pia at example")),
        case("a long name", "payer.name", INVALID, payer=pb.Payer(**payer, name="n" * 201)),
        case("a NUL in a name", "payer.name", INVALID, payer=pb.Payer(**payer, name="Pia\0")),
        case("no locale", "payer.locale", INVALID, payer=pb.Payer(**payer, locale="de CH")),
        case("no lines", "lines", MISSING, lines=[]),
        case("too many lines", "lines", INVALID, lines=[line(line_id=str(n)) for n in range(1_001)]),
        case("a line without an amount", "lines[0].unit_amount", MISSING, lines=[without(line(), "unit_amount")]),
        case("a line without a seller", "lines[0].seller_id", MISSING, lines=[line(seller_id="")]),
        case(
            "too many sellers",
            "lines",
            "TOO_MANY_SELLERS",
            lines=[line(line_id=str(n), seller_id=f"seller_{n}") for n in range(101)],
        ),
        case("too many bookings", "booking_ids", INVALID, booking_ids=[str(n) for n in range(101)]),
        case("an empty booking", "booking_ids[1]", MISSING, booking_ids=["1", ""]),
        case("a booking twice", "booking_ids", INVALID, booking_ids=["1", "1"]),
        case("a long session type", "session_type", INVALID, session_type="t" * 65),
        case("a long session name", "session_name", INVALID, session_name="n" * 201),
        case("a long reference", "client_reference", INVALID, client_reference="r" * 129),
        case("a reference in two lines", "client_reference", INVALID, client_reference="a\nb"),
        case("no return URL", "return_url", MISSING, return_url=""),
        case("a return URL that is none", "return_url", INVALID, return_url="shop.example"),
        case("a return URL in the clear", "return_url", INVALID, return_url="http://shop.example/"),
        case("a script for a return URL", "return_url", INVALID, return_url="javascript:alert(1)"),
        case("a bracket too many", "return_url", INVALID, return_url="https://[::1/"),
        case("a cancel URL that is none", "cancel_url", INVALID, cancel_url="ftp://shop.example/"),
        case("an unknown timing", "timing", INVALID, timing=99),
        case("a charge time", "charge_time", INVALID, charge_time=Timestamp(seconds=1)),
        case("an unknown collection", "collection", INVALID, collection=99),
        case("too many labels", "labels", INVALID, labels={str(n): "" for n in range(51)}),
        case("a long label", "labels[note]", INVALID, labels={"note": "x" * 501}),
        case("a label without a key", "labels", INVALID, labels={"": "x"}),
        case("an unknown country", "lines[0].tax_category", "TAX_RATE_UNKNOWN", lines=[line(country="XX")]),
        case("a negative amount", "lines[0].unit_amount.amount_minor", "AMOUNT_NEGATIVE", lines=[below_zero]),
        case("an unknown locale", "display_locales[0]", "LOCALE_UNKNOWN", display_locales=["tlh"]),
        case("a card in the session name", "session_name", "CARD_NUMBER_REFUSED", session_name=f"pay by {CARD}"),
        case("a card in a label", "labels[note]", "CARD_NUMBER_REFUSED", labels={"note": CARD}),
        case("a card in the reference", "client_reference", "CARD_NUMBER_REFUSED", client_reference=CARD),
        case("a card in the payer's name", "payer.name", "CARD_NUMBER_REFUSED", payer=pb.Payer(**payer, name=CARD)),
    ]  # fmt: skip


@pytest.mark.parametrize(("request_", "field", "reason"), wrong_starts())
async def test_a_start_that_cannot_be(
    request_: pb.StartPaymentRequest, field: str, reason: str, orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payer_id = f"payer_{secrets.token_hex(8)}"
    if request_.payer.payer_id == PAYER:
        request_.payer.payer_id = payer_id
    refusal = await refused(orchestrator.StartPayment(request_))
    assert (refusal.code, refusal.reason, refusal.field) == ("INVALID_ARGUMENT", reason, field)
    by_payer = status_pb2.PaymentFilter(payer_id=payer_id)
    listed = await journeys.status.ListPayments(status_pb2.ListPaymentsRequest(filter=by_payer))
    assert list(listed.payments) == []


async def test_a_coupon_that_does_not_exist(orchestrator: OrchestratorServiceStub) -> None:
    refusal = await refused(orchestrator.StartPayment(start(coupon_codes=["NONE"])))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "COUPON_UNKNOWN")
    assert refusal.field.startswith("coupon_codes")


def wrong_requests() -> list[Any]:
    def case(method: str, request: Any, field: str, reason: str) -> Any:
        return pytest.param(method, request, field, reason, id=f"{method} {field} {reason} {request.payment_id[:4]}")

    kinds: list[tuple[str, Any]] = [
        ("SubmitPayment", submit),
        ("CancelPayment", cancel),
        ("RefundPayment", refund),
        ("SyncPayment", lambda payment_id: pb.SyncPaymentRequest(payment_id=payment_id)),
        ("GetPaymentPlan", lambda payment_id: pb.GetPaymentPlanRequest(payment_id=payment_id)),
        ("GetPaymentSession", lambda payment_id: pb.GetPaymentSessionRequest(payment_id=payment_id)),
        ("PreviewRefund", lambda payment_id: pb.PreviewRefundRequest(payment_id=payment_id)),
    ]
    cases = []
    for method, make in kinds:
        cases.append(case(method, make(""), "payment_id", MISSING))
        cases.append(case(method, make("pay_1"), "payment_id", INVALID))
    for method, make in kinds[:3]:
        cases.append(case(method, without(make(UNKNOWN), "request_id"), "request_id", MISSING))
    empty = submit(UNKNOWN)
    empty.payment_method_id = ""
    no_money = money_pb2.Money(amount_minor=1)
    return [
        *cases,
        case("SubmitPayment", without(submit(UNKNOWN), "payment_method_id"), "payment_method_id", MISSING),
        case("SubmitPayment", empty, "payment_method_id", MISSING),
        case("SubmitPayment", submit(UNKNOWN, "pm card"), "payment_method_id", INVALID),
        case("SubmitPayment", submit(UNKNOWN, return_url="http://shop.example/"), "return_url", INVALID),
        case("CancelPayment", cancel(UNKNOWN, reason="r" * 201), "reason", INVALID),
        case("CancelPayment", cancel(UNKNOWN, reason=CARD), "reason", "CARD_NUMBER_REFUSED"),
        case("RefundPayment", without(refund(UNKNOWN), "expected_refundable"), "expected_refundable", MISSING),
        case("RefundPayment", refund(UNKNOWN, 0), "amount.amount_minor", INVALID),
        case("RefundPayment", refund(UNKNOWN, -1), "amount.amount_minor", INVALID),
        case("RefundPayment", refund(UNKNOWN, amount=no_money), "amount.currency_code", MISSING),
        case("RefundPayment", refund(UNKNOWN, reason=99), "reason", INVALID),
        case("RefundPayment", refund(UNKNOWN, actor_id=""), "actor_id", MISSING),
    ]  # fmt: skip


@pytest.mark.parametrize(("method", "request_", "field", "reason"), wrong_requests())
async def test_a_request_that_cannot_be(
    method: str, request_: Any, field: str, reason: str, orchestrator: OrchestratorServiceStub
) -> None:
    refusal = await refused(getattr(orchestrator, method)(request_))
    assert (refusal.code, refusal.reason, refusal.field) == ("INVALID_ARGUMENT", reason, field)


def on_payment(payment_id: str) -> dict[str, Any]:
    """Return a request of each method on a payment, by the method."""
    return {
        "SubmitPayment": submit(payment_id),
        "CancelPayment": cancel(payment_id),
        "SyncPayment": pb.SyncPaymentRequest(payment_id=payment_id),
        "GetPaymentSession": pb.GetPaymentSessionRequest(payment_id=payment_id),
        "GetPaymentPlan": pb.GetPaymentPlanRequest(payment_id=payment_id),
        "PreviewRefund": pb.PreviewRefundRequest(payment_id=payment_id),
        "RefundPayment": refund(payment_id),
    }


PAYERS_METHODS = {"SubmitPayment", "CancelPayment", "SyncPayment", "GetPaymentSession"}


@pytest.fixture(params=["another payer", "another tenant"])
async def stranger(request: pytest.FixtureRequest, replica: Orchestrator) -> AsyncIterator[OrchestratorServiceStub]:
    """Somebody whose payments ours are not."""
    is_payer = request.param == "another payer"
    subject, roles = ("payer_2", ["payer"]) if is_payer else ("shop", ["service"])
    async with replica.connect(subject, roles=roles, tenant="main" if is_payer else "other") as stub:
        yield stub


@pytest.mark.parametrize("method", sorted(on_payment(UNKNOWN)))
async def test_anothers_payment_does_not_exist(
    method: str, stranger: OrchestratorServiceStub, orchestrator: OrchestratorServiceStub, journeys: Journeys,
    request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    payment_id = await journeys.paid()
    before = await journeys.transitions(payment_id)
    refusal = await refused(getattr(stranger, method)(on_payment(payment_id)[method]))
    if "payer" in request.node.name and method not in PAYERS_METHODS:
        assert (refusal.code, refusal.reason) == ("PERMISSION_DENIED", "PERMISSION_DENIED")
    else:
        assert (refusal.code, refusal.reason) == ("NOT_FOUND", "PAYMENT_NOT_FOUND")
        unknown = await refused(getattr(orchestrator, method)(on_payment(UNKNOWN)[method]))
        assert (unknown.code, unknown.reason) == (refusal.code, refusal.reason)
    assert await journeys.transitions(payment_id) == before


async def test_a_payer_may_not_name_a_price(as_payer: OrchestratorServiceStub) -> None:
    refusal = await refused(as_payer.StartPayment(start()))
    assert refusal.code == "PERMISSION_DENIED"


async def state_refusal(call: Any) -> Refusal:
    refusal = await refused(call)
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "PAYMENT_STATE")
    return refusal


async def test_what_a_payment_that_is_paid_does_not_allow(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await journeys.paid()
    for call in (orchestrator.SubmitPayment(submit(payment_id)), orchestrator.CancelPayment(cancel(payment_id))):
        assert (await state_refusal(call)).metadata == {"state": "SUCCEEDED"}


async def test_what_a_payment_that_is_not_paid_does_not_allow(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await journeys.started()
    refusal = await state_refusal(orchestrator.RefundPayment(refund(payment_id)))
    assert refusal.metadata == {"state": "REQUIRES_PAYMENT_METHOD"}
    refusal = await state_refusal(orchestrator.PreviewRefund(pb.PreviewRefundRequest(payment_id=payment_id)))
    assert refusal.metadata == {"state": "REQUIRES_PAYMENT_METHOD"}


async def test_what_a_payment_that_went_back_does_not_allow(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    """The refusal says what became of the payment, not how it was collected; nothing left is a state, too."""
    payment_id = await journeys.paid()
    await orchestrator.RefundPayment(refund(payment_id, 100))
    for call in (orchestrator.SubmitPayment(submit(payment_id)), orchestrator.CancelPayment(cancel(payment_id))):
        refusal = await state_refusal(call)
        assert refusal.metadata == {"state": "PARTIALLY_REFUNDED"}
        assert refusal.message.endswith("It is PARTIALLY_REFUNDED.")
    left_minor = TOTAL_MINOR - 100
    await orchestrator.RefundPayment(refund(payment_id, left_minor, expected_refundable=chf(left_minor)))
    assert (await state_refusal(orchestrator.CancelPayment(cancel(payment_id)))).metadata == {"state": "REFUNDED"}

    asked = without(refund(payment_id, expected_refundable=chf(0)), "amount")
    refusal = await refused(orchestrator.RefundPayment(asked))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "REFUND_EXCEEDS_REFUNDABLE")
    assert (refusal.field, refusal.metadata) == ("expected_refundable", {"refundable_minor": "0"})
    assert refusal.message == "`expected_refundable`: Nothing is left of the payment to give back."
    assert await refused(orchestrator.RefundPayment(asked)) == refusal


async def test_what_a_field_has_to_be_is_said_whoever_minds(orchestrator: OrchestratorServiceStub) -> None:
    """By the path that the caller knows, also where a service behind the orchestrator minds; with what is taken."""
    too_much = start()
    too_much.lines[0].quantity = "10001"
    refusal = await refused(orchestrator.StartPayment(too_much))
    assert (refusal.reason, refusal.message) == ("QUANTITY_OUT_OF_RANGE", "`lines[0].quantity`: must be at most 10000")

    of_no_kind = start()
    of_no_kind.lines[0].kind = 99
    refusal = await refused(orchestrator.StartPayment(of_no_kind))
    kinds = "LINE_KIND_SESSION, LINE_KIND_RESERVATION, LINE_KIND_GOODS, LINE_KIND_DIGITAL"
    assert refusal.message == f"`lines[0].kind`: must be one of {kinds}"

    refusal = await refused(orchestrator.StartPayment(start(collection=99)))
    assert refusal.message == ("`collection`: must be one of COLLECTION_CHECKOUT, COLLECTION_ELEMENTS, or left out")
    left_out = start(collection=pb.COLLECTION_UNSPECIFIED, cancel_url="")
    refusal = await refused(orchestrator.StartPayment(left_out))
    assert (refusal.reason, refusal.field) == (MISSING, "cancel_url")
    assert "COLLECTION_CHECKOUT, also where `collection` is left out" in refusal.message
    page = start(collection=pb.COLLECTION_UNSPECIFIED, cancel_url="https://shop.example/cart")
    assert (await orchestrator.StartPayment(page)).session.checkout_url, "what is left out has a default that works"


async def test_what_a_payment_that_is_called_off_does_not_allow(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await journeys.started()
    await orchestrator.CancelPayment(cancel(payment_id))
    assert (await state_refusal(orchestrator.SubmitPayment(submit(payment_id)))).metadata == {"state": "CANCELED"}


async def test_a_method_that_stripe_does_not_know_can_be_replaced(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await journeys.started()
    refusal = await refused(orchestrator.SubmitPayment(submit(payment_id, "pm_nobody_made_this")))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "METHOD_REFUSED")
    assert (refusal.field, refusal.metadata) == ("payment_method_id", {"code": "resource_missing"})
    payment = await journeys.payment(payment_id)
    assert payment.snapshot.last_error.recoverable
    await orchestrator.SubmitPayment(submit(payment_id))
    assert (await journeys.states(payment_id))[2:] == [
        "PROCESSING", "REQUIRES_PAYMENT_METHOD", "PROCESSING", "SUCCEEDED",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("payment_method_id", ".."),
        ("payment_method_id", "pm_1/../../refunds"),
        ("payment_method_id", "pi_1"),
        ("confirmation_token_id", "ctoken_1?expand=1"),
    ],
)
async def test_what_is_no_id_of_a_method_is_refused_by_its_field_and_it_stays_the_payers_turn(
    orchestrator: OrchestratorServiceStub, journeys: Journeys, name: str, value: str
) -> None:
    payment_id = await journeys.started()
    request = pb.SubmitPaymentRequest(request_id=new_id(), payment_id=payment_id, **{name: value})

    refusal = await refused(orchestrator.SubmitPayment(request))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "METHOD_REFUSED")
    assert (refusal.field, refusal.metadata) == (name, {"code": "field_invalid"})
    assert await refused(orchestrator.SubmitPayment(request)) == refusal

    payment = await journeys.payment(payment_id)
    assert payment.snapshot.last_error.recoverable
    await orchestrator.SubmitPayment(submit(payment_id))
    assert (await journeys.states(payment_id))[-1] == "SUCCEEDED"


async def test_no_bank_is_asked_over_a_page_whose_library_made_no_token(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await journeys.started()
    refusal = await refused(orchestrator.SubmitPayment(submit(payment_id, use_stripe_sdk=True)))
    assert (refusal.reason, refusal.field) == ("FIELD_INVALID", "use_stripe_sdk")


async def test_refunds_that_cannot_be(orchestrator: OrchestratorServiceStub, journeys: Journeys) -> None:
    payment_id = await journeys.paid()
    refusal = await refused(orchestrator.RefundPayment(refund(payment_id, 100, expected_refundable=chf(9_999))))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "REFUNDABLE_CHANGED")
    assert refusal.metadata == {"refundable_minor": str(TOTAL_MINOR)}

    refusal = await refused(orchestrator.RefundPayment(refund(payment_id, TOTAL_MINOR + 1)))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "REFUND_EXCEEDS_REFUNDABLE")
    assert (refusal.field, refusal.metadata) == ("amount", {"refundable_minor": str(TOTAL_MINOR)})
    assert f"at most {TOTAL_MINOR} minor units" in refusal.message

    all_of_nothing = without(refund(payment_id, expected_refundable=chf(0)), "amount")
    refusal = await refused(orchestrator.RefundPayment(all_of_nothing))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "REFUNDABLE_CHANGED"), "there is something"

    preview = pb.PreviewRefundRequest(payment_id=payment_id, amount=chf(TOTAL_MINOR + 1))
    refusal = await refused(orchestrator.PreviewRefund(preview))
    assert refusal.reason == "REFUND_EXCEEDS_REFUNDABLE"

    euros = money_pb2.Money(amount_minor=100, currency_code="EUR")
    for name in ("amount", "expected_refundable"):
        refusal = await refused(orchestrator.RefundPayment(refund(payment_id, 100, **{name: euros})))
        assert (refusal.code, refusal.reason, refusal.field) == ("INVALID_ARGUMENT", INVALID, f"{name}.currency_code")
    refusal = await refused(orchestrator.PreviewRefund(pb.PreviewRefundRequest(payment_id=payment_id, amount=euros)))
    assert (refusal.code, refusal.field) == ("INVALID_ARGUMENT", "amount.currency_code")

    assert await journeys.refunds(payment_id) == []
    assert (await journeys.states(payment_id))[-1] == "SUCCEEDED"


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({"payment_id": ""}, "observation.payment_id", MISSING),
        ({"mirror_version": 0}, "observation.mirror_version", MISSING),
        ({"intent_state": 0}, "observation.intent_state", INVALID),
        ({"intent_state": 99}, "observation.intent_state", INVALID),
    ],
)
async def test_a_delivery_that_cannot_be(fields: Any, field: str, reason: str, journeys: Journeys) -> None:
    ours = {"payment_id": UNKNOWN, "mirror_version": 1, "intent_state": observation_pb2.INTENT_STATE_SUCCEEDED}
    refusal = await refused(journeys.deliver(observation_pb2.PaymentObservation(**(ours | fields))))
    assert (refusal.code, refusal.reason, refusal.field) == ("INVALID_ARGUMENT", reason, field)


async def test_a_delivery_for_nobody(journeys: Journeys) -> None:
    observation = observation_pb2.PaymentObservation(
        payment_id=UNKNOWN, mirror_version=1, intent_state=observation_pb2.INTENT_STATE_SUCCEEDED
    )
    refusal = await refused(journeys.deliver(observation))
    assert (refusal.code, refusal.reason) == ("NOT_FOUND", "PAYMENT_NOT_FOUND")


async def test_only_the_gateway_delivers(world: World, replica: Orchestrator) -> None:
    async with world.channel(replica.port, "shop") as channel:
        request = observation_pb2.DeliverEventRequest(request_id=new_id())
        refusal = await refused(GatewayEventSinkServiceStub(channel).DeliverEvent(request))
    assert refusal.code == "PERMISSION_DENIED"
