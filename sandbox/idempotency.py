"""Idempotency keys as Stripe's v1 API treats them.

Once execution has begun, status and body are kept and replayed, 402 and 500 included. Not kept: refused parameters,
401, 429, 501 and the conflict with a request that still runs. A key is new again 24 hours after its first use.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sandbox.clock import Clock
from sandbox.errors import ApiError

KEY_MAX = 255  # characters
_KEPT_S = 24 * 3600


@dataclass(slots=True, kw_only=True)
class Record:
    """The first request with a key, and its answer once there is one."""

    fingerprint: bytes
    begun: float  # when, in seconds of the clock
    status: int | None = None  # none while the request runs
    body: bytes = b""


class IdempotencyKeys:
    """The keys of one account."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._records: dict[str, Record] = {}
        self.touched: dict[str, None] = {}  # what may be another than was written

    def seen(self, key: str, *, fingerprint: bytes) -> Record | None:
        """Return the finished first request with this key, if any; raises 400 for other parameters, 409 if it runs."""
        if len(key) > KEY_MAX:
            raise ApiError(f"Idempotency keys are at most {KEY_MAX} characters long.", type="idempotency_error")
        record = self._records.get(key)
        if record is None:
            return None
        if record.status is not None and self._clock.now() - record.begun >= _KEPT_S:
            self.forget(key)
            return None
        if record.fingerprint != fingerprint:
            raise ApiError(
                "Keys for idempotent requests can only be used with the same parameters they were first used with. Try "
                f"using a key other than '{key}' if you meant to execute a different request.",
                type="idempotency_error",
            )
        if record.status is None:
            raise ApiError(
                f"There is currently another in-progress request using this Idempotency Key ({key}). Please try again "
                "later.",
                status=409,
                type="idempotency_error",
                code="idempotency_key_in_use",
            )
        return record

    def begin(self, key: str, *, fingerprint: bytes) -> Record:
        """Note that execution has begun."""
        record = Record(fingerprint=fingerprint, begun=self._clock.now())
        self._records[key] = record
        self.touched[key] = None
        return record

    def all(self) -> list[str]:
        """Return every key whose request was answered."""
        return [key for key, record in self._records.items() if record.status is not None]

    def row(self, key: str) -> str | None:
        """Return an answered request, as text; None if there is none with this key."""
        record = self._records.get(key)
        if record is None or record.status is None:
            return None
        return json.dumps([key, record.fingerprint.hex(), record.begun, record.status, record.body.decode()])

    def restore(self, kept: Iterable[list[Any]]) -> None:
        """Take up what `row` returned."""
        for key, print_of, begun, status, body in kept:
            self._records[key] = Record(
                fingerprint=bytes.fromhex(print_of), begun=begun, status=status, body=body.encode()
            )

    def forget(self, key: str) -> None:
        """Drop a key whose request did not execute after all."""
        self._records.pop(key, None)
        self.touched[key] = None


def fingerprint(path: str, body: bytes) -> bytes:
    """Return what two requests with one key must share: the path and the parameters, in any order."""
    parts = b"&".join(sorted(body.split(b"&")))
    return hashlib.sha256(path.encode() + b"\n" + parts).digest()
