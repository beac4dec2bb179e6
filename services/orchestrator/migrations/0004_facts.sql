-- expand
-- What happened that somebody is told, and how far status was followed.

-- How far a tenant's payments were followed at status. The row as work: whoever has its lease follows them.
CREATE TABLE feeds (
    tenant_id   text        NOT NULL,
    -- Of status's feed; empty before the first.
    cursor      text        NOT NULL DEFAULT '',
    create_time timestamptz NOT NULL,
    due_time    timestamptz,
    held_until  timestamptz NOT NULL DEFAULT '-infinity',
    fence       bigint      NOT NULL DEFAULT 0,
    failures    integer     NOT NULL DEFAULT 0,
    lapses      integer     NOT NULL DEFAULT 0,
    problem     text,
    dead_time   timestamptz,
    trace_context text,
    CONSTRAINT feeds_pkey PRIMARY KEY (tenant_id)
);

CREATE INDEX feeds_due ON feeds (tenant_id, due_time) WHERE due_time IS NOT NULL;
CREATE INDEX feeds_dead ON feeds (tenant_id, dead_time) WHERE dead_time IS NOT NULL;

-- Each fact once, in the order in which it was heard.
CREATE TABLE facts (
    tenant_id   text        NOT NULL,
    fact_id     uuid        NOT NULL,
    seq         bigint      GENERATED ALWAYS AS IDENTITY,
    kind        text        NOT NULL,
    payment_id  text        NOT NULL,
    revision    bigint      NOT NULL,
    payer_id    text        NOT NULL,
    seller_ids  text[]      NOT NULL,
    "values"    jsonb       NOT NULL,
    payment     bytea,
    occur_time  timestamptz NOT NULL,
    create_time timestamptz NOT NULL,
    CONSTRAINT facts_pkey PRIMARY KEY (tenant_id, fact_id)
);

CREATE INDEX facts_payment ON facts (tenant_id, payment_id, seq) WHERE payment_id <> '';
CREATE INDEX facts_create_time ON facts (create_time);
