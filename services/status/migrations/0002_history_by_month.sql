-- expand
-- History in partitions by the month a payment was opened in, so that old months can be taken out whole; and an order of
-- all history for feeds.
--
-- What has no partition of its own yet, or none any more, goes into `transitions_other`: a month that nobody prepared, and
-- late moves of payments whose history was taken out. `python -m services.status maintain` makes and takes out months.

ALTER TABLE transitions RENAME TO transitions_other;
ALTER TABLE transitions_other RENAME CONSTRAINT transitions_pkey TO transitions_other_pkey;
ALTER TABLE transitions_other RENAME CONSTRAINT transitions_request_key TO transitions_other_request_key;

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
  CONSTRAINT transitions_pkey PRIMARY KEY (tenant_id, payment_id, open_month, revision),
  CONSTRAINT transitions_request_key UNIQUE (tenant_id, payment_id, open_month, request_id)
) PARTITION BY RANGE (open_month);

-- The order of the feed is (xid, payment, revision). The transitions of one transaction are few, so that sorting them is
-- cheaper than keeping all of it in an index.
CREATE INDEX transitions_by_xid ON transitions (tenant_id, xid);

ALTER TABLE transitions ATTACH PARTITION transitions_other DEFAULT;

-- How far history was taken out: no feed of the tenant goes on from before a transaction that was among it.
CREATE TABLE compactions (
  tenant_id text NOT NULL,
  open_month date NOT NULL,
  last_xid xid8 NOT NULL,
  compact_time timestamptz NOT NULL,
  CONSTRAINT compactions_pkey PRIMARY KEY (tenant_id, open_month)
);

REVOKE UPDATE, DELETE, TRUNCATE ON transitions FROM :runtime_role;
REVOKE ALL ON transitions_other FROM :runtime_role;
REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON compactions FROM :runtime_role;
