"""What happens to a payment is counted once, whoever carries it on; what waits is shown while it waits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest

from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from local.databases import ServiceDatabase
from sandbox import declines
from services.orchestrator.domain.payment import Snapshot
from services.orchestrator.domain.policies import RETRY_MAX
from services.orchestrator.metrics import ATTENTION_COUNTED_MAX, DECLINE_CODES, OrchestratorMetrics
from services.orchestrator.storage import statements
from services.orchestrator.storage.figures import OPEN_BOOKINGS, PLANNED, FigureStore
from services.orchestrator.wiring import look_at_waiting
from services.runtime.database.connections import plain_dsn
from services.runtime.observability.metrics import OTHER, Meter
from services.runtime.observability.work_metrics import COUNTED_MAX
from services.runtime.work import statements as work_statements
from services.runtime.work.sampling import waiting_work
from services.shared.payment import Amounts, PaymentError
from services.shared.states import State
from tests.conftest import Databases
from tests.eventually import eventually
from tests.metrics import Figures
from tests.orchestrator.conftest import Journeys, Orchestrator, World
from tests.orchestrator.crash_injection import ask, mortal_orchestrator
from tests.orchestrator.lives import Lives
from tests.orchestrator.samples import DECLINED, TOTAL_MINOR, VISA, Clock, new_payment_id, refund, start, submit
from tests.orchestrator.test_news import paid_at_stripe
from tests.rows_read import rows_read

ROWS = 100_000
"""Payments of a small shop's year; a statement that reads them all takes longer than all the others of a payment."""


class Counting:
    """A replica that counts, and what it has counted."""

    def __init__(self, replica: Orchestrator, stub: OrchestratorServiceStub, meter: Meter) -> None:
        self.replica = replica
        self.stub = stub
        self._meter = meter

    async def figures(self) -> Figures:
        parts = self.replica.parts
        clock = self.replica.world.clock
        await look_at_waiting(FigureStore(self.replica.held), OrchestratorMetrics(self._meter), now=clock.now)
        await waiting_work(self.replica.held, parts.work.kinds, clock=clock, meter=self._meter)()
        return Figures.read(await self._meter.text())


@pytest.fixture
async def counting(world: World) -> AsyncIterator[Counting]:
    meter = Meter()
    async with world.orchestrator(meter=meter) as running, running.connect() as stub:
        yield Counting(running, stub, meter)


async def test_a_payment_is_counted_once_as_it_begins_is_paid_and_is_given_back(counting: Counting) -> None:
    asked = start()
    for _ in range(2):
        payment_id = (await counting.stub.StartPayment(asked)).session.payment.payment_id
    submitted = submit(payment_id, VISA)
    for _ in range(2):
        await counting.stub.SubmitPayment(submitted)
    returned = refund(payment_id, 500)
    for _ in range(2):
        await counting.stub.RefundPayment(returned)
    now = await counting.figures()
    assert now.of("batzen_payments_started_total", currency="CHF") == 1
    assert now.of("batzen_payments_ended_total", state="SUCCEEDED") == now["batzen_payments_ended_total"] == 1
    assert now.of("batzen_payments_captured_minor_total", currency="CHF") == TOTAL_MINOR
    assert now.of("batzen_payments_refunded_minor_total", currency="CHF") == 500


async def test_a_decline_is_counted_by_its_code(counting: Counting) -> None:
    payment_id = (await counting.stub.StartPayment(start())).session.payment.payment_id
    declined = submit(payment_id, DECLINED)
    for _ in range(2):
        await counting.stub.SubmitPayment(declined)
    now = await counting.figures()
    assert now["batzen_payment_declines_total"] == 1
    assert now.of("batzen_payment_declines_total", code=OTHER) == 0


async def test_what_status_has_not_recorded_waits_and_is_counted_by_one_replica(
    world: World, journeys: Journeys, counting: Counting, clock: Clock
) -> None:
    async with world.orchestrator() as earlier:  # does what other tests left to be done
        clock.advance(RETRY_MAX)
        await earlier.sweep()
    before = await counting.figures()
    pending = before["batzen_transition_outbox_pending"]
    payment_id = await journeys.started()
    cut_off_meter = Meter()
    async with (
        world.orchestrator(away=frozenset({"status"}), meter=cut_off_meter) as cut_off,
        cut_off.connect() as stub,
    ):
        await stub.SubmitPayment(submit(payment_id))
    waiting = await counting.figures()
    assert waiting["batzen_transition_outbox_pending"] == pending + 2
    clock.advance(RETRY_MAX)
    assert (await counting.figures())["batzen_transition_outbox_oldest_seconds"] >= RETRY_MAX.total_seconds()
    due = await counting.figures()
    assert due.of("batzen_work_due", kind="payments") > before.of("batzen_work_due", kind="payments")
    assert due.of("batzen_work_oldest_due_seconds", kind="payments") > 0

    async def is_done() -> bool:
        """Whether no more is due than before; right after a sweep the gateway may deliver of what was before."""
        await counting.replica.sweep()
        figures = await counting.figures()
        return figures.of("batzen_work_due", kind="payments") <= before.of("batzen_work_due", kind="payments")

    await eventually(is_done)
    now, cut_off_now = await counting.figures(), Figures.read(await cut_off_meter.text())
    assert now["batzen_transition_outbox_pending"] <= pending
    assert now.of("batzen_recoveries_total", outcome="moved") >= 1
    ended = "batzen_payments_ended_total"
    assert now.of(ended, state="SUCCEEDED") + cut_off_now.of(ended, state="SUCCEEDED") == 1
    captured = "batzen_payments_captured_minor_total"
    assert now.total(captured) + cut_off_now.total(captured) == TOTAL_MINOR


async def test_a_payment_whose_process_dies_anywhere_is_counted_once_or_missed_right_after_a_save(
    counting: Counting, journeys: Journeys, lives: Lives
) -> None:
    missed = []
    for life in lives():
        meter, before = Meter(), await counting.figures()
        payment_id = await journeys.started()
        asked = submit(payment_id)
        async with mortal_orchestrator(counting.replica, life, metrics=OrchestratorMetrics(meter)) as (parts, _):
            await ask(parts, asked)
        await counting.stub.SubmitPayment(asked)
        await counting.replica.sweep()
        now, of_the_dead = await counting.figures(), Figures.read(await meter.text())
        for name, once in (("batzen_payments_ended_total", 1), ("batzen_payments_captured_minor_total", TOTAL_MINOR)):
            counted = sum(figures.total(name) for figures in (now, of_the_dead)) - before.total(name)
            assert counted == once or (counted == 0 and life.place == "after save"), (name, life.place)
            missed += [name] if counted == 0 else []
    assert len(missed) <= 2


async def test_what_is_delivered_is_measured_until_status_has_it(counting: Counting, journeys: Journeys) -> None:
    payment_id = await journeys.started()
    seen = await paid_at_stripe(journeys, payment_id)
    await journeys.deliver(seen)
    await counting.replica.sweep()
    now = await counting.figures()
    assert await journeys.states(payment_id) == ["INITIALIZED", "REQUIRES_PAYMENT_METHOD", "SUCCEEDED"]
    assert now["batzen_webhook_to_status_seconds_count"] == 1
    assert now["batzen_payments_captured_minor_total"] == TOTAL_MINOR


async def test_a_payment_that_needs_an_operator_is_shown_by_why(
    counting: Counting, journeys: Journeys, database: ServiceDatabase
) -> None:
    before = (await counting.figures()).of("batzen_attention_payments", kind="LATE_MONEY")
    payment_id = await journeys.started()
    connection = await asyncpg.connect(plain_dsn(database.owner_url))
    await connection.execute(
        """UPDATE payments SET latest_snapshot = jsonb_set(latest_snapshot, '{attentions}',
           '[{"reason": "LATE_MONEY"}, {"reason": "STUCK"}]') WHERE payment_id = $1""",
        payment_id,
    )
    now = await counting.figures()
    await connection.execute(
        "UPDATE payments SET latest_snapshot = jsonb_set(latest_snapshot, '{attentions}', '[]') WHERE payment_id = $1",
        payment_id,
    )
    await connection.close()
    assert now.of("batzen_attention_payments", kind="LATE_MONEY") == before + 1
    assert now.of("batzen_attention_payments", kind="STUCK") >= 1


async def test_no_code_of_a_bank_makes_a_series_of_its_own() -> None:
    meter = Meter()
    metrics = OrchestratorMetrics(meter)
    before = Snapshot()
    for number in range(1_000):
        error = PaymentError(code="card_declined", decline_code=f"code_{number}")
        metrics.moved(before, Snapshot(last_error=error, decline_count=1), currency="CHF")
        metrics.opened(currency=f"X{number}")
    now = Figures.read(await meter.text())
    assert now.says("batzen_payment_declines_total", "code") == {*DECLINE_CODES, OTHER}
    assert now.of("batzen_payment_declines_total", code=OTHER) == 1_000
    assert len(now.says("batzen_payments_started_total", "currency")) <= 49


async def test_a_refund_that_fails_late_is_counted_beside_what_was_refunded() -> None:
    meter = Meter()
    metrics = OrchestratorMetrics(meter)
    paid, refunded = Amounts(captured_minor=900), Amounts(captured_minor=900, refunded_minor=300)
    for before, now in ((paid, refunded), (refunded, paid)):
        metrics.moved(
            Snapshot(collection=State.SUCCEEDED, amounts=before),
            Snapshot(collection=State.SUCCEEDED, amounts=now),
            currency="CHF",
        )
    figures = Figures.read(await meter.text())
    assert figures.of("batzen_payments_refunded_minor_total", currency="CHF") == 300
    assert figures.of("batzen_payments_refunds_failed_minor_total", currency="CHF") == 300
    assert "batzen_payments_captured_minor_total" not in figures.names


@pytest.fixture(scope="module")
async def full(databases: Databases) -> AsyncIterator[asyncpg.Connection]:
    """A database with a history: one payment in a thousand is due, and one in ten thousand needs an operator."""
    database = await databases.create("orchestrator")
    connection = await asyncpg.connect(plain_dsn(database.owner_url))
    await connection.execute(
        f"""INSERT INTO payments (tenant_id, payment_id, payer_id, quote_request, session_type, session_name,
                client_reference, return_url, seller_ids, booking_ids, labels, stage, latest_snapshot, due_time,
                work_class, create_time)
            SELECT 'main', 'pay_' || n, 'payer', '', '', '', '', '', '{{}}', '{{}}', '{{}}', 'ENDED',
                jsonb_build_object('collection', 'SUCCEEDED', 'attentions',
                    CASE WHEN n % 10000 = 0 THEN '[{{"reason": "STUCK"}}]'::jsonb ELSE '[]' END),
                CASE WHEN n % 1000 = 0 THEN now() - interval '1 minute'
                    WHEN n % 10 = 0 THEN now() + interval '1 hour' END,
                CASE WHEN n % 1000 = 0 THEN 'MONEY' ELSE 'EXPIRY' END, now()
            FROM generate_series(1, {ROWS}) n"""
    )
    await connection.execute("VACUUM ANALYZE payments")
    yield connection
    await connection.close()
    await databases.drop(database)


async def test_a_look_at_what_needs_an_operator_does_not_read_the_others(full: asyncpg.Connection) -> None:
    assert await full.fetch(statements.ATTENTION, ATTENTION_COUNTED_MAX) == [("STUCK", ROWS // 10_000)]
    assert await rows_read(full, statements.ATTENTION, ATTENTION_COUNTED_MAX) <= ROWS // 1_000


async def test_what_plans_do_by_themselves_is_counted_and_how_late_it_is(
    counting: Counting, full: asyncpg.Connection
) -> None:
    steps = ["CHARGE", "CAPTURE"]
    assert await full.fetch(PLANNED, steps, 1_000) == []
    await full.execute(
        "UPDATE payments SET next_step = 'CHARGE', next_time = now() + interval '1 day' WHERE payment_id < 'pay_2'"
    )
    await full.execute("VACUUM ANALYZE payments")
    [charges] = await full.fetch(PLANNED, steps, 1_000)
    assert (charges["next_step"], charges["payments"]) == ("CHARGE", 1_000)
    assert await rows_read(full, PLANNED, steps, 1_000) <= 2_000
    assert await rows_read(full, OPEN_BOOKINGS, 1_000) == 0

    held = counting.replica.held
    payment = (await counting.stub.StartPayment(start(booking_ids=[new_payment_id()]))).session.payment
    assert (await counting.figures()).of("batzen_open_booking_payments") >= 1
    async with held.statement(None) as connection:
        await connection.execute(
            "UPDATE payments SET next_step = 'CHARGE', next_time = $2 WHERE payment_id = $1",
            payment.payment_id,
            counting.replica.world.clock.now() - timedelta(hours=1),
        )
    figures = await counting.figures()
    assert figures.of("batzen_planned_payments", step="CHARGE") >= 1
    assert figures.of("batzen_planned_late_seconds", step="CHARGE") >= 3_600
    async with held.statement(None) as connection:  # no later test finds a charge that nobody planned
        await connection.execute("UPDATE payments SET next_step = 'EXPIRE' WHERE payment_id = $1", payment.payment_id)


async def test_a_look_at_what_is_due_does_not_read_what_is_not(counting: Counting, full: asyncpg.Connection) -> None:
    look = work_statements.waiting(counting.replica.parts.work.kinds, tenants=False)
    found = {row["kind"]: row["due"] for row in await full.fetch(look, timedelta(0), COUNTED_MAX)}
    assert {kind: due for kind, due in found.items() if due} == {"payments": ROWS // 1_000}
    assert await rows_read(full, look, timedelta(0), COUNTED_MAX) <= ROWS // 100


def test_each_decline_of_the_stand_in_has_a_series_of_its_own() -> None:
    assert len(declines.BY_REASON) > 3
    assert set(declines.BY_REASON) <= set(DECLINE_CODES)
