"""What is noticed at Stripe is told once, whichever process dies wherever it is on its way to the orchestrator."""

from __future__ import annotations

import asyncio
import secrets
import string
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import asyncpg
import pytest

from batzen.client import new_request_id
from batzen.gateway.v1 import sellers_pb2
from local.ports import free_ports
from local.storage import Storage
from services.runtime.database.connections import plain_dsn
from tests.eventually import eventually
from tests.forking import ForkServer
from tests.quick_postgres import quick_postgres
from tests.suite.crashes import rigged, struck
from tests.suite.journeys import Traveller

POSITIONS: Final = (
    # The gateway: it is written down with the dispute, delivered, and noted as that.
    "observe.record:before_commit",
    "observe.record:after_commit",
    "notices.claim:after_commit",
    "notice.sink:before",
    "notice.sink:after",
    "notice.done:before_commit",
    "notice.done:after_commit",
    "notices.end:after_commit",
    # The orchestrator: it is kept with all that follows from it.
    "facts.keep:before_commit",
    "facts.keep:written",
    "facts.keep:after_commit",
)


async def told(traveller: Traveller, seller_id: str) -> list[str]:
    """Return what a seller has been told in its app."""
    connection = await asyncpg.connect(plain_dsn(traveller.suite.database_url("orchestrator")))
    try:
        rows = await connection.fetch(
            "SELECT kind FROM notifications WHERE recipient_kind = 'SELLER' AND recipient_id = $1", seller_id
        )
    finally:
        await connection.close()
    return sorted(row["kind"] for row in rows)


async def test_a_seller_is_told_of_what_stripe_wants_and_of_a_payout_that_failed_once_each(
    traveller: Traveller,
) -> None:
    seller_id = f"seller_{''.join(secrets.choice(string.ascii_lowercase) for _ in range(12))}"
    put = sellers_pb2.PutSellerAccountRequest(
        request_id=new_request_id(), seller_id=seller_id, country_code="CH", email="seller@example.ch"
    )
    account_id = (await traveller.shop.sellers.PutSellerAccount(put)).account.stripe_account_id
    await traveller.sandbox.require(account_id, ["individual.verification.document"], deadline_s=86_400)
    payout = await traveller.sandbox.pay_out(account_id, amount=8_500, currency="chf")
    await traveller.sandbox.move_payout(payout["id"], "failed")

    async def is_told() -> bool:
        return await told(traveller, seller_id) == ["ONBOARDING_REQUIRED", "PAYOUT_FAILED"]

    await eventually(is_told)


@pytest.mark.soak
async def test_a_dispute_is_told_once_wherever_a_process_dies_on_the_way() -> None:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="batzen-notices-")))
        folder.chmod(0o711)
        server = quick_postgres(folder / "postgres")
        await asyncio.to_thread(server.start)
        stack.push_async_callback(asyncio.to_thread, server.stop)
        storage = Storage(admin_url=server.admin_url, passwords=folder / "passwords.json", prefix="notices_")
        forks = await stack.enter_async_context(ForkServer())
        rig = await stack.enter_async_context(rigged(storage, forks, ports=free_ports()))
        for position in POSITIONS:
            rig.arm(position)
            assert await struck(rig, "dispute"), f"{position} is not passed"
