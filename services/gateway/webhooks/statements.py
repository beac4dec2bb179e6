"""The statements of the inbox, each with its name. What they mean is said where `inbox` runs them."""

from __future__ import annotations

from typing import Final

from services.runtime.work.statements import demand

_INSERT: Final = """
    INSERT INTO events (tenant_id, event_id, type, account, api_version, subject, body, state, note, create_time,
        receive_time, done_time, holder, payer_id)"""

_PERSON: Final = """
    named AS (
        SELECT coalesce($14::text, (SELECT c.payer_id FROM customers c
            WHERE c.tenant_id = $1 AND c.customer_id = $15)) AS payer_id),
    person AS (
        SELECT payer_id, EXISTS (SELECT FROM erasures e WHERE e.tenant_id = $1 AND e.customer_id = $15)
            OR coalesce((SELECT k.destroy_time IS NOT NULL FROM personal_keys k
                WHERE k.tenant_id = $1 AND k.holder = 'payer/' || named.payer_id
                ORDER BY k.generation DESC LIMIT 1), false) AS is_erased
        FROM named)"""
"""Whose personal data an event may have: the payer of its payment, as far as that is in memory, or of the customer that
it names. Of one who is erased nothing is kept."""
_BODY: Final = "CASE WHEN person.is_erased THEN ''::bytea ELSE $7 END"

_UNLESS_KNOWN: Final = """
    ON CONFLICT ON CONSTRAINT events_pkey DO UPDATE SET
        type = excluded.type, account = excluded.account, api_version = excluded.api_version,
        subject = excluded.subject, body = excluded.body, holder = excluded.holder, payer_id = excluded.payer_id,
        state = excluded.state, note = excluded.note,
        create_time = excluded.create_time, receive_time = excluded.receive_time, done_time = excluded.done_time
    WHERE (events.state = 'PARKED' AND excluded.state <> 'PARKED')
        OR (events.state = 'IGNORED' AND events.note = '' AND excluded.state IN ('WAITING', 'DONE'))
    RETURNING tenant_id, subject, state
"""
"""Nothing is stored twice; but one that was put aside where it arrived first (at the wrong endpoint, under the wrong
key, by a release that did not know its type) and never worked on is taken over by an arrival that is to be worked on.
"""

_STORE: Final = f"""
    {_INSERT}
    SELECT $1, $2, $3, $4, $5, $6, {_BODY}, $8, $9, $10, $11, $12, $13, person.payer_id FROM person
    {_UNLESS_KNOWN}
"""  # noqa: S608 our own statement

STORE: Final = f"""
    WITH {_PERSON}
    {_STORE}
"""

_DEMAND: Final = f"""
    INSERT INTO event_runs (tenant_id, subject, create_time, due_time, trace_context)
    SELECT tenant_id, subject, $11, now() + $16::interval, $17::text FROM stored WHERE state = 'WAITING'
    ON CONFLICT ON CONSTRAINT event_runs_pkey DO UPDATE SET {demand("$16::interval", "event_runs")},
        trace_context = excluded.trace_context
"""  # noqa: S608 our own statement

STORE_AND_DEMAND: Final = f"""
    WITH {_PERSON},
    stored AS ({_STORE})
    {_DEMAND}
    RETURNING subject
"""

STORE_IF_KNOWN: Final = f"""
    WITH known AS (
        SELECT count(*) = 1 AS is_here FROM payments
        WHERE tenant_id = $1 AND payment_id = $18 AND fence = $19 AND held_until <= now() + $16::interval),
    {_PERSON},
    stored AS (
        {_INSERT}
        SELECT $1, $2, $3, $4, $5, $6, {_BODY}, CASE WHEN is_here THEN $8 ELSE 'WAITING' END, $9, $10, $11,
            CASE WHEN is_here THEN $12::timestamptz END, $13, person.payer_id
        FROM known, person
        {_UNLESS_KNOWN}),
    demanded AS ({_DEMAND})
    SELECT state FROM stored
"""  # noqa: S608 our own statement
"""Only the same fence says that the row is what was compared. A newer one is of a row that was moved on since, from
where the event may say that it came back; or, after a restore, of one that was set back and taken by somebody who read
nothing. And whoever holds the row may be about to save what they saw at Stripe before the event."""

WAITING: Final = """
    SELECT event_id, type, account, subject, body, holder, create_time, receive_time FROM events
    WHERE tenant_id = $1 AND subject = $2 AND state = 'WAITING'
    ORDER BY create_time, receive_time
    LIMIT $3
"""

FIRST_TYPE: Final = """(SELECT e.type FROM events e
    WHERE e.tenant_id = w.tenant_id AND e.subject = w.subject AND e.state = 'WAITING'
    ORDER BY e.create_time, e.receive_time LIMIT 1)"""
"""Of the events that wait for a subject `w`: what it is about."""

REKEY: Final = """
    UPDATE events e SET body = anew.body, holder = $4, payer_id = $5
    FROM unnest($2::text[], $3::bytea[]) AS anew (event_id, body)
    WHERE e.tenant_id = $1 AND e.event_id = anew.event_id AND e.holder LIKE 'day/%' AND e.body <> ''
"""

PAYER_OF: Final = """
    SELECT coalesce(
        (SELECT e.payer_id FROM events e WHERE e.tenant_id = $1 AND e.event_id = $2),
        (SELECT p.payer_id FROM payments p WHERE p.tenant_id = $1 AND p.payment_id = (
            SELECT i.payment_id FROM intents i
            WHERE i.tenant_id = $1 AND (i.intent_id = $3 OR i.charge_id = $3 OR i.session_id = $3)
            UNION ALL
            SELECT r.payment_id FROM refunds r WHERE r.tenant_id = $1 AND r.stripe_refund_id = $3
            LIMIT 1)),
        (SELECT m.payer_id FROM payment_methods m WHERE m.tenant_id = $1 AND m.payment_method_id = $3),
        (SELECT s.payer_id FROM setup_intents s WHERE s.tenant_id = $1 AND s.setup_intent_id = $3),
        (SELECT c.payer_id FROM customers c WHERE c.tenant_id = $1 AND c.customer_id = $3))
"""
"""Whose personal data the events of a subject have, once that is known."""

DONE: Final = """
    UPDATE events SET state = $3, note = $4, done_time = $5
    WHERE tenant_id = $1 AND event_id = ANY($2::text[]) AND state = 'WAITING'
    RETURNING event_id, CASE WHEN holder LIKE 'day/%' THEN body ELSE '' END AS body, holder
"""

# Subjects of which events wait, and when the oldest of those events was received: of the first $2, each by the index of
# the events that wait. A subject that was given up is none of them.
WAITING_SUBJECTS: Final = """
    SELECT (SELECT count(*) FROM event_runs WHERE tenant_id = $1 AND due_time IS NOT NULL) AS pending,
        (SELECT min(oldest.receive_time) FROM (
            SELECT (SELECT min(e.receive_time) FROM events e
                WHERE e.tenant_id = $1 AND e.subject = r.subject AND e.state = 'WAITING') AS receive_time
            FROM event_runs r WHERE r.tenant_id = $1 AND r.due_time IS NOT NULL
            ORDER BY r.due_time LIMIT $2) AS oldest) AS oldest_time
"""
