"""The statements of the mirror, each with its name. What they mean is said where `store` runs them.

Leases and due times go by the database's clock: `now()` and how far it is moved, which is nothing outside of tests.
"""

from __future__ import annotations

from typing import Final

from services.gateway.ledger.entry_rows import inserting
from services.gateway.notices import notice_rows
from services.runtime.work.statements import demand

_PAYMENT: Final = """p.tenant_id, p.payment_id, p.payer_id, p.seller_id, p.currency_code, p.observation, p.books,
    p.fence, p.trace_context, mirror_of(p.tenant_id, p.payment_id) AS mirror"""
"""`mirror_of` reads anew. A subquery here would read as of the statement's begin, and a statement that waited for the
row of a payment would find the payment as it is now beside intents and refunds as they were."""

_NEXT_FENCE: Final = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
"""Of a lease that begins: a fence comes once, also where a restore has set the row back to an earlier one."""

BEGIN: Final = """
INSERT INTO payments (tenant_id, payment_id, payer_id, seller_id, currency_code, observation, create_time)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT ON CONSTRAINT payments_pkey DO NOTHING"""

ACCEPT: Final = f"""
WITH target AS (
    SELECT tenant_id, payment_id, held_until <= now() + $9::interval AS free FROM payments
    WHERE tenant_id = $1 AND payment_id = $6 FOR UPDATE),
call AS (
    INSERT INTO calls (tenant_id, call_id, operation, request_id, request_hash, subject_type, subject_id, params, state,
        create_time, trace_context)
    SELECT $1, $2, $3, $4, $5, 'payment', $6, $7, 'ACCEPTED', $8, $11 FROM target
    ON CONFLICT ON CONSTRAINT calls_request DO UPDATE SET state = 'ACCEPTED', params = excluded.params, tries = 0,
        trace_context = excluded.trace_context
        WHERE calls.state = 'WITHDRAWN' AND calls.request_hash = excluded.request_hash
            AND calls.subject_id = excluded.subject_id
    RETURNING create_time AS call_create_time, generation AS call_generation, key_time AS call_key_time),
held AS (
    UPDATE payments p SET fence = greatest(p.fence + 1, {_NEXT_FENCE}),
        held_until = now() + $9::interval + $10::interval, trace_context = coalesce($11, p.trace_context)
    FROM call, target t WHERE t.free AND p.tenant_id = $1 AND p.payment_id = $6
    RETURNING {_PAYMENT})
SELECT (SELECT count(*) FROM target) AS found, call.*, held.*
FROM (SELECT 1) AS always LEFT JOIN call ON true LEFT JOIN held ON true
"""  # noqa: S608 our own column names

TAKE: Final = f"""
UPDATE payments p SET fence = greatest(p.fence + 1, {_NEXT_FENCE}), held_until = now() + $3::interval + $4::interval
WHERE p.tenant_id = $1 AND p.payment_id = $2 AND p.held_until <= now() + $3::interval
RETURNING {_PAYMENT}
"""  # noqa: S608 our own column names

FIND: Final = f"""
SELECT {_PAYMENT} FROM payments p WHERE p.tenant_id = $1 AND p.payment_id = (
    SELECT payment_id FROM intents WHERE tenant_id = $1 AND (intent_id = $2 OR charge_id = $2 OR session_id = $2)
    UNION ALL
    SELECT payment_id FROM refunds WHERE tenant_id = $1 AND stripe_refund_id = $2
    UNION ALL
    SELECT payment_id FROM movements WHERE tenant_id = $1 AND stripe_id = $2
    LIMIT 1)
"""  # noqa: S608 our own column names

READ: Final = f"""
SELECT {_PAYMENT} FROM payments p WHERE p.tenant_id = $1 AND p.payment_id = $2
"""  # noqa: S608 our own column names

OF_PAYER: Final = f"""
SELECT {_PAYMENT} FROM payments p WHERE p.tenant_id = $1 AND p.payer_id = $2
"""  # noqa: S608 our own column names

READ_MANY: Final = f"""
SELECT {_PAYMENT} FROM payments p WHERE p.tenant_id = $1 AND p.payment_id = ANY($2::text[])
"""  # noqa: S608 our own column names

# A lease that ends takes its fence with it, so that a renewal which is still on its way finds nothing to renew. A call
# that the engine works on is left to it: another due time would tell it that more came, and that nothing is given up.
RENEW: Final = """
WITH held AS (
    UPDATE payments SET held_until = now() + $4::interval + $5::interval
    WHERE tenant_id = $1 AND payment_id = $2 AND fence = $3 RETURNING held_until),
due AS (
    UPDATE calls SET due_time = held.held_until FROM held
    WHERE tenant_id = $1 AND subject_type = 'payment' AND subject_id = $2 AND state = 'STARTED'
        AND due_time IS NOT NULL AND calls.held_until = '-infinity')
SELECT count(*) FROM held"""

# A lease that ends takes its fence with it, so that a renewal which is still on its way finds nothing to renew.
RELEASE: Final = """
WITH held AS (
    UPDATE payments SET held_until = '-infinity', fence = fence + 1
    WHERE tenant_id = $1 AND payment_id = $2 AND fence = $3 RETURNING 1),
due AS (
    UPDATE calls SET due_time = now() + $4::interval FROM held
    WHERE tenant_id = $1 AND subject_type = 'payment' AND subject_id = $2 AND state = 'STARTED'
        AND due_time IS NOT NULL AND calls.held_until = '-infinity')
SELECT count(*) FROM held"""

_MAY_NEED: Final = """NOT EXISTS (
        SELECT FROM jsonb_to_recordset($6) AS i (claims_method_id text)
        WHERE i.claims_method_id <> '' AND NOT may_need_method($1, i.claims_method_id))"""
"""Nothing is written of an attempt that begins to claim a kept method while that is being detached."""

_NOTICES: Final = notice_rows.inserting(
    tenant="$1",
    notices="$15::jsonb -> 'notices'",
    shift="$10::interval",
    origin="held.trace_context",
    when="held",
    payment="$2",
)

_MIRROR: Final = f"""
look AS (
    INSERT INTO looks (tenant_id, payment_id, due_time, trace_context)
    SELECT $1, $2, now() + $10::interval + $11::interval, held.trace_context FROM held WHERE $11::interval IS NOT NULL
    ON CONFLICT ON CONSTRAINT looks_pkey DO UPDATE SET looks = 0, due_time = excluded.due_time,
        trace_context = excluded.trace_context
    WHERE $12::boolean),
at_rest AS (
    DELETE FROM looks USING held WHERE tenant_id = $1 AND payment_id = $2 AND $11::interval IS NULL),
intent AS (
    INSERT INTO intents (tenant_id, payment_id, attempt, intent_id, charge_id, session_id, needs_method_id, mirrored,
        create_time)
    SELECT $1, $2, i.attempt, nullif(i.intent_id, ''), nullif(i.charge_id, ''), nullif(i.session_id, ''),
        CASE WHEN i.needs_method_id <> '' AND may_need_method($1, i.needs_method_id) THEN i.needs_method_id END,
        i.mirrored, i.create_time
    FROM held, jsonb_to_recordset($6) AS i (attempt integer, intent_id text, charge_id text, session_id text,
        needs_method_id text, mirrored jsonb, create_time timestamptz)
    ON CONFLICT ON CONSTRAINT intents_pkey
    DO UPDATE SET intent_id = excluded.intent_id, charge_id = excluded.charge_id, session_id = excluded.session_id,
        needs_method_id = excluded.needs_method_id, mirrored = excluded.mirrored),
refund AS (
    INSERT INTO refunds (tenant_id, payment_id, refund_id, attempt, amount_minor, state, stripe_refund_id,
        failure_reason, actor_id, reason, create_time, fail_time, bearer, parts)
    SELECT $1, $2, r.refund_id, r.attempt, r.amount_minor, r.state, nullif(r.stripe_refund_id, ''), r.failure_reason,
        r.actor_id, r.reason, r.create_time, r.fail_time, r.bearer, r.parts
    FROM held, jsonb_to_recordset($7) AS r (refund_id text, attempt integer, amount_minor bigint, state text,
        stripe_refund_id text, failure_reason text, actor_id text, reason text, create_time timestamptz,
        fail_time timestamptz, bearer text, parts jsonb)
    ON CONFLICT ON CONSTRAINT refunds_pkey
    DO UPDATE SET state = excluded.state, stripe_refund_id = excluded.stripe_refund_id,
        failure_reason = excluded.failure_reason, fail_time = excluded.fail_time, parts = excluded.parts),
dispute AS (
    INSERT INTO disputes (tenant_id, payment_id, dispute_id, attempt, state, is_open, answer_due_time, mirrored,
        create_time, due_time, trace_context)
    SELECT $1, $2, d.dispute_id, i.attempt, d.state, d.is_open, d.answer_due_time, d.mirrored, d.create_time,
        d.due_time, held.trace_context
    FROM held, jsonb_to_recordset($6) AS i (attempt integer, disputes jsonb),
        jsonb_to_recordset(i.disputes) AS d (dispute_id text, state text, is_open boolean, answer_due_time timestamptz,
            mirrored jsonb, create_time timestamptz, due_time timestamptz)
    ON CONFLICT ON CONSTRAINT disputes_pkey
    DO UPDATE SET state = excluded.state, is_open = excluded.is_open, answer_due_time = excluded.answer_due_time,
        mirrored = excluded.mirrored, due_time = excluded.due_time, trace_context = excluded.trace_context),
consented AS (
    INSERT INTO method_consents (tenant_id, payment_method_id, payer_id, actor_id, consent_time)
    SELECT $1, i.kept_method_id, i.payer_id, i.consent_actor_id, i.consent_time
    FROM held, jsonb_to_recordset($6) AS i (kept_method_id text, payer_id text, consent_actor_id text,
        consent_time timestamptz)
    WHERE i.kept_method_id <> ''
    ON CONFLICT ON CONSTRAINT method_consents_pkey DO NOTHING),
movement AS (
    INSERT INTO movements (tenant_id, payment_id, movement_id, kind, seller_id, stripe_id, mirrored, create_time)
    SELECT $1, $2, m.movement_id, m.kind, m.seller_id, nullif(m.stripe_id, ''), m.mirrored, m.create_time
    FROM held, jsonb_to_recordset($13) AS m (movement_id text, kind text, seller_id text, stripe_id text,
        mirrored jsonb, create_time timestamptz)
    ON CONFLICT ON CONSTRAINT movements_pkey
    DO UPDATE SET stripe_id = excluded.stripe_id, mirrored = excluded.mirrored),
gone_movement AS (
    DELETE FROM movements USING held WHERE tenant_id = $1 AND payment_id = $2 AND movement_id = ANY($14::text[])),
gone_intent AS (
    DELETE FROM intents USING held WHERE tenant_id = $1 AND payment_id = $2 AND attempt = ANY($8::integer[])),
gone_refund AS (
    DELETE FROM refunds USING held WHERE tenant_id = $1 AND payment_id = $2 AND refund_id = ANY($9::text[])),
notice AS ({_NOTICES}),
booked AS ({inserting(tenant="$1", entries="$15::jsonb -> 'entries'", shift="$10::interval", when="held")}),
settlement AS (
    INSERT INTO settlements (tenant_id, payment_id, missing, seller_ids, due_time, create_time, trace_context)
    SELECT $1, $2, $15::jsonb ->> 'missing', ARRAY(SELECT jsonb_array_elements_text($15::jsonb -> 'seller_ids')),
        now() + $10::interval, now() + $10::interval, held.trace_context
    FROM held WHERE $15::jsonb ->> 'missing' IS NOT NULL
    ON CONFLICT ON CONSTRAINT settlements_pkey DO UPDATE SET missing = excluded.missing,
        seller_ids = excluded.seller_ids, trace_context = excluded.trace_context,
        {demand("$10::interval", "settlements")}
    WHERE settlements.missing <> excluded.missing),
receivable AS (
    INSERT INTO receivables (tenant_id, payment_id, attempt, seller_id, currency_code, amount_minor, since)
    SELECT $1, $2, r.attempt, r.seller_id, r.currency_code, r.amount_minor, r.since
    FROM held, jsonb_to_recordset($15::jsonb -> 'receivables') AS r (attempt integer, seller_id text,
        currency_code text, amount_minor bigint, since timestamptz)
    ON CONFLICT ON CONSTRAINT receivables_pkey DO UPDATE SET amount_minor = excluded.amount_minor),
gone_receivable AS (
    DELETE FROM receivables r USING held, jsonb_to_recordset($15::jsonb -> 'gone_receivables')
        AS g (attempt integer, seller_id text)
    WHERE r.tenant_id = $1 AND r.payment_id = $2 AND r.attempt = g.attempt AND r.seller_id = g.seller_id),
settled AS (
    DELETE FROM settlements USING held
    WHERE tenant_id = $1 AND payment_id = $2 AND $15::jsonb ->> 'missing' IS NULL)"""  # noqa: S608 our own column names
"""What is written of a payment whose row `held` has found: $1 to $15 are the arguments of `store.mirror_arguments`."""

SAVE: Final = f"""
WITH held AS (
    UPDATE payments SET observation = $4, mirror_version = $5, books = coalesce($15::jsonb -> 'books', books),
        held_until = CASE WHEN $22::boolean THEN '-infinity' ELSE held_until END,
        fence = fence + $22::boolean::integer
    WHERE tenant_id = $1 AND payment_id = $2 AND fence = $3 AND {_MAY_NEED}
    RETURNING trace_context),
{_MIRROR},
call AS (
    UPDATE calls SET state = $17, params = $18, answer = $23, tries = $24,
        due_time = now() + $10::interval + $21::interval, dead_time = NULL, generation = $19, key_time = $20,
        send_time = $28
    FROM held WHERE tenant_id = $1 AND call_id = $16),
delivery AS (
    INSERT INTO deliveries (tenant_id, payment_id, wanted_version, observation, origin, record_time, due_time,
        trace_context)
    SELECT $1, $2, $5, $4, $25, $26, now() + $10::interval, $27 FROM held WHERE $25::text IS NOT NULL
    ON CONFLICT ON CONSTRAINT deliveries_pkey DO UPDATE SET
        wanted_version = excluded.wanted_version, observation = excluded.observation, origin = excluded.origin,
        record_time = CASE WHEN deliveries.delivered_version < deliveries.wanted_version
            THEN deliveries.record_time ELSE excluded.record_time END,
        trace_context = excluded.trace_context,
        {demand("$10::interval", "deliveries")}
    WHERE deliveries.wanted_version < excluded.wanted_version)
SELECT count(*) FROM held"""  # noqa: S608 our own column names

_STARTED_CALL: Final = """
    INSERT INTO calls (tenant_id, call_id, operation, request_id, request_hash, subject_type, subject_id, params, state,
        generation, key_time, send_time, due_time, create_time, trace_context)
    SELECT $1, $16, $22, $23, $24, 'payment', $2, $18, $17, $19, $20, $20, now() + $10::interval + $21::interval, $25,
        $27"""

START: Final = f"""
WITH target AS (
    SELECT FROM payments
    WHERE tenant_id = $1 AND payment_id = $2 AND fence = $3 AND held_until <= now() + $10::interval AND {_MAY_NEED}
    FOR UPDATE),
call AS (
    {_STARTED_CALL} FROM target ON CONFLICT ON CONSTRAINT calls_request DO NOTHING RETURNING 1),
held AS (
    UPDATE payments SET observation = $4, mirror_version = $5, books = coalesce($15::jsonb -> 'books', payments.books),
        fence = greatest(fence + 1, {_NEXT_FENCE}), held_until = now() + $10::interval + $26::interval,
        trace_context = coalesce($27, payments.trace_context)
    FROM call WHERE tenant_id = $1 AND payment_id = $2
    RETURNING fence, trace_context),
{_MIRROR}
SELECT fence FROM held"""  # noqa: S608 our own column names

START_NEW: Final = f"""
WITH held AS (
    INSERT INTO payments (tenant_id, payment_id, payer_id, seller_id, currency_code, observation, mirror_version, fence,
        held_until, create_time, trace_context)
    SELECT $1, $2, $28, $29, $30, $4, $5, {_NEXT_FENCE}, now() + $10::interval + $26::interval, $25, $27
    WHERE $3::bigint = 0
    ON CONFLICT ON CONSTRAINT payments_pkey DO NOTHING
    RETURNING fence, trace_context),
call AS (
    {_STARTED_CALL} FROM held),
{_MIRROR}
SELECT fence FROM held"""  # noqa: S608 our own column names

# By the index on sellers. Whoever acts on it looks again, under the lease of each.
OWING: Final = """
SELECT payment_id FROM receivables
WHERE tenant_id = $1 AND seller_id = $2 AND currency_code = $3 AND payment_id <> $4
ORDER BY since, payment_id, attempt LIMIT $5"""

# By the index on sellers; what is due already is passed over, also what is being worked on and was told already.
WAKE_SETTLEMENTS: Final = f"""
WITH waiting AS (
    SELECT s.tenant_id, s.payment_id FROM settlements s
    WHERE s.tenant_id = $1 AND s.seller_ids @> ARRAY[$2::text] AND s.due_time > now() + $3::interval
        AND (s.held_until <= now() + $3::interval OR s.due_time = s.held_until)
    LIMIT $4 FOR UPDATE SKIP LOCKED),
woken AS (
    UPDATE settlements SET {demand("$3::interval", "settlements")}
    FROM waiting w WHERE settlements.tenant_id = w.tenant_id AND settlements.payment_id = w.payment_id RETURNING 1)
SELECT count(*) FROM woken"""  # noqa: S608 our own column names

PAYMENT_OF: Final = """
SELECT payment_id FROM intents WHERE tenant_id = $1 AND (intent_id = $2 OR charge_id = $2 OR session_id = $2)
UNION ALL
SELECT payment_id FROM refunds WHERE tenant_id = $1 AND stripe_refund_id = $2
UNION ALL
SELECT payment_id FROM movements WHERE tenant_id = $1 AND stripe_id = $2
LIMIT 1"""

REFUND: Final = """
SELECT payment_id FROM refunds WHERE tenant_id = $1 AND refund_id = $2"""
