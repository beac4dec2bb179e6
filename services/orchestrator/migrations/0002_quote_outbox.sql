-- expand
-- What pricing has to hear of a payment's quote that holds uses of coupons: that it was paid, or that it will not be.

-- The last that was decided of the quote; what was redeemed stays so.
ALTER TABLE payments ADD COLUMN quote_state text
    CONSTRAINT payments_quote_state CHECK (quote_state IN ('REDEEMED', 'RELEASED'));
-- Whether the quote holds uses; there is nothing to be heard of one that holds none.
ALTER TABLE payments ADD COLUMN quote_holds_uses boolean NOT NULL DEFAULT false;

CREATE TABLE quote_outbox (
    tenant_id   text        NOT NULL,
    payment_id  text        NOT NULL,
    quote_id    text        NOT NULL,
    quote_state text        NOT NULL CONSTRAINT quote_outbox_state CHECK (quote_state IN ('REDEEMED', 'RELEASED')),
    -- What pricing answered that needs an operator; nothing is due then, and the row goes when the payment says so.
    attention   text,
    create_time timestamptz NOT NULL,
    -- The row as work (services/runtime/work): when pricing is called next.
    due_time    timestamptz,
    held_until  timestamptz NOT NULL DEFAULT '-infinity',
    fence       bigint      NOT NULL DEFAULT 0,
    failures    integer     NOT NULL DEFAULT 0,
    lapses      integer     NOT NULL DEFAULT 0,
    problem     text,
    dead_time   timestamptz,
    trace_context text,
    CONSTRAINT quote_outbox_pkey PRIMARY KEY (tenant_id, payment_id)
);

CREATE INDEX quote_outbox_due ON quote_outbox (tenant_id, due_time) WHERE due_time IS NOT NULL;
CREATE INDEX quote_outbox_dead ON quote_outbox (tenant_id, dead_time) WHERE dead_time IS NOT NULL;

CREATE OR REPLACE FUNCTION outbox_of(tenant text, payment text) RETURNS json LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    RETURN (SELECT json_build_object(
                'pending',
                coalesce(json_agg(json_build_array(t.request_id, t.fact, t.snapshot) ORDER BY t.seq)
                    FILTER (WHERE t.refusal IS NULL), '[]'),
                'rejected', coalesce(json_agg(t.fact ORDER BY t.seq) FILTER (WHERE t.refusal IS NOT NULL AND NOT t.operator_notified), '[]'),
                'quote',
                (SELECT json_build_array(q.quote_state, q.attention) FROM quote_outbox q
                 WHERE q.tenant_id = tenant AND q.payment_id = payment),
                'has_urgent_request', EXISTS (
                    SELECT FROM requests r
                    WHERE r.tenant_id = tenant AND r.payment_id = payment AND r.state <> 'DONE' AND r.is_urgent))
            FROM transitions t
            WHERE t.tenant_id = tenant AND t.payment_id = payment);
END $$;
