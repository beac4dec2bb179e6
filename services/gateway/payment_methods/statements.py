"""The statements on payers and their methods, each with its name. What they mean is said where `store` runs them.

Leases and due times go by the database's clock: `now()` and how far it is moved, which is nothing outside of tests.
"""

from __future__ import annotations

from typing import Final

_PAYER: Final = """c.tenant_id, c.payer_id, c.customer_id, c.default_method_id, c.read_time, c.fence,
    methods_of(c.tenant_id, c.payer_id) AS held_methods"""

_NEXT_FENCE: Final = "greatest(c.fence + 1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)"
"""Of a lease that begins: a fence comes once, also where a restore has set the row back to an earlier one."""

BEGIN: Final = """
INSERT INTO customers (tenant_id, payer_id, create_time) VALUES ($1, $2, $3)
ON CONFLICT ON CONSTRAINT customers_pkey DO NOTHING"""

ACCEPT: Final = f"""
WITH target AS (
    SELECT held_until <= now() + $9::interval AS free FROM customers WHERE tenant_id = $1 AND payer_id = $6 FOR UPDATE),
call AS (
    INSERT INTO calls (tenant_id, call_id, operation, request_id, request_hash, subject_type, subject_id, params, state,
        create_time, trace_context)
    SELECT $1, $2, $3, $4, $5, 'payer', $6, $7, 'ACCEPTED', $8, $11 FROM target
    ON CONFLICT ON CONSTRAINT calls_request DO UPDATE SET state = 'ACCEPTED', params = excluded.params, tries = 0,
        trace_context = excluded.trace_context
        WHERE calls.state = 'WITHDRAWN' AND calls.request_hash = excluded.request_hash
            AND calls.subject_id = excluded.subject_id
    RETURNING create_time AS call_create_time, generation AS call_generation, key_time AS call_key_time),
held AS (
    UPDATE customers c SET fence = {_NEXT_FENCE}, held_until = now() + $9::interval + $10::interval
    FROM call, target t WHERE t.free AND c.tenant_id = $1 AND c.payer_id = $6
    RETURNING {_PAYER})
SELECT (SELECT count(*) FROM target) AS found, call.*, held.*
FROM (SELECT 1) AS always LEFT JOIN call ON true LEFT JOIN held ON true
"""  # noqa: S608 our own column names

TAKE: Final = f"""
UPDATE customers c SET fence = {_NEXT_FENCE}, held_until = now() + $3::interval + $4::interval
WHERE c.tenant_id = $1 AND c.payer_id = $2 AND c.held_until <= now() + $3::interval
RETURNING {_PAYER}
"""  # noqa: S608 our own column names

READ: Final = f"""
SELECT {_PAYER} FROM customers c WHERE c.tenant_id = $1 AND c.payer_id = $2
"""  # noqa: S608 our own column names

# A call that the engine works on is left to it, as in the mirror of payments.
RENEW: Final = """
WITH held AS (
    UPDATE customers SET held_until = now() + $4::interval + $5::interval
    WHERE tenant_id = $1 AND payer_id = $2 AND fence = $3 RETURNING held_until),
due AS (
    UPDATE calls SET due_time = held.held_until FROM held
    WHERE tenant_id = $1 AND subject_type = 'payer' AND subject_id = $2 AND state = 'STARTED'
        AND due_time IS NOT NULL AND calls.held_until = '-infinity')
SELECT count(*) FROM held"""

RELEASE: Final = """
WITH held AS (
    UPDATE customers SET held_until = '-infinity', fence = fence + 1
    WHERE tenant_id = $1 AND payer_id = $2 AND fence = $3 RETURNING 1),
due AS (
    UPDATE calls SET due_time = now() + $4::interval FROM held
    WHERE tenant_id = $1 AND subject_type = 'payer' AND subject_id = $2 AND state = 'STARTED'
        AND due_time IS NOT NULL AND calls.held_until = '-infinity')
SELECT count(*) FROM held"""

SAVE: Final = """
WITH held AS (
    UPDATE customers SET default_method_id = nullif($4, ''), read_time = $5,
        held_until = CASE WHEN $9::boolean THEN '-infinity' ELSE held_until END, fence = fence + $9::boolean::integer
    WHERE tenant_id = $1 AND payer_id = $2 AND fence = $3
        AND (cardinality($8::text[]) = 0 OR payments_needing($1, $8::text[], 1) IS NULL)
    RETURNING 1),
kept AS (
    INSERT INTO payment_methods (tenant_id, payment_method_id, payer_id, state, mirrored, keep_time, detach_time)
    SELECT $1, m.payment_method_id, $2, m.state, m.mirrored, m.keep_time, m.detach_time
    FROM held, jsonb_to_recordset($6) AS m (payment_method_id text, state text, mirrored jsonb, keep_time timestamptz,
        detach_time timestamptz)
    ON CONFLICT ON CONSTRAINT payment_methods_pkey DO UPDATE SET payer_id = excluded.payer_id, state = excluded.state,
        mirrored = excluded.mirrored, keep_time = excluded.keep_time, detach_time = excluded.detach_time),
consented AS (
    INSERT INTO method_consents (tenant_id, payment_method_id, payer_id, actor_id, consent_time)
    SELECT $1, k.payment_method_id, $2, k.actor_id, k.consent_time
    FROM held, jsonb_to_recordset($7) AS k (payment_method_id text, actor_id text, consent_time timestamptz)
    ON CONFLICT ON CONSTRAINT method_consents_pkey DO NOTHING),
setup AS (
    INSERT INTO setup_intents (tenant_id, setup_intent_id, payer_id, mirrored, create_time)
    SELECT $1, s.setup_intent_id, $2, s.mirrored, s.create_time
    FROM held, jsonb_to_recordset($19) AS s (setup_intent_id text, mirrored jsonb, create_time timestamptz)
    ON CONFLICT ON CONSTRAINT setup_intents_pkey DO UPDATE SET mirrored = excluded.mirrored),
call AS (
    UPDATE calls SET state = $12, params = $13, answer = $17, tries = $18,
        due_time = now() + $10::interval + $16::interval, dead_time = NULL, generation = $14, key_time = $15,
        send_time = $20
    FROM held WHERE tenant_id = $1 AND call_id = $11)
SELECT count(*) FROM held"""

OWNER: Final = """
SELECT payer_id, state FROM payment_methods WHERE tenant_id = $1 AND payment_method_id = $2"""

PAYER_OF: Final = """
SELECT payer_id FROM payment_methods WHERE tenant_id = $1 AND payment_method_id = $2
UNION ALL
SELECT payer_id FROM customers WHERE tenant_id = $1 AND customer_id = $3
LIMIT 1"""

SETUP: Final = """
SELECT payer_id, mirrored FROM setup_intents WHERE tenant_id = $1 AND setup_intent_id = $2"""

NEEDING: Final = """
SELECT DISTINCT payment_id FROM intents WHERE tenant_id = $1 AND needs_method_id = ANY($2::text[])
ORDER BY payment_id LIMIT $3"""
