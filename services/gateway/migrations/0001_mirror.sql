-- expand
-- The mirror of Stripe: payments with their call lease, intents, refunds, and the log of every call that changes something.

-- Which Stripe account a tenant's payments are in. Only the owner changes it: a process compares its key with it.
CREATE TABLE stripe_accounts (
    tenant_id         text        NOT NULL,
    stripe_account_id text        NOT NULL,
    livemode          boolean     NOT NULL,
    pin_time          timestamptz NOT NULL,
    CONSTRAINT stripe_accounts_pkey PRIMARY KEY (tenant_id),
    CONSTRAINT stripe_accounts_account UNIQUE (stripe_account_id, livemode)
);

REVOKE UPDATE, DELETE, TRUNCATE ON stripe_accounts FROM :runtime_role;

CREATE TABLE payments (
    tenant_id      text        NOT NULL,
    payment_id     text        NOT NULL,
    payer_id       text        NOT NULL,
    seller_id      text        NOT NULL,
    currency_code  text        NOT NULL,
    mirror_version bigint      NOT NULL DEFAULT 0,
    observation    jsonb       NOT NULL,
    -- The lease under which Stripe is called and read for this payment.
    fence          bigint      NOT NULL DEFAULT 0,
    held_until     timestamptz NOT NULL DEFAULT '-infinity',
    -- Of the last call that was made on it: what Stripe reports then is traced with that.
    trace_context  text,
    create_time    timestamptz NOT NULL,
    CONSTRAINT payments_pkey PRIMARY KEY (tenant_id, payment_id)
);

CREATE TABLE intents (
    tenant_id   text        NOT NULL,
    payment_id  text        NOT NULL,
    attempt     integer     NOT NULL,
    -- Stripe's ids, null while unknown: payments are found by them.
    intent_id   text,
    charge_id   text,
    session_id  text,
    -- The method that a setup kept, while its payment needs that: it is not removed meanwhile.
    needs_method_id text,
    mirrored    jsonb       NOT NULL,
    create_time timestamptz NOT NULL,
    CONSTRAINT intents_pkey PRIMARY KEY (tenant_id, payment_id, attempt)
);

CREATE UNIQUE INDEX intents_intent_id ON intents (tenant_id, intent_id) WHERE intent_id IS NOT NULL;
CREATE INDEX intents_charge_id ON intents (tenant_id, charge_id) WHERE charge_id IS NOT NULL;
CREATE UNIQUE INDEX intents_session_id ON intents (tenant_id, session_id) WHERE session_id IS NOT NULL;
CREATE INDEX intents_needs_method_id ON intents (tenant_id, needs_method_id) WHERE needs_method_id IS NOT NULL;

CREATE TABLE refunds (
    tenant_id        text        NOT NULL,
    payment_id       text        NOT NULL,
    refund_id        text        NOT NULL,
    attempt          integer     NOT NULL,
    amount_minor     bigint      NOT NULL CONSTRAINT refunds_amount CHECK (amount_minor > 0),
    state            text        NOT NULL
                     CONSTRAINT refunds_state CHECK (state IN ('PENDING', 'SUCCEEDED', 'FAILED', 'CANCELED')),
    stripe_refund_id text,
    failure_reason   text        NOT NULL DEFAULT '',
    actor_id         text        NOT NULL DEFAULT '',
    create_time      timestamptz NOT NULL,
    -- When it was first seen that the payer does not get it.
    fail_time        timestamptz,
    CONSTRAINT refunds_pkey PRIMARY KEY (tenant_id, payment_id, refund_id)
);

CREATE UNIQUE INDEX refunds_refund_id ON refunds (tenant_id, refund_id);
CREATE UNIQUE INDEX refunds_stripe_refund_id ON refunds (tenant_id, stripe_refund_id) WHERE stripe_refund_id IS NOT NULL;

-- What is sent to Stripe is written here before it is sent. The id is made of tenant, operation and request, and the
-- idempotency key of that and the generation, so that a row which was lost is made again under the same key.
CREATE TABLE calls (
    tenant_id    text        NOT NULL,
    call_id      uuid        NOT NULL,
    operation    text        NOT NULL,
    request_id   uuid        NOT NULL,
    request_hash bytea       NOT NULL,
    -- What it is made on: a payment, a seller.
    subject_type text        NOT NULL,
    subject_id   text        NOT NULL,
    params       jsonb       NOT NULL,
    state        text        NOT NULL
                 CONSTRAINT calls_state CHECK (state IN ('ACCEPTED', 'STARTED', 'UNKNOWN', 'WITHDRAWN', 'ANSWERED', 'REFUSED')),
    -- Ids and states of the answer, never a secret; or the refusal.
    answer       jsonb,
    tries        integer     NOT NULL DEFAULT 0,
    -- Work for the engine (services/runtime/work): its outcome is asked for again, unless it is answered before.
    due_time     timestamptz,
    fence        bigint      NOT NULL DEFAULT 0,
    held_until   timestamptz NOT NULL DEFAULT '-infinity',
    failures     integer     NOT NULL DEFAULT 0,
    lapses       integer     NOT NULL DEFAULT 0,
    problem      text,
    dead_time    timestamptz,
    trace_context text,
    create_time  timestamptz NOT NULL,
    -- How often it was begun anew under another key, and when the last time.
    generation   integer     NOT NULL DEFAULT 0,
    key_time     timestamptz,
    CONSTRAINT calls_pkey PRIMARY KEY (tenant_id, call_id),
    CONSTRAINT calls_request UNIQUE (tenant_id, operation, request_id)
);

CREATE INDEX calls_unknown ON calls (tenant_id, subject_id) WHERE state = 'UNKNOWN';
CREATE INDEX calls_due ON calls (tenant_id, due_time) WHERE due_time IS NOT NULL;
CREATE INDEX calls_dead ON calls (tenant_id, dead_time) WHERE dead_time IS NOT NULL;

-- Answered calls are kept for 90 days; this finds the older ones.
CREATE INDEX calls_create_time ON calls (create_time) WHERE state IN ('ACCEPTED', 'WITHDRAWN', 'ANSWERED', 'REFUSED');

CREATE INDEX calls_open ON calls (tenant_id, subject_id) WHERE state IN ('STARTED', 'UNKNOWN');

-- What belongs to a payment, as it is now: volatile, so that each query in it sees what was committed until then, also
-- when the statement around it began earlier and waited for the payment's row.
CREATE FUNCTION mirror_of(tenant text, payment text) RETURNS json LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN json_build_object(
        'intents',
        (SELECT coalesce(json_agg(i.mirrored ORDER BY i.attempt), '[]') FROM intents i
         WHERE i.tenant_id = tenant AND i.payment_id = payment),
        'refunds',
        (SELECT coalesce(json_agg(json_build_object('refund_id', r.refund_id, 'attempt', r.attempt,
             'amount_minor', r.amount_minor, 'state', r.state, 'stripe_refund_id', coalesce(r.stripe_refund_id, ''),
             'failure_reason', r.failure_reason, 'actor_id', r.actor_id, 'create_time', r.create_time,
             'fail_time', r.fail_time)
             ORDER BY r.create_time, r.refund_id), '[]')
         FROM refunds r WHERE r.tenant_id = tenant AND r.payment_id = payment),
        'open_calls',
        (SELECT coalesce(json_agg(json_build_array(c.operation, c.request_id, c.state) ORDER BY c.create_time), '[]')
         FROM calls c WHERE c.tenant_id = tenant AND c.subject_type = 'payment' AND c.subject_id = payment
             AND c.state IN ('STARTED', 'UNKNOWN')));
END $$;

-- Work for the engine (services/runtime/work): the payments that wait for Stripe, to be read again from time to time.
CREATE TABLE looks (
    tenant_id  text        NOT NULL,
    payment_id text        NOT NULL,
    -- How often it was read since something changed.
    looks      integer     NOT NULL DEFAULT 0,
    due_time   timestamptz,
    fence      bigint      NOT NULL DEFAULT 0,
    held_until timestamptz NOT NULL DEFAULT '-infinity',
    failures   integer     NOT NULL DEFAULT 0,
    lapses     integer     NOT NULL DEFAULT 0,
    problem    text,
    dead_time  timestamptz,
    trace_context text,
    CONSTRAINT looks_pkey PRIMARY KEY (tenant_id, payment_id)
);

CREATE INDEX looks_due ON looks (tenant_id, due_time) WHERE due_time IS NOT NULL;
CREATE INDEX looks_dead ON looks (tenant_id, dead_time) WHERE dead_time IS NOT NULL;

CREATE TABLE customers (
    tenant_id   text        NOT NULL,
    payer_id    text        NOT NULL,
    -- Which customer of the payer this is; part of the idempotency key, so that first payments at once make one.
    generation  integer     NOT NULL DEFAULT 1,
    -- What is known of the person, until Stripe has it: whoever repeats the call has to send the same.
    details     jsonb,
    customer_id text,
    create_time timestamptz NOT NULL,
    CONSTRAINT customers_pkey PRIMARY KEY (tenant_id, payer_id)
);

CREATE TABLE seller_accounts (
    tenant_id         text        NOT NULL,
    seller_id         text        NOT NULL,
    -- Which account of the seller this is; part of the idempotency key.
    generation        integer     NOT NULL DEFAULT 1,
    stripe_account_id text,
    -- It is not there any more at Stripe, or closed to us: another may be put.
    gone              boolean     NOT NULL DEFAULT false,
    charges_enabled   boolean     NOT NULL DEFAULT false,
    payouts_enabled   boolean     NOT NULL DEFAULT false,
    transfers_enabled boolean     NOT NULL DEFAULT false,
    requirements_due  text[]      NOT NULL DEFAULT '{}',
    observe_time         timestamptz,
    create_time       timestamptz NOT NULL,
    CONSTRAINT seller_accounts_pkey PRIMARY KEY (tenant_id, seller_id)
);

CREATE UNIQUE INDEX seller_accounts_stripe_account_id ON seller_accounts (tenant_id, stripe_account_id)
    WHERE stripe_account_id IS NOT NULL;
