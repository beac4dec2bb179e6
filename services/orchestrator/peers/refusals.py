"""What a peer's failure means: refused for good, away for now, or one revision further than we knew."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Mapping
from typing import Final, TypeVar

import grpc
from grpc import aio

from services.errors import DependencyUnavailable, PeerUnavailable, ServiceError
from services.orchestrator.domain.errors import SellerNotFound, SellerNotPayable
from services.runtime.rpc.error_status import refusal_of
from services.shared.refusals import Refusal

DEFINITE: Final = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.UNIMPLEMENTED,
}
"""A call that ended so will end so again."""
MISROUTED: Final = frozenset({"TENANT_NOT_SERVED", "NOT_IMPLEMENTED", "REQUEST_MALFORMED", "INTENT_NOT_FOUND"})
"""Reasons of a peer that is the wrong one, of another release, or lost what it knew: a mistake of the deployment, or a
database that was put back. It says nothing of what was asked, nor of earlier tries. An intent is read only where the
gateway made one."""
PASSING: Final = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.CANCELLED,
}
"""What goes by itself. Anything else that is not definite is a mistake of a deployment, or of ours."""

REQUEST_EXPIRED: Final = "REQUEST_EXPIRED"
"""The gateway's refusal of what was too old to be sent to Stripe when it would have been; it never will be."""
STRIPE_REFUSED: Final = "STRIPE_REFUSED"
"""The gateway's refusal of what Stripe refused for good; metadata `code` and `param` are Stripe's."""
ATTEMPT_OPEN: Final = "ATTEMPT_OPEN"
"""The gateway's refusal of an attempt while an earlier one may still take money."""
REQUEST_ID_REUSED: Final = "REQUEST_ID_REUSED"
"""A peer's refusal of what was asked for in other words before, under the same id."""
OF_SELLER: Final[Mapping[str, type[ServiceError]]] = {
    SellerNotFound.reason: SellerNotFound,
    SellerNotPayable.reason: SellerNotPayable,
}
"""The gateway's refusals of a charge for a seller who cannot be paid."""
METHOD_FIELDS: Final = frozenset({"payment_method_id", "confirmation_token_id"})
METHOD_PARAMS: Final = frozenset({"payment_method", "confirmation_token", "payment_method_data", "source"})
METHOD_CODES: Final = (
    "payment_method_",
    "confirmation_token_",
    "card_",
    "expired_card",
    "incorrect_",
    "invalid_expiry",
)
"""By these fields of ours, and parameters and beginnings of codes of Stripe's, it is the method that is refused. Any
other refusal is no fault of the payer's, and another method would not help."""
PAYMENT_METHOD_NOT_FOUND: Final = "PAYMENT_METHOD_NOT_FOUND"
"""The gateway's refusal of a method that another payer keeps, or that is gone."""
INTENT_STATE: Final = "INTENT_STATE"
"""The gateway's refusal of what an intent does not allow as it stands."""
PAYMENT_EXISTS: Final = "PAYMENT_EXISTS"
"""Status's refusal of a payment that was opened with other content."""
REVISION_CONFLICT: Final = "REVISION_CONFLICT"
"""Status's refusal of a transition that is not the payment's next."""

Answer = TypeVar("Answer")
_logger = logging.getLogger(__name__)


class RevisionMoved(DependencyUnavailable):
    """The payment is not at the revision we expected; the same call may be sent with the current one."""

    def __init__(self, current_revision: int) -> None:
        super().__init__(dependency="status")
        self.current_revision = current_revision


async def answered(call: Awaitable[Answer], peer: str) -> Answer:
    """Return a peer's answer. Raises `Refusal` for good, `DependencyUnavailable` for now."""
    try:
        return await call
    except aio.AioRpcError as error:
        refusal = refusal_of(error)
        # Without a reason it is not from a service of ours.
        if error.code() in DEFINITE and refusal.reason and refusal.reason not in MISROUTED:
            raise refusal from error
        if refusal.reason == REVISION_CONFLICT:
            raise RevisionMoved(int(refusal.metadata["current_revision"])) from error
        # What should never come from a peer is not concluded from either: the work is tried again, and seen in the log.
        level = logging.WARNING if error.code() in PASSING else logging.ERROR
        _logger.log(level, "%s answered %s: %s", peer, error.code().name, error.details())
        raise PeerUnavailable(dependency=peer) from error


def of_the_seller(refusal: Refusal) -> ServiceError | None:
    """Return why a charge is refused for one of its sellers, as a start says it; None if that is not the reason."""
    kind = OF_SELLER.get(refusal.reason)
    return None if kind is None else kind(field="lines", **refusal.metadata)


def is_of_the_method(refusal: Refusal) -> bool:
    """Whether another method may be taken where this one was refused."""
    if refusal.reason == PAYMENT_METHOD_NOT_FOUND:
        return True
    if refusal.reason != STRIPE_REFUSED:
        return refusal.status == "INVALID_ARGUMENT" and refusal.field in METHOD_FIELDS
    param = refusal.metadata.get("param", "").partition("[")[0]
    return param in METHOD_PARAMS or refusal.metadata.get("code", "").startswith(METHOD_CODES)
