"""Due work: a row of a table is the work, and one engine runs what is due.

A table of work has these columns beside its own:

    due_time   timestamptz,                              -- when it is to be done; null: nothing is to be done
    held_until timestamptz NOT NULL DEFAULT '-infinity', -- the lease of whoever does it; -infinity: nobody
    fence      bigint      NOT NULL DEFAULT 0,           -- goes up with each lease
    failures   integer     NOT NULL DEFAULT 0,           -- in a row
    lapses     integer     NOT NULL DEFAULT 0,           -- leases in a row that ran out, not released
    problem    text,                                     -- of the last failure
    dead_time  timestamptz,                              -- since when it waits for an operator: a dead letter
    failed_tries jsonb NOT NULL DEFAULT '[]',            -- where it may be given up: time and problem of each try
    trace_context text                                   -- of what made it due last (`call_context.origin`)

and two indexes, `(tenant_id, due_time) WHERE due_time IS NOT NULL` and `(tenant_id, dead_time) WHERE dead_time IS NOT
NULL`.

Whoever makes work due sets `due_time` in the statement that makes it true (`statements.demand`), and calls
`Engine.wake` after its commit. While a row is being worked on, its `due_time` is its `held_until`; an earlier one says
that more came meanwhile, and the row is due again once it is released. A process that dies, or loses its database, in
the middle leaves a row that is due when its lease ends. Nothing else is needed for recovery.

`kinds` says what kinds of work there are, `engine` runs them, `dead_letters` lists and replays what was given up.
"""
