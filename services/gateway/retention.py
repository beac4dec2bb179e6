"""What the gateway keeps for 90 days alone. Money facts (payments, attempts, refunds) are not among it.

A call that was answered goes when nothing could be repeated on its payment any more: its attempts came to their end,
so a repeat of the request is refused by the state of the intent; and a refund by the refund itself, whose id is made of
the request. A call whose outcome is unknown stays, and so does an event until it is worked on or an operator decided.
"""

from __future__ import annotations

from typing import Final

CALLS: Final = """
DELETE FROM calls WHERE ctid = ANY(ARRAY(
    SELECT c.ctid FROM calls c
    WHERE c.create_time < $1 AND c.state IN ('ACCEPTED', 'ANSWERED', 'REFUSED', 'WITHDRAWN') AND NOT EXISTS (
        SELECT FROM intents i
        WHERE i.tenant_id = c.tenant_id AND c.subject_type = 'payment' AND i.payment_id = c.subject_id
            AND i.mirrored ->> 'state' NOT IN ('SUCCEEDED', 'CANCELED'))
    ORDER BY c.create_time LIMIT $2 FOR UPDATE SKIP LOCKED))
RETURNING 1"""

EVENTS: Final = """
DELETE FROM events WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM events WHERE receive_time < $1 AND state IN ('DONE', 'IGNORED')
    ORDER BY receive_time LIMIT $2 FOR UPDATE SKIP LOCKED))
RETURNING 1"""

EVENT_RUNS: Final = """
DELETE FROM event_runs WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM event_runs WHERE create_time < $1 AND due_time IS NULL AND dead_time IS NULL
    ORDER BY create_time LIMIT $2 FOR UPDATE SKIP LOCKED))
RETURNING 1"""

DELIVERIES: Final = """
DELETE FROM deliveries WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM deliveries
    WHERE record_time < $1 AND due_time IS NULL AND dead_time IS NULL AND delivered_version >= wanted_version
    ORDER BY record_time LIMIT $2 FOR UPDATE SKIP LOCKED))
RETURNING 1"""
"""One that is gone begins anew with the next observation: its versions are above all that were delivered."""

NOTICES: Final = """
DELETE FROM notices WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM notices WHERE create_time < $1 AND delivered_time IS NOT NULL
    ORDER BY create_time LIMIT $2 FOR UPDATE SKIP LOCKED))
RETURNING 1"""
"""One that is noticed again after that has the same id, by which the orchestrator knows it."""

SETUP_INTENTS: Final = """
DELETE FROM setup_intents WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM setup_intents WHERE create_time < $1
    ORDER BY create_time LIMIT $2 FOR UPDATE SKIP LOCKED))
RETURNING 1"""
"""What it kept is a method by then, and its secret is of no use to anybody any more."""

METHODS: Final = """
DELETE FROM payment_methods WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM payment_methods WHERE detach_time < $1::timestamptz - interval '310 days'
    ORDER BY detach_time LIMIT $2 FOR UPDATE SKIP LOCKED))
RETURNING 1"""
"""Of one that was detached 400 days ago: until then it says that no payment may need it."""

CONSENTS: Final = """
DELETE FROM method_consents WHERE ctid = ANY(ARRAY(
    SELECT k.ctid FROM method_consents k
    WHERE k.consent_time < $1::timestamptz - interval '310 days' AND NOT EXISTS (
        SELECT FROM payment_methods m
        WHERE m.tenant_id = k.tenant_id AND m.payment_method_id = k.payment_method_id)
    ORDER BY k.consent_time LIMIT $2 FOR UPDATE SKIP LOCKED))
RETURNING 1"""
"""A payer may contest a debit for 13 months: until then it is shown that they agreed."""

FORGET: Final = (CALLS, EVENTS, EVENT_RUNS, DELIVERIES, NOTICES, SETUP_INTENTS, METHODS, CONSENTS)
