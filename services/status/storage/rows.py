"""How a snapshot, a payment and a transition lie in their rows."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from services.errors import DependencyUnavailable
from services.shared.payment import Amounts, Attention, Method, PaymentError, from_json, to_json
from services.shared.states import Cause, State
from services.status.domain.records import Opening, Payment, Transition
from services.status.domain.snapshot import Snapshot

_logger = logging.getLogger(__name__)

PAYMENT_COLUMNS: Final = (
    "payment_id",
    "revision",
    "snapshot",
    "payer_id",
    "seller_ids",
    "booking_ids",
    "client_reference",
    "quote_id",
    "total_amount_minor",
    "currency_code",
    "labels",
    "open_time",
    "update_time",
    "complete_time",
)
"""What `payment_from` reads."""
TRANSITION_COLUMNS: Final = ("payment_id", "revision", "snapshot", "record_time", "request_id")
"""What `transition_from` reads."""

_dumps = json.JSONEncoder(separators=(",", ":")).encode


def labels_json(labels: Mapping[str, str]) -> str:
    return _dumps(dict(labels))


def snapshot_json(snapshot: Snapshot) -> str:
    """Return a snapshot as it is stored: what has its default is left out."""
    facts: dict[str, Any] = {
        "collection": snapshot.collection,
        "cause": snapshot.cause,
        "amounts": to_json(snapshot.amounts) or None,
        "last_error": to_json(snapshot.last_error),
        "attentions": [to_json(one) for one in snapshot.attentions] or None,
        "reason": snapshot.reason or None,
        "method": to_json(snapshot.method),
        "attempt": snapshot.attempt or None,
        "decline_count": snapshot.decline_count or None,
        "charge_time": _stored(snapshot.charge_time),
        "hold_expire_time": _stored(snapshot.hold_expire_time),
        "recovery_count": snapshot.recovery_count or None,
        "recovered_from": snapshot.recovered_from or None,
        "total_minor": snapshot.total_minor,
        "quote_id": snapshot.quote_id or None,
    }
    return _dumps({name: value for name, value in facts.items() if value is not None})


class Unreadable(DependencyUnavailable):
    """This server cannot read what a newer one wrote; send the same call again."""

    def __init__(self) -> None:
        super().__init__(dependency="history")


def snapshot_from(stored: Any) -> Snapshot:
    """Return the snapshot; as asyncpg gives it, which is text, or as SQLAlchemy does, which is read already.

    Raises Unreadable, which a caller may send again: to a server that is newer.
    """
    fields: dict[str, Any] = json.loads(stored) if isinstance(stored, str) else stored
    try:
        return _snapshot(fields)
    except (KeyError, TypeError, ValueError) as error:
        _logger.error("A snapshot cannot be read: %s", error)
        raise Unreadable from error


def _snapshot(fields: dict[str, Any]) -> Snapshot:
    return Snapshot(
        collection=State(fields["collection"]),
        cause=Cause(fields["cause"]),
        amounts=Amounts(**fields.get("amounts", {})),
        last_error=from_json(PaymentError, fields.get("last_error")),
        attentions=tuple(from_json(Attention, one) for one in fields.get("attentions", ())),
        reason=fields.get("reason", ""),
        method=from_json(Method, fields.get("method")),
        attempt=fields.get("attempt", 0),
        decline_count=fields.get("decline_count", 0),
        charge_time=_instant(fields.get("charge_time")),
        hold_expire_time=_instant(fields.get("hold_expire_time")),
        recovery_count=fields.get("recovery_count", 0),
        recovered_from=fields.get("recovered_from", ""),
        total_minor=fields.get("total_minor"),
        quote_id=fields.get("quote_id", ""),
    )


def _stored(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat()


def _instant(stored: str | None) -> datetime | None:
    return None if stored is None else datetime.fromisoformat(stored)


def payment_from(row: Mapping[Any, Any], *, snapshot: Snapshot | None = None) -> Payment:
    """Return the payment of a row with `PAYMENT_COLUMNS`; `snapshot` spares reading what is known already."""
    labels = row["labels"]
    return Payment(
        opening=Opening(
            payment_id=row["payment_id"],
            payer_id=row["payer_id"],
            total_amount_minor=row["total_amount_minor"],
            currency_code=row["currency_code"],
            seller_ids=tuple(row["seller_ids"]),
            booking_ids=tuple(row["booking_ids"]),
            client_reference=row["client_reference"],
            quote_id=row["quote_id"],
            labels=json.loads(labels) if isinstance(labels, str) else labels,
        ),
        revision=row["revision"],
        snapshot=snapshot_from(row["snapshot"]) if snapshot is None else snapshot,
        open_time=row["open_time"],
        update_time=row["update_time"],
        complete_time=row["complete_time"],
    )


def transition_from(row: Mapping[Any, Any]) -> Transition:
    """Return the transition of a row with `TRANSITION_COLUMNS`."""
    return Transition(
        payment_id=row["payment_id"],
        revision=row["revision"],
        snapshot=snapshot_from(row["snapshot"]),
        record_time=row["record_time"],
        request_id=str(row["request_id"]),
    )
