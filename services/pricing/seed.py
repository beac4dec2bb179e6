"""Reads the data that comes with the service: the currencies, and the price book every tenant starts with.

The files say where each fact was read. A file that is wrong stops the process at its start, not a request later.
"""

from __future__ import annotations

import tomllib
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any, Final

from batzen.pricing.v1 import price_book_pb2
from services.pricing.domain.currency import Currency
from services.pricing.wire.entries import Entry, EntryKind, tax_rate_id

DATA = Path(__file__).parent / "data"
ACTOR: Final = "seed"
"""The actor of each entry that came with the service."""


def load_currencies() -> dict[str, Currency]:
    """Return each currency by its ISO 4217 code."""
    table = _read("currencies.toml")
    steps = {code: step["minor"] for step in table["step"] for code in step["codes"].split()}
    return {
        code: Currency(digits=int(digits), step_minor=steps.get(code, 1))
        for digits, codes in table["minor_units"].items()
        for code in codes.split()
    }


def load_entries() -> tuple[Entry, ...]:
    """Return the tax rates and fee plans that every tenant starts with, as revision 1 of each."""
    rates = [
        price_book_pb2.TaxRate(
            country=rate["country"],
            tax_category=rate["tax_category"],
            effective_from=rate["effective_from"].isoformat(),
            rate_percent=rate["rate_percent"],
            source=rate["source"],
        )
        for rate in _read("tax_rates.toml")["rate"]
    ]
    read_dates = [rate["read_date"] for rate in _read("tax_rates.toml")["rate"]]
    plans = _read("fee_plans.toml")
    return (
        *(
            _entry(EntryKind.TAX_RATE, tax_rate_id(rate), rate.SerializeToString(deterministic=True), since=since)
            for rate, since in zip(rates, read_dates, strict=True)
        ),
        *(
            _entry(EntryKind.FEE_PLAN, plan["fee_plan_id"], _fee_plan(plan), since=plans["since"])
            for plan in plans["plan"]
        ),
    )


def _fee_plan(plan: dict[str, Any]) -> bytes:
    message = price_book_pb2.FeePlan(
        fee_plan_id=plan["fee_plan_id"],
        basis=f"FEE_BASIS_{plan['basis']}",
        percent=plan["percent"],
    )
    message.effective_from.FromDatetime(plan["effective_from"])
    return message.SerializeToString(deterministic=True)


def _entry(kind: EntryKind, entry_id: str, message: bytes, *, since: date) -> Entry:
    return Entry(
        kind=kind,
        entry_id=entry_id,
        revision=1,
        book_revision=0,
        message=message,
        actor=ACTOR,
        change_reason="Came with the service.",
        create_time=datetime.combine(since, time(), UTC),
    )


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((DATA / name).read_text(encoding="utf-8"))
