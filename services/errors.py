"""The error tree: every failure a caller of the suite can act on. Imports nothing.

    ServiceError
    ├── InvalidRequest        INVALID_ARGUMENT     the request is wrong whatever the state; names the field
    ├── Unauthenticated       UNAUTHENTICATED      no token, or not a good one
    ├── PermissionDenied      PERMISSION_DENIED    this caller may never do that
    ├── NotFound              NOT_FOUND            there is none, or it is another's
    ├── AlreadyExists         ALREADY_EXISTS       the id was used for something else
    ├── FailedPrecondition    FAILED_PRECONDITION  the state forbids it; read, then decide
    ├── OutOfRange            OUT_OF_RANGE         asked beyond what is kept
    ├── Aborted               ABORTED              lost a race; read, then try again
    ├── ResourceExhausted     RESOURCE_EXHAUSTED   over a limit; slow down
    └── Unavailable           UNAVAILABLE          a dependency is away; try the same again

A class is one reason. Its docstring is the message a caller reads: what is wrong, then what to do, without internals.
What varies goes into `metadata`, under keys that are never removed. Whatever else is raised is a bug and reaches the
caller as an opaque INTERNAL. Each service keeps its own classes with its rules, in `domain/errors.py` (the gateway in
`errors.py`, for all its resources); here stand those that any server of the suite may answer with.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import ClassVar


class ServiceError(Exception):
    """An expected failure; the docstring of the class is the message a caller reads."""

    status: ClassVar[str]
    """Name of a google.rpc.Code."""
    reason: ClassVar[str]
    """UPPER_SNAKE_CASE, stable for ever, one of the package's `ErrorReason` values without its prefix."""
    retry_after: timedelta | None = None
    """How long a caller should wait before it tries again; travels as `RetryInfo`."""
    limit: ClassVar[str] = ""
    """What the field has to be, said by every error of the class; names of metadata stand in braces."""
    is_of_field: ClassVar[bool] = False
    """What the field has to be (`limit`, or `detail`) is all there is to say: it stands in the docstring's place."""
    was_retried: ClassVar[bool] = False
    """Whether we tried again ourselves before we gave up: then our caller's channel does not do the same once more."""

    def __init__(self, *, field: str | None = None, detail: str | None = None, **metadata: object) -> None:
        """Name the `field` at fault by its path in the request (`lines[2].quantity`), and what is wrong with it."""
        said = detail or self._limit(metadata)
        super().__init__(said if said and self.is_of_field else f"{self.__doc__} {said}".rstrip())
        self.field = field
        self.detail = detail
        self.metadata = {key: str(value) for key, value in metadata.items()}

    def _limit(self, metadata: Mapping[str, object]) -> str:
        try:
            return self.limit.format_map(metadata)
        except KeyError:  # whoever refused, a peer of an earlier release too, did not say how much it is
            return ""

    @property
    def message(self) -> str:
        """What a caller reads: the sentence, behind the path of the field that it is about."""
        return f"`{self.field}`: {self}" if self.field else str(self)


class InvalidRequest(ServiceError):
    """The request is not valid."""

    status = "INVALID_ARGUMENT"


class Unauthenticated(ServiceError):
    """The call carries no valid bearer token."""

    status = "UNAUTHENTICATED"
    reason = "UNAUTHENTICATED"


class ProofTooOld(ServiceError):
    """It is too long ago that the operator proved who they are: they log in once more, and send the same call again."""

    status = "UNAUTHENTICATED"
    reason = "PROOF_TOO_OLD"


class PermissionDenied(ServiceError):
    """The caller's role does not allow this method."""

    status = "PERMISSION_DENIED"
    reason = "PERMISSION_DENIED"


class NotFound(ServiceError):
    """There is no such thing."""

    status = "NOT_FOUND"


class AlreadyExists(ServiceError):
    """The id is taken."""

    status = "ALREADY_EXISTS"


class FailedPrecondition(ServiceError):
    """The state does not allow it."""

    status = "FAILED_PRECONDITION"


class OutOfRange(ServiceError):
    """Asked beyond what is kept."""

    status = "OUT_OF_RANGE"


class Aborted(ServiceError):
    """Lost a race; read again, then decide."""

    status = "ABORTED"


class ResourceExhausted(ServiceError):
    """A limit is reached; slow down."""

    status = "RESOURCE_EXHAUSTED"


class Unavailable(ServiceError):
    """The service is not available; try the same call again."""

    status = "UNAVAILABLE"


# What any server of the suite may answer with.


class FieldInvalid(InvalidRequest):
    """A field of the request has a value it may not have."""

    reason = "FIELD_INVALID"
    is_of_field = True

    def __init__(self, *, field: str, detail: str, **metadata: object) -> None:
        """`detail` says what the field has to be, with its limit: `must be at most 100`."""
        super().__init__(field=field, detail=detail, **metadata)


class FieldMissing(InvalidRequest):
    """A field the request must carry is missing."""

    reason = "FIELD_MISSING"
    limit = "must be given"
    is_of_field = True


class CardNumberRefused(InvalidRequest):
    """A text holds what looks like a card number; card data must not come here."""

    reason = "CARD_NUMBER_REFUSED"


class RequestMalformed(InvalidRequest):
    """The request is not a message of this method's type."""

    reason = "REQUEST_MALFORMED"


class NotImplementedYet(ServiceError):
    """This method is announced and not offered yet."""

    status = "UNIMPLEMENTED"
    reason = "NOT_IMPLEMENTED"


class DeadlineMissing(InvalidRequest):
    """The call carries no deadline; every unary call needs one."""

    reason = "DEADLINE_MISSING"


class DeadlineTooLong(InvalidRequest):
    """The call's deadline is further away than the server allows."""

    reason = "DEADLINE_TOO_LONG"
    limit = "It may be {max_s} s away."


class RequestIdReused(AlreadyExists):
    """This request_id was used with another body; make a new one."""

    reason = "REQUEST_ID_REUSED"


class RequestInProgress(Aborted):
    """What is asked for is under way, begun by this call or by another; send the same call again."""

    reason = "REQUEST_IN_PROGRESS"
    retry_after = timedelta(milliseconds=200)


class TooManyStreams(ResourceExhausted):
    """This caller has as many open streams as it may have; close one first."""

    reason = "TOO_MANY_STREAMS"
    limit = "There may be {max}."
    retry_after = timedelta(seconds=1)


class TooManyCalls(ResourceExhausted):
    """This caller has as many calls under way as it may have, or calls too often; send the same call again later."""

    reason = "TOO_MANY_CALLS"
    retry_after = timedelta(seconds=1)


class DependencyUnavailable(Unavailable):
    """Something this service depends on is away; send the same call again."""

    reason = "DEPENDENCY_UNAVAILABLE"
    retry_after = timedelta(milliseconds=500)


class PeerUnavailable(DependencyUnavailable):
    """A service behind this one is away; send the same call again."""

    was_retried = True


class ShuttingDown(Unavailable):
    """This server is going away; go on with another."""

    reason = "SHUTTING_DOWN"
