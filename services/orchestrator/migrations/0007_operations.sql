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
    payment_id   text        NOT NULL,
    before       jsonb       NOT NULL,
    after        jsonb       NOT NULL,
    create_time  timestamptz NOT NULL,
    CONSTRAINT operator_actions_pkey PRIMARY KEY (tenant_id, action_id),
    CONSTRAINT operator_actions_request UNIQUE (tenant_id, caller, method, request_id)
);
CREATE INDEX operator_actions_payment ON operator_actions (tenant_id, payment_id, action_id) WHERE payment_id <> '';
REVOKE UPDATE, DELETE, TRUNCATE ON operator_actions FROM :runtime_role;
