"""A refusal as a value: of an earlier request, or of a service behind this one, raised again word for word."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.errors import ServiceError


class Refusal(ServiceError):
    """A refusal that was made elsewhere or earlier; it has that one's status, reason and words."""

    def __init__(
        self,
        *,
        status: str,
        reason: str,
        message: str,
        field: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Carry a refusal on."""
        Exception.__init__(self, message)
        self.status = status  # type: ignore[misc]  # each refusal brings its own
        self.reason = reason  # type: ignore[misc]
        self.field = field
        self.detail = None
        self.metadata = dict(metadata or {})

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Refusal:
        """Read what `to_json` gave."""
        return cls(**kept)


def to_json(error: ServiceError) -> dict[str, Any]:
    """Return a refusal as it is kept, to be the answer to each repeat of its request."""
    return {
        "status": error.status,
        "reason": error.reason,
        "message": str(error),
        "field": error.field,
        "metadata": error.metadata,
    }
