"""The sweep and the commands as a process runs them: on their own, side by side, and to an orderly end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from local.databases import ServiceDatabase
from services.orchestrator.domain.policies import ABANDONED_AFTER, RETRY_MAX
from services.runtime.database.connections import plain_dsn
from services.runtime.rpc import call_context
from services.runtime.work.dead_letters import depth
from services.runtime.work.kinds import SLOTS, WorkClass
from tests.eventually import WITHIN_S
from tests.orchestrator.conftest import Journeys, Orchestrator, World
from tests.orchestrator.crash_injection import ask
from tests.orchestrator.samples import CANCEL, CONFIRM, Clock, state_of, submit, update

STATISTICS_LAST_S = 11.0
"""What a connection did before it had nothing more to do is counted after ten seconds of that."""


async def until(is_so: Callable[[], Awaitable[bool]]) -> None:
    """Ask until it is so."""
    async with asyncio.timeout(WITHIN_S):
        while not await is_so():
            pass


async def test_a_delivery_is_applied_at_once(replica: Orchestrator, journeys: Journeys) -> None:
    payment_id = await journeys.started()
    [intent] = await journeys.intents(payment_id)
    await journeys.stripe.succeed(intent["id"])
    seen = await journeys.synced(payment_id)
    async with replica.parts.work.running(grace_s=0):
        await journeys.deliver(seen)

        async def is_paid() -> bool:
            return state_of(await journeys.payment(payment_id)) == "SUCCEEDED"

        await until(is_paid)


async def test_a_payment_that_waits_for_stripe_keeps_no_other_waiting(
    replica: Orchestrator, journeys: Journeys, clock: Clock
) -> None:
    slow_id = await journeys.started()
    [intent] = await journeys.intents(slow_id)
    await journeys.stripe.fault("pause", route=CANCEL.replace("{intent}", intent["id"]), times=None)
    clock.advance(ABANDONED_AFTER)
    async with replica.parts.work.running(grace_s=0):
        await until(journeys.is_faulty)
        quick_id = await journeys.started()
        [intent] = await journeys.intents(quick_id)
        await journeys.stripe.succeed(intent["id"])
        await journeys.deliver(await journeys.synced(quick_id))

        async def is_paid() -> bool:
            return state_of(await journeys.payment(quick_id)) == "SUCCEEDED"

        await until(is_paid)
        assert state_of(await journeys.payment(slow_id)) != "EXPIRED"
        await journeys.stripe.clear_faults()
        await journeys.stripe.resume()

        async def is_expired() -> bool:
            return state_of(await journeys.payment(slow_id)) == "EXPIRED"

        await until(is_expired)


@pytest.mark.faults
async def test_who_has_paid_does_not_wait_for_the_ends_of_the_abandoned_however_many_and_slow(
    replica: Orchestrator, journeys: Journeys, clock: Clock
) -> None:
    abandoned = [await journeys.started() for _ in range(SLOTS[WorkClass.EXPIRIES] * 6)]
    clock.advance(ABANDONED_AFTER)
    quick_id = await journeys.started()
    await journeys.stripe.fault("slow", route=CANCEL, times=None, seconds=0.9)

    async def is_ending() -> bool:
        running = (await depth(replica.held, replica.parts.sweep.kinds[1], shift=clock.shift)).running
        return running == SLOTS[WorkClass.EXPIRIES]

    async def states() -> set[str]:
        return {state_of(await journeys.payment(payment_id)) for payment_id in abandoned}

    async with replica.parts.work.running():
        await until(is_ending)
        [intent] = await journeys.intents(quick_id)
        await journeys.stripe.succeed(intent["id"])
        await journeys.deliver(await journeys.synced(quick_id))

        async def is_paid() -> bool:
            return state_of(await journeys.payment(quick_id)) == "SUCCEEDED"

        await until(is_paid)
        assert "REQUIRES_PAYMENT_METHOD" in await states()  # their turn is not over yet
        await journeys.stripe.clear_faults()

        async def are_expired() -> bool:
            return await states() == {"EXPIRED"}

        await until(are_expired)


@pytest.mark.parametrize("said", ['{"of": "another version"}', '"text"'])
async def test_a_payment_whose_row_cannot_be_read_rests_and_keeps_no_other_still(
    said: str, replica: Orchestrator, journeys: Journeys, clock: Clock, database: ServiceDatabase
) -> None:
    poison_id, whole_id = await journeys.started(), await journeys.started()
    kept = await value(database, poison_id, "latest_snapshot")
    await update(database, poison_id, f"latest_snapshot = '{said}'")
    clock.advance(ABANDONED_AFTER)
    failures = 0
    for _ in range(2):
        before = failures
        await replica.sweep()
        failures = await value(database, poison_id, "failures")
        assert failures > before  # by one, unless the machine is so busy that the first rest is over in one sweep
        assert await value(database, poison_id, "problem") is not None
        assert await value(database, poison_id, "dead_time") is None
        clock.advance(RETRY_MAX)
    assert state_of(await journeys.payment(whole_id)) == "EXPIRED"

    await update(database, poison_id, f"latest_snapshot = '{kept}'")
    clock.advance(RETRY_MAX)
    await replica.sweep()
    assert state_of(await journeys.payment(poison_id)) == "EXPIRED"
    assert await value(database, poison_id, "failures") == 0


async def value(database: ServiceDatabase, payment_id: str, column: str) -> Any:
    """Return what the orchestrator keeps of a payment."""
    connection = await asyncpg.connect(plain_dsn(database.owner_url))
    try:
        return await connection.fetchval(f"SELECT {column} FROM payments WHERE payment_id = $1", payment_id)
    finally:
        await connection.close()


async def test_a_sweep_that_is_stopped_lets_go_what_it_holds(
    replica: Orchestrator, journeys: Journeys, clock: Clock
) -> None:
    payment_id = await journeys.started()
    await journeys.stripe.fault("pause", route=CANCEL)
    clock.advance(ABANDONED_AFTER)
    async with replica.parts.work.running(grace_s=0):
        await until(journeys.is_faulty)
    await journeys.stripe.resume()
    # Nobody has to wait for the lease of a process that ended in order.
    await replica.sweep()
    assert state_of(await journeys.payment(payment_id)) == "EXPIRED"


async def test_a_process_that_ends_lets_go_what_it_was_asked(
    world: World, replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await journeys.started()
    asked = submit(payment_id)
    await journeys.stripe.fault("pause", route=CONFIRM)
    async with world.orchestrator() as ending:
        with call_context.acting_for("main"):
            waiting = asyncio.ensure_future(ask(ending.parts, asked))
        await until(journeys.is_faulty)
    assert waiting.done()
    await journeys.stripe.resume()
    await replica.sweep()
    assert state_of((await orchestrator.SubmitPayment(asked)).payment) == "SUCCEEDED"
    assert len(await journeys.charges(payment_id)) == 1
    await asyncio.gather(waiting, return_exceptions=True)


async def test_a_payment_that_cannot_be_moved_keeps_none_of_the_others_still(
    replica: Orchestrator, journeys: Journeys, clock: Clock
) -> None:
    """What is stored of one cannot be read, as after a release that was taken back."""
    broken_id, whole_id = await journeys.started(), await journeys.started()
    seen = await journeys.seen(broken_id)
    seen.mirror_version += 1
    await replica.parts.store.observe("main", broken_id, mirror_version=seen.mirror_version, observation=b"\xff")
    clock.advance(ABANDONED_AFTER)
    await replica.sweep()
    assert state_of(await journeys.payment(whole_id)) == "EXPIRED"
    assert (await journeys.plan(broken_id)).pending_steps == []
