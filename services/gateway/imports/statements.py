"""The statements that keep records, each with its name: one for many records of a kind, each wholly or not at all.

Each returns what it kept: a payer or a seller who got another customer or account since the look is not among that.
"""

from __future__ import annotations

from typing import Final

from services.gateway.ledger.entry_rows import inserting


def _recorded(kind: str) -> str:
    """Return what keeps that records were taken over: of those that were, nothing else is written again."""
    return f"""
record AS (
    INSERT INTO imports (tenant_id, kind, record_id, digest, subject_id, actor_id, import_time)
    SELECT $1, '{kind}', g.record_id, g.digest, g.subject_id, $3, $4 FROM given g
    ON CONFLICT ON CONSTRAINT imports_pkey DO NOTHING
    RETURNING record_id)"""  # noqa: S608 our own kinds


KNOWN: Final = """
SELECT record_id, digest, subject_id FROM imports WHERE tenant_id = $1 AND kind = $2 AND record_id = ANY ($3::text[])"""

KEEP_PAYMENTS: Final = f"""
WITH given AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset($2::jsonb) AS g (record_id text, digest bytea, subject_id text, payer_id text,
        seller_id text, currency_code text, mirror_version bigint, observation jsonb, books jsonb,
        create_time timestamptz, intents jsonb, refunds jsonb, movements jsonb, entries jsonb)),
{_recorded("PAYMENT")},
held AS MATERIALIZED (
    SELECT g.* FROM given g JOIN record USING (record_id) WHERE g.observation IS NOT NULL),
payment AS (
    INSERT INTO payments (tenant_id, payment_id, payer_id, seller_id, currency_code, mirror_version, observation, books,
        create_time)
    SELECT $1, h.subject_id, h.payer_id, h.seller_id, h.currency_code, h.mirror_version, h.observation, h.books,
        h.create_time
    FROM held h),
intent AS (
    INSERT INTO intents (tenant_id, payment_id, attempt, intent_id, charge_id, mirrored, create_time)
    SELECT $1, h.subject_id, i.attempt, nullif(i.intent_id, ''), nullif(i.charge_id, ''), i.mirrored, i.create_time
    FROM held h, jsonb_to_recordset(h.intents) AS i (attempt integer, intent_id text, charge_id text, mirrored jsonb,
        create_time timestamptz)),
dispute AS (
    INSERT INTO disputes (tenant_id, payment_id, dispute_id, attempt, state, is_open, mirrored, create_time)
    SELECT $1, h.subject_id, d.dispute_id, i.attempt, d.state, d.is_open, d.mirrored, d.create_time
    FROM held h, jsonb_to_recordset(h.intents) AS i (attempt integer, disputes jsonb),
        jsonb_to_recordset(i.disputes) AS d (dispute_id text, state text, is_open boolean, mirrored jsonb,
            create_time timestamptz)),
refund AS (
    INSERT INTO refunds (tenant_id, payment_id, refund_id, attempt, amount_minor, state, stripe_refund_id, actor_id,
        reason, create_time, bearer, parts)
    SELECT $1, h.subject_id, r.refund_id, r.attempt, r.amount_minor, r.state, r.stripe_refund_id, r.actor_id, r.reason,
        r.create_time, r.bearer, r.parts
    FROM held h, jsonb_to_recordset(h.refunds) AS r (refund_id text, attempt integer, amount_minor bigint, state text,
        stripe_refund_id text, actor_id text, reason text, create_time timestamptz, bearer text, parts jsonb)),
movement AS (
    INSERT INTO movements (tenant_id, payment_id, movement_id, kind, seller_id, stripe_id, mirrored, create_time)
    SELECT $1, h.subject_id, m.movement_id, m.kind, m.seller_id, m.stripe_id, m.mirrored, m.create_time
    FROM held h, jsonb_to_recordset(h.movements) AS m (movement_id text, kind text, seller_id text, stripe_id text,
        mirrored jsonb, create_time timestamptz)),
booked AS ({inserting(tenant="$1", entries="held.entries", shift="$5::interval", when="held")})
SELECT record_id FROM record"""  # noqa: S608 our own names

KEEP_CUSTOMERS: Final = f"""
WITH given AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset($2::jsonb) AS g (record_id text, digest bytea, subject_id text, customer_id text,
        default_method_id text, consents jsonb)),
{_recorded("CUSTOMER")},
held AS MATERIALIZED (SELECT g.* FROM given g JOIN record USING (record_id)),
customer AS (
    INSERT INTO customers (tenant_id, payer_id, customer_id, default_method_id, create_time)
    SELECT $1, h.subject_id, h.customer_id, nullif(h.default_method_id, ''), $4 FROM held h
    ON CONFLICT ON CONSTRAINT customers_pkey
    DO UPDATE SET default_method_id = coalesce(customers.default_method_id, excluded.default_method_id)
    WHERE customers.customer_id = excluded.customer_id
    RETURNING payer_id),
consented AS (
    INSERT INTO method_consents (tenant_id, payment_method_id, payer_id, actor_id, consent_time)
    SELECT $1, c.payment_method_id, h.subject_id, c.actor_id, c.consent_time
    FROM held h, jsonb_to_recordset(h.consents) AS c (payment_method_id text, actor_id text, consent_time timestamptz)
    ON CONFLICT ON CONSTRAINT method_consents_pkey DO NOTHING)
SELECT DISTINCT h.record_id FROM held h JOIN customer c ON c.payer_id = h.subject_id"""  # noqa: S608 our own names

KEEP_SELLERS: Final = f"""
WITH given AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset($2::jsonb) AS g (record_id text, digest bytea, subject_id text,
        stripe_account_id text)),
{_recorded("SELLER")},
held AS MATERIALIZED (SELECT g.* FROM given g JOIN record USING (record_id)),
seller AS (
    INSERT INTO seller_accounts (tenant_id, seller_id, stripe_account_id, create_time)
    SELECT $1, h.subject_id, h.stripe_account_id, $4 FROM held h
    ON CONFLICT ON CONSTRAINT seller_accounts_pkey DO UPDATE SET stripe_account_id = excluded.stripe_account_id,
        create_time = CASE WHEN seller_accounts.stripe_account_id IS NULL THEN excluded.create_time
            ELSE seller_accounts.create_time END -- from when on its events are read
    WHERE seller_accounts.stripe_account_id IS NULL OR seller_accounts.stripe_account_id = excluded.stripe_account_id
    RETURNING seller_id)
SELECT DISTINCT h.record_id FROM held h JOIN seller s ON s.seller_id = h.subject_id"""  # noqa: S608 our own names

PAYMENTS_OF: Final = """
SELECT intent_id AS stripe_id, payment_id FROM intents WHERE tenant_id = $1 AND intent_id = ANY ($2::text[])
UNION ALL
SELECT charge_id, payment_id FROM intents WHERE tenant_id = $1 AND charge_id = ANY ($2::text[])
UNION ALL
SELECT stripe_refund_id, payment_id FROM refunds WHERE tenant_id = $1 AND stripe_refund_id = ANY ($2::text[])
UNION ALL
SELECT stripe_id, payment_id FROM movements WHERE tenant_id = $1 AND stripe_id = ANY ($2::text[])
UNION ALL
SELECT dispute_id, payment_id FROM disputes WHERE tenant_id = $1 AND dispute_id = ANY ($2::text[])
UNION ALL
SELECT payment_id, payment_id FROM payments WHERE tenant_id = $1 AND payment_id = ANY ($2::text[])"""

CUSTOMERS: Final = """
SELECT payer_id, customer_id FROM customers
WHERE tenant_id = $1 AND (payer_id = ANY ($2::text[]) OR customer_id = ANY ($3::text[]))"""

SELLERS: Final = """
SELECT seller_id, stripe_account_id FROM seller_accounts
WHERE tenant_id = $1 AND (seller_id = ANY ($2::text[]) OR stripe_account_id = ANY ($3::text[]))"""
