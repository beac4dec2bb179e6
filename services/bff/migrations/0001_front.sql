-- expand
-- Sessions of payers, and what a payer or the platform did here that no service knows of.
CREATE TABLE sessions (
    key         bytea       NOT NULL,
    form_key    bytea       NOT NULL,
    tenant_id   text        NOT NULL,
    subject     text        NOT NULL,
    role        text        NOT NULL,
    payment_id  text,
    locale      text        NOT NULL,
    auth_time   timestamptz NOT NULL,
    create_time timestamptz NOT NULL,
    seen_time   timestamptz NOT NULL,
    expire_time timestamptz NOT NULL,
    user_agent  text        NOT NULL,
    CONSTRAINT sessions_pkey PRIMARY KEY (key)
);
CREATE INDEX sessions_of_subject ON sessions (tenant_id, subject);
CREATE INDEX sessions_by_end ON sessions (expire_time);

COMMENT ON COLUMN sessions.key IS 'SHA-256 of the id in the cookie; the id itself is nowhere.';
COMMENT ON COLUMN sessions.form_key IS 'Signs the request ids in forms; its successor after a rotation has the same.';
COMMENT ON COLUMN sessions.auth_time IS 'When the person proved who they are.';

CREATE TABLE audit (
    audit_id   bigint      GENERATED ALWAYS AS IDENTITY,
    tenant_id  text        NOT NULL,
    subject    text        NOT NULL,
    what       text        NOT NULL,
    about      text        NOT NULL,
    detail     text        NOT NULL,
    client_ip  text        NOT NULL,
    correlation_id text    NOT NULL,
    act_time   timestamptz NOT NULL,
    CONSTRAINT audit_pkey PRIMARY KEY (audit_id)
);
CREATE INDEX audit_by_time ON audit (tenant_id, act_time);

COMMENT ON TABLE audit IS 'Log-ins, views of personal data and exports; the audit of an action is kept by the service that acts.';
REVOKE UPDATE, DELETE ON audit FROM :runtime_role;

CREATE TABLE hand_over_codes (
    key         bytea       NOT NULL,
    tenant_id   text        NOT NULL,
    payer_id    text        NOT NULL,
    payment_id  text        NOT NULL,
    locale      text        NOT NULL,
    expire_time timestamptz NOT NULL,
    CONSTRAINT hand_over_codes_pkey PRIMARY KEY (key)
);
CREATE INDEX hand_over_codes_by_end ON hand_over_codes (expire_time);

COMMENT ON TABLE hand_over_codes IS 'One-time codes that the platform''s back end got for a payer; used by DELETE.';
COMMENT ON COLUMN hand_over_codes.key IS 'SHA-256 of the code.';

CREATE TABLE rate_buckets (
    bucket      text        NOT NULL,
    level       double precision NOT NULL,
    change_time timestamptz NOT NULL,
    CONSTRAINT rate_buckets_pkey PRIMARY KEY (bucket)
);
CREATE INDEX rate_buckets_by_change ON rate_buckets (change_time);

CREATE TABLE satisfaction_answers (
    tenant_id   text        NOT NULL,
    payment_id  text        NOT NULL,
    payer_id    text        NOT NULL,
    score       smallint    NOT NULL,
    answer_time timestamptz NOT NULL,
    CONSTRAINT satisfaction_answers_pkey PRIMARY KEY (tenant_id, payment_id),
    CONSTRAINT satisfaction_answers_score CHECK (score BETWEEN 1 AND 5)
);
CREATE INDEX satisfaction_answers_by_time ON satisfaction_answers (tenant_id, answer_time);
