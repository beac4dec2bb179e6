-- expand
-- Payments as they stand, their history, and where to find them by seller and booking.
--
-- No foreign keys: rows of one payment are written by one statement, nothing here is ever deleted by the runtime role but
-- booking links, and a check per transition would cost as much as the transition.

CREATE TABLE payments (
  tenant_id text NOT NULL,
  payment_id text NOT NULL,
  open_month date NOT NULL,
  revision bigint NOT NULL,
  collection text NOT NULL,
  state text NOT NULL,
  settled boolean NOT NULL,
  snapshot jsonb NOT NULL,
  payer_id text NOT NULL,
  seller_ids text[] NOT NULL,
  booking_ids text[] NOT NULL,
  client_reference text NOT NULL,
  quote_id text NOT NULL,
  total_amount_minor bigint NOT NULL,
  currency_code text NOT NULL,
  labels jsonb NOT NULL,
  open_digest bytea NOT NULL,
  open_time timestamptz NOT NULL,
  update_time timestamptz NOT NULL,
  complete_time timestamptz,
  needs_attention boolean NOT NULL GENERATED ALWAYS AS (snapshot ? 'attentions') STORED,
  CONSTRAINT payments_pkey PRIMARY KEY (tenant_id, payment_id),
  CONSTRAINT payments_revision_check CHECK (revision >= 1),
  CONSTRAINT payments_total_check CHECK (total_amount_minor >= 0)
) WITH (fillfactor = 70);  -- room on the page for the next version of a row

-- Lists are walked newest first. A transition changes no column of these indexes but `settled` and `needs_attention`, and
-- those rarely, so that moving a payment touches none of them.
CREATE INDEX payments_by_time ON payments (tenant_id, open_time, payment_id);
CREATE INDEX payments_by_payer ON payments (tenant_id, payer_id, open_time, payment_id);
CREATE INDEX payments_by_reference ON payments (tenant_id, client_reference, open_time, payment_id)
  WHERE client_reference <> '';
CREATE INDEX payments_unsettled ON payments (tenant_id, open_time, payment_id) WHERE NOT settled;
CREATE INDEX payments_needing_attention ON payments (tenant_id, open_time, payment_id) WHERE needs_attention;

CREATE TABLE payment_sellers (
  tenant_id text NOT NULL,
  seller_id text NOT NULL,
  open_time timestamptz NOT NULL,
  payment_id text NOT NULL,
  CONSTRAINT payment_sellers_pkey PRIMARY KEY (tenant_id, seller_id, open_time, payment_id)
);

CREATE TABLE payment_bookings (
  tenant_id text NOT NULL,
  booking_id text NOT NULL,
  open_time timestamptz NOT NULL,
  payment_id text NOT NULL,
  CONSTRAINT payment_bookings_pkey PRIMARY KEY (tenant_id, booking_id, open_time, payment_id)
);

-- History in partitions by the month a payment was opened in, which is in every key, so that old months can be taken out
-- whole; and an order of all history for feeds: `xid` tells a feed what may still commit late.
--
-- No index says that a request id writes one transition of a payment: the statement that moves a payment looks through the
-- payment's own history, of about ten rows, under the revision it expects (`storage/statements.py`).
--
-- What has no partition of its own yet, or none any more, goes into `transitions_other`: a month that nobody prepared, and
-- late moves of payments whose history was taken out. `python -m services.status maintain` makes and takes out months.
CREATE TABLE transitions (
  tenant_id text NOT NULL,
  payment_id text NOT NULL,
  open_month date NOT NULL,
  revision bigint NOT NULL,
  request_id uuid NOT NULL,
  state text NOT NULL,
  snapshot jsonb NOT NULL,
  record_time timestamptz NOT NULL,
  xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  CONSTRAINT transitions_pkey PRIMARY KEY (tenant_id, payment_id, open_month, revision)
) PARTITION BY RANGE (open_month);

-- The order of the feed is (xid, payment, revision). The transitions of one transaction are few, so that sorting them is
-- cheaper than keeping all of it in an index.
CREATE INDEX transitions_by_xid ON transitions (tenant_id, xid);

-- Its constraints have names of their own, as those of the months do.
CREATE TABLE transitions_other (
  LIKE transitions INCLUDING DEFAULTS,
  CONSTRAINT transitions_other_pkey PRIMARY KEY (tenant_id, payment_id, open_month, revision)
);
ALTER TABLE transitions ATTACH PARTITION transitions_other DEFAULT;

-- How far history was taken out: no feed of the tenant goes on from before a transaction that was among it.
CREATE TABLE compactions (
  tenant_id text NOT NULL,
  open_month date NOT NULL,
  last_xid xid8 NOT NULL,
  compact_time timestamptz NOT NULL,
  CONSTRAINT compactions_pkey PRIMARY KEY (tenant_id, open_month)
);

-- History is never changed and nothing is forgotten by a serving process.
REVOKE UPDATE, DELETE, TRUNCATE ON transitions FROM :runtime_role;
REVOKE DELETE, TRUNCATE ON payments FROM :runtime_role;
REVOKE UPDATE, DELETE, TRUNCATE ON payment_sellers FROM :runtime_role;
REVOKE ALL ON transitions_other FROM :runtime_role;
REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON compactions FROM :runtime_role;
