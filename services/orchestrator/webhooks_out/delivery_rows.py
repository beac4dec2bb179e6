"""Rows of deliveries and of their tries, to and from values."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta

import asyncpg

from services.orchestrator.webhooks_out.domain import Delivery, DeliveryState, Try
from services.orchestrator.webhooks_out.sending import Attempt
from services.shared.cards import without_card_numbers
from services.shared.text import without_addresses

Now = Callable[[], datetime]


def try_of(attempt: Attempt, *, time: datetime) -> Try:
    """Return what is kept of a try: of the answer nothing that looks like a card's number or an address."""
    return Try(
        time=time,
        outcome=attempt.outcome,
        status=attempt.status,
        duration=attempt.duration,
        answer=without_addresses(without_card_numbers(attempt.answer)),
        problem=without_addresses(without_card_numbers(attempt.problem)),
    )


def try_to_json(one: Try) -> str:
    """Return a try as a row keeps it."""
    duration_us = one.duration // timedelta(microseconds=1)
    return json.dumps([one.time.isoformat(), one.outcome, one.status, duration_us, one.answer, one.problem])


def tries_of(text: str) -> tuple[Try, ...]:
    """Return the tries of a row."""
    return tuple(
        Try(
            time=datetime.fromisoformat(time),
            outcome=outcome,
            status=status,
            duration=timedelta(microseconds=duration_us),
            answer=answer,
            problem=problem,
        )
        for time, outcome, status, duration_us, answer, problem in json.loads(text)
    )


def delivery_of(row: asyncpg.Record) -> Delivery:
    """Return the delivery of a row."""
    return Delivery(
        delivery_id=row["delivery_id"],
        subscription_id=row["subscription_id"],
        subject=row["subject"],
        kind=row["kind"],
        payment_id=row["payment_id"],
        revision=row["revision"],
        fact_id=row["fact_id"],
        body=row["body"],
        state=DeliveryState(row["state"]),
        create_time=row["create_time"],
        begin_time=row["begin_time"],
        next_time=row["next_time"],
        end_time=row["end_time"],
        try_count=row["try_count"],
        tries=tries_of(row["tries"]),
    )
