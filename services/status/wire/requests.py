"""Requests into what the rules speak of; whatever is wrong with one is named by its field."""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection, Iterable, Mapping
from typing import Final, Protocol

from batzen.status.v1 import status_pb2
from batzen.type.v1 import money_pb2, payment_pb2
from services.errors import FieldInvalid, FieldMissing, InvalidRequest, ServiceError
from services.shared.amounts import AMOUNT_MINOR_MAX
from services.status.domain.filters import Filter
from services.status.domain.records import PAYMENT_ID, Opening
from services.status.domain.snapshot import (
    COLLECTIONS,
    Amounts,
    AmountsInconsistent,
    Attention,
    Cause,
    Method,
    PaymentError,
    Snapshot,
    State,
)
from services.status.watches.many import Add, Command, Drop, Renew

ID_CHARACTERS_MAX: Final = 128
LINKS_MAX: Final = 100
"""Sellers or bookings of one payment."""
LABELS_MAX: Final = 50
LABEL_KEY_CHARACTERS_MAX: Final = 40
LABEL_CHARACTERS_MAX: Final = 500
COMMANDS_MAX: Final = 500
"""Of one message on a WatchMany stream; with an assertion each they just fit into what a server receives at once."""
SNAPSHOT_BYTES_MAX: Final = 16 * 1024
"""History keeps every snapshot for years; a usual one has 300 bytes."""

_CURRENCY: Final = re.compile(r"[A-Z]{3}")

STATES: Final[Mapping[int, State]] = {
    payment_pb2.PaymentState.Value(f"PAYMENT_STATE_{state}"): state for state in State
}
_COLLECTIONS: Final = {number: state for number, state in STATES.items() if state in COLLECTIONS}
_CAUSES: Final[Mapping[int, Cause]] = {
    payment_pb2.PaymentSnapshot.Cause.Value(f"CAUSE_{cause}"): cause for cause in Cause
}


class _WithRequestId(Protocol):
    request_id: str


class _WithPaymentId(Protocol):
    payment_id: str


def request_id_of(request: _WithRequestId) -> str:
    """Return the request id in its canonical form."""
    if not request.request_id:
        raise FieldMissing(field="request_id")
    try:
        return str(uuid.UUID(request.request_id))
    except ValueError:
        raise FieldInvalid(field="request_id", detail="It is not a UUID.") from None


def payment_id_of(request: _WithPaymentId) -> str:
    if not request.payment_id:
        raise FieldMissing(field="payment_id")
    if not PAYMENT_ID.fullmatch(request.payment_id):
        raise FieldInvalid(field="payment_id", detail="It is not `pay_` and 26 letters and digits.")
    return request.payment_id


def opening_of(request: status_pb2.OpenPaymentRequest) -> Opening:
    if not request.HasField("total"):
        raise FieldMissing(field="total")
    _check_total(request.total)
    return Opening(
        payment_id=payment_id_of(request),
        payer_id=text(request.payer_id, field="payer_id", required=True),
        total_amount_minor=request.total.amount_minor,
        currency_code=request.total.currency_code,
        seller_ids=links(request.seller_ids, field="seller_ids"),
        booking_ids=links(request.booking_ids, field="booking_ids"),
        client_reference=text(request.client_reference, field="client_reference"),
        quote_id=text(request.quote_id, field="quote_id"),
        labels=labels_of(request.labels),
    )


def snapshot_of(request: status_pb2.RecordTransitionRequest) -> Snapshot:
    """Return the snapshot; raise AmountsInconsistent if its amounts cannot be true together."""
    if not request.HasField("snapshot"):
        raise FieldMissing(field="snapshot")
    message = request.snapshot
    if message.ByteSize() > SNAPSHOT_BYTES_MAX:
        raise FieldInvalid(field="snapshot", detail=f"It has more than {SNAPSHOT_BYTES_MAX} bytes.")
    collection = _COLLECTIONS.get(message.collection)
    if collection is None:
        raise FieldInvalid(field="snapshot.collection", detail="It is none of INITIALIZED to EXPIRED.")
    cause = _CAUSES.get(message.cause)
    if cause is None:
        raise FieldInvalid(field="snapshot.cause")
    if message.attempt < 0:
        raise FieldInvalid(field="snapshot.attempt", detail="It is negative.")
    if message.decline_count < 0:
        raise FieldInvalid(field="snapshot.decline_count", detail="It is negative.")
    amounts = _amounts(message.amounts) if message.HasField("amounts") else Amounts()
    contradiction = amounts.contradiction()
    if contradiction is not None:
        raise AmountsInconsistent(field="snapshot.amounts", detail=contradiction)
    if "\0" in _texts(message):
        raise FieldInvalid(field="snapshot", detail="A text holds a zero character, which cannot be stored.")
    return Snapshot(
        collection=collection,
        cause=cause,
        amounts=amounts,
        last_error=_error(message.last_error) if message.HasField("last_error") else None,
        attention=_attention(message.attention) if message.HasField("attention") else None,
        reason=message.reason,
        method=_method(message.method) if message.HasField("method") else None,
        attempt=message.attempt,
        decline_count=message.decline_count,
    )


def labels_of(labels: Mapping[str, str]) -> dict[str, str]:
    if len(labels) > LABELS_MAX:
        raise FieldInvalid(field="labels", detail=f"There are more than {LABELS_MAX}.")
    for key, value in labels.items():
        if not 0 < len(key) <= LABEL_KEY_CHARACTERS_MAX or "\0" in key:
            raise FieldInvalid(field="labels", detail=f"A key has 1 to {LABEL_KEY_CHARACTERS_MAX} characters.")
        if len(value) > LABEL_CHARACTERS_MAX or "\0" in value:
            raise FieldInvalid(field=f"labels[{key}]", detail=f"A label has at most {LABEL_CHARACTERS_MAX} characters.")
    return dict(labels)


def links(ids: Iterable[str], *, field: str) -> tuple[str, ...]:
    """Return ids of sellers or bookings, each once, in their order."""
    distinct = tuple(dict.fromkeys(ids))
    if len(distinct) > LINKS_MAX:
        raise FieldInvalid(field=field, detail=f"There are more than {LINKS_MAX}.")
    return tuple(text(each, field=f"{field}[{index}]", required=True) for index, each in enumerate(distinct))


def text(value: str, *, field: str, required: bool = False) -> str:
    """Return an opaque id or reference of at most `ID_CHARACTERS_MAX` characters."""
    if required and not value:
        raise FieldMissing(field=field)
    if len(value) > ID_CHARACTERS_MAX or not value.isprintable():
        raise FieldInvalid(field=field, detail=f"It has at most {ID_CHARACTERS_MAX} printable characters.")
    return value


def revision(value: int, *, field: str, at_least: int) -> int:
    if value < at_least:
        raise FieldInvalid(field=field, detail=f"It is less than {at_least}.")
    return value


def page_size(value: int, *, default: int, at_most: int) -> int:
    """Return the size of a page; 0 means the default."""
    if not 0 <= value <= at_most:
        raise FieldInvalid(field="page_size", detail=f"It is not in 0 to {at_most}.")
    return value or default


def commands_of(request: status_pb2.WatchManyRequest) -> list[Command]:
    """Return the commands; an Add that is not valid says so itself, since it closes no more than its watch."""
    if not 1 <= len(request.commands) <= COMMANDS_MAX:
        raise FieldInvalid(field="commands", detail=f"It has not 1 to {COMMANDS_MAX}.")
    return [_command(command, index) for index, command in enumerate(request.commands)]


def _command(message: status_pb2.WatchManyRequest.Command, index: int) -> Command:
    match message.WhichOneof("command"):
        case "add":
            return _add(message.add)
        case "drop":
            return Drop(payment_id=message.drop.payment_id)
        case "renew":
            return Renew(assertion=message.renew.assertion)
        case _:
            raise FieldInvalid(field=f"commands[{index}]", detail="It is no command.")


def _add(message: status_pb2.WatchManyRequest.Add) -> Add:
    after_revision = message.after_revision if message.HasField("after_revision") else None
    error: ServiceError | None = None
    try:
        payment_id_of(message)
        if after_revision is not None:
            revision(after_revision, field="after_revision", at_least=0)
    except InvalidRequest as invalid:
        error = invalid
    return Add(
        payment_id=message.payment_id,
        after_revision=after_revision,
        latest_only=message.latest_only,
        assertion=message.assertion,
        error=error,
    )


def filter_of(message: status_pb2.PaymentFilter, *, tenant_id: str, own_of: str, own_as: Collection[str]) -> Filter:
    """Return the filter, narrowed to what is `own_of`'s in one of the roles `own_as` if there are any."""
    return Filter(
        tenant_id=tenant_id,
        payer_id=text(message.payer_id, field="filter.payer_id"),
        seller_id=text(message.seller_id, field="filter.seller_id"),
        booking_id=text(message.booking_id, field="filter.booking_id"),
        client_reference=text(message.client_reference, field="filter.client_reference"),
        states=states_of(message.states),
        unsettled_only=message.unsettled_only,
        own_of=own_of if own_as else "",
        own_as=tuple(sorted(own_as)),
    )


def states_of(numbers: Iterable[int]) -> tuple[State, ...]:
    """Return the states, each once, in the order of the enum."""
    states = set()
    for index, number in enumerate(numbers):
        if number not in STATES:
            raise FieldInvalid(field=f"filter.states[{index}]", detail="It is no state of a payment.")
        states.add(STATES[number])
    return tuple(state for state in State if state in states)


def _check_total(total: money_pb2.Money) -> None:
    if not 0 <= total.amount_minor <= AMOUNT_MINOR_MAX:
        raise FieldInvalid(field="total.amount_minor", detail=f"It is not in 0 to {AMOUNT_MINOR_MAX}.")
    if not total.currency_code:
        raise FieldMissing(field="total.currency_code")
    if not _CURRENCY.fullmatch(total.currency_code):
        raise FieldInvalid(field="total.currency_code", detail="It is not three upper case letters.")


def _amounts(message: payment_pb2.PaymentSnapshot.Amounts) -> Amounts:
    return Amounts(
        authorized_minor=message.authorized_minor,
        capturable_minor=message.capturable_minor,
        captured_minor=message.captured_minor,
        refund_pending_minor=message.refund_pending_minor,
        refunded_minor=message.refunded_minor,
        disputed_open_minor=message.disputed_open_minor,
        disputed_lost_minor=message.disputed_lost_minor,
        surplus_minor=message.surplus_minor,
    )


def _error(message: payment_pb2.PaymentError) -> PaymentError:
    return PaymentError(
        code=message.code,
        decline_code=message.decline_code,
        message=message.message,
        recoverable=message.recoverable,
    )


def _attention(message: payment_pb2.PaymentSnapshot.Attention) -> Attention:
    return Attention(reason=message.reason, detail=message.detail)


def _method(message: payment_pb2.PaymentSnapshot.Method) -> Method:
    return Method(
        payment_method_id=message.payment_method_id,
        type=message.type,
        brand=message.brand,
        last4=message.last4,
        expire_month=message.expire_month,
        expire_year=message.expire_year,
    )


def _texts(message: payment_pb2.PaymentSnapshot) -> str:
    error, attention, method = message.last_error, message.attention, message.method
    return "".join(
        (
            message.reason,
            error.code,
            error.decline_code,
            error.message,
            attention.reason,
            attention.detail,
            method.payment_method_id,
            method.type,
            method.brand,
            method.last4,
        )
    )
