"""What may be concluded from an answer of Stripe: one table. Pure.

Stripe answers in this order: who are you (401), may you (403), too much (429), do the parameters make sense (400), was
this key used before, and then it executes. Only what comes from behind the look at the key speaks of earlier tries:
what began to execute is kept under the key and replayed with `Idempotent-Replayed: true`, refusals and failures too. So
once a call may have been sent, a refusal counts when it is replayed; one that is not is asked for again, for the next
try brings it replayed if it came from execution, and if it is one of the parameters it says nothing.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

from services.shared.codec import Json


class Unanswered(Exception):
    """Whether the call had an effect is not known."""

    def __init__(self, *, is_replay: bool = False, is_kept: bool = False, is_refused: bool = False) -> None:
        super().__init__()
        self.is_replay = is_replay
        """Stripe replays a failure it stored: asking by the same key again will never say more."""
        self.is_kept = is_kept
        """What Stripe replays is how the try before ended: it is not at work on that any more."""
        self.is_refused = is_refused
        """Each try was refused before the key was looked at, or else the refusal would have been replayed by now: these
        tries had no effect, and others may go the same way for ever. What an earlier one did is settled by reading."""


class NotExecuted(Exception):
    """The call certainly had no effect, and its key will never say more."""


class Declined(Exception):
    """The bank declined: the intent as it is now."""

    def __init__(self, intent: Json) -> None:
        super().__init__()
        self.intent = intent


class Kind(enum.Enum):
    """What came back."""

    ANSWER = enum.auto()
    """2xx with the object that was asked for."""
    DECLINE = enum.auto()
    """402 with the intent in it, of either kind: how the intent stands, so it may always be applied."""
    REFUSAL = enum.auto()
    """400, 402 or 404 with Stripe's error: of the parameters, or of what was executed."""
    KEY_REUSED = enum.auto()
    """400: other parameters were sent under this key before."""
    KEY_IN_USE = enum.auto()
    """409: what was sent under this key still runs."""
    NO_ACCESS = enum.auto()
    """401 or 403, by Stripe or by what stands before it: a mistake of the deployment."""
    NO_ENDPOINT = enum.auto()
    """404 that names nothing: the URL is not Stripe's."""
    LIMIT = enum.auto()
    """429."""
    FAILURE = enum.auto()
    """5xx."""
    UNREADABLE = enum.auto()
    """A body that is not Stripe's, under any other status: a page, broken, empty, another object."""
    SILENCE = enum.auto()
    """No answer, or not all of it."""
    UNSENT = enum.auto()
    """There was no connection to send on."""


class Outcome(enum.Enum):
    """What follows for the call."""

    ANSWERED = enum.auto()
    DECLINED = enum.auto()
    REFUSED = enum.auto()
    """For good: nothing happened, and the same call will be refused again."""
    NOTHING_HAPPENED = enum.auto()
    """Nothing was executed, and the answer says nothing about the call: the same may be sent again."""
    UNKNOWN = enum.auto()
    """It may have had an effect: what it reserved stays reserved, and it is asked again under the same key."""
    READ = enum.auto()
    """It may have had an effect, and its key will never say: it is settled by reading."""


_O = Outcome
CALLS: Final[Mapping[Kind, tuple[Outcome, Outcome, Outcome]]] = {
    # of what came back      on a first try        on a repeat     on a repeat, replayed
    Kind.ANSWER:            (_O.ANSWERED,          _O.ANSWERED,    _O.ANSWERED),
    Kind.DECLINE:           (_O.DECLINED,          _O.DECLINED,    _O.DECLINED),
    Kind.REFUSAL:           (_O.REFUSED,           _O.UNKNOWN,     _O.REFUSED),
    Kind.KEY_REUSED:        (_O.READ,              _O.READ,        _O.READ),
    Kind.KEY_IN_USE:        (_O.UNKNOWN,           _O.UNKNOWN,     _O.READ),
    Kind.NO_ACCESS:         (_O.NOTHING_HAPPENED,  _O.UNKNOWN,     _O.READ),
    Kind.NO_ENDPOINT:       (_O.NOTHING_HAPPENED,  _O.UNKNOWN,     _O.READ),
    Kind.LIMIT:             (_O.NOTHING_HAPPENED,  _O.UNKNOWN,     _O.READ),
    Kind.FAILURE:           (_O.UNKNOWN,           _O.UNKNOWN,     _O.READ),
    Kind.UNREADABLE:        (_O.UNKNOWN,           _O.UNKNOWN,     _O.READ),
    Kind.SILENCE:           (_O.UNKNOWN,           _O.UNKNOWN,     _O.UNKNOWN),
    Kind.UNSENT:            (_O.NOTHING_HAPPENED,  _O.UNKNOWN,     _O.UNKNOWN),
}  # fmt: skip
"""A repeat is a try after one that may have reached Stripe, in this process or in any before. What is replayed under
the key stays so, however often it is asked: what says nothing then has to be read."""

FUTILE_AT_ONCE: Final = frozenset({Kind.NO_ACCESS, Kind.NO_ENDPOINT})
"""Not tried again within one call: a deployment has to be mended first."""
AWAY: Final = FUTILE_AT_ONCE | {Kind.FAILURE, Kind.UNREADABLE, Kind.SILENCE, Kind.UNSENT}
"""What says nothing about the call, and something about Stripe: it does not answer, or not us."""

DENIED: Final = 403
"""Of what has no access: this key may not do that, and may do other things."""

INTENT_TYPES: Final = ("payment_intent", "setup_intent")

MISSING: Final = "resource_missing"
"""Code of a refusal that names something which is not there."""
ACCOUNT_INVALID: Final = "account_invalid"
"""Code of the only 403 that speaks of what was asked: this account of a seller's is not connected."""
_BY_STATUS: Final = {
    401: Kind.NO_ACCESS,
    403: Kind.NO_ACCESS,
    407: Kind.NO_ACCESS,
    409: Kind.KEY_IN_USE,
    429: Kind.LIMIT,
}
"""Answers from before the parameters were looked at, by Stripe or by a proxy."""


def conclusion(kind: Kind, *, is_repeat: bool, is_replayed: bool) -> Outcome:
    """Return what follows from what came back."""
    first, repeat, replayed = CALLS[kind]
    # What is replayed was executed before, whether we know of that or not.
    return replayed if is_replayed else repeat if is_repeat else first


def kind_of_error(status: int | None, body: object) -> Kind:
    """Return what an answer is that is not a 2xx, or whose body could not be read."""
    error = error_in(body)
    code = error.get("code") if error else None
    if status is None:
        return Kind.SILENCE
    if status >= 500:
        return Kind.FAILURE
    if status in _BY_STATUS and code != ACCOUNT_INVALID:
        return _BY_STATUS[status]
    if status == 404 and code != MISSING:
        return Kind.NO_ENDPOINT
    return Kind.UNREADABLE if error is None else _of_error(status, error, body)


def _of_error(status: int, error: Json, body: object) -> Kind:
    if error["type"] == "idempotency_error":
        return Kind.KEY_REUSED
    if status == 402 and intent_in(body) is not None:
        return Kind.DECLINE
    return Kind.REFUSAL if status in {400, 402, 403, 404} else Kind.UNREADABLE


def is_object(body: object, *, of_type: str) -> bool:
    """Whether a body is an object of Stripe's of this type."""
    return (
        isinstance(body, Mapping)
        and body.get("object") == of_type
        and isinstance(body.get("id"), str)
        and bool(body["id"])
    )


def is_list(body: object, *, of_type: str) -> bool:
    """Whether a body is a page of a list of such objects, which goes on after its last one if it does."""
    if not isinstance(body, Mapping) or body.get("object") != "list":
        return False
    rows, has_more = body.get("data"), body.get("has_more")
    return (
        isinstance(rows, list)
        and isinstance(has_more, bool)
        and (bool(rows) or not has_more)
        and all(is_object(row, of_type=of_type) for row in rows)
    )


def error_in(body: object) -> Json | None:
    """Return Stripe's error of a body, if it is one."""
    error = body.get("error") if isinstance(body, Mapping) else None
    return error if isinstance(error, Mapping) and isinstance(error.get("type"), str) else None


def intent_in(body: object) -> Json | None:
    """Return the intent that came with an error."""
    error = error_in(body) or {}
    for of_type in INTENT_TYPES:
        intent = error.get(of_type)
        if isinstance(intent, Mapping) and is_object(intent, of_type=of_type):
            return intent
    return None
