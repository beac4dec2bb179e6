-- expand
-- Stripe's events, raw, and what is to be delivered to the orchestrator.

CREATE TABLE events (
    tenant_id    text        NOT NULL,
    event_id     text        NOT NULL,
    type         text        NOT NULL,
    account      text,
    api_version  text,
    -- What it is about, so that events of one thing are found together.
    subject      text        NOT NULL,
    -- As Stripe sent it, encrypted; empty once its payer is erased.
    body         bytea       NOT NULL,
    -- Whose key it is encrypted under (personal_keys), and whose personal data it may have, where that is known.
    holder       text        NOT NULL,
    payer_id     text,
    state        text        NOT NULL CONSTRAINT events_state CHECK (state IN ('WAITING', 'DONE', 'IGNORED', 'PARKED')),
    -- Why it was ignored or parked.
    note         text        NOT NULL DEFAULT '',
    create_time  timestamptz NOT NULL,
    receive_time timestamptz NOT NULL,
    done_time    timestamptz,
    CONSTRAINT events_pkey PRIMARY KEY (tenant_id, event_id)
);

CREATE INDEX events_waiting ON events (tenant_id, subject) WHERE state = 'WAITING';
-- What is not under its payer's key is found when the payer is erased.
CREATE INDEX events_held_payer_id ON events (tenant_id, payer_id) WHERE holder LIKE 'day/%' AND payer_id IS NOT NULL;
-- Those of one thing: what came in about a payment, and what is under a day's key of them.
CREATE INDEX events_subject ON events (tenant_id, subject);
CREATE INDEX events_receive_time ON events (receive_time);

-- Work for the engine (services/runtime/work): the events that wait, one row for each subject that they are about. Due
-- while an event waits.
CREATE TABLE event_runs (
    tenant_id    text        NOT NULL,
    subject      text        NOT NULL,
    create_time  timestamptz NOT NULL,
    due_time     timestamptz,
    fence        bigint      NOT NULL DEFAULT 0,
    held_until   timestamptz NOT NULL DEFAULT '-infinity',
    failures     integer     NOT NULL DEFAULT 0,
    lapses       integer     NOT NULL DEFAULT 0,
    problem      text,
    dead_time    timestamptz,
    failed_tries jsonb       NOT NULL DEFAULT '[]',
    trace_context text,
    CONSTRAINT event_runs_pkey PRIMARY KEY (tenant_id, subject)
);

CREATE INDEX event_runs_due ON event_runs (tenant_id, due_time) WHERE due_time IS NOT NULL;
CREATE INDEX event_runs_create_time ON event_runs (create_time);
CREATE INDEX event_runs_dead ON event_runs (tenant_id, dead_time) WHERE dead_time IS NOT NULL;

-- How far Stripe's events were read, where that is done; work for the engine (services/runtime/work). A row for the
-- platform's own, whose account is empty, and one for each seller's account.
CREATE TABLE event_polls (
    tenant_id     text        NOT NULL,
    account       text        NOT NULL,
    create_time   timestamptz NOT NULL,
    -- Of the last reading that came to its end: the newest event that was seen by then, by Stripe's clock; when it began, by ours.
    newest_time   timestamptz,
    read_time     timestamptz,
    -- When the last look for what came late ended.
    sweep_time    timestamptz,
    -- Of the reading that is under way; all null or empty while none is.
    begin_time    timestamptz,
    since         timestamptz,
    reading_newest_time timestamptz,
    after_id      text        NOT NULL DEFAULT '',
    -- Of the look for what came late that is under way; all null or empty while none is.
    sweep_begin_time timestamptz,
    sweep_since   timestamptz,
    sweep_until   timestamptz,
    sweep_after_id text       NOT NULL DEFAULT '',
    -- Between which times Stripe had listed what nobody read, and when that was noticed last.
    gap_from      timestamptz,
    gap_to        timestamptz,
    gap_time      timestamptz,
    due_time      timestamptz,
    fence         bigint      NOT NULL DEFAULT 0,
    held_until    timestamptz NOT NULL DEFAULT '-infinity',
    failures      integer     NOT NULL DEFAULT 0,
    lapses        integer     NOT NULL DEFAULT 0,
    problem       text,
    dead_time     timestamptz,
    trace_context text,
    CONSTRAINT event_polls_pkey PRIMARY KEY (tenant_id, account)
);

CREATE INDEX event_polls_due ON event_polls (tenant_id, due_time) WHERE due_time IS NOT NULL;
CREATE INDEX event_polls_dead ON event_polls (tenant_id, dead_time) WHERE dead_time IS NOT NULL;

CREATE TABLE deliveries (
    tenant_id         text        NOT NULL,
    payment_id        text        NOT NULL,
    -- The newest observation that no caller got as an answer; an older one is covered by it.
    wanted_version    bigint      NOT NULL,
    observation       jsonb       NOT NULL,
    origin            text        NOT NULL,
    -- Since when there is something that was not delivered.
    record_time       timestamptz NOT NULL,
    delivered_version bigint      NOT NULL DEFAULT 0,
    -- Work for the engine (services/runtime/work).
    due_time     timestamptz,
    fence        bigint      NOT NULL DEFAULT 0,
    held_until   timestamptz NOT NULL DEFAULT '-infinity',
    failures     integer     NOT NULL DEFAULT 0,
    lapses       integer     NOT NULL DEFAULT 0,
    problem      text,
    dead_time    timestamptz,
    failed_tries jsonb       NOT NULL DEFAULT '[]',
    trace_context text,
    CONSTRAINT deliveries_pkey PRIMARY KEY (tenant_id, payment_id)
);

CREATE INDEX deliveries_due ON deliveries (tenant_id, due_time) WHERE due_time IS NOT NULL;
CREATE INDEX deliveries_record_time ON deliveries (record_time);
CREATE INDEX deliveries_dead ON deliveries (tenant_id, dead_time) WHERE dead_time IS NOT NULL;

-- What operators had replayed, and what came of it.
CREATE TABLE replays (
    tenant_id    text        NOT NULL,
    request_id   uuid        NOT NULL,
    request_hash bytea       NOT NULL,
    actor_id     text        NOT NULL,
    dead_letter_ids text[]   NOT NULL,
    -- Chosen by a filter that matched more than these.
    more_waiting boolean     NOT NULL DEFAULT false,
    -- Null until each of them came to its end, or was given up again.
    outcomes     jsonb,
    create_time  timestamptz NOT NULL,
    CONSTRAINT replays_pkey PRIMARY KEY (tenant_id, request_id)
);

-- The platform's balance transactions, each once, as Stripe showed it. What is booked of it is in the ledger.
CREATE TABLE balance_transactions (
    tenant_id              text        NOT NULL,
    balance_transaction_id text        NOT NULL,
    -- Empty where it is of no payment, such as a payout.
    payment_id             text        NOT NULL,
    type                   text        NOT NULL,
    reporting_category     text        NOT NULL,
    amount_minor           bigint      NOT NULL,
    fee_minor              bigint      NOT NULL,
    net_minor              bigint      NOT NULL CONSTRAINT balance_transactions_net CHECK (net_minor = amount_minor - fee_minor),
    currency_code          text        NOT NULL,
    source_id              text        NOT NULL,
    exchange_rate          text        NOT NULL,
    fees                   jsonb       NOT NULL,
    create_time            timestamptz NOT NULL,
    available_time         timestamptz NOT NULL,
    record_time            timestamptz NOT NULL,
    CONSTRAINT balance_transactions_pkey PRIMARY KEY (tenant_id, balance_transaction_id)
);

CREATE INDEX balance_transactions_create_time ON balance_transactions (tenant_id, create_time);
CREATE INDEX balance_transactions_source_id ON balance_transactions (tenant_id, source_id);
REVOKE UPDATE, DELETE, TRUNCATE ON balance_transactions FROM :runtime_role;

-- How far the balance transactions of a tenant were read; work for the engine (services/runtime/work).
CREATE TABLE balance_reads (
    tenant_id    text        NOT NULL,
    name         text        NOT NULL,
    -- The newest that is kept with all before it; and, of the first reading, its newest and the oldest that it has come to.
    newest_id    text        NOT NULL DEFAULT '',
    first_id     text        NOT NULL DEFAULT '',
    after_id     text        NOT NULL DEFAULT '',
    swept_time   timestamptz,
    due_time     timestamptz,
    fence        bigint      NOT NULL DEFAULT 0,
    held_until   timestamptz NOT NULL DEFAULT '-infinity',
    failures     integer     NOT NULL DEFAULT 0,
    lapses       integer     NOT NULL DEFAULT 0,
    problem      text,
    dead_time    timestamptz,
    trace_context text,
    CONSTRAINT balance_reads_pkey PRIMARY KEY (tenant_id, name)
);

CREATE INDEX balance_reads_due ON balance_reads (tenant_id, due_time) WHERE due_time IS NOT NULL;
CREATE INDEX balance_reads_dead ON balance_reads (tenant_id, dead_time) WHERE dead_time IS NOT NULL;

-- Work for the engine (services/runtime/work): whether Stripe and we say the same of a span of time. Each step is kept with
-- what it found, so that whoever goes on begins at the next.
CREATE TABLE reconciliations (
    tenant_id         text        NOT NULL,
    reconciliation_id text        NOT NULL,
    request_hash      bytea       NOT NULL,
    actor_id          text        NOT NULL,
    since             timestamptz NOT NULL,
    until             timestamptz NOT NULL CONSTRAINT reconciliations_span CHECK (until > since),
    repairs           boolean     NOT NULL,
    -- How many steps were kept, and where the next one begins; null once it has come to its end.
    steps             bigint      NOT NULL DEFAULT 0,
    position          jsonb,
    -- What matches and what is in transit, by list and currency.
    sums              jsonb       NOT NULL DEFAULT '{}',
    -- Why it ended before everything was compared; empty where it did not.
    cut_short         text        NOT NULL DEFAULT '',
    create_time       timestamptz NOT NULL,
    finish_time       timestamptz,
    due_time          timestamptz,
    fence             bigint      NOT NULL DEFAULT 0,
    held_until        timestamptz NOT NULL DEFAULT '-infinity',
    failures          integer     NOT NULL DEFAULT 0,
    lapses            integer     NOT NULL DEFAULT 0,
    problem           text,
    dead_time         timestamptz,
    trace_context     text,
    CONSTRAINT reconciliations_pkey PRIMARY KEY (tenant_id, reconciliation_id)
);

CREATE INDEX reconciliations_due ON reconciliations (tenant_id, due_time) WHERE due_time IS NOT NULL;
CREATE INDEX reconciliations_dead ON reconciliations (tenant_id, dead_time) WHERE dead_time IS NOT NULL;
CREATE INDEX reconciliations_finish_time ON reconciliations (tenant_id, finish_time) WHERE finish_time IS NOT NULL;

-- What is not the same on both sides. It stays as it was seen; that it was mended is said beside it.
CREATE TABLE reconciliation_findings (
    tenant_id         text        NOT NULL,
    reconciliation_id text        NOT NULL,
    -- In the order in which they were found.
    step              bigint      NOT NULL,
    place             integer     NOT NULL,
    kind              text        NOT NULL,
    stage             text        NOT NULL,
    -- The object at Stripe; of the ledger alone, the fact.
    stripe_id         text        NOT NULL,
    figure            text        NOT NULL,
    currency_code     text        NOT NULL,
    ours_minor        bigint      NOT NULL,
    theirs_minor      bigint      NOT NULL,
    payment_id        text        NOT NULL,
    detail            text        NOT NULL,
    repaired          boolean     NOT NULL,
    repair_reason     text        NOT NULL,
    find_time         timestamptz NOT NULL,
    CONSTRAINT reconciliation_findings_pkey PRIMARY KEY (tenant_id, reconciliation_id, step, place),
    CONSTRAINT reconciliation_findings_once
        UNIQUE (tenant_id, reconciliation_id, kind, stage, stripe_id, figure, currency_code),
    CONSTRAINT reconciliation_findings_differs CHECK (ours_minor <> theirs_minor)
);

REVOKE DELETE, TRUNCATE ON reconciliation_findings FROM :runtime_role;
