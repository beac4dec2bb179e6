-- expand
-- Append-only: the runtime role may add and read, nothing else.
CREATE TABLE history (
  booking_id text NOT NULL,
  revision bigint NOT NULL,
  facts jsonb NOT NULL,
  PRIMARY KEY (booking_id, revision)
);
REVOKE UPDATE, DELETE ON history FROM :runtime_role;
