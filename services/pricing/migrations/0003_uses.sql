-- expand
-- Uses of limited discounts: what quotes hold, what was redeemed, and what has become of quotes.
CREATE TABLE discount_counters (
    tenant_id      text   NOT NULL,
    discount_id    text   NOT NULL,
    held_count     bigint NOT NULL,
    redeemed_count bigint NOT NULL,
    CONSTRAINT discount_counters_pkey PRIMARY KEY (tenant_id, discount_id),
    CONSTRAINT discount_counters_held CHECK (held_count >= 0),
    CONSTRAINT discount_counters_redeemed CHECK (redeemed_count >= 0)
);

COMMENT ON TABLE discount_counters IS 'Locked by whoever takes or gives back a use; always the sum over discount_uses.';

CREATE TABLE discount_uses (
    tenant_id          text        NOT NULL,
    discount_id        text        NOT NULL,
    quote_id           text        NOT NULL,
    payer_id           text        NOT NULL,
    uses_max           bigint,
    uses_per_payer_max bigint,
    state              text        NOT NULL,
    expire_time        timestamptz NOT NULL,
    CONSTRAINT discount_uses_pkey PRIMARY KEY (tenant_id, discount_id, quote_id),
    CONSTRAINT discount_uses_state CHECK (state IN ('HELD', 'REDEEMED', 'RELEASED', 'EXPIRED'))
);

COMMENT ON COLUMN discount_uses.uses_max IS 'The limits as they were when the use was taken.';

CREATE INDEX discount_uses_of_quote ON discount_uses (tenant_id, quote_id);
CREATE INDEX discount_uses_to_expire ON discount_uses (tenant_id, discount_id, expire_time) WHERE state = 'HELD';
CREATE INDEX discount_uses_of_payer ON discount_uses (tenant_id, discount_id, payer_id)
    WHERE state IN ('HELD', 'REDEEMED');

CREATE TABLE quote_outcomes (
    tenant_id  text    NOT NULL,
    quote_id   text    NOT NULL,
    state      text    NOT NULL,
    over_limit boolean NOT NULL,
    CONSTRAINT quote_outcomes_pkey PRIMARY KEY (tenant_id, quote_id),
    CONSTRAINT quote_outcomes_state CHECK (state IN ('OPEN', 'REDEEMED', 'RELEASED'))
);

REVOKE DELETE ON discount_counters, discount_uses, quote_outcomes FROM :runtime_role;

COMMENT ON TABLE quote_outcomes IS 'Locked by whoever redeems or releases; OPEN: somebody looked, and nothing came of it.';
