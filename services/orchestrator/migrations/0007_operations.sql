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
