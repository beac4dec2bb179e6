-- expand
-- The price book: every revision of every entry, and one number per tenant that grows with each change.
CREATE TABLE price_books (
    tenant_id text   NOT NULL,
    revision  bigint NOT NULL,
    CONSTRAINT price_books_pkey PRIMARY KEY (tenant_id)
);

COMMENT ON TABLE price_books IS 'Locked by whoever changes the book; no row: nobody has, and the book is what came with the service.';

CREATE TABLE price_book_entries (
    tenant_id     text        NOT NULL,
    kind          text        NOT NULL,
    entry_id      text        NOT NULL,
    revision      bigint      NOT NULL,
    book_revision bigint      NOT NULL,
    entry         bytea       NOT NULL,
    actor         text        NOT NULL,
    change_reason text        NOT NULL,
    create_time   timestamptz NOT NULL,
    CONSTRAINT price_book_entries_pkey PRIMARY KEY (tenant_id, kind, entry_id, revision),
    CONSTRAINT price_book_entries_book_key UNIQUE (tenant_id, book_revision),
    CONSTRAINT price_book_entries_kind CHECK (kind IN ('TAX_RATE', 'FEE_PLAN', 'DISCOUNT'))
);

COMMENT ON COLUMN price_book_entries.entry IS 'The TaxRate, FeePlan or Discount of the contract, without what is output only.';
COMMENT ON COLUMN price_book_entries.book_revision IS 'The revision of the whole book that this change made.';

REVOKE UPDATE, DELETE ON price_book_entries FROM :runtime_role;

-- What was answered to a request that changes something, so that a repeat gets the same.
CREATE TABLE requests (
    tenant_id   text        NOT NULL,
    caller      text        NOT NULL,
    method      text        NOT NULL,
    request_id  uuid        NOT NULL,
    request_hash bytea       NOT NULL,
    answer      bytea       NOT NULL,
    create_time timestamptz NOT NULL,
    CONSTRAINT requests_pkey PRIMARY KEY (tenant_id, caller, method, request_id)
);

-- Requests are kept for 90 days; this finds the older ones.
CREATE INDEX requests_create_time ON requests (create_time);
