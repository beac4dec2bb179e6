"""Who may call what: the form of the table that every server is started with, and the check of one call against it.

The table maps a full method name (`/batzen.status.v1.StatusService/GetPayment`) to who may call it. It fails closed:
a server does not start when it has a method without a rule or a rule without a method. What the rules say is the
business of the table, not of this module.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from services.errors import PermissionDenied, ProofTooOld
from services.runtime.rpc.identity import ROLES, SERVICE, Caller

NOBODY: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Allow:
    """Who may call one method; whoever is in none of the three sets may not."""

    roles: frozenset[str] = NOBODY
    """Roles that may act on every thing of their tenant."""
    own: frozenset[str] = NOBODY
    """Roles that may act only on what is theirs; the servicer narrows its queries by `Access.own_as`."""
    subjects: frozenset[str] = NOBODY
    """Callers with role `service` and one of these names; they may act on every thing of their tenant."""
    proof: frozenset[str] = NOBODY
    """Of `roles`, those whose people have to have proved lately who they are, where a front speaks for them."""

    def __post_init__(self) -> None:
        if not (self.roles or self.own or self.subjects):
            raise ValueError("a rule that lets nobody in is a mistake")
        if unknown := (self.roles | self.own) - ROLES:
            raise ValueError(f"no such role: {', '.join(sorted(unknown))}")
        if self.proof - self.roles:
            raise ValueError("a proof is asked of roles that may not call")


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How far the caller of the current call reaches."""

    own_as: frozenset[str]
    """Empty: every thing of the tenant. Otherwise: only what is the caller's in one of these roles."""

    @property
    def own_only(self) -> bool:
        """Whether the caller sees and moves only what is its own."""
        return bool(self.own_as)


EVERYTHING = Access(own_as=NOBODY)


PROOF_LIFE: Final = timedelta(minutes=10)
"""How long ago a person may have proved who they are when they move money."""


def admit(rule: Allow, caller: Caller, *, now: datetime) -> Access:
    """Return how far `caller` reaches under `rule`; raise PermissionDenied if it may not call at all, and ProofTooOld
    if its person has to log in once more before it may.

    Of several roles the widest counts.
    """
    if rule.proof & caller.roles and caller.auth_time is not None and now - caller.auth_time > PROOF_LIFE:
        raise ProofTooOld
    if rule.roles & caller.roles or (caller.subject in rule.subjects and SERVICE in caller.roles):
        return EVERYTHING
    if own_as := rule.own & caller.roles:
        return Access(own_as=own_as)
    raise PermissionDenied


def check_table(table: Mapping[str, Allow], *, methods: Collection[str]) -> None:
    """Raise ValueError unless `table` has a rule for every method, and no rule for a method its service lacks.

    `methods` are the full names of all methods a server registers. Rules of services the server does not have are
    not looked at, since one table serves the whole suite.
    """
    services = {_service(method) for method in methods}
    unruled = sorted(set(methods) - set(table))
    unknown = sorted(method for method in set(table) - set(methods) if _service(method) in services)
    if unruled or unknown:
        raise ValueError(f"methods without a rule: {unruled}; rules without a method: {unknown}")


def _service(method: str) -> str:
    return method.rpartition("/")[0]
