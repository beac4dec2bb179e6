"""Actions on a payment: capture, refund, cancel, retry, resolve, give a dispute up. Each shows what comes of it before
it is done, wants a reason, the amount typed above a limit, and a second person above a higher one.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.routing import BaseRoute

from services.console.actions.alone import AloneStore
from services.console.actions.approvals import ApprovalStore
from services.console.actions.approving import ApprovalRoom
from services.console.actions.domain import Limits
from services.console.actions.kinds import Action
from services.console.actions.kinds.capture import Capture
from services.console.actions.kinds.dispute import AcceptDispute
from services.console.actions.kinds.moving import Cancel, Retry
from services.console.actions.kinds.refund import Refund
from services.console.actions.kinds.resolve import Resolve
from services.console.actions.room import ActionRoom
from services.console.desk import Desk


def routes(desk: Desk, limits: Limits) -> Sequence[BaseRoute]:
    """Return the pages of actions, and of what waits for a second person."""
    actions: Sequence[Action] = (Capture(), Refund(), Cancel(), Retry(), Resolve(), AcceptDispute())
    store = ApprovalStore(desk.front.held, now=desk.front.now)
    alone = AloneStore(desk.front.held, limits, now=desk.front.now)
    room = ActionRoom(actions, limits=limits, approvals=store, alone=alone)
    return [*room.routes(desk), *ApprovalRoom(actions, store).routes(desk)]
