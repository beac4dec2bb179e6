"""Faults on order: what can go wrong between a client and Stripe, before or after the effect.

`server_error` before the effect never executed and is not kept under the idempotency key; after the effect the 500 is
kept and replayed, as Stripe does once execution has begun. `stored` turns either around.

Of all other answers the key keeps nothing unless `stored` says so: before the effect they come in Stripe's order, ahead
of the idempotency layer, so that a repeat meets them too; after the effect the key keeps what really came of the call,
and only this one answer is replaced.
"""

import random
from dataclasses import asdict, dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, Final

from sandbox.errors import ApiError

_HITS_MAX = 1_000_000  # "always", as a count


class Kind(StrEnum):
    """What goes wrong."""

    RATE_LIMIT = "rate_limit"  # 429, before anything
    LOCK_TIMEOUT = "lock_timeout"  # 429 by contention on the object, without a rate-limit reason
    UNAUTHORIZED = "unauthorized"  # 401: the key is none
    FORBIDDEN = "forbidden"  # 403: the key may not do this
    UNKNOWN_ENDPOINT = "unknown_endpoint"  # 404: there is no such URL
    MISSING = "missing"  # 404 resource_missing, as when the object is another account's
    INVALID = "invalid"  # 400 by the parameters
    IN_USE = "in_use"  # 409: another request with this key still runs
    SERVER_ERROR = "server_error"  # 500, or the `status` that is given
    HTML = "html"  # a page of a proxy, 502
    BROKEN_JSON = "broken_json"  # a whole answer, 200, whose body ends within a string
    EMPTY = "empty"  # 200 without a body
    CUT_OFF = "cut_off"  # 200, and the connection ends within the body
    TIMEOUT = "timeout"  # the connection is held without an answer
    RESET = "reset"  # the connection is reset
    SLOW = "slow"  # execution takes `seconds`; the key is in use meanwhile
    PAUSE = "pause"  # execution waits for `/_control/resume`; the key is in use meanwhile


SILENT: Final = frozenset({Kind.TIMEOUT, Kind.RESET})
"""Instead of an answer there is none."""
LATE: Final = frozenset({Kind.SLOW, Kind.PAUSE})
"""The answer is right, and comes later."""
_BODIES: Final = {
    Kind.HTML: b"<html><body><h1>502 Bad Gateway</h1></body></html>",
    Kind.BROKEN_JSON: b'{"id": "pi_3',
    Kind.EMPTY: b"",
    Kind.CUT_OFF: b'{"id": "pi_3',
}
_UNKNOWN: Final[dict[str, Any]] = {"message": "An unknown error occurred.", "status": 500, "type": "api_error"}
_ERRORS: Final[dict[Kind, dict[str, Any]]] = {
    Kind.RATE_LIMIT: {
        "message": "Request rate limit exceeded. You can learn more about rate limits here "
        "https://stripe.com/docs/rate-limits.",
        "status": 429,
        "code": "rate_limit",
    },
    Kind.LOCK_TIMEOUT: {
        "message": "This object cannot be accessed right now because another API request or Stripe process is "
        "currently accessing it.",
        "status": 429,
        "code": "lock_timeout",
    },
    Kind.UNAUTHORIZED: {"message": "Invalid API Key provided: sk_test_****", "status": 401},
    Kind.FORBIDDEN: {
        "message": "The provided key does not have the required permissions for this endpoint.",
        "status": 403,
    },
    Kind.UNKNOWN_ENDPOINT: {
        "message": "Unrecognized request URL. Please see https://stripe.com/docs.",
        "status": 404,
    },
    Kind.MISSING: {
        "message": "No such object: 'of_another_account'",
        "status": 404,
        "code": "resource_missing",
        "param": "id",
    },
    Kind.INVALID: {
        "message": "Received unknown parameter: colour",
        "status": 400,
        "code": "parameter_unknown",
        "param": "colour",
    },
    Kind.IN_USE: {
        "message": "There is currently another in-progress request using this Idempotency Key. Please try again later.",
        "status": 409,
        "type": "idempotency_error",
        "code": "idempotency_key_in_use",
    },
}


@dataclass(slots=True, kw_only=True)
class Fault:
    """One ordered fault. `route` is "METHOD /path", matched with `*` against the path and its template."""

    kind: Kind
    route: str = "*"
    account: str | None = None  # matched with `*` against Stripe-Account; none: whoever's the call is
    after: bool = False  # after the effect
    times: int | None = 1  # none: always
    chance: float = 1.0  # of striking when it matches, by the sandbox's seed
    should_retry: bool | None = None  # the Stripe-Should-Retry header; none: left out
    reason: str | None = None  # the Stripe-Rate-Limited-Reason header
    stored: bool | None = None  # keep this answer under the idempotency key
    seconds: float = 0.0  # how long SLOW takes
    status: int | None = None  # instead of the kind's own
    code: str | None = None  # of the error, instead of the kind's own
    param: str | None = None  # of the error
    body: str | None = None  # instead of the kind's own
    hits: int = 0

    @property
    def raw_body(self) -> bytes | None:
        """What is sent as it stands, where that is no error of Stripe's."""
        return self.body.encode() if self.body is not None else _BODIES.get(self.kind)

    @property
    def raw_status(self) -> int:
        """The status of an answer that is sent as it stands."""
        if self.kind is Kind.HTML:
            return self.status or 502
        return self.status or (200 if self.kind in _BODIES else self.error().status)

    @property
    def content_type(self) -> str:
        """The type of an answer that is sent as it stands."""
        return "text/html" if self.kind is Kind.HTML else "application/json"

    def error(self) -> ApiError:
        """Return what the client is told."""
        told = {"status": self.status, "code": self.code, "param": self.param}
        fields = _ERRORS.get(self.kind, _UNKNOWN) | {name: value for name, value in told.items() if value is not None}
        error = ApiError(**fields)
        if self.should_retry is not None:
            error.headers["Stripe-Should-Retry"] = "true" if self.should_retry else "false"
        if self.kind is Kind.RATE_LIMIT and self.reason is not None:
            error.headers["Stripe-Rate-Limited-Reason"] = self.reason
        return error

    @property
    def is_stored(self) -> bool:
        """Whether the idempotency key keeps this answer."""
        if self.stored is None:
            return self.after and self.kind is Kind.SERVER_ERROR
        return self.stored


class Faults:
    """The faults on order, struck in the order they were given."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> None:
        self._faults.append(fault)

    def clear(self) -> None:
        self._faults.clear()

    def listed(self) -> list[dict[str, Any]]:
        return [asdict(fault) for fault in self._faults]

    def strike(self, method: str, *, path: str, template: str, account: str) -> Fault | None:
        """Return the fault for this request, counting it; none if nothing is to go wrong."""
        for fault in self._faults:
            if fault.hits >= (_HITS_MAX if fault.times is None else fault.times):
                continue
            if not any(fnmatchcase(f"{method} {name}", fault.route) for name in (path, template)):
                continue
            if fault.account is not None and not fnmatchcase(account, fault.account):
                continue
            if fault.chance < 1.0 and self._chance.random() >= fault.chance:
                continue
            fault.hits += 1
            return fault
        return None
