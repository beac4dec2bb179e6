"""The statements of the command side, each with its name. What they mean is said where `store` runs them."""

from __future__ import annotations

from typing import Final

DUE_BATCH: Final = 32
"""Payments a sweep takes at once; the next sweep takes more."""
QUOTE_BATCH: Final = 16
"""Quotes of which pricing hears at once, so that the many of a busy moment cost two statements together."""

_MUTABLE: Final = (
    "stage", "quote_id", "currency_code", "total_minor", "platform_fee_minor", "attempt", "ending", "mirror_version",
    "said", "revision", "tries", "expire_time",
)  # fmt: skip
_COLUMNS: Final = """p.tenant_id, p.payment_id, p.payer_id, p.quote_request, p.session_type, p.session_name,
    p.client_reference, p.return_url, p.seller_ids, p.booking_ids, p.labels, p.stage, p.quote_id, p.currency_code,
    p.total_minor, p.platform_fee_minor, p.attempt, p.ending, p.observed_version, p.observation, p.mirror_version,
    p.said, p.revision, p.fence, p.due_time, p.tries, p.expire_time, p.create_time, p.work_class, p.asked,
    p.quote_state"""
_OUTBOX: Final = "outbox_of(p.tenant_id, p.payment_id) AS outbox"

START: Final = f"""
WITH request AS (
    INSERT INTO requests (tenant_id, caller, method, request_id, request_hash, payment_id, command, state, create_time,
        send_before_time)
    SELECT $1, $2, $3, $4, $5, $6, $7, 'RUNNING', $8::timestamptz, $9::timestamptz
    WHERE NOT EXISTS (SELECT FROM payments WHERE tenant_id = $1 AND payment_id = $6)
    ON CONFLICT ON CONSTRAINT requests_pkey DO NOTHING
    RETURNING 1)
INSERT INTO payments AS p (tenant_id, payment_id, payer_id, quote_request, session_type, session_name, client_reference,
    return_url, seller_ids, booking_ids, labels, stage, said, fence, held_until, due_time, create_time, expire_time)
SELECT $1, $6, $10, $11, $12, $13, $14, $15, $16, $17, $18, 'STARTING', $19, 1, $20, $20, $8, $21 FROM request
RETURNING {_COLUMNS},
    '{{"unsaid": [], "set_aside": [], "quote": null, "is_canceling": false}}'::json AS outbox
"""  # noqa: S608 our own column names

ACCEPT: Final = f"""
WITH target AS (
    SELECT tenant_id, payment_id, held_until <= $8 AS free FROM payments
    WHERE tenant_id = $1 AND payment_id = $6 AND ($10::text IS NULL OR payer_id = $10) AND stage <> 'REFUSED'
    FOR UPDATE),
request AS (
    INSERT INTO requests (tenant_id, caller, method, request_id, request_hash, payment_id, command, state, create_time,
        send_before_time)
    SELECT $1, $2, $3, $4, $5, $6, $7, 'RUNNING', $8, $9 FROM target
    ON CONFLICT ON CONSTRAINT requests_pkey DO NOTHING
    RETURNING 1),
asked AS (
    UPDATE payments p SET asked = p.asked + 1, fence = p.fence + t.free::int, work_class = 'MONEY',
        held_until = CASE WHEN t.free THEN $11 ELSE p.held_until END,
        due_time = CASE WHEN t.free THEN $11 ELSE p.due_time END
    FROM request, target t WHERE p.tenant_id = $1 AND p.payment_id = $6
    RETURNING t.free, {_COLUMNS}, {_OUTBOX})
SELECT (SELECT count(*) FROM target) AS found, (SELECT count(*) FROM request) AS accepted, asked.*
FROM (SELECT 1) AS always LEFT JOIN asked ON true
"""  # noqa: S608 our own column names

TAKE: Final = f"""
UPDATE payments p SET fence = p.fence + 1, held_until = $4, due_time = $4, work_class = coalesce($5, p.work_class)
WHERE p.tenant_id = $1 AND p.payment_id = $2 AND p.held_until <= $3
RETURNING {_COLUMNS}, {_OUTBOX}
"""  # noqa: S608 our own column names

SAVE: Final = f"""
WITH held AS (
    UPDATE payments p SET ({", ".join(_MUTABLE)}) =
            ({", ".join(f"${number}" for number in range(4, 4 + len(_MUTABLE)))}),
        quote_state = coalesce($34, p.quote_state),
        held_until = coalesce($16, p.held_until),
        (due_time, work_class) = (SELECT
            CASE WHEN NOT $17 THEN p.due_time WHEN is_more THEN $23 ELSE $18::timestamptz END,
            CASE WHEN NOT $17 THEN p.work_class WHEN is_more THEN 'MONEY' ELSE $36 END
            FROM (SELECT p.observed_version > $11 OR p.asked > $32 OR EXISTS (
                SELECT FROM requests r
                WHERE r.tenant_id = $1 AND r.payment_id = $2 AND r.state <> 'DONE'
                    AND (r.caller, r.method, r.request_id) IS DISTINCT FROM ($27, $28, $29)) AS is_more) AS more)
    WHERE p.tenant_id = $1 AND p.payment_id = $2 AND p.fence = $3
    RETURNING 1),
added AS (
    INSERT INTO transitions (tenant_id, payment_id, request_id, fact, snapshot, create_time)
    SELECT $1, $2, a.request_id, a.fact, a.snapshot::jsonb, $23
    FROM held, unnest($19::uuid[], $20::text[], $21::text[]) WITH ORDINALITY AS a (request_id, fact, snapshot, place)
    ORDER BY a.place),
said AS (
    DELETE FROM transitions t USING held
    WHERE t.tenant_id = $1 AND t.payment_id = $2 AND t.request_id = ANY($22::uuid[])),
refused AS (
    UPDATE transitions t SET refusal = $24 FROM held
    WHERE t.tenant_id = $1 AND t.payment_id = $2 AND t.request_id = $25),
told AS (
    UPDATE transitions t SET is_told = true FROM held
    WHERE $33 AND t.tenant_id = $1 AND t.payment_id = $2 AND t.refusal IS NOT NULL),
quote AS (
    INSERT INTO quote_outbox (tenant_id, payment_id, quote_id, quote_state, due_time, create_time)
    SELECT $1, $2, $5, $34, $23, $23 FROM held WHERE $34::text IS NOT NULL
    ON CONFLICT ON CONSTRAINT quote_outbox_pkey DO UPDATE
        SET quote_state = excluded.quote_state, due_time = excluded.due_time, tries = 0, problem = NULL),
quote_told AS (
    DELETE FROM quote_outbox q USING held
    WHERE $35 AND q.tenant_id = $1 AND q.payment_id = $2 AND q.problem IS NOT NULL),
answered AS (
    UPDATE requests r SET state = CASE WHEN $30::bytea IS NULL AND $31::jsonb IS NULL THEN 'CALLING' ELSE 'DONE' END,
        answer = $30, refusal = $31
    FROM held
    WHERE r.tenant_id = $26 AND r.caller = $27 AND r.method = $28 AND r.request_id = $29 AND r.state <> 'DONE')
SELECT count(*) FROM held
"""  # noqa: S608 our own column names

RELEASE: Final = """
UPDATE payments SET tries = $4, held_until = $5::timestamptz,
    due_time = CASE WHEN observed_version > $6 OR asked > $7 THEN $5::timestamptz ELSE $8::timestamptz END,
    work_class = CASE WHEN observed_version > $6 OR asked > $7 OR $9 THEN 'MONEY' ELSE work_class END
WHERE tenant_id = $1 AND payment_id = $2 AND fence = $3"""

RENEW: Final = """
UPDATE payments SET held_until = $4, due_time = greatest(due_time, $4)
WHERE tenant_id = $1 AND payment_id = $2 AND fence = $3"""

REQUEST: Final = """
SELECT * FROM requests WHERE tenant_id = $1 AND caller = $2 AND method = $3 AND request_id = $4"""

OPEN_REQUESTS: Final = """
SELECT * FROM requests WHERE tenant_id = $1 AND payment_id = $2 AND state <> 'DONE'
ORDER BY method <> 'CancelPayment', create_time LIMIT 100"""

KEEP_ALIVE: Final = """
UPDATE payments SET expire_time = $3
WHERE tenant_id = $1 AND payment_id = $2 AND stage = 'COLLECTING' AND held_until <= $4 AND expire_time < $3"""

OBSERVE: Final = """
WITH kept AS (
    UPDATE payments SET observed_version = $3, observation = $4, due_time = $5, work_class = 'MONEY'
    WHERE tenant_id = $1 AND payment_id = $2 AND observed_version < $3 AND mirror_version < $3)
SELECT count(*) FROM payments WHERE tenant_id = $1 AND payment_id = $2"""

DUE: Final = """
SELECT tenant_id, payment_id FROM payments WHERE due_time <= $1 AND held_until <= $1 ORDER BY due_time LIMIT $2"""

KNOWN: Final = "SELECT EXISTS (SELECT FROM payments WHERE tenant_id = $1 AND payment_id = $2)"

READ: Final = f"""
SELECT {_COLUMNS}, {_OUTBOX} FROM payments p
WHERE p.tenant_id = $1 AND p.payment_id = $2 AND ($3::text IS NULL OR p.payer_id = $3) AND p.stage <> 'REFUSED'
"""  # noqa: S608 our own column names

QUOTES_DUE: Final = """
SELECT EXISTS (SELECT FROM quote_outbox WHERE due_time <= $1)"""

# Materialized: joined row by row, what is due would be read, and limited, anew for each.
CLAIM_QUOTES: Final = """
WITH due AS MATERIALIZED (
    SELECT tenant_id, payment_id FROM quote_outbox WHERE due_time <= $1
    ORDER BY due_time LIMIT $5 FOR UPDATE SKIP LOCKED)
UPDATE quote_outbox q SET tries = q.tries + 1,
    due_time = $1 + greatest($2::interval, least($3::interval * (1 << least(q.tries, 10)), $4::interval))
FROM due
WHERE q.tenant_id = due.tenant_id AND q.payment_id = due.payment_id
RETURNING q.tenant_id, q.payment_id, q.quote_id, q.quote_state, q.tries"""

QUOTES_HEARD: Final = """
DELETE FROM quote_outbox q USING unnest($1::text[], $2::text[], $3::text[]) AS h (tenant_id, payment_id, quote_state)
WHERE q.tenant_id = h.tenant_id AND q.payment_id = h.payment_id AND q.quote_state = h.quote_state"""

QUOTE_PROBLEM: Final = """
WITH payment AS (
    UPDATE payments SET asked = asked + 1, due_time = $5, work_class = 'MONEY' WHERE tenant_id = $1 AND payment_id = $2
    RETURNING tenant_id, payment_id)
UPDATE quote_outbox q SET problem = $4, due_time = NULL FROM payment p
WHERE q.tenant_id = p.tenant_id AND q.payment_id = p.payment_id AND q.quote_state = $3"""

FORGET: Final = """
DELETE FROM requests WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM requests WHERE create_time < $1 AND state = 'DONE'
    ORDER BY create_time LIMIT $2 FOR UPDATE SKIP LOCKED))
RETURNING 1"""
