"""Opening, getting, labelling and listing payments over a real channel."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from batzen.status.v1 import status_pb2 as pb
from batzen.type.v1 import money_pb2
from local.databases import ServiceDatabase
from local.issuer import Issuer
from services.shared.paging import token_for
from services.status.listing import listing
from tests.status.conftest import Clock, Replica, StatusServiceStub, move, running_replica
from tests.status.samples import (
    NOW,
    TOTAL_MINOR,
    attentions,
    list_request,
    money,
    new_payment_id,
    new_request_id,
    open_request,
    refused,
    snapshot,
    succeeded,
)

MISSING: dict[str, Any] = {"request_id": "", "payment_id": "", "payer_id": "", "total": None}
INVALID: list[tuple[str, Any, str]] = [
    ("request_id", "17", "request_id"),
    ("payment_id", "pay_1", "payment_id"),
    ("payment_id", "pay_" + "x" * 25 + "\n", "payment_id"),
    ("payer_id", "x" * 129, "payer_id"),
    ("payer_id", "a\0b", "payer_id"),
    ("seller_ids", [f"seller_{number}" for number in range(101)], "seller_ids"),
    ("seller_ids", ["seller_1", "x" * 129], "seller_ids[1]"),
    ("booking_ids", ["a\tb"], "booking_ids[0]"),
    ("client_reference", "x" * 129, "client_reference"),
    ("quote_id", "x" * 129, "quote_id"),
    ("labels", {str(number): "" for number in range(51)}, "labels"),
    ("labels", {"x" * 41: ""}, "labels"),
    ("labels", {"": "x"}, "labels"),
    ("labels", {"a": "x" * 501}, "labels[a]"),
    ("labels", {"a": "\0"}, "labels[a]"),
    ("total", money_pb2.Money(amount_minor=-1, currency_code="CHF"), "total.amount_minor"),
    ("total", money_pb2.Money(amount_minor=1, currency_code="chf"), "total.currency_code"),
]


async def test_an_opened_payment_has_what_it_was_opened_with(status: StatusServiceStub) -> None:
    request = open_request(seller_ids=["seller_2", "seller_1", "seller_2"])

    payment = (await status.OpenPayment(request)).payment

    assert (payment.payment_id, payment.revision, payment.settled) == (request.payment_id, 1, False)
    assert payment.snapshot == snapshot("INITIALIZED")
    assert list(payment.seller_ids) == ["seller_2", "seller_1"]
    assert (payment.total, payment.labels, payment.quote_id) == (request.total, request.labels, request.quote_id)
    assert payment.open_time.ToDatetime(tzinfo=NOW.tzinfo) == NOW
    assert not payment.HasField("complete_time")
    assert (await status.GetPayment(pb.GetPaymentRequest(payment_id=request.payment_id))).payment == payment


async def test_a_payment_is_opened_once_however_often_it_is_asked_for(status: StatusServiceStub) -> None:
    request = open_request()

    answers = await asyncio.gather(*[status.OpenPayment(request) for _ in range(20)])

    assert len({answer.SerializeToString(deterministic=True) for answer in answers}) == 1
    history = await status.ListTransitions(pb.ListTransitionsRequest(payment_id=request.payment_id))
    assert [transition.revision for transition in history.transitions] == [1]


async def test_opening_again_returns_the_payment_as_it_stands_now(status: StatusServiceStub) -> None:
    request = open_request()
    await status.OpenPayment(request)
    await move(status, request.payment_id, snapshot())
    await status.SetPaymentLabels(
        pb.SetPaymentLabelsRequest(request_id=new_request_id(), payment_id=request.payment_id, labels={"a": "b"})
    )
    request.request_id = new_request_id()

    payment = (await status.OpenPayment(request)).payment

    assert (payment.revision, payment.labels) == (2, {"a": "b"})


@pytest.mark.parametrize(
    "change",
    [
        {"payer_id": "payer_2"},
        {"seller_ids": []},
        {"booking_ids": ["booking_2"]},
        {"client_reference": ""},
        {"quote_id": "quote_2"},
        {"total": money_pb2.Money(amount_minor=TOTAL_MINOR, currency_code="EUR")},
        {"total": money_pb2.Money(amount_minor=1, currency_code="CHF")},
        {"labels": {}},
    ],
)
async def test_an_id_that_was_opened_with_other_content_is_refused(
    status: StatusServiceStub, payment: pb.Payment, change: dict[str, Any]
) -> None:
    refusal = await refused(status.OpenPayment(open_request(payment_id=payment.payment_id, **change)))

    assert (refusal.code, refusal.reason, refusal.field) == ("ALREADY_EXISTS", "PAYMENT_EXISTS", "payment_id")


@pytest.mark.parametrize("field", MISSING)
async def test_what_must_be_there_is_named_when_it_is_not(status: StatusServiceStub, field: str) -> None:
    refusal = await refused(status.OpenPayment(open_request(**{field: MISSING[field]})))

    assert (refusal.code, refusal.reason, refusal.field) == ("INVALID_ARGUMENT", "FIELD_MISSING", field)


@pytest.mark.parametrize(("field", "value", "path"), INVALID)
async def test_what_is_wrong_is_named_by_its_path(status: StatusServiceStub, field: str, value: Any, path: str) -> None:
    request = open_request(**{field: value})

    refusal = await refused(status.OpenPayment(request))

    assert (refusal.code, refusal.reason, refusal.field) == ("INVALID_ARGUMENT", "FIELD_INVALID", path)


async def test_an_unknown_payment_is_not_found(status: StatusServiceStub) -> None:
    unknown = new_payment_id()
    for call in (
        status.GetPayment(pb.GetPaymentRequest(payment_id=unknown)),
        status.ListTransitions(pb.ListTransitionsRequest(payment_id=unknown)),
        status.SetPaymentLabels(pb.SetPaymentLabelsRequest(request_id=new_request_id(), payment_id=unknown)),
    ):
        refusal = await refused(call)
        assert (refusal.code, refusal.reason) == ("NOT_FOUND", "PAYMENT_NOT_FOUND")


@pytest.mark.parametrize(
    ("caller", "sees"),
    [
        (("payer_1", "payer", "main"), True),
        (("payer_2", "payer", "main"), False),
        (("seller_1", "payer", "main"), False),
        (("seller_1", "seller", "main"), True),
        (("seller_2", "seller", "main"), False),
        (("payer_1", "seller", "main"), False),
        (("anyone", "operator", "main"), True),
        (("anyone", "service", "main"), True),
        (("payer_1", "payer", "other"), False),
        (("anyone", "service", "other"), False),
    ],
)
async def test_everybody_sees_what_is_theirs(
    replica: Replica, status: StatusServiceStub, caller: tuple[str, str, str], sees: bool
) -> None:
    payment = (await status.OpenPayment(open_request(client_reference=new_request_id()))).payment
    subject, role, tenant = caller
    async with replica.connect(subject, roles=[role], tenant=tenant) as own:
        listed = await own.ListPayments(list_request(client_reference=payment.client_reference))
        assert [each.payment_id for each in listed.payments] == [payment.payment_id] * sees
        for call in (
            own.GetPayment(pb.GetPaymentRequest(payment_id=payment.payment_id)),
            own.ListTransitions(pb.ListTransitionsRequest(payment_id=payment.payment_id)),
        ):
            if sees:
                await call
            else:
                assert (await refused(call)).reason == "PAYMENT_NOT_FOUND"


async def test_who_pays_and_sells_sees_both(replica: Replica, status: StatusServiceStub) -> None:
    paid = (await status.OpenPayment(open_request(payer_id="both", seller_ids=["seller_1"]))).payment
    sold = (await status.OpenPayment(open_request(payer_id="payer_1", seller_ids=["both"]))).payment

    async with replica.connect("both", roles=["payer", "seller"]) as both:
        listed = await both.ListPayments(pb.ListPaymentsRequest())

    assert {each.payment_id for each in listed.payments} == {paid.payment_id, sold.payment_id}


async def test_only_the_orchestrator_writes(replica: Replica) -> None:
    async with replica.connect("gateway", roles=["service"]) as other:
        assert (await refused(other.OpenPayment(open_request()))).reason == "PERMISSION_DENIED"


async def test_labels_are_replaced_and_nothing_else(status: StatusServiceStub, payment: pb.Payment) -> None:
    request = pb.SetPaymentLabelsRequest(
        request_id=new_request_id(), payment_id=payment.payment_id, labels={"a": "b"}, booking_ids=["b_2", "b_2", "b_3"]
    )

    for _ in range(2):
        labelled = (await status.SetPaymentLabels(request)).payment

    expected = pb.Payment()
    expected.CopyFrom(payment)
    expected.ClearField("labels")
    expected.labels["a"] = "b"
    expected.booking_ids[:] = ["b_2", "b_3"]
    assert labelled == expected
    for booking_id, is_found in (("booking_1", False), ("b_2", True), ("b_3", True)):
        found = await status.ListPayments(list_request(booking_id=booking_id, page_size=200))
        assert (payment.payment_id in [each.payment_id for each in found.payments]) is is_found


async def test_payments_are_found_by_all_that_is_set(replica: Replica) -> None:
    ours = {"payer_id": "p", "seller_ids": ["s", "t"], "booking_ids": ["b"], "client_reference": "r"}
    async with replica.connect(tenant="lists") as lists:
        waiting = (await lists.OpenPayment(open_request(**ours))).payment.payment_id
        paid = (await lists.OpenPayment(open_request(**ours))).payment.payment_id
        await move(lists, paid, snapshot(), succeeded())
        await lists.OpenPayment(open_request())

        async def found(**wanted: Any) -> set[str]:
            answer = await lists.ListPayments(list_request(**wanted))
            return {each.payment_id for each in answer.payments}

        both = {waiting, paid}
        assert await found(payer_id="p") == both
        assert await found(seller_id="t") == both
        assert await found(booking_id="b") == both
        assert await found(client_reference="r") == both
        assert await found(payer_id="p", seller_id="s", booking_id="b", client_reference="r") == both
        assert await found(payer_id="p", unsettled_only=True) == {waiting}
        assert await found(payer_id="p", states=["PAYMENT_STATE_SUCCEEDED"]) == {paid}
        assert await found(seller_id="s", states=["PAYMENT_STATE_INITIALIZED"]) == {waiting}
        assert await found(booking_id="b", seller_id="other") == set()
        assert len(await found()) == 3


async def test_payments_are_found_by_time_currency_total_and_attention(
    database: ServiceDatabase, issuer: Issuer
) -> None:
    clock = Clock()
    async with (
        running_replica(database.runtime_url, issuer=issuer, now=clock) as replica,
        replica.connect(tenant="narrow_lists") as lists,
    ):
        small = (await lists.OpenPayment(open_request(total=money(500)))).payment
        clock.pass_by(timedelta(microseconds=1))
        large = (await lists.OpenPayment(open_request(total=money(9_000)))).payment
        euros = (await lists.OpenPayment(open_request(total=money(9_000, "EUR"), seller_ids=["s"]))).payment
        names = {small.payment_id: "small", large.payment_id: "large", euros.payment_id: "euros"}

        async def found(**wanted: Any) -> set[str]:
            answer = await lists.ListPayments(list_request(**wanted))
            return {names[each.payment_id] for each in answer.payments}

        assert await found(open_start_time=large.open_time) == {"large", "euros"}
        assert await found(open_start_time=small.open_time, open_end_time=large.open_time) == {"small"}
        assert await found(seller_id="s", open_end_time=euros.open_time) == set()
        assert await found(seller_id="s", open_start_time=euros.open_time) == {"euros"}
        assert await found(booking_id="booking_1", open_end_time=euros.open_time) == {"small"}

        assert await found(currency_code="EUR") == {"euros"}
        assert await found(currency_code="CHF", total_min_minor=501) == {"large"}
        assert await found(currency_code="CHF", total_max_minor=500) == {"small"}
        assert await found(currency_code="CHF", total_min_minor=500, total_max_minor=500) == {"small"}
        await move(lists, small.payment_id, snapshot(total_minor=9_000, quote_id="quote_2"))
        assert await found(currency_code="CHF", total_min_minor=501) == {"small", "large"}, "priced anew"

        await move(lists, large.payment_id, snapshot(attentions=attentions("SURPLUS", "STUCK")))
        await move(lists, euros.payment_id, snapshot(attentions=attentions("STUCK")), snapshot())
        assert await found(attention_only=True) == {"large"}
        assert await found(attention_reasons=["STUCK", "REFUND_FAILED"]) == {"large"}
        assert await found(attention_reasons=["REFUND_FAILED"]) == set()


async def test_a_total_that_few_payments_have_is_looked_for_some_at_a_time(
    replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "LOOKED_AT_MAX", 3)
    async with replica.connect(tenant="looked_at") as lists:
        totals = [1, 1, 7, 1, 1, 1, 1, 7, 7, 7]
        opened = [(await lists.OpenPayment(open_request(total=money(minor)))).payment for minor in totals]
        pages, token = [], ""
        while not pages or token:
            request = list_request(currency_code="CHF", total_min_minor=7, page_size=2, page_token=token)
            answer = await lists.ListPayments(request)
            pages.append([each.payment_id for each in answer.payments])
            token = answer.next_page_token

        rare = list_request(currency_code="EUR")
        assert (await lists.ListPayments(rare)).next_page_token, "there may be some further back"

    dear = {each.payment_id for each, minor in zip(opened, totals, strict=True) if minor == 7}
    assert [len(set(page)) for page in pages if page] == [len(page) for page in pages if page]
    assert sorted(payment_id for page in pages for payment_id in page) == sorted(dear)
    assert len(pages) >= 4


async def test_a_walk_over_pages_meets_every_payment_once_while_others_write(replica: Replica) -> None:
    async with replica.connect(tenant="walks") as walks:
        opened = [(await walks.OpenPayment(open_request())).payment.payment_id for _ in range(9)]
        seen, token = [], ""
        for _ in range(9):
            request = list_request(seller_id="seller_1", page_size=2, page_token=token)
            page = await walks.ListPayments(request)
            seen += [each.payment_id for each in page.payments]
            await move(walks, opened[len(seen) - 1], snapshot("FAILED"))
            token = page.next_page_token
            if not token:
                break

    assert sorted(seen) == sorted(opened)
    assert len(seen) == len(opened)


async def test_a_token_of_another_walk_is_refused(status: StatusServiceStub, payment: pb.Payment) -> None:
    await status.OpenPayment(open_request())
    await move(status, payment.payment_id, snapshot())
    list_token = (await status.ListPayments(pb.ListPaymentsRequest(page_size=1))).next_page_token
    history = pb.ListTransitionsRequest(payment_id=payment.payment_id, page_size=1)
    history_token = (await status.ListTransitions(history)).next_page_token
    assert list_token
    assert history_token

    walk = f"transitions main {payment.payment_id} 0"
    for position in ("", "x", "-1", "9" * 30):
        forged = pb.ListTransitionsRequest(payment_id=payment.payment_id, page_token=token_for(position, walk=walk))
        assert (await refused(status.ListTransitions(forged))).reason == "PAGE_TOKEN_INVALID"
    for token in (history_token, list_token + "x", list_token[:-2], "nonsense", "ä", "=" * 40, list_token * 100):
        refusal = await refused(status.ListPayments(pb.ListPaymentsRequest(page_token=token)))
        assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID")
        assert refusal.field == "page_token"
    other_filter = list_request(unsettled_only=True, page_token=list_token)
    assert (await refused(status.ListPayments(other_filter))).reason == "PAGE_TOKEN_INVALID"
    other_history = pb.ListTransitionsRequest(payment_id=payment.payment_id, after_revision=1, page_token=history_token)
    assert (await refused(status.ListTransitions(other_history))).reason == "PAGE_TOKEN_INVALID"


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        ({"page_size": 201}, "page_size"),
        ({"page_size": -1}, "page_size"),
        ({"payer_id": "x" * 129}, "filter.payer_id"),
        ({"booking_id": "a\0"}, "filter.booking_id"),
        ({"states": [1, 99]}, "filter.states[1]"),
        ({"states": [0]}, "filter.states[0]"),
        ({"currency_code": "chf"}, "filter.currency_code"),
        ({"currency_code": "CHF", "total_min_minor": -1}, "filter.total_min_minor"),
        ({"currency_code": "CHF", "total_min_minor": 2, "total_max_minor": 1}, "filter.total_max_minor"),
        ({"attention_reasons": ["x\n"]}, "filter.attention_reasons[0]"),
        ({"attention_reasons": [f"R{number}" for number in range(21)]}, "filter.attention_reasons"),
        ({"open_start_time": NOW, "open_end_time": NOW}, "filter.open_end_time"),
        ({"open_start_time": Timestamp(seconds=2**60)}, "filter.open_start_time"),
    ],
)
async def test_a_list_that_makes_no_sense_is_refused(
    status: StatusServiceStub, wanted: dict[str, Any], path: str
) -> None:
    refusal = await refused(status.ListPayments(list_request(**wanted)))

    assert (refusal.reason, refusal.field) == ("FIELD_INVALID", path)


async def test_a_total_is_no_total_without_its_currency(status: StatusServiceStub) -> None:
    refusal = await refused(status.ListPayments(list_request(total_max_minor=5)))

    assert (refusal.reason, refusal.field) == ("FIELD_MISSING", "filter.currency_code")


async def test_history_comes_page_by_page(status: StatusServiceStub, payment: pb.Payment) -> None:
    await move(status, payment.payment_id, *[snapshot(attempt=attempt) for attempt in range(1, 5)])
    revisions, token = [], ""
    while True:
        page = await status.ListTransitions(
            pb.ListTransitionsRequest(payment_id=payment.payment_id, after_revision=1, page_size=2, page_token=token)
        )
        revisions.append([transition.revision for transition in page.transitions])
        token = page.next_page_token
        if not token:
            break

    assert revisions == [[2, 3], [4, 5]]


@pytest.mark.parametrize("wanted", [{"page_size": 501}, {"page_size": -1}, {"after_revision": -1}])
async def test_a_history_that_makes_no_sense_is_refused(
    status: StatusServiceStub, payment: pb.Payment, wanted: dict[str, Any]
) -> None:
    refusal = await refused(status.ListTransitions(pb.ListTransitionsRequest(payment_id=payment.payment_id, **wanted)))

    assert (refusal.reason, refusal.field) == ("FIELD_INVALID", next(iter(wanted)))
