"""A payment with its whole history, and what speaks against it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from services.errors import FieldInvalid, RequestIdReused
from services.shared.states import Cause
from services.status.domain.moves import refuse_illegal
from services.status.domain.records import Opening
from services.status.domain.snapshot import ENDS, OPENED, Snapshot, is_settled

REVISIONS_MAX: Final = 200
"""Of one payment, after the first: one that was tried often, with its refunds and disputes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One revision."""

    request_id: str
    snapshot: Snapshot
    record_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """A payment that is over, as it came to be."""

    opening: Opening
    open_request_id: str
    open_time: datetime
    revisions: tuple[Revision, ...]
    """From revision 2 on."""

    @property
    def first(self) -> Revision:
        """Revision 1, at which every payment begins."""
        snapshot = replace(OPENED, cause=Cause.IMPORT)
        return Revision(request_id=self.open_request_id, snapshot=snapshot, record_time=self.open_time)

    @property
    def latest(self) -> Revision:
        """The revision at which it stands."""
        return self.revisions[-1]

    @property
    def revision(self) -> int:
        """Its number."""
        return len(self.revisions) + 1

    @property
    def complete_time(self) -> datetime:
        """When collecting first came to its end."""
        return next(one.record_time for one in self.revisions if one.snapshot.collection in ENDS)

    def refuse_untrue(self, now: datetime) -> None:
        """Raise what no payment of ours could have come to; or of which something is still awaited."""
        collection, before = OPENED.collection, self.open_time
        seen = {self.open_request_id}
        for index, one in enumerate(self.revisions):
            at = f"revisions[{index}]"
            if one.request_id in seen:
                raise RequestIdReused(field=f"{at}.request_id")
            if one.snapshot.cause is not Cause.IMPORT:
                raise FieldInvalid(field=f"{at}.snapshot.cause", detail="must be IMPORT")
            if one.record_time < before:
                raise FieldInvalid(field=f"{at}.record_time", detail="must not be before what came before it")
            refuse_illegal(collection, one.snapshot, total_is_zero=self.opening.total_amount_minor == 0)
            seen.add(one.request_id)
            collection, before = one.snapshot.collection, one.record_time
        if before > now:
            raise FieldInvalid(field="revisions", detail="must not end in the future")
        if not is_settled(self.latest.snapshot):
            raise FieldInvalid(
                field="revisions", detail="must end with a payment that is over: something is still awaited of it"
            )
