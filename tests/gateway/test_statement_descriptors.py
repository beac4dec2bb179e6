"""What statements and receipts show of a seller: kept beside the account, and no payment fails by it."""

from __future__ import annotations

from typing import Any

import pytest
from grpc import StatusCode

from batzen.gateway.v1 import sellers_pb2
from sandbox.control import SandboxControl
from sandbox.faults import Kind
from services.errors import FieldInvalid
from services.gateway.sellers.domain import statement_descriptor_suffix
from tests.gateway.pages import Pages
from tests.gateway.samples import CREATE, Payments, new_id, refused
from tests.gateway.stubs import GatewayStubs

FIELD = "statement_descriptor_suffix"


@pytest.mark.parametrize("value", ["", "A", "YOGA ANNA", "Room 7-B.", "a" * 10])
def test_what_stripe_takes_behind_any_prefix_is_taken(value: str) -> None:
    assert statement_descriptor_suffix(value, field=FIELD) == value


@pytest.mark.parametrize("value", ["a" * 11, "1234", "a*b", "a<b", 'a"b', "a'b", "a\\b", "Zürich", " a", "a ", "a\nb"])
def test_what_stripe_may_refuse_is_refused_first(value: str) -> None:
    with pytest.raises(FieldInvalid):
        statement_descriptor_suffix(value, field=FIELD)


async def put(gateway: GatewayStubs, payments: Payments, **fields: Any) -> sellers_pb2.SellerAccount:
    return (await gateway.PutSellerAccount(payments.put_seller_request(**fields))).account


async def test_a_suffix_is_kept_until_another_is_put_and_no_late_repeat_takes_it_back(
    gateway: GatewayStubs, payments: Payments
) -> None:
    first = payments.put_seller_request(statement_descriptor_suffix="ANNA")
    assert (await gateway.PutSellerAccount(first)).account.statement_descriptor_suffix == "ANNA"
    seller = {"seller_id": first.seller_id}

    assert (await put(gateway, payments, **seller)).statement_descriptor_suffix == "ANNA"
    assert (
        await put(gateway, payments, **seller, statement_descriptor_suffix="BO")
    ).statement_descriptor_suffix == "BO"
    assert (await gateway.PutSellerAccount(first)).account.statement_descriptor_suffix == "BO"
    assert (await put(gateway, payments, **seller, statement_descriptor_suffix="")).statement_descriptor_suffix == ""
    wrong = payments.put_seller_request(**seller, statement_descriptor_suffix="12*")
    assert (await refused(gateway.PutSellerAccount(wrong)))[:3] == (
        StatusCode.INVALID_ARGUMENT,
        "FIELD_INVALID",
        FIELD,
    )


async def test_what_receipts_say_of_a_seller_is_kept_apart_from_what_statements_say(
    gateway: GatewayStubs, payments: Payments
) -> None:
    first = payments.put_seller_request(receipt_name="Anna Berg Yoga", vat_id="che 123 456 788")
    made = (await gateway.PutSellerAccount(first)).account
    assert (made.receipt_name, made.vat_id) == ("Anna Berg Yoga", "CHE-123.456.788 MWST")
    seller = {"seller_id": first.seller_id}

    also = await put(gateway, payments, **seller, statement_descriptor_suffix="ANNA")
    assert (also.receipt_name, also.vat_id, also.statement_descriptor_suffix) == (
        "Anna Berg Yoga",
        "CHE-123.456.788 MWST",
        "ANNA",
    )
    moved = await put(gateway, payments, **seller, vat_id="")
    assert (moved.receipt_name, moved.vat_id, moved.statement_descriptor_suffix) == ("Anna Berg Yoga", "", "ANNA")
    late = (await gateway.PutSellerAccount(first)).account
    assert (late.receipt_name, late.vat_id) == ("Anna Berg Yoga", "")
    for field, value in (("vat_id", "CHE-1234"), ("receipt_name", "a" * 101), ("receipt_name", "Anna\nBcc")):
        refusal = await refused(gateway.PutSellerAccount(payments.put_seller_request(**seller, **{field: value})))
        assert refusal[:3] == (StatusCode.INVALID_ARGUMENT, "FIELD_INVALID", field)


async def test_a_payment_to_one_seller_says_so_on_statements(
    gateway: GatewayStubs, payments: Payments, pages: Pages
) -> None:
    account = await put(gateway, payments, statement_descriptor_suffix="ANNA")
    paid = await payments.paid(seller_id=account.seller_id)
    page_id = await pages.paid(seller_id=account.seller_id)

    for payment_id in (paid, page_id):
        (charge,) = await payments.charges(payment_id)
        assert charge["calculated_statement_descriptor"] == "BATZEN* ANNA"
    (plain,) = await payments.charges(await payments.paid())
    assert plain["calculated_statement_descriptor"] == "BATZEN"


async def test_a_payment_is_made_without_a_suffix_that_stripe_refuses(
    gateway: GatewayStubs, payments: Payments, pages: Pages, stripe: SandboxControl
) -> None:
    account = await put(gateway, payments, seller_id=new_id("seller"), statement_descriptor_suffix="ANNA")
    page_route = "POST /v1/checkout/sessions"
    for route, param in ((CREATE, FIELD), (page_route, f"payment_intent_data[{FIELD}]")):
        await stripe.fault(Kind.INVALID, route=route, param=param, stored=True)

    for payment_id in (
        await payments.created(seller_id=account.seller_id),
        await pages.paid(seller_id=account.seller_id),
    ):
        (intent,) = await payments.intents(payment_id)
        assert intent[FIELD] is None
        assert intent["description"] == "A lesson"
