"""Whether a payment may move from where it stands. Pure."""

from __future__ import annotations

from services.shared.states import State
from services.status.domain.errors import AmountsInconsistent, TransitionIllegal
from services.status.domain.snapshot import Snapshot, legal_from


def refuse_illegal(collection: State, snapshot: Snapshot, *, total_is_zero: bool) -> None:
    """Raise AmountsInconsistent or TransitionIllegal unless a payment at `collection` may come to `snapshot`."""
    if collection in legal_from(snapshot, total_is_zero=total_is_zero):
        return
    if snapshot.collection is State.SUCCEEDED and not total_is_zero and not snapshot.amounts.captured_minor:
        raise AmountsInconsistent(field="snapshot.amounts", detail="A success has captured something.")
    raise TransitionIllegal(**{"from": collection, "to": snapshot.collection})
