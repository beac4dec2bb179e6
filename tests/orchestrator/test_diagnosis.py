"""The doctor finds what was planted, each by its name, and nothing in payments that nobody touched."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

import pytest
from grpc import aio

from batzen.orchestrator.v1 import ops_pb2
from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.type.v1 import diagnosis_pb2 as said
from local.databases import ServiceDatabase
from local.postgres import EmbeddedPostgres
from sandbox.control import SandboxControl
from services.orchestrator.diagnosis.checks import CHECKS
from tests.eventually import eventually
from tests.orchestrator.conftest import Journeys, Orchestrator, World
from tests.orchestrator.planting import Gardener, gardener
from tests.orchestrator.samples import DECLINED, cancel, chf, new_id, new_payment_id, refund, submit
from tests.orchestrator.samples import page as hosted_page
from tests.refusals import details_of

Diagnose = Callable[..., Awaitable[ops_pb2.Diagnosis]]
PAYMENT = "WHERE payment_id = :payment"


@dataclass(frozen=True, slots=True)
class Plant:
    """What is changed, and the check that is to find it."""

    check: str
    service: str
    sql: str


_OBSERVED = "jsonb_set(observation, '{amounts,captured_minor}', '9000')"
_SNAPSHOT = "jsonb_set(snapshot, '{amounts,refunded_minor}', '1')"
_AUTHORIZED = """jsonb_set(snapshot, '{collection}', '"AUTHORIZED"')"""
PLANTS = (
    Plant("PLAN_MISSING", "orchestrator", f"DELETE FROM payments {PAYMENT}"),
    Plant("STATUS_MISSING", "status", f"DELETE FROM payments {PAYMENT}"),
    Plant("STATUS_REVISION", "orchestrator", f"UPDATE payments SET revision = revision - 1 {PAYMENT}"),
    Plant("STATUS_SNAPSHOT", "status", f"UPDATE payments SET snapshot = {_SNAPSHOT} {PAYMENT}"),
    Plant("STATUS_IDENTITY", "status", f"UPDATE payments SET payer_id = 'somebody' {PAYMENT}"),
    Plant("HISTORY_GAP", "status", f"DELETE FROM transitions {PAYMENT} AND revision = 2"),
    Plant(
        "HISTORY_END",
        "status",
        f"UPDATE transitions SET snapshot = {_SNAPSHOT} {PAYMENT}"
        " AND revision = (SELECT max(revision) FROM transitions WHERE payment_id = :payment)",
    ),
    Plant(
        "TRANSITION_REFUSED",
        "orchestrator",
        "INSERT INTO transitions (tenant_id, payment_id, request_id, fact, snapshot, refusal, create_time)"
        f" SELECT tenant_id, payment_id, gen_random_uuid(), 'step:open:9', latest_snapshot, 'TRANSITION_ILLEGAL', now()"
        f" FROM payments {PAYMENT}",
    ),
    Plant(
        "NOT_DUE",
        "orchestrator",
        f"UPDATE payments SET next_step = 'LOOK', next_time = now() + interval '1 day', due_time = NULL {PAYMENT}",
    ),
    Plant("STAGE", "orchestrator", f"UPDATE payments SET stage = 'COLLECTING' {PAYMENT}"),
    Plant("QUOTE_MISSING", "pricing", "DELETE FROM quotes WHERE quote_id = :quote"),
    Plant("QUOTE_TOTAL", "orchestrator", f"UPDATE payments SET total_minor = total_minor + 100 {PAYMENT}"),
    Plant(
        "QUOTE_SPLIT",
        "orchestrator",
        "UPDATE payments SET split = jsonb_set(split, '{lines,0,seller_minor}',"
        f" to_jsonb((split #>> '{{lines,0,seller_minor}}')::bigint - 100)) {PAYMENT}",
    ),
    Plant(
        "QUOTE_END", "orchestrator", f"UPDATE payments SET quote_holds_uses = true, quote_state = 'RELEASED' {PAYMENT}"
    ),
    Plant("MIRROR_MISSING", "gateway", f"DELETE FROM payments {PAYMENT}"),
    Plant("MIRROR_IDENTITY", "gateway", f"UPDATE payments SET payer_id = 'somebody' {PAYMENT}"),
    Plant("MIRROR_VERSION", "orchestrator", f"UPDATE payments SET mirror_version = mirror_version - 1 {PAYMENT}"),
    Plant("AMOUNTS", "gateway", f"UPDATE payments SET observation = {_OBSERVED} {PAYMENT}"),
    Plant("COLLECTION", "status", f"UPDATE payments SET snapshot = {_AUTHORIZED} {PAYMENT}"),
    Plant("ATTEMPT", "orchestrator", f"UPDATE payments SET attempt = 2 {PAYMENT}"),
    Plant(
        "ATTEMPT_AMOUNT",
        "gateway",
        f"UPDATE intents SET mirrored = jsonb_set(mirrored, '{{amount_minor}}', '12000') {PAYMENT}",
    ),
    Plant("OBSERVATION", "gateway", f"UPDATE refunds SET state = 'FAILED' {PAYMENT}"),
    Plant("STRIPE_IDS", "gateway", f"UPDATE intents SET charge_id = 'ch_another' {PAYMENT}"),
    Plant("REFUNDED_BEYOND", "gateway", f"UPDATE refunds SET amount_minor = 1000000 {PAYMENT}"),
    Plant(
        "LEDGER_UNBALANCED",
        "gateway",
        f"UPDATE ledger_entries SET amount_minor = amount_minor + 1 {PAYMENT} AND fact ^@ 'captured:' AND place = 1",
    ),
    Plant("LEDGER_BOOKS", "gateway", f"DELETE FROM ledger_entries {PAYMENT} AND fact ^@ 'refunded:'"),
    Plant("LEDGER_MIRROR", "gateway", f"UPDATE refunds SET state = 'FAILED' {PAYMENT}"),
    Plant(
        "BALANCE_TRANSACTION",
        "gateway",
        "INSERT INTO balance_transactions SELECT tenant_id, 'txn_planted', payment_id, 'charge', 'charge', 10000, 0,"
        " 10000, 'CHF', charge_id, '', '[]', now(), now(), now() FROM intents WHERE payment_id = :payment",
    ),
    Plant("SETTLEMENT", "gateway", f"DELETE FROM movements {PAYMENT} AND kind = 'FEE'"),
    Plant(
        "RECEIVABLE",
        "gateway",
        "INSERT INTO receivables SELECT tenant_id, payment_id, 1, 'seller_1', 'CHF', 500, now()"
        " FROM payments WHERE payment_id = :payment",
    ),
    Plant(
        "CALL",
        "gateway",
        "UPDATE calls SET state = 'UNKNOWN', due_time = NULL"
        " WHERE subject_id = :payment AND operation = 'refund.create'",
    ),
    Plant(
        "DELIVERY",
        "gateway",
        "INSERT INTO deliveries (tenant_id, payment_id, wanted_version, observation, origin, record_time)"
        " SELECT tenant_id, payment_id, mirror_version, observation, 'planted', now() FROM payments"
        " WHERE payment_id = :payment ON CONFLICT ON CONSTRAINT deliveries_pkey"
        " DO UPDATE SET delivered_version = 0, due_time = NULL",
    ),
)
"""Rows of one payment that was paid, and of which a part was given back."""


@pytest.fixture(scope="session")
async def diagnose(replica: Orchestrator) -> AsyncIterator[Diagnose]:
    async with replica.connect_ops() as ops:

        async def ask(payment_id: str, *, with_stripe: bool = False) -> ops_pb2.Diagnosis:
            request = ops_pb2.DiagnosePaymentRequest(payment_id=payment_id, with_stripe=with_stripe)
            return (await ops.DiagnosePayment(request)).diagnosis

        yield ask


async def at_rest(replica: Orchestrator, diagnose: Diagnose, payment_id: str) -> ops_pb2.Diagnosis:
    """Wait until nothing of a payment is on its way, and return how it stands then."""
    found: list[ops_pb2.Diagnosis] = []

    async def rests() -> bool:
        await replica.sweep()
        found.append(await diagnose(payment_id, with_stripe=True))
        return not found[-1].disagreements and not found[-1].is_moving

    await eventually(rests, what=lambda: str(found[-1].disagreements))
    return found[-1]


@pytest.fixture(scope="session")
async def refunded(journeys: Journeys, replica: Orchestrator, diagnose: Diagnose) -> str:
    """A payment of which a part was given back, and that nobody moves any more."""
    payment_id = await journeys.paid()
    await journeys.orchestrator.RefundPayment(refund(payment_id, amount=chf(2_500)))
    await at_rest(replica, diagnose, payment_id)
    return payment_id


@pytest.fixture(scope="session")
async def planter(
    postgres: EmbeddedPostgres, world: World, database: ServiceDatabase, journeys: Journeys, refunded: str
) -> AsyncIterator[Gardener]:
    names = {
        "orchestrator": database.name,
        "status": world.status_database.name,
        "pricing": world.pricing_database.name,
        "gateway": world.gateway_database.name,
    }
    quote_id = (await journeys.payment(refunded)).quote_id
    async with gardener(postgres, names, payment_id=refunded, quote_id=quote_id) as found:
        yield found


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.check)
async def test_what_a_superuser_changed_is_found_by_its_name(
    plant: Plant, refunded: str, planter: Gardener, diagnose: Diagnose
) -> None:
    assert not (await diagnose(refunded)).disagreements

    async with planter.planted(plant.service, plant.sql):
        found = (await diagnose(refunded)).disagreements

    assert plant.check in [one.check for one in found]
    [*named] = [one for one in found if one.check == plant.check]
    assert all(one.meaning and one.remedy and one.sayings and not one.waits_for for one in named)
    assert not (await diagnose(refunded)).disagreements


async def test_nothing_is_found_in_payments_that_nobody_touched(
    journeys: Journeys, replica: Orchestrator, diagnose: Diagnose
) -> None:
    orchestrator = journeys.orchestrator
    started, held = await journeys.started(booking_ids=[new_id()]), await journeys.held()
    captured, canceled = await journeys.held(), await journeys.started()
    await orchestrator.CapturePayment(
        pb.CapturePaymentRequest(
            request_id=new_id(), payment_id=captured, amount=chf(4_000), final_capture=True, actor_id="clerk"
        )
    )
    await orchestrator.CancelPayment(cancel(canceled))
    declined = await journeys.started()
    await orchestrator.SubmitPayment(submit(declined, DECLINED))
    scheduled = await journeys.scheduled(replica.world.clock.now() + timedelta(days=3))
    page = (await orchestrator.StartPayment(hosted_page())).session.payment.payment_id

    await journeys.stripe.settle()
    await journeys.synced(captured)  # what moved with the charge: no event says so here

    for payment_id in (started, held, captured, canceled, declined, scheduled, page):
        found = await at_rest(replica, diagnose, payment_id)

        by_keeper = {side.keeper: side for side in found.sides}
        assert [side.keeper for side in found.sides if side.problem] == []
        assert set(by_keeper) == set(said.Keeper.values()) - {said.KEEPER_UNSPECIFIED}


async def test_what_happened_at_stripe_alone_is_found_by_its_name(
    journeys: Journeys, replica: Orchestrator, diagnose: Diagnose, stripe: SandboxControl
) -> None:
    payment_id = await journeys.paid()
    await stripe.settle()
    await journeys.synced(payment_id)  # what moved with the charge: no event says so here
    await at_rest(replica, diagnose, payment_id)
    [intent] = await journeys.intents(payment_id)
    [charge] = await journeys.charges(payment_id)

    async def found() -> set[str]:
        return {one.check for one in (await diagnose(payment_id, with_stripe=True)).disagreements}

    await stripe.refund(intent["id"], amount=1_000, reverse_transfer=False, refund_application_fee=False)
    assert await found() == {"STRIPE_REFUND"}
    await stripe.dispute(intent["id"])
    assert await found() == {"STRIPE_REFUND", "STRIPE_DISPUTE"}
    await stripe.reverse_transfer(charge["transfer"], amount=100)
    assert await found() == {"STRIPE_REFUND", "STRIPE_DISPUTE", "STRIPE_MOVEMENT"}
    assert not (await diagnose(payment_id)).disagreements
    await stripe.forget(intent["id"])
    assert "STRIPE_MISSING" in await found()


async def test_an_attempt_that_moved_at_stripe_alone_is_found_by_its_name(
    journeys: Journeys, replica: Orchestrator, diagnose: Diagnose, stripe: SandboxControl
) -> None:
    payment_id = await journeys.held()
    await at_rest(replica, diagnose, payment_id)
    [intent] = await journeys.intents(payment_id)

    await stripe.force(intent["id"], "canceled")

    assert {one.check for one in (await diagnose(payment_id, with_stripe=True)).disagreements} == {
        "STRIPE_STATE",
        "STRIPE_CAPTURED",
    }


async def test_a_booking_of_another_payment_is_found(
    postgres: EmbeddedPostgres,
    database: ServiceDatabase,
    journeys: Journeys,
    replica: Orchestrator,
    diagnose: Diagnose,
) -> None:
    payment_id = await journeys.started(booking_ids=[new_id()])
    await at_rest(replica, diagnose, payment_id)
    async with (
        gardener(postgres, {"orchestrator": database.name}, payment_id=payment_id, quote_id="") as planter,
        planter.planted("orchestrator", f"UPDATE booking_claims SET payment_id = 'pay_another' {PAYMENT}"),
    ):
        found = (await diagnose(payment_id)).disagreements
        await planter.execute("orchestrator", "DELETE FROM booking_claims WHERE payment_id = 'pay_another'")

    assert [one.check for one in found] == ["BOOKING_CLAIM"]


async def test_who_does_not_answer_is_a_side_with_a_problem_of_which_nothing_is_concluded(
    world: World, refunded: str
) -> None:
    async with (
        world.orchestrator(away=frozenset({"status", "pricing", "gateway"})) as alone,
        alone.connect_ops() as ops,
    ):
        request = ops_pb2.DiagnosePaymentRequest(payment_id=refunded, with_stripe=True)
        diagnosis = (await ops.DiagnosePayment(request)).diagnosis

    assert not diagnosis.disagreements
    problems = {side.keeper for side in diagnosis.sides if side.problem}
    assert problems == {said.KEEPER_STATUS, said.KEEPER_QUOTE, said.KEEPER_MIRROR}


async def test_a_payment_that_is_not_there_is_not_found(replica: Orchestrator) -> None:
    async with replica.connect_ops() as ops:
        with pytest.raises(aio.AioRpcError) as refused:
            await ops.DiagnosePayment(ops_pb2.DiagnosePaymentRequest(payment_id=new_payment_id()))
    assert details_of(refused.value).reason == "PAYMENT_NOT_FOUND"


def test_each_check_of_records_is_planted() -> None:
    apart = {"BOOKING_CLAIM"}
    assert {one.name for one in CHECKS} - apart <= {plant.check for plant in PLANTS}
    assert len(PLANTS) >= 20
