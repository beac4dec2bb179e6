-- expand
-- The ledger: double entry, only appended to. And its closings, so that a balance is not the sum of everything.

CREATE TABLE ledger_entries (
    tenant_id     text        NOT NULL,
    -- What happened, once: its kind, what it happened to, and what tells it from others of both.
    fact          text        NOT NULL CONSTRAINT ledger_entries_fact CHECK (fact <> ''),
    -- Which of the fact's entries this is, from 1.
    place         integer     NOT NULL CONSTRAINT ledger_entries_place CHECK (place > 0),
    -- Empty where it is of no payment.
    payment_id    text        NOT NULL,
    -- As in services/gateway/ledger/domain.py.
    account       text        NOT NULL,
    -- Whose account it is, of sellers' accounts; of others whose sale it is of, empty where it is of none.
    seller_id     text        NOT NULL
                  CONSTRAINT ledger_entries_seller_id CHECK (seller_id <> '' OR account NOT IN ('seller', 'seller_held')),
    -- Whose account it is, of VAT.
    country       text        NOT NULL
                  CONSTRAINT ledger_entries_country CHECK ((country <> '') = (account = 'vat_payable')),
    currency_code text        NOT NULL,
    -- Debit is above zero.
    amount_minor  bigint      NOT NULL,
    -- VAT that goes with it, below zero where it goes back, and part of no sum: on a seller's entry that in the price of what
    -- it sold, on the platform's fee that on the fee.
    vat_minor bigint     NOT NULL,
    -- What shows it at Stripe, and who decided it; empty for nothing and nobody.
    stripe_id     text        NOT NULL,
    actor_id      text        NOT NULL,
    -- The fact that it corrects; empty for none.
    corrects      text        NOT NULL,
    -- When it was booked, by the database's clock; and when it counts, by Stripe's.
    record_time   timestamptz NOT NULL,
    value_time    timestamptz NOT NULL,
    CONSTRAINT ledger_entries_pkey PRIMARY KEY (tenant_id, fact, place),
    CONSTRAINT ledger_entries_amount CHECK (amount_minor <> 0 OR vat_minor <> 0)
);

CREATE INDEX ledger_entries_payment_id ON ledger_entries (tenant_id, payment_id, record_time, fact, place)
    WHERE payment_id <> '';
CREATE INDEX ledger_entries_account ON ledger_entries (tenant_id, account, record_time, fact, place);
CREATE INDEX ledger_entries_seller_id ON ledger_entries (tenant_id, seller_id, record_time, fact, place)
    WHERE seller_id <> '';
-- What is in clearing of one object at Stripe.
CREATE INDEX ledger_entries_clearing ON ledger_entries (tenant_id, stripe_id) WHERE account = 'stripe_clearing';
CREATE INDEX ledger_entries_record_time ON ledger_entries (tenant_id, record_time, fact, place);
CREATE INDEX ledger_entries_value_time ON ledger_entries (tenant_id, value_time, fact, place);

REVOKE UPDATE, DELETE, TRUNCATE ON ledger_entries FROM :runtime_role;

-- What a fact books comes to zero in each currency, also if somebody adds an entry to it later.
CREATE FUNCTION ledger_fact_is_balanced() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM ledger_entries e WHERE e.tenant_id = NEW.tenant_id AND e.fact = NEW.fact
               GROUP BY e.currency_code HAVING sum(e.amount_minor) <> 0) THEN
        RAISE EXCEPTION 'the entries of a fact do not come to zero'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ledger_entries_balanced', TABLE = 'ledger_entries';
    END IF;
    RETURN NULL;
END $$;

CREATE CONSTRAINT TRIGGER ledger_entries_balanced AFTER INSERT OR UPDATE ON ledger_entries
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ledger_fact_is_balanced();

-- What an account came to at the end of a day, UTC, by entry date; of the accounts that moved on that day.
CREATE TABLE ledger_closings (
    tenant_id     text    NOT NULL,
    account       text    NOT NULL,
    seller_id     text    NOT NULL,
    country       text    NOT NULL,
    currency_code text    NOT NULL,
    day           date    NOT NULL,
    -- What the day's entries come to, and all until its end.
    moved_minor   bigint  NOT NULL,
    balance_minor bigint  NOT NULL,
    CONSTRAINT ledger_closings_pkey PRIMARY KEY (tenant_id, account, seller_id, country, currency_code, day)
);

REVOKE UPDATE, DELETE, TRUNCATE ON ledger_closings FROM :runtime_role;

-- Work for the engine (services/runtime/work): the next day to be closed, one row for each tenant.
CREATE TABLE ledger_days (
    tenant_id  text        NOT NULL,
    -- Always 'ledger': a row of work has a name of its own.
    name       text        NOT NULL,
    -- The first day that is not closed.
    next_day   date        NOT NULL,
    due_time   timestamptz,
    fence      bigint      NOT NULL DEFAULT 0,
    held_until timestamptz NOT NULL DEFAULT '-infinity',
    failures   integer     NOT NULL DEFAULT 0,
    lapses     integer     NOT NULL DEFAULT 0,
    problem    text,
    dead_time  timestamptz,
    trace_context text,
    CONSTRAINT ledger_days_pkey PRIMARY KEY (tenant_id, name)
);

CREATE INDEX ledger_days_due ON ledger_days (tenant_id, due_time) WHERE due_time IS NOT NULL;
CREATE INDEX ledger_days_dead ON ledger_days (tenant_id, dead_time) WHERE dead_time IS NOT NULL;
