-- expand
-- Quotes: immutable, written once, read back byte for byte.
CREATE TABLE quotes (
    tenant_id   text        NOT NULL,
    quote_id    text        NOT NULL,
    caller      text        NOT NULL,
    request_id  uuid        NOT NULL,
    request     bytea       NOT NULL,
    quote       bytea       NOT NULL,
    create_time timestamptz NOT NULL,
    expire_time timestamptz NOT NULL,
    book_revision bigint NOT NULL,
    excluded_discounts text[] NOT NULL,
    CONSTRAINT quotes_pkey PRIMARY KEY (tenant_id, quote_id),
    CONSTRAINT quotes_request_key UNIQUE (tenant_id, caller, request_id),
    CONSTRAINT quotes_expire_after_create CHECK (expire_time > create_time)
);

COMMENT ON COLUMN quotes.caller IS 'Subject of the token that asked; request ids of different callers never meet.';
COMMENT ON COLUMN quotes.request IS 'The CreateQuoteRequest as it was asked, from which the quote can be computed again.';
COMMENT ON COLUMN quotes.book_revision IS 'Of the price book that it was made from.';
COMMENT ON COLUMN quotes.excluded_discounts IS 'Of that book, since no use of them was left.';
COMMENT ON COLUMN quotes.quote IS 'The Quote as it was answered.';

REVOKE UPDATE, DELETE ON quotes FROM :runtime_role;
