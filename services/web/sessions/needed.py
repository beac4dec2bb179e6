"""What a room asks of who is at the browser, and what it raises where that is not so. Pure.

A front answers these by itself: with the way to its log-in for a page, with a status and a code for a program.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from services.runtime.rpc.access import PROOF_LIFE
from services.web.failures import Refusal
from services.web.sessions.domain import Session

OPERATOR: Final = "operator"
OPERATOR_READONLY: Final = "operator_readonly"
OPERATORS: Final = frozenset({OPERATOR, OPERATOR_READONLY})
PROOF_MARGIN: Final = timedelta(seconds=15)
"""So much earlier is it asked for anew here: the call must still arrive in time."""


class LogInNeeded(Refusal):
    """Nobody is logged in here."""

    def __init__(self, code: str = "LOGIN_REQUIRED") -> None:
        super().__init__(401, code)


class ProofNeeded(LogInNeeded):
    """Money moves here: the person logs in once more, and the request is then sent again."""

    def __init__(self) -> None:
        super().__init__("PROOF_TOO_OLD")


class MayOnlyRead(Refusal):
    """This person may look at everything here, and change nothing."""

    def __init__(self) -> None:
        super().__init__(403, "READ_ONLY")


def may_write(session: Session) -> bool:
    """Tell whether an operator's session may change anything."""
    return session.role == OPERATOR


def has_recent_proof(session: Session, *, now: datetime) -> bool:
    """Tell whether the person proved recently enough who they are to move money."""
    return now - session.auth_time < PROOF_LIFE - PROOF_MARGIN
