"""Facts as rows: what a statement that books them is given, and how it inserts them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from services.gateway.ledger.domain import Fact

_COLUMNS: Final = """fact, place, payment_id, account, seller_id, country, currency_code, amount_minor, vat_minor,
        stripe_id, actor_id, corrects"""
_GIVEN: Final = ", ".join(f"e.{column.strip()}" for column in _COLUMNS.split(","))
_TYPES: Final = """fact text, place integer, payment_id text, account text, seller_id text, country text,
        currency_code text, amount_minor bigint, vat_minor bigint, stripe_id text, actor_id text, corrects text,
        value_time timestamptz"""


def rows(facts: Iterable[Fact]) -> list[dict[str, object]]:
    """Return what `inserting` inserts, as JSON."""
    return [
        {
            "fact": fact.fact,
            "place": number,
            "payment_id": fact.payment_id,
            "account": str(one.place.account),
            "seller_id": one.place.seller_id,
            "country": one.place.country,
            "currency_code": one.place.currency_code,
            "amount_minor": one.amount_minor,
            "vat_minor": one.vat_minor,
            "stripe_id": fact.stripe_id,
            "actor_id": fact.actor_id,
            "corrects": fact.corrects,
            "value_time": fact.value_time.isoformat() if fact.value_time is not None else None,
        }
        for fact in facts
        for number, one in enumerate(fact.entries, start=1)
    ]


def inserting(*, tenant: str, entries: str, shift: str, when: str = "") -> str:
    """Return a statement, or a part of one, that books `rows`; each argument is an expression of that statement.

    `when` names rows of the statement beside which it books, such as `held`: nothing is booked where there are none.
    A fact that is booked already violates the primary key, unless the statement goes on with what is to be done then.
    """
    beside = f"{when}, " if when else ""
    return f"""
    INSERT INTO ledger_entries (tenant_id, {_COLUMNS}, record_time, value_time)
    SELECT {tenant}, {_GIVEN}, now() + {shift}, coalesce(e.value_time, now() + {shift})
    FROM {beside}jsonb_to_recordset({entries}) AS e ({_TYPES})"""  # noqa: S608 our own column names


APPEND: Final = (
    inserting(tenant="$1", entries="$2::jsonb", shift="$3::interval")
    + " ON CONFLICT ON CONSTRAINT ledger_entries_pkey DO NOTHING RETURNING fact"
)
"""Books what is not booked yet. Of a fact all or nothing is: one of which a part was there comes to no zero."""
