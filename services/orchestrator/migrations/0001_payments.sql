-- expand
-- The plan of each payment, what is to be recorded by status, and what callers asked for.

CREATE TABLE payments (
    tenant_id       text        NOT NULL,
    payment_id      text        NOT NULL,
    payer_id        text        NOT NULL,
    -- What was asked for, without personal data. quote_request is sent to pricing again exactly as it was first sent.
    quote_request   bytea       NOT NULL,
    session_type    text        NOT NULL,
    session_name    text        NOT NULL,
    client_reference text       NOT NULL,
    return_url      text        NOT NULL,
    seller_ids      text[]      NOT NULL,
    booking_ids     text[]      NOT NULL,
    labels          jsonb       NOT NULL,
    -- When and how it is to be collected, as the caller asked; and what has come of that so far.
    terms           jsonb       NOT NULL DEFAULT '{}',
    course          jsonb       NOT NULL DEFAULT '{}',
    -- How far the plan has come.
    stage           text        NOT NULL CONSTRAINT payments_stage CHECK (stage IN ('STARTING', 'COLLECTING', 'ENDED', 'REFUSED')),
    quote_id        text,
    currency_code   text,
    total_minor     bigint,
    -- Who gets what of each line, as the quote says; without lines before it is priced.
    split           jsonb       NOT NULL DEFAULT '{"lines": []}',
    attempt         integer     NOT NULL DEFAULT 0,
    attempt_kind    text        NOT NULL DEFAULT 'INTENT' CONSTRAINT payments_attempt_kind CHECK (attempt_kind IN ('INTENT', 'CHECKOUT_SESSION', 'SETUP_INTENT')),
    -- What a cancelled attempt will mean, written before it is cancelled: the payment ends so, or waits for another attempt;
    -- SUCCEEDED where a part was captured before.
    cancel_outcome  text        CONSTRAINT payments_cancel_outcome CHECK (cancel_outcome IN
                        ('CANCELED', 'EXPIRED', 'FAILED', 'SUCCEEDED', 'REQUIRES_PAYMENT_METHOD')),
    -- The newest that was seen at Stripe and the newest that was applied.
    observed_version bigint     NOT NULL DEFAULT 0,
    observation     bytea,
    mirror_version  bigint      NOT NULL DEFAULT 0,
    -- What was last put into the outbox for status: what the next transition starts from, not the truth.
    latest_snapshot jsonb       NOT NULL,
    revision        bigint      NOT NULL DEFAULT 0,
    -- The payment as work (services/runtime/work): when it is looked at next, and the lease of whoever moves it.
    due_time        timestamptz,
    held_until      timestamptz NOT NULL DEFAULT '-infinity',
    fence           bigint      NOT NULL DEFAULT 0,
    failures        integer     NOT NULL DEFAULT 0,
    lapses          integer     NOT NULL DEFAULT 0,
    problem         text,
    dead_time       timestamptz,
    trace_context   text,
    -- What it is due for: EXPIRY when only its payer's time is up or it has to be looked at again, MONEY for all else.
    work_class      text        NOT NULL DEFAULT 'MONEY' CONSTRAINT payments_work_class CHECK (work_class IN ('MONEY', 'EXPIRY')),
    -- Requests that were accepted, so that whoever lets the payment go sees that one more came.
    request_count   bigint      NOT NULL DEFAULT 0,
    -- What its time brings, if nothing happens before.
    next_step       text        CONSTRAINT payments_next_step CHECK (next_step IN
                        ('GIVE_UP_START', 'EXPIRE', 'CHARGE', 'CAPTURE', 'WARN_HOLD', 'RELEASE', 'LOOK')),
    next_time       timestamptz,
    create_time     timestamptz NOT NULL,
    CONSTRAINT payments_pkey PRIMARY KEY (tenant_id, payment_id)
);

CREATE INDEX payments_due_money ON payments (tenant_id, due_time) WHERE due_time IS NOT NULL AND work_class = 'MONEY';
CREATE INDEX payments_due_expiry ON payments (tenant_id, due_time) WHERE due_time IS NOT NULL AND work_class = 'EXPIRY';
-- What plans do next by themselves that moves money, the earliest first; and the payments of bookings that are not over.
CREATE INDEX payments_planned ON payments (next_step, next_time)
    WHERE next_step IN ('CHARGE', 'CAPTURE', 'RELEASE', 'WARN_HOLD');
CREATE INDEX payments_open_bookings ON payments (tenant_id, payment_id)
    WHERE stage IN ('STARTING', 'COLLECTING') AND booking_ids <> '{}';
CREATE INDEX payments_dead ON payments (tenant_id, dead_time) WHERE dead_time IS NOT NULL;
-- Those that need an operator, the oldest first: none of the others is in it.
CREATE INDEX payments_attention ON payments (tenant_id, create_time) WHERE latest_snapshot -> 'attentions' <> '[]';
CREATE INDEX payments_client_reference ON payments (tenant_id, client_reference) WHERE client_reference <> '';

-- Those that an operator is shown as stuck: they failed as often as makes them `STUCK`, or wait for what Stripe does not say.
CREATE INDEX payments_failing ON payments (tenant_id, payment_id) WHERE failures >= 20;
CREATE INDEX payments_unknown ON payments (tenant_id, payment_id) WHERE latest_snapshot ->> 'reason' = 'OUTCOME_UNKNOWN';

CREATE TABLE transitions (
    tenant_id   text        NOT NULL,
    payment_id  text        NOT NULL,
    request_id  uuid        NOT NULL,
    seq         bigint      GENERATED ALWAYS AS IDENTITY,
    fact        text        NOT NULL,
    snapshot    jsonb       NOT NULL,
    -- Set when status refused it for good; such a row stays for the operator.
    refusal     text,
    -- Whether an operator was notified of the refusal.
    operator_notified boolean     NOT NULL DEFAULT false,
    -- The request by which an operator gave up what was refused, as it is derived.
    given_up_by uuid,
    create_time timestamptz NOT NULL,
    CONSTRAINT transitions_pkey PRIMARY KEY (tenant_id, payment_id, request_id)
);

CREATE INDEX transitions_refused ON transitions (tenant_id, create_time) WHERE refusal IS NOT NULL AND given_up_by IS NULL;

-- What is pending of a payment, and what status rejected and no operator was notified of. A function, because it reads anew:
-- a subquery of the statement that takes the payment would read as of that statement's begin, which may be before the
-- last holder released it.
CREATE FUNCTION outbox_of(tenant text, payment text) RETURNS json LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN (SELECT json_build_object(
                'pending',
                coalesce(json_agg(json_build_array(t.request_id, t.fact, t.snapshot) ORDER BY t.seq)
                    FILTER (WHERE t.refusal IS NULL), '[]'),
                'rejected', coalesce(json_agg(t.fact ORDER BY t.seq) FILTER (WHERE t.refusal IS NOT NULL AND NOT t.operator_notified), '[]'))
            FROM transitions t
            WHERE t.tenant_id = tenant AND t.payment_id = payment);
END $$;

CREATE TABLE requests (
    tenant_id    text        NOT NULL,
    caller       text        NOT NULL,
    method       text        NOT NULL,
    request_id   uuid        NOT NULL,
    request_hash bytea       NOT NULL,
    payment_id   text        NOT NULL,
    -- What the method still has to do, as it decided it: sent again exactly as it was first sent.
    command      bytea       NOT NULL,
    state        text        NOT NULL CONSTRAINT requests_state CHECK (state IN ('RUNNING', 'CALLING', 'DONE')),
    -- The answer without secrets, or the refusal; one of them once it is done.
    answer       bytea,
    refusal      jsonb,
    create_time  timestamptz NOT NULL,
    -- It is carried on before the other open requests of its payment.
    is_urgent    boolean     NOT NULL DEFAULT false,
    -- After this it is not sent to Stripe for a first time any more; null where it goes ahead at any age.
    send_before_time timestamptz,
    -- The operator who decided, and how the payment stood when the request was written down; empty where it was none.
    actor_id     text        NOT NULL DEFAULT '',
    before       jsonb,
    CONSTRAINT requests_pkey PRIMARY KEY (tenant_id, caller, method, request_id)
);

CREATE INDEX requests_running ON requests (tenant_id, payment_id) WHERE state <> 'DONE';
CREATE INDEX requests_create_time ON requests (create_time);

-- Whether new payments of a tenant are stopped, looked at by the statement that writes one; and all that was ever said of it.
CREATE TABLE start_switches (
    tenant_id         text        NOT NULL,
    revision          bigint      NOT NULL,
    paused            boolean     NOT NULL,
    public_message    text        NOT NULL,
    expected_end_time timestamptz,
    CONSTRAINT start_switches_pkey PRIMARY KEY (tenant_id)
);
REVOKE DELETE, TRUNCATE ON start_switches FROM :runtime_role;

CREATE TABLE start_switch_changes (
    tenant_id         text        NOT NULL,
    revision          bigint      NOT NULL,
    caller            text        NOT NULL,
    method            text        NOT NULL,
    request_id        uuid        NOT NULL,
    request_hash      bytea       NOT NULL,
    paused            boolean     NOT NULL,
    actor_id          text        NOT NULL,
    reason            text        NOT NULL,
    public_message    text        NOT NULL,
    expected_end_time timestamptz,
    create_time       timestamptz NOT NULL,
    CONSTRAINT start_switch_changes_pkey PRIMARY KEY (tenant_id, revision),
    CONSTRAINT start_switch_changes_request UNIQUE (tenant_id, caller, method, request_id)
);
REVOKE UPDATE, DELETE, TRUNCATE ON start_switch_changes FROM :runtime_role;

-- By what sellers are paid, and money goes back: every policy that was ever put; the newest of a session type holds.
CREATE TABLE money_policies (
    tenant_id    text        NOT NULL,
    revision     bigint      NOT NULL,
    session_type text        NOT NULL,
    policy       jsonb       NOT NULL,
    caller       text        NOT NULL,
    request_id   uuid        NOT NULL,
    request_hash bytea       NOT NULL,
    actor_id     text        NOT NULL,
    reason       text        NOT NULL,
    create_time  timestamptz NOT NULL,
    CONSTRAINT money_policies_pkey PRIMARY KEY (tenant_id, revision),
    CONSTRAINT money_policies_request UNIQUE (tenant_id, caller, request_id)
);
CREATE INDEX money_policies_newest ON money_policies (tenant_id, session_type, revision DESC);
REVOKE UPDATE, DELETE, TRUNCATE ON money_policies FROM :runtime_role;

-- Declines of the last hour, by what of who tried is counted: payer, address, card. Forgotten as others come.
CREATE TABLE declines (
    tenant_id    text        NOT NULL,
    counted      bytea       NOT NULL,
    card         bytea       NOT NULL,
    payment_id   text        NOT NULL,
    decline      integer     NOT NULL,
    decline_time timestamptz NOT NULL,
    CONSTRAINT declines_pkey PRIMARY KEY (tenant_id, counted, payment_id, decline)
);
CREATE INDEX declines_by_time ON declines (tenant_id, decline_time);

COMMENT ON COLUMN declines.counted IS 'SHA-256 of a payer, an address or the fingerprint of a card; none of them is here.';
COMMENT ON COLUMN declines.card IS 'Under what the card is counted that was tried; empty for the row of a card itself.';
COMMENT ON COLUMN declines.decline IS 'The payment''s so many-th: each counts once.';
