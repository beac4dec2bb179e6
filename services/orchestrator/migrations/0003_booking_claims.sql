-- expand
-- Which payment has a booking, one row each: written before the payment, and given to another once that has ended.

CREATE TABLE booking_claims (
    tenant_id  text        NOT NULL,
    booking_id text        NOT NULL,
    payment_id text        NOT NULL,
    claim_time timestamptz NOT NULL,
    CONSTRAINT booking_claims_pkey PRIMARY KEY (tenant_id, booking_id)
);
REVOKE DELETE, TRUNCATE ON booking_claims FROM :runtime_role;

-- Claims all of the bookings for a payment, or none, and returns who has them then. In the order of the ids, so that two
-- starts of the same bookings wait for each other and do not block each other.
CREATE FUNCTION claim_bookings(tenant text, wanted text[], payment text, now timestamptz)
RETURNS SETOF booking_claims LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    BEGIN
        INSERT INTO booking_claims (tenant_id, booking_id, payment_id, claim_time)
        SELECT tenant, w.booking_id, payment, now FROM unnest(wanted) AS w (booking_id) ORDER BY w.booking_id
        ON CONFLICT ON CONSTRAINT booking_claims_pkey DO NOTHING;
        IF EXISTS (SELECT FROM booking_claims c
                   WHERE c.tenant_id = tenant AND c.booking_id = ANY(wanted) AND c.payment_id <> payment) THEN
            RAISE EXCEPTION USING ERRCODE = 'no_data_found';
        END IF;
    EXCEPTION WHEN no_data_found THEN
        NULL;  -- what was inserted is undone
    END;
    RETURN QUERY SELECT c.* FROM booking_claims c
        WHERE c.tenant_id = tenant AND c.booking_id = ANY(wanted) ORDER BY c.booking_id;
END $$;
