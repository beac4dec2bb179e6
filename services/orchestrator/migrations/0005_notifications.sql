-- expand
-- What payers, sellers and operators are told, and the mails that bring it.

-- How many notifications each had. Whoever writes some locks the row until they are committed, so that numbers become visible in
-- their order: a watch that resumes after one misses none.
CREATE TABLE notification_recipients (
    tenant_id      text   NOT NULL,
    recipient_kind text   NOT NULL CONSTRAINT notification_recipients_kind CHECK (recipient_kind IN ('PAYER', 'SELLER', 'OPERATOR')),
    -- Empty of operators: it is for all of the tenant's.
    recipient_id   text   NOT NULL,
    last_number    bigint NOT NULL,
    CONSTRAINT notification_recipients_pkey PRIMARY KEY (tenant_id, recipient_kind, recipient_id)
);

CREATE TABLE notifications (
    tenant_id       text        NOT NULL,
    -- Of its recipient: 1, 2, … The list is in its order, and a watch resumes after one.
    number          bigint      NOT NULL,
    recipient_kind  text        NOT NULL,
    recipient_id    text        NOT NULL,
    fact_id         uuid        NOT NULL,
    kind            text        NOT NULL,
    payment_id      text        NOT NULL,
    "values"        jsonb       NOT NULL,
    occur_time      timestamptz NOT NULL,
    create_time     timestamptz NOT NULL,
    read_time       timestamptz,
    CONSTRAINT notifications_pkey PRIMARY KEY (tenant_id, recipient_kind, recipient_id, number),
    -- A fact is told to each once.
    CONSTRAINT notifications_fact UNIQUE (tenant_id, fact_id, recipient_kind, recipient_id)
);

CREATE INDEX notifications_unread ON notifications (tenant_id, recipient_kind, recipient_id, number) WHERE read_time IS NULL;
CREATE INDEX notifications_create_time ON notifications (create_time);

-- What each does not want to be told any more, of what may be left out.
CREATE TABLE notification_opt_outs (
    tenant_id      text        NOT NULL,
    recipient_kind text        NOT NULL,
    recipient_id   text        NOT NULL,
    kind           text        NOT NULL,
    channel        text        NOT NULL CONSTRAINT notification_opt_outs_channel CHECK (channel IN ('IN_APP', 'MAIL')),
    create_time    timestamptz NOT NULL,
    CONSTRAINT notification_opt_outs_pkey PRIMARY KEY (tenant_id, recipient_kind, recipient_id, kind, channel)
);

-- By what a tenant's notifications go: every policy that was ever put; the newest holds.
CREATE TABLE notification_policies (
    tenant_id    text        NOT NULL,
    revision     bigint      NOT NULL,
    policy       jsonb       NOT NULL,
    caller       text        NOT NULL,
    request_id   uuid        NOT NULL,
    request_hash bytea       NOT NULL,
    actor_id     text        NOT NULL,
    reason       text        NOT NULL,
    create_time  timestamptz NOT NULL,
    CONSTRAINT notification_policies_pkey PRIMARY KEY (tenant_id, revision),
    CONSTRAINT notification_policies_request UNIQUE (tenant_id, caller, request_id)
);
REVOKE UPDATE, DELETE, TRUNCATE ON notification_policies FROM :runtime_role;

-- Mails that are to be sent, and what came of them. No address is kept: it is asked for when the mail is sent.
CREATE TABLE mails (
    tenant_id      text        NOT NULL,
    fact_id        uuid        NOT NULL,
    recipient_kind text        NOT NULL,
    recipient_id   text        NOT NULL,
    kind           text        NOT NULL,
    payment_id     text        NOT NULL,
    "values"       jsonb       NOT NULL,
    occur_time     timestamptz NOT NULL,
    create_time    timestamptz NOT NULL,
    -- SENT: a server took it. REFUSED: it says that the address takes none. SKIPPED: there is nobody to send it to, or nobody who
    -- wants it any more.
    state          text        NOT NULL DEFAULT 'WAITING'
        CONSTRAINT mails_state CHECK (state IN ('WAITING', 'SENT', 'REFUSED', 'SKIPPED')),
    -- Why it was not sent; names no address.
    end_reason     text        NOT NULL DEFAULT '',
    end_time       timestamptz,
    due_time    timestamptz,
    held_until  timestamptz NOT NULL DEFAULT '-infinity',
    fence       bigint      NOT NULL DEFAULT 0,
    failures    integer     NOT NULL DEFAULT 0,
    lapses      integer     NOT NULL DEFAULT 0,
    problem     text,
    dead_time   timestamptz,
    failed_tries jsonb       NOT NULL DEFAULT '[]',
    trace_context text,
    CONSTRAINT mails_pkey PRIMARY KEY (tenant_id, fact_id, recipient_kind, recipient_id)
);

CREATE INDEX mails_due ON mails (tenant_id, due_time) WHERE due_time IS NOT NULL;
CREATE INDEX mails_dead ON mails (tenant_id, dead_time) WHERE dead_time IS NOT NULL;
CREATE INDEX mails_create_time ON mails (create_time);
CREATE INDEX mails_list ON mails (tenant_id, create_time, fact_id);
CREATE INDEX mails_payment ON mails (tenant_id, payment_id, create_time) WHERE payment_id <> '';
CREATE INDEX mails_waiting ON mails (create_time) WHERE state = 'WAITING';
