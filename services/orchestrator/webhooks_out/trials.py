"""Sends a test event, once, now, whatever else waits for the receiver."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime

from services.orchestrator.domain.plan import RequestKey
from services.orchestrator.webhooks_out import payload
from services.orchestrator.webhooks_out.delivering import Send
from services.orchestrator.webhooks_out.delivery_rows import try_of
from services.orchestrator.webhooks_out.domain import NAMESPACE, TEST, Delivery, DeliveryState
from services.orchestrator.webhooks_out.log import DeliveryLog
from services.orchestrator.webhooks_out.metrics import UNCOUNTED, WebhookMetrics
from services.orchestrator.webhooks_out.sending import Message
from services.orchestrator.webhooks_out.subscriptions import SubscriptionStore
from services.runtime import crash_points


class Trials:
    """Sends them. What is not taken is no dead letter: whoever asked for the test sees what came of it."""

    def __init__(
        self,
        subscriptions: SubscriptionStore,
        log: DeliveryLog,
        send: Send,
        *,
        now: Callable[[], datetime],
        metrics: WebhookMetrics = UNCOUNTED,
    ) -> None:
        self._subscriptions = subscriptions
        self._log = log
        self._send = send
        self._now = now
        self._metrics = metrics

    async def send(self, key: RequestKey, subscription_id: str) -> Delivery:
        """Send one; for a repeat, return what came of the first.

        Raises `WebhookSubscriptionNotFound`, `WebhooksNotConfigured`.
        """
        its_id = uuid.uuid5(NAMESPACE, "\x1f".join((key.tenant_id, key.caller, str(key.request_id), subscription_id)))
        known = await self._log.tested(key.tenant_id, its_id)
        if known is not None:
            return known
        url, secrets = await self._subscriptions.signing(key.tenant_id, subscription_id)
        time = self._now()
        body = payload.test_body(tenant_id=key.tenant_id, subscription_id=subscription_id, time=time)
        message = Message(url=url, message_id=str(its_id), body=body, secrets=secrets)
        attempt = await crash_points.call("hook.send_test", self._send(message))
        self._metrics.tried(attempt)
        tried = try_of(attempt, time=time)
        delivery = Delivery(
            delivery_id=its_id,
            subscription_id=subscription_id,
            subject=f"test:{its_id}",
            kind=TEST,
            payment_id="",
            revision=0,
            fact_id=None,
            body=body,
            state=DeliveryState.DELIVERED if attempt.is_delivered else DeliveryState.DEAD,
            create_time=time,
            begin_time=time,
            end_time=time,
            try_count=1,
            tries=(tried,),
        )
        await self._log.keep_test(key.tenant_id, delivery, tried)
        return delivery
