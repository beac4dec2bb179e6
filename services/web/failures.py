"""What a refused call is to a person and to a program: HTTP status, code, a sentence in their language, what may help.

Pages, both forms of REST and streams answer with it. The code is the reason of the service that refused, never another
word for it; what the front itself refuses has a code of its own (`Refusal`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Final

import grpc

from batzen.errors import LASTING, BatzenError, FieldViolation
from services.errors import ServiceError
from services.web.texts import Texts

TEXTS: Final = Texts(Path(__file__).parent / "failure_texts")
RETRY_AFTER: Final = timedelta(seconds=1)
"""For what may be gone the next time, where nobody says when."""

STATUS: Final[Mapping[grpc.StatusCode, int]] = MappingProxyType(
    {
        grpc.StatusCode.INVALID_ARGUMENT: 400,
        grpc.StatusCode.OUT_OF_RANGE: 400,
        grpc.StatusCode.UNAUTHENTICATED: 401,
        grpc.StatusCode.PERMISSION_DENIED: 403,
        grpc.StatusCode.NOT_FOUND: 404,
        grpc.StatusCode.ALREADY_EXISTS: 409,
        grpc.StatusCode.FAILED_PRECONDITION: 409,
        grpc.StatusCode.ABORTED: 409,
        grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
        grpc.StatusCode.UNIMPLEMENTED: 501,
        grpc.StatusCode.UNAVAILABLE: 503,
        grpc.StatusCode.CANCELLED: 503,
        grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    }
)
"""The HTTP status of a status code; any other is 500."""

DECLINE_LIMITS: Final[Mapping[str, str]] = MappingProxyType(
    {"TOO_MANY_DECLINES": "declines", "HOSTED_CHECKOUT_REQUIRED": "form_declines"}
)
"""Reasons of the orchestrator by which cards are not tried out; the second leads on to the hosted page."""
MENDABLE: Final = frozenset(
    {
        "ATTEMPT_OPEN", "FIELD_INVALID", "FIELD_MISSING", "FORM_UNKNOWN", "HOSTED_CHECKOUT_REQUIRED", "LOGIN_REQUIRED",
        "METHOD_REFUSED", "PAYMENT_METHOD_NOT_FOUND", "PRICE_CHANGED", "REFUNDABLE_CHANGED",
        "REFUND_EXCEEDS_REFUNDABLE", "STARTS_PAUSED", "SUBMIT_EXPIRED", "TIMING_CHANGED", "UNAUTHENTICATED",
    }
)  # fmt: skip
"""Refusals that last for the same request, and after which a person may try again: otherwise, or later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why something was not done."""

    status: int
    """Of HTTP."""
    code: str
    """For programs, UPPER_SNAKE_CASE, stable."""
    message: str
    """For the person, in their language."""
    field: str | None
    """The path of the first field that is wrong."""
    recoverable: bool
    """Whether the person may try again."""
    retryable: bool
    """Whether the very same request may meet another answer."""
    retry_after: int | None
    """In seconds, where the same request is worth a try."""
    correlation_id: str
    """Under which the logs tell about it."""
    explanation: str = ""
    """The sentence of who refused, in English: for programmers and operators."""
    violations: tuple[FieldViolation, ...] = ()
    metadata: Mapping[str, str] = dataclass_field(default_factory=dict)
    """What the reason's comment in its contract names, such as `state`."""
    limit: str = ""
    """Whose limit it went beyond, for who counts; empty where that is not why."""


class Refusal(Exception):
    """The front refuses by itself: what a request is, not what a payment allows."""

    def __init__(
        self,
        status: int,
        code: str,
        *,
        field: str | None = None,
        explanation: str = "",
        retry_after: timedelta | None = None,
        metadata: Mapping[str, str] = MappingProxyType({}),
        limit: str = "",
    ) -> None:
        """`code` is a key of the catalogue; with `retry_after` the same request may be sent again then. `limit` says
        whose limit the request went beyond.
        """
        super().__init__(f"{code}: {explanation}")
        self.status = status
        self.code = code
        self.field = field
        self.explanation = explanation
        self.retry_after = retry_after
        self.metadata = metadata
        self.limit = limit


def failure_of(error: Exception, language: str, *, correlation_id: str = "") -> Failure:
    """Return what an error is to who asked. One that is neither a refusal nor a service's is a fault of ours."""
    match error:
        case BatzenError():
            return _of_service(error, language, correlation_id)
        case Refusal():
            return _of_front(error, language, correlation_id)
        case ServiceError():  # the front's own database, or its keys, are away
            status = STATUS.get(grpc.StatusCode[error.status], 500)
            retry_after = (error.retry_after or RETRY_AFTER) if status == 503 else None
            own = Refusal(status, error.reason, field=error.field, explanation=str(error), retry_after=retry_after)
            return _of_front(own, language, correlation_id)
        case _:
            return Failure(
                status=500,
                code="INTERNAL",
                message=_message("INTERNAL", 500, language, None),
                field=None,
                recoverable=False,
                retryable=False,
                retry_after=None,
                correlation_id=correlation_id,
            )


def _of_service(error: BatzenError, language: str, correlation_id: str) -> Failure:
    status = STATUS.get(error.code, 500)
    code = error.reason or error.code.name
    # INTERNAL is a fault: the same request may well meet it again, and nobody is told to try.
    is_retryable = not isinstance(error, LASTING) and status != 500
    wait = _seconds(error.retry_after or RETRY_AFTER) if is_retryable else None
    return Failure(
        status=status,
        code=code,
        message=_message(code, status, language, wait),
        field=error.violations[0].field if error.violations else None,
        recoverable=is_retryable or code in MENDABLE,
        retryable=is_retryable,
        retry_after=wait,
        correlation_id=error.correlation_id or correlation_id,
        explanation=error.message,
        violations=error.violations,
        metadata=error.metadata,
        limit=DECLINE_LIMITS.get(code, "services" if status == 429 else ""),
    )


def _of_front(error: Refusal, language: str, correlation_id: str) -> Failure:
    wait = None if error.retry_after is None else _seconds(error.retry_after)
    return Failure(
        status=error.status,
        code=error.code,
        message=_message(error.code, error.status, language, wait),
        field=error.field,
        recoverable=wait is not None or error.code in MENDABLE,
        retryable=wait is not None,
        retry_after=wait,
        correlation_id=correlation_id,
        explanation=error.explanation,
        metadata=error.metadata,
        limit=error.limit,
    )


def _message(code: str, status: int, language: str, wait: int | None) -> str:
    minutes = str(max(1, math.ceil((wait or 0) / 60)))
    for key in (f"code.{code}", f"status.{status}"):
        if TEXTS.has(key):
            return TEXTS.say(language, key, minutes=minutes)
    return TEXTS.say(language, "status.500")


def _seconds(wait: timedelta) -> int:
    return max(1, math.ceil(wait.total_seconds()))
