"""Alerts are provoked in the running suite, and seen to fire by a real Prometheus; a suite that is well wakes nobody.

Rules run sixty times as fast here; see `scraping.py`.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import httpx
import pytest

from batzen import errors
from batzen.client import new_request_id
from batzen.orchestrator.v1 import ops_pb2, orchestrator_pb2
from deploy.observability.__main__ import GROUPS
from deploy.observability.rule import Severity
from local.suite import Suite
from sandbox.faults import Kind
from tests.eventually import WITHIN_S, eventually
from tests.status.restarts import RestartablePostgres
from tests.suite.journeys import CALL_TIMEOUT_S, Traveller, pay, state_name
from tests.suite.scraping import Prometheus, hastened, scraping

pytestmark = pytest.mark.soak

FIRES_WITHIN_S: Final = 90.0
RESTS_WITHIN_S: Final = 120.0
CONFIRM: Final = "POST /v1/payment_intents/*/confirm"
PAYERS: Final = 4
PAID_MIN: Final = 20
FAILS_SHARE: Final = 0.4
"""Of Stripe's answers: rarely ten in a row, after which nothing more would be sent."""
HANGS_S: Final = 0.3
"""Then it goes on as long: it still answers each scrape."""
RESTARTS: Final = 3
LATE_MS: Final = 1_500.0
"""Of each call of Stripe: three times what a start may take."""


@pytest.fixture
async def prometheus(suite: Suite, tmp_path: Path) -> AsyncIterator[Prometheus]:
    async with scraping(suite, hastened(GROUPS), tmp_path) as running:
        yield running


async def fire(prometheus: Prometheus, *names: str, within_s: float = FIRES_WITHIN_S) -> None:
    """Wait until each of these alerts has fired, not necessarily together."""
    seen: set[str] = set()

    async def all_seen() -> bool:
        seen.update(await prometheus.firing())
        return set(names) <= seen

    await eventually(all_seen, within_s=within_s, what=lambda: f"{set(names) - seen} fire; {sorted(seen)} do")


async def pages(prometheus: Prometheus) -> set[str]:
    """Return the alerts that would wake somebody now."""
    firing = await prometheus.firing()
    return {name for name, alert in firing.items() if alert["labels"]["severity"] == Severity.PAGE}


async def rest(prometheus: Prometheus) -> None:
    """Wait until nobody is woken any more."""

    async def is_quiet() -> bool:
        return not await pages(prometheus)

    await eventually(is_quiet, within_s=RESTS_WITHIN_S, what="nobody is woken any more")


@asynccontextmanager
async def payers(traveller: Traveller) -> AsyncIterator[list[str]]:
    """Have payments made while inside, whatever fails; yield the list of those that were submitted."""
    paid: list[str] = []

    async def pay_on() -> None:
        while True:
            with suppress(errors.BatzenError):
                start = traveller.start_request()
                started = await traveller.shop.orchestrator.StartPayment(start, timeout=CALL_TIMEOUT_S)
                submit = orchestrator_pb2.SubmitPaymentRequest(
                    request_id=new_request_id(),
                    payment_id=started.session.payment.payment_id,
                    payment_method_id="pm_card_visa",
                )
                await traveller.payer.orchestrator.SubmitPayment(submit, timeout=CALL_TIMEOUT_S)
                paid.append(submit.payment_id)

    working = [asyncio.create_task(pay_on()) for _ in range(PAYERS)]
    try:
        yield paid
    finally:
        for task in working:
            task.cancel()
        await asyncio.wait(working)


async def test_a_suite_that_is_well_wakes_nobody(traveller: Traveller, prometheus: Prometheus) -> None:
    woken: set[str] = set()
    async with payers(traveller) as paid:

        async def is_busy() -> bool:
            woken.update(await pages(prometheus))
            return len(paid) >= PAID_MIN and bool(await prometheus.ask("batzen:slo_burn_rate:1h"))

        await eventually(is_busy, within_s=RESTS_WITHIN_S, what="payments are made")

    assert woken == set()


async def test_webhooks_that_nobody_signed_are_told(traveller: Traveller, prometheus: Prometheus) -> None:
    async def until_told() -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=WITHIN_S) as stranger:
            while True:
                headers = {"Stripe-Signature": "t=1,v1=00", "Content-Type": "application/json"}
                answer = await stranger.post(traveller.suite.webhook_url, content=b"{}", headers=headers)
                assert answer.status_code == httpx.codes.BAD_REQUEST

    posting = asyncio.create_task(until_told())
    try:
        await fire(prometheus, "BatzenWebhookSignaturesInvalid", "BatzenWebhooksRefused")
    finally:
        posting.cancel()
        await asyncio.wait({posting})
    await rest(prometheus)


async def test_webhooks_that_stopped_are_told(traveller: Traveller, prometheus: Prometheus) -> None:
    await traveller.sandbox.webhooks(drop=1.0)
    async with payers(traveller):
        await fire(prometheus, "BatzenWebhooksStopped")
    await traveller.sandbox.webhooks()


async def test_stripe_that_is_away_is_told_and_so_is_what_is_not_known(
    traveller: Traveller, prometheus: Prometheus
) -> None:
    payment_id = (await traveller.start()).payment.payment_id
    await traveller.sandbox.fault(Kind.RESET, route="*", times=None)
    submit = orchestrator_pb2.SubmitPaymentRequest(
        request_id=new_request_id(), payment_id=payment_id, payment_method_id="pm_card_visa"
    )
    with suppress(errors.BatzenError):
        await traveller.payer.orchestrator.SubmitPayment(submit, timeout=FIRES_WITHIN_S)
    async with payers(traveller):
        await fire(prometheus, "BatzenStripeAway", "BatzenBudgetBurnsFast", "BatzenCallsFail")
    await fire(prometheus, "BatzenOutcomeUnknown", within_s=4 * FIRES_WITHIN_S)
    await traveller.sandbox.clear_faults()

    async def is_known() -> bool:
        return state_name((await traveller.payment(payment_id)).state) != "PROCESSING"

    # It succeeded, or it is the payer's turn again where Stripe never heard of it: either is an answer.
    await eventually(is_known, within_s=RESTS_WITHIN_S, what="the outcome is known")
    await rest(prometheus)


async def test_stripe_that_fails_now_and_then_is_told(traveller: Traveller, prometheus: Prometheus) -> None:
    await traveller.sandbox.fault(Kind.SERVER_ERROR, route="*", times=None, chance=FAILS_SHARE)
    async with payers(traveller):
        await fire(prometheus, "BatzenStripeErrors")


async def test_a_database_that_is_away_is_told(
    suite_postgres: RestartablePostgres, traveller: Traveller, prometheus: Prometheus
) -> None:
    async with payers(traveller):
        await asyncio.to_thread(suite_postgres.stop)
        try:
            await fire(prometheus, "BatzenDatabaseAway", "BatzenNoReplicaReady", "BatzenReplicaNotReady")
        finally:
            await asyncio.to_thread(suite_postgres.start)
        await rest(prometheus)


async def test_transitions_that_status_does_not_hear_of_are_told(traveller: Traveller, prometheus: Prometheus) -> None:
    payment_id = (await traveller.start()).payment.payment_id
    await traveller.suite.stop("status")
    await traveller.submit(payment_id, "pm_card_visa")
    await fire(prometheus, "BatzenTransitionsNotRecorded", "BatzenServiceUnseen", "BatzenReplicaUnseen")
    await traveller.suite.start("status")
    await traveller.until(payment_id, "SUCCEEDED", within_s=RESTS_WITHIN_S)
    await rest(prometheus)


async def test_a_replica_that_starts_over_and_over_is_told(suite: Suite, prometheus: Prometheus) -> None:
    async def is_known() -> bool:
        return bool(await prometheus.ask('up{job="pricing"} == 1'))

    await eventually(is_known, within_s=FIRES_WITHIN_S, what="pricing is scraped")
    for start in range(RESTARTS):
        await suite.kill("pricing")
        await suite.start("pricing")

        async def is_scraped(start: int = start) -> bool:
            begun = await prometheus.ask('changes(process_start_time_seconds{job="pricing"}[5m])')
            return bool(begun) and float(begun[0]["value"][1]) > start

        await eventually(is_scraped, within_s=FIRES_WITHIN_S, what="the new process is scraped")
    await fire(prometheus, "BatzenRestarts")


async def test_an_event_loop_that_hangs_is_told(suite: Suite, prometheus: Prometheus) -> None:
    pid = suite.pid("status")
    assert pid is not None
    loop = asyncio.get_running_loop()

    async def hang_on() -> None:
        while True:
            os.kill(pid, signal.SIGSTOP)
            until = loop.time() + HANGS_S
            try:
                await eventually(lambda until=until: loop.time() > until)  # type: ignore[misc]
            finally:
                os.kill(pid, signal.SIGCONT)
            until = loop.time() + HANGS_S
            await eventually(lambda until=until: loop.time() > until)  # type: ignore[misc]

    hanging = asyncio.create_task(hang_on())
    try:
        await fire(prometheus, "BatzenEventLoopLags")
    finally:
        hanging.cancel()
        await asyncio.wait({hanging})


async def test_stripe_that_is_slow_is_told(traveller: Traveller, prometheus: Prometheus) -> None:
    await traveller.sandbox.set_latency(LATE_MS)
    try:
        async with payers(traveller):
            await fire(prometheus, "BatzenStartSlow")
    finally:
        await traveller.sandbox.set_latency(0)


async def test_what_an_operator_has_to_see_is_told(traveller: Traveller, prometheus: Prometheus) -> None:
    payment_id = await pay(traveller)
    await traveller.until(payment_id, "SUCCEEDED", within_s=RESTS_WITHIN_S)
    await traveller.sandbox.dispute((await traveller.intent_of(payment_id))["id"])
    async with traveller.suite.client("operator", sub="clerk") as operator:
        pause = ops_pb2.PauseStartsRequest(request_id=new_request_id(), actor_id="clerk", reason="A test")
        await operator.orchestrator_ops.PauseStarts(pause)
        try:
            await fire(prometheus, "BatzenAttention", "BatzenStartsPaused")
        finally:
            resume = ops_pb2.ResumeStartsRequest(request_id=new_request_id(), actor_id="clerk", reason="A test")
            await operator.orchestrator_ops.ResumeStarts(resume)
