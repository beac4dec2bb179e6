"""What is known about the call being served, for whatever runs inside it: caller, reach, correlation, time left.

Kept in context variables, which a task started inside a call inherits. Work that outlives its call, and jobs, which
belong to no call, run inside `acting_for`.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from services.runtime.access import Access
from services.runtime.identity import Caller

CORRELATION_KEY: Final = "x-correlation-id"
"""Metadata key, in and out: one id for everything a caller's call causes in the suite."""

_CORRELATION = re.compile(r"[A-Za-z0-9_-]{1,64}")

_caller: ContextVar[Caller | None] = ContextVar("caller", default=None)
_access: ContextVar[Access | None] = ContextVar("access", default=None)
_tenant_id: ContextVar[str | None] = ContextVar("tenant_id", default=None)
_correlation_id: ContextVar[str | None] = ContextVar("correlation_id", default=None)
_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


def current_caller() -> Caller:
    """Return who made the call being served; raise LookupError outside of one."""
    caller = _caller.get()
    if caller is None:
        raise LookupError("no call is being served here")
    return caller


def current_access() -> Access:
    """Return how far the current caller reaches; raise LookupError outside of a call."""
    access = _access.get()
    if access is None:
        raise LookupError("no call is being served here")
    return access


def current_tenant() -> str:
    """Return the tenant we act for: the caller's, or that of `acting_for`; raise LookupError if there is neither."""
    tenant_id = _tenant_id.get()
    if tenant_id is None:
        raise LookupError("neither a call nor acting_for says which tenant this is for")
    return tenant_id


def correlation_id() -> str | None:
    """Return the id that ties together what one call caused; None if nothing set one."""
    return _correlation_id.get()


def time_remaining() -> float | None:
    """Return the seconds left until the current call's deadline, negative if it has passed; None without one."""
    deadline = _deadline.get()
    return None if deadline is None else deadline - asyncio.get_running_loop().time()


@contextmanager
def acting_for(tenant_id: str, *, correlation: str | None = None) -> Generator[None]:
    """Act for a tenant outside of any call: no caller, no deadline, and `correlation` or a new id.

    For jobs, and for work that goes on after its call was answered. A correlation id that is not sane is replaced.
    """
    tokens = (
        (_caller, _caller.set(None)),
        (_access, _access.set(None)),
        (_tenant_id, _tenant_id.set(tenant_id)),
        (_correlation_id, _correlation_id.set(sane_correlation(correlation))),
        (_deadline, _deadline.set(None)),
    )
    try:
        yield
    finally:
        for variable, token in reversed(tokens):
            variable.reset(token)  # type: ignore[arg-type]  # each with its own token, which mypy cannot pair


def sane_correlation(candidate: str | None) -> str:
    """Return `candidate` if it is 1 to 64 of A-Z, a-z, 0-9, `_`, `-`, otherwise a new id."""
    if candidate is not None and _CORRELATION.fullmatch(candidate):
        return candidate
    return secrets.token_hex(16)


# What the server sets as a call is let in. Each call has a task and hence a context of its own; nothing is reset.


def begin(*, correlation: str, remaining_s: float | None) -> None:
    """Note the correlation id and the deadline of the call this task serves."""
    _correlation_id.set(correlation)
    _deadline.set(None if remaining_s is None else asyncio.get_running_loop().time() + remaining_s)


def admitted(caller: Caller, access: Access) -> None:
    """Note who makes the call this task serves, and how far they reach."""
    _caller.set(caller)
    _access.set(access)
    _tenant_id.set(caller.tenant_id)
