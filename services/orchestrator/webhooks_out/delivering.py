"""Sends what waits, a lane at a time, and keeps what came of each try.

What happens if the process dies: before a try was kept, it is made again, under the same id; after, the lane is due
when its lease ends, and goes on after it. A try whose lease ran out may overlap the next one: the receiver gets a
delivery twice, and is told so by its id.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final

from services.orchestrator.facts.domain import Fact
from services.orchestrator.webhooks_out.delivery_rows import try_of
from services.orchestrator.webhooks_out.domain import TRIED_FOR, Delivery, DeliveryState, next_delay
from services.orchestrator.webhooks_out.lanes import RESTS, Head, LaneStore
from services.orchestrator.webhooks_out.metrics import UNCOUNTED, WebhookMetrics
from services.orchestrator.webhooks_out.secrets import SecretBox
from services.orchestrator.webhooks_out.sending import Attempt, Message, Outcome
from services.runtime import crash_points
from services.runtime.database.lease import LEASE
from services.runtime.work.kinds import RetryLater, RetryPolicy, Turns, Work, WorkClass, WorkKind, jittered

AT_ONCE: Final = 4
"""Lanes of one receiver that a process sends at once: what hangs there takes no more of the slots than that."""
TURN_MAX: Final = 20
"""Deliveries of a lane in a row; then others have their turn."""
BUSY_DELAY: Final = timedelta(seconds=1)
"""Until a lane looks again whose receiver has its tries under way, by another subscription."""

Send = Callable[[Message], Awaitable[Attempt]]

LegacyBody = Callable[[Fact], Awaitable[bytes]]
"""Makes a body in the old form, asking the gateway. Raises `DependencyUnavailable` while that is away."""

_logger = logging.getLogger(__name__)


class BodyLost(Exception):
    """The fact of a delivery was forgotten before its body was made."""


class Delivering:
    """Sends what is due."""

    def __init__(
        self,
        store: LaneStore,
        send: Send,
        secrets: SecretBox,
        legacy_body: LegacyBody,
        *,
        now: Callable[[], datetime],
        metrics: WebhookMetrics = UNCOUNTED,
    ) -> None:
        self._store = store
        self._send = send
        self._secrets = secrets
        self._legacy_body = legacy_body
        self._now = now
        self._metrics = metrics
        self.kind = WorkKind(
            name="hooks",
            work_class=WorkClass.HOOKS,
            table="webhook_lanes",
            key={"subscription_id": "text", "subject": "text"},
            # Of what fails before a try is made. Deliveries are given up, lanes never.
            retry=RetryPolicy(tries_max=None, first_delay=LEASE),
            handler=self.deliver,
            turns=Turns(column="subscription_id", at_once=AT_ONCE, rests=RESTS),
        )
        """The lanes as work."""

    async def deliver(self, work: Work) -> None:
        """Send what waits in a lane, one after the other, until one is not taken."""
        for _ in range(TURN_MAX):
            head = await self._store.head(work)
            if head is None:
                return
            if head.is_deleted:
                self._metrics.ended(DeliveryState.CANCELED, count=await self._store.cancel(work))
                return
            if head.is_superseded:  # it was given up and is replayed: how the payment stood is not how it stands
                await self._store.supersede(work, head.delivery)
                self._metrics.ended(DeliveryState.CANCELED)
                continue
            if head.wait:
                raise RetryLater(head.wait)
            await self._try(work.tenant_id, head)
        raise RetryLater(timedelta(0))

    async def _try(self, tenant_id: str, head: Head) -> None:
        """Make one try, and keep what came of it. Raises `RetryLater` unless the next one's turn has come."""
        delivery = head.delivery
        message = self._message(tenant_id, head, body=await self._body(tenant_id, delivery))
        attempt = await crash_points.call("hook.send", self._send(message))
        self._metrics.tried(attempt)
        if attempt.outcome is Outcome.RECEIVER_BUSY:
            raise RetryLater(jittered(BUSY_DELAY))
        now = self._now()
        state, delay = _what_follows(delivery, attempt, now=now)
        await self._store.record(tenant_id, delivery, try_of(attempt, time=now), state=state, delay=delay)
        if delay is not None:
            raise RetryLater(delay)
        after = now - delivery.begin_time if state is DeliveryState.DELIVERED else None
        self._metrics.ended(state, after=after)
        if state is DeliveryState.DEAD:
            fields = {"event": "webhook.dead", "subscription": delivery.subscription_id, "kind": delivery.kind}
            text = "delivery %s to %s is a dead letter after %d tries"
            tries = delivery.try_count + 1
            _logger.error(text, delivery.delivery_id, delivery.subscription_id, tries, extra={"fields": fields})

    async def _body(self, tenant_id: str, delivery: Delivery) -> bytes:
        """Return the body, which is made now where it takes more than the fact to make it."""
        if delivery.body is not None:
            return delivery.body
        fact = await self._store.fact(tenant_id, delivery)
        if fact is None:
            raise BodyLost
        return await self._store.put_body(tenant_id, delivery, await self._legacy_body(fact))

    def _message(self, tenant_id: str, head: Head, *, body: bytes) -> Message:
        subscription_id = head.delivery.subscription_id
        return Message(
            url=head.url,
            message_id=str(head.delivery.delivery_id),
            body=body,
            secrets=[
                self._secrets.open(wrapped, tenant_id, subscription_id, secret_id)
                for secret_id, wrapped in head.secrets
            ],
        )


def _what_follows(delivery: Delivery, attempt: Attempt, *, now: datetime) -> tuple[DeliveryState, timedelta | None]:
    """Return what has become of a delivery by a try, and after which rest the next one comes."""
    if attempt.is_delivered:
        return DeliveryState.DELIVERED, None
    tries = 1 + sum(one.time >= delivery.begin_time for one in delivery.tries)
    left = delivery.begin_time + TRIED_FOR - now
    delay = next_delay(tries, left=left, asked=attempt.retry_after)
    return (DeliveryState.DEAD, None) if delay is None else (DeliveryState.WAITING, jittered(delay))
