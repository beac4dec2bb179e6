-- expand
-- What the platform's own systems are sent: who wants what, and what came of it.

CREATE TABLE webhook_subscriptions (
    tenant_id         text        NOT NULL,
    subscription_id   text        NOT NULL,
    url               text        NOT NULL,
    -- Of facts; none: all of which the form has a body.
    kinds             text[]      NOT NULL,
    form              text        NOT NULL CONSTRAINT webhook_subscriptions_form CHECK (form IN ('FULL', 'LEGACY')),
    paused            boolean     NOT NULL,
    create_time       timestamptz NOT NULL,
    update_time       timestamptz NOT NULL,
    -- Its name is free again once its last delivery is forgotten.
    delete_time       timestamptz,
    -- Tries in a row that failed, of whatever payment, and since when.
    failures          integer     NOT NULL DEFAULT 0,
    failing_time      timestamptz,
    last_failure_time timestamptz,
    -- How often it rested since a try last succeeded, and until when it does; by the database's clock.
    rests             integer     NOT NULL DEFAULT 0,
    rest_until        timestamptz,
    CONSTRAINT webhook_subscriptions_pkey PRIMARY KEY (tenant_id, subscription_id)
);

-- What signs, wrapped under a key from the settings.
CREATE TABLE webhook_secrets (
    tenant_id       text        NOT NULL,
    subscription_id text        NOT NULL,
    -- The request that made it.
    secret_id       uuid        NOT NULL,
    wrapped_secret  bytea       NOT NULL,
    wrapping_key_id text        NOT NULL,
    create_time     timestamptz NOT NULL,
    -- When it no longer signs; null of the newest.
    expire_time     timestamptz,
    CONSTRAINT webhook_secrets_pkey PRIMARY KEY (tenant_id, subscription_id, secret_id)
);

-- What of one payment, or seller, goes to one receiver: one after the other. The row as work; due while something waits.
CREATE TABLE webhook_lanes (
    tenant_id       text        NOT NULL,
    subscription_id text        NOT NULL,
    -- A payment's id, or `seller:` and a seller's.
    subject         text        NOT NULL,
    -- Of its newest delivery.
    last_number     bigint      NOT NULL,
    use_time        timestamptz NOT NULL,
    due_time        timestamptz,
    held_until      timestamptz NOT NULL DEFAULT '-infinity',
    fence           bigint      NOT NULL DEFAULT 0,
    failures        integer     NOT NULL DEFAULT 0,
    lapses          integer     NOT NULL DEFAULT 0,
    problem         text,
    dead_time       timestamptz,
    trace_context   text,
    CONSTRAINT webhook_lanes_pkey PRIMARY KEY (tenant_id, subscription_id, subject)
);

CREATE INDEX webhook_lanes_due ON webhook_lanes (tenant_id, due_time) WHERE due_time IS NOT NULL;
CREATE INDEX webhook_lanes_turn ON webhook_lanes (tenant_id, subscription_id, due_time) WHERE due_time IS NOT NULL;
CREATE INDEX webhook_lanes_dead ON webhook_lanes (tenant_id, dead_time) WHERE dead_time IS NOT NULL;
CREATE INDEX webhook_lanes_use_time ON webhook_lanes (use_time);

-- Each thing that is sent to one receiver, and what came of it.
CREATE TABLE webhook_deliveries (
    tenant_id       text        NOT NULL,
    subscription_id text        NOT NULL,
    subject         text        NOT NULL,
    -- In its lane: its place there.
    number          bigint      NOT NULL,
    -- The header `webhook-id`.
    delivery_id     uuid        NOT NULL,
    kind            text        NOT NULL,
    payment_id      text        NOT NULL,
    revision        bigint      NOT NULL,
    -- Null of a test event.
    fact_id         uuid,
    -- Made once, since a repeat is the same; null until the first try where the gateway is asked for a part of it.
    body            bytea,
    -- DELIVERED: the receiver answered 2xx. DEAD: it did not in time. CANCELED: its subscription was deleted before.
    state           text        NOT NULL DEFAULT 'WAITING'
        CONSTRAINT webhook_deliveries_state CHECK (state IN ('WAITING', 'DELIVERED', 'DEAD', 'CANCELED')),
    create_time     timestamptz NOT NULL,
    -- Since when it is tried: since it was made, or replayed.
    begin_time      timestamptz NOT NULL,
    -- When it is tried next, at the earliest, after a try that failed; by the database's clock.
    next_time       timestamptz,
    end_time        timestamptz,
    try_count       integer     NOT NULL DEFAULT 0,
    -- The last of them.
    tries           jsonb       NOT NULL DEFAULT '[]',
    CONSTRAINT webhook_deliveries_pkey PRIMARY KEY (tenant_id, subscription_id, subject, number),
    CONSTRAINT webhook_deliveries_delivery_id UNIQUE (tenant_id, delivery_id)
);

CREATE INDEX webhook_deliveries_waiting ON webhook_deliveries (tenant_id, subscription_id, begin_time) WHERE state = 'WAITING';
CREATE INDEX webhook_deliveries_head ON webhook_deliveries (tenant_id, subscription_id, subject, number) WHERE state = 'WAITING';
CREATE INDEX webhook_deliveries_dead ON webhook_deliveries (tenant_id, subscription_id, create_time) WHERE state = 'DEAD';
CREATE INDEX webhook_deliveries_create_time ON webhook_deliveries (tenant_id, create_time, delivery_id);
CREATE INDEX webhook_deliveries_payment ON webhook_deliveries (tenant_id, payment_id, create_time) WHERE payment_id <> '';
CREATE INDEX webhook_deliveries_end_time ON webhook_deliveries (end_time) WHERE end_time IS NOT NULL;
