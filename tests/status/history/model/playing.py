"""A round on the model: the same watchers and writers as on real replicas, for a moment."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from grpc import aio

from batzen._channel import make_channel
from batzen.status.v1.status_pb2_grpc import StatusServiceStub, add_StatusServiceServicer_to_server
from tests.status.history.checker.findings import MAY_PASS, Finding
from tests.status.history.checker.timeline import Timeline, timelines
from tests.status.history.checker.verdict import findings_of
from tests.status.history.harness.audience import Audience
from tests.status.history.harness.world import World
from tests.status.history.harness.writers import Writers, next_snapshot
from tests.status.history.model.bugs import Bug
from tests.status.history.model.cast import gather_cast
from tests.status.history.model.memory import Memory
from tests.status.history.model.servicer import Model
from tests.status.history.reports import Attempt, Report, Unknown, now_us
from tests.status.history.stored import Stored, content

PAYMENTS: Final = 12
WATCHES: Final = 80
"""Two streams of WatchMany and four feeds are among them."""
WRITERS: Final = 8
SECONDS: Final = 0.2
LATE_S: Final = 0.03
ERRED_WITHIN_S: Final = 60.0
"""What each bug needs comes about within three seconds; a machine may be busy with other things."""
IN_THE_END: Final = frozenset({Bug.FORGETS, Bug.CHANGES_THE_PAST, Bug.HEARTBEAT_AHEAD})
"""Bugs that show once all is quiet."""
CAUGHT_UP_WITHIN_S: Final = 0.8
LOOK_AGAIN_S: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What was stored and reported in a round, and what is wrong with it."""

    stored: Stored
    report: Report
    lines: dict[str, Timeline]
    findings: list[Finding]


async def play(
    seed: str,
    *,
    bug: Bug | None,
    seconds: float = SECONDS,
    watches: int = WATCHES,
    caught_up_within_s: float = CAUGHT_UP_WITHIN_S,
) -> Played:
    """Watch and write for a moment, and until the bug has shown itself; have all catch up, or not; and judge."""
    memory = Memory(random.Random(f"{seed}/model"), bug=bug)
    model = Model(memory)
    late: list[Attempt] = []
    async with _serving(model) as stub:
        world = World(settled_xid=lambda: _settled_xid(memory))
        writers = Writers(world, [stub], random.Random(f"{seed}/opening"))
        payment_ids = [await writers.open(number) for number in range(PAYMENTS)]
        audience = Audience(world, [[stub], [stub]], seed)
        async with asyncio.TaskGroup() as group:
            everybody = [
                *audience.gather(payment_ids, watches),
                *gather_cast(audience, world, stub, payment_ids, seed),
            ]
            watching = [group.create_task(one) for one in everybody]
            writing = [
                *(
                    writers.write(
                        payment_ids[1:], random.Random(f"{seed}/writer/{number}"), pause_s=0.004, seconds=2 * seconds
                    )
                    for number in range(WRITERS)
                ),
                _write_late(memory, payment_ids[0], random.Random(f"{seed}/late"), world, late),
            ]
            writing_tasks = [group.create_task(one) for one in writing]
            await asyncio.sleep(seconds / 2)
            earlier = memory.stored()
            await asyncio.sleep(seconds / 2)
            if bug is not None and bug not in IN_THE_END:
                with suppress(TimeoutError):  # what was not found then may be in the next round
                    async with asyncio.timeout(ERRED_WITHIN_S):
                        await memory.has_erred_enough.wait()
            model.is_draining = False
            world.hush()
            await asyncio.wait(writing_tasks)
            _corrupt(memory)
            stored = memory.stored()
            world.still.set()
            report = audience.report(attempts=[*writers.attempts, *late], readings=writers.readings)
            findings = await _judged(stored, report, earlier, within_s=caught_up_within_s)
            for task in watching:
                task.cancel()
    return Played(stored=stored, report=report, lines=timelines(stored, report), findings=findings)


def _corrupt(memory: Memory) -> None:
    """Do to what was stored long ago what a bug does."""
    for kept in memory.kept.values():
        if memory.bug is Bug.FORGETS and len(kept.rows) > 2:
            kept.rows.pop()
        if memory.bug is Bug.CHANGES_THE_PAST and len(kept.rows) > 2:
            kept.rows[1] = kept.rows[1] | {"request_id": "another"}


@asynccontextmanager
async def _serving(model: Model) -> AsyncIterator[Any]:
    server = aio.server()
    add_StatusServiceServicer_to_server(model, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with make_channel(f"127.0.0.1:{port}", timeout_s=5, metadata=tuple) as channel:
            yield StatusServiceStub(channel)
    finally:
        await server.stop(0)


async def _settled_xid(memory: Memory) -> int:
    return memory.horizon()


async def _write_late(
    memory: Memory, payment_id: str, chance: random.Random, world: World, attempts: list[Attempt]
) -> None:
    """Move a payment that nobody else writes in transactions that take their time to commit."""
    while not world.quiet.is_set():
        before = memory.kept[payment_id].rows[-1]
        asked_us, xid, snapshot = now_us(), memory.begin(), next_snapshot(before["snapshot"], chance)
        request_id = f"late {xid}"
        await asyncio.sleep(chance.random() * LATE_S)
        memory.commit(xid, payment_id, snapshot, request_id)
        attempts.append(
            Attempt(
                payment_id=payment_id,
                request_id=request_id,
                expected_revision=before["revision"],
                snapshot=content(snapshot),
                asked_us=asked_us,
                ended_us=now_us(),
                outcome=Unknown(code="LATE"),
            )
        )


async def _judged(stored: Stored, report: Report, earlier: Stored, *, within_s: float) -> list[Finding]:
    until = asyncio.get_running_loop().time() + within_s
    while findings := findings_of(stored, report, earlier=[earlier]):
        if asyncio.get_running_loop().time() > until or not all(one.kind in MAY_PASS for one in findings):
            break
        await asyncio.sleep(LOOK_AGAIN_S)
    return findings
