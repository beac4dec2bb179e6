"""What the gateway counts moves when it happens, under names of its own; what waits is shown while it waits."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest
import sqlalchemy as sa

from sandbox.faults import Kind
from services.gateway.call_log.store import UNKNOWN
from services.gateway.errors import StripeUnavailable
from services.gateway.metrics import UNKNOWN_AFTER_S
from services.gateway.stripe_api.breaker import REST_MAX_S
from services.gateway.stripe_api.client import Provider
from services.gateway.stripe_api.limits import Share, StripeLimits, endpoint_of
from services.gateway.stripe_api.metrics import StripeMetrics
from services.gateway.webhooks import listing, statements
from services.gateway.webhooks.events import ACTIONS
from services.gateway.webhooks.metrics import OLDEST_OF_MAX
from services.gateway.wiring import look_at_unanswered
from services.runtime.database.connections import plain_dsn
from services.runtime.observability.metrics import OTHER, Meter
from services.runtime.observability.work_metrics import COUNTED_MAX
from services.runtime.work import statements as work_statements
from tests.conftest import Databases
from tests.eventually import eventually
from tests.gateway.receiving import event_of
from tests.gateway.test_calls import CONFIRM
from tests.gateway.test_inbox import Place, place, quiet
from tests.metrics import Figures
from tests.rows_read import rows_read

__all__ = ["place", "quiet"]

NOWHERE = "http://127.0.0.1:9"
ROWS = 50_000


async def figures(place: Place) -> Figures:
    """Return what the gateway of the place has counted and looked up."""
    parts = place.gateway.parts
    await look_at_unanswered(parts.call_store, parts.inbox, parts.metrics, tenant_id="main", now=place.clock.now)
    return Figures.read(await place.meter.text())


async def test_a_call_at_stripe_is_counted_with_what_came_back_and_how_long_it_took(place: Place) -> None:
    before = await figures(place)
    await place.payments.paid()
    now = await figures(place)
    confirm = "POST payment_intents one confirm"
    calls = "batzen_stripe_calls_total"
    answered = now.of(calls, operation=confirm, outcome="answer") - before.of(
        calls, operation=confirm, outcome="answer"
    )
    assert answered == 1
    tries = sum(
        now.of(calls, operation=confirm, outcome=outcome) - before.of(calls, operation=confirm, outcome=outcome)
        for outcome in now.says(calls, "outcome")
    )
    timed = "batzen_stripe_call_duration_seconds_count"
    assert now.of(timed, operation=confirm) - before.of(timed, operation=confirm) == tries  # a slow one is tried again
    assert now["batzen_stripe_rate_wait_seconds_count"] > before["batzen_stripe_rate_wait_seconds_count"]
    assert now.says("batzen_stripe_breaker_open", "share") == {"pay", "return", "read", "reconcile"}
    assert now["batzen_stripe_breaker_open"] == 0


async def test_a_fact_that_was_booked_is_counted(place: Place) -> None:
    before = await figures(place)
    await place.payments.paid()
    now = await figures(place)
    facts = "batzen_ledger_facts_total"
    assert now.of(facts, kind="captured") - before.of(facts, kind="captured") == 1


async def test_a_webhook_is_counted_by_type_and_by_what_became_of_it(place: Place) -> None:
    before = await figures(place)
    payment_id = await place.payments.created()
    await place.stripe.succeed(await place.payments.intent_id(payment_id))
    event = await place.event(payment_id, "payment_intent.succeeded")
    for _ in range(2):
        await place.sender.send(event)
    await place.idle()
    now, received = await figures(place), "batzen_webhooks_received_total"
    for outcome in ("accepted", "duplicate"):
        assert (
            now.of(received, type="payment_intent.succeeded", outcome=outcome)
            - before.of(received, type="payment_intent.succeeded", outcome=outcome)
            == 1
        )
    for name in ("batzen_webhook_lag_seconds", "batzen_webhook_apply_seconds", "batzen_delivery_seconds"):
        assert now[f"{name}_count"] - before[f"{name}_count"] == 1, name
    assert now["batzen_webhook_inbox_pending"] == 0


async def test_types_that_nobody_knows_make_no_series(place: Place) -> None:
    for number in range(100):
        event = event_of({"id": f"x_{number}", "object": "x"}, f"weird.type_{number}", at=place.clock.now())
        await place.sender.send(event)
    now = await figures(place)
    assert now.says("batzen_webhooks_received_total", "type") <= {*ACTIONS, OTHER}
    assert now.of("batzen_webhooks_received_total", type=OTHER, outcome="ignored") >= 100


async def test_what_stripe_did_not_sign_is_counted_by_endpoint(place: Place) -> None:
    before = await figures(place)
    await place.sender.post(b"{}", secret="whsec_wrong")
    await place.sender.post(b"{}", headers={"stripe-signature": "nonsense"})
    await place.sender.request("GET", "/nowhere")
    now = await figures(place)
    failures = "batzen_webhook_signature_failures_total"
    assert now.of(failures, endpoint="platform") - before.of(failures, endpoint="platform") == 2
    refusals = "batzen_webhook_refusals_total"
    assert now.of(refusals, reason="PATH_UNKNOWN") - before.of(refusals, reason="PATH_UNKNOWN") == 1
    assert now.of(refusals, reason="SIGNATURE_MISMATCH") - before.of(refusals, reason="SIGNATURE_MISMATCH") == 1


async def test_what_cannot_be_stored_is_counted_as_failed(place: Place) -> None:
    event = event_of({"id": "x", "object": "x"}, "payment_intent.processing", at=place.clock.now())
    async with place.gateway.parts.engine.begin() as connection:
        await connection.execute(sa.text("LOCK TABLE events IN EXCLUSIVE MODE"))
        assert (await place.sender.post(json.dumps(event).encode())).status_code == 500
    now = await figures(place)
    assert now.of("batzen_webhooks_received_total", type="payment_intent.processing", outcome="failed") == 1


async def test_what_stripe_did_not_answer_is_shown_until_it_is_settled(place: Place) -> None:
    payment_id = await place.payments.created()
    await place.stripe.fault(Kind.RESET, route=CONFIRM, after=True, times=None)
    answer = await place.payments.gateway.ConfirmIntent(place.payments.confirm_request(payment_id))
    assert answer.observation.outcome_unknown
    assert (await figures(place))["batzen_payments_unknown"] == 0  # not for a minute yet
    place.clock.advance(timedelta(seconds=UNKNOWN_AFTER_S + 1))
    now = await figures(place)
    assert now["batzen_payments_unknown"] == 1
    assert now["batzen_payments_unknown_oldest_seconds"] > UNKNOWN_AFTER_S
    await place.stripe.clear_faults()
    place.clock.advance(timedelta(minutes=10))
    await eventually(lambda: nothing_is_unknown(place))


async def nothing_is_unknown(place: Place) -> bool:
    return (await figures(place))["batzen_payments_unknown"] == 0


async def test_what_is_not_sent_is_counted_and_the_breaker_shown() -> None:
    meter = Meter()
    metrics = StripeMetrics(meter)
    clock_s = [0.0]
    limits = StripeLimits(None, clock=lambda: clock_s[0], failures_max=1)
    metrics.show(limits)
    provider = Provider("sk_test_nowhere", api_base=NOWHERE, limits=limits, metrics=metrics)
    async with limits.sending(endpoint_of("get", "/v1/refunds"), wait_max_s=0.0) as sending:
        sending.is_answered = False
    with pytest.raises(StripeUnavailable):
        await provider.refunds.retrieve("re_1")
    await provider.close()
    now = Figures.read(await meter.text())
    assert now.of("batzen_stripe_calls_total", operation="GET refunds one", outcome="not_sent") == 1
    assert now.of("batzen_stripe_breaker_open", share="read") == 1
    assert now.of("batzen_stripe_breaker_open", share="pay") == 0
    assert now.says("batzen_stripe_breaker_open", "share") == {share.name.lower() for share in Share}
    # A quiet night: the rest is over, and no call has come to be the probe.
    clock_s[0] = 2 * REST_MAX_S
    assert Figures.read(await meter.text()).of("batzen_stripe_breaker_open", share="read") == 1
    async with limits.sending(endpoint_of("get", "/v1/refunds"), wait_max_s=0.0) as sending:
        sending.is_answered = True
    assert Figures.read(await meter.text()).of("batzen_stripe_breaker_open", share="read") == 0


@pytest.fixture(scope="module")
async def full(databases: Databases) -> AsyncIterator[asyncpg.Connection]:
    """A database with a history: of five thousand calls one is open, and of as many events one waits."""
    database = await databases.create("gateway")
    connection = await asyncpg.connect(plain_dsn(database.owner_url))
    await connection.execute(
        f"""INSERT INTO calls (tenant_id, call_id, operation, request_id, request_hash, subject_type, subject_id,
                params, state, create_time)
            SELECT 'main', gen_random_uuid(), 'intent.confirm', gen_random_uuid(), '', 'payment', 'pay_' || n, '{{}}',
                CASE WHEN n % 5000 = 0 THEN 'UNKNOWN' ELSE 'ANSWERED' END, now() - interval '1 hour'
            FROM generate_series(1, {ROWS}) n"""
    )
    await connection.execute(
        f"""INSERT INTO events (tenant_id, event_id, type, subject, body, holder, state, create_time,
                receive_time)
            SELECT 'main', 'evt_' || n, 'refund.updated', 'pi_' || n, '', '',
                CASE WHEN n % 5000 = 0 THEN 'WAITING' ELSE 'DONE' END, now(), now() - n * interval '1 ms'
            FROM generate_series(1, {ROWS}) n"""
    )
    await connection.execute(
        f"""INSERT INTO event_runs (tenant_id, subject, create_time, due_time)
            SELECT 'main', 'pi_' || n, now(), CASE WHEN n % 5000 = 0 THEN now() - interval '1 s' END
            FROM generate_series(1, {ROWS}) n"""
    )
    for table in ("calls", "events", "event_runs"):
        await connection.execute(f"VACUUM ANALYZE {table}")
    yield connection
    await connection.close()
    await databases.drop(database)


async def test_a_page_of_events_reads_no_more_than_it_looks_at(full: asyncpg.Connection) -> None:
    ever = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC), "")
    rare: tuple[object, ...] = ("main", *ever, ["refund.rare"], [], 51, 100)
    assert await rows_read(full, listing.BY_TIME, *rare) <= 3 * 100
    of_one: tuple[object, ...] = ("main", *ever, [], [], 51, 100, "", "pi_5")
    [found] = await full.fetch(listing.OF_SUBJECTS, *of_one)
    assert found["event_id"] == "evt_5"
    assert await rows_read(full, listing.OF_SUBJECTS, *of_one) <= 20


async def test_a_look_at_what_waits_does_not_read_what_is_done(place: Place, full: asyncpg.Connection) -> None:
    waits = ROWS // 5_000
    before = place.clock.now() + timedelta(days=36_500)
    assert (await full.fetchrow(UNKNOWN, "main", before))["calls"] == waits
    assert await rows_read(full, UNKNOWN, "main", before) <= 2 * waits
    assert (await full.fetchrow(statements.WAITING_SUBJECTS, "main", OLDEST_OF_MAX))["pending"] == waits
    assert await rows_read(full, statements.WAITING_SUBJECTS, "main", OLDEST_OF_MAX) <= 5 * waits
    look = work_statements.waiting(place.gateway.parts.work.kinds, tenants=True)
    arguments = (timedelta(0), COUNTED_MAX, ["main"])
    assert {row["kind"]: row["due"] for row in await full.fetch(look, *arguments)}["events"] == waits
    assert await rows_read(full, look, *arguments) <= 5 * waits
