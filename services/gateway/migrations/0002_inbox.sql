-- expand
-- What Stripe told us, raw, and what the orchestrator still has to be told.

CREATE TABLE events (
    tenant_id    text        NOT NULL,
    event_id     text        NOT NULL,
    type         text        NOT NULL,
    account      text,
    api_version  text,
    -- What it is about, so that events of one thing are found together.
    subject      text        NOT NULL,
    body         bytea       NOT NULL,
    state        text        NOT NULL CONSTRAINT events_state CHECK (state IN ('WAITING', 'DONE', 'IGNORED', 'PARKED')),
    -- Why it was ignored or parked.
    note         text        NOT NULL DEFAULT '',
    create_time  timestamptz NOT NULL,
    receive_time timestamptz NOT NULL,
    done_time    timestamptz,
    CONSTRAINT events_pkey PRIMARY KEY (tenant_id, event_id)
);

CREATE INDEX events_waiting ON events (tenant_id, subject) WHERE state = 'WAITING';
CREATE INDEX events_receive_time ON events (receive_time);

-- While a subject has waiting events; gone when they are done.
CREATE TABLE event_runs (
    tenant_id text   NOT NULL,
    subject   text   NOT NULL,
    -- Names the run, so that it has one job.
    run_id    bigint GENERATED ALWAYS AS IDENTITY,
    -- How many events have joined: a run ends only at the number that its job has seen.
    wanted    bigint NOT NULL,
    CONSTRAINT event_runs_pkey PRIMARY KEY (tenant_id, subject)
);

CREATE TABLE deliveries (
    tenant_id         text        NOT NULL,
    payment_id        text        NOT NULL,
    -- The newest observation that no caller was told about; an older one is covered by it.
    wanted_version    bigint      NOT NULL,
    observation       jsonb       NOT NULL,
    origin            text        NOT NULL,
    -- The first that is not delivered, and since when: names the job that delivers until nothing is left.
    since_version     bigint      NOT NULL,
    record_time       timestamptz NOT NULL,
    delivered_version bigint      NOT NULL DEFAULT 0,
    CONSTRAINT deliveries_pkey PRIMARY KEY (tenant_id, payment_id)
);
