"""Notifications followed over lost connections and restarted servers: each once, in the order of its number."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from typing import Final

from batzen._channel import streaming
from batzen.errors import Aborted, Cancelled, ResourceExhausted, Unavailable
from batzen.orchestrator.v1.notifications_pb2 import Notification, WatchNotificationsRequest
from batzen.orchestrator.v1.notifications_pb2_grpc import NotificationServiceStub

AGAIN: Final = (Unavailable, Cancelled, Aborted, ResourceExhausted)
"""What ends a stream that goes on elsewhere, or later."""
PAUSE_FIRST_S: Final = 0.2
PAUSE_MAX_S: Final = 10.0
FAILURES_MAX: Final = 30
"""In a row, over some four minutes; then the last one is raised."""


async def watch_notifications(
    stub: NotificationServiceStub, request: WatchNotificationsRequest, *, pause_first_s: float = PAUSE_FIRST_S
) -> AsyncGenerator[Notification]:
    """Yield a recipient's notifications as they come, from after the one that `request` names; else from now on.

    It never ends by itself. Raises what refuses the request, and the last failure once too many came in a row.
    """
    asked, failures = WatchNotificationsRequest(), 0
    asked.CopyFrom(request)
    while True:
        try:
            async with streaming(stub.WatchNotifications(asked)) as messages:
                async for message in messages:
                    failures = 0
                    for one in message.notifications:
                        asked.after_notification_id = one.notification_id
                        yield one
                    asked.after_notification_id = message.after_notification_id
        except AGAIN:
            failures += 1
            if failures >= FAILURES_MAX:
                raise
        pause_s = min(pause_first_s * 2 ** min(failures, 10), PAUSE_MAX_S)
        await asyncio.sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311 spreads load, guards nothing
