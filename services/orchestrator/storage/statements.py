"""The statements of the command side, each with its name. What they mean stands where `store` runs them.

Leases and due times go by the database's clock: `now()` and how far it is moved, which is nothing outside of tests.
Facts (when something was made, when a payer's time is up) go by the process's own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from services.runtime.work.statements import LAPSES_COUNTED_MAX, due_now

_PARAMETER: Final = re.compile(r"(?<![:\w]):([a-z_]+)")


@dataclass(frozen=True, slots=True)
class Named:
    """A statement with named parameters, as PostgreSQL takes it: with numbered ones."""

    text: str
    names: tuple[str, ...]

    def arguments(self, **values: object) -> list[object]:
        """Return the values in the order of their numbers; raises KeyError for one that is missing."""
        return [values[name] for name in self.names]


def named(sql: str) -> Named:
    """Return a statement in which each parameter stands as `:name`."""
    names: dict[str, int] = {}
    text = _PARAMETER.sub(lambda found: f"${names.setdefault(found[1], len(names) + 1)}", sql)
    return Named(text=text, names=tuple(names))


_MUTABLE: Final = (
    "stage", "quote_id", "currency_code", "total_minor", "split", "attempt", "cancel_outcome",
    "mirror_version", "latest_snapshot", "revision", "failures", "next_step", "next_time",
    "attempt_kind", "quote_holds_uses", "course", "booking_ids",
)  # fmt: skip
_COLUMNS: Final = """p.tenant_id, p.payment_id, p.payer_id, p.quote_request, p.session_type, p.session_name,
    p.client_reference, p.return_url, p.seller_ids, p.booking_ids, p.labels, p.stage, p.quote_id, p.currency_code,
    p.total_minor, p.split, p.attempt, p.attempt_kind, p.cancel_outcome, p.observed_version, p.observation,
    p.mirror_version, p.latest_snapshot, p.revision, p.fence, p.work_class, p.failures, p.next_step, p.next_time,
    p.create_time, p.request_count, p.quote_state, p.quote_holds_uses, p.trace_context, p.terms, p.course"""
_OUTBOX: Final = "outbox_of(p.tenant_id, p.payment_id) AS outbox"


def _until(shift: str, lease: str) -> str:
    """Return when a lease that is taken or renewed now ends: longer after each that ran out, as the engine's do."""
    return f"now() + {shift}::interval + {lease}::interval * (1 << least(p.lapses, {LAPSES_COUNTED_MAX}))"


def _due_for(shift: str) -> str:
    """Return what a payment is due for if that is now, empty if it is not."""
    return f"CASE WHEN p.due_time <= now() + {shift}::interval THEN p.work_class ELSE '' END AS due_for"


# Beside the payment's row comes what somebody needs who did not write one: whether it was there before, and whether the
# tenant takes no new ones. Both are as of the statement's begin, as is what the row was written by.
START: Final = named(f"""
WITH paused AS (
    SELECT public_message, expected_end_time FROM start_switches WHERE tenant_id = :tenant_id AND paused),
request AS (
    INSERT INTO requests (tenant_id, caller, method, request_id, request_hash, payment_id, command, state, create_time,
        send_before_time, actor_id)
    SELECT :tenant_id, :caller, :method, :request_id, :request_hash, :payment_id, :command, 'RUNNING',
        :now::timestamptz, :send_before_time::timestamptz, :actor_id
    WHERE NOT EXISTS (SELECT FROM payments WHERE tenant_id = :tenant_id AND payment_id = :payment_id)
        AND NOT EXISTS (SELECT FROM paused)
    ON CONFLICT ON CONSTRAINT requests_pkey DO NOTHING
    RETURNING 1),
payment AS (INSERT INTO payments AS p (tenant_id, payment_id, payer_id, quote_request, session_type, session_name,
    client_reference, return_url, seller_ids, booking_ids, labels, stage, latest_snapshot, create_time, next_step,
    next_time, trace_context, terms, course, fence, held_until, due_time)
SELECT :tenant_id, :payment_id, :payer_id, :quote_request, :session_type, :session_name, :client_reference,
    :return_url, :seller_ids, :booking_ids, :labels, 'STARTING', :latest_snapshot, :now, 'GIVE_UP_START', :start_ends,
    :trace_context, :terms::jsonb || coalesce((
        SELECT jsonb_build_object('policy', policy) FROM money_policies
        WHERE tenant_id = :tenant_id AND session_type IN (:session_type, '')
        ORDER BY session_type DESC, revision DESC LIMIT 1), '{{}}'::jsonb),
    :course, 1, now() + :shift::interval + :lease::interval,
    now() + :shift::interval + :lease::interval
FROM request
RETURNING {_COLUMNS},
    '{{"pending": [], "rejected": [], "quote": null, "has_urgent_request": false}}'::json AS outbox)
SELECT EXISTS (SELECT FROM payments WHERE tenant_id = :tenant_id AND payment_id = :payment_id) AS was_there,
    paused.public_message, paused.expected_end_time, payment.*
FROM (SELECT 1) AS always LEFT JOIN payment ON true LEFT JOIN paused ON true
""")  # noqa: S608 our own column names

# Takes the first step of a request with it, where the payment waits for nothing else: nobody holds it, nothing was
# delivered that is not applied, nothing is pending, nobody has to be told of anything, and no urgent request is open.
# All that is looked at after the row is locked, the outbox by a function that reads anew.
ACCEPT: Final = named(f"""
WITH target AS (
    SELECT tenant_id, payment_id, held_until <= now() + :shift::interval AS free, trace_context AS led_by,
        CASE WHEN :actor_id <> '' THEN json_build_object('revision', revision, 'snapshot', latest_snapshot) END
            AS before,
        stage = 'COLLECTING' AND observed_version <= mirror_version
            AND latest_snapshot ->> 'collection' = ANY(:step_from::text[])
            AND NOT latest_snapshot ->> 'reason' = ANY(:step_without::text[])
            AND attempt_kind = ANY(:step_kinds::text[])
            AND coalesce((latest_snapshot ->> 'decline_count')::integer = :step_decline_count, true)
            AND (:step_total::bigint IS NULL
                OR (total_minor, currency_code) IS NOT DISTINCT FROM (:step_total::bigint, :step_currency::text))
            AND (:step_timing::text IS NULL OR terms ->> 'timing' IS NOT DISTINCT FROM :step_timing::text)
            AND (terms ->> 'timing_time' IS NULL OR coalesce(course ->> 'kept_method_id', '') <> ''
                OR attempt >= (terms ->> 'timing_attempt')::integer)
            AND latest_snapshot -> 'attentions' = '[]' AS is_plain
    FROM payments
    WHERE tenant_id = :tenant_id AND payment_id = :payment_id AND stage <> 'REFUSED'
        AND (:payer_id::text IS NULL OR payer_id = :payer_id)
    FOR UPDATE),
locked AS MATERIALIZED (
    SELECT free, is_plain, led_by, before, outbox_of(tenant_id, payment_id)::jsonb AS outbox FROM target),
step AS MATERIALIZED (
    SELECT free, outbox, led_by, before, free AND coalesce(is_plain, false)
        AND outbox -> 'pending' = '[]' AND outbox -> 'rejected' = '[]' AND outbox #>> '{{quote,1}}' IS NULL
        AND NOT (outbox ->> 'has_urgent_request')::boolean AS is_taken
    FROM locked),
request AS (
    INSERT INTO requests (tenant_id, caller, method, request_id, request_hash, payment_id, command, state, create_time,
        send_before_time, is_urgent, actor_id, before)
    SELECT :tenant_id, :caller, :method, :request_id, :request_hash, :payment_id, :command,
        CASE WHEN is_taken THEN 'CALLING' ELSE 'RUNNING' END, :now, :send_before_time, :is_urgent, :actor_id,
        before::jsonb
    FROM step
    ON CONFLICT ON CONSTRAINT requests_pkey DO NOTHING
    RETURNING 1),
counted AS (
    UPDATE payments p SET request_count = p.request_count + 1, fence = p.fence + s.free::int, work_class = 'MONEY',
        lapses = p.lapses + (s.free AND p.held_until > '-infinity')::int,
        held_until = CASE WHEN s.free THEN {_until(":shift", ":lease")} ELSE p.held_until END,
        due_time = CASE WHEN s.free THEN {_until(":shift", ":lease")} ELSE p.due_time END,
        latest_snapshot = CASE WHEN s.is_taken THEN p.latest_snapshot || :step_changes::jsonb
            ELSE p.latest_snapshot END,
        course = CASE WHEN s.is_taken THEN p.course || :step_course_changes::jsonb ELSE p.course END,
        trace_context = coalesce(:trace_context, p.trace_context)
    FROM request, step s WHERE p.tenant_id = :tenant_id AND p.payment_id = :payment_id
    RETURNING s.free, s.is_taken, s.led_by, {_COLUMNS}, s.outbox),
added AS (
    INSERT INTO transitions (tenant_id, payment_id, request_id, fact, snapshot, create_time)
    SELECT :tenant_id, :payment_id, :step_id::uuid, :step_fact::text, latest_snapshot, :now FROM counted WHERE is_taken)
SELECT (SELECT count(*) FROM target) AS found, (SELECT count(*) FROM request) AS accepted, counted.*
FROM (SELECT 1) AS always LEFT JOIN counted ON true
""")  # noqa: S608 our own column names

TAKE: Final = f"""
UPDATE payments p SET fence = p.fence + 1, work_class = 'MONEY',
    lapses = p.lapses + (p.held_until > '-infinity')::int,
    held_until = {_until("$3", "$4")}, due_time = {_until("$3", "$4")}
WHERE p.tenant_id = $1 AND p.payment_id = $2 AND p.held_until <= now() + $3::interval
RETURNING {_COLUMNS}, {_OUTBOX}
"""  # noqa: S608 our own column names

HELD: Final = f"""
SELECT {_COLUMNS}, {_OUTBOX} FROM payments p
WHERE p.tenant_id = $1 AND p.payment_id = $2 AND p.fence = $3
"""  # noqa: S608 our own column names


# A lease that is released takes its fence with it, so that nobody who still goes by it finds anything.
_SAVE: Final = f"""held AS (
    UPDATE payments p SET ({", ".join(_MUTABLE)}) =
            ({", ".join(f":{name}" for name in _MUTABLE)}),
        quote_state = coalesce(:quote_state, p.quote_state),
        terms = CASE WHEN :choice::jsonb IS NULL THEN p.terms ELSE p.terms || :choice::jsonb END,
        fence = p.fence + :release::boolean::integer,
        held_until = CASE WHEN :release THEN '-infinity' ELSE p.held_until END,
        lapses = CASE WHEN :release THEN 0 ELSE p.lapses END,
        problem = CASE WHEN :release THEN NULL ELSE p.problem END,
        (due_time, work_class) = (SELECT
            CASE WHEN NOT :release THEN p.due_time
                ELSE now() + :shift::interval + CASE WHEN is_more THEN interval '0' ELSE :rest::interval END END,
            CASE WHEN NOT :release THEN p.work_class WHEN is_more THEN 'MONEY' ELSE :work_class END
            FROM (SELECT p.observed_version > :mirror_version OR p.request_count > :request_count OR EXISTS (
                SELECT FROM requests r
                WHERE r.tenant_id = :tenant_id AND r.payment_id = :payment_id AND r.state <> 'DONE'
                    AND (r.caller, r.method, r.request_id) IS DISTINCT FROM (:caller, :method, :request_id)
            ) AS is_more) AS more)
    WHERE p.tenant_id = :tenant_id AND p.payment_id = :payment_id AND p.fence = :fence
    RETURNING {_due_for(":shift")}),
added AS (
    INSERT INTO transitions (tenant_id, payment_id, request_id, fact, snapshot, create_time)
    SELECT :tenant_id, :payment_id, a.request_id, a.fact, a.snapshot::jsonb, :now
    FROM held, unnest(:added_ids::uuid[], :added_facts::text[], :added_snapshots::text[])
        WITH ORDINALITY AS a (request_id, fact, snapshot, place)
    ORDER BY a.place),
recorded AS (
    DELETE FROM transitions t USING held
    WHERE t.tenant_id = :tenant_id AND t.payment_id = :payment_id AND t.request_id = ANY(:recorded_ids::uuid[])),
rejected AS (
    UPDATE transitions t SET refusal = :rejection FROM held
    WHERE t.tenant_id = :tenant_id AND t.payment_id = :payment_id AND t.request_id = :rejected_id),
notified AS (
    UPDATE transitions t SET operator_notified = true FROM held
    WHERE :operator_notified AND t.tenant_id = :tenant_id AND t.payment_id = :payment_id AND t.refusal IS NOT NULL),
quote AS (
    INSERT INTO quote_outbox AS q (tenant_id, payment_id, quote_id, quote_state, due_time, create_time,
        trace_context)
    SELECT :tenant_id, :payment_id, :quote_id, :quote_state, now() + :shift::interval, :now, :trace_context
    FROM held WHERE :quote_state::text IS NOT NULL AND :quote_holds_uses
    ON CONFLICT ON CONSTRAINT quote_outbox_pkey DO UPDATE
        SET quote_state = excluded.quote_state, attention = NULL, due_time = {due_now(":shift::interval", "q")},
            failures = 0, problem = NULL, dead_time = NULL, trace_context = excluded.trace_context),
quote_notified AS (
    DELETE FROM quote_outbox q USING held
    WHERE :quote_operator_notified AND q.tenant_id = :tenant_id AND q.payment_id = :payment_id
        AND q.attention IS NOT NULL),
answered AS (
    UPDATE requests r SET
        state = CASE WHEN :answer::bytea IS NULL AND :refusal::jsonb IS NULL THEN 'CALLING' ELSE 'DONE' END,
        answer = :answer, refusal = :refusal
    FROM held
    WHERE NOT :withdrawn AND r.tenant_id = :request_tenant_id AND r.caller = :caller AND r.method = :method
        AND r.request_id = :request_id AND r.state <> 'DONE'),
withdrawn AS (
    DELETE FROM requests r USING held
    WHERE :withdrawn AND r.tenant_id = :request_tenant_id AND r.caller = :caller AND r.method = :method
        AND r.request_id = :request_id AND r.state = 'RUNNING')"""  # noqa: S608 our own column names
SAVE: Final = named(f"WITH {_SAVE}\nSELECT due_for FROM held")
_ACTED: Final = """acted AS (
    INSERT INTO operator_actions (tenant_id, caller, method, request_id, request_hash, actor_id, reason, payment_id,
        asked, before, after, refusal, create_time)
    SELECT r.tenant_id, r.caller, r.method, r.request_id, r.request_hash, r.actor_id, :action_reason, r.payment_id,
        :action_asked::jsonb, coalesce(r.before, '{}'), jsonb_build_object('revision', :revision::bigint,
            'snapshot', :latest_snapshot::jsonb), coalesce(:refusal::jsonb ->> 'reason', ''), :now::timestamptz
    FROM requests r, held
    WHERE r.tenant_id = :request_tenant_id AND r.caller = :caller AND r.method = :method
        AND r.request_id = :request_id AND r.state <> 'DONE'
    ON CONFLICT ON CONSTRAINT operator_actions_request DO NOTHING)"""
# What an operator did is kept by the statement that answers them.
SAVE_ACTION: Final = named(f"WITH {_SAVE},\n{_ACTED}\nSELECT due_for FROM held")

RELEASE: Final = f"""
UPDATE payments p SET fence = p.fence + 1, held_until = '-infinity', lapses = 0, failures = $4,
    problem = coalesce($10, p.problem),
    due_time = now() + $5::interval
        + CASE WHEN p.observed_version > $6 OR p.request_count > $7 THEN interval '0' ELSE $8::interval END,
    work_class = CASE WHEN p.observed_version > $6 OR p.request_count > $7 OR $9 THEN 'MONEY' ELSE p.work_class END
WHERE p.tenant_id = $1 AND p.payment_id = $2 AND p.fence = $3
RETURNING {_due_for("$5")}
"""  # noqa: S608 our own column names

RENEW: Final = f"""
UPDATE payments p SET held_until = {_until("$4", "$5")},
    due_time = CASE WHEN p.due_time = p.held_until THEN {_until("$4", "$5")} ELSE p.due_time END
WHERE p.tenant_id = $1 AND p.payment_id = $2 AND p.fence = $3
"""  # noqa: S608 our own column names

REQUEST: Final = """
SELECT * FROM requests WHERE tenant_id = $1 AND caller = $2 AND method = $3 AND request_id = $4"""

OPEN_REQUESTS: Final = """
SELECT * FROM requests WHERE tenant_id = $1 AND payment_id = $2 AND state <> 'DONE'
ORDER BY NOT is_urgent, create_time LIMIT 100"""

KEEP_ALIVE: Final = """
UPDATE payments SET next_time = $3
WHERE tenant_id = $1 AND payment_id = $2 AND next_step = 'EXPIRE' AND held_until <= now() + $4::interval
    AND next_time < $3"""

OBSERVE: Final = """
WITH kept AS (
    UPDATE payments SET observed_version = $3, observation = $4, due_time = least(due_time, now() + $5::interval),
        work_class = 'MONEY', trace_context = coalesce($6, trace_context)
    WHERE tenant_id = $1 AND payment_id = $2 AND observed_version < $3 AND mirror_version < $3
    RETURNING 1)
SELECT EXISTS (SELECT FROM kept) FROM payments WHERE tenant_id = $1 AND payment_id = $2"""

KNOWN: Final = "SELECT EXISTS (SELECT FROM payments WHERE tenant_id = $1 AND payment_id = $2)"

READ: Final = f"""
SELECT {_COLUMNS}, {_OUTBOX} FROM payments p
WHERE p.tenant_id = $1 AND p.payment_id = $2 AND ($3::text IS NULL OR p.payer_id = $3) AND p.stage <> 'REFUSED'
"""  # noqa: S608 our own column names

# By whoever holds the payment. What the same request gave up before is among them.
GIVE_UP: Final = """
UPDATE transitions t SET given_up_by = $4 FROM payments p
WHERE p.tenant_id = $1 AND p.payment_id = $2 AND p.fence = $3 AND t.tenant_id = $1 AND t.payment_id = $2
    AND t.refusal IS NOT NULL AND t.operator_notified AND (t.given_up_by IS NULL OR t.given_up_by = $4)"""

QUOTE_END: Final = """
SELECT tenant_id, payment_id, quote_id, quote_state FROM quote_outbox
WHERE tenant_id = $1 AND payment_id = $2 AND fence = $3"""

QUOTE_HEARD: Final = """
DELETE FROM quote_outbox WHERE tenant_id = $1 AND payment_id = $2 AND quote_state = $3"""

QUOTE_PROBLEM: Final = """
WITH payment AS (
    UPDATE payments SET request_count = request_count + 1, due_time = least(due_time, now() + $5::interval),
        work_class = 'MONEY', trace_context = coalesce($6, trace_context)
    WHERE tenant_id = $1 AND payment_id = $2
    RETURNING tenant_id, payment_id)
UPDATE quote_outbox q SET attention = $4, due_time = NULL FROM payment p
WHERE q.tenant_id = p.tenant_id AND q.payment_id = p.payment_id AND q.quote_state = $3"""

# What status has not recorded yet. The table holds that and little else, so a count of it, up to $1, costs what waits.
OUTBOX_WAITING: Final = """
SELECT count(*) AS pending, min(create_time) AS oldest_time
FROM (SELECT create_time FROM transitions WHERE refusal IS NULL LIMIT $1) AS t"""

# In the order of the index of those that need an operator, which no other index has: so it is the one that is used.
ATTENTION: Final = """
SELECT a ->> 'reason' AS reason, count(*) AS payments
FROM (
    SELECT latest_snapshot -> 'attentions' AS attentions FROM payments
    WHERE latest_snapshot -> 'attentions' <> '[]' ORDER BY tenant_id, create_time LIMIT $1) AS p,
    jsonb_array_elements(p.attentions) AS a
GROUP BY 1"""

FORGET: Final = """
DELETE FROM requests WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM requests WHERE create_time < $1 AND state = 'DONE'
    ORDER BY create_time LIMIT $2 FOR UPDATE SKIP LOCKED))
RETURNING 1"""
