"""A loop goes on after a failure until it has failed too often, and nothing beside the calls fails silently."""

from __future__ import annotations

import ast
import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from grpc_health.v1 import health_pb2

from services.errors import DependencyUnavailable
from services.runtime.process import ending
from services.runtime.rpc.health import READINESS, Health
from services.runtime.work import loops
from services.runtime.work.loops import FAILURES_MAX, detached, failing, failure_counts, repeat, repeating, telling
from tests.eventually import WITHIN_S
from tests.logged import said_by

SERVICES: Final = Path(__file__).parents[2] / "services"
TASKS: Final = {"create_task", "ensure_future", "TaskGroup", "run_coroutine_threadsafe", "Thread"}
MAKES_TASKS: Final = {
    "runtime/work/loops.py": "the one place for what runs beside the calls",
    "runtime/process/lifecycle.py": "main itself, which is waited for",
    "runtime/database/servers.py": "connecting to several servers at once, waited for and judged where it is begun",
    "runtime/observability/span_export.py": "the end of an export that may hang, waited for where it is begun",
    "runtime/process/logs.py": "the thread that writes the log, and counts what it could not",
    "runtime/rpc/server.py": "the server's stop, waited for where it is begun",
    "orchestrator/transition_outbox.py": "the outbox beside a call of the gateway, waited for where it is begun",
    "status/watches/send_queue.py": "the reader beside the writer of a stream, which ends with it",
}
"""What makes tasks of its own, below services/, and why its failures are nobody else's to see."""


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Exception | None]:
    """How the process was told to end; in a test it goes on."""
    state = type(ending.state)()
    monkeypatch.setattr(ending, "state", state)
    return lambda: state.failure


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failures are tried again without a rest."""
    monkeypatch.setattr(loops, "BACKOFF_FIRST_S", 0.0)


class Steps:
    """A step that raises what it is told to, and then succeeds each time."""

    def __init__(self, *errors: Exception | None) -> None:
        self.errors = list(errors)
        self.succeeded = asyncio.Event()

    async def __call__(self) -> None:
        if self.errors:
            error = self.errors.pop(0)
            if error is not None:
                raise error
            return
        self.succeeded.set()
        await asyncio.Event().wait()


def bugs(count: int) -> list[Exception]:
    return [ValueError("a bug") for _ in range(count)]


@pytest.mark.usefixtures("at_once")
async def test_trouble_is_said_once_and_a_failure_each_time(caplog: pytest.LogCaptureFixture) -> None:
    failures = [DependencyUnavailable(dependency="database"), TimeoutError(), *bugs(2)]

    async def step() -> bool:
        if failures:
            raise failures.pop(0)
        return False

    with caplog.at_level(logging.INFO):
        async with asyncio.timeout(WITHIN_S):
            await repeat(step, name="the_step", every_s=0)
    levels = [record.levelno for record in said_by(loops, caplog)]
    assert levels == [logging.WARNING, logging.ERROR, logging.ERROR, logging.INFO]


async def test_what_never_failed_is_counted_from_0() -> None:
    steps = Steps()
    async with repeating(steps, name="the_step_that_never_fails", every_s=0), asyncio.timeout(WITHIN_S):
        await steps.succeeded.wait()

    assert failure_counts()["the_step_that_never_fails"] == 0
    assert "the_step_that_never_fails" in failure_counts()


@pytest.mark.usefixtures("at_once")
async def test_nothing_is_ready_from_a_failure_to_the_next_success() -> None:
    health, steps, seen = Health(["a.Service"]), Steps(*bugs(1)), list[bool]()
    health.ready(True)
    before = failure_counts().get("the_step", 0)

    def look() -> None:
        health.refresh()
        seen.append("the_step" in failing())

    with telling(look):
        async with repeating(steps, name="the_step", every_s=0), asyncio.timeout(WITHIN_S):
            await steps.succeeded.wait()
            assert seen == [True]  # it succeeds and has not come back yet
            assert await is_not_ready(health)
    assert seen == [True, False]
    assert not await is_not_ready(health)
    assert failure_counts()["the_step"] == before + 1


@pytest.mark.usefixtures("at_once")
async def test_a_loop_that_works_again_is_ready_while_it_goes_on() -> None:
    steps = Steps(ValueError("a bug"), None)
    changes: asyncio.Queue[bool] = asyncio.Queue()
    with telling(lambda: changes.put_nowait("the_step" in failing())):
        async with repeating(steps, name="the_step", every_s=0), asyncio.timeout(WITHIN_S):
            assert [await changes.get(), await changes.get()] == [True, False]


@pytest.mark.usefixtures("at_once")
async def test_five_failures_in_a_row_end_the_process_in_one_line(
    ended: Callable[[], Exception | None], caplog: pytest.LogCaptureFixture
) -> None:
    steps = Steps(*bugs(FAILURES_MAX))
    async with repeating(steps, name="the_step", every_s=0), asyncio.timeout(WITHIN_S):
        await ending.state.terminated.wait()
        assert failing() == {"the_step"}  # until its process has ended
    assert isinstance(ended(), ending.BackgroundFailed)
    last = [record.getMessage() for record in caplog.records if "the process ends" in record.getMessage()]
    assert last == ["the_step failed 5 times in a row, and the process ends: ValueError('a bug')"]
    assert failing() == frozenset()


@pytest.mark.usefixtures("at_once")
async def test_a_success_begins_a_new_row_and_trouble_does_not(ended: Callable[[], Exception | None]) -> None:
    away = DependencyUnavailable(dependency="database")
    steps = Steps(*bugs(FAILURES_MAX - 1), None, *bugs(FAILURES_MAX - 1))
    async with repeating(steps, name="the_step", every_s=0), asyncio.timeout(WITHIN_S):
        await steps.succeeded.wait()
    assert ended() is None

    steps = Steps(*bugs(FAILURES_MAX - 1), away, *bugs(1))
    async with repeating(steps, name="the_step", every_s=0), asyncio.timeout(WITHIN_S):
        await ending.state.terminated.wait()
    assert ended() is not None


async def test_what_forbids_the_process_to_serve_ends_it_at_once(ended: Callable[[], Exception | None]) -> None:
    refused = ending.StartRefused("another's account")
    async with repeating(Steps(refused), name="the_step", every_s=0), asyncio.timeout(WITHIN_S):
        await ending.state.terminated.wait()
    assert ended() is refused


@pytest.mark.usefixtures("at_once")
async def test_a_step_that_waited_for_something_cancelled_has_failed(caplog: pytest.LogCaptureFixture) -> None:
    steps = Steps()
    cancelled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    cancelled.cancel()

    def said() -> list[str]:
        return [record.getMessage() for record in said_by(loops, caplog)]

    async def step() -> None:
        if not said():
            await cancelled
        await steps()

    async with repeating(step, name="the_step", every_s=0), asyncio.timeout(WITHIN_S):
        await steps.succeeded.wait()
    assert "CancelledError" in said()[0]


async def test_what_a_step_fails_with_as_it_is_ended_ends_no_process(ended: Callable[[], Exception | None]) -> None:
    begun = asyncio.Event()

    async def step() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("a connection that was closed under it")

    async with repeating(step, name="the_step", every_s=0), asyncio.timeout(WITHIN_S):
        await begun.wait()
    assert ended() is None
    assert failing() == frozenset()


async def test_a_rest_that_fails_ends_the_process(ended: Callable[[], Exception | None]) -> None:
    async def rest() -> None:
        raise ValueError("a bug")

    async with repeating(Steps(None), name="the_step", every_s=rest), asyncio.timeout(WITHIN_S):
        await ending.state.terminated.wait()
    assert isinstance(ended(), ValueError)


async def test_a_loop_of_a_row_harms_nobody_else(ended: Callable[[], Exception | None]) -> None:
    steps = Steps(*bugs(2 * FAILURES_MAX))
    before = failure_counts().get("the_row", 0)
    async with repeating(steps, name="the_row", every_s=0, is_vital=False), asyncio.timeout(WITHIN_S):
        await steps.succeeded.wait()
        assert failing() == frozenset()
    assert ended() is None
    assert failure_counts()["the_row"] == before + 2 * FAILURES_MAX


async def test_trouble_is_tried_again_ever_more_seldom() -> None:
    steps = Steps(*[TimeoutError() for _ in range(6)])
    loop = asyncio.get_running_loop()
    begun = loop.time()
    how = {"every_s": WITHIN_S, "retry_s": 0.01, "retry_max_s": 0.04}
    async with repeating(steps, name="the_step", **how), asyncio.timeout(WITHIN_S):  # type: ignore[arg-type]
        await steps.succeeded.wait()
    assert loop.time() - begun >= 0.01 + 0.02 + 4 * 0.04


async def test_a_step_that_takes_too_long_is_stopped() -> None:
    begun = 0

    async def step() -> bool:
        nonlocal begun
        begun += 1
        if begun == 1:
            await asyncio.Event().wait()
        return False

    async with asyncio.timeout(WITHIN_S):
        await repeat(step, name="the_step", every_s=0, timeout_s=0.001)
    assert begun == 2


async def test_a_loop_runs_beside_its_block_and_ends_with_it() -> None:
    turns: asyncio.Queue[None] = asyncio.Queue()
    before = asyncio.all_tasks()

    async with asyncio.timeout(WITHIN_S):
        async with repeating(lambda: turns.put(None), name="the_step", every_s=0):
            await turns.get()
            await turns.get()
    assert [task for task in asyncio.all_tasks() - before if "repeat" in str(task.get_coro())] == []


async def test_a_loop_that_rests_first_does_nothing_in_a_block_that_is_short() -> None:
    turns = 0

    async def step() -> None:
        nonlocal turns
        turns += 1

    async with repeating(step, name="the_step", every_s=WITHIN_S, rests_first=True):
        await asyncio.sleep(0)
    assert turns == 0


@pytest.mark.parametrize(
    ("error", "logged"), [(ValueError("a bug"), ["the_work failed"]), (DependencyUnavailable(), [])]
)
async def test_only_a_bug_is_logged_of_work_that_nobody_waits_for(
    error: Exception, logged: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        raise error

    before = failure_counts().get("the_work", 0)
    await asyncio.wait({detached(work(), name="the_work")})
    errors = [record.getMessage() for record in said_by(loops, caplog) if record.levelno == logging.ERROR]
    assert errors == logged
    assert failure_counts().get("the_work", 0) == before + len(logged)


def test_no_task_is_made_where_its_failure_would_be_seen_by_nobody() -> None:
    makers = {str(path.relative_to(SERVICES)) for path in SERVICES.rglob("*.py") if makes_tasks(path.read_text())}
    assert makers == set(MAKES_TASKS)


@pytest.mark.parametrize(
    "code", ["asyncio.create_task(f())", "loop.create_task(f())", "asyncio.ensure_future(f())", "asyncio.TaskGroup()"]
)
def test_the_gate_sees_every_way_to_make_one(code: str) -> None:
    assert makes_tasks(code)
    assert not makes_tasks("detached(f(), name='f')")


def makes_tasks(code: str) -> bool:
    return any(
        isinstance(node, ast.Call) and (getattr(node.func, "attr", None) or getattr(node.func, "id", None)) in TASKS
        for node in ast.walk(ast.parse(code))
    )


async def is_not_ready(health: Health) -> bool:
    answer = await health.Check(health_pb2.HealthCheckRequest(service=READINESS), context=None)  # type: ignore[arg-type]
    return answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
