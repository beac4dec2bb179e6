"""Personal data in tests: what its keys are encrypted with, and where it can be read."""

from __future__ import annotations

import base64
import json
from collections.abc import Collection
from typing import Final
from urllib.parse import quote, quote_plus

import asyncpg

from services.runtime.process.followed import Followed

PERSONAL_KEYS: Final = Followed((bytes(range(32)),))
"""The same for all gateways, as they share databases."""


def forms_of(text: str) -> set[bytes]:
    """Return how a text may stand in bytes: plain, escaped for JSON, for a URL, in hex, in base64 at any place."""
    plain = text.encode()
    forms = {plain, plain.lower(), json.dumps(text)[1:-1].encode(), quote(text).encode(), quote_plus(text).encode()}
    forms |= {plain.hex().encode(), plain.hex().upper().encode(), text.encode("utf-16-le")}
    for place in range(3):
        # What its neighbours have no part in.
        coded = base64.b64encode(b"\0" * place + plain + b"\0" * (-(place + len(plain)) % 3))
        inner = coded[(place * 8 + 5) // 6 : (place + len(plain)) * 8 // 6]
        forms |= {inner, inner.replace(b"+", b"-").replace(b"/", b"_")}
    return forms


async def readable(connection: asyncpg.Connection, texts: Collection[str]) -> list[str]:
    """Return where in the tables of a database one of the texts can be read, in any form."""
    forms = {form: text for text in texts for form in forms_of(text)}
    columns = await connection.fetch(
        """SELECT c.table_name, c.column_name, c.data_type = 'bytea' AS is_bytes FROM information_schema.columns c
           JOIN information_schema.tables t USING (table_schema, table_name)
           WHERE c.table_schema = 'public' AND t.table_type = 'BASE TABLE'"""
    )
    found = []
    for table, column, is_bytes in columns:
        value = f'"{column}"' if is_bytes else f"convert_to(\"{column}\"::text, 'UTF8')"
        rows = await connection.fetch(f'SELECT {value} AS value FROM "{table}" WHERE "{column}" IS NOT NULL')
        values = b"\n".join(row["value"] for row in rows)
        found += [f"{text!r} in {table}.{column}" for form, text in forms.items() if form in values]
    return sorted(set(found))
