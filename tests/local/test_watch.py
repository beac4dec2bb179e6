"""The client's watch of a status service whose process is killed and started again; tests/batzen has the rest."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from batzen.client import Client, new_request_id
from batzen.status.v1.status_pb2 import OpenPaymentRequest, Payment, RecordTransitionRequest
from batzen.type.v1.money_pb2 import Money
from batzen.type.v1.payment_pb2 import PaymentSnapshot, PaymentState
from local.ports import free_ports
from local.postgres import EmbeddedPostgres
from local.storage import Storage
from local.suite import Suite
from tests.eventually import WITHIN_S
from tests.local.fast_suite import fast_suite

CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"


@pytest.fixture(scope="module")
async def suite(server: EmbeddedPostgres) -> AsyncIterator[Suite]:
    with tempfile.TemporaryDirectory(prefix="batzen-watch-") as folder:
        storage = Storage(admin_url=server.admin_url, passwords=Path(folder) / "passwords.json", prefix="watch_")
        async with fast_suite(Path(folder), ports=free_ports(), storage=storage) as running:
            yield running


@pytest.fixture
async def orchestrator(suite: Suite) -> AsyncIterator[Client]:
    async with suite.client("service", sub="orchestrator") as client:
        yield client


@pytest.fixture
async def payment(orchestrator: Client) -> Payment:
    request = OpenPaymentRequest(
        request_id=new_request_id(),
        payment_id="pay_" + "".join(secrets.choice(CROCKFORD) for _ in range(26)),
        payer_id="payer_1",
        total=Money(amount_minor=10_000, currency_code="CHF"),
    )
    return (await orchestrator.status.OpenPayment(request)).payment


async def _move(orchestrator: Client, payment: Payment, collection: PaymentState, *, revision: int) -> None:
    snapshot = PaymentSnapshot(collection=collection, cause=PaymentSnapshot.CAUSE_STEP)
    request = RecordTransitionRequest(
        request_id=new_request_id(), payment_id=payment.payment_id, expected_revision=revision, snapshot=snapshot
    )
    # A channel that met nobody rests before it looks again; how long, is gRPC's business and not the watch's.
    await orchestrator.status.RecordTransition(request, wait_for_ready=True)


async def test_a_watch_goes_on_where_it_was_when_status_is_killed(
    suite: Suite, orchestrator: Client, payment: Payment
) -> None:
    async with (
        suite.client("payer", sub="payer_1") as payer,
        asyncio.timeout(2 * WITHIN_S),
        payer.watch(payment.payment_id) as updates,
    ):
        opened = await anext(updates)
        await _move(orchestrator, payment, PaymentState.PAYMENT_STATE_REQUIRES_PAYMENT_METHOD, revision=1)
        waiting = await anext(updates)
        await suite.kill("status")
        await suite.start("status")
        await _move(orchestrator, payment, PaymentState.PAYMENT_STATE_CANCELED, revision=2)
        canceled = await anext(updates)

    assert [opened.revision, waiting.revision, canceled.revision] == [1, 2, 3]
    assert canceled.state == PaymentState.PAYMENT_STATE_CANCELED
