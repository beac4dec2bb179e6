"""Status itself, with a door for changes that are committed already, as if another replica had written them.

`python -m bench.servers.ours LOG`, with the environment of a service. All is as `services.status` runs it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import Counter
from functools import partial
from typing import Final

from bench.database import TENANT
from bench.light.tally import stamp
from bench.sample import REQUEST_ID, SNAPSHOT
from bench.servers.control import controlled, payment_id
from services.runtime.process.lifecycle import run, until_terminated, utc_now
from services.runtime.process.service import ProcessSettings
from services.runtime.process.settings import settings_from
from services.status.__main__ import SERVICE, read_settings, serving
from services.status.domain.records import Transition
from services.status.watches.hub import WatchHub
from services.status.watches.watch import Update
from services.status.wire.responses import transition_message

LISTENING_S: Final = 0.3
"""Until the listener for hints is there, and with it the one reading of everything: it would find what is to come."""
STANDARD_OUTPUT: Final = 1


class _Publisher:
    """Publishes as `RecordTransition` does: with the message that it answers with, serialised."""

    def __init__(self, hub: WatchHub) -> None:
        self._hub = hub
        self._revisions: Counter[int] = Counter()
        self._message = transition_message(
            Transition(
                payment_id=payment_id(0), revision=1, snapshot=SNAPSHOT, record_time=utc_now(), request_id=REQUEST_ID
            )
        )

    def publish(self, number: int) -> None:
        """Hand over the next revision of a payment; all stand at 1 when this process starts."""
        revision = self._revisions[number] = self._revisions[number] + 1
        message = self._message
        message.payment_id, message.revision, message.snapshot.reason = payment_id(number), revision + 1, stamp()
        message.record_time.GetCurrentTime()
        update = Update(
            message.payment_id,
            revision + 1,
            settled=message.settled,
            serialized=message.SerializeToString(),
            recorded_at=message.record_time.ToNanoseconds() / 1e9,
        )
        self._hub.publish(TENANT, update)


async def _serve(settings: ProcessSettings, *, replies: int) -> None:
    async with serving(settings) as servicer:
        await asyncio.sleep(LISTENING_S)
        controlling = asyncio.create_task(
            controlled(_Publisher(servicer.hub).publish, replies=replies)  # the door
        )
        controlling.add_done_callback(lambda _: signal.raise_signal(signal.SIGTERM))
        await until_terminated()
        await controlling


if __name__ == "__main__":
    answers = os.dup(STANDARD_OUTPUT)
    log = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(log, STANDARD_OUTPUT)  # a service logs there
    run(partial(_serve, settings_from(os.environ, read_settings), replies=answers), service=SERVICE)
