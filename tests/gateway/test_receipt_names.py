"""What receipts call a seller: a receipt keeps what it was issued with, whatever is put afterwards."""

from __future__ import annotations

import asyncio
from datetime import datetime

from batzen.gateway.v1 import sellers_pb2
from local.databases import ServiceDatabase
from tests.clock import Clock
from tests.gateway.samples import Payments
from tests.gateway.stubs import GatewayStubs
from tests.gateway.test_races import connected

NAMES = [("Anna", ""), ("Anna", "CHE-109.322.551 MWST"), ("Berg Yoga", "CHE-109.322.551 MWST")]


async def _called(gateway: GatewayStubs, seller_id: str, time: datetime | None = None) -> tuple[str, str]:
    """Return what a receipt of a time, or of now, says of a seller."""
    request = sellers_pb2.GetSellerAccountRequest(seller_id=seller_id)
    if time is not None:
        request.receipt_time.FromDatetime(time)
    account = (await gateway.GetSellerAccount(request)).account
    return account.receipt_name, account.vat_id


async def test_a_receipt_of_a_time_says_what_was_put_by_then(
    gateway: GatewayStubs, payments: Payments, clock: Clock
) -> None:
    made = payments.put_seller_request()
    await gateway.PutSellerAccount(made)
    times = [clock.now()]
    for name, vat_id in (*NAMES, ("", "")):
        put = payments.put_seller_request(seller_id=made.seller_id, receipt_name=name, vat_id=vat_id)
        await gateway.PutSellerAccount(put)
        times.append(clock.now())

    said = [await _called(gateway, made.seller_id, time) for time in times]

    assert said == [NAMES[0], *NAMES, ("", "")]  # of a time before anything was put, what was put first
    assert await _called(gateway, made.seller_id) == ("", "")


async def test_what_changes_nothing_and_a_late_repeat_leave_receipts_as_they_are(
    gateway: GatewayStubs, payments: Payments, clock: Clock
) -> None:
    first = payments.put_seller_request(receipt_name="Anna")
    await gateway.PutSellerAccount(first)
    before = clock.now()
    seller = {"seller_id": first.seller_id}
    await gateway.PutSellerAccount(payments.put_seller_request(**seller, receipt_name="Anna"))
    await gateway.PutSellerAccount(payments.put_seller_request(**seller, statement_descriptor_suffix="ANNA"))
    await gateway.PutSellerAccount(payments.put_seller_request(**seller, receipt_name="Berta"))
    await gateway.PutSellerAccount(first)

    assert await _called(gateway, first.seller_id, before) == ("Anna", "")
    assert await _called(gateway, first.seller_id, clock.now()) == ("Berta", "")


async def test_of_names_that_are_put_at_once_each_is_a_receipts_or_the_last(
    gateway: GatewayStubs, payments: Payments, clock: Clock, database: ServiceDatabase
) -> None:
    first = payments.put_seller_request(receipt_name="Anna")
    await gateway.PutSellerAccount(first)
    before = clock.now()
    puts = [payments.put_seller_request(seller_id=first.seller_id, receipt_name=f"Anna {n}") for n in range(8)]
    await asyncio.gather(*(gateway.PutSellerAccount(one) for one in puts))

    async with connected(database) as connection:
        kept = await connection.fetch(
            "SELECT receipt_name FROM seller_receipt_names WHERE seller_id = $1", first.seller_id
        )
    now, _ = await _called(gateway, first.seller_id)
    assert await _called(gateway, first.seller_id, before) == ("Anna", "")
    assert sorted([*(row["receipt_name"] for row in kept), now]) == ["Anna", *sorted(one.receipt_name for one in puts)]
