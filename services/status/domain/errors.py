"""Why status refuses. Each class is one `ErrorReason` of batzen.status.v1."""

from __future__ import annotations

from services.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    InvalidRequest,
    NotFound,
    OutOfRange,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)


class PaymentNotFound(NotFound):
    """There is no such payment."""

    reason = "PAYMENT_NOT_FOUND"


class AssertionInvalid(Unauthenticated):
    """The watch carries no valid assertion of its person."""


class PaymentExists(AlreadyExists):
    """This payment_id was opened with other content; make a new one."""

    reason = "PAYMENT_EXISTS"


class RevisionConflict(Aborted):
    """The payment is not at the expected revision; read it, then decide again."""

    reason = "REVISION_CONFLICT"


class TransitionIllegal(FailedPrecondition):
    """The payment cannot move there from where it stands."""

    reason = "TRANSITION_ILLEGAL"


class AmountsInconsistent(InvalidRequest):
    """The snapshot's amounts cannot be true together."""

    reason = "AMOUNTS_INCONSISTENT"


class RevisionAhead(OutOfRange):
    """The payment has not come to this revision yet; resume after one that you have seen."""

    reason = "REVISION_AHEAD"


class RevisionCompacted(OutOfRange):
    """History after this revision is not kept any more; begin with the payment as it stands."""

    reason = "REVISION_COMPACTED"


class PageTokenInvalid(InvalidRequest):
    """The page token is not one of ours, or belongs to another filter; begin with the first page."""

    reason = "PAGE_TOKEN_INVALID"


class CursorInvalid(InvalidRequest):
    """The cursor is not one of ours, or is ahead of the history; begin with a list and its cursor."""

    reason = "CURSOR_INVALID"


class CursorCompacted(OutOfRange):
    """History after the cursor is not kept any more; begin with a list and its cursor."""

    reason = "CURSOR_COMPACTED"


class TooManyWatches(ResourceExhausted):
    """There are as many watches as there may be; drop one first, or use another stream."""

    reason = "TOO_MANY_WATCHES"


class WatchOverflow(Unavailable):
    """The reader was too slow for this watch; resume it."""

    reason = "WATCH_OVERFLOW"


class StreamTooOld(Unavailable):
    """The stream reached its age; resume it on another."""

    reason = "STREAM_TOO_OLD"
