"""The statements of erasures, each with its name. What they mean is said where `erasing` runs them."""

from __future__ import annotations

from typing import Final

KNOWN: Final = """
SELECT request_hash, payer_id, actor_id, customer_id, create_time, end_time FROM erasures
WHERE tenant_id = $1 AND request_id = $2"""

SEEN: Final = """
SELECT (SELECT count(*) FROM payments WHERE tenant_id = $1 AND payer_id = $2) AS payments,
    (SELECT coalesce(max(fence), 0) FROM payments WHERE tenant_id = $1 AND payer_id = $2) AS fence,
    EXISTS (SELECT FROM customers
        WHERE tenant_id = $1 AND payer_id = $2 AND customer_id IS NULL AND details IS NOT NULL) AS is_being_made,
    EXISTS (SELECT FROM calls
        WHERE tenant_id = $1 AND subject_type = 'payer' AND subject_id = $2 AND state IN ('STARTED', 'UNKNOWN')
            AND operation <> 'customer.delete') AS has_open_calls"""

WITH_DUE_WORK: Final = """
SELECT i.payment_id FROM payments p
JOIN intents i ON i.tenant_id = p.tenant_id AND i.payment_id = p.payment_id
JOIN event_runs r ON r.tenant_id = i.tenant_id AND r.subject IN (i.intent_id, i.charge_id, i.session_id)
WHERE p.tenant_id = $1 AND p.payer_id = $2 AND r.due_time IS NOT NULL
UNION
SELECT s.payment_id FROM payments p
JOIN settlements s ON s.tenant_id = p.tenant_id AND s.payment_id = p.payment_id
WHERE p.tenant_id = $1 AND p.payer_id = $2 AND s.due_time IS NOT NULL
LIMIT $3"""
"""Payments of which Stripe reported something that was not looked at yet, or whose sellers get something or give it
back; what was given up waits for somebody else."""

BEGIN: Final = """
WITH customer AS (
    SELECT customer_id FROM customers WHERE tenant_id = $1 AND payer_id = $2 FOR UPDATE),
begun AS (
    INSERT INTO erasures (tenant_id, request_id, request_hash, payer_id, actor_id, customer_id, create_time, due_time,
        trace_context)
    SELECT $1, $3, $4, $2, $5, (SELECT customer_id FROM customer), $6, now() + $9::interval + interval '5 seconds', $10
    WHERE NOT EXISTS (SELECT FROM customers
            WHERE tenant_id = $1 AND payer_id = $2 AND customer_id IS NULL AND details IS NOT NULL)
        AND ($7, $8) = (SELECT count(*), coalesce(max(fence), 0) FROM payments WHERE tenant_id = $1 AND payer_id = $2)
    ON CONFLICT ON CONSTRAINT erasures_pkey DO NOTHING
    RETURNING customer_id),
destroyed AS (
    UPDATE personal_keys SET wrapped_key = NULL, destroy_time = $6, destroy_actor_id = $5
    FROM begun WHERE tenant_id = $1 AND holder = 'payer/' || $2 AND destroy_time IS NULL
    RETURNING 1),
forgotten AS (
    UPDATE customers SET customer_id = NULL, generation = generation + 1, details = NULL, told = '{}',
        contact = NULL, contact_read_time = NULL, default_method_id = NULL
    FROM begun WHERE tenant_id = $1 AND payer_id = $2)
SELECT (SELECT count(*) FROM begun) = 1 AS is_begun, (SELECT count(*) FROM destroyed) AS destroyed"""
"""Nothing is written when a payment of the payer was begun or touched since it was looked at, or a customer is just
being made: then it is looked at again."""

EMPTY: Final = """
UPDATE events SET body = '', holder = ''
WHERE tenant_id = $1 AND holder LIKE 'day/%' AND (payer_id = $2 OR subject IN (
    SELECT unnest(ARRAY[i.intent_id, i.charge_id, i.session_id]) FROM payments p
    JOIN intents i ON i.tenant_id = p.tenant_id AND i.payment_id = p.payment_id
    WHERE p.tenant_id = $1 AND p.payer_id = $2
    UNION ALL
    SELECT r.stripe_refund_id FROM payments p
    JOIN refunds r ON r.tenant_id = p.tenant_id AND r.payment_id = p.payment_id
    WHERE p.tenant_id = $1 AND p.payer_id = $2
    UNION ALL SELECT payment_method_id FROM payment_methods WHERE tenant_id = $1 AND payer_id = $2
    UNION ALL SELECT payment_method_id FROM method_consents WHERE tenant_id = $1 AND payer_id = $2
    UNION ALL SELECT setup_intent_id FROM setup_intents WHERE tenant_id = $1 AND payer_id = $2
    UNION ALL SELECT customer_id FROM erasures WHERE tenant_id = $1 AND payer_id = $2))"""
"""Bodies that came in before their payer was known: the day's key still opens them."""

END: Final = """
UPDATE erasures SET end_time = coalesce(end_time, $3), due_time = NULL, problem = NULL
WHERE tenant_id = $1 AND request_id = $2"""

REMAINS: Final = """
SELECT (SELECT max(create_time) FROM payments WHERE tenant_id = $1 AND payer_id = $2) AS last_payment_time,
    (SELECT max(consent_time) FROM method_consents WHERE tenant_id = $1 AND payer_id = $2) AS last_consent_time,
    EXISTS (SELECT FROM erasures WHERE tenant_id = $1 AND payer_id = $2 AND customer_id IS NOT NULL) AS was_customer"""
