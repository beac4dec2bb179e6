"""The SQL on the path of a payment; each is one statement that commits by itself."""

from __future__ import annotations

from typing import Final

from services.status.storage.rows import PAYMENT_COLUMNS, TRANSITION_COLUMNS

_PAYMENT: Final = ", ".join(PAYMENT_COLUMNS)
_TRANSITION: Final = ", ".join(TRANSITION_COLUMNS)

# Opens a payment, unless its id is taken: at revision 1, or at 2 with a first transition, which then gives `collection`
# and all that follows from it. $18 to $20 are the request, state and snapshot of revision 1; $21 is the request of
# revision 2, or null; $22 says whether collecting has ended.
OPEN: Final = f"""
WITH opened AS (
  INSERT INTO payments (
    tenant_id, payment_id, open_month, revision, collection, state, settled, snapshot, payer_id, seller_ids,
    booking_ids, client_reference, quote_id, total_amount_minor, currency_code, labels, open_digest, open_time,
    update_time, complete_time
  )
  VALUES (
    $1, $2, $3, CASE WHEN $21::uuid IS NULL THEN 1 ELSE 2 END, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15,
    $16, $17, $17, CASE WHEN $22::boolean THEN $17::timestamptz END
  )
  ON CONFLICT ON CONSTRAINT payments_pkey DO NOTHING
  RETURNING *
), history AS (
  INSERT INTO transitions (tenant_id, payment_id, open_month, revision, request_id, state, snapshot, record_time)
  SELECT tenant_id, payment_id, open_month, 1, $18::uuid, $19, $20::jsonb, open_time FROM opened
  UNION ALL
  SELECT tenant_id, payment_id, open_month, 2, $21, state, snapshot, open_time FROM opened WHERE revision = 2
), sellers AS (
  INSERT INTO payment_sellers (tenant_id, seller_id, open_time, payment_id)
  SELECT tenant_id, unnest(seller_ids), open_time, payment_id FROM opened
), bookings AS (
  INSERT INTO payment_bookings (tenant_id, booking_id, open_time, payment_id)
  SELECT tenant_id, unnest(booking_ids), open_time, payment_id FROM opened
)
SELECT {_PAYMENT} FROM opened
"""  # noqa: S608 our own column names

# Moves a payment that stands at the expected revision and may make the move, unless the request did so before;
# time never runs backwards.
#
# Why no two transitions of a payment have one request id, without an index that says so: a statement finds the payment
# at the expected revision, or moves nothing. The transaction that made this revision committed its row of the history,
# too, so the statement sees every transition up to there; and none comes after, since that would move the payment away
# from the revision, which is compared again under the payment's lock. OFFSET 0 keeps it a look per payment, not a join.
RECORD: Final = f"""
WITH moved AS (
  UPDATE payments
  SET revision = revision + 1, collection = $4, state = $5, settled = $6, snapshot = $7,
      update_time = GREATEST(update_time, $8),
      complete_time = COALESCE(complete_time, CASE WHEN $9 THEN GREATEST(update_time, $8) END)
  WHERE tenant_id = $1 AND payment_id = $2 AND revision = $3
    AND collection = ANY (string_to_array(CASE WHEN total_amount_minor = 0 THEN $10 ELSE $11 END, ' '))
    AND NOT EXISTS (
      SELECT FROM transitions t
      WHERE t.tenant_id = payments.tenant_id AND t.payment_id = payments.payment_id
        AND t.open_month = payments.open_month AND t.request_id = $12
      OFFSET 0
    )
  RETURNING *
), history AS (
  INSERT INTO transitions (tenant_id, payment_id, open_month, revision, request_id, state, snapshot, record_time)
  SELECT tenant_id, payment_id, open_month, revision, $12, state, snapshot, update_time FROM moved
)
SELECT {_PAYMENT} FROM moved
"""  # noqa: S608 our own column names

# The same for many payments at once, each at most once; the parameters are those of RECORD as arrays. A payment that
# another statement is moving is left out, so that no batch waits for it and no two batches for each other.
RECORD_MANY: Final = f"""
WITH asked AS (
  SELECT * FROM unnest(
    $1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::boolean[], $7::jsonb[], $8::timestamptz[],
    $9::boolean[], $10::text[], $11::text[], $12::uuid[]
  ) AS a (
    tenant_id, payment_id, expected_revision, collection, state, settled, snapshot, now, ends, legal_if_zero, legal,
    request_id
  )
), locked AS (
  SELECT p.tenant_id, p.payment_id
  FROM payments p JOIN asked a ON p.tenant_id = a.tenant_id AND p.payment_id = a.payment_id
  WHERE p.revision = a.expected_revision
    AND NOT EXISTS (
      SELECT FROM transitions t
      WHERE t.tenant_id = p.tenant_id AND t.payment_id = p.payment_id
        AND t.open_month = p.open_month AND t.request_id = a.request_id
      OFFSET 0
    )
  FOR UPDATE OF p SKIP LOCKED
), moved AS (
  UPDATE payments p
  SET revision = p.revision + 1, collection = a.collection, state = a.state, settled = a.settled, snapshot = a.snapshot,
      update_time = GREATEST(p.update_time, a.now),
      complete_time = COALESCE(p.complete_time, CASE WHEN a.ends THEN GREATEST(p.update_time, a.now) END)
  FROM asked a JOIN locked USING (tenant_id, payment_id)
  WHERE p.tenant_id = a.tenant_id AND p.payment_id = a.payment_id AND p.revision = a.expected_revision
    AND p.collection = ANY (
      string_to_array(CASE WHEN p.total_amount_minor = 0 THEN a.legal_if_zero ELSE a.legal END, ' ')
    )
  RETURNING p.*, a.request_id
), history AS (
  INSERT INTO transitions (tenant_id, payment_id, open_month, revision, request_id, state, snapshot, record_time)
  SELECT tenant_id, payment_id, open_month, revision, request_id, state, snapshot, update_time FROM moved
)
SELECT tenant_id, {_PAYMENT} FROM moved
"""  # noqa: S608 our own column names

# A payment, and the transition that a request wrote to it, if one did.
LOOK_UP: Final = f"""
SELECT {", ".join(f"p.{name}" for name in PAYMENT_COLUMNS)}, p.collection, t.revision AS written_revision,
       t.snapshot AS written_snapshot, t.record_time AS written_time
FROM payments p
LEFT JOIN transitions t
  ON t.tenant_id = p.tenant_id AND t.payment_id = p.payment_id AND t.open_month = p.open_month AND t.request_id = $3
WHERE p.tenant_id = $1 AND p.payment_id = $2
"""  # noqa: S608 our own column names

# The same for many requests at once.
LOOK_UP_MANY: Final = f"""
SELECT a.position, {", ".join(f"p.{name}" for name in PAYMENT_COLUMNS)}, p.collection, t.revision AS written_revision,
       t.snapshot AS written_snapshot, t.record_time AS written_time
FROM unnest($1::text[], $2::text[], $3::uuid[]) WITH ORDINALITY AS a (tenant_id, payment_id, request_id, position)
JOIN payments p ON p.tenant_id = a.tenant_id AND p.payment_id = a.payment_id
LEFT JOIN transitions t
  ON t.tenant_id = p.tenant_id AND t.payment_id = p.payment_id AND t.open_month = p.open_month
  AND t.request_id = a.request_id
"""  # noqa: S608 our own column names

READ: Final = f"SELECT {_PAYMENT} FROM payments WHERE tenant_id = $1 AND payment_id = $2"  # noqa: S608 our own names

# Payments as they stand, with the place of each in what was asked.
READ_MANY: Final = f"""
SELECT a.position, {", ".join(f"p.{name}" for name in PAYMENT_COLUMNS)}
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS a (tenant_id, payment_id, position)
JOIN payments p ON p.tenant_id = a.tenant_id AND p.payment_id = a.payment_id
"""  # noqa: S608 our own column names

READ_OPENED: Final = f"SELECT {_PAYMENT}, open_digest FROM payments WHERE tenant_id = $1 AND payment_id = $2"  # noqa: S608

# The transitions of one payment after a revision, oldest first.
HISTORY: Final = f"""
SELECT {_TRANSITION} FROM transitions
WHERE tenant_id = $1 AND payment_id = $2 AND open_month = $3 AND revision > $4
ORDER BY revision
LIMIT $5
"""  # noqa: S608 our own column names

# The transitions of many payments, each after a revision of its own, oldest first within each.
FOLLOW: Final = f"""
SELECT w.tenant_id, {", ".join(f"t.{name}" for name in TRANSITION_COLUMNS)}
FROM unnest($1::text[], $2::text[], $3::date[], $4::bigint[]) AS w (tenant_id, payment_id, open_month, revision)
CROSS JOIN LATERAL (
  SELECT {_TRANSITION} FROM transitions
  WHERE tenant_id = w.tenant_id AND payment_id = w.payment_id AND open_month = w.open_month AND revision > w.revision
  ORDER BY revision
  LIMIT $5
) t
ORDER BY t.payment_id, t.revision
LIMIT $6
"""  # noqa: S608 our own column names

# The number of the oldest transaction that may still commit something.
HORIZON: Final = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS horizon"

# Which payments moved in transactions from a number on, and how far.
MOVED_SINCE: Final = """
SELECT tenant_id, payment_id, max(revision) AS revision FROM transitions
WHERE tenant_id = ANY ($1::text[]) AND xid >= $2::text::xid8
GROUP BY tenant_id, payment_id
"""
