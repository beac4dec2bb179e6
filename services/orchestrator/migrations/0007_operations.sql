-- expand
-- What needs an operator, and what operators did.

-- Each reason for which a payment needs, or needed, an operator: raised and resolved by facts, acknowledged by people.
CREATE TABLE attention_items (
    tenant_id        text        NOT NULL,
    -- The fact's that raised it.
    item_id          uuid        NOT NULL,
    payment_id       text        NOT NULL,
    reason           text        NOT NULL,
    detail           text        NOT NULL,
    raise_time       timestamptz NOT NULL,
    raise_revision   bigint      NOT NULL,
    -- When it last said something else.
    change_time      timestamptz,
    acknowledge_time timestamptz,
    acknowledged_by  text        NOT NULL DEFAULT '',
    note             text        NOT NULL DEFAULT '',
    resolve_time     timestamptz,
    resolve_revision bigint      NOT NULL DEFAULT 0,
    resolve_cause    text        NOT NULL DEFAULT '',
    CONSTRAINT attention_items_pkey PRIMARY KEY (tenant_id, item_id)
);
CREATE UNIQUE INDEX attention_items_open ON attention_items (tenant_id, payment_id, reason) WHERE resolve_time IS NULL;
CREATE INDEX attention_items_open_newest ON attention_items (tenant_id, raise_time, item_id) WHERE resolve_time IS NULL;
CREATE INDEX attention_items_newest ON attention_items (tenant_id, raise_time, item_id);
CREATE INDEX attention_items_payment ON attention_items (tenant_id, payment_id, raise_time, item_id);
REVOKE DELETE, TRUNCATE ON attention_items FROM :runtime_role;

-- Every action of an operator, kept for ever.
CREATE TABLE operator_actions (
    tenant_id    text        NOT NULL,
    action_id    bigint      GENERATED ALWAYS AS IDENTITY,
    caller       text        NOT NULL,
    method       text        NOT NULL,
    request_id   uuid        NOT NULL,
    request_hash bytea       NOT NULL,
    actor_id     text        NOT NULL,
    reason       text        NOT NULL,
    -- Empty where it is about none.
    payment_id   text        NOT NULL,
    -- What was asked for, and how it stood before and after; no personal data.
    asked        jsonb       NOT NULL,
    before       jsonb       NOT NULL,
    after        jsonb       NOT NULL,
    -- Why it was refused; empty where it was done.
    refusal      text        NOT NULL,
    create_time  timestamptz NOT NULL,
    CONSTRAINT operator_actions_pkey PRIMARY KEY (tenant_id, payment_id, action_id),
    CONSTRAINT operator_actions_request UNIQUE (tenant_id, caller, method, request_id)
);
CREATE INDEX operator_actions_actor ON operator_actions (tenant_id, actor_id, action_id);
CREATE INDEX operator_actions_newest ON operator_actions (tenant_id, action_id);
REVOKE UPDATE, DELETE, TRUNCATE ON operator_actions FROM :runtime_role;

-- Work for the engine (services/runtime/work): whether the records of recent payments agree, one row for each tenant, which
-- goes through them round after round. Each step is kept with what it found, so that whoever goes on begins at the next.
CREATE TABLE diagnosis_rounds (
    tenant_id   text        NOT NULL,
    -- Always 'recent': a row of work has a name of its own.
    name        text        NOT NULL,
    -- Which list of payments the round walks, and how far it has come in that.
    walk        text        NOT NULL CONSTRAINT diagnosis_rounds_walk CHECK (walk IN ('FINDINGS', 'OPENED', 'BOOKED')),
    place       text        NOT NULL DEFAULT '',
    begin_time  timestamptz NOT NULL,
    -- Until when all payments of which money was booked were looked at.
    booked_time timestamptz NOT NULL,
    -- When a round came to its end last, and how many payments it looked at; of the one that runs, so far.
    finish_time timestamptz,
    payments    bigint      NOT NULL DEFAULT 0,
    create_time timestamptz NOT NULL,
    due_time    timestamptz,
    held_until  timestamptz NOT NULL DEFAULT '-infinity',
    fence       bigint      NOT NULL DEFAULT 0,
    failures    integer     NOT NULL DEFAULT 0,
    lapses      integer     NOT NULL DEFAULT 0,
    problem     text,
    dead_time   timestamptz,
    trace_context text,
    CONSTRAINT diagnosis_rounds_pkey PRIMARY KEY (tenant_id, name)
);

CREATE INDEX diagnosis_rounds_due ON diagnosis_rounds (tenant_id, due_time) WHERE due_time IS NOT NULL;
CREATE INDEX diagnosis_rounds_dead ON diagnosis_rounds (tenant_id, dead_time) WHERE dead_time IS NOT NULL;

-- Where records of a payment disagreed when it was looked at last; gone once they agree.
CREATE TABLE diagnosis_findings (
    tenant_id   text        NOT NULL,
    payment_id  text        NOT NULL,
    check_name  text        NOT NULL,
    about       text        NOT NULL,
    -- Something was on its way that may end it by itself.
    waits       boolean     NOT NULL,
    first_time  timestamptz NOT NULL,
    last_time   timestamptz NOT NULL,
    CONSTRAINT diagnosis_findings_pkey PRIMARY KEY (tenant_id, payment_id, check_name, about)
);
