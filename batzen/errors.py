"""What a refused call raises: one class per reason, one per status code, and what the server answered.

    BatzenError
    ├── by code     NotFound, FailedPrecondition, Unavailable, …    what may be done about it
    └── by reason   by_reason["PAYMENT_STATE"], …                   what exactly was wrong

An error that is raised is both: `PAYMENT_NOT_FOUND` is a `NotFound` and a `by_reason["PAYMENT_NOT_FOUND"]`. The reasons
are those of the `ErrorReason` enums of the contracts; a reason that is newer than this package is still there as text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from types import MappingProxyType
from typing import ClassVar, Final, cast

import grpc
from google.protobuf.any_pb2 import Any
from google.rpc import error_details_pb2
from grpc import aio
from grpc_status import rpc_status

from batzen.gateway.v1 import errors_pb2 as gateway_errors_pb2
from batzen.orchestrator.v1 import errors_pb2 as orchestrator_errors_pb2
from batzen.pricing.v1 import errors_pb2 as pricing_errors_pb2
from batzen.status.v1 import errors_pb2 as status_errors_pb2

CORRELATION_KEY: Final = "x-correlation-id"
"""Metadata that comes back with every answer: the id under which the suite's logs tell about the call."""
_REASON_PREFIX: Final = "ERROR_REASON_"


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldViolation:
    """One field of the request that is wrong."""

    field: str
    """Its path, such as `lines[2].quantity`."""
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refusal:
    """What came back instead of an answer."""

    code: grpc.StatusCode
    message: str
    reason: str
    metadata: Mapping[str, str]
    violations: tuple[FieldViolation, ...]
    retry_after: timedelta | None
    correlation_id: str | None


class BatzenError(Exception):
    """A call of the suite failed."""

    status: ClassVar[grpc.StatusCode | None] = None

    def __init__(self, refusal: _Refusal) -> None:
        super().__init__(f"{refusal.reason or refusal.code.name}: {refusal.message}")
        self._refusal = refusal
        self.code = refusal.code
        self.reason = refusal.reason
        """UPPER_SNAKE_CASE; empty when the failure came from elsewhere than a service of the suite."""
        self.message = refusal.message
        """A sentence for people; never for programs."""
        self.metadata = refusal.metadata
        """What the reason's comment in the contract names, such as `state`."""
        self.violations = refusal.violations
        self.retry_after = refusal.retry_after
        """How long to wait before the same call is worth a try; None where none is named."""
        self.correlation_id = refusal.correlation_id
        """What to name when asking about this failure; None when no server was reached."""

    def again(self) -> BatzenError:
        """Return the same error as another object, for another place to raise it."""
        return type(self)(self._refusal)


class InvalidArgument(BatzenError):
    """The request is wrong whatever the state; `violations` name the fields."""

    status = grpc.StatusCode.INVALID_ARGUMENT


class Unauthenticated(BatzenError):
    """The call carried no token, or not a good one."""

    status = grpc.StatusCode.UNAUTHENTICATED


class PermissionDenied(BatzenError):
    """This caller may never do that."""

    status = grpc.StatusCode.PERMISSION_DENIED


class NotFound(BatzenError):
    """There is none, or it is another's."""

    status = grpc.StatusCode.NOT_FOUND


class AlreadyExists(BatzenError):
    """The id was used for something else."""

    status = grpc.StatusCode.ALREADY_EXISTS


class FailedPrecondition(BatzenError):
    """The state forbids it; read, then decide."""

    status = grpc.StatusCode.FAILED_PRECONDITION


class OutOfRange(BatzenError):
    """Asked beyond what is kept."""

    status = grpc.StatusCode.OUT_OF_RANGE


class Aborted(BatzenError):
    """Lost a race; send the same call again, or read and decide anew."""

    status = grpc.StatusCode.ABORTED


class ResourceExhausted(BatzenError):
    """Over a limit; slow down."""

    status = grpc.StatusCode.RESOURCE_EXHAUSTED


class Unavailable(BatzenError):
    """Not reachable, or something behind it is not; send the same call again, with the same `request_id`."""

    status = grpc.StatusCode.UNAVAILABLE


class DeadlineExceeded(BatzenError):
    """Time ran out and the outcome is not known; send the same call again, with the same `request_id`."""

    status = grpc.StatusCode.DEADLINE_EXCEEDED


class Cancelled(BatzenError):
    """The call was not picked up, or was canceled."""

    status = grpc.StatusCode.CANCELLED


class Unimplemented(BatzenError):
    """Announced in the contract and not offered by this server."""

    status = grpc.StatusCode.UNIMPLEMENTED


class Internal(BatzenError):
    """A bug of the suite's; report it with its `correlation_id`."""

    status = grpc.StatusCode.INTERNAL


by_code: Final[Mapping[grpc.StatusCode, type[BatzenError]]] = MappingProxyType(
    {kind.status: kind for kind in BatzenError.__subclasses__() if kind.status is not None}
)
"""The class of a status code. UNKNOWN and DATA_LOSS, which no server of the suite answers, are plain `BatzenError`."""


def _class_of_reason(reason: str) -> type[BatzenError]:
    name = reason.title().replace("_", "")
    return type(name, (BatzenError,), {"__doc__": f"Refused with the reason {reason}.", "__module__": __name__})


by_reason: Final[Mapping[str, type[BatzenError]]] = MappingProxyType(
    {
        reason: _class_of_reason(reason)
        for reason in sorted(
            {
                value.name.removeprefix(_REASON_PREFIX)
                for package in (
                    gateway_errors_pb2, orchestrator_errors_pb2, pricing_errors_pb2, status_errors_pb2,
                )
                for value in package.ErrorReason.DESCRIPTOR.values
                if value.number != 0
            }
        )
    }
)  # fmt: skip
"""The class of a reason, for `except errors.by_reason["PAYMENT_STATE"]`. KeyError for what no contract names."""


LASTING: Final = (
    InvalidArgument, Unauthenticated, PermissionDenied, NotFound, AlreadyExists, FailedPrecondition, OutOfRange,
    Unimplemented,
)  # fmt: skip
"""What the same call would meet again. Any other failure of a call that reads may be gone the next time."""


def from_rpc_error(error: aio.AioRpcError) -> BatzenError:
    """Return what a failed call means, as the class of both its code and its reason."""
    refusal = _read(error)
    return _kind(refusal.code, refusal.reason)(refusal)


def refused(
    code: grpc.StatusCode, *, reason: str = "", message: str, metadata: Mapping[str, str] = MappingProxyType({})
) -> BatzenError:
    """Return the error of a refusal that came otherwise than as the end of a call, such as the end of one watch."""
    refusal = _Refusal(
        code=code,
        message=message,
        reason=reason,
        metadata=MappingProxyType(dict(metadata)),
        violations=(),
        retry_after=None,
        correlation_id=None,
    )
    return _kind(code, reason)(refusal)


@cache
def _kind(code: grpc.StatusCode, reason: str) -> type[BatzenError]:
    bases = [kind for kind in (by_reason.get(reason), by_code.get(code)) if kind is not None]
    if len(bases) < 2:
        return bases[0] if bases else BatzenError
    return type(bases[0].__name__, tuple(bases), {"__doc__": bases[0].__doc__, "__module__": __name__})


def _read(error: aio.AioRpcError) -> _Refusal:
    info = error_details_pb2.ErrorInfo()
    request = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    for detail in _details(error):
        for known in (info, request, retry):
            detail.Unpack(known)  # leaves it as it is when the detail is another
    correlation_id = next((value for key, value in error.trailing_metadata() or () if key == CORRELATION_KEY), None)
    return _Refusal(
        code=error.code(),
        message=error.details() or "The call failed without a word.",
        reason=info.reason,
        metadata=MappingProxyType(dict(info.metadata)),
        violations=tuple(
            FieldViolation(field=violation.field, description=violation.description)
            for violation in request.field_violations
        ),
        retry_after=retry.retry_delay.ToTimedelta() if retry.HasField("retry_delay") else None,
        correlation_id=correlation_id.decode() if isinstance(correlation_id, bytes) else correlation_id,
    )


def _details(error: aio.AioRpcError) -> tuple[Any, ...]:
    try:
        status = rpc_status.from_call(cast("grpc.Call", error))
    except ValueError:  # details that contradict the status: something between us and the server rewrote one of them
        return ()
    return () if status is None else tuple(status.details)
