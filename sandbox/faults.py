"""Faults on order: what can go wrong between a client and Stripe, before or after the effect.

`server_error` before the effect never executed and is not kept under the idempotency key; after the effect the 500 is
kept and replayed, as Stripe does once execution has begun. `stored` turns either around.
"""

import random
from dataclasses import asdict, dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

from sandbox.errors import ApiError

_HITS_MAX = 1_000_000  # "always", as a count


class Kind(StrEnum):
    """What goes wrong."""

    RATE_LIMIT = "rate_limit"  # 429, before anything
    LOCK_TIMEOUT = "lock_timeout"  # 429 by contention on the object, without a rate-limit reason
    SERVER_ERROR = "server_error"  # 500
    TIMEOUT = "timeout"  # the connection is held without an answer
    RESET = "reset"  # the connection is reset
    SLOW = "slow"  # execution takes `seconds`; the key is in use meanwhile
    PAUSE = "pause"  # execution waits for `/_control/resume`; the key is in use meanwhile


@dataclass(slots=True, kw_only=True)
class Fault:
    """One ordered fault. `route` is "METHOD /path", matched with `*` against the path and its template."""

    kind: Kind
    route: str = "*"
    after: bool = False  # after the effect (server_error, timeout, reset)
    times: int | None = 1  # none: always
    chance: float = 1.0  # of striking when it matches, by the sandbox's seed
    should_retry: bool | None = None  # the Stripe-Should-Retry header; none: left out
    reason: str | None = None  # the Stripe-Rate-Limited-Reason header
    stored: bool | None = None  # keep a server_error under the idempotency key
    seconds: float = 0.0  # how long SLOW takes
    hits: int = 0

    def error(self) -> ApiError:
        """Return what the client is told."""
        headers = {}
        if self.should_retry is not None:
            headers["Stripe-Should-Retry"] = "true" if self.should_retry else "false"
        match self.kind:
            case Kind.RATE_LIMIT:
                if self.reason is not None:
                    headers["Stripe-Rate-Limited-Reason"] = self.reason
                message = (
                    "Request rate limit exceeded. You can learn more about rate limits here "
                    "https://stripe.com/docs/rate-limits."
                )
                return ApiError(message, status=429, code="rate_limit", headers=headers)
            case Kind.LOCK_TIMEOUT:
                message = (
                    "This object cannot be accessed right now because another API request or Stripe process is "
                    "currently accessing it."
                )
                return ApiError(message, status=429, code="lock_timeout", headers=headers)
        return ApiError("An unknown error occurred.", status=500, type="api_error", headers=headers)

    @property
    def is_stored(self) -> bool:
        return self.after if self.stored is None else self.stored


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

    def strike(self, method: str, *, path: str, template: str) -> Fault | None:
        """Return the fault for this request, counting it; none if nothing is to go wrong."""
        for fault in self._faults:
            if fault.hits >= (_HITS_MAX if fault.times is None else fault.times):
                continue
            if not any(fnmatchcase(f"{method} {name}", fault.route) for name in (path, template)):
                continue
            if fault.chance < 1.0 and self._chance.random() >= fault.chance:
                continue
            fault.hits += 1
            return fault
        return None
