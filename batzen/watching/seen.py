"""What this process has seen of payments: the last of each by id, and those of which something is awaited. Pure."""

from __future__ import annotations

from collections import OrderedDict

from batzen.status.v1.status_pb2 import Transition


class Seen:
    """The last that was seen of each payment, of a bounded number; settled ones are forgotten first.

    It is what the process knows, whoever it watched for: what one end user may see has to be decided by who shows it.
    """

    def __init__(self, *, payments_max: int) -> None:
        self._payments_max = payments_max
        self._active: OrderedDict[str, Transition] = OrderedDict()
        self._settled: OrderedDict[str, Transition] = OrderedDict()

    def __len__(self) -> int:
        return len(self._active) + len(self._settled)

    def get(self, payment_id: str) -> Transition | None:
        """Return the last that was seen of a payment; None if nothing was, or it is forgotten."""
        return self._active.get(payment_id) or self._settled.get(payment_id)

    def active(self) -> list[Transition]:
        """Return the payments of which something is still awaited, those that moved last at the end."""
        return list(self._active.values())

    def note(self, update: Transition) -> None:
        """Remember an update, if it is newer than what is known."""
        payment_id = update.payment_id
        known = self.get(payment_id)
        if known is not None and known.revision >= update.revision:
            return
        self._active.pop(payment_id, None)
        self._settled.pop(payment_id, None)
        (self._settled if update.settled else self._active)[payment_id] = update
        if len(self) > self._payments_max:
            (self._settled or self._active).popitem(last=False)
