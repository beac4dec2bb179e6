"""What is noticed at Stripe is told once, whichever process dies wherever it is on its way to the orchestrator."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import pytest

from local.ports import free_ports
from local.storage import Storage
from tests.forking import ForkServer
from tests.quick_postgres import quick_postgres
from tests.suite.crashes import rigged, struck

POSITIONS: Final = (
    # The gateway: it is written down with the dispute, delivered, and noted as that.
    "observe.record:before_commit",
    "observe.record:after_commit",
    "notices.claim:after_commit",
    "notice.sink:before",
    "notice.sink:after",
    "notice.done:before_commit",
    "notice.done:after_commit",
    "notices.end:after_commit",
    # The orchestrator: it is kept with all that follows from it.
    "facts.keep:before_commit",
    "facts.keep:written",
    "facts.keep:after_commit",
)


@pytest.mark.soak
async def test_a_dispute_is_told_once_wherever_a_process_dies_on_the_way() -> None:
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="batzen-notices-")))
        folder.chmod(0o711)
        server = quick_postgres(folder / "postgres")
        await asyncio.to_thread(server.start)
        stack.push_async_callback(asyncio.to_thread, server.stop)
        storage = Storage(admin_url=server.admin_url, passwords=folder / "passwords.json", prefix="notices_")
        forks = await stack.enter_async_context(ForkServer())
        rig = await stack.enter_async_context(rigged(storage, forks, ports=free_ports()))
        for position in POSITIONS:
            rig.armed.write_text(position)
            assert await struck(rig, "dispute"), f"{position} is not passed"
