"""Moves a held payment: starts it, applies what was seen, says it to status, ends what was abandoned.

What survives a crash at any line: the plan and the outbox are saved before anything is asked of others that could not
be asked again; everything that is asked carries an id derived from the payment, so asking twice is asking once. Whoever
takes the payment after the lease of a dead process goes on from what was saved.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Final

from batzen.gateway.v1 import gateway_pb2, observation_pb2
from batzen.pricing.v1 import pricing_pb2
from batzen.status.v1 import status_pb2
from services.errors import DependencyUnavailable, ServiceError
from services.orchestrator import domain
from services.orchestrator.domain import Attention, Observation, PaymentError, Snapshot
from services.orchestrator.peers import Peers, Refused, observation
from services.orchestrator.store import LeaseLost, Plan, Request, Store, Transition
from services.runtime import points

RENEW_EVERY_S: Final = domain.LEASE.total_seconds() / 3

_logger = logging.getLogger(__name__)


class Work:
    """A held payment on its way: its plan, and what this holder learned and has not saved yet."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.added: list[Transition] = []
        self.said: list[Transition] = []
        self.refused: tuple[Transition, str] | None = None
        self.payment: status_pb2.Payment | None = None
        """As status last answered."""
        self.quote: pricing_pb2.Quote | None = None
        self.client_secret = ""
        self.redirect_url: str | None = None

    @property
    def behind(self) -> bool:
        """Whether status has not heard everything yet."""
        return any(transition not in self.said for transition in [*self.plan.unsaid, *self.added])

    def say(self, snapshot: Snapshot, fact: str) -> None:
        """Put what is true now into the outbox; `fact` names what made it so."""
        request_id = domain.derived_id(self.plan.payment_id, fact)
        self.added.append(Transition(request_id=request_id, fact=fact, snapshot=snapshot))
        self.plan.said = snapshot

    def apply(self, seen: Observation) -> None:
        """Say what follows from an observation, unless it is not newer than the last that was applied."""
        plan = self.plan
        if seen.mirror_version <= plan.mirror_version:
            return
        plan.mirror_version = seen.mirror_version
        snapshot = domain.observed(plan.said, seen, ending=plan.ending)
        if domain.says_something_new(plan.said, snapshot):
            self.say(snapshot, f"mirror:{seen.mirror_version}")
        if snapshot.collection == domain.SUCCEEDED or snapshot.collection in domain.ENDED_WITHOUT_MONEY:
            plan.stage, plan.expire_time = "ENDED", None


class Driver:
    """Moves held payments."""

    def __init__(self, store: Store, peers: Peers, *, abandoned_after: timedelta, now: Callable[[], datetime]) -> None:
        self._store = store
        self._peers = peers
        self._abandoned_after = abandoned_after
        self._now = now

    @asynccontextmanager
    async def holding(self, plan: Plan) -> AsyncIterator[Work]:
        """Keep the lease while inside. On an error let the payment go, to be looked at again soon."""
        renewing = asyncio.create_task(self._renew(plan))
        work = Work(plan)
        try:
            yield work
        except LeaseLost:
            # Somebody else goes on with it from what was saved; the caller may ask them.
            raise DependencyUnavailable(dependency="lease") from None
        except (Exception, asyncio.CancelledError):
            await self._let_go(work)
            raise
        finally:
            renewing.cancel()

    async def start(self, work: Work, payer: gateway_pb2.Payer | None) -> None:
        """Quote, open, create the intent: from whatever was reached to COLLECTING, or to the end of the plan.

        Nothing is saved between the steps, for each can be asked again and answers the same: the quote by its request
        id, the opened payment and the intent by ids derived from the payment. No money moves here. Raises `Refused`
        when pricing refuses the lines; the plan ends there and no payment was opened.
        """
        plan = work.plan
        try:
            quote = await points.call("start.quote", self._peers.create_quote(plan.quote_request))
        except Refused:
            plan.stage, plan.due_time = "REFUSED", None
            raise
        work.quote = quote
        plan.quote_id, plan.currency_code = quote.quote_id, quote.currency_code
        plan.total_minor = quote.total.amount_minor
        plan.platform_fee_minor = sum(seller.platform_share_minor for seller in quote.sellers)
        work.payment = await points.call("start.open", self._peers.open_payment(plan))
        plan.revision = max(plan.revision, 1)
        if plan.total_minor == 0:
            work.say(domain.paid_nothing(plan.said), "step:nothing_to_pay:1")
            plan.stage = "ENDED"
        else:
            await self._create_intent(work, payer)
        await self.save(work, "start.intent")

    async def _create_intent(self, work: Work, payer: gateway_pb2.Payer | None) -> None:
        plan = work.plan
        try:
            seen = await points.call("start.gateway", self._peers.create_intent(plan, payer))
        except Refused as refusal:
            error = PaymentError(code=refusal.reason.lower() or "refused", message=str(refusal))
            work.say(domain.refused(plan.said, error), "step:refused:1")
            plan.stage = "ENDED"
            return
        plan.attempt += 1
        plan.stage, plan.expire_time = "COLLECTING", self._now() + self._abandoned_after
        work.client_secret = seen.client_secret
        work.apply(seen.observation)

    def apply_delivered(self, work: Work) -> None:
        """Apply what the gateway delivered since the last time."""
        plan = work.plan
        if plan.observation is not None and plan.observed_version > plan.mirror_version:
            work.apply(observation(observation_pb2.PaymentObservation.FromString(plan.observation)))

    async def end_if_due(self, work: Work) -> None:
        """Expire what its payer abandoned, and give up what was declined too often."""
        plan, said = work.plan, work.plan.said
        if plan.stage != "COLLECTING" or said.collection not in domain.EXPIRABLE:
            return
        if said.decline_count >= domain.DECLINES_MAX:
            await self.call_off(work, ending=domain.FAILED, reason="FRAUDULENT")
        elif plan.expire_time is not None and plan.expire_time <= self._now():
            await self.call_off(work, ending=domain.EXPIRED, reason="ABANDONED")

    async def call_off(self, work: Work, *, ending: str, reason: str, request: Request | None = None) -> None:
        """Cancel the intent and with it the payment; if money was or may be taken, see what is true instead.

        What the cancelled intent will mean is saved first, since its webhook may be faster than our answer.
        """
        plan = work.plan
        plan.ending = ending
        await self.save(work, f"{ending.lower()}.begin", request=request)
        request_id = str(domain.derived_id(plan.payment_id, f"step:{ending.lower()}:{plan.attempt}"))
        try:
            seen = await points.call(
                f"{ending.lower()}.gateway", self._peers.cancel_intent(plan, request_id=request_id, reason=reason)
            )
        except Refused as refusal:
            if refusal.reason != "INTENT_STATE":
                raise
            plan.ending = None
            seen = await points.call(f"{ending.lower()}.sync", self._peers.sync_intent(plan.payment_id))
        work.apply(seen.observation)

    async def say_all(self, work: Work) -> None:
        """Send the outbox to status, oldest first. Raises `DependencyUnavailable` and keeps the rest when it is away."""
        plan = work.plan
        for transition in [*plan.unsaid, *work.added]:
            if transition in work.said:
                continue
            try:
                answer = await points.call("say.status", self._peers.record(plan, transition))
            except Refused as refusal:
                await self._refused(work, transition, refusal)
                return
            plan.revision = answer.transition.revision
            work.payment = answer.payment
            work.said.append(transition)

    async def say_what_goes(self, work: Work) -> None:
        """Send the outbox as far as status can be reached; the rest is said by whoever holds the payment next."""
        try:
            await self.say_all(work)
        except DependencyUnavailable:
            _logger.warning("status does not hear of %s yet", work.plan.payment_id)

    async def _refused(self, work: Work, transition: Transition, refusal: Refused) -> None:
        """Keep what status refuses for good beside the outbox, and ask a person; what comes later is still said."""
        _logger.error("status refused %s of %s: %s", transition.fact, work.plan.payment_id, refusal.reason)
        work.refused = (transition, refusal.reason)
        await self.save(work, "say.refused")
        if transition.snapshot.attention is None or transition.snapshot.attention.reason != "TRANSITION_REFUSED":
            truth = await self._peers.payment(work.plan.payment_id)
            work.plan.revision = truth.revision
            detail = f"{transition.fact} was refused: {refusal.reason}."
            attention = Attention(reason="TRANSITION_REFUSED", detail=detail)
            work.say(domain.parked(work.plan.said, attention), f"refused:{transition.fact}")
            await self.save(work, "say.parked")
            await self.say_all(work)

    async def save(self, work: Work, point: str, *, request: Request | None = None, release: bool = False) -> None:
        """Keep what was decided and learned so far; with `release` let the payment go, due when its plan says."""
        plan = work.plan
        if release:
            plan.tries = 0
            plan.due_time = self._due(work)
        await self._write(work, point, request=request, release=release)

    def _due(self, work: Work) -> datetime | None:
        if work.behind:
            return self._now() + domain.RETRY_FIRST
        if work.plan.stage == "COLLECTING" and work.plan.said.decline_count >= domain.DECLINES_MAX:
            return self._now()
        return work.plan.expire_time

    async def _write(self, work: Work, point: str, *, request: Request | None = None, release: bool) -> None:
        plan, refused = work.plan, work.refused
        # A transition that was said before it was saved needs no row: status has it under the same request id.
        added = [transition for transition in work.added if transition not in work.said]
        await self._store.save(
            plan,
            point=point,
            now=self._now(),
            added=added,
            said=[transition.request_id for transition in work.said],
            refused=(refused[0].request_id, refused[1]) if refused else None,
            request=request,
            release=release,
        )
        gone = [*work.said, *([refused[0]] if refused else [])]
        plan.unsaid = [transition for transition in [*plan.unsaid, *added] if transition not in gone]
        work.added, work.said, work.refused = [], [], None

    async def _let_go(self, work: Work) -> None:
        """Let the payment go after an error: what is saved stays, the rest is done again after a while."""
        plan = work.plan
        plan.tries += 1
        plan.due_time = self._now() + domain.retry_delay(plan.tries)
        if plan.tries == domain.PARKED_AFTER_TRIES and plan.said.attention is None and plan.revision > 0:
            detail = f"It did not move in {plan.tries} tries."
            work.say(domain.parked(plan.said, Attention(reason="STUCK", detail=detail)), f"step:stuck:{plan.revision}")
        try:
            await self._write(work, "lease.release", release=True)
        except (LeaseLost, ServiceError):
            _logger.warning("%s could not be let go; it is due when its lease ends", plan.payment_id)

    async def _renew(self, plan: Plan) -> None:
        while True:
            await asyncio.sleep(RENEW_EVERY_S)
            try:
                if not await self._store.renew(plan, now=self._now()):
                    return
            except ServiceError:
                _logger.warning("the lease of %s could not be renewed", plan.payment_id)
