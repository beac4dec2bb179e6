"""The pages of payments in the console, in each of their states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from services.console.desk import Shell
from services.web.failures import Failure
from services.web.security.headers import PageKind
from tests.web.state import State

SHELL: Final = Shell(here="payments", operator="anna", may_act=True, form="form")
READER: Final = Shell(here="payments", operator="ruth", may_act=False, form="form")
TROUBLE: Final = Failure(
    status=503,
    code="DEPENDENCY_UNAVAILABLE",
    message="Status does not answer.",
    field=None,
    recoverable=True,
    retryable=True,
    retry_after=1,
    correlation_id="5f0e8c1f7a9d4f6f9d0a64c2f5b1c3d7",
)


def state(template: str, values: Mapping[str, object], *, shell: Shell = SHELL) -> State:
    """Return a page of the console in one state."""
    return State(front="console", template=template, values=lambda _: {"shell": shell, **values}, kind=PageKind.CONSOLE)


STATES: Final = {
    "console-trouble": state("trouble.html", {"trouble": TROUBLE, "title": "A service does not answer"}),
    "console-trouble-reader": state(
        "trouble.html", {"trouble": TROUBLE, "title": "A service does not answer"}, shell=READER
    ),
}
