"""The dashboards: one that says whether all is well, and one for each room that an alert leads into.

What each replica counts for all is shown by its maximum, what each counts for itself by the sum.
"""

from __future__ import annotations

from typing import Final

from deploy.observability.alerts.calls import FAILED
from deploy.observability.panels import RATE, Dashboard, Unit, lines, quantiles
from deploy.observability.rule import JOBS

STARTED: Final = "sum(increase(batzen_payments_started_total[1h]))"
SUCCEEDED: Final = 'sum(increase(batzen_payments_ended_total{state="SUCCEEDED"}[1h]))'

OVERVIEW: Final = Dashboard(
    uid="batzen-overview",
    title="overview",
    panels=[
        lines(
            "Payments a minute",
            Unit.COUNT,
            (f"sum(rate(batzen_payments_started_total[{RATE}])) * 60", "started"),
            (f"sum by (state) (rate(batzen_payments_ended_total[{RATE}])) * 60", "{{state}}"),
        ),
        lines(
            "Conversion over an hour",
            Unit.SHARE,
            (f"{SUCCEEDED} / ({STARTED} > 0)", "succeeded, of those started"),
            says="Payments that succeeded in the last hour, beside those that were started in it.",
        ),
        lines(
            "Captured and refunded over an hour, minor units",
            Unit.COUNT,
            ("sum by (currency) (increase(batzen_payments_captured_minor_total[1h]))", "captured {{currency}}"),
            ("sum by (currency) (increase(batzen_payments_refunded_minor_total[1h]))", "refunded {{currency}}"),
            says="No books: what a process had counted when it died is missing.",
        ),
        lines(
            "Declines over an hour",
            Unit.COUNT,
            ("topk(8, sum by (code) (increase(batzen_payment_declines_total[1h])) > 0)", "{{code}}"),
        ),
        lines(
            "Budgets burn",
            Unit.COUNT,
            ("batzen:slo_burn_rate:1h", "{{slo}}, 1 h"),
            ("batzen:slo_burn_rate:6h", "{{slo}}, 6 h"),
            limit=1,
            says="1 spends the budget of 30 days in exactly 30 days.",
        ),
        lines("Replicas that are ready", Unit.COUNT, ("sum by (job) (batzen_ready)", "{{job}}")),
        lines(
            "Calls that fail, a minute",
            Unit.COUNT,
            (f"sum by (job) (rate(batzen_rpc_requests_total{FAILED}[{RATE}])) * 60", "{{job}}"),
            limit=5,
        ),
        lines(
            "Needs an operator",
            Unit.COUNT,
            ("max by (kind) (batzen_attention_payments)", "{{kind}}"),
            ("max by (job, kind) (batzen_dead_letters)", "dead letter: {{job}} {{kind}}"),
        ),
        lines(
            "Outcomes that are unknown",
            Unit.COUNT,
            ("max(batzen_payments_unknown)", "calls"),
            ("max(batzen_payments_unknown_oldest_seconds) / 60", "age of the oldest, minutes"),
            limit=10,
        ),
    ],
)

CALLS: Final = Dashboard(
    uid="batzen-calls",
    title="calls",
    across=2,
    panels=[
        lines(
            "Calls a second",
            Unit.PER_SECOND,
            (f"sum by (job) (rate(batzen_rpc_requests_total[{RATE}]))", "{{job}}"),
        ),
        lines(
            "Calls that fail by our fault",
            Unit.PER_SECOND,
            (
                f"sum by (job, method, code) (rate(batzen_rpc_requests_total{FAILED}[{RATE}])) > 0",
                "{{method}} {{code}}",
            ),
            (f"sum(rate(batzen_rpc_requests_total{FAILED}[{RATE}]))", "all"),
        ),
        quantiles("Orchestrator", "batzen_rpc_duration_seconds", by="method", matchers='job="orchestrator"', limit=0.5),
        quantiles("Status", "batzen_rpc_duration_seconds", by="method", matchers='job="status"', limit=0.1),
        quantiles("Gateway", "batzen_rpc_duration_seconds", by="method", matchers='job="gateway"'),
        quantiles("Pricing", "batzen_rpc_duration_seconds", by="method", matchers='job="pricing"'),
        lines(
            "Refusals by reason",
            Unit.PER_SECOND,
            (f"topk(10, sum by (reason) (rate(batzen_rpc_refusals_total[{RATE}])))", "{{reason}}"),
        ),
        lines("In flight", Unit.COUNT, ("sum by (job) (batzen_rpc_in_flight)", "{{job}}")),
    ],
)

MONEY: Final = Dashboard(
    uid="batzen-money",
    title="money",
    panels=[
        lines(
            "What waits",
            Unit.COUNT,
            ("max(batzen_webhook_inbox_pending)", "inbox of webhooks"),
            ("max(batzen_transition_outbox_pending)", "outbox of transitions"),
            ("max(batzen_payments_unknown)", "unknown outcomes"),
        ),
        lines(
            "For how long",
            Unit.SECONDS,
            ("max(batzen_webhook_inbox_oldest_seconds)", "inbox of webhooks"),
            ("max(batzen_transition_outbox_oldest_seconds)", "outbox of transitions"),
            ("max(batzen_payments_unknown_oldest_seconds)", "unknown outcomes"),
            limit=120,
        ),
        lines("Work that is due", Unit.COUNT, ("max by (job, kind) (batzen_work_due)", "{{job}} {{kind}}")),
        lines(
            "Work that is late",
            Unit.SECONDS,
            ("max by (job, kind) (batzen_work_oldest_due_seconds)", "{{job}} {{kind}}"),
            limit=300,
        ),
        lines(
            "What became of work",
            Unit.PER_SECOND,
            (f"sum by (job, outcome) (rate(batzen_work_runs_total[{RATE}])) > 0", "{{job}} {{outcome}}"),
        ),
        lines("Dead letters", Unit.COUNT, ("max by (job, kind) (batzen_dead_letters)", "{{job}} {{kind}}")),
        lines("Payments that need an operator", Unit.COUNT, ("max by (kind) (batzen_attention_payments)", "{{kind}}")),
        lines(
            "What plans do next by themselves",
            Unit.COUNT,
            ("max by (step) (batzen_planned_payments)", "{{step}}"),
            ("max(batzen_open_booking_payments)", "open payments of bookings"),
        ),
        lines(
            "Plans that are late",
            Unit.SECONDS,
            ("max by (step) (batzen_planned_late_seconds)", "{{step}}"),
            limit=600,
        ),
        lines(
            "What the platform says of bookings",
            Unit.PER_SECOND,
            (f"sum by (outcome) (rate(batzen_booking_checks_total[{RATE}])) > 0", "{{outcome}}"),
        ),
        lines(
            "Payments that were carried on",
            Unit.PER_SECOND,
            (f"sum by (outcome) (rate(batzen_recoveries_total[{RATE}]))", "{{outcome}}"),
        ),
        quantiles(
            "Time in states that wait for us",
            "batzen_payment_state_seconds",
            by="state",
            matchers='state=~"INITIALIZED|PROCESSING"',
            limit=5,
        ),
        quantiles("From a webhook to status", "batzen_webhook_to_status_seconds", limit=30),
        lines(
            "Quotes",
            Unit.PER_SECOND,
            (f"sum(rate(batzen_quotes_created_total[{RATE}]))", "made"),
            (f"sum by (outcome) (rate(batzen_quote_redemptions_total[{RATE}]))", "{{outcome}}"),
        ),
        lines(
            "Transitions recorded",
            Unit.PER_SECOND,
            (f"sum by (state) (rate(batzen_transitions_recorded_total[{RATE}])) > 0", "{{state}}"),
        ),
    ],
)

BOOKS: Final = Dashboard(
    uid="batzen-books",
    title="books",
    panels=[
        lines(
            "What differs from Stripe, of the last run",
            Unit.COUNT,
            ("max by (kind) (batzen_reconciliation_findings)", "{{kind}}"),
        ),
        lines(
            "What that comes to, minor units",
            Unit.COUNT,
            ("max by (currency) (batzen_reconciliation_remainder_minor)", "{{currency}}"),
            says="0 is what it should be. Each currency is for itself, and nothing is netted.",
        ),
        lines(
            "The last run left nothing different",
            Unit.COUNT,
            ("min(batzen_reconciliation_clean)", "1 where all is the same"),
        ),
        lines(
            "Age of the last run that compared everything",
            Unit.SECONDS,
            ("max(batzen_reconciliation_age_seconds)", "since its end"),
            limit=108_000,
        ),
        lines(
            "Since the balance at Stripe was read to its end",
            Unit.SECONDS,
            ("max(batzen_balance_read_age_seconds)", "the longest"),
            limit=3_600,
        ),
        lines(
            "Booked, facts a second",
            Unit.PER_SECOND,
            (f"sum by (kind) (rate(batzen_ledger_facts_total[{RATE}])) > 0", "{{kind}}"),
        ),
        lines(
            "Sellers who wait for their parts",
            Unit.COUNT,
            ("max by (reason) (batzen_settlements_waiting)", "{{reason}}"),
        ),
        lines(
            "For how long",
            Unit.SECONDS,
            ("max by (reason) (batzen_settlements_waiting_oldest_seconds)", "{{reason}}"),
            limit=86_400,
            says="Since the money came, also of those who are paid later by their terms.",
        ),
        lines(
            "Receivables of sellers, and payouts that did not arrive",
            Unit.COUNT,
            ("max(batzen_receivables_open)", "receivables"),
            ("max by (of) (batzen_payouts_failed)", "payouts of the last 3 days: {{of}}"),
        ),
        lines("Disputes that are not decided", Unit.COUNT, ("max(batzen_disputes_open)", "disputes and inquiries")),
        lines(
            "Until the first answer to a dispute is due",
            Unit.SECONDS,
            ("min(batzen_dispute_due_timestamp_seconds > 0) - time()", "the first"),
            says="Nothing where no answer is waited for. Below three days and below one somebody is told.",
        ),
        lines(
            "Keys of personal data over an hour",
            Unit.COUNT,
            ("sum by (outcome) (increase(batzen_personal_keys_total[1h]))", "{{outcome}}"),
            says="Each payer has one, and so has each day; an erasure destroys its payer's.",
        ),
    ],
)

STRIPE: Final = Dashboard(
    uid="batzen-stripe",
    title="Stripe",
    panels=[
        lines(
            "Tries by what came back",
            Unit.PER_SECOND,
            (f"sum by (outcome) (rate(batzen_stripe_calls_total[{RATE}]))", "{{outcome}}"),
        ),
        quantiles("Tries by operation", "batzen_stripe_call_duration_seconds", by="operation"),
        quantiles("Waiting for a turn", "batzen_stripe_rate_wait_seconds", limit=0.5),
        lines(
            "Known to be away",
            Unit.COUNT,
            ("max by (share) (batzen_stripe_breaker_open)", "{{share}}"),
            ("max(batzen_stripe_key_refused)", "the mounted key is refused"),
        ),
        lines(
            "Webhooks by what became of them",
            Unit.PER_SECOND,
            (f"sum by (outcome) (rate(batzen_webhooks_received_total[{RATE}]))", "{{outcome}}"),
        ),
        lines(
            "Webhooks by type",
            Unit.PER_SECOND,
            (f"topk(8, sum by (type) (rate(batzen_webhooks_received_total[{RATE}])) > 0)", "{{type}}"),
        ),
        quantiles("From Stripe's making an event until it is applied", "batzen_webhook_lag_seconds", limit=60),
        quantiles("From an event's arrival until it is applied", "batzen_webhook_apply_seconds"),
        lines(
            "Refused at the webhook port, over 5 minutes",
            Unit.COUNT,
            ("sum by (endpoint) (increase(batzen_webhook_signature_failures_total[5m]))", "signature at {{endpoint}}"),
            limit=5,
        ),
    ],
)

STREAMS: Final = Dashboard(
    uid="batzen-streams",
    title="streams",
    panels=[
        lines(
            "Open",
            Unit.COUNT,
            ("sum(batzen_watches_open)", "watches"),
            ("sum(batzen_watch_streams_open)", "streams"),
        ),
        lines("Streams by method", Unit.COUNT, ("sum by (method) (batzen_streams_open)", "{{method}}")),
        lines(
            "Ends by reason",
            Unit.PER_SECOND,
            (f"sum by (reason) (rate(batzen_watch_ends_total[{RATE}]))", "{{reason}}"),
        ),
        quantiles("From a call until its watch sees the payment", "batzen_watch_first_update_seconds", limit=0.3),
        quantiles("From a transition to its watchers", "batzen_watch_lag_seconds", limit=0.05),
        lines("Feeds behind their log", Unit.SECONDS, ("max(batzen_feed_behind_seconds)", "the longest"), limit=60),
    ],
)

FRONTS: Final = Dashboard(
    uid="batzen-fronts",
    title="fronts",
    panels=[
        lines(
            "Requests",
            Unit.PER_SECOND,
            (f"sum by (job, purpose) (rate(batzen_browser_requests_total[{RATE}]))", "{{job}} {{purpose}}"),
        ),
        lines(
            "Answers by status",
            Unit.PER_SECOND,
            (f"sum by (job, status) (rate(batzen_browser_requests_total[{RATE}]))", "{{job}} {{status}}"),
            says="None: the browser went before it was answered.",
        ),
        quantiles("From a request until its answer begins", "batzen_browser_request_seconds", by="job", limit=1),
        lines("Streams that are open", Unit.COUNT, ("sum by (job) (batzen_browser_streams_open)", "{{job}}")),
        lines(
            "Streams that ended, by why",
            Unit.PER_SECOND,
            (f"sum by (job, why) (rate(batzen_browser_streams_ended_total[{RATE}]))", "{{job}} {{why}}"),
        ),
        lines(
            "Streams that were not opened, over 15 minutes",
            Unit.COUNT,
            (
                "sum by (job, limit) (increase(batzen_browser_streams_refused_total[15m]))",
                "{{job}}, limit of {{limit}}",
            ),
        ),
        lines(
            "Written on streams",
            Unit.PER_SECOND,
            (f"sum by (job) (rate(batzen_browser_stream_chunks_total[{RATE}]))", "{{job}}"),
        ),
        quantiles("From a transition to the browser", "batzen_browser_transition_seconds", by="job", limit=2),
        lines(
            "Requests beyond a limit, over 15 minutes",
            Unit.COUNT,
            ("sum by (job, limit) (increase(batzen_browser_limited_total[15m]))", "{{job}}, limit of {{limit}}"),
            says="Declines: somebody tries out cards. Address: a flood, or an office behind one.",
        ),
        lines(
            "Payers' pages, over 15 minutes",
            Unit.COUNT,
            ("sum(increase(batzen_bff_beacons_total[15m]))", "reports of use"),
            ("sum(increase(batzen_bff_beacons_lost_total[15m]))", "of them not passed on"),
            ("sum by (page) (increase(batzen_bff_page_troubles_total[15m])) > 0", "script errors on {{page}}"),
            ("sum by (directive) (increase(batzen_csp_reports_total[15m])) > 0", "against the policy: {{directive}}"),
        ),
        lines(
            "How payers say that paying was, over a day",
            Unit.COUNT,
            ("sum by (score) (increase(batzen_bff_satisfaction_answers_total[1d]))", "{{score}}"),
        ),
        lines(
            "Operators' calls, over an hour",
            Unit.COUNT,
            (
                "sum by (kind, outcome) (increase(batzen_console_actions_total[1h])) > 0",
                "{{kind}} {{outcome}}",
            ),
            ("sum(increase(batzen_console_logins_refused_total[1h]))", "log-ins refused"),
        ),
        lines(
            "What waits for a second person, over a day",
            Unit.COUNT,
            ("sum by (kind) (increase(batzen_console_approvals_opened_total[1d])) > 0", "{{kind}} opened"),
            (
                "sum by (kind, decision) (increase(batzen_console_approvals_decided_total[1d])) > 0",
                "{{kind}} {{decision}}",
            ),
        ),
    ],
)

TELLING: Final = Dashboard(
    uid="batzen-telling",
    title="telling",
    panels=[
        lines("Facts an hour", Unit.COUNT, ("sum by (kind) (increase(batzen_facts_total[1h])) > 0", "{{kind}}")),
        quantiles("From a revision until its facts are kept", "batzen_fact_lag_seconds"),
        lines(
            "Mails, tries an hour",
            Unit.COUNT,
            ("sum by (outcome) (increase(batzen_mails_total[1h]))", "{{outcome}}"),
            says="Skipped: nobody is to get it. Not taken: tried again.",
        ),
        lines("Mails that wait", Unit.COUNT, ("max(batzen_mails_waiting)", "mails")),
        lines("The oldest mail waits", Unit.SECONDS, ("max(batzen_mails_oldest_seconds)", "the oldest"), limit=1800),
        quantiles("A mail server takes a mail", "batzen_mail_send_seconds"),
        lines(
            "Webhooks, tries an hour",
            Unit.COUNT,
            ("sum by (outcome) (increase(batzen_webhook_tries_total[1h]))", "{{outcome}}"),
        ),
        lines("The oldest webhook waits", Unit.SECONDS, ("max(batzen_webhook_oldest_waiting_seconds)", "the oldest")),
    ],
)

PROCESSES: Final = Dashboard(
    uid="batzen-processes",
    title="processes and databases",
    panels=[
        lines("Ready", Unit.COUNT, ("batzen_ready", "{{job}} {{instance}}")),
        lines(
            "Processor, cores",
            Unit.COUNT,
            (f"rate(process_cpu_seconds_total{{{JOBS}}}[{RATE}])", "{{job}} {{instance}}"),
        ),
        lines("Memory", Unit.BYTES, (f"process_resident_memory_bytes{{{JOBS}}}", "{{job}} {{instance}}")),
        quantiles("The event loop is late", "batzen_event_loop_lag_seconds", by="job, instance", limit=0.1),
        lines(
            "Database connections",
            Unit.COUNT,
            ("sum by (job, state) (batzen_database_connections)", "{{job}} {{state}}"),
        ),
        lines(
            "Share of the connections that are in use",
            Unit.SHARE,
            (
                'sum by (job) (batzen_database_connections{state="busy"})'
                " / sum by (job) (batzen_database_connections_max)",
                "{{job}}",
            ),
        ),
        lines(
            "Database away, uses a second",
            Unit.PER_SECOND,
            (f"sum by (job) (rate(batzen_database_unavailable_total[{RATE}]))", "{{job}}"),
        ),
        lines(
            "Background tasks that failed, over 15 minutes",
            Unit.COUNT,
            (
                "sum by (job) (increase(batzen_background_failures_total[15m])) or max by (job) (0 * batzen_ready)",
                "{{job}}",
            ),
        ),
        lines(
            "Age of what was looked up in the database",
            Unit.SECONDS,
            ("time() - max by (job) (batzen_sample_timestamp_seconds)", "{{job}}"),
            limit=120,
        ),
        lines(
            "Log lines dropped, over 15 minutes",
            Unit.COUNT,
            ("sum by (job) (increase(batzen_log_lines_dropped_total[15m]))", "{{job}}"),
        ),
        lines(
            "Versions",
            Unit.COUNT,
            ("count by (job, version, commit) (batzen_build_info)", "{{job}} {{version}} {{commit}}"),
        ),
        lines("Open files", Unit.COUNT, (f"process_open_fds{{{JOBS}}}", "{{job}} {{instance}}")),
    ],
)

DASHBOARDS: Final = (OVERVIEW, CALLS, MONEY, BOOKS, STRIPE, STREAMS, FRONTS, TELLING, PROCESSES)
