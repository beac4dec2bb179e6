"""Who is sent what, when a delivery is tried again, and when it is given up. Pure.

Deliveries of one payment go to one receiver in the order in which things happened: they are a *lane*, whose first
waiting one is sent, and the next once that one has an end. Lanes know nothing of each other.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from services.orchestrator.facts.domain import Fact, FactKind

NAMESPACE: Final = uuid.UUID("6f0f6b0e-6c86-4c57-9f39-90a9d9f0a3c4")
"""Of the ids of deliveries. Never changes: a receiver knows by the id what it has already."""
TRIED_FOR: Final = timedelta(days=3)
"""How long a delivery is tried, from when it was made or replayed; then it is a dead letter."""
RETRY_DELAYS: Final = (
    timedelta(seconds=5),
    timedelta(seconds=30),
    timedelta(minutes=2),
    timedelta(minutes=10),
    timedelta(minutes=30),
    timedelta(hours=1),
)
"""After the first try that failed, the second, …; the last one after each further one. So what waits comes within an
hour of a receiver's recovery."""
RESTS_AFTER: Final = 5
"""Tries in a row, of whatever payments, after which a receiver rests as a whole."""
REST_FIRST: Final = timedelta(seconds=10)
REST_MAX: Final = timedelta(minutes=10)
"""How long it rests: doubled with each rest that no success ended. Then a few tries tell whether it is back."""
SECRET_OVERLAP: Final = timedelta(days=1)
"""For how long an earlier secret signs beside a new one, where nobody says otherwise."""
SECRET_OVERLAP_MAX: Final = timedelta(days=30)
SECRETS_MAX: Final = 5
"""That sign at once; each makes the header longer by 47 bytes."""
SUBSCRIPTIONS_MAX: Final = 50
"""Of a tenant: each makes a delivery of each fact."""
TRIES_KEPT_MAX: Final = 20
"""Of a delivery, the last ones, ~1.5 KB each at most."""
LEGACY_KINDS: Final = frozenset({FactKind.PAYMENT_MOVED})
"""What the old form can say: how a payment stands, once for each revision."""
TEST: Final = "TEST"
"""The kind of a test event, which is no fact."""

_SUBSCRIPTION_ID: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}")


class Form(StrEnum):
    """The form of a body."""

    FULL = "FULL"
    LEGACY = "LEGACY"


class DeliveryState(StrEnum):
    """What has become of a delivery."""

    WAITING = "WAITING"
    DELIVERED = "DELIVERED"
    DEAD = "DEAD"
    """A dead letter: it was not taken in time."""
    CANCELED = "CANCELED"
    """Its subscription was deleted before, or it is of the old form and something newer of its payment was taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """Who is sent what."""

    subscription_id: str
    url: str
    kinds: frozenset[FactKind]
    """None: all of which the form has a body."""
    form: Form
    paused: bool = False

    def wants(self, kind: FactKind) -> bool:
        """Whether it is sent facts of a kind."""
        return (not self.kinds or kind in self.kinds) and (self.form is Form.FULL or kind in LEGACY_KINDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """A secret that signs; what it is stands elsewhere."""

    secret_id: uuid.UUID
    create_time: datetime
    expire_time: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A receiver, and how it does."""

    receiver: Receiver
    create_time: datetime
    update_time: datetime
    secrets: Sequence[Secret] = ()
    failures: int = 0
    failing_time: datetime | None = None
    rest_end_time: datetime | None = None
    waiting_count: int = 0
    dead_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """A try, and what came of it, as it is kept."""

    time: datetime
    outcome: str
    status: int
    duration: timedelta
    answer: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Something that is, or was, sent to one receiver."""

    delivery_id: uuid.UUID
    subscription_id: str
    subject: str
    kind: str
    payment_id: str
    revision: int
    fact_id: uuid.UUID | None
    """None of a test event."""
    body: bytes | None
    """None until the first try, where it takes more than the fact to make it."""
    state: DeliveryState
    create_time: datetime
    begin_time: datetime
    next_time: datetime | None = None
    end_time: datetime | None = None
    try_count: int = 0
    tries: Sequence[Try] = ()


def is_subscription_id(text: str) -> bool:
    """Whether a subscription may have this name."""
    return _SUBSCRIPTION_ID.fullmatch(text) is not None


def delivery_id(subscription_id: str, fact: Fact) -> uuid.UUID:
    """Return the id of the delivery of a fact to a receiver: the same, however often it is made."""
    return uuid.uuid5(NAMESPACE, "\x1f".join((fact.tenant_id, subscription_id, str(fact.fact_id))))


def subject_of(fact: Fact) -> str:
    """Return what a fact is about: those of one subject are sent one after the other."""
    if fact.payment_id:
        return fact.payment_id
    return "seller:" + ",".join(fact.seller_ids[:1])


def next_delay(tries: int, *, left: timedelta, asked: timedelta | None = None) -> timedelta | None:
    """Return the rest after so many tries that failed since a delivery began; None if it is given up now.

    `left` is the time until it is given up: the last try comes at its end. `asked` is the rest the receiver asks for.
    """
    if left <= timedelta(0):
        return None
    delay = RETRY_DELAYS[min(tries, len(RETRY_DELAYS)) - 1]
    return min(max(delay, asked or delay), left)
