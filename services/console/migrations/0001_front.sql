-- expand
-- Sessions of operators, log-ins under way, and what operators looked at.
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
CREATE INDEX audit_by_subject_matter ON audit (tenant_id, about);

COMMENT ON TABLE audit IS 'Log-ins, views of personal data and exports; the audit of an action is kept by the service that acts.';
REVOKE UPDATE, DELETE ON audit FROM :runtime_role;

CREATE TABLE logins (
    key           bytea       NOT NULL,
    nonce         text        NOT NULL,
    verifier      text        NOT NULL,
    goes_to       text        NOT NULL,
    is_proof      boolean     NOT NULL,
    begin_time    timestamptz NOT NULL,
    expire_time   timestamptz NOT NULL,
    CONSTRAINT logins_pkey PRIMARY KEY (key)
);
CREATE INDEX logins_by_end ON logins (expire_time);

COMMENT ON TABLE logins IS 'Log-ins under way at the issuer (OpenID Connect: code with PKCE); used by DELETE.';
COMMENT ON COLUMN logins.key IS 'SHA-256 of `state`.';
COMMENT ON COLUMN logins.is_proof IS 'Whether the issuer has to ask the person now.';

CREATE TABLE approvals (
    tenant_id     text        NOT NULL,
    request_id    text        NOT NULL,
    payment_id    text        NOT NULL,
    action        text        NOT NULL,
    fields        text        NOT NULL,
    currency_code text        NOT NULL,
    amount_minor  bigint      NOT NULL,
    reason        text        NOT NULL,
    asked_by      text        NOT NULL,
    ask_time      timestamptz NOT NULL,
    expire_time   timestamptz NOT NULL,
    state         text        NOT NULL,
    decided_by    text        NOT NULL,
    decide_time   timestamptz,
    outcome       text        NOT NULL,
    CONSTRAINT approvals_pkey PRIMARY KEY (tenant_id, request_id),
    CONSTRAINT approvals_state CHECK (state IN ('OPEN', 'RELEASED', 'DONE', 'REFUSED', 'DECLINED', 'WITHDRAWN', 'EXPIRED')),
    CONSTRAINT approvals_two_people CHECK (state NOT IN ('RELEASED', 'DONE', 'REFUSED') OR decided_by <> asked_by)
);
CREATE INDEX approvals_by_time ON approvals (tenant_id, ask_time);
CREATE UNIQUE INDEX approvals_one_at_a_time ON approvals (tenant_id, payment_id, action)
    WHERE state IN ('OPEN', 'RELEASED');

COMMENT ON TABLE approvals IS 'What one operator asks for and another releases; kept for ever.';
COMMENT ON COLUMN approvals.request_id IS 'Of the call that it leads to, so that whoever carries it on makes the same call.';
REVOKE DELETE ON approvals FROM :runtime_role;

CREATE TABLE moved_alone (
    tenant_id     text        NOT NULL,
    request_id    text        NOT NULL,
    payment_id    text        NOT NULL,
    subject       text        NOT NULL,
    currency_code text        NOT NULL,
    amount_minor  bigint      NOT NULL,
    act_time      timestamptz NOT NULL,
    CONSTRAINT moved_alone_pkey PRIMARY KEY (tenant_id, request_id),
    CONSTRAINT moved_alone_amount CHECK (amount_minor > 0)
);
CREATE INDEX moved_alone_of_payment ON moved_alone (tenant_id, payment_id);
CREATE INDEX moved_alone_of_operator ON moved_alone (tenant_id, subject, act_time);

COMMENT ON TABLE moved_alone IS 'What operators move without a second person, written before the call; what is above a limit together needs one.';
REVOKE DELETE ON moved_alone FROM :runtime_role;
