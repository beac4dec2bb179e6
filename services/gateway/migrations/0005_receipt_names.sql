-- expand

-- What receipts called a seller until it was put anew, with its VAT id: a receipt keeps what it was issued with. What they say now
-- stands in seller_accounts; of a time at which nothing was said there is no row.
CREATE TABLE seller_receipt_names (
    tenant_id    text        NOT NULL,
    seller_id    text        NOT NULL,
    until_time   timestamptz NOT NULL,
    receipt_name text        NOT NULL,
    vat_id       text        NOT NULL,
    CONSTRAINT seller_receipt_names_pkey PRIMARY KEY (tenant_id, seller_id, until_time)
);
REVOKE UPDATE, DELETE, TRUNCATE ON seller_receipt_names FROM :runtime_role;
