"""Dead letters in the contract: what is asked for, read; what was found, written."""

from __future__ import annotations

from datetime import UTC
from typing import Final

from batzen.gateway.v1 import ops_pb2
from services.errors import FieldInvalid, FieldMissing
from services.gateway.dead_letters.listing import Listed
from services.gateway.dead_letters.replays import REPLAYED_AT_ONCE_MAX, Choice, Replay
from services.gateway.wire.responses import timestamp
from services.runtime.work.dead_letters import EVERY, Filter, Try
from services.shared import fields

KINDS: Final = {
    "events": ops_pb2.DeadLetter.KIND_WEBHOOK_EVENT,
    "deliveries": ops_pb2.DeadLetter.KIND_DELIVERY,
    "calls": ops_pb2.DeadLetter.KIND_UNSETTLED_CALL,
    "notices": ops_pb2.DeadLetter.KIND_NOTICE,
}
"""Kind of due work → its name in the contract."""
SUBJECT_TYPES_MAX: Final = 50
"""Types that a filter names: more than there are."""
TEXT_CHARACTERS_MAX: Final = 200
"""Of a text that a filter looks for."""


def listing_filter(request: ops_pb2.ListDeadLettersRequest) -> Filter:
    """Return which dead letters to list."""
    return _filter(request.filter) if request.HasField("filter") else EVERY


def choice(request: ops_pb2.ReplayDeadLettersRequest) -> Choice:
    """Return which dead letters to try again: those that are named, or those of a filter."""
    ids = list(request.dead_letter_ids)
    if request.HasField("filter"):
        if ids:
            raise FieldInvalid(field="filter", detail="must not be set beside ids: either of the two")
        if not 0 <= request.limit <= REPLAYED_AT_ONCE_MAX:
            raise FieldInvalid(field="limit", detail=f"must be 1 to {REPLAYED_AT_ONCE_MAX}, or 0 for the most")
        return Choice(filter=_filter(request.filter), limit=request.limit or REPLAYED_AT_ONCE_MAX)
    if request.limit:
        raise FieldInvalid(field="limit", detail="must not be set beside ids: it limits what a filter finds")
    if not ids:
        raise FieldMissing(field="dead_letter_ids")
    if len(ids) > REPLAYED_AT_ONCE_MAX or len(set(ids)) != len(ids):
        raise FieldInvalid(field="dead_letter_ids", detail=f"must be each once, at most {REPLAYED_AT_ONCE_MAX}")
    return Choice(dead_letter_ids=ids)


def _filter(filter: ops_pb2.DeadLetterFilter) -> Filter:
    names = {number: name for name, number in KINDS.items()}
    for place, kind in enumerate(filter.kinds):
        if kind not in names:
            raise FieldInvalid(
                field=f"filter.kinds[{place}]", detail=fields.one_of(ops_pb2.DeadLetter.Kind.items(), names)
            )
    if len(filter.subject_types) > SUBJECT_TYPES_MAX:
        raise FieldInvalid(field="filter.subject_types", detail=f"must be at most {SUBJECT_TYPES_MAX}")
    about = tuple(
        fields.text(value, field=f"filter.subject_types[{place}]", characters_max=TEXT_CHARACTERS_MAX)
        for place, value in enumerate(filter.subject_types)
    )
    before = None
    if filter.HasField("hold_before_time"):
        try:
            before = filter.hold_before_time.ToDatetime(UTC)
        except (ValueError, OverflowError):
            raise FieldInvalid(
                field="filter.hold_before_time", detail="must be an instant of the years 1 to 9999"
            ) from None
    return Filter(
        kinds=tuple(sorted({names[kind] for kind in filter.kinds})),
        about=about,
        dead_before=before,
        problem=fields.text(filter.error, field="filter.error", characters_max=TEXT_CHARACTERS_MAX),
    )


def dead_letter(listed: Listed) -> ops_pb2.DeadLetter:
    """Return the message of a dead letter."""
    letter = listed.letter
    return ops_pb2.DeadLetter(
        dead_letter_id=letter.dead_letter_id,
        kind=KINDS.get(letter.kind, ops_pb2.DeadLetter.KIND_UNSPECIFIED),
        payment_id=listed.payment_id,
        subject_id=listed.subject_id,
        subject_type=letter.about,
        attempt_count=letter.failures,
        last_error=letter.problem,
        hold_time=timestamp(letter.dead_time),
        tries=[_try(one) for one in letter.tries],
        payloads=[
            ops_pb2.DeadLetter.Payload(
                subject_id=one.subject_id,
                subject_type=one.subject_type,
                receive_time=timestamp(one.receive_time),
                body=one.body,
            )
            for one in listed.payloads
        ],
        payloads_left_out_count=listed.left_out,
    )


def _try(one: Try) -> ops_pb2.DeadLetter.Try:
    error_class, _, error = one.problem.partition(": ")
    return ops_pb2.DeadLetter.Try(try_time=timestamp(one.time), error_class=error_class, error=error)


def replay_response(replay: Replay) -> ops_pb2.ReplayDeadLettersResponse:
    """Return the message of what came of a replay."""
    return ops_pb2.ReplayDeadLettersResponse(
        outcomes=[
            ops_pb2.ReplayDeadLettersResponse.Outcome(
                dead_letter_id=one.dead_letter_id, succeeded=not one.problem, error=one.problem
            )
            for one in replay.outcomes
        ],
        more_waiting=replay.more_waiting,
    )
