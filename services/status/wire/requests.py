"""Requests into what the rules speak of; whatever is wrong with one is named by its field."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Final, Protocol

from batzen.status.v1 import status_pb2
from batzen.type.v1 import payment_pb2
from services import wire
from services.errors import FieldInvalid, FieldMissing, InvalidRequest, RequestIdReused, ServiceError
from services.shared import fields
from services.shared.amounts import AMOUNT_MINOR_MAX
from services.shared.states import Cause, State
from services.status.domain.commands import Add, Command, Drop, Renew
from services.status.domain.errors import AmountsInconsistent
from services.status.domain.filters import Filter
from services.status.domain.moves import refuse_illegal
from services.status.domain.records import FirstTransition, Opening
from services.status.domain.snapshot import COLLECTIONS, Snapshot

LINKS_MAX: Final = 100
"""Sellers or bookings of one payment."""
COMMANDS_MAX: Final = 500
"""Of one message on a WatchMany stream; with an assertion each they just fit into what a server receives at once."""
ATTENTION_REASONS_MAX: Final = 20
"""Of one filter: there are about as many."""
SNAPSHOT_BYTES_MAX: Final = 16 * 1024
"""History keeps every snapshot for years; a usual one has 300 bytes."""

STATES: Final[Mapping[int, State]] = {
    payment_pb2.PaymentState.Value(f"PAYMENT_STATE_{state}"): state for state in State
}
_COLLECTIONS: Final = {number: state for number, state in STATES.items() if state in COLLECTIONS}
_CAUSES: Final[Mapping[int, Cause]] = {
    payment_pb2.PaymentSnapshot.Cause.Value(f"CAUSE_{cause}"): cause for cause in Cause
}


class _WithRequestId(Protocol):
    request_id: str


def request_id_of(request: _WithRequestId) -> str:
    """Return the request id in its canonical form."""
    return str(fields.request_id(request.request_id))


def opening_of(request: status_pb2.OpenPaymentRequest) -> Opening:
    total = fields.money(request.total, field="total", least_minor=0, is_set=request.HasField("total"))
    return Opening(
        payment_id=fields.payment_id(request.payment_id),
        payer_id=fields.reference(request.payer_id, field="payer_id", required=True),
        total_amount_minor=total.amount_minor,
        currency_code=total.currency_code,
        seller_ids=links(request.seller_ids, field="seller_ids"),
        booking_ids=links(request.booking_ids, field="booking_ids"),
        client_reference=fields.reference(request.client_reference, field="client_reference"),
        quote_id=fields.reference(request.quote_id, field="quote_id"),
        labels=fields.labels(request.labels),
    )


def first_transition_of(request: status_pb2.OpenPaymentRequest) -> FirstTransition:
    """Return the transition that goes with the opening; raise what speaks against it on a payment at revision 1."""
    with within("first_transition"):
        first = FirstTransition(
            request_id=request_id_of(request.first_transition), snapshot=snapshot_of(request.first_transition)
        )
        if first.request_id == request_id_of(request):
            raise RequestIdReused(field="request_id")
        refuse_illegal(State.INITIALIZED, first.snapshot, total_is_zero=request.total.amount_minor == 0)
    return first


@contextmanager
def within(field: str) -> Iterator[None]:
    """Name the fields of errors that are raised inside below a field."""
    try:
        yield
    except ServiceError as error:
        if error.field is not None:
            error.field = f"{field}.{error.field}"
        raise


def snapshot_of(
    request: status_pb2.RecordTransitionRequest | status_pb2.FirstTransition | status_pb2.ImportedPayment.Revision,
) -> Snapshot:
    """Return the snapshot; raise AmountsInconsistent if its amounts cannot be true together."""
    if not request.HasField("snapshot"):
        raise FieldMissing(field="snapshot")
    message = request.snapshot
    if message.ByteSize() > SNAPSHOT_BYTES_MAX:
        raise FieldInvalid(field="snapshot", detail=f"must have at most {SNAPSHOT_BYTES_MAX} bytes")
    collection = _COLLECTIONS.get(message.collection)
    if collection is None:
        raise FieldInvalid(field="snapshot.collection", detail="must be one of INITIALIZED to EXPIRED")
    cause = _CAUSES.get(message.cause)
    if cause is None:
        offered = fields.one_of(payment_pb2.PaymentSnapshot.Cause.items(), _CAUSES)
        raise FieldInvalid(field="snapshot.cause", detail=offered)
    if message.attempt < 0:
        raise FieldInvalid(field="snapshot.attempt", detail="must be at least 0")
    if message.decline_count < 0:
        raise FieldInvalid(field="snapshot.decline_count", detail="must be at least 0")
    if message.recovery_count < 0:
        raise FieldInvalid(field="snapshot.recovery_count", detail="must be at least 0")
    if message.HasField("total_minor") and message.total_minor <= 0:
        raise FieldInvalid(
            field="snapshot.total_minor", detail="must be above 0: a payment is priced anew to something"
        )
    amounts = wire.amounts(message)
    contradiction = amounts.contradiction()
    if contradiction is not None:
        raise AmountsInconsistent(field="snapshot.amounts", detail=contradiction)
    if "\0" in _texts(message):
        raise FieldInvalid(field="snapshot", detail="must hold no NUL character")
    return Snapshot(
        collection=collection,
        cause=cause,
        amounts=amounts,
        last_error=wire.last_error(message),
        attentions=wire.attentions(message),
        reason=message.reason,
        method=wire.method(message),
        attempt=message.attempt,
        decline_count=message.decline_count,
        charge_time=wire.instant(message, "charge_time"),
        hold_expire_time=wire.instant(message, "hold_expire_time"),
        recovery_count=message.recovery_count,
        recovered_from=message.recovered_from,
        total_minor=message.total_minor if message.HasField("total_minor") else None,
        quote_id=message.quote_id,
    )


def links(ids: Iterable[str], *, field: str) -> tuple[str, ...]:
    """Return ids of sellers or bookings, each once, in their order."""
    distinct = tuple(dict.fromkeys(ids))
    if len(distinct) > LINKS_MAX:
        raise FieldInvalid(field=field, detail=f"must be at most {LINKS_MAX}")
    return tuple(
        fields.reference(link, field=f"{field}[{index}]", required=True) for index, link in enumerate(distinct)
    )


def revision(value: int, *, field: str, at_least: int) -> int:
    if value < at_least:
        raise FieldInvalid(field=field, detail=f"must be at least {at_least}")
    return value


def commands_of(request: status_pb2.WatchManyRequest) -> list[Command]:
    """Return the commands; an Add that is not valid says so itself, since it closes no more than its watch."""
    if not 1 <= len(request.commands) <= COMMANDS_MAX:
        raise FieldInvalid(field="commands", detail=f"must be 1 to {COMMANDS_MAX}")
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
            raise FieldInvalid(field=f"commands[{index}]", detail="must be one of add, drop, renew")


def _add(message: status_pb2.WatchManyRequest.Add) -> Add:
    after_revision = message.after_revision if message.HasField("after_revision") else None
    error: ServiceError | None = None
    try:
        fields.payment_id(message.payment_id)
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
    opened_from, opened_before = _span_of(message)
    total_min_minor, total_max_minor = _total_of(message)
    return Filter(
        tenant_id=tenant_id,
        payer_id=fields.reference(message.payer_id, field="filter.payer_id"),
        seller_id=fields.reference(message.seller_id, field="filter.seller_id"),
        booking_id=fields.reference(message.booking_id, field="filter.booking_id"),
        client_reference=fields.reference(message.client_reference, field="filter.client_reference"),
        states=states_of(message.states),
        unsettled_only=message.unsettled_only,
        opened_from=opened_from,
        opened_before=opened_before,
        currency_code=fields.currency(message.currency_code, field="filter.currency_code"),
        total_min_minor=total_min_minor,
        total_max_minor=total_max_minor,
        attention_only=message.attention_only,
        attention_reasons=_attention_reasons_of(message),
        own_of=own_of if own_as else "",
        own_as=tuple(sorted(own_as)),
    )


def _span_of(message: status_pb2.PaymentFilter) -> tuple[datetime | None, datetime | None]:
    start, end = _moment(message, "open_start_time"), _moment(message, "open_end_time")
    if start is not None and end is not None and end <= start:
        raise FieldInvalid(field="filter.open_end_time", detail="must be after `open_start_time`")
    return start, end


def _moment(message: status_pb2.PaymentFilter, name: str) -> datetime | None:
    try:
        return wire.instant(message, name)
    except (ValueError, OverflowError):
        raise FieldInvalid(field=f"filter.{name}", detail="must be an instant of the years 1 to 9999") from None


def _total_of(message: status_pb2.PaymentFilter) -> tuple[int | None, int | None]:
    least = message.total_min_minor if message.HasField("total_min_minor") else None
    most = message.total_max_minor if message.HasField("total_max_minor") else None
    if least is None and most is None:
        return None, None
    if not message.currency_code:
        raise FieldMissing(field="filter.currency_code")
    for name, minor in (("total_min_minor", least), ("total_max_minor", most)):
        if minor is not None and not 0 <= minor <= AMOUNT_MINOR_MAX:
            raise FieldInvalid(field=f"filter.{name}", detail=f"must be 0 to {AMOUNT_MINOR_MAX}")
    if least is not None and most is not None and most < least:
        raise FieldInvalid(field="filter.total_max_minor", detail="must be at least `total_min_minor`")
    return least, most


def _attention_reasons_of(message: status_pb2.PaymentFilter) -> tuple[str, ...]:
    reasons = sorted(set(message.attention_reasons))
    if len(reasons) > ATTENTION_REASONS_MAX:
        raise FieldInvalid(field="filter.attention_reasons", detail=f"must be at most {ATTENTION_REASONS_MAX}")
    return tuple(
        fields.reference(reason, field=f"filter.attention_reasons[{index}]", required=True)
        for index, reason in enumerate(reasons)
    )


def states_of(numbers: Iterable[int]) -> tuple[State, ...]:
    """Return the states, each once, in the order of the enum."""
    states = set()
    for index, number in enumerate(numbers):
        if number not in STATES:
            raise FieldInvalid(
                field=f"filter.states[{index}]", detail=fields.one_of(payment_pb2.PaymentState.items(), STATES)
            )
        states.add(STATES[number])
    return tuple(state for state in State if state in states)


def _texts(message: payment_pb2.PaymentSnapshot) -> str:
    error, method = message.last_error, message.method
    return "".join(
        (
            message.reason,
            error.code,
            error.decline_code,
            error.message,
            *(text for one in (message.attention, *message.attentions) for text in (one.reason, one.detail)),
            method.payment_method_id,
            method.type,
            method.brand,
            method.last4,
        )
    )
