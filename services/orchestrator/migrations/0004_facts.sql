-- expand
-- What happened that somebody is told, and how far status was followed.

-- How far a tenant's payments were followed at status. The row as work: whoever has its lease follows them.
CREATE TABLE feeds (
    tenant_id   text        NOT NULL,
    name        text        NOT NULL,
    -- Of status's feed: everything up to here was heard. Empty before the first list of all payments has come to its end.
    cursor      text        NOT NULL DEFAULT '',
    -- While all payments are listed, since nothing was followed before or what was missed is forgotten: how far that has
    -- come, and where the feed goes on after it; empty once it is over.
    list_token  text        NOT NULL DEFAULT '',
    list_cursor text        NOT NULL DEFAULT '',
    -- Until when all was heard that status had recorded.
    heard_time  timestamptz,
    create_time timestamptz NOT NULL,
    due_time    timestamptz,
    held_until  timestamptz NOT NULL DEFAULT '-infinity',
    fence       bigint      NOT NULL DEFAULT 0,
    failures    integer     NOT NULL DEFAULT 0,
    lapses      integer     NOT NULL DEFAULT 0,
    problem     text,
    dead_time   timestamptz,
    trace_context text,
    CONSTRAINT feeds_pkey PRIMARY KEY (tenant_id, name)
);

CREATE INDEX feeds_due ON feeds (tenant_id, due_time) WHERE due_time IS NOT NULL;
CREATE INDEX feeds_dead ON feeds (tenant_id, dead_time) WHERE dead_time IS NOT NULL;

-- What was heard of each payment last: what the next revision is compared with. The row as work: whoever has its lease reminds
-- its payer of what is charged soon.
CREATE TABLE followed_payments (
    tenant_id   text        NOT NULL,
    payment_id  text        NOT NULL,
    revision    bigint      NOT NULL,
    seen        jsonb       NOT NULL,
    update_time timestamptz NOT NULL,
    due_time    timestamptz,
    held_until  timestamptz NOT NULL DEFAULT '-infinity',
    fence       bigint      NOT NULL DEFAULT 0,
    failures    integer     NOT NULL DEFAULT 0,
    lapses      integer     NOT NULL DEFAULT 0,
    problem     text,
    dead_time   timestamptz,
    trace_context text,
    CONSTRAINT followed_payments_pkey PRIMARY KEY (tenant_id, payment_id)
);

CREATE INDEX followed_payments_due ON followed_payments (tenant_id, due_time) WHERE due_time IS NOT NULL;
CREATE INDEX followed_payments_dead ON followed_payments (tenant_id, dead_time) WHERE dead_time IS NOT NULL;

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

-- What payments came to, by day of Europe/Zurich: one number a row, to which each move adds what it differs by from what was
-- heard before (services/orchestrator/figures). In the order of the key, so that what is asked for lies together.
CREATE TABLE payment_figures (
    tenant_id     text   NOT NULL,
    dimension     text   NOT NULL CONSTRAINT payment_figures_dimension CHECK (dimension IN ('ALL', 'SELLER', 'METHOD')),
    -- The seller or the type of method; empty for all.
    subject       text   NOT NULL,
    day           date   NOT NULL,
    currency_code text   NOT NULL,
    figure        text   NOT NULL,
    amount        bigint NOT NULL,
    CONSTRAINT payment_figures_pkey PRIMARY KEY (tenant_id, dimension, subject, day, currency_code, figure)
) WITH (fillfactor = 70);  -- room on the page for the next version of a row, as all of them are of today
