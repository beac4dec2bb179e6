"""Transfers by hand: before their time and back, never more than is due, and not undone by what settles."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from grpc import StatusCode

from batzen.gateway.v1 import split_pb2, transfers_pb2
from sandbox.control import SandboxControl
from tests.clock import Clock
from tests.gateway.conftest import Gateway
from tests.gateway.samples import Payments, chf, new_id, new_request_id, refused
from tests.gateway.settling import Carts, emptied, part
from tests.gateway.stubs import GatewayStubs

EXCEEDS = (StatusCode.FAILED_PRECONDITION, "TRANSFER_EXCEEDS_PART")


@pytest.fixture
def carts(replica: Gateway, payments: Payments, stripe: SandboxControl) -> Carts:
    return Carts(replica, payments, stripe)


def create(payment_id: str, seller_id: str, minor: int, **fields: Any) -> transfers_pb2.CreateTransferRequest:
    ours: dict[str, Any] = {
        "request_id": new_request_id(),
        "payment_id": payment_id,
        "seller_id": seller_id,
        "amount": chf(minor),
        "actor_id": "anna",
    }
    return transfers_pb2.CreateTransferRequest(**{**ours, **fields})


def reverse(transfer_id: str, minor: int, **fields: Any) -> transfers_pb2.ReverseTransferRequest:
    ours: dict[str, Any] = {
        "request_id": new_request_id(),
        "transfer_id": transfer_id,
        "amount": chf(minor),
        "actor_id": "anna",
    }
    return transfers_pb2.ReverseTransferRequest(**{**ours, **fields})


async def listed(gateway: GatewayStubs, **fields: Any) -> list[tuple[str, int, int, str]]:
    found = (await gateway.ListTransfers(transfers_pb2.ListTransfersRequest(**fields))).transfers
    state = transfers_pb2.Transfer.State.Name
    return [(one.seller_id, one.amount.amount_minor, one.reversed.amount_minor, state(one.state)) for one in found]


async def test_a_part_is_sent_before_its_time_and_the_rest_when_that_comes(
    carts: Carts, gateway: GatewayStubs, clock: Clock
) -> None:
    s1, s2 = await carts.sellers(2)
    terms = split_pb2.SettlementTerms()
    terms.pay_time.FromDatetime(clock.now() + timedelta(days=3))
    payment_id = await carts.paid(part(s1, 10_000), part(s2, 2_000), settlement_terms=terms)
    await carts.book(payment_id)

    request = create(payment_id, s1, 5_000)
    sent = (await gateway.CreateTransfer(request)).transfer
    assert (sent.amount, sent.settled_amount, sent.actor_id) == (chf(5_000), chf(5_000), "anna")
    assert (await gateway.CreateTransfer(request)).transfer == sent
    code, reason, field, metadata = await refused(gateway.CreateTransfer(create(payment_id, s1, 3_501)))
    assert ((code, reason), field, metadata) == (EXCEEDS, "amount", {"due_minor": "3500"})
    assert await carts.got(payment_id) == {s1: 5_000}

    clock.advance(timedelta(days=3))
    assert await carts.settled(payment_id) == {s1: 8_500, s2: 1_700}
    assert await listed(gateway, payment_id=payment_id, seller_id=s1) == [
        (s1, 3_500, 0, "STATE_MADE"),
        (s1, 5_000, 0, "STATE_MADE"),
    ]


async def test_what_is_taken_back_by_hand_is_sent_again_by_hand_alone(carts: Carts, gateway: GatewayStubs) -> None:
    s1, s2 = await carts.sellers(2)
    payment_id = await carts.paid(part(s1, 10_000), part(s2, 2_000))
    await carts.settled(payment_id)
    [transfer] = (
        await gateway.ListTransfers(transfers_pb2.ListTransfersRequest(payment_id=payment_id, seller_id=s1))
    ).transfers

    back = (await gateway.ReverseTransfer(reverse(transfer.transfer_id, 2_000))).transfer
    assert back.reversed == chf(2_000)
    await carts.run(payment_id)
    assert await carts.settled(payment_id) == {s1: 6_500, s2: 1_700}
    code, reason, _, metadata = await refused(gateway.ReverseTransfer(reverse(transfer.transfer_id, 6_501)))
    assert (code, reason) == (StatusCode.FAILED_PRECONDITION, "REVERSAL_EXCEEDS_TRANSFER")
    assert metadata == {"left_minor": "6500"}

    await gateway.CreateTransfer(create(payment_id, s1, 500))
    assert await carts.settled(payment_id) == {s1: 7_000, s2: 1_700}
    assert await listed(gateway, seller_id=s1) == [(s1, 500, 0, "STATE_MADE"), (s1, 8_500, 2_000, "STATE_MADE")]


async def test_what_stripe_refuses_and_what_is_not_there_is_said(
    carts: Carts, gateway: GatewayStubs, clock: Clock
) -> None:
    s1, s2 = await carts.sellers(2)
    terms = split_pb2.SettlementTerms()
    terms.pay_time.FromDatetime(clock.now() + timedelta(days=30))
    funded = part(s1, 8_000, seller_minor=90_000, platform_fee_minor=0, discounts_funded_minor=82_000)
    payment_id = await carts.paid(funded, part(s2, 2_000), settlement_terms=terms)
    await carts.book(payment_id)
    await emptied(carts.stripe, await carts.replica.parts.provider.own_account_id())  # of what other tests left

    code, reason, _, metadata = await refused(gateway.CreateTransfer(create(payment_id, s1, 90_000)))
    assert (code, reason, metadata["code"]) == (
        StatusCode.FAILED_PRECONDITION,
        "STRIPE_REFUSED",
        "balance_insufficient",
    )
    [waiting] = await listed(gateway, payment_id=payment_id)
    assert waiting == (s1, 90_000, 0, "STATE_REFUSED")

    sent = (await gateway.CreateTransfer(create(payment_id, s2, 1_700))).transfer
    await carts.stripe.empty_account(carts.accounts[s2], currency="chf")
    code, reason, _, metadata = await refused(gateway.ReverseTransfer(reverse(sent.transfer_id, 1_700)))
    assert (code, reason) == (StatusCode.FAILED_PRECONDITION, "STRIPE_REFUSED")

    unknown = [
        (gateway.CreateTransfer(create(new_id("pay"), s1, 1)), "INTENT_NOT_FOUND"),
        (gateway.CreateTransfer(create(payment_id, new_id("seller"), 1)), "SELLER_NOT_FOUND"),
        (gateway.CreateTransfer(create(payment_id, await carts.seller(), 1)), "SELLER_NOT_FOUND"),
        (gateway.ReverseTransfer(reverse(new_id("transfer"), 1)), "TRANSFER_NOT_FOUND"),
    ]
    for call, expected in unknown:
        assert (await refused(call))[:2] == (StatusCode.NOT_FOUND, expected)


async def test_transfers_are_listed_in_pages(carts: Carts, gateway: GatewayStubs, clock: Clock) -> None:
    seller_id, other = await carts.sellers(2)
    for minor in (1_000, 2_000, 3_000):
        await carts.settled(await carts.paid(part(seller_id, minor), part(other, 1_000)))
        clock.advance(timedelta(seconds=1))
    request = transfers_pb2.ListTransfersRequest(seller_id=seller_id, page_size=2)
    first = await gateway.ListTransfers(request)
    request.page_token = first.next_page_token
    second = await gateway.ListTransfers(request)
    amounts = [one.amount.amount_minor for page in (first, second) for one in page.transfers]
    assert (amounts, second.next_page_token) == ([2_550, 1_700, 850], "")

    request.seller_id = other
    assert (await refused(gateway.ListTransfers(request)))[:2] == (StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID")
    nothing = transfers_pb2.ListTransfersRequest()
    assert (await refused(gateway.ListTransfers(nothing)))[:2] == (StatusCode.INVALID_ARGUMENT, "FIELD_MISSING")
