-- expand
-- What needs an operator, and what operators did.

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
