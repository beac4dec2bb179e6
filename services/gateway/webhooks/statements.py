"""The statements of the inbox, each with its name. What they mean is said where `inbox` runs them."""

from __future__ import annotations

from typing import Final

from services.runtime.work.statements import demand

_INSERT: Final = """
    INSERT INTO events (tenant_id, event_id, type, account, api_version, subject, body, state, note, create_time,
        receive_time, done_time)"""

_UNLESS_KNOWN: Final = """
    ON CONFLICT ON CONSTRAINT events_pkey DO UPDATE SET
        type = excluded.type, account = excluded.account, api_version = excluded.api_version,
        subject = excluded.subject, body = excluded.body, state = excluded.state, note = excluded.note,
        create_time = excluded.create_time, receive_time = excluded.receive_time, done_time = excluded.done_time
    WHERE (events.state = 'PARKED' AND excluded.state <> 'PARKED')
        OR (events.state = 'IGNORED' AND events.note = '' AND excluded.state IN ('WAITING', 'DONE'))
    RETURNING tenant_id, subject, state
"""
"""Nothing is stored twice; but one that was put aside where it arrived first (at the wrong endpoint, under the wrong
key, by a release that did not know its type) and never worked on is taken over by an arrival that is to be worked on.
"""

STORE: Final = f"""
    {_INSERT}
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
    {_UNLESS_KNOWN}
"""

_DEMAND: Final = f"""
    INSERT INTO event_runs (tenant_id, subject, create_time, due_time, trace_context)
    SELECT tenant_id, subject, $11, now() + $13::interval, $14::text FROM stored WHERE state = 'WAITING'
    ON CONFLICT ON CONSTRAINT event_runs_pkey DO UPDATE SET {demand("$13::interval", "event_runs")},
        trace_context = excluded.trace_context
"""  # noqa: S608 our own statement

STORE_AND_DEMAND: Final = f"""
    WITH stored AS ({STORE})
    {_DEMAND}
    RETURNING subject
"""

STORE_IF_KNOWN: Final = f"""
    WITH known AS (
        SELECT count(*) = 1 AS is_here FROM payments
        WHERE tenant_id = $1 AND payment_id = $15 AND fence = $16 AND held_until <= now() + $13::interval),
    stored AS (
        {_INSERT}
        SELECT $1, $2, $3, $4, $5, $6, $7, CASE WHEN is_here THEN $8 ELSE 'WAITING' END, $9, $10, $11,
            CASE WHEN is_here THEN $12::timestamptz END
        FROM known
        {_UNLESS_KNOWN}),
    demanded AS ({_DEMAND})
    SELECT state FROM stored
"""  # noqa: S608 our own statement
"""Only the same fence says that the row is what was compared. A newer one is of a row that was moved on since, from
where the event may say that it came back; or, after a restore, of one that was set back and taken by somebody who read
nothing. And whoever holds the row may be about to save what they saw at Stripe before the event."""

WAITING: Final = """
    SELECT body, receive_time FROM events WHERE tenant_id = $1 AND subject = $2 AND state = 'WAITING'
    ORDER BY create_time, receive_time
    LIMIT $3
"""

FIRST_TYPE: Final = """(SELECT e.type FROM events e
    WHERE e.tenant_id = w.tenant_id AND e.subject = w.subject AND e.state = 'WAITING'
    ORDER BY e.create_time, e.receive_time LIMIT 1)"""
"""Of the events that wait for a subject `w`: what it is about."""

DONE: Final = """
    UPDATE events SET state = $3, note = $4, done_time = $5
    WHERE tenant_id = $1 AND event_id = ANY($2::text[]) AND state = 'WAITING'
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
