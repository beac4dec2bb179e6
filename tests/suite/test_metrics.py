"""Every figure that is declared is there in the running service, and moves when what it counts happens."""

from __future__ import annotations

from typing import Final

import aiohttp
import pytest

from local.environments import SERVICES
from local.ports import HOST
from local.suite import Suite
from services.runtime.observability.metrics import Kind, Metric
from tests.eventually import eventually
from tests.metrics import Figures, metrics_of
from tests.suite.journeys import Traveller, pay, pay_and_refund, pay_with_3ds, pay_with_a_coupon

ELSEWHERE: Final = {
    "batzen_personal_keys_total": "tests/gateway/test_personal.py",
    "batzen_import_records_total": "tests/orchestrator/test_imports.py",
    "batzen_webhook_deliveries_made_total": "tests/orchestrator/test_webhooks_out.py",
    "batzen_webhook_deliveries_ended_total": "tests/orchestrator/test_webhooks_out.py",
    "batzen_webhook_tries_total": "tests/orchestrator/test_webhooks_out.py",
    "batzen_webhook_delivered_seconds": "tests/orchestrator/test_webhooks_out.py",
    "batzen_webhook_try_seconds": "tests/orchestrator/test_webhooks_out.py",
    "batzen_webhook_waiting": "tests/orchestrator/test_webhooks_out.py",
    "batzen_webhook_oldest_waiting_seconds": "tests/orchestrator/test_webhooks_out.py",
    "batzen_webhook_dead": "tests/orchestrator/test_webhooks_out.py",
    "batzen_webhook_receiver_failing_seconds": "tests/orchestrator/test_webhooks_out.py",
    "batzen_diagnosis_payments_total": "tests/orchestrator/test_diagnosis_rounds.py",
    "batzen_booking_checks_total": "tests/orchestrator/test_bookings.py",
    "batzen_mails_total": "tests/orchestrator/test_mails.py",
    "batzen_mail_send_seconds": "tests/orchestrator/test_mails.py",
    "batzen_mails_waiting": "tests/orchestrator/test_mails.py",
    "batzen_mails_oldest_seconds": "tests/orchestrator/test_mails.py",
    "batzen_rpc_refusals_total": "tests/runtime/test_metrics.py",
    "batzen_log_lines_dropped_total": "tests/runtime/test_metrics.py",
    "batzen_trace_spans_dropped_total": "tests/runtime/test_tracing.py",
    "batzen_error_reports_dropped_total": "tests/runtime/test_error_tracking.py",
    "batzen_background_failures_total": "tests/runtime/test_metrics.py",
    "batzen_database_unavailable_total": "tests/runtime/test_metrics.py",
    "batzen_work_runs_total": "tests/runtime/test_work_metrics.py",
    "batzen_payments_refunds_failed_minor_total": "tests/orchestrator/test_metrics.py",
    "batzen_recoveries_total": "tests/orchestrator/test_metrics.py",
    "batzen_webhook_to_status_seconds": "tests/orchestrator/test_metrics.py",
    "batzen_watch_ends_total": "tests/status/test_metrics.py",
    "batzen_webhook_refusals_total": "tests/gateway/test_metrics.py",
    "batzen_webhook_signature_failures_total": "tests/gateway/test_metrics.py",
    "batzen_webhook_lag_seconds": "tests/gateway/test_metrics.py",
    "batzen_webhook_apply_seconds": "tests/gateway/test_metrics.py",
    "batzen_delivery_seconds": "tests/gateway/test_metrics.py",
    "batzen_events_polled_total": "tests/gateway/test_polling.py",
    "batzen_notices_delivered_total": "tests/gateway/test_notices.py",
}
"""Counters and histograms that an everyday journey need not move, and where they are shown to."""


async def answered(suite: Suite, service: str) -> bytes:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{HOST}:{suite.ports[f'{service}-metrics']}/metrics") as answer,
    ):
        assert answer.status == 200
        return await answer.read()


async def figures(suite: Suite) -> dict[str, Figures]:
    return {service: Figures.read(await answered(suite, service)) for service in SERVICES}


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_exports_what_is_declared_for_it_and_nothing_else(suite: Suite, service: str) -> None:
    families = [
        line.split() for line in (await answered(suite, service)).decode().splitlines() if line.startswith("# TYPE")
    ]
    exported = {(name, kind) for _, _, name, kind in families if name.startswith("batzen_")}
    declared = {(metric.name, str(metric.kind)) for metric in metrics_of(service)}
    if suite.env_for(service).get("BATZEN_TLS_CERTIFICATE") is None:
        declared -= {("batzen_certificate_expiry_timestamp_seconds", "gauge")}
    assert exported == declared


async def test_each_figure_moves_when_what_it_counts_happens(suite: Suite, traveller: Traveller) -> None:
    await traveller.start()
    await traveller.until_followed()
    before = await figures(suite)
    declined = (await traveller.start()).payment.payment_id
    await traveller.submit(declined, "pm_card_chargeDeclined")
    async with traveller.shop.watch(declined) as updates:
        await anext(aiter(updates))
        for journey in (pay, pay_with_3ds, pay_and_refund, pay_with_a_coupon):
            await journey(traveller)
        await traveller.cancel(declined)
        still: set[str] = set()

        async def all_moved() -> bool:
            nonlocal still
            still = standing(before, await figures(suite)) - set(ELSEWHERE)
            return not still

        # Much is counted later than the answer of a journey.
        await eventually(all_moved, what=lambda: f"these move: {still}")


def standing(before: dict[str, Figures], now: dict[str, Figures]) -> set[str]:
    """Return the figures that have not moved in any service."""
    still = {metric.name for service in SERVICES for metric in metrics_of(service) if counts(metric)}
    for service in SERVICES:
        for metric in metrics_of(service):
            name = metric.name if metric.kind is Kind.COUNTER else f"{metric.name}_count"
            if now[service].total(name) > before[service].total(name):
                still.discard(metric.name)
    return still


def counts(metric: Metric) -> bool:
    """Whether a figure only grows; what a gauge shows is tested where it is made to show it."""
    return metric.kind is not Kind.GAUGE


async def test_no_figure_is_said_to_move_elsewhere_that_is_not_there() -> None:
    assert set(ELSEWHERE) <= {metric.name for service in SERVICES for metric in metrics_of(service)}
