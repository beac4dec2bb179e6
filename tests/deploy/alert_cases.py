"""For each alert, series that fire it and series that do not, both close to its threshold.

Values are promtool's: `0+3x40` begins at 0 and grows by 3 each interval, 40 times; `_` is no sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from deploy.observability.alerts.process import MEMORY_MIB_MAX
from deploy.observability.rule import PROCESSES


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is scraped, and whether an alert fires then."""

    fires: bool
    at: str
    series: Mapping[str, str]
    begins_s: int = 0
    """When what the alert tells begins; it does not fire before that has lasted."""


def fires(at: str, series: Mapping[str, str], *, begins_s: int = 0) -> Case:
    """The alert fires at a time, and has not before it lasted as long as its rule says."""
    return Case(fires=True, at=at, series=series, begins_s=begins_s)


def rests(at: str, series: Mapping[str, str]) -> Case:
    """The alert does not fire."""
    return Case(fires=False, at=at, series=series)


def _histogram(metric: str, *, le: Mapping[str, str], labels: str = "") -> dict[str, str]:
    """Return the buckets of a histogram, whose last one is that of all."""
    comma = "," if labels else ""
    buckets = {f'{metric}_bucket{{{labels}{comma}le="{bound}"}}': values for bound, values in le.items()}
    every = f"{metric}_count{{{labels}}}" if labels else f"{metric}_count"
    return {**buckets, every: le["+Inf"]}


def _calls(**codes: str) -> dict[str, str]:
    labels = 'job="orchestrator",method="OrchestratorService/StartPayment"'
    return {f'batzen_rpc_requests_total{{{labels},code="{code}"}}': values for code, values in codes.items()}


def _replicas(**values: str) -> dict[str, str]:
    return {f'batzen_build_info{{job="{job}",version="1",commit="a"}}': series for job, series in values.items()}


def _one_in(intervals: int) -> str:
    """Return a counter that grows by one in so many intervals."""
    return " ".join(f"{count}x{intervals - 1}" for count in range(20))


def _mails(*, oldest: str = "", **outcomes: str) -> dict[str, str]:
    """Return tries to send a mail, and for how long the oldest has waited."""
    labels = 'job="orchestrator",outcome='
    tries = {f'batzen_mails_total{{{labels}"{outcome}"}}': values for outcome, values in outcomes.items()}
    return tries | ({'batzen_mails_oldest_seconds{job="orchestrator"}': oldest} if oldest else {})


def _receiver(figure: str, values: str) -> dict[str, str]:
    return {f'batzen_webhook_{figure}{{job="orchestrator",receiver="main/reservations"}}': values}


def _traffic(*spells: tuple[int, float, float], code: str = "UNAVAILABLE") -> dict[str, str]:
    """Return calls in spells of so many intervals, in each of which so many are made and so many fail."""
    made, failed = [0.0], [0.0]
    for intervals, calls, failures in spells:
        for _ in range(intervals):
            made.append(made[-1] + calls - failures)
            failed.append(failed[-1] + failures)
    return _calls(**{"OK": _values(made), code: _values(failed)})


def _values(samples: list[float]) -> str:
    return " ".join(f"{sample:.4f}" for sample in samples)


def _stripe_calls(**outcomes: str) -> dict[str, str]:
    labels = 'job="gateway",operation="POST payment_intents one confirm"'
    return {
        f'batzen_stripe_calls_total{{{labels},outcome="{outcome}"}}': values for outcome, values in outcomes.items()
    }


def _succeeded(values: str) -> dict[str, str]:
    return {'batzen_payments_ended_total{job="orchestrator",state="SUCCEEDED"}': values}


def _findings(**kinds: str) -> dict[str, str]:
    return {f'batzen_reconciliation_findings{{job="gateway",kind="{kind}"}}': values for kind, values in kinds.items()}


def _due(*, days: float, tenant: str = "main") -> dict[str, str]:
    """Return when a tenant's first answer is due; 0 for none."""
    return {f'batzen_dispute_due_timestamp_seconds{{job="gateway",instance="{tenant}"}}': f"{days * 86_400:.0f}x80"}


def _settlement_waits(reason: str, *, hours: int) -> dict[str, str]:
    return {f'batzen_settlements_waiting_oldest_seconds{{job="gateway",reason="{reason}"}}': f"{hours * 3_600}x400"}


def _received(values: str) -> dict[str, str]:
    return {'batzen_webhooks_received_total{job="gateway",type="charge.refunded",outcome="accepted"}': values}


def _polled(values: str) -> dict[str, str]:
    return {'batzen_events_polled_total{job="gateway",outcome="accepted"}': values}


def _ends(**reasons: str) -> dict[str, str]:
    return {f'batzen_watch_ends_total{{job="status",reason="{reason}"}}': values for reason, values in reasons.items()}


def _lost(*, spans: str, reports: str) -> dict[str, str]:
    return {
        'batzen_trace_spans_dropped_total{job="status",instance="a"}': spans,
        'batzen_error_reports_dropped_total{job="status",instance="a"}': reports,
    }


def _browsers(**statuses: str) -> dict[str, str]:
    """Return requests for pages, by how they were answered."""
    labels = 'job="bff",purpose="page"'
    return {
        f'batzen_browser_requests_total{{{labels},status="{status}"}}': values for status, values in statuses.items()
    }


def _browser_streams(**ends: str) -> dict[str, str]:
    return {f'batzen_browser_streams_ended_total{{job="bff",why="{why}"}}': values for why, values in ends.items()}


def _memory(service: str, mib: float) -> dict[str, str]:
    return {f'process_resident_memory_bytes{{job="{service}",instance="a"}}': f"{mib * 1024**2:.0f}x100"}


def _versions(*versions: str) -> dict[str, str]:
    return {
        f'batzen_build_info{{job="status",instance="{version}",version="{version}",commit="c"}}': "1x400"
        for version in versions
    }


def _quantile(metric: str, threshold: float, labels: str = "", *, quantile: float = 0.95) -> tuple[Case, Case]:
    """Return cases in which a percentile is 1.25 times a threshold, and 0.8 times."""
    return tuple(  # type: ignore[return-value]
        make(
            "12m",
            _histogram(
                metric,
                labels=labels,
                le={"0.0": "0x80", f"{threshold * factor / quantile:.6f}": "0+100x80", "+Inf": "0+100x80"},
            ),
        )
        for make, factor in ((fires, 1.25), (rests, 0.8))
    )


def _duration(job: str, method: str, threshold: float) -> tuple[Case, ...]:
    metric = "batzen_rpc_duration_seconds"
    return (
        *_quantile(metric, threshold, f'job="{job}",method="{method}"'),
        # Another method may take its time.
        rests("12m", _histogram(metric, labels=f'job="{job}",method="Other"', le={"9.0": "0x80", "+Inf": "0+100x80"})),
    )


ALL_SEEN: Final = dict.fromkeys(PROCESSES, "1x60")

OBJECTIVES: Final[dict[str, tuple[Case, ...]]] = {
    "payment-calls": (
        fires("1h20m", _traffic((36, 1000, 18))),
        rests("1h20m", _traffic((36, 1000, 5))),
    ),
    "webhook-to-status": (
        fires(
            "1h20m",
            _histogram(
                "batzen_webhook_to_status_seconds", le={"30.0": "0+83x36", "60.0": "0+99x36", "+Inf": "0+100x36"}
            ),
        ),
        rests(
            "1h20m",
            _histogram(
                "batzen_webhook_to_status_seconds", le={"10.0": "0+5x36", "30.0": "0+95x36", "+Inf": "0+100x36"}
            ),
        ),
    ),
    "watch-lag": (
        fires(
            "1h20m", _histogram("batzen_watch_lag_seconds", le={"1.0": "0+83x36", "5.0": "0+99x36", "+Inf": "0+100x36"})
        ),
        rests(
            "1h20m", _histogram("batzen_watch_lag_seconds", le={"0.5": "0+5x36", "1.0": "0+95x36", "+Inf": "0+100x36"})
        ),
    ),
}
"""For each objective, events that spend its budget 17 times too fast, and events that spend it five times too fast."""
CASES: Final[dict[str, tuple[Case, ...]]] = {
    # Two and a half minutes between samples, a thousand calls in each interval unless they are few.
    "BatzenBudgetBurnsFast": (
        # An hour at 18 times the budget, after six that were good.
        fires("7h", _traffic((144, 1000, 0), (26, 1000, 18))),
        # Six hours at 7.5 times.
        fires("6h30m", _traffic((158, 1000, 7.5)), begins_s=150),
        # An hour at 12, five minutes at 18; and an hour at 16, five minutes at 12.
        rests("7h", _traffic((144, 1000, 0), (22, 1000, 11), (4, 1000, 18))),
        rests("7h", _traffic((144, 1000, 0), (20, 1000, 17), (6, 1000, 12))),
        # Six hours at 5, half an hour at 7.5; and the other way round.
        rests("7h", _traffic((155, 1000, 4.8), (15, 1000, 7.5))),
        rests("7h", _traffic((155, 1000, 7.5), (15, 1000, 5))),
        # Few calls: four failures in an hour are enough, two are not.
        fires("7h", _traffic((144, 10, 0), (26, 10, 4 / 24))),
        rests("7h", _traffic((144, 5, 0), (26, 5, 2 / 24))),
        # The same of six hours.
        fires("6h30m", _traffic((158, 3.5, 4 / 144))),
        rests("6h30m", _traffic((158, 1.75, 2 / 144))),
        # What a caller did wrong is no failure of ours.
        rests("7h", _traffic((170, 1000, 18), code="INVALID_ARGUMENT")),
    ),
    # Half an hour between samples.
    "BatzenBudgetBurnsSlowly": (
        # A day at four times the budget, after three good ones with more traffic.
        fires("4d", _traffic((144, 2000, 0), (50, 1000, 4))),
        # Three days at 1.3 times.
        fires("4d", _traffic((194, 1000, 1.3)), begins_s=3 * 1800),
        # A day at 2.6, two hours at 4; and the other way round.
        rests("4d", _traffic((144, 2000, 0), (43, 1000, 2.5), (7, 1000, 4))),
        rests("4d", _traffic((144, 2000, 0), (43, 1000, 4), (7, 1000, 2.5))),
        # Three days at 0.75, six hours at 1.3; and the other way round.
        rests("4d", _traffic((179, 1000, 0.7), (15, 1000, 1.3))),
        rests("4d", _traffic((179, 1000, 1.3), (15, 1000, 0.7))),
        # Few calls: four failures in a day are enough, two are not.
        fires("4d", _traffic((144, 90, 0), (50, 21, 4 / 48))),
        rests("100h", _traffic((144, 90, 0), (58, 10.5, 2 / 48))),
        # The same of three days.
        fires("4d", _traffic((194, 21, 4 / 144))),
        rests("4d", _traffic((194, 10.5, 2 / 144))),
    ),
    # Money
    "BatzenOutcomeUnknown": (
        fires("3m", {'batzen_payments_unknown_oldest_seconds{job="gateway"}': "700x20"}),
        rests("10m", {'batzen_payments_unknown_oldest_seconds{job="gateway"}': "500x60"}),
    ),
    "BatzenTransitionsNotRecorded": (
        fires("3m", {'batzen_transition_outbox_oldest_seconds{job="orchestrator"}': "150x20"}),
        rests("10m", {'batzen_transition_outbox_oldest_seconds{job="orchestrator"}': "100x60"}),
    ),
    "BatzenWorkLate": (
        fires("8m", {'batzen_work_oldest_due_seconds{job="gateway",kind="event"}': "400x60"}),
        rests("10m", {'batzen_work_oldest_due_seconds{job="gateway",kind="event"}': "250x60"}),
    ),
    "BatzenWorkPilesUp": (
        fires("15m", {'batzen_work_due{job="gateway",kind="event"}': "1300x100"}),
        rests("15m", {'batzen_work_due{job="gateway",kind="event"}': "900x100"}),
    ),
    "BatzenDeadLetters": (
        fires("3m", {'batzen_dead_letters{job="gateway",kind="event"}': "1x20"}),
        rests("10m", {'batzen_dead_letters{job="gateway",kind="event"}': "0x60"}),
    ),
    "BatzenAttention": (
        fires("8m", {'batzen_attention_payments{job="orchestrator",kind="LATE_MONEY"}': "1x40"}),
        rests("10m", {'batzen_attention_payments{job="orchestrator",kind="LATE_MONEY"}': "0x60"}),
    ),
    "BatzenPayoutFailed": (
        fires("4m", {'batzen_payouts_failed{job="gateway",of="seller"}': "1x40"}),
        rests("10m", {'batzen_payouts_failed{job="gateway",of="seller"}': "0x60"}),
    ),
    "BatzenPlansLate": (
        fires("12m", {'batzen_planned_late_seconds{job="orchestrator",step="CHARGE"}': "660x60"}),
        rests("12m", {'batzen_planned_late_seconds{job="orchestrator",step="CHARGE"}': "540x60"}),
        # Who is told late of a hold is not yet out of money.
        rests("12m", {'batzen_planned_late_seconds{job="orchestrator",step="WARN_HOLD"}': "900x60"}),
    ),
    "BatzenHoldLapses": (
        fires("3m", {'batzen_attention_payments{job="orchestrator",kind="HOLD_LAPSES"}': "1x40"}),
        rests("10m", {'batzen_attention_payments{job="orchestrator",kind="HOLD_LAPSES"}': "0x60"}),
    ),
    "BatzenBookingCheckSilent": (
        fires(
            "9m",
            {
                'batzen_booking_checks_total{outcome="payable"}': "0+88x60",
                'batzen_booking_checks_total{outcome="silent"}': "0+12x60",
            },
        ),
        rests(
            "9m",
            {
                'batzen_booking_checks_total{outcome="payable"}': "0+92x60",
                'batzen_booking_checks_total{outcome="silent"}': "0+8x60",
            },
        ),
        # Three of seven: too few to say.
        rests(
            "4m",
            {
                'batzen_booking_checks_total{outcome="payable"}': "0 4x40",
                'batzen_booking_checks_total{outcome="silent"}': "0 3x40",
            },
        ),
        fires(
            "4m",
            {
                'batzen_booking_checks_total{outcome="payable"}': "0 8x40",
                'batzen_booking_checks_total{outcome="silent"}': "0 5x40",
            },
        ),
    ),
    "BatzenRecoveriesFail": (
        fires(
            "8m",
            {
                'batzen_recoveries_total{outcome="moved"}': "0+8x40",
                'batzen_recoveries_total{outcome="failed"}': "0+2x40",
            },
        ),
        rests(
            "8m",
            {
                'batzen_recoveries_total{outcome="moved"}': "0+95x40",
                'batzen_recoveries_total{outcome="failed"}': "0+5x40",
            },
        ),
        # Three of seven failed: too few to say.
        rests(
            "8m",
            {
                'batzen_recoveries_total{outcome="moved"}': "0 4x40",
                'batzen_recoveries_total{outcome="failed"}': "0 3x40",
            },
        ),
        fires(
            "8m",
            {
                'batzen_recoveries_total{outcome="moved"}': "0 8x40",
                'batzen_recoveries_total{outcome="failed"}': "0 5x40",
            },
        ),
    ),
    "BatzenStatesSlow": (
        *_quantile("batzen_payment_state_seconds", 5, 'state="PROCESSING"'),
        rests(
            "12m",
            _histogram(
                "batzen_payment_state_seconds", labels='state="REQUIRES_ACTION"', le={"9.0": "0x80", "+Inf": "0+100x80"}
            ),
        ),
    ),
    "BatzenStartsPaused": (
        fires("1m", {'batzen_starts_paused{job="orchestrator",tenant="main"}': "1x20"}),
        rests("1m", {'batzen_starts_paused{job="orchestrator",tenant="main"}': "0x20"}),
    ),
    # Books
    "BatzenLedgerDrifts": (
        fires("3m", _findings(LEDGER_UNBALANCED="1x40")),
        fires("3m", _findings(CLOSING="1x40")),
        rests("10m", _findings(LEDGER_UNBALANCED="0x60", CLOSING="0x60", AMOUNT="7x60")),
    ),
    "BatzenReconciliationDiffers": (
        *(
            fires("3m", _findings(**{kind: "1x40"}))
            for kind in ("MISSING_HERE", "MISSING_THERE", "AMOUNT", "UNASKED", "NOT_SETTLED", "PAYOUT", "NOT_DELIVERED")
        ),
        # Those have an alert of their own.
        rests("10m", _findings(AMOUNT="0x60", CLOSING="2x60", CLEARING_OLD="2x60", UNCLASSIFIED="2x60")),
    ),
    "BatzenReconciliationRemainder": (
        fires("3m", {'batzen_reconciliation_remainder_minor{job="gateway",currency="CHF"}': "1x40"}),
        rests("10m", {'batzen_reconciliation_remainder_minor{job="gateway",currency="CHF"}': "0x60"}),
    ),
    "BatzenClearingOld": (
        fires("3m", _findings(CLEARING_OLD="1x40")),
        rests("10m", _findings(CLEARING_OLD="0x60", AMOUNT="2x60")),
    ),
    "BatzenUnclassified": (
        fires("3m", _findings(UNCLASSIFIED="1x40")),
        rests("10m", _findings(UNCLASSIFIED="0x60", AMOUNT="2x60")),
    ),
    "BatzenReconciliationOld": (
        fires("8m", {'batzen_reconciliation_age_seconds{job="gateway"}': "120000x60"}),
        rests("10m", {'batzen_reconciliation_age_seconds{job="gateway"}': "100000x60"}),
    ),
    "BatzenBalanceReadingBehind": (
        fires("14m", {'batzen_balance_read_age_seconds{job="gateway"}': "4000x90"}),
        rests("14m", {'batzen_balance_read_age_seconds{job="gateway"}': "3000x90"}),
    ),
    # Promtool's time begins at 0: what is due then is due in so many seconds.
    "BatzenDisputeDue": (
        fires("8m", _due(days=2.9)),
        rests("10m", _due(days=3.1)),
        # Nothing is due; and of two tenants one has nothing that is.
        rests("10m", _due(days=0)),
        fires("8m", _due(days=0, tenant="a") | _due(days=2.9, tenant="b")),
    ),
    "BatzenDisputeDueToday": (
        fires("8m", _due(days=0.9)),
        rests("10m", _due(days=1.1)),
        rests("10m", _due(days=0)),
        fires("8m", _due(days=5, tenant="a") | _due(days=0.9, tenant="b")),
    ),
    "BatzenSettlementWaits": (
        fires("70m", _settlement_waits("BALANCE", hours=25)),
        fires("70m", _settlement_waits("SELLER", hours=25)),
        rests("70m", _settlement_waits("BALANCE", hours=23)),
        # Paid later by its terms.
        rests("70m", _settlement_waits("PAY_TIME", hours=240)),
    ),
    "BatzenReceivablesOpen": (
        fires("70m", {'batzen_receivables_open{job="gateway"}': "1x400"}),
        rests("70m", {'batzen_receivables_open{job="gateway"}': "0x400"}),
    ),
    # Stripe
    "BatzenRecordsDisagreeOnMoney": (
        *(
            fires("3m", {f'batzen_diagnosis_disagreements{{job="orchestrator",check="{check}"}}': "1x40"})
            for check in ("LEDGER_BOOKS", "AMOUNTS", "PLAN_MISSING")
        ),
        rests(
            "10m",
            {
                'batzen_diagnosis_disagreements{job="orchestrator",check="AMOUNTS"}': "0x60",
                'batzen_diagnosis_disagreements{job="orchestrator",check="NOT_DUE"}': "3x60",
            },
        ),
    ),
    "BatzenRecordsDisagree": (
        fires("3m", {'batzen_diagnosis_disagreements{job="orchestrator",check="NOT_DUE"}': "1x40"}),
        # Those have an alert of their own.
        rests(
            "10m",
            {
                'batzen_diagnosis_disagreements{job="orchestrator",check="NOT_DUE"}': "0x60",
                'batzen_diagnosis_disagreements{job="orchestrator",check="LEDGER_MIRROR"}': "3x60",
            },
        ),
    ),
    "BatzenDiagnosisOld": (
        fires("8m", {'batzen_diagnosis_age_seconds{job="orchestrator"}': "15000x60"}),
        rests("10m", {'batzen_diagnosis_age_seconds{job="orchestrator"}': "14000x60"}),
    ),
    "BatzenStripeAway": (
        fires("3m", {'batzen_stripe_breaker_open{job="gateway",share="pay"}': "1x20"}),
        rests("10m", {'batzen_stripe_breaker_open{job="gateway",share="pay"}': "0x60"}),
    ),
    "BatzenStripeKeyRefused": (
        fires("3m", {'batzen_stripe_key_refused{job="gateway"}': "1x20"}),
        rests("10m", {'batzen_stripe_key_refused{job="gateway"}': "0x60"}),
    ),
    "BatzenStripeErrors": (
        fires("8m", _stripe_calls(answer="0+94x60", silence="0+3x60", failure="0+3x60")),
        rests("12m", _stripe_calls(answer="0+96x60", silence="0+4x60", refusal="0+5x60")),
        # While Stripe is known to be away hardly anything is sent.
        fires("12m", _stripe_calls(answer="0x60", silence=_one_in(3), not_sent="0+100x60")),
        # Two in five minutes are too few to say, four are not.
        rests("12m", _stripe_calls(answer="0+1x60", silence=_one_in(9))),
        fires("12m", _stripe_calls(answer="0+1x60", silence=_one_in(5))),
    ),
    "BatzenStripeRateWaits": _quantile("batzen_stripe_rate_wait_seconds", 0.5),
    "BatzenWebhookSignaturesInvalid": (
        fires("4m", {'batzen_webhook_signature_failures_total{endpoint="platform"}': "0 6x60"}),
        rests("10m", {'batzen_webhook_signature_failures_total{endpoint="platform"}': _one_in(5)}),
    ),
    "BatzenWebhooksRefused": (
        fires("4m", {'batzen_webhook_signature_failures_total{endpoint="platform"}': "0 7x60"}),
        fires("4m", {'batzen_webhook_signature_failures_total{endpoint="platform"}': "0 7x60"} | _received("5x60")),
        rests("10m", {'batzen_webhook_signature_failures_total{endpoint="platform"}': "0 4x60"}),
        # Somebody tries, while Stripe's own arrive.
        rests("4m", {'batzen_webhook_signature_failures_total{endpoint="platform"}': "0 90x60"} | _received("0 1x60")),
    ),
    "BatzenWebhooksStopped": (
        fires("10m", _succeeded("0 12x200") | _received("5x200")),
        fires("10m", _succeeded("0 12x200")),
        rests("10m", _succeeded("0 12x200") | _received("0 1x200")),
        # They are not sent, and read.
        rests("10m", _succeeded("0 12x200") | _polled("0 1x200")),
        fires("10m", _succeeded("0 12x200") | _polled("5x200")),
        # The last of them arrived forty minutes before twelve payments.
        fires("50m", _succeeded("0x160 12x100") | _received("0 1x300")),
        # A quiet night: eight payments without a webhook say nothing.
        rests("20m", _succeeded("0 8x200")),
        # A quiet night, in which one payment each ten minutes says it after some hours.
        fires("2h20m", _succeeded(_one_in(40))),
        rests("3h", _succeeded(_one_in(40)) | _received("0 1x800")),
    ),
    "BatzenWebhooksLate": (
        *_quantile("batzen_webhook_lag_seconds", 60),
        rests(
            "12m", _histogram("batzen_webhook_lag_seconds", le={"60.0": "0x80", "300.0": "0 17x80", "+Inf": "0 17x80"})
        ),
        fires(
            "12m", _histogram("batzen_webhook_lag_seconds", le={"60.0": "0x80", "300.0": "0 25x80", "+Inf": "0 25x80"})
        ),
    ),
    "BatzenInboxOld": (
        fires("3m", {'batzen_webhook_inbox_oldest_seconds{job="gateway"}': "150x20"}),
        rests("10m", {'batzen_webhook_inbox_oldest_seconds{job="gateway"}': "100x60"}),
    ),
    "BatzenInboxDeep": (
        fires("8m", {'batzen_webhook_inbox_pending{job="gateway"}': "1300x60"}),
        rests("10m", {'batzen_webhook_inbox_pending{job="gateway"}': "900x60"}),
    ),
    "BatzenEventsNotRead": (
        fires("4m", {'batzen_event_poll_age_seconds{job="gateway"}': "1000x20"}),
        rests("4m", {'batzen_event_poll_age_seconds{job="gateway"}': "800x20"}),
        rests("4m", {'batzen_event_poll_age_seconds{job="gateway"}': "0x20"}),
    ),
    "BatzenEventsMayBeMissing": (
        fires("4m", {'batzen_event_poll_gap_seconds{job="gateway"}': "7200x20"}),
        rests("4m", {'batzen_event_poll_gap_seconds{job="gateway"}': "0x20"}),
    ),
    # Streams
    "BatzenWatchesUnstable": (
        fires("8m", _ends(left="0+94x60", WATCH_OVERFLOW="0+3x60", DEPENDENCY_UNAVAILABLE="0+3x60")),
        rests("12m", _ends(left="0+96x60", WATCH_OVERFLOW="0+4x60", SHUTTING_DOWN="0+4x60")),
        rests("8m", _ends(left="0 12x60", other="0 3x60")),
        fires("8m", _ends(left="0 20x60", other="0 8x60")),
    ),
    "BatzenWatchesOpenSlowly": _quantile("batzen_watch_first_update_seconds", 0.3),
    "BatzenStateUpdatesSlow": _quantile("batzen_watch_lag_seconds", 0.05),
    "BatzenFeedBehind": (
        fires("3m", {'batzen_feed_behind_seconds{job="status"}': "75x20"}),
        rests("10m", {'batzen_feed_behind_seconds{job="status"}': "50x60"}),
    ),
    "BatzenFrontErrors": (
        fires("8m", _browsers(**{"2xx": "0+39x60", "5xx": "0+1x60"})),
        rests("12m", _browsers(**{"2xx": "0+39x60", "5xx": "0+1x60", "4xx": "0+19x60"})),
        fires("4m", _browsers(**{"2xx": "0 20x60", "5xx": "0 6x60"})),
        rests("4m", _browsers(**{"2xx": "0 20x60", "5xx": "0 4x60"})),
    ),
    "BatzenFrontSlow": (
        *_quantile("batzen_browser_request_seconds", 1.0, 'job="bff",purpose="page"'),
        rests(
            "12m",
            _histogram(
                "batzen_browser_request_seconds",
                labels='job="bff",purpose="stream"',
                le={"1.0": "0x80", "+Inf": "0+100x80"},
            ),
        ),
    ),
    "BatzenFrontStreamsCut": (
        fires("18m", _browser_streams(gone="0+94x90", trouble="0+3x90", slow="0+3x90")),
        rests("20m", _browser_streams(gone="0+96x90", trouble="0+2x90", slow="0+2x90", draining="0+50x90")),
        rests("8m", _browser_streams(gone="0 12x60", trouble="0 3x60")),
        fires("8m", _browser_streams(gone="0 20x60", trouble="0 8x60")),
    ),
    "BatzenFrontTellsLate": _quantile("batzen_browser_transition_seconds", 2.0, 'job="bff"'),
    "BatzenFrontFull": (
        fires("3m", {'batzen_browser_streams_refused_total{job="bff",limit="process"}': "0+1x40"}),
        rests("10m", {'batzen_browser_streams_refused_total{job="bff",limit="session"}': "0+5x60"}),
        rests("10m", {'batzen_browser_streams_refused_total{job="bff",limit="process"}': "0x60"}),
    ),
    "BatzenFactsBehind": (
        fires("6m", {'batzen_facts_behind_seconds{job="orchestrator"}': "125x40"}),
        rests("6m", {'batzen_facts_behind_seconds{job="orchestrator"}': "115x40"}),
    ),
    "BatzenMailsWait": (
        fires("8m", _mails(not_taken="0+2x40", sent="0+1x40", oldest="2000x40")),
        rests("10m", _mails(not_taken="0+2x40", sent="0+1x40", oldest="1700x40")),
        rests("10m", _mails(not_taken="0+1x40", sent="0+2x40", oldest="2000x40")),
    ),
    "BatzenMailsRefused": (
        fires("15m", _mails(refused="0+3x60", sent="0+10x60")),
        fires("15m", _mails(refused="0 5 10 15 20 25x80", sent="0x90")),
        rests("15m", _mails(refused="0+3x60", sent="0+14x60")),
        rests("15m", _mails(refused="0 0 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16x60", sent="0x80")),
    ),
    "BatzenWebhookReceiverFails": (
        fires("3m", _receiver("receiver_failing_seconds", "950x80")),
        rests("20m", _receiver("receiver_failing_seconds", "890x80")),
    ),
    "BatzenWebhooksWait": (
        fires("8m", _receiver("oldest_waiting_seconds", "9100x80")),
        rests("10m", _receiver("oldest_waiting_seconds", "8900x80")),
    ),
    "BatzenWebhooksGivenUp": (
        fires("3m", _receiver("dead", "1x80")),
        rests("10m", _receiver("dead", "0x80")),
    ),
    # Calls
    "BatzenCallsFail": (
        fires("4m", _calls(OK="0+10x60", UNAVAILABLE="0+1x60", INTERNAL=_one_in(2))),
        rests("10m", _calls(OK="0+10x60", UNAVAILABLE="0+1x60", NOT_FOUND="0+10x60")),
    ),
    "BatzenCallsTimeOut": (
        fires("8m", _calls(OK="0+4x60", DEADLINE_EXCEEDED="0+6x60")),
        rests("12m", _calls(OK="0+6x60", DEADLINE_EXCEEDED="0+4x60")),
        # A caller with no patience, at night.
        rests("12m", _calls(OK="0x60", DEADLINE_EXCEEDED=_one_in(5))),
        fires("12m", _calls(OK="0x60", DEADLINE_EXCEEDED=_one_in(2))),
    ),
    "BatzenStartSlow": _duration("orchestrator", "OrchestratorService/StartPayment", 0.5),
    "BatzenStatusReadsSlow": _duration("status", "StatusService/GetPayment", 0.1),
    # Processes
    "BatzenServiceUnseen": (
        *(
            fires("3m", _replicas(**{job: values for job, values in ALL_SEEN.items() if job != gone}))
            for gone in PROCESSES
        ),
        rests("10m", _replicas(**ALL_SEEN)),
    ),
    "BatzenReplicaUnseen": (
        fires("8m", {'up{job="status",instance="a"}': "0x40"}),
        rests("10m", {'up{job="status",instance="a"}': "1x60", 'up{job="somebody-else",instance="a"}': "0x60"}),
    ),
    "BatzenNoReplicaReady": (
        fires(
            "2m", {'batzen_ready{job="status",instance="a"}': "0x20", 'batzen_ready{job="status",instance="b"}': "0x20"}
        ),
        rests(
            "10m",
            {'batzen_ready{job="status",instance="a"}': "0x60", 'batzen_ready{job="status",instance="b"}': "1x60"},
        ),
    ),
    "BatzenReplicaNotReady": (
        fires(
            "8m", {'batzen_ready{job="status",instance="a"}': "0x60", 'batzen_ready{job="status",instance="b"}': "1x60"}
        ),
        rests("10m", {'batzen_ready{job="status",instance="a"}': "1x60"}),
    ),
    "BatzenDatabaseAway": (
        fires("3m", {'batzen_database_unavailable_total{job="status"}': "0+5x40"}),
        rests("10m", {'batzen_database_unavailable_total{job="status"}': "7x60"}),
        # A failover of half a minute, also while it is still in the window.
        rests("2m", {'batzen_database_unavailable_total{job="status"}': "0 0 9 18x60"}),
        rests("90s", {'batzen_database_unavailable_total{job="status"}': "0 0 9 18x60"}),
        rests("105s", {'batzen_database_unavailable_total{job="status"}': "0 0 9 18 27x60"}),
    ),
    "BatzenConnectionsScarce": (
        fires("4m", {'batzen_database_connections{job="status",instance="a",state="waiting"}': "10x60"}),
        rests("10m", {'batzen_database_connections{job="status",instance="a",state="waiting"}': "7x60"}),
        rests("10m", {'batzen_database_connections{job="status",instance="a",state="busy"}': "16x60"}),
    ),
    "BatzenFiguresOld": (
        fires("3m30s", {'batzen_sample_timestamp_seconds{job="gateway"}': "0x60"}, begins_s=135),
        # Ninety seconds behind the time, all the while.
        rests("10m", {'batzen_sample_timestamp_seconds{job="gateway"}': "-90+15x60"}),
    ),
    "BatzenBackgroundTaskFails": (
        fires("6m", {'batzen_background_failures_total{job="status",task="hints"}': "0 3x60"}),
        rests("10m", {'batzen_background_failures_total{job="status",task="hints"}': "0 2x60"}),
    ),
    "BatzenRestarts": (
        fires("6m", {'process_start_time_seconds{job="status",instance="a"}': "1 2 3 4x60"}),
        rests("6m", {'process_start_time_seconds{job="status",instance="a"}': "1 2 3x60"}),
    ),
    "BatzenEventLoopLags": _quantile("batzen_event_loop_lag_seconds", 0.1, 'job="status",instance="a"', quantile=0.99),
    "BatzenMemoryHigh": (
        *(fires("15m", _memory(service, mib)) for service, mib in MEMORY_MIB_MAX.items()),
        *(rests("15m", _memory(service, mib * 0.7)) for service, mib in MEMORY_MIB_MAX.items()),
    ),
    "BatzenLogLinesDropped": (
        fires("6m", {'batzen_log_lines_dropped_total{job="status",instance="a"}': "0 0 40x60"}),
        rests("10m", {'batzen_log_lines_dropped_total{job="status",instance="a"}': "40x60"}),
    ),
    "BatzenTelemetryLost": (
        fires("6m", _lost(spans="0 0 40x60", reports="0x60")),
        fires("6m", _lost(spans="0x60", reports="0 0 40x60")),
        rests("10m", _lost(spans="40x60", reports="40x60")),
    ),
    "BatzenCertificateExpires": (
        # Promtool's time begins at 0.
        fires(
            "8m",
            {'batzen_certificate_expiry_timestamp_seconds{job="status",instance="a",file="certificate"}': "12000x60"},
        ),
        rests(
            "10m",
            {'batzen_certificate_expiry_timestamp_seconds{job="status",instance="a",file="certificate"}': "18000x60"},
        ),
        # No certificate at all.
        rests(
            "10m", {'batzen_certificate_expiry_timestamp_seconds{job="status",instance="a",file="certificate"}': "0x60"}
        ),
    ),
    "BatzenSecretUnfit": (
        fires("8m", {'batzen_secret_unfit{job="gateway",setting="STRIPE_API_KEY"}': "1x60"}),
        rests("10m", {'batzen_secret_unfit{job="gateway",setting="STRIPE_API_KEY"}': "0x60"}),
    ),
    "BatzenVersionSkew": (
        fires("80m", _versions("1", "2")),
        rests("80m", _versions("1")),
    ),
}
