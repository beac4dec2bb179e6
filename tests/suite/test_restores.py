"""The gateway's database is put back to an earlier moment, while everybody else remembers what came after it."""

from __future__ import annotations

import asyncpg

from services.runtime.database.connections import plain_dsn
from tests.eventually import eventually
from tests.gateway.test_versions import put_back, rows_of
from tests.suite.journeys import REFUND_MINOR, TOTAL_MINOR, Traveller, pay


async def test_what_changes_after_a_restore_is_not_taken_for_old(traveller: Traveller) -> None:
    payment_id = await pay(traveller)
    await traveller.until(payment_id, "SUCCEEDED")
    intent = await traveller.intent_of(payment_id)
    owner = await asyncpg.connect(plain_dsn(traveller.suite.owner_url("gateway")))
    try:
        rows = await rows_of(owner, payment_id)
        await traveller.refund(payment_id, amount_minor=REFUND_MINOR, refundable_minor=TOTAL_MINOR)
        await traveller.until(payment_id, "PARTIALLY_REFUNDED")
        await traveller.sandbox.drain()
        await put_back(owner, payment_id, rows)
    finally:
        await owner.close()

    await traveller.sandbox.refund(intent["id"], amount=TOTAL_MINOR - REFUND_MINOR)

    async def is_told() -> bool:
        return (await traveller.payment(payment_id)).snapshot.amounts.refunded_minor == TOTAL_MINOR

    await eventually(is_told, what="status says what was given back in all")
    await traveller.until(payment_id, "REFUNDED")
