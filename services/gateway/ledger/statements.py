"""The statements that read the ledger, and those that close its days. What they mean is said where they are run.

Days are of UTC, by entry date.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

FILTERS: Final = ("payment_id", "account", "seller_id", "country")
"""By which entries are chosen."""


def where(chosen: Sequence[str], *, first: int) -> str:
    """Return the condition that columns are what they are asked to be, from the argument `first` on.

    An index of those that are of a payment, or of a seller, is used where the statement itself says that it is of one.
    """
    of_one = "".join(f" AND {column} <> ''" for column in chosen if column in ("payment_id", "seller_id"))
    return "".join(f" AND {column} = ${number}" for number, column in enumerate(chosen, start=first)) + of_one


def entries(chosen: Sequence[str], *, time: str) -> str:
    """Return a page of entries in the order of one of their times: those of a span that are chosen, after a place."""
    return f"""
SELECT * FROM ledger_entries
WHERE tenant_id = $1 AND {time} >= $2::timestamptz AND {time} < $3::timestamptz
    AND ({time}, fact, place) > ($4::timestamptz, $5::text, $6::integer){where(chosen, first=8)}
ORDER BY {time}, fact, place LIMIT $7"""  # noqa: S608 our own column names


_ACCOUNT: Final = "account, seller_id, country, currency_code"
_OPEN: Final = """
day AS (
    SELECT least(($2::timestamptz AT TIME ZONE 'UTC')::date, coalesce(
        (SELECT next_day FROM ledger_days WHERE tenant_id = $1 AND name = 'ledger'), '-infinity')) AS first)"""
"""From which day on entries are added up one by one, for a balance of `$2`: all days before are closed."""


def balances(chosen: Sequence[str]) -> str:
    """Return what the chosen accounts come to before an instant: the last closings, and what came since."""
    condition = where(chosen, first=4)
    return f"""
WITH {_OPEN},
closed AS (
    SELECT DISTINCT ON ({_ACCOUNT}) {_ACCOUNT}, balance_minor FROM ledger_closings, day
    WHERE tenant_id = $1 AND ledger_closings.day < day.first{condition}
    ORDER BY {_ACCOUNT}, ledger_closings.day DESC),
rest AS (
    SELECT {_ACCOUNT}, sum(amount_minor) AS balance_minor FROM ledger_entries, day
    WHERE tenant_id = $1 AND record_time >= day.first::timestamp AT TIME ZONE 'UTC' AND record_time < $2{condition}
    GROUP BY {_ACCOUNT})
SELECT account, CASE WHEN account = ANY ($3::text[]) THEN seller_id ELSE '' END AS seller_id, country, currency_code,
    sum(balance_minor)::bigint AS balance_minor
FROM (SELECT * FROM closed UNION ALL SELECT * FROM rest) AS each
GROUP BY 1, 2, 3, 4 HAVING sum(balance_minor) <> 0
ORDER BY 1, 2, 3, 4"""  # noqa: S608 our own column names


OWED: Final = f"""
WITH {_OPEN},
closed AS (
    SELECT DISTINCT ON ({_ACCOUNT}) {_ACCOUNT}, balance_minor FROM ledger_closings, day
    WHERE tenant_id = $1 AND account IN ('seller', 'seller_held') AND seller_id = $3 AND ledger_closings.day < day.first
    ORDER BY {_ACCOUNT}, ledger_closings.day DESC),
rest AS (
    SELECT {_ACCOUNT}, sum(amount_minor) AS balance_minor FROM ledger_entries, day
    WHERE tenant_id = $1 AND account IN ('seller', 'seller_held') AND seller_id = $3 AND seller_id <> ''
        AND record_time >= day.first::timestamp AT TIME ZONE 'UTC' AND (record_time, fact) <= ($2, $4::text)
    GROUP BY {_ACCOUNT})
SELECT currency_code, coalesce(-sum(balance_minor) FILTER (WHERE account = 'seller'), 0)::bigint AS owed_minor,
    coalesce(-sum(balance_minor) FILTER (WHERE account = 'seller_held'), 0)::bigint AS held_minor
FROM (SELECT * FROM closed UNION ALL SELECT * FROM rest) AS each
GROUP BY 1 ORDER BY 1"""  # noqa: S608 our own column names
"""What a seller is owed and what is held, up to a fact of an instant; the empty fact is none of it."""

LINES: Final = """
SELECT fact, currency_code, record_time, min(value_time) AS value_time, min(payment_id) AS payment_id,
    min(stripe_id) AS stripe_id,
    -coalesce(sum(amount_minor) FILTER (WHERE account = 'seller'), 0)::bigint AS owed_minor,
    -coalesce(sum(amount_minor) FILTER (WHERE account = 'seller_held'), 0)::bigint AS held_minor,
    -coalesce(sum(amount_minor) FILTER (WHERE split_part(fact, ':', 1) = ANY ($8::text[])), 0)::bigint AS gross_minor,
    -coalesce(sum(amount_minor) FILTER (WHERE account = 'platform_fee'), 0)::bigint AS fee_minor,
    coalesce(sum(vat_minor) FILTER (WHERE account = 'platform_fee'), 0)::bigint AS fee_vat_minor,
    coalesce(sum(vat_minor) FILTER (WHERE account = 'seller'), 0)::bigint AS sale_vat_minor
FROM ledger_entries
WHERE tenant_id = $1 AND seller_id = $2 AND seller_id <> '' AND record_time >= $3 AND record_time < $4
    AND (record_time, fact) > ($5::timestamptz, $6::text)
GROUP BY record_time, fact, currency_code ORDER BY record_time, fact, currency_code LIMIT $7"""
"""What facts of a span mean for a seller. Those of the kinds in `$8` are about what was sold."""

BEGIN: Final = """
INSERT INTO ledger_days (tenant_id, name, next_day, due_time)
SELECT $1, 'ledger', day, (day + 1)::timestamp AT TIME ZONE 'UTC' + $3::interval
FROM (SELECT ((now() + $2::interval) AT TIME ZONE 'UTC')::date) AS today (day)
ON CONFLICT ON CONSTRAINT ledger_days_pkey DO NOTHING"""

CLOSE: Final = f"""
WITH closed AS (
    UPDATE ledger_days SET next_day = next_day + 1
    WHERE tenant_id = $1 AND name = 'ledger'
        AND (next_day + 1)::timestamp AT TIME ZONE 'UTC' + $3::interval <= now() + $2::interval
    RETURNING next_day - 1 AS day),
moved AS (
    SELECT {_ACCOUNT}, closed.day, sum(amount_minor) AS moved_minor FROM closed, ledger_entries
    WHERE tenant_id = $1 AND record_time >= closed.day::timestamp AT TIME ZONE 'UTC'
        AND record_time < (closed.day + 1)::timestamp AT TIME ZONE 'UTC'
    GROUP BY {_ACCOUNT}, closed.day),
kept AS (
    INSERT INTO ledger_closings (tenant_id, {_ACCOUNT}, day, moved_minor, balance_minor)
    SELECT $1, {_ACCOUNT}, day, moved_minor, moved_minor + coalesce((
        SELECT c.balance_minor FROM ledger_closings c
        WHERE (c.tenant_id, c.account, c.seller_id, c.country, c.currency_code)
            = ($1, moved.account, moved.seller_id, moved.country, moved.currency_code) AND c.day < moved.day
        ORDER BY c.day DESC LIMIT 1), 0)
    FROM moved)
SELECT count(*) FROM closed"""  # noqa: S608 our own column names
"""Closes the next day if it is over for long enough. Who comes second waits for the first, and finds the next."""

CHAINS: Final = r"""
WITH day AS (
    SELECT next_day FROM ledger_days
    WHERE tenant_id = $1 AND name = 'ledger'
        AND (next_day + 1)::timestamp AT TIME ZONE 'UTC' + $3::interval <= now() + $2::interval),
moved AS (
    SELECT DISTINCT e.payment_id FROM ledger_entries e, day
    WHERE e.tenant_id = $1 AND e.account = 'conversion' AND e.payment_id <> ''
        AND e.record_time >= day.next_day::timestamp AT TIME ZONE 'UTC'
        AND e.record_time < (day.next_day + 1)::timestamp AT TIME ZONE 'UTC'),
sums AS (
    SELECT e.payment_id, e.currency_code, sum(e.amount_minor) AS minor
    FROM moved JOIN ledger_entries e USING (payment_id)
    WHERE e.tenant_id = $1 AND e.account = 'conversion' AND e.payment_id <> ''
    GROUP BY 1, 2),
chain AS (
    SELECT s.payment_id,
        'fx_closed:' || s.payment_id || ':' || (SELECT count(DISTINCT e.fact) + 1 FROM ledger_entries e
            WHERE e.tenant_id = $1 AND e.payment_id = s.payment_id AND e.fact LIKE 'fx\_closed:%') AS fact
    FROM sums s JOIN payments p ON p.tenant_id = $1 AND p.payment_id = s.payment_id
    GROUP BY s.payment_id
    HAVING coalesce(sum(s.minor) FILTER (WHERE s.currency_code = p.currency_code), 0) = 0
        AND bool_or(s.minor <> 0)
    ORDER BY s.payment_id LIMIT $4),
booked AS (
    INSERT INTO ledger_entries (tenant_id, fact, place, payment_id, account, seller_id, country, currency_code,
        amount_minor, vat_minor, stripe_id, actor_id, corrects, record_time, value_time)
    SELECT $1, c.fact, row_number() OVER (PARTITION BY c.fact ORDER BY s.currency_code, side.account), c.payment_id,
        side.account, '', '', s.currency_code, side.sign * s.minor, 0, '', '', '', now() + $2::interval,
        now() + $2::interval
    FROM chain c JOIN sums s USING (payment_id),
        (VALUES ('conversion', -1), ('fx_difference', 1)) AS side (account, sign)
    WHERE s.minor <> 0
    ON CONFLICT ON CONSTRAINT ledger_entries_pkey DO NOTHING)
SELECT count(*) FROM chain"""
"""Closes the chains of exchange of which something was booked on the day that is closed next: where all that was
changed out of a payment's currency was changed back, what is left in the other currency is a difference."""

DUE: Final = """
SELECT greatest((next_day + 1)::timestamp AT TIME ZONE 'UTC' + $3::interval - now() - $2::interval, interval '0')
FROM ledger_days WHERE tenant_id = $1 AND name = 'ledger'"""

DRIFT: Final = f"""
WITH span AS (
    SELECT $2::date AS first, least($3::date, next_day - 1) AS last
    FROM ledger_days WHERE tenant_id = $1 AND name = 'ledger'),
booked AS (
    SELECT {_ACCOUNT}, (record_time AT TIME ZONE 'UTC')::date AS day, sum(amount_minor) AS minor
    FROM ledger_entries, span
    WHERE tenant_id = $1 AND record_time >= span.first::timestamp AT TIME ZONE 'UTC'
        AND record_time < (span.last + 1)::timestamp AT TIME ZONE 'UTC'
    GROUP BY 1, 2, 3, 4, 5),
closed AS (
    SELECT {_ACCOUNT}, day, moved_minor, balance_minor,
        balance_minor - moved_minor - coalesce((
            SELECT c.balance_minor FROM ledger_closings c
            WHERE (c.tenant_id, c.account, c.seller_id, c.country, c.currency_code)
                = ($1, k.account, k.seller_id, k.country, k.currency_code) AND c.day < k.day
            ORDER BY c.day DESC LIMIT 1), 0) AS gap_minor
    FROM ledger_closings k, span WHERE k.tenant_id = $1 AND k.day BETWEEN span.first AND span.last)
SELECT {_ACCOUNT}, day, coalesce(closed.moved_minor, 0)::bigint AS closed_minor,
    coalesce(booked.minor, 0)::bigint AS booked_minor, coalesce(closed.gap_minor, 0)::bigint AS gap_minor
FROM booked FULL JOIN closed USING ({_ACCOUNT}, day)
WHERE coalesce(closed.moved_minor, 0) <> coalesce(booked.minor, 0) OR coalesce(closed.gap_minor, 0) <> 0
ORDER BY day, 1, 2, 3, 4 LIMIT $4"""  # noqa: S608 our own column names
"""Closings that differ from what their days come to, or do not follow from the one before."""
