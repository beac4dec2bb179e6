"""Status has more of a payment than was saved, and whoever goes on holds an observation that is older than that.

What a holder had recorded of an observation, and could not save, is only known to status. An older observation that
was delivered or read meanwhile must not take the payment back to where it stood before.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from batzen.gateway.v1 import observation_pb2
from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from local.databases import ServiceDatabase
from services.errors import PeerUnavailable
from services.orchestrator.domain.payment import OUTCOME_NOT_RECORDED_YET
from services.orchestrator.domain.policies import RETRY_MAX
from services.orchestrator.peers import Peers
from services.orchestrator.wiring import Parts
from services.runtime.database.connections import plain_dsn
from services.runtime.database.lease import LEASE
from tests.eventually import eventually
from tests.orchestrator.conftest import Journeys, Orchestrator, World
from tests.orchestrator.crash_injection import ask, parts_of
from tests.orchestrator.lives import Died
from tests.orchestrator.samples import OPENED, PAID, THREE_D_SECURE, VISA, cancel, state_of, submit
from tests.orchestrator.test_recorded_first import away, nothing_is_wrong, with_saved, with_status

STATES = {THREE_D_SECURE: [*OPENED, "PROCESSING", "REQUIRES_ACTION"], VISA: PAID}
"""What a submit of a card leads to."""


async def die(*_: Any) -> None:
    raise Died


async def declined_in_the_browser(
    journeys: Journeys, database: ServiceDatabase, payment_id: str
) -> observation_pb2.PaymentObservation:
    """Return what the gateway saw of a payer's first try, of which the orchestrator has not heard yet."""
    [intent] = await journeys.intents(payment_id)
    await journeys.stripe.force(intent["id"], "declined", payment_method="pm_card_chargeDeclined")
    seen = await journeys.synced(payment_id)
    await is_delivered(database, payment_id, seen)
    return seen


async def is_delivered(database: ServiceDatabase, payment_id: str, seen: observation_pb2.PaymentObservation) -> None:
    """Wait for the gateway to deliver, and have it come later: as of a delivery that is slow."""
    async with connected(database) as connection:

        async def put_off() -> bool:
            return bool(
                await connection.fetchval(
                    "UPDATE payments SET observed_version = 0, observation = NULL, due_time = NULL "
                    "WHERE payment_id = $1 AND observed_version = $2 RETURNING true",
                    payment_id,
                    seen.mirror_version,
                )
            )

        await eventually(put_off)


@asynccontextmanager
async def connected(database: ServiceDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(plain_dsn(database.owner_url))
    try:
        yield connection
    finally:
        await connection.close()


@pytest.mark.parametrize("card", STATES)
@pytest.mark.parametrize("is_status_away", [False, True])
async def test_what_was_delivered_late_takes_nothing_back(
    is_status_away: bool, card: str, database: ServiceDatabase, replica: Orchestrator, journeys: Journeys
) -> None:
    """The process dies once status has the outcome; then the payer's try before that is delivered."""
    payment_id = await journeys.started()
    older = await declined_in_the_browser(journeys, database, payment_id)
    asked = submit(payment_id, card)
    with pytest.raises(Died):
        await ask(with_saved(replica, die), asked)
    assert await journeys.states(payment_id) == STATES[card]
    await journeys.deliver(older)
    replica.world.clock.advance(LEASE)
    if is_status_away:
        await ask(with_status(replica, "record", away, times={1, 2, 3, 4}), asked)
    replica.world.clock.advance(RETRY_MAX)
    await replica.sweep()
    assert state_of((await journeys.orchestrator.SubmitPayment(asked)).payment) == STATES[card][-1]
    assert await journeys.states(payment_id) == STATES[card]
    await nothing_is_wrong(journeys, payment_id, "")


async def test_while_the_gateway_cannot_say_what_is_newest_nothing_is_answered(
    database: ServiceDatabase, replica: Orchestrator, journeys: Journeys
) -> None:
    payment_id = await journeys.started()
    older = await declined_in_the_browser(journeys, database, payment_id)
    asked = submit(payment_id, THREE_D_SECURE)
    with pytest.raises(Died):
        await ask(with_saved(replica, die), asked)
    await journeys.deliver(older)
    replica.world.clock.advance(LEASE)
    answer = await ask(with_silent_gateway(replica), asked)
    assert answer.payment.snapshot.reason == OUTCOME_NOT_RECORDED_YET  # type: ignore[attr-defined]
    replica.world.clock.advance(RETRY_MAX)
    assert state_of((await journeys.orchestrator.SubmitPayment(asked)).payment) == "REQUIRES_ACTION"
    await replica.sweep()
    assert await journeys.states(payment_id) == STATES[THREE_D_SECURE]
    await nothing_is_wrong(journeys, payment_id, "")


def with_silent_gateway(replica: Orchestrator) -> Parts:
    """Return an orchestrator whose gateway says nothing of what it knows, and does what it is asked to do."""
    real = replica.parts.peers
    gateway: Any = Silent(real.gateway)
    return parts_of(
        replica, store=replica.parts.store, peers=Peers(pricing=real.pricing, status=real.status, gateway=gateway)
    )


class Silent:
    def __init__(self, real: Any) -> None:
        self._real = real

    async def intent(self, _: str) -> None:
        raise PeerUnavailable(dependency="gateway")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


@pytest.mark.parametrize("card", STATES)
async def test_a_database_that_lost_a_submit_takes_nothing_back(
    card: str, database: ServiceDatabase, replica: Orchestrator, journeys: Journeys
) -> None:
    """Status and gateway have it. What is delivered next is older, and nobody asks for the submit again."""
    payment_id = await journeys.started()
    older = await declined_in_the_browser(journeys, database, payment_id)
    kept = "latest_snapshot, revision, mirror_version, stage, next_step, next_time"
    async with connected(database) as connection:
        before = await connection.fetchrow(f"SELECT {kept} FROM payments WHERE payment_id = $1", payment_id)
        await journeys.orchestrator.SubmitPayment(submit(payment_id, card))
        assert await journeys.states(payment_id) == STATES[card]
        await connection.execute(
            f"UPDATE payments SET ({kept}) = ($2, $3, $4, $5, $6, $7) WHERE payment_id = $1",
            payment_id,
            *before,
        )
        await connection.execute("DELETE FROM requests WHERE payment_id = $1 AND method = 'SubmitPayment'", payment_id)
    await journeys.deliver(older)
    await replica.sweep()
    assert await journeys.states(payment_id) == STATES[card]
    await nothing_is_wrong(journeys, payment_id, "")


async def status_loses_the_last(world: World, payment_id: str) -> None:
    """Put a payment in status back by one revision, as a failover to a standby that lagged does."""
    async with connected(world.status_database) as connection:
        await connection.execute(
            "DELETE FROM transitions t USING payments p WHERE p.payment_id = $1 AND t.payment_id = p.payment_id "
            "AND t.revision = p.revision",
            payment_id,
        )
        await connection.execute(
            "UPDATE payments p SET revision = t.revision, collection = t.state, state = t.state, settled = false, "
            "snapshot = t.snapshot, complete_time = NULL "
            "FROM transitions t WHERE p.payment_id = $1 AND t.payment_id = $1 AND t.revision = p.revision - 1",
            payment_id,
        )


@pytest.mark.parametrize("role", ["payer", "service"])
async def test_what_status_lost_is_recorded_again_when_the_payment_is_synced(
    role: str, world: World, replica: Orchestrator, as_payer: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await journeys.paid()
    await status_loses_the_last(world, payment_id)
    assert await journeys.states(payment_id) == PAID[:-1]
    stub = as_payer if role == "payer" else journeys.orchestrator
    answer = await stub.SyncPayment(pb.SyncPaymentRequest(payment_id=payment_id))
    assert state_of(answer.payment) == "SUCCEEDED"
    assert await journeys.states(payment_id) == PAID
    await replica.sweep()
    assert await journeys.states(payment_id) == PAID
    await nothing_is_wrong(journeys, payment_id, "")


async def test_a_cancel_of_what_is_cancelled_records_again_what_status_lost(world: World, journeys: Journeys) -> None:
    payment_id = await journeys.started()
    await journeys.orchestrator.CancelPayment(cancel(payment_id))
    await status_loses_the_last(world, payment_id)
    answer = await journeys.orchestrator.CancelPayment(cancel(payment_id))
    assert state_of(answer.payment) == "CANCELED"
    assert await journeys.states(payment_id) == [*OPENED, "CANCELED"]
