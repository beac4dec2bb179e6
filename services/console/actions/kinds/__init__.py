"""The actions there are, one a file: what is asked, what comes of it, and the call that does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from batzen.status.v1.status_pb2 import Payment
from services.console.actions.domain import Ask, Input, Preview
from services.console.desk import Visit


class Action(Protocol):
    """One action."""

    key: str
    """In the address, and in the audit."""
    title: str
    button: str

    def inputs(self, payment: Payment, given: Mapping[str, str]) -> Sequence[Input]:
        """Return what is asked before it is looked at; nothing where there is nothing to choose."""

    def read(self, payment: Payment, given: Mapping[str, str]) -> Ask:
        """Return what fields say.

        Raises:
            Unreadable: They say nothing that could be done.
        """

    async def preview(self, visit: Visit, payment: Payment, ask: Ask) -> Preview:
        """Return what would come of it. Changes nothing."""

    async def run(self, visit: Visit, ask: Ask, *, request_id: str, reason: str) -> None:
        """Do it. A repeat under the same id is the same call."""


TIMEOUT_S: Final = 35.0
"""Of a call that moves money: it takes up to 30 s at Stripe, and its answer has to come back."""
