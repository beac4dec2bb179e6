"""A process that stalls over a call, before Stripe did it or after, leaves it to whoever comes next: done once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import pytest
from google.protobuf.message import Message

from batzen.gateway.v1 import payer_pb2
from sandbox.control import SandboxControl
from services.runtime.database.lease import LEASE
from tests.clock import Clock
from tests.gateway.samples import CANCEL, CAPTURE, CONFIRM, SETUP_CONFIRM, Payments, new_id
from tests.gateway.stubs import GatewayStubs

PART_MINOR: Final = 4_000


@pytest.fixture(scope="module")
async def other(start_gateway: Callable[[], Any]) -> AsyncIterator[GatewayStubs]:
    """Another replica on the same database."""
    async with start_gateway() as replica, replica.connect() as stubs:
        yield stubs


async def capturing(payments: Payments) -> tuple[str, Message]:
    payment_id = await payments.held()
    return payment_id, payments.capture_request(payment_id, PART_MINOR)


async def releasing(payments: Payments) -> tuple[str, Message]:
    payment_id = await payments.held()
    return payment_id, payments.cancel_request(payment_id)


async def keeping(payments: Payments) -> tuple[str, Message]:
    payment_id = await payments.created(setup_only=True)
    return payment_id, payments.confirm_request(payment_id)


async def charging(payments: Payments) -> tuple[str, Message]:
    payer = payer_pb2.Payer(payer_id=new_id("payer"))
    payment_id = await payments.kept(payer=payer)
    method_id = (await payments.seen(payment_id)).method.payment_method_id
    await payments.created(payment_id=payment_id, attempt=2, payer=payer)
    request = payments.confirm_request(payment_id, attempt=2, payment_method_id=method_id, off_session=True)
    return payment_id, request


async def captured_minor(payments: Payments, payment_id: str) -> list[int]:
    return [charge["amount_captured"] for charge in await payments.charges(payment_id)]


async def kept(payments: Payments, payment_id: str) -> list[str]:
    return [setup["status"] for setup in await payments.setups(payment_id)]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("route", "rpc", "prepared", "looked_at", "there"),
    [
        (CAPTURE, "CaptureIntent", capturing, captured_minor, [PART_MINOR]),
        (CANCEL, "CancelIntent", releasing, captured_minor, [0]),
        (SETUP_CONFIRM, "ConfirmIntent", keeping, kept, ["succeeded"]),
        (CONFIRM, "ConfirmIntent", charging, captured_minor, [10_000]),
    ],
    ids=["capture", "release", "setup", "off-session"],
)
async def test_what_a_stalled_process_began_is_done_once(  # noqa: PLR0917 fixtures and cases
    payments: Payments,
    other: GatewayStubs,
    stripe: SandboxControl,
    clock: Clock,
    route: str,
    rpc: str,
    prepared: Callable[[Payments], Awaitable[tuple[str, Message]]],
    looked_at: Callable[[Payments, str], Awaitable[list[object]]],
    there: list[object],
    *,
    after: bool,
) -> None:
    payment_id, request = await prepared(payments)
    await stripe.fault("pause", route=route, after=after)
    late = asyncio.ensure_future(getattr(payments.gateway, rpc)(request))
    await stripe.until_paused()
    clock.advance(LEASE)  # as if the first process had died: its lease is anybody's

    taken_over = asyncio.ensure_future(getattr(other, rpc)(request))
    await stripe.resume()
    answers = await asyncio.gather(late, taken_over)

    assert answers[0].observation == answers[1].observation
    assert not answers[0].observation.outcome_unknown
    assert await looked_at(payments, payment_id) == there
