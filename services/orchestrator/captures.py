"""Captures of a held payment: each is decided and saved before the gateway is asked, and asked for until it is known.

What of a capture is the platform's follows from what was captured before. So whoever wants to do something with a hold
first settles what was decided before (`settle`): its outcome is asked for under the same id, and is the same. A capture
stays in the plan until its request is answered; the process may die anywhere in between, and whoever comes next asks
for exactly the same.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from dataclasses import replace

from services.errors import PeerUnavailable
from services.orchestrator.domain.captures import Capture
from services.orchestrator.domain.payment import OUTCOME_UNKNOWN
from services.orchestrator.domain.plan import Plan, Request
from services.orchestrator.peers import Peers
from services.orchestrator.transition_outbox import TransitionOutbox
from services.orchestrator.unit_of_work import UnitOfWork
from services.runtime import crash_points
from services.shared.refusals import Refusal, to_json

_logger = logging.getLogger(__name__)


class Captures:
    """Captures what is held."""

    def __init__(self, outbox: TransitionOutbox, peers: Peers) -> None:
        self._outbox = outbox
        self._peers = peers

    async def settle(self, work: UnitOfWork) -> None:
        """Have what was decided before come to its outcome. Raises `DependencyUnavailable` while one is not known."""
        for capture in work.plan.course.captures:
            with suppress(Refusal):  # its own request hears it
                await self.make(work, capture)

    async def step_minor(self, plan: Plan) -> int:
        """Return what the amounts of a capture are multiples of. Raises `DependencyUnavailable`."""
        if plan.currency_code is None:  # it is not priced, and nothing is held
            return 1
        return await self._peers.gateway.known_step_minor(plan.currency_code)

    async def begin(self, work: UnitOfWork, capture: Capture, *, request: Request | None = None) -> None:
        """Keep what was decided; from here on it is only carried on."""
        work.plan.course = work.plan.course.with_capture(capture)
        await work.save("capture.begin", request=request)

    async def make(self, work: UnitOfWork, capture: Capture) -> None:
        """Ask the gateway for a capture that was decided, unless its outcome is known, and apply what came of it.

        Raises `Refusal` for one that will never be made, with what is true instead applied, and `DependencyUnavailable`
        while its outcome is not known. One whose outcome is known is not asked for again: others went on from that.
        """
        if capture.is_settled:
            if capture.refusal is not None:
                raise Refusal.from_json(capture.refusal)
            return
        plan = work.plan
        capturing = self._peers.gateway.capture_intent(plan, capture)
        refused: Refusal | None = None
        try:
            work.apply((await crash_points.call("capture.gateway", capturing)).observation)
        except Refusal as refusal:
            _logger.warning("%s is not captured: %s %s", plan.payment_id, refusal.reason, refusal.metadata)
            sync = self._peers.gateway.sync_intent(plan.payment_id)
            work.apply((await crash_points.call("capture.sync", sync)).observation)
            refused = refusal
        is_unknown = plan.latest_snapshot.reason == OUTCOME_UNKNOWN
        if refused is not None or not is_unknown:
            self._settled(work, capture, refused)
        await work.save("capture.outcome")
        await self._outbox.try_flush_outbox(work)
        if refused is not None:
            raise refused
        if is_unknown:
            raise PeerUnavailable(dependency="gateway")  # it stays open until Stripe says it

    def answered(self, work: UnitOfWork, capture: Capture) -> None:
        """Forget a capture whose outcome its request has; that is saved with the answer."""
        work.plan.course = work.plan.course.without_capture(capture.request_id)

    def _settled(self, work: UnitOfWork, capture: Capture, refused: Refusal | None) -> None:
        if capture.is_of_plan:  # nobody waits for it
            self.answered(work, capture)
            return
        refusal = None if refused is None else to_json(refused)
        work.plan.course = work.plan.course.with_capture(replace(capture, is_settled=True, refusal=refusal))


def decided(
    plan: Plan,
    *,
    request_id: str,
    amount_minor: int | None = None,
    is_final: bool,
    is_of_plan: bool = False,
) -> Capture:
    """Return a capture of so much, or of all that is held, with what the platform keeps of it.

    What it keeps is what it keeps of all that is captured then, less what it kept before. Of several lines one could
    lose a unit to another by a further capture: a capture's fee is never below 0, nor above what is captured.
    """
    amounts = plan.latest_snapshot.amounts
    wanted = amounts.capturable_minor if amount_minor is None else amount_minor
    before, after = (
        plan.application_fee_minor(captured_minor)
        for captured_minor in (amounts.captured_minor, amounts.captured_minor + wanted)
    )
    return Capture(
        request_id=request_id,
        amount_minor=wanted,
        fee_minor=min(wanted, max(0, after - before)),
        is_final=is_final or wanted == amounts.capturable_minor,
        is_of_plan=is_of_plan,
    )
