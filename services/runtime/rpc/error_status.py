"""What a caller gets when a call fails: one answer for every exception. And what a peer's failure means.

A `ServiceError` says itself what it is. A peer's failure that a caller may retry is passed on as such. Anything else is
a bug: the caller learns that there was one, and nothing about it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc import aio
from grpc_status import rpc_status

from services.errors import PeerUnavailable, ServiceError
from services.shared.refusals import Refusal

DOMAIN: Final = "batzen"
"""`ErrorInfo.domain` of every reason in this suite."""
DETAILS_KEY: Final = "grpc-status-details-bin"
TEXT_CHARACTERS_MAX: Final = 512
"""Of the message and of each metadata value: the answer must fit the 8 KiB a client takes as metadata."""

_PEER_AWAY: Final = frozenset(
    {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.RESOURCE_EXHAUSTED}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The end of a failed call."""

    code: grpc.StatusCode
    message: str
    reason: str | None = None
    details: bytes | None = None
    """A serialised google.rpc.Status, for the trailing metadata."""
    was_retried: bool = False
    is_bug: bool = False


BUG: Final = Answer(code=grpc.StatusCode.INTERNAL, message="internal error", is_bug=True)
OUT_OF_TIME: Final = Answer(
    code=grpc.StatusCode.DEADLINE_EXCEEDED, message="Time ran out before there was an answer; the outcome is not known."
)


def answer_to(error: Exception) -> Answer:
    """Return what the caller gets for `error`."""
    if isinstance(error, ServiceError):
        return _from_service_error(error)
    if isinstance(error, TimeoutError):
        return OUT_OF_TIME
    if isinstance(error, aio.AioRpcError):
        if error.code() in _PEER_AWAY:
            return _from_service_error(PeerUnavailable())
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            return OUT_OF_TIME
    return BUG


def _from_service_error(error: ServiceError) -> Answer:
    reason = getattr(error, "reason", None)
    if reason is None or not hasattr(error, "status"):  # a branch of the tree was raised instead of a leaf
        return BUG
    message = error.message[:TEXT_CHARACTERS_MAX]
    metadata = {key: value[:TEXT_CHARACTERS_MAX] for key, value in error.metadata.items()}
    details = [_packed(error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata=metadata))]
    if error.field is not None:
        sentence = str(error)[:TEXT_CHARACTERS_MAX]
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=sentence, reason=reason)
        details.append(_packed(error_details_pb2.BadRequest(field_violations=[violation])))
    if error.retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromTimedelta(error.retry_after)
        details.append(_packed(error_details_pb2.RetryInfo(retry_delay=delay)))
    status = status_pb2.Status(code=code_pb2.Code.Value(error.status), message=message, details=details)
    return Answer(
        code=grpc.StatusCode[error.status],
        message=message,
        reason=reason,
        details=status.SerializeToString(),
        was_retried=error.was_retried,
    )


def refusal_of(error: aio.AioRpcError) -> Refusal:
    """Return the refusal in a peer's failure; without a reason it came from elsewhere than a service of the suite."""
    reason, metadata, field, message = "", {}, None, error.details() or ""
    try:
        status = rpc_status.from_call(error)  # type: ignore[arg-type]  # an aio error has what a call has
    except ValueError:  # details that contradict the status: something between us and the server rewrote one of them
        status = None
    for detail in status.details if status is not None else ():
        info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        if detail.Unpack(info):
            reason, metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(request) and request.field_violations:
            field = request.field_violations[0].field
            message = request.field_violations[0].description  # without the field, which may get another name here
    return Refusal(status=error.code().name, reason=reason, message=message, field=field, metadata=metadata)


def _packed(
    detail: error_details_pb2.ErrorInfo | error_details_pb2.BadRequest | error_details_pb2.RetryInfo,
) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed
