-- expand
-- What the gateway noticed at Stripe that people are told, and no observation of a payment says: of sellers, disputes, transfers, payouts.
-- Work for the engine (services/runtime/work): it is delivered to the orchestrator until that has it.
CREATE TABLE notices (
    tenant_id   text        NOT NULL,
    -- Derived from what happened: it is the same one, whoever notices it.
    notice_id   uuid        NOT NULL,
    kind        text        NOT NULL,
    payment_id  text        NOT NULL,
    -- Empty: the platform alone is concerned.
    seller_ids  text[]      NOT NULL,
    "values"    jsonb       NOT NULL,
    occur_time  timestamptz NOT NULL,
    create_time timestamptz NOT NULL,
    delivered_time timestamptz,
    due_time    timestamptz,
    held_until  timestamptz NOT NULL DEFAULT '-infinity',
    fence       bigint      NOT NULL DEFAULT 0,
    failures    integer     NOT NULL DEFAULT 0,
    lapses      integer     NOT NULL DEFAULT 0,
    problem     text,
    dead_time   timestamptz,
    failed_tries jsonb       NOT NULL DEFAULT '[]',
    trace_context text,
    CONSTRAINT notices_pkey PRIMARY KEY (tenant_id, notice_id)
);

CREATE INDEX notices_due ON notices (tenant_id, due_time) WHERE due_time IS NOT NULL;
CREATE INDEX notices_dead ON notices (tenant_id, dead_time) WHERE dead_time IS NOT NULL;
CREATE INDEX notices_create_time ON notices (create_time);

-- Records of systems before this one, each once: with which content it was taken over, and by whom.
CREATE TABLE imports (
    tenant_id   text        NOT NULL,
    kind        text        NOT NULL CONSTRAINT imports_kind CHECK (kind IN ('PAYMENT', 'CUSTOMER', 'SELLER')),
    -- Its id in the system before.
    record_id   text        NOT NULL,
    digest      bytea       NOT NULL,
    -- The payment, the payer or the seller.
    subject_id  text        NOT NULL,
    actor_id    text        NOT NULL,
    import_time timestamptz NOT NULL,
    CONSTRAINT imports_pkey PRIMARY KEY (tenant_id, kind, record_id)
);
CREATE INDEX imports_subject_id ON imports (tenant_id, subject_id);
REVOKE UPDATE, DELETE, TRUNCATE ON imports FROM :runtime_role;
