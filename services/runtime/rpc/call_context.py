"""What is known about the call being served, for whatever runs inside it: caller, reach, correlation, time left.

Kept in context variables, which a task started inside a call inherits. Work that outlives its call runs inside
`acting_for`, due work and events of Stripe's, which belong to no call, inside `following`.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from services.runtime.observability import tracing
from services.runtime.observability.trace_context import Origin, follow_up
from services.runtime.observability.tracing import Kind, Trace, Value
from services.runtime.rpc.access import Access
from services.runtime.rpc.identity import Caller
from services.shared.cards import holds_card_number

CORRELATION_KEY: Final = "x-correlation-id"
"""Metadata key, in and out: one id for everything a caller's call causes in the suite."""

_CORRELATION = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(slots=True)
class _Served:
    """The call that is served, or what is done for a tenant outside of any."""

    correlation: str
    deadline: float | None
    caller: Caller | None = None
    access: Access | None = None
    tenant_id: str | None = None
    trace: Trace | None = None
    payment_id: str | None = None
    lineage: str | None = None
    """Of a run: the correlation id that its trace goes by, and what it makes due; None where that is its own."""
    is_free: bool = False
    """Of a run: nothing said what made it due, so that what it turns out to be about may."""


_served: ContextVar[_Served | None] = ContextVar("served", default=None)
# One variable for all of it: a stream keeps its context for as long as it lasts.


def current_caller() -> Caller:
    """Return who made the call being served; raise LookupError outside of one."""
    served = _served.get()
    if served is None or served.caller is None:
        raise LookupError("no call is being served here")
    return served.caller


def current_access() -> Access:
    """Return how far the current caller reaches; raise LookupError outside of a call."""
    served = _served.get()
    if served is None or served.access is None:
        raise LookupError("no call is being served here")
    return served.access


def current_tenant() -> str:
    """Return the tenant we act for: the caller's, or that of `acting_for`; raise LookupError if there is neither."""
    served = _served.get()
    if served is None or served.tenant_id is None:
        raise LookupError("neither a call nor acting_for says which tenant this is for")
    return served.tenant_id


def correlation_id() -> str | None:
    """Return the id that ties together what one call caused; None if nothing set one."""
    served = _served.get()
    return None if served is None else served.correlation


def sent_correlation() -> str | None:
    """Return the correlation id that a call to a peer carries: that of the trace."""
    served = _served.get()
    return None if served is None else served.lineage or served.correlation


def current_trace() -> Trace | None:
    """Return the call or run under which spans are recorded here; None where none are."""
    served = _served.get()
    return None if served is None else served.trace


def log_fields() -> dict[str, str]:
    """Return what every line about this call or run carries."""
    served = _served.get()
    if served is None:
        return {}
    fields = {"correlation_id": served.correlation}
    if served.trace is not None:
        fields["trace_id"] = f"{served.trace.span.trace_id:032x}"
    if served.payment_id is not None:
        fields["payment_id"] = served.payment_id
    return fields


def about(payment_id: str, *, origin: str | None = None) -> None:
    """Say which payment this call or run turns out to be about: once it is known to be one, or that it may be.

    `origin` is what its row keeps of what made it so. A run that nothing else made due, and that is not recorded by its
    own id, follows it from here on: it is recorded when that is. Does nothing outside of both.
    """
    served = _served.get()
    if served is None:
        return
    served.payment_id = payment_id
    if not tracing.is_on():
        return
    read = Origin.read(origin)
    if served.is_free and served.trace is None and read is not None:
        served.is_free, served.lineage = False, follow_up(read.correlation)
        served.trace = tracing.begin(served.lineage)
    if served.trace is not None:
        served.trace.attributes["batzen.payment_id"] = payment_id
        if read is not None:
            served.trace.link(read.span)


def origin() -> str | None:
    """Return what a row keeps of the call or run that makes it due, for `following`; None while tracing is off."""
    served = _served.get()
    if served is None or not tracing.is_on():
        return None
    return str(
        Origin(served.lineage or served.correlation, None if served.trace is None else served.trace.span.span_id)
    )


def time_remaining() -> float | None:
    """Return the seconds left until the current call's deadline, negative if it has passed; None without one."""
    served = _served.get()
    if served is None or served.deadline is None:
        return None
    return served.deadline - asyncio.get_running_loop().time()


@contextmanager
def acting_for(tenant_id: str, *, correlation: str | None = None) -> Generator[None]:
    """Act for a tenant outside of any call: no caller, no deadline, and `correlation` or a new id.

    For work that goes on after its call was answered, which stays in the trace of the call. A correlation id that is
    not sane is replaced.
    """
    outer = _served.get()
    served = _Served(sane_correlation(correlation), deadline=None, tenant_id=tenant_id)
    if outer is not None and outer.correlation == correlation:
        served.trace, served.lineage, served.payment_id = outer.trace, outer.lineage, outer.payment_id
    token = _served.set(served)
    try:
        yield
    finally:
        _served.reset(token)


@contextmanager
def following(
    tenant_id: str, *, origin: str | None, name: str, kind: Kind, correlation: str | None = None
) -> Generator[dict[str, Value]]:
    """Act for a tenant in a trace of its own, whose first span this is; yields what is to be said of it.

    It is linked to `origin`, what the row of due work says, and recorded when that is. Without one that is decided
    anew, by `correlation` or a new id, or by what the run turns out to be `about`.
    """
    read = Origin.read(origin)
    if read is not None and correlation is None:
        correlation = follow_up(read.correlation)
    served = _Served(sane_correlation(correlation), deadline=None, tenant_id=tenant_id, is_free=read is None)
    served.trace = tracing.begin(served.correlation)
    if served.trace is not None and read is not None:
        served.trace.link(read.span)
    said: dict[str, Value] = {}
    token = _served.set(served)
    try:
        yield said
    except BaseException as error:
        said.setdefault("error.type", type(error).__name__)
        raise
    finally:
        _served.reset(token)
        if served.trace is not None:
            of_run = {"batzen.tenant": tenant_id, "batzen.correlation_id": served.correlation}
            served.trace.attributes |= of_run | said
            tracing.end(served.trace, name, kind, is_failed="error.type" in said)


def sane_correlation(candidate: str | None) -> str:
    """Return `candidate` if it is 1 to 64 of A-Z, a-z, 0-9, `_`, `-` and no card's number, otherwise a new id."""
    if candidate is not None and _CORRELATION.fullmatch(candidate) and not holds_card_number(candidate):
        return candidate
    return secrets.token_hex(16)


# What the server sets as a call is let in. Each call has a task and hence a context of its own; nothing is reset.


def begin(*, correlation: str, remaining_s: float | None) -> Trace | None:
    """Note the correlation id and the deadline of the call this task serves, and decide whether it is recorded."""
    deadline = None if remaining_s is None else asyncio.get_running_loop().time() + remaining_s
    trace = tracing.begin(correlation)
    _served.set(_Served(correlation, deadline, trace=trace))
    return trace


def admitted(caller: Caller, access: Access) -> None:
    """Note who makes the call this task serves, and how far they reach."""
    served = _served.get()
    assert served is not None, "a call begins before it is let in"  # noqa: S101
    served.caller, served.access, served.tenant_id = caller, access, caller.tenant_id
