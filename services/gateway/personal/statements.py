"""The statements on keys, each with its name. What they mean is said where `keys` runs them."""

from __future__ import annotations

from typing import Final

FIND_OR_MAKE: Final = """
WITH live AS (
    SELECT generation, wrapped_key FROM personal_keys
    WHERE tenant_id = $1 AND holder = $2 AND destroy_time IS NULL),
made AS (
    INSERT INTO personal_keys (tenant_id, holder, generation, wrapped_key, wrapping_key_id, create_time)
    SELECT $1, $2, 1 + coalesce((SELECT max(k.generation) FROM personal_keys k
        WHERE k.tenant_id = $1 AND k.holder = $2), 0), $3, $4, $5
    WHERE NOT EXISTS (SELECT FROM live)
    ON CONFLICT DO NOTHING
    RETURNING generation, wrapped_key)
SELECT generation, wrapped_key, false AS is_made FROM live
UNION ALL
SELECT generation, wrapped_key, true FROM made"""

READ: Final = """
SELECT wrapped_key FROM personal_keys WHERE tenant_id = $1 AND holder = $2 AND generation = $3"""

WRAPPED_BY_OTHERS: Final = """
SELECT tenant_id, holder, generation, wrapped_key FROM personal_keys
WHERE destroy_time IS NULL AND (wrapping_key_id < $1 OR wrapping_key_id > $1)
LIMIT $2"""

REWRAP: Final = """
UPDATE personal_keys k SET wrapped_key = anew.wrapped, wrapping_key_id = $6
FROM unnest($1::text[], $2::text[], $3::integer[], $4::bytea[], $5::bytea[])
    AS anew (tenant_id, holder, generation, was, wrapped)
WHERE k.tenant_id = anew.tenant_id AND k.holder = anew.holder AND k.generation = anew.generation
    AND k.wrapped_key = anew.was"""
"""One that was destroyed meanwhile stays so."""

DESTROY_DAYS: Final = """
UPDATE personal_keys k SET wrapped_key = NULL, destroy_time = $2, destroy_actor_id = 'retention'
WHERE k.destroy_time IS NULL AND k.holder >= 'day/' AND k.holder < $1
    AND NOT EXISTS (SELECT FROM events e
        WHERE e.receive_time < $3 AND e.tenant_id = k.tenant_id AND e.holder = k.holder)
RETURNING k.tenant_id, k.holder"""
"""Events that nobody has worked on, or decided about, are kept, and so is the key of their day."""
