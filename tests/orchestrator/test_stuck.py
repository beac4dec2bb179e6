"""What does not move is listed by all that shows it, with what went wrong, and what may be decided."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from batzen.orchestrator.v1 import ops_pb2 as pb
from batzen.orchestrator.v1.ops_pb2_grpc import OrchestratorOpsServiceStub
from local.databases import ServiceDatabase
from services.orchestrator.domain.policies import PARKED_AFTER_TRIES
from services.orchestrator.domain.resolution import Resolution
from services.runtime.database.connections import plain_dsn
from tests.orchestrator.conftest import Journeys, Orchestrator
from tests.orchestrator.resolutions import resolve
from tests.orchestrator.samples import Clock, new_id, refused, submit, update
from tests.orchestrator.test_conflicts import told_to_be_paid

# Both go by the clock of the session, which other modules may have moved ahead of the database's: see `change`.
AGO = "{now} - interval '3 hours'"
LATER = "due_time = {now} + interval '1 day', work_class = 'MONEY'"

Change = Callable[[str, str], Awaitable[None]]


@pytest.fixture
async def ops(replica: Orchestrator) -> AsyncIterator[OrchestratorOpsServiceStub]:
    async with replica.connect_ops() as stub:
        yield stub


@pytest.fixture
async def rows(database: ServiceDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(plain_dsn(database.owner_url))
    yield connection
    await connection.close()


@pytest.fixture
def change(database: ServiceDatabase, clock: Clock) -> Change:
    """Return what changes a payment behind the orchestrator's back; `{now}` is what the orchestrator takes for now."""

    async def made(payment_id: str, changes: str) -> None:
        await update(database, payment_id, changes.format(now=f"'{clock.now().isoformat()}'::timestamptz"))

    return made


async def stuck(ops: OrchestratorOpsServiceStub, payment_id: str, **of: Any) -> pb.StuckPayment | None:
    """Return how a payment is listed, wherever it is."""
    token = ""
    while True:
        page = await ops.ListStuckPayments(pb.ListStuckPaymentsRequest(page_size=200, page_token=token, **of))
        for one in page.payments:
            if one.payment.payment_id == payment_id:
                return one
        token = page.next_page_token
        if not token:
            return None


async def test_what_moves_is_not_listed(ops: OrchestratorOpsServiceStub, journeys: Journeys) -> None:
    assert await stuck(ops, await journeys.paid()) is None
    assert await stuck(ops, await journeys.started()) is None


@pytest.mark.parametrize(
    "sign",
    [
        (f"failures = {PARKED_AFTER_TRIES}, create_time = {AGO}, {LATER}", "PARKED", ""),
        (
            "latest_snapshot = latest_snapshot || jsonb_build_object('reason', 'OUTCOME_UNKNOWN'), "
            f"create_time = {AGO}, {LATER}",
            "OUTCOME_UNKNOWN",
            "",
        ),
        (f"next_step = 'CAPTURE', next_time = {AGO}, {LATER}", "STEP_LATE", "CAPTURE"),
        (f"due_time = {AGO}, work_class = 'MONEY'", "OVERDUE", "EXPIRE"),
        (f"due_time = {AGO}, work_class = 'EXPIRY'", "OVERDUE", "EXPIRE"),
    ],
)
async def test_each_sign_is_seen_of_the_payment_itself(
    ops: OrchestratorOpsServiceStub,
    journeys: Journeys,
    change: Change,
    sign: tuple[str, str, str],
) -> None:
    changes, reason, step = sign
    payment_id = await journeys.started()
    await change(payment_id, changes)
    try:
        found = await stuck(ops, payment_id, age_min_s=3_600)
        assert found is not None
        assert (found.reason, [(one.reason, one.step) for one in found.causes]) == (reason, [(reason, step)])
        assert found.payment == await journeys.payment(payment_id)
        assert pb.RESOLUTION_TRY_NOW in found.resolutions
        assert pb.RESOLUTION_CANCEL in found.resolutions
        assert await stuck(ops, payment_id, reason=reason) == found
        assert await stuck(ops, payment_id, reason="QUOTE_DEAD") is None
        assert await stuck(ops, payment_id, age_min_s=86_400) is None
    finally:
        await change(payment_id, f"failures = 0, {LATER}, next_step = NULL, next_time = NULL")


async def test_all_that_waits_for_others_is_one_payment_with_its_last_error(
    ops: OrchestratorOpsServiceStub, journeys: Journeys, change: Change, rows: asyncpg.Connection
) -> None:
    payment_id = await journeys.started()
    await change(payment_id, f"problem = 'status is away', failures = 3, {LATER}")
    await rows.execute(
        """INSERT INTO requests (tenant_id, caller, method, request_id, request_hash, payment_id, command, state,
            create_time)
        VALUES ('main', 'shop', 'SubmitPayment', $1, '', $2, '', 'CALLING', now() - interval '5 hours')""",
        new_id(),
        payment_id,
    )
    await rows.execute(
        """INSERT INTO transitions (tenant_id, payment_id, request_id, fact, snapshot, create_time)
        VALUES ('main', $1, $2, 'step:submit', '{}', now() - interval '4 hours')""",
        payment_id,
        new_id(),
    )
    await rows.execute(
        """INSERT INTO quote_outbox (tenant_id, payment_id, quote_id, quote_state, dead_time, create_time)
        VALUES ('main', $1, 'quo_a', 'REDEEMED', now() - interval '2 hours', now())""",
        payment_id,
    )
    try:
        found = await stuck(ops, payment_id)
        assert found is not None
        assert [(one.reason, one.step) for one in found.causes] == [
            ("QUOTE_DEAD", "REDEEMED"),
            ("REQUEST_OPEN", "SubmitPayment"),
            ("NOT_RECORDED", "step:submit"),
        ]
        assert (found.reason, found.failures, found.last_error) == ("QUOTE_DEAD", 3, "status is away")
        assert found.stuck_time == found.causes[1].since_time
        assert found.HasField("next_try_time")
    finally:
        for table in ("requests", "transitions", "quote_outbox"):
            await rows.execute(f"DELETE FROM {table} WHERE payment_id = $1", payment_id)


async def test_what_was_refused_is_listed_until_it_is_given_up(
    replica: Orchestrator, ops: OrchestratorOpsServiceStub, journeys: Journeys
) -> None:
    payment_id = await journeys.started()
    await told_to_be_paid(journeys, payment_id)
    await journeys.orchestrator.SubmitPayment(submit(payment_id))
    await replica.sweep()
    found = await stuck(ops, payment_id)
    assert found is not None
    assert (found.reason, "TRANSITION_ILLEGAL" in found.causes[0].step) == ("TRANSITION_REFUSED", True)
    assert pb.RESOLUTION_GIVE_UP_TRANSITIONS in found.resolutions
    await ops.ResolvePayment(resolve(payment_id, Resolution.GIVE_UP_TRANSITIONS))
    assert await stuck(ops, payment_id) is None


async def test_the_longest_come_first_in_pages(
    ops: OrchestratorOpsServiceStub, journeys: Journeys, change: Change
) -> None:
    ids = [await journeys.started() for _ in range(3)]
    for place, payment_id in enumerate(ids):
        late = f"next_step = 'CHARGE', next_time = now() - interval '{400 - place} days', {LATER}"
        await change(payment_id, late)
    try:
        first = await ops.ListStuckPayments(pb.ListStuckPaymentsRequest(page_size=2))
        second = await ops.ListStuckPayments(pb.ListStuckPaymentsRequest(page_size=2, page_token=first.next_page_token))
        assert [one.payment.payment_id for one in (*first.payments, *second.payments)][:3] == ids
    finally:
        for payment_id in ids:
            await change(payment_id, f"{LATER}, next_step = NULL, next_time = NULL")
    for changes in ({"reason": "NOTHING"}, {"age_min_s": -1}):
        assert (await refused(ops.ListStuckPayments(pb.ListStuckPaymentsRequest(**changes)))).reason == "FIELD_INVALID"
    forged = pb.ListStuckPaymentsRequest(page_token="nonsense")
    assert (await refused(ops.ListStuckPayments(forged))).reason == "PAGE_TOKEN_INVALID"
