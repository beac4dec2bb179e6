-- expand
-- What the platform's own systems are sent: who wants what, and what came of it.

CREATE TABLE webhook_subscriptions (
    tenant_id       text        NOT NULL,
    subscription_id text        NOT NULL,
    url             text        NOT NULL,
    kinds           text[]      NOT NULL,
    enabled         boolean     NOT NULL DEFAULT true,
    create_time     timestamptz NOT NULL,
    CONSTRAINT webhook_subscriptions_pkey PRIMARY KEY (tenant_id, subscription_id)
);
