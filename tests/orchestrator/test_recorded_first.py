"""What follows from an observation is recorded by status before it is saved: what if the process dies in between."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from batzen.status.v1 import status_pb2
from services.errors import PeerUnavailable
from services.orchestrator.domain.plan import Plan, Transition
from services.orchestrator.domain.policies import RETRY_MAX
from services.orchestrator.peers import Peers
from services.orchestrator.peers.status import Status
from services.orchestrator.wire.payments import snapshot_message
from services.orchestrator.wiring import Parts
from tests.orchestrator.conftest import Journeys, Orchestrator
from tests.orchestrator.crash_injection import ask, mortal_orchestrator, parts_of
from tests.orchestrator.lives import Died, Life, Lives
from tests.orchestrator.samples import DECLINED, OPENED, PAID, cancel, new_id, refused, start, state_of, submit

BACK_MINOR = 1_000
CEILINGS = {
    "statements": ["start", "save", "accept", "save"],
    "pricing": ["create_quote"],
    "gateway": ["not_chargeable", "create_intent", "confirm_intent"],
    "status": ["open_payment", "record", "record"],
}
"""What one payment takes, of which each statement commits by itself. It may only become less."""


async def test_one_payment_takes_no_more_statements_and_calls_than_it_did(
    replica: Orchestrator, journeys: Journeys
) -> None:
    life = Life(ends_at=0)
    async with mortal_orchestrator(replica, life) as (parts, _):
        payment_id = (await ask(parts, start())).session.payment.payment_id  # type: ignore[attr-defined]
        await ask(parts, submit(payment_id))
    assert await journeys.states(payment_id) == PAID
    asked = [name for name, _ in life.asked if name != "renew"]  # however slow this machine is
    expected = [name for names in CEILINGS.values() for name in names]
    assert sorted(asked) == sorted(expected)


@pytest.mark.parametrize("next_one", ["repeat", "sweep", "cancel"])
async def test_a_submit_that_died_and_of_which_more_was_seen_since(
    next_one: str, replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, lives: Lives
) -> None:
    """Money went back at Stripe, or none came yet: each thing is in the history once, and in its order."""
    for life in lives():
        payment_id = await journeys.started()
        asked = submit(payment_id)
        async with mortal_orchestrator(replica, life) as (parts, _):
            await ask(parts, asked)
        if await journeys.charges(payment_id):
            [intent] = await journeys.intents(payment_id)
            await journeys.stripe.refund(intent["id"], amount=BACK_MINOR)
            await journeys.deliver(await journeys.synced(payment_id))
            ends = ["SUCCEEDED", "PARTIALLY_REFUNDED"]
            if next_one == "cancel":
                assert (await refused(orchestrator.CancelPayment(cancel(payment_id)))).reason == "PAYMENT_STATE"
        else:
            ends = ["SUCCEEDED"]
        if next_one != "repeat":
            await replica.sweep()
        await orchestrator.SubmitPayment(asked)
        await replica.sweep()
        # Where the process died before it said that money came, nobody saw the time before it went back.
        states = await journeys.states(payment_id)
        assert states in ([*OPENED, "PROCESSING", *ends], [*OPENED, "PROCESSING", ends[-1]]), life.place
        await nothing_is_wrong(journeys, payment_id, life.place)


async def test_a_declined_submit_that_died_is_tried_again_by_another(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, lives: Lives
) -> None:
    for life in lives():
        payment_id = await journeys.started()
        asked = submit(payment_id, DECLINED)
        async with mortal_orchestrator(replica, life) as (parts, _):
            await ask(parts, asked)
        await replica.sweep()
        await orchestrator.SubmitPayment(asked)
        assert state_of((await orchestrator.SubmitPayment(submit(payment_id))).payment) == "SUCCEEDED", life.place
        assert await journeys.states(payment_id) == [*OPENED, "PROCESSING", OPENED[-1], "PROCESSING", "SUCCEEDED"]
        await nothing_is_wrong(journeys, payment_id, life.place)


async def test_a_start_that_died_is_cancelled(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, lives: Lives
) -> None:
    for life in lives():
        asked = start()
        async with mortal_orchestrator(replica, life) as (parts, _):
            await ask(parts, asked)
        payment_id = (await orchestrator.StartPayment(asked)).session.payment.payment_id
        await orchestrator.CancelPayment(cancel(payment_id))
        assert await journeys.states(payment_id) == [*OPENED, "CANCELED"], life.place
        await nothing_is_wrong(journeys, payment_id, life.place)


async def nothing_is_wrong(journeys: Journeys, payment_id: str, place: str) -> None:
    assert not (await journeys.payment(payment_id)).snapshot.HasField("attention"), place
    steps = (await journeys.plan(payment_id)).pending_steps
    assert [step for step in steps if step.startswith("record")] == [], place


class Interposed:
    """Status, with something that happens before a call of a name is made for the n-th time."""

    def __init__(self, real: Status, name: str, happens: Callable[..., Awaitable[None]], *, times: set[int]) -> None:
        self._real = real
        self._name = name
        self._happens = happens
        self._times = times
        self._made = 0

    def __getattr__(self, name: str) -> Any:
        async def call(*arguments: Any) -> Any:
            if name == self._name:
                self._made += 1
                if self._made in self._times:
                    await self._happens(*arguments)
            return await getattr(self._real, name)(*arguments)

        return call


def with_status(replica: Orchestrator, name: str, happens: Callable[..., Awaitable[None]], *, times: set[int]) -> Parts:
    real = replica.parts.peers
    status: Any = Interposed(real.status, name, happens, times=times)
    return parts_of(
        replica, store=replica.parts.store, peers=Peers(pricing=real.pricing, status=status, gateway=real.gateway)
    )


async def away(*_: Any) -> None:
    raise PeerUnavailable(dependency="status")


@pytest.mark.parametrize("times", [{1}, {2}, {1, 2}, {1, 2, 3}], ids=str)
async def test_status_is_away_for_a_part_of_a_submit(
    times: set[int], replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await journeys.started()
    asked = submit(payment_id)
    await ask(with_status(replica, "record", away, times=times), asked)
    replica.world.clock.advance(RETRY_MAX)
    await replica.sweep()
    assert state_of((await orchestrator.SubmitPayment(asked)).payment) == "SUCCEEDED"
    assert await journeys.states(payment_id) == PAID
    assert len(await journeys.charges(payment_id)) == 1
    await nothing_is_wrong(journeys, payment_id, "")


async def test_status_is_away_when_a_start_opens_the_payment(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    asked = start()
    with pytest.raises(PeerUnavailable):
        await ask(with_status(replica, "open_payment", away, times={1}), asked)
    replica.world.clock.advance(RETRY_MAX)
    await replica.sweep()
    payment_id = (await orchestrator.StartPayment(asked)).session.payment.payment_id
    assert await journeys.states(payment_id) == OPENED
    assert len(await journeys.intents(payment_id)) == 1
    await nothing_is_wrong(journeys, payment_id, "")


async def test_who_is_overtaken_as_it_records_what_follows_goes_on_from_there(
    replica: Orchestrator, journeys: Journeys
) -> None:
    """Another holder had status record the same, of an observation that was older; its word is not said twice."""
    payment_id = await journeys.started()

    async def overtake(plan: Plan, transition: Transition) -> None:
        await journeys.status.RecordTransition(
            status_pb2.RecordTransitionRequest(
                request_id=new_id(),
                payment_id=plan.payment_id,
                expected_revision=plan.revision,
                snapshot=snapshot_message(transition.snapshot),
            )
        )

    answer = await ask(with_status(replica, "record", overtake, times={2}), submit(payment_id))
    assert state_of(answer.payment) == "SUCCEEDED"  # type: ignore[attr-defined]
    assert await journeys.states(payment_id) == PAID
    await nothing_is_wrong(journeys, payment_id, "")


async def test_a_step_that_was_decided_before_status_had_more_is_sent_all_the_same(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    """The process dies once money was recorded, before it is saved; status is away from the next one on."""
    payment_id = await journeys.started()
    asked = submit(payment_id)

    async def die(*_: Any) -> None:
        raise Died

    with pytest.raises(Died):
        await ask(with_saved(replica, die), asked)
    assert await journeys.states(payment_id) == PAID
    replica.world.clock.advance(RETRY_MAX)
    await ask(with_status(replica, "record", away, times={1, 2, 3, 4}), asked)
    replica.world.clock.advance(RETRY_MAX)
    await replica.sweep()
    assert (await journeys.states(payment_id))[:4] == PAID
    assert state_of((await orchestrator.SubmitPayment(asked)).payment) == "SUCCEEDED"
    await nothing_is_wrong(journeys, payment_id, "")


def with_saved(replica: Orchestrator, happens: Callable[..., Awaitable[None]]) -> Parts:
    """Return an orchestrator to which something happens before it saves an answer."""
    store: Any = Answering(replica.parts.store, happens)
    return parts_of(replica, store=store)


class Answering:
    """A store, with something that happens before a payment is released."""

    def __init__(self, real: Any, happens: Callable[..., Awaitable[None]]) -> None:
        self._real = real
        self._happens = happens
        self._is_over = False

    def __getattr__(self, name: str) -> Any:
        async def call(*arguments: Any, **named_arguments: Any) -> Any:
            if named_arguments.get("release"):
                self._is_over = True
            if self._is_over:
                await self._happens()
            return await getattr(self._real, name)(*arguments, **named_arguments)

        return call
