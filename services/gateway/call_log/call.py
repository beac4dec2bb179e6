"""One call to Stripe that changes something, as it is written down. Pure.

What Stripe knows a call by is made here: its key, of the operation, the call's id and how often it was begun anew.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Generic, Self, TypeVar

from services.shared.codec import Json
from services.shared.refusals import Refusal

IDEMPOTENCY_KEY_TTL: Final = timedelta(hours=23)
"""Stripe may forget an idempotency key after 24 h; a call older than this is looked up, never repeated."""
CALL_NAMESPACE: Final = uuid.UUID("5a1c6b0e-9f43-4d27-8a86-2f6f7d0c1b95")
"""Of the ids of calls. Never changes: Stripe knows calls by them."""

P = TypeVar("P")


class CallState(StrEnum):
    """How far a call has come."""

    ACCEPTED = "ACCEPTED"
    """Written down, and not sent."""
    STARTED = "STARTED"
    """It may have been sent."""
    UNKNOWN = "UNKNOWN"
    """It may have been sent, and Stripe did not say what came of it."""
    DISCARDED = "WITHDRAWN"
    """It certainly had no effect. Whoever repeats the request takes it up again."""
    ANSWERED = "ANSWERED"
    REFUSED = "REFUSED"


OPEN: Final = frozenset({CallState.STARTED, CallState.UNKNOWN})
"""What has no answer, and may have had an effect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """What every operation's parameters have."""

    send_before_time: datetime | None = None
    """When it is too late for Stripe to hear of the call for a first time; None if it never is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[P]):
    """One call, from before it is made until it is answered; P are its parameters, JSON as they are stored."""

    tenant_id: str
    call_id: uuid.UUID
    operation: str
    request_id: uuid.UUID
    request_hash: bytes
    subject_id: str
    params: P
    """What is sent, once it is STARTED; sent again exactly so."""
    state: CallState = CallState.ACCEPTED
    answer: Mapping[str, str] | None = None
    """What is kept of Stripe's answer: ids and states, never a secret."""
    refusal: Refusal | None = None
    tries: int = 0
    due_time: datetime | None = None
    create_time: datetime
    generation: int = 0
    """How often it was begun anew, each time under another key."""
    key_time: datetime | None = None
    """When the call was first sent under the key of this generation, or, before that, when the key was made; None for
    one that was never sent under its first."""
    send_time: datetime | None = None
    """When it was sent last under the key of this generation, as far as Stripe may still be at work on it: a try that
    certainly had no effect does not count. None for one that was never sent under it."""

    @property
    def key(self) -> str:
        """The idempotency key: of what was asked, and of how often it was begun anew. The same, whoever makes it."""
        key = f"{self.operation}:{self.call_id}"
        return f"{key}:{self.generation}" if self.generation else key

    def key_ends(self, now: datetime) -> bool:
        """Whether Stripe may have forgotten the key."""
        return now - (self.key_time or self.create_time) >= IDEMPOTENCY_KEY_TTL

    def with_new_key(self, now: datetime) -> Self:
        """Return the call under another key: what was sent under this one certainly had no effect."""
        return replace(self, generation=self.generation + 1, key_time=now, send_time=None)

    def with_params(self, params: Q) -> Call[Q]:
        """Return the call with other parameters, or with the same in another form."""
        values = {field.name: getattr(self, field.name) for field in fields(self)} | {"params": params}
        return Call(**values)


Q = TypeVar("Q")
StoredCall = Call[Json]


def call_id_of(tenant_id: str, operation: str, request_id: uuid.UUID) -> uuid.UUID:
    """Return the id of a call: of the request alone, so that one whose row was lost is made by the same key again."""
    return uuid.uuid5(CALL_NAMESPACE, f"{tenant_id}/{operation}/{request_id}")
