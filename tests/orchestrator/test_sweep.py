"""The sweep and the commands as a process runs them: on their own, side by side, and to an orderly end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from services.orchestrator.domain import ABANDONED_AFTER
from services.runtime import calls
from tests.orchestrator.conftest import Journeys, Orchestrator, World
from tests.orchestrator.mortal import asked_by_shop
from tests.orchestrator.samples import CANCEL, CONFIRM, Clock, state_of, submit

WITHIN_S = 10.0


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
    await journeys.stripe.fault("pause", route=CANCEL.replace("{intent}", intent["id"]))
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
        assert state_of(await journeys.payment(slow_id)) == "REQUIRES_PAYMENT_METHOD"
        await journeys.stripe.resume()

        async def is_expired() -> bool:
            return state_of(await journeys.payment(slow_id)) == "EXPIRED"

        await until(is_expired)


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
        with calls.acting_for("main"):
            request = asked_by_shop(asked, payment_id, command=asked.SerializeToString())
            waiting = asyncio.ensure_future(ending.parts.commands.on_payment(request, payer_id=None))
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
