"""The SQL of everything that somebody waits for; each is one statement that commits by itself."""

from __future__ import annotations

from typing import Final

from services.status.rows import PAYMENT_COLUMNS, TRANSITION_COLUMNS

_PAYMENT: Final = ", ".join(PAYMENT_COLUMNS)
_TRANSITION: Final = ", ".join(TRANSITION_COLUMNS)

# Opens a payment at revision 1, unless its id is taken.
OPEN: Final = f"""
WITH opened AS (
  INSERT INTO payments (
    tenant_id, payment_id, open_month, revision, collection, state, settled, snapshot, payer_id, seller_ids,
    booking_ids, client_reference, quote_id, total_amount_minor, currency_code, labels, open_digest, open_time,
    update_time
  )
  VALUES ($1, $2, $3, 1, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $17)
  ON CONFLICT ON CONSTRAINT payments_pkey DO NOTHING
  RETURNING *
), history AS (
  INSERT INTO transitions (tenant_id, payment_id, open_month, revision, request_id, state, snapshot, record_time)
  SELECT tenant_id, payment_id, open_month, revision, $18, state, snapshot, open_time FROM opened
), sellers AS (
  INSERT INTO payment_sellers (tenant_id, seller_id, open_time, payment_id)
  SELECT tenant_id, unnest(seller_ids), open_time, payment_id FROM opened
), bookings AS (
  INSERT INTO payment_bookings (tenant_id, booking_id, open_time, payment_id)
  SELECT tenant_id, unnest(booking_ids), open_time, payment_id FROM opened
)
SELECT {_PAYMENT} FROM opened
"""  # noqa: S608 our own column names

# Moves a payment that stands at the expected revision and may go where it is told to; time never runs backwards.
RECORD: Final = f"""
WITH moved AS (
  UPDATE payments
  SET revision = revision + 1, collection = $4, state = $5, settled = $6, snapshot = $7,
      update_time = GREATEST(update_time, $8),
      complete_time = COALESCE(complete_time, CASE WHEN $9 THEN GREATEST(update_time, $8) END)
  WHERE tenant_id = $1 AND payment_id = $2 AND revision = $3
    AND collection = ANY (CASE WHEN total_amount_minor = 0 THEN $10::text[] ELSE $11::text[] END)
  RETURNING *
), history AS (
  INSERT INTO transitions (tenant_id, payment_id, open_month, revision, request_id, state, snapshot, record_time)
  SELECT tenant_id, payment_id, open_month, revision, $12, state, snapshot, update_time FROM moved
)
SELECT {_PAYMENT} FROM moved
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

READ: Final = f"SELECT {_PAYMENT} FROM payments WHERE tenant_id = $1 AND payment_id = $2"  # noqa: S608 our own names

READ_OPENED: Final = f"SELECT {_PAYMENT}, open_digest FROM payments WHERE tenant_id = $1 AND payment_id = $2"  # noqa: S608

# The transitions of one payment after a revision, oldest first.
HISTORY: Final = f"""
SELECT {_TRANSITION} FROM transitions
WHERE tenant_id = $1 AND payment_id = $2 AND open_month = $3 AND revision > $4
ORDER BY revision
LIMIT $5
"""  # noqa: S608 our own column names

# The newest transition of one payment, if it is after a revision.
NEWEST: Final = f"""
SELECT {_TRANSITION} FROM transitions
WHERE tenant_id = $1 AND payment_id = $2 AND open_month = $3 AND revision > $4
ORDER BY revision DESC
LIMIT 1
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
LIMIT $5
"""  # noqa: S608 our own column names
