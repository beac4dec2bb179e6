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
    -- What the ledger has booked of it by what is mirrored (services/gateway/ledger/books.py).
    books          jsonb       NOT NULL DEFAULT '{}',
    -- The lease under which Stripe is called and read for this payment.
    fence          bigint      NOT NULL DEFAULT 0,
    held_until     timestamptz NOT NULL DEFAULT '-infinity',
    -- Of the last call that was made on it: what Stripe reports then is traced with that.
    trace_context  text,
    create_time    timestamptz NOT NULL,
    CONSTRAINT payments_pkey PRIMARY KEY (tenant_id, payment_id)
);

-- All payments of a payer, for an erasure.
CREATE INDEX payments_payer_id ON payments (tenant_id, payer_id);

CREATE TABLE intents (
    tenant_id   text        NOT NULL,
    payment_id  text        NOT NULL,
    attempt     integer     NOT NULL,
    -- Stripe's ids, null while unknown: payments are found by them.
    intent_id   text,
    charge_id   text,
    session_id  text,
    -- The kept method that this attempt, or the charge that follows from it, cannot do without; else null. One that is
    -- needed is not detached: whoever writes this asks may_need_method in the same statement.
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
                     CONSTRAINT refunds_state CHECK (state IN ('PENDING', 'REQUIRES_ACTION', 'SUCCEEDED', 'FAILED', 'CANCELED')),
    stripe_refund_id text,
    failure_reason   text        NOT NULL DEFAULT '',
    actor_id         text        NOT NULL DEFAULT '',
    -- Why, in Stripe's word.
    reason           text        NOT NULL DEFAULT '',
    create_time      timestamptz NOT NULL,
    -- When it was first seen that the payer does not get it.
    fail_time        timestamptz,
    -- At whose cost it is, and what of it falls to each line: LineAmounts of services/shared/split.py.
    bearer           text        NOT NULL DEFAULT 'SHARED'
                     CONSTRAINT refunds_bearer CHECK (bearer IN ('SHARED', 'SELLER', 'PLATFORM')),
    parts            jsonb       NOT NULL DEFAULT '[]',
    CONSTRAINT refunds_pkey PRIMARY KEY (tenant_id, payment_id, refund_id)
);

CREATE UNIQUE INDEX refunds_refund_id ON refunds (tenant_id, refund_id);
CREATE UNIQUE INDEX refunds_stripe_refund_id ON refunds (tenant_id, stripe_refund_id) WHERE stripe_refund_id IS NOT NULL;

-- What moves between the platform and sellers: transfers, reversals, application fees, refunds of those.
CREATE TABLE movements (
    tenant_id   text        NOT NULL,
    payment_id  text        NOT NULL,
    movement_id text        NOT NULL,
    kind        text        NOT NULL
                CONSTRAINT movements_kind CHECK (kind IN ('TRANSFER', 'REVERSAL', 'FEE', 'FEE_REFUND', 'WRITE_OFF',
                    'NETTING_OUT', 'NETTING_IN')),
    seller_id   text        NOT NULL,
    -- Null while the call that makes it is not answered: payments are found by it.
    stripe_id   text,
    mirrored    jsonb       NOT NULL,
    create_time timestamptz NOT NULL,
    CONSTRAINT movements_pkey PRIMARY KEY (tenant_id, payment_id, movement_id)
);

CREATE UNIQUE INDEX movements_movement_id ON movements (tenant_id, movement_id);
CREATE UNIQUE INDEX movements_stripe_id ON movements (tenant_id, stripe_id) WHERE stripe_id IS NOT NULL;
CREATE INDEX movements_write_offs ON movements (tenant_id, create_time) WHERE kind = 'WRITE_OFF';
CREATE INDEX movements_seller_id ON movements (tenant_id, seller_id, create_time);

-- Disputes and inquiries of a charge, as last seen. Work for the engine (services/runtime/work): an operator is told that an
-- answer is due, at `due_time`.
CREATE TABLE disputes (
    tenant_id       text        NOT NULL,
    payment_id      text        NOT NULL,
    dispute_id      text        NOT NULL,
    attempt         integer     NOT NULL,
    -- As the contract names it, or OTHER.
    state           text        NOT NULL,
    -- It is not decided.
    is_open         boolean     NOT NULL,
    -- Until when the bank waits for our answer; null where it waits for none.
    answer_due_time timestamptz,
    mirrored        jsonb       NOT NULL,
    create_time     timestamptz NOT NULL,
    due_time        timestamptz,
    fence           bigint      NOT NULL DEFAULT 0,
    held_until      timestamptz NOT NULL DEFAULT '-infinity',
    failures        integer     NOT NULL DEFAULT 0,
    lapses          integer     NOT NULL DEFAULT 0,
    problem         text,
    dead_time       timestamptz,
    trace_context   text,
    CONSTRAINT disputes_pkey PRIMARY KEY (tenant_id, payment_id, dispute_id)
);

CREATE UNIQUE INDEX disputes_dispute_id ON disputes (tenant_id, dispute_id);
CREATE INDEX disputes_create_time ON disputes (tenant_id, create_time DESC, dispute_id DESC);
-- What operators did, which is listed with all else that they did.
CREATE INDEX disputes_accepted ON disputes (tenant_id) WHERE coalesce(mirrored ->> 'accept_actor_id', '') <> '';
CREATE INDEX disputes_open ON disputes (tenant_id, create_time DESC, dispute_id DESC) WHERE is_open;
CREATE INDEX disputes_answer_due_time ON disputes (tenant_id, answer_due_time) WHERE answer_due_time IS NOT NULL;
CREATE INDEX disputes_due ON disputes (tenant_id, due_time) WHERE due_time IS NOT NULL;
CREATE INDEX disputes_dead ON disputes (tenant_id, dead_time) WHERE dead_time IS NOT NULL;

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
    failed_tries jsonb       NOT NULL DEFAULT '[]',
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
             'failure_reason', r.failure_reason, 'actor_id', r.actor_id, 'reason', r.reason, 'create_time', r.create_time,
             'fail_time', r.fail_time, 'bearer', r.bearer, 'parts', r.parts)
             ORDER BY r.create_time, r.refund_id), '[]')
         FROM refunds r WHERE r.tenant_id = tenant AND r.payment_id = payment),
        'movements',
        (SELECT coalesce(json_agg(m.mirrored ORDER BY m.create_time, m.movement_id), '[]') FROM movements m
         WHERE m.tenant_id = tenant AND m.payment_id = payment),
        'disputes',
        (SELECT coalesce(json_agg(json_build_array(d.attempt, d.mirrored) ORDER BY d.dispute_id), '[]') FROM disputes d
         WHERE d.tenant_id = tenant AND d.payment_id = payment),
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

-- What sellers owe of payments: they were to give back more than their balances at Stripe cover.
CREATE TABLE receivables (
    tenant_id     text        NOT NULL,
    payment_id    text        NOT NULL,
    attempt       integer     NOT NULL,
    seller_id     text        NOT NULL,
    currency_code text        NOT NULL,
    amount_minor  bigint      NOT NULL CONSTRAINT receivables_amount CHECK (amount_minor > 0),
    -- When it was first asked back in vain.
    since         timestamptz NOT NULL,
    CONSTRAINT receivables_pkey PRIMARY KEY (tenant_id, payment_id, attempt, seller_id)
);

CREATE INDEX receivables_since ON receivables (tenant_id, since, payment_id);
CREATE INDEX receivables_seller_id ON receivables (tenant_id, seller_id, since, payment_id);

-- Work for the engine (services/runtime/work): the payments of which a seller has not what it is to have.
CREATE TABLE settlements (
    tenant_id  text        NOT NULL,
    payment_id text        NOT NULL,
    -- What is to be moved, and why not yet; another text makes it due.
    missing    text        NOT NULL,
    -- Whose parts those are.
    seller_ids text[]      NOT NULL,
    due_time   timestamptz,
    fence      bigint      NOT NULL DEFAULT 0,
    held_until timestamptz NOT NULL DEFAULT '-infinity',
    failures   integer     NOT NULL DEFAULT 0,
    lapses     integer     NOT NULL DEFAULT 0,
    problem    text,
    dead_time  timestamptz,
    trace_context text,
    create_time timestamptz NOT NULL,
    CONSTRAINT settlements_pkey PRIMARY KEY (tenant_id, payment_id)
);

CREATE INDEX settlements_due ON settlements (tenant_id, due_time) WHERE due_time IS NOT NULL;
CREATE INDEX settlements_dead ON settlements (tenant_id, dead_time) WHERE dead_time IS NOT NULL;
CREATE INDEX settlements_seller_ids ON settlements USING gin (seller_ids);

CREATE TABLE customers (
    tenant_id   text        NOT NULL,
    payer_id    text        NOT NULL,
    -- Which customer of the payer this is; part of the idempotency key, so that first payments at once make one.
    generation  integer     NOT NULL DEFAULT 1,
    -- What is known of the person, until Stripe has it: whoever repeats the call has to send the same.
    -- Encrypted under the payer's key.
    details     bytea,
    customer_id text,
    -- How the person is reached: what Stripe was told, or showed. Encrypted as `details` are, which are newer where there are any.
    contact     bytea,
    -- When that was last read at Stripe; null for never.
    contact_read_time timestamptz,
    -- A digest of each detail that Stripe was told last, by which it is seen that there is another now.
    told        jsonb       NOT NULL DEFAULT '{}',
    -- How often Stripe was told of a change; part of the idempotency key of that call.
    changes     integer     NOT NULL DEFAULT 0,
    -- Which of the kept methods is used where a request names no other.
    default_method_id text,
    -- When the kept methods were last read at Stripe as a whole; null for never.
    read_time   timestamptz,
    -- The lease under which Stripe is called and read for the payer's methods.
    fence       bigint      NOT NULL DEFAULT 0,
    held_until  timestamptz NOT NULL DEFAULT '-infinity',
    create_time timestamptz NOT NULL,
    CONSTRAINT customers_pkey PRIMARY KEY (tenant_id, payer_id)
);

CREATE UNIQUE INDEX customers_customer_id ON customers (tenant_id, customer_id) WHERE customer_id IS NOT NULL;

-- The keys of personal data, wrapped under a key from the settings: of a payer (`payer/ID`), of a seller (`seller/ID`), and of
-- what came in on a day while its payer was not known (`day/DATE`). One that is destroyed cannot be made again; its row says when and by whom.
CREATE TABLE personal_keys (
    tenant_id        text        NOT NULL,
    holder           text        NOT NULL,
    -- Who comes back after an erasure gets the next.
    generation       integer     NOT NULL,
    wrapped_key      bytea,
    -- Which key wraps it.
    wrapping_key_id  text        NOT NULL,
    create_time      timestamptz NOT NULL,
    destroy_time     timestamptz,
    destroy_actor_id text,
    CONSTRAINT personal_keys_pkey PRIMARY KEY (tenant_id, holder, generation),
    CONSTRAINT personal_keys_destroyed CHECK ((wrapped_key IS NULL) = (destroy_time IS NOT NULL))
);

CREATE UNIQUE INDEX personal_keys_holder ON personal_keys (tenant_id, holder) WHERE destroy_time IS NULL;
CREATE INDEX personal_keys_wrapping_key_id ON personal_keys (wrapping_key_id) WHERE destroy_time IS NULL;
REVOKE DELETE, TRUNCATE ON personal_keys FROM :runtime_role;

-- Payers whose personal data was destroyed, each time that it was asked for.
CREATE TABLE erasures (
    tenant_id    text        NOT NULL,
    request_id   uuid        NOT NULL,
    request_hash bytea       NOT NULL,
    payer_id     text        NOT NULL,
    actor_id     text        NOT NULL,
    -- Who the payer was at Stripe, and is to be deleted there; null where nobody.
    customer_id  text,
    create_time  timestamptz NOT NULL,
    -- When nothing was left to do.
    end_time     timestamptz,
    -- Work for the engine (services/runtime/work): what is left to do, also if its caller does not come back.
    due_time     timestamptz,
    fence        bigint      NOT NULL DEFAULT 0,
    held_until   timestamptz NOT NULL DEFAULT '-infinity',
    failures     integer     NOT NULL DEFAULT 0,
    lapses       integer     NOT NULL DEFAULT 0,
    problem      text,
    dead_time    timestamptz,
    trace_context text,
    CONSTRAINT erasures_pkey PRIMARY KEY (tenant_id, request_id)
);

CREATE INDEX erasures_customer_id ON erasures (tenant_id, customer_id) WHERE customer_id IS NOT NULL;
CREATE INDEX erasures_payer_id ON erasures (tenant_id, payer_id);
CREATE INDEX erasures_due ON erasures (tenant_id, due_time) WHERE due_time IS NOT NULL;
CREATE INDEX erasures_dead ON erasures (tenant_id, dead_time) WHERE dead_time IS NOT NULL;
REVOKE DELETE, TRUNCATE ON erasures FROM :runtime_role;

-- The mirror of the methods that payers keep at Stripe.
CREATE TABLE payment_methods (
    tenant_id         text        NOT NULL,
    payment_method_id text        NOT NULL,
    payer_id          text        NOT NULL,
    -- One that is being detached is needed by nobody any more, and one that is needed is not detached.
    state             text        NOT NULL
                      CONSTRAINT payment_methods_state CHECK (state IN ('KEPT', 'DETACHING', 'DETACHED')),
    mirrored          jsonb       NOT NULL,
    keep_time         timestamptz NOT NULL,
    detach_time       timestamptz,
    CONSTRAINT payment_methods_pkey PRIMARY KEY (tenant_id, payment_method_id)
);

CREATE INDEX payment_methods_payer_id ON payment_methods (tenant_id, payer_id) WHERE state <> 'DETACHED';
CREATE INDEX payment_methods_detach_time ON payment_methods (detach_time) WHERE detach_time IS NOT NULL;

-- That a payer agreed to have a method kept, written with the call that kept it. The first consent stands. It outlives the
-- method, since what was charged by it may be contested for months.
CREATE TABLE method_consents (
    tenant_id         text        NOT NULL,
    payment_method_id text        NOT NULL,
    payer_id          text        NOT NULL,
    actor_id          text        NOT NULL,
    consent_time      timestamptz NOT NULL,
    CONSTRAINT method_consents_pkey PRIMARY KEY (tenant_id, payment_method_id)
);

CREATE INDEX method_consents_payer_id ON method_consents (tenant_id, payer_id);
CREATE INDEX method_consents_consent_time ON method_consents (consent_time);

-- Setup intents of payers who keep a method without a payment; those of payments are attempts.
CREATE TABLE setup_intents (
    tenant_id       text        NOT NULL,
    setup_intent_id text        NOT NULL,
    payer_id        text        NOT NULL,
    mirrored        jsonb       NOT NULL,
    create_time     timestamptz NOT NULL,
    CONSTRAINT setup_intents_pkey PRIMARY KEY (tenant_id, setup_intent_id)
);

CREATE INDEX setup_intents_create_time ON setup_intents (create_time);

-- What belongs to a payer, as it is now: volatile, as mirror_of is. A consent that nothing is known of here says that a
-- method was kept with a payment, and was not read yet.
CREATE FUNCTION methods_of(tenant text, payer text) RETURNS json LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN json_build_object(
        'methods',
        (SELECT coalesce(json_agg(m.mirrored || CASE WHEN k.actor_id IS NULL THEN '{}' ELSE jsonb_build_object(
             'consent', jsonb_build_object('actor_id', k.actor_id, 'consent_time', k.consent_time)) END
             ORDER BY m.keep_time, m.payment_method_id), '[]')
         FROM payment_methods m LEFT JOIN method_consents k USING (tenant_id, payment_method_id)
         WHERE m.tenant_id = tenant AND m.payer_id = payer AND m.state <> 'DETACHED'),
        'unread_time',
        (SELECT max(k.consent_time) FROM method_consents k
         WHERE k.tenant_id = tenant AND k.payer_id = payer AND NOT EXISTS (
             SELECT FROM payment_methods m
             WHERE m.tenant_id = k.tenant_id AND m.payment_method_id = k.payment_method_id)),
        'open_calls',
        (SELECT coalesce(json_agg(json_build_array(c.operation, c.request_id) ORDER BY c.create_time), '[]')
         FROM calls c WHERE c.tenant_id = tenant AND c.subject_type = 'payer' AND c.subject_id = payer
             AND c.state IN ('STARTED', 'UNKNOWN')));
END $$;

-- Whether an attempt may need a method from now on: it is kept, or not known here, in which case Stripe decides. Called in
-- the statement that writes needs_method_id. Whoever detaches the method waits until that has committed, and sees it.
-- Volatile, so that it sees what was committed while it waited itself. The lock is of the method's id and not of its row,
-- since a method is needed before it is known here, too.
CREATE FUNCTION may_need_method(tenant text, method text) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
DECLARE known text;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(hashtextextended(tenant || '/' || method, 0));
    SELECT m.state INTO known FROM payment_methods m WHERE m.tenant_id = tenant AND m.payment_method_id = method;
    RETURN known IS NULL OR known = 'KEPT';
END $$;

-- Which payments need methods that are to be detached, at most so many; null when none does. Called in the statement that
-- marks them as being detached, after which may_need_method says no.
CREATE FUNCTION payments_needing(tenant text, methods text[], payments_max integer) RETURNS text[]
LANGUAGE plpgsql VOLATILE AS $$
DECLARE found text[];
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended(tenant || '/' || one, 0))
    FROM (SELECT unnest(methods) AS one ORDER BY 1) AS each;
    SELECT array_agg(needing.payment_id) INTO found FROM (
        SELECT DISTINCT i.payment_id FROM intents i
        WHERE i.tenant_id = tenant AND i.needs_method_id = ANY (methods)
        ORDER BY i.payment_id LIMIT payments_max) AS needing;
    RETURN found;
END $$;

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
    -- Capabilities and requirements, as last read.
    mirrored          jsonb       NOT NULL DEFAULT '{}',
    -- How the seller is reached, as last read. Encrypted under the seller's key.
    contact           bytea,
    -- The caller's: what statements show of payments that are this seller's alone.
    statement_descriptor_suffix text NOT NULL DEFAULT '',
    -- The caller's: what receipts call the seller, and its VAT id as it is written there. Both are published.
    receipt_name      text        NOT NULL DEFAULT '',
    vat_id            text        NOT NULL DEFAULT '',
    -- How many readings were begun, and which of them is kept here: one that began before it says nothing any more.
    readings          bigint      NOT NULL DEFAULT 0,
    kept_reading      bigint      NOT NULL DEFAULT 0,
    observe_time      timestamptz,
    create_time       timestamptz NOT NULL,
    CONSTRAINT seller_accounts_pkey PRIMARY KEY (tenant_id, seller_id)
);

CREATE UNIQUE INDEX seller_accounts_stripe_account_id ON seller_accounts (tenant_id, stripe_account_id)
    WHERE stripe_account_id IS NOT NULL;

-- The mirror of payouts: those of sellers' accounts, and the platform's own, whose seller_id is empty. A row is only moved
-- on (services/gateway/payouts/domain.py), whatever order Stripe's events come in.
CREATE TABLE payouts (
    tenant_id         text        NOT NULL,
    seller_id         text        NOT NULL,
    payout_id         text        NOT NULL,
    -- The seller's account at Stripe; empty for the platform's own.
    stripe_account_id text        NOT NULL,
    -- Below zero where a bank account is charged for a negative balance.
    amount_minor      bigint      NOT NULL,
    currency_code     text        NOT NULL,
    -- As Stripe names it: pending, in_transit, paid, failed, canceled.
    state             text        NOT NULL,
    arrival_time      timestamptz NOT NULL,
    failure_code      text        NOT NULL DEFAULT '',
    automatic         boolean     NOT NULL,
    -- As Stripe names it: not_applicable, in_progress, completed.
    reconciliation_status text    NOT NULL,
    -- By Stripe's clock: when what is kept here was so.
    shown_time        timestamptz NOT NULL,
    create_time       timestamptz NOT NULL,
    observe_time      timestamptz NOT NULL,
    CONSTRAINT payouts_pkey PRIMARY KEY (tenant_id, seller_id, payout_id)
);

CREATE INDEX payouts_create_time ON payouts (tenant_id, seller_id, create_time DESC, payout_id DESC);
CREATE INDEX payouts_failed ON payouts (tenant_id, observe_time) WHERE state = 'failed';

-- That the payouts from before Stripe reported any were read once: of a seller's account, or of the platform.
CREATE TABLE payout_readings (
    tenant_id         text        NOT NULL,
    seller_id         text        NOT NULL,
    stripe_account_id text        NOT NULL,
    read_time         timestamptz NOT NULL,
    CONSTRAINT payout_readings_pkey PRIMARY KEY (tenant_id, seller_id, stripe_account_id)
);
