"""Recent payments are looked through by themselves: what stays wrong is shown, what is mended goes, a round goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import pytest
from grpc import aio

from batzen.orchestrator.v1 import ops_pb2
from local.databases import ServiceDatabase
from local.postgres import EmbeddedPostgres
from services.orchestrator.diagnosis.metrics import DiagnosisMetrics
from services.orchestrator.diagnosis.round import CONFIRMED_AFTER, EVERY, ON_ITS_WAY_MAX
from services.orchestrator.diagnosis.round_store import RoundStore
from services.orchestrator.diagnosis.rounds import Rounds
from services.runtime.database.connections import plain_dsn
from services.runtime.observability.metrics import Meter
from services.runtime.process.lifecycle import utc_now
from tests.eventually import eventually
from tests.metrics import Figures
from tests.orchestrator.conftest import Journeys, Orchestrator, World
from tests.orchestrator.planting import gardener
from tests.orchestrator.samples import new_payment_id
from tests.refusals import details_of

SHOWN = "batzen_diagnosis_disagreements"
REVISION = "STATUS_REVISION"


@dataclass(slots=True)
class Doctor:
    """Rounds through payments that were opened a moment ago, of a process of its own."""

    replica: Orchestrator
    connection: asyncpg.Connection
    begin_time: datetime = field(default_factory=utc_now)
    """By status's clock, which no test moves: payments that were opened before are other tests'."""
    meter: Meter = field(default_factory=Meter)
    metrics: DiagnosisMetrics = field(init=False)

    def __post_init__(self) -> None:
        self.metrics = DiagnosisMetrics(self.meter)

    def rounds(self) -> Rounds:
        """Return rounds at one moment: as time goes on, the first payments of a test would be too old for them."""
        diagnoses, world = self.replica.parts.diagnoses, self.replica.world
        at = world.clock.now()
        return Rounds(
            RoundStore(self.replica.held, clock=world.clock),
            diagnoses.examiner,
            self.replica.parts.peers.status,
            diagnoses.examinations,
            now=lambda: at,
            recent=at - self.begin_time,
            metrics=self.metrics,
        )

    async def round(self) -> None:
        """Take a round from where it is to its end."""
        await self.replica.parts.diagnoses.rounds.find_tenants()
        finished = await self.finish_time()
        engine = self.replica.engine(self.rounds().kind)

        async def is_done() -> bool:
            await self.connection.execute(
                "UPDATE diagnosis_rounds SET due_time = now() + $1::interval WHERE tenant_id = 'main'",
                self.replica.world.clock.shift,
            )
            await engine.once()
            return await self.finish_time() != finished

        await eventually(is_done, what="a round comes to its end")

    async def finish_time(self) -> Any:
        return await self.connection.fetchval("SELECT finish_time FROM diagnosis_rounds WHERE tenant_id = 'main'")

    async def due_in(self) -> timedelta:
        found: timedelta = await self.connection.fetchval(
            "SELECT due_time - now() - $1::interval FROM diagnosis_rounds WHERE tenant_id = 'main'",
            self.replica.world.clock.shift,
        )
        return found

    async def found(self, payment_id: str) -> list[str]:
        rows = await self.connection.fetch(
            "SELECT check_name FROM diagnosis_findings WHERE payment_id = $1 ORDER BY 1", payment_id
        )
        return [row["check_name"] for row in rows]

    async def listed(self) -> list[ops_pb2.FoundDisagreement]:
        """Return all that an operator is shown, in pages of one."""
        found: list[ops_pb2.FoundDisagreement] = []
        request = ops_pb2.ListDisagreementsRequest(page_size=1)
        async with self.replica.connect_ops() as ops:
            while True:
                answer = await ops.ListDisagreements(request)
                found += answer.disagreements
                request.page_token = answer.next_page_token
                if not request.page_token:
                    assert answer.HasField("finish_time")
                    return found

    async def shown(self) -> Figures:
        await self.rounds().look()
        return Figures.read(await self.meter.text())


@pytest.fixture
async def doctor(replica: Orchestrator, database: ServiceDatabase) -> AsyncIterator[Doctor]:
    connection = await asyncpg.connect(plain_dsn(database.owner_url))
    await connection.execute("DELETE FROM diagnosis_findings")
    await connection.execute("DELETE FROM diagnosis_rounds")
    made = Doctor(replica, connection)
    yield made
    await connection.close()


@asynccontextmanager
async def planted(
    postgres: EmbeddedPostgres, database: ServiceDatabase, payment_id: str, sql: str
) -> AsyncIterator[None]:
    names: Mapping[str, str] = {"orchestrator": database.name}
    async with (
        gardener(postgres, names, payment_id=payment_id, quote_id="") as planter,
        planter.planted("orchestrator", sql),
    ):
        yield


async def test_what_is_wrong_is_shown_once_it_stays_so_and_goes_once_it_is_mended(
    postgres: EmbeddedPostgres, database: ServiceDatabase, world: World, journeys: Journeys, doctor: Doctor
) -> None:
    fine, wrong = await journeys.paid(), await journeys.paid()
    async with planted(
        postgres,
        database,
        wrong,
        "UPDATE payments SET revision = revision - 1, due_time = NULL WHERE payment_id = :payment",
    ):
        await doctor.round()
        assert await doctor.found(wrong) == [REVISION]
        assert (await doctor.shown()).of(SHOWN, check=REVISION) == 0, "it may be a moment between two"
        assert timedelta() < await doctor.due_in() <= CONFIRMED_AFTER, "what is new is looked at again soon"

        world.clock.advance(CONFIRMED_AFTER + timedelta(seconds=5))
        await doctor.round()
        during = (await doctor.shown()).of(SHOWN, check=REVISION)
        assert during >= 1
        [listed] = [one for one in await doctor.listed() if one.payment_id == wrong]
        assert (listed.check, listed.stands, listed.waits) == (REVISION, True, False)
        assert listed.last_time.seconds - listed.first_time.seconds >= CONFIRMED_AFTER.total_seconds()
        assert CONFIRMED_AFTER < await doctor.due_in() <= EVERY * 1.2

    await doctor.round()

    assert await doctor.found(wrong) == await doctor.found(fine) == []
    figures = await doctor.shown()
    assert figures.of(SHOWN, check=REVISION) == during - 1
    assert figures.of("batzen_diagnosis_payments_total", outcome="disagrees") >= 2
    assert figures.of("batzen_diagnosis_payments_total", outcome="agrees") >= 2


async def test_what_waits_counts_once_it_has_waited_for_too_long(
    postgres: EmbeddedPostgres, database: ServiceDatabase, world: World, journeys: Journeys, doctor: Doctor
) -> None:
    payment_id = await journeys.paid()
    due = "UPDATE payments SET revision = revision - 1, due_time = '2020-01-01' WHERE payment_id = :payment"
    async with planted(postgres, database, payment_id, due):
        await doctor.round()
        world.clock.advance(CONFIRMED_AFTER + timedelta(seconds=5))
        await doctor.round()
        assert await doctor.found(payment_id) == [REVISION]
        before = (await doctor.shown()).of(SHOWN, check=REVISION)  # it is due, and may be moved any moment

        world.clock.advance(ON_ITS_WAY_MAX)
        await doctor.round()
        assert (await doctor.shown()).of(SHOWN, check=REVISION) == before + 1


async def test_a_payment_without_a_plan_is_found_by_those_who_have_it(
    postgres: EmbeddedPostgres, database: ServiceDatabase, journeys: Journeys, doctor: Doctor
) -> None:
    payment_id = await journeys.paid()
    async with planted(postgres, database, payment_id, "DELETE FROM payments WHERE payment_id = :payment"):
        await doctor.round()
        assert await doctor.found(payment_id) == ["PLAN_MISSING"]
    nobodys = new_payment_id()
    await doctor.connection.execute(
        "INSERT INTO diagnosis_findings VALUES ('main', $1, 'PLAN_MISSING', '', false, now(), now())", nobodys
    )
    await doctor.round()
    assert await doctor.found(nobodys) == await doctor.found(payment_id) == []


async def test_what_was_found_stands_while_somebody_does_not_answer(
    postgres: EmbeddedPostgres, database: ServiceDatabase, world: World, journeys: Journeys, doctor: Doctor
) -> None:
    payment_id = await journeys.paid()
    wrong = "UPDATE payments SET revision = revision - 1, due_time = NULL WHERE payment_id = :payment"
    async with planted(postgres, database, payment_id, wrong):
        await doctor.round()
    async with world.orchestrator(away=frozenset({"pricing"})) as silent:
        await Doctor(silent, doctor.connection, doctor.begin_time, doctor.meter).round()
    assert await doctor.found(payment_id) == [REVISION], "nothing is concluded of who does not answer"
    assert (await doctor.shown()).of("batzen_diagnosis_payments_total", outcome="silent") >= 1

    await doctor.round()
    assert await doctor.found(payment_id) == []


async def test_whoever_goes_on_with_a_round_begins_where_it_is(
    postgres: EmbeddedPostgres, database: ServiceDatabase, journeys: Journeys, doctor: Doctor
) -> None:
    """Of a process that died all is left that it has kept: the lists before are not walked again."""
    payment_id = await journeys.started()  # of which no money was booked
    wrong = "UPDATE payments SET revision = revision - 1, due_time = NULL WHERE payment_id = :payment"
    async with planted(postgres, database, payment_id, wrong):
        await doctor.replica.parts.diagnoses.rounds.find_tenants()
        await doctor.connection.execute("UPDATE diagnosis_rounds SET walk = 'BOOKED' WHERE tenant_id = 'main'")
        await doctor.round()
        assert await doctor.found(payment_id) == []

        await doctor.round()
        assert REVISION in await doctor.found(payment_id)


async def test_a_place_that_status_does_not_know_any_more_is_begun_anew(
    postgres: EmbeddedPostgres, database: ServiceDatabase, journeys: Journeys, doctor: Doctor
) -> None:
    payment_id = await journeys.started()
    wrong = "UPDATE payments SET revision = revision - 1, due_time = NULL WHERE payment_id = :payment"
    async with planted(postgres, database, payment_id, wrong):
        await doctor.replica.parts.diagnoses.rounds.find_tenants()
        await doctor.connection.execute(
            "UPDATE diagnosis_rounds SET walk = 'OPENED', place = 'of another release' WHERE tenant_id = 'main'"
        )
        await doctor.round()
        assert REVISION in await doctor.found(payment_id)


async def test_a_token_of_another_list_is_refused(replica: Orchestrator) -> None:
    async with replica.connect_ops() as ops:
        with pytest.raises(aio.AioRpcError) as refused:
            await ops.ListDisagreements(ops_pb2.ListDisagreementsRequest(page_token="of another list"))
    assert details_of(refused.value).reason == "PAGE_TOKEN_INVALID"
