"""What the engine asks of a kind of call, and of the subject that calls of that kind are made on.

An operation knows one call of Stripe's API: what is sent, what an answer says, how it is looked up. A subject is what
the call changes: a payment, and later a seller or a customer. It is leased, and it is saved in the statement that saves
the call.
"""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

from services.gateway.call_log.call import Call, Params, StoredCall
from services.gateway.errors import StripeRefused
from services.runtime.database.lease import Leases
from services.shared.codec import Json


class Subject(Protocol):
    """What a call is made on, as its holder knows and changes it in memory."""

    tenant_id: str
    open_calls: list[tuple[str, uuid.UUID]]
    """Operation and request of the calls that were started and have no answer, the oldest first."""

    @property
    def subject_id(self) -> str:
        """Its id."""

    @property
    def is_changed(self) -> bool:
        """Whether it differs from what was saved."""


P = TypeVar("P", bound=Params)
S = TypeVar("S", bound=Subject)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted(Generic[S]):
    """What came of writing a call down."""

    call: StoredCall | None
    """The call, if it is to be made now: it is new, or had been discarded."""
    subject: S | None
    """Its subject, if that was free and is held now."""


class SubjectStore(Protocol[S]):
    """The tables of the subjects of one kind. Raises `DependencyUnavailable` when the database is away.

    What has a body here is for subjects that calls may start on at once; others inherit it.
    """

    leases: Leases[S]

    def recent(self, tenant_id: str, subject_id: str) -> S | None:
        """Return a subject as this process saved and released it last, if it still knows, to be used with `start`."""
        return None

    async def begin(self, subject: S, *, now: datetime) -> None:
        """Make a subject known, unless it is."""
        raise NotImplementedError

    async def start(self, subject: S, call: StoredCall, *, point: str, now: datetime) -> bool:
        """Write a subject down with a call on it that is started, and hold it, in one statement.

        False, and nothing is written, unless the subject is still as `recent` returned it and free, or new and not
        there yet; and unless the call's request is new.
        """
        return False

    async def accept(self, call: StoredCall, *, now: datetime) -> Accepted[S]:
        """Write a call down, or take one up again that was discarded, and take its subject if that is free.

        Raises what says that there is no such subject.
        """

    async def require(self, tenant_id: str, subject_id: str) -> S:
        """Return a subject without holding it. Raises what says that there is none."""

    async def take(self, tenant_id: str, subject_id: str) -> S | None:
        """Take a subject's lease; None while another holds it, or if there is no such subject."""

    async def save(
        self,
        subject: S,
        *,
        point: str,
        now: datetime,
        call: StoredCall | None = None,
        release: bool = False,
        deliver: str | None = None,
    ) -> None:
        """Write what changed of a subject, and a call; with `release` also release the subject.

        `deliver` names what led to a change that no caller gets as an answer. Raises `LeaseLost`, and writes nothing,
        when the subject is another's by now.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class CallResult(Generic[S]):
    """What came of a call."""

    subject: S
    answer: Mapping[str, str]
    """What was kept of Stripe's answer; empty while it is not known."""
    live: Json | None
    """Stripe's answer itself, when it came just now."""


class Operation(ABC, Generic[P, S]):
    """One kind of call. What gets the subject changes it in memory; the engine saves it."""

    name: str
    """`intent.confirm`; part of the idempotency key."""
    params_type: type[P]
    retry_until_known = False
    """Whether a caller is answered that the call goes ahead while its outcome is unknown: then it is not given up."""

    moves_each_time = False
    """Whether it moves money each time that it is carried out, rather than brings something into a state: then it is
    not sent anew, under another key, while one that was sent before may still be carried out."""
    is_waited_for = True
    """Whether other calls on its subject wait until what came of it is known. Not where the subject says what it may
    have moved, and whoever comes after counts that as moved."""
    is_delivered = False
    """Whether what it leads to is delivered also where a caller gets it, who is not the orchestrator."""

    def __init__(self, subjects: SubjectStore[S]) -> None:
        self.subjects = subjects

    @abstractmethod
    async def prepare(self, subject: S, call: Call[P]) -> P:
        """Return the parameters with what is sent, or raise what forbids it."""

    @abstractmethod
    async def send(self, subject: S, call: Call[P], *, is_repeat: bool) -> Json:
        """Make the call, which may have been sent before. Raises what `Provider` does."""

    @abstractmethod
    async def look_up(self, subject: S, call: Call[P]) -> Json | None:
        """Read at Stripe what a call led to whose key says no more; None if it had no effect."""

    async def look_again(self, subject: S, call: Call[P], refusal: StripeRefused) -> Json:
        """Put what is true into the subject after Stripe refused what the mirror allowed.

        Return what was asked for if that is there all the same. Else undo what `prepare` reserved and raise what
        forbids the call: what is true, or if that does not explain it, the refusal.
        """
        raise refusal

    @abstractmethod
    def record(self, subject: S, call: Call[P], answer: Json) -> Mapping[str, str]:
        """Put what Stripe answered into the subject, and return what is kept of it: ids, never a secret."""

    def kept(self, params: P) -> P:
        """Return what is kept of the parameters once there is an answer: nothing that is about a person need be."""
        return params

    def discarded(self, subject: S, call: Call[P]) -> None:
        """Make the subject what it was before `prepare`: the call had no effect, and will be made anew."""

    def unknown(self, subject: S) -> None:
        """Put into the subject that the outcome is not known."""


AnyOperation = Operation[Any, Any]  # type: ignore[explicit-any]  # a registry of all kinds has no type of its own
"""One of any kind: whoever asks for one by its class knows its parameters and its subject."""
