"""The statements about uses, each with a sentence. `uses` says in which order they run and under which lock."""

from __future__ import annotations

from typing import Final

# Makes sure that there is a counter to lock.
OPEN_COUNTER: Final = """
INSERT INTO discount_counters (tenant_id, discount_id, held_count, redeemed_count) VALUES ($1, $2, 0, 0)
ON CONFLICT DO NOTHING
"""

# Waits for the counter and keeps it until the transaction ends.
LOCK_COUNTER: Final = """
SELECT FROM discount_counters WHERE tenant_id = $1 AND discount_id = $2 FOR UPDATE
"""

# Gives back what expired quotes hold.
EXPIRE: Final = """
WITH expired AS (
    UPDATE discount_uses SET state = 'EXPIRED'
    WHERE tenant_id = $1 AND discount_id = $2 AND state = 'HELD' AND expire_time <= $3
    RETURNING 1)
UPDATE discount_counters SET held_count = held_count - (SELECT count(*) FROM expired)
WHERE tenant_id = $1 AND discount_id = $2 AND EXISTS (SELECT FROM expired)
"""

# Counts uses that are held by quotes that stand, or redeemed; no row: none ever was.
TAKEN: Final = """
SELECT held_count + redeemed_count - (
    SELECT count(*) FROM discount_uses u
    WHERE u.tenant_id = $1 AND u.discount_id = $2 AND u.state = 'HELD' AND u.expire_time <= $3)
FROM discount_counters WHERE tenant_id = $1 AND discount_id = $2
"""

# Counts the same for one payer.
TAKEN_BY_PAYER: Final = """
SELECT count(*) FROM discount_uses
WHERE tenant_id = $1 AND discount_id = $2 AND payer_id = $3
    AND state IN ('HELD', 'REDEEMED') AND (state = 'REDEEMED' OR expire_time > $4)
"""

# Takes a use for a quote.
HOLD: Final = """
INSERT INTO discount_uses
    (tenant_id, discount_id, quote_id, payer_id, uses_max, uses_per_payer_max, state, expire_time)
VALUES ($1, $2, $3, $4, $5, $6, 'HELD', $7)
"""

# Keeps the counter in step with the uses.
COUNT: Final = """
UPDATE discount_counters SET held_count = held_count + $3, redeemed_count = redeemed_count + $4
WHERE tenant_id = $1 AND discount_id = $2
"""

# Names the discounts of which a quote took a use, in the order in which they are locked.
USES_OF_QUOTE: Final = """
SELECT discount_id FROM discount_uses WHERE tenant_id = $1 AND quote_id = $2 ORDER BY discount_id COLLATE "C"
"""

# Moves a use, and tells where it was.
SET_STATE: Final = """
UPDATE discount_uses u SET state = $4
FROM discount_uses before
WHERE u.tenant_id = $1 AND u.discount_id = $2 AND u.quote_id = $3
    AND before.tenant_id = $1 AND before.discount_id = $2 AND before.quote_id = $3
RETURNING before.state
"""

# Tells whether the discount of a use is over one of the limits it had when the use was taken.
OVER_LIMIT: Final = """
SELECT coalesce(c.held_count + c.redeemed_count > u.uses_max, false)
    OR coalesce((
        SELECT count(*) FROM discount_uses p
        WHERE p.tenant_id = $1 AND p.discount_id = $2 AND p.payer_id = u.payer_id AND p.state IN ('HELD', 'REDEEMED')
    ) > u.uses_per_payer_max, false)
FROM discount_uses u JOIN discount_counters c USING (tenant_id, discount_id)
WHERE u.tenant_id = $1 AND u.discount_id = $2 AND u.quote_id = $3
"""

# Counts what each discount has held and redeemed.
COUNTS: Final = """
SELECT c.discount_id, c.held_count - (
    SELECT count(*) FROM discount_uses u
    WHERE u.tenant_id = c.tenant_id AND u.discount_id = c.discount_id AND u.state = 'HELD' AND u.expire_time <= $3
), c.redeemed_count
FROM discount_counters c WHERE c.tenant_id = $1 AND c.discount_id = ANY($2::text[])
"""

# Makes sure that there is an outcome to lock.
OPEN_OUTCOME: Final = """
INSERT INTO quote_outcomes (tenant_id, quote_id, state, over_limit) VALUES ($1, $2, 'OPEN', false)
ON CONFLICT DO NOTHING
"""

# Waits for the outcome and keeps it until the transaction ends.
LOCK_OUTCOME: Final = """
SELECT state, over_limit FROM quote_outcomes WHERE tenant_id = $1 AND quote_id = $2 FOR UPDATE
"""

# Says what has become of a quote.
OUTCOME: Final = """
SELECT state, over_limit FROM quote_outcomes WHERE tenant_id = $1 AND quote_id = $2
"""

# Writes down what has become of it.
KEEP_OUTCOME: Final = """
UPDATE quote_outcomes SET state = $3, over_limit = $4 WHERE tenant_id = $1 AND quote_id = $2
"""
