"""What runs beside the calls of a process, under one rule: nothing here fails silently, or for ever.

A *loop* (`repeat`, `repeating`) does one step again and again while its process runs.

- Expected trouble (a database, a peer or time that ran out: `EXPECTED`) is no failure of the loop: the step is tried
  again, and one line is logged when that begins and one when it is over.
- Anything else is a failure. It is logged and counted, the process is not ready, and the step is tried again after a
  growing rest. A step that succeeds ends both.
- After `FAILURES_MAX` failures in a row the process ends with 1, and the log's last word of it names the loop and the
  error. So does `StartRefused` at once: it says that no further try will help.

*Detached* work (`detached`) belongs to a call or to a row, and not to the process: its failure reaches whoever waits,
is logged and counted whether anybody does or not, and nothing else ends with it.

Every task of `services/` is made here; tests/runtime/test_loops.py names the few that are not, and why.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import Context
from typing import Any, Final, TypedDict, TypeVar, Unpack

from services.errors import ServiceError
from services.runtime.process import ending

EXPECTED: Final = (ServiceError, TimeoutError)
FAILURES_MAX: Final = 5
"""In a row; what has failed so often is not mended by waiting, and a process that ends is seen and started anew."""
BACKOFF_FIRST_S: Final = 1.0
"""After the first failure; twice as long after each further one. So the fifth comes 15 s after the first, which is
longer than any probe takes to see that the process is not ready."""
BACKOFF_MAX_S: Final = BACKOFF_FIRST_S * 2 ** (FAILURES_MAX - 2)

T = TypeVar("T")
Step = Callable[[], Awaitable[object]]
Rest = float | Callable[[], Awaitable[object]]

_logger = logging.getLogger(__name__)


class _How(TypedDict, total=False):
    """What else `repeat` is told."""

    retry_s: float
    retry_max_s: float
    rests_first: bool
    timeout_s: float
    subject: str
    is_vital: bool


async def repeat(
    step: Step,
    *,
    name: str,
    every_s: Rest,
    retry_s: float | None = None,
    retry_max_s: float | None = None,
    rests_first: bool = False,
    timeout_s: float | None = None,
    subject: str = "",
    is_vital: bool = True,
) -> None:
    """Do `step` until it returns False, with a rest of `every_s` between, or what that waits for.

    `name` is the loop's in the log and in metrics, one of a few; what varies goes into `subject`. After expected
    trouble the rest is `retry_s`, if given, and twice as long each time up to `retry_max_s`. `timeout_s` limits a step
    that does not limit itself. A loop that is not `is_vital` belongs to a call or a row, or only tells how things are:
    its failures are logged and counted, and tried again as expected trouble is.
    """
    loop = _Loop(name, subject, is_vital=is_vital)
    try:
        if rests_first:
            await _rest(every_s)
        while True:
            try:
                async with asyncio.timeout(timeout_s):
                    is_over = await step() is False
            except EXPECTED as error:
                loop.trouble(error)
                rest = every_s if retry_s is None else _growing(retry_s, loop.troubles, retry_max_s or retry_s)
            except ending.StartRefused as error:
                await _end_process(error)
            except (Exception, asyncio.CancelledError) as error:
                if _is_asked_to_end():  # then whatever it met is of no matter
                    raise asyncio.CancelledError from error
                loop.failure(error)
                if loop.is_given_up:
                    await _end_process(ending.BackgroundFailed(name))
                rest = loop.backoff_s if is_vital else every_s if retry_s is None else retry_s
            else:
                loop.success()
                if is_over:
                    return
                rest = every_s
            await _rest(rest)
    except Exception as error:  # noqa: BLE001 what a loop waits for between its steps can only fail by a bug of ours
        await _end_process(error)
    finally:
        loop.leave()


@asynccontextmanager
async def repeating(step: Step, *, name: str, every_s: Rest, **how: Unpack[_How]) -> AsyncIterator[None]:
    """`repeat` a step while inside; at the end it is cancelled and waited for."""
    task = detached(repeat(step, name=name, every_s=every_s, **how), name=name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


def detached(work: Coroutine[Any, Any, T], *, name: str, context: Context | None = None) -> asyncio.Task[T]:
    """Start work that goes on when its caller disconnects. An error that nobody expects is logged and counted."""
    task = asyncio.create_task(work, context=context)
    task.add_done_callback(lambda done: _look_at(done, name))
    return task


def failure_counts() -> Mapping[str, int]:
    """Return how often what runs beside the calls has failed since the process began, by its name."""
    return _state.counts


def failing() -> frozenset[str]:
    """Return the names of the loops whose last step failed; the process is not ready while there is one."""
    return frozenset(_state.failing.values())


@contextmanager
def telling(listener: Callable[[], object]) -> Iterator[None]:
    """Call `listener` whenever `failing` has changed, while inside."""
    _state.listeners.append(listener)
    try:
        yield
    finally:
        _state.listeners.remove(listener)


class _State:
    """What all loops of the process share with who asks about them; there is one process, hence one."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.failing: dict[_Loop, str] = {}
        self.listeners: list[Callable[[], object]] = []

    def tell(self) -> None:
        for listener in tuple(self.listeners):
            listener()


_state = _State()


class _Loop:
    """How one loop is doing."""

    def __init__(self, name: str, subject: str, *, is_vital: bool) -> None:
        self._name = name
        self._said = f"{name} of {subject}" if subject else name
        self._is_vital = is_vital
        self.troubles = 0
        self.failures = 0
        """Both in a row. Trouble between two failures is no success, and ends no row of theirs."""
        _state.counts[name] += 0  # a series that begins with the first failure hides it from every rate

    @property
    def is_given_up(self) -> bool:
        return self._is_vital and self.failures >= FAILURES_MAX

    @property
    def backoff_s(self) -> float:
        return _growing(BACKOFF_FIRST_S, self.failures, BACKOFF_MAX_S)

    def trouble(self, error: BaseException) -> None:
        self.troubles += 1
        if self.troubles == 1:
            cause = f" ({error.__cause__!r})" if error.__cause__ is not None else ""
            _logger.warning("%s is tried again: %s%s", self._said, error or "it took too long", cause)

    def failure(self, error: BaseException) -> None:
        self.troubles = 0
        self.failures += 1
        _state.counts[self._name] += 1
        if self.is_given_up:
            text = "%s failed %d times in a row, and the process ends: %r"
            _logger.error(text, self._said, self.failures, error, exc_info=error)
        elif self._is_vital:
            text = "%s failed %d times in a row, not ready until it works: %r"
            _logger.error(text, self._said, self.failures, error, exc_info=error)
            if self not in _state.failing:
                _state.failing[self] = self._name
                _state.tell()
        elif self.failures == 1:  # it may go on at the pace of its step
            _logger.error("%s failed and is tried again: %r", self._said, error, exc_info=error)

    def success(self) -> None:
        if self.troubles or self.failures:
            _logger.info("%s works again", self._said)
            self.troubles = self.failures = 0
            self.leave()

    def leave(self) -> None:
        if _state.failing.pop(self, None) is not None:
            _state.tell()


def _growing(first_s: float, times: int, max_s: float) -> float:
    """Return `first_s`, doubled with each time after the first."""
    return min(first_s * 2.0 ** min(times - 1, 32), max_s)


def _is_asked_to_end() -> bool:
    """Whether this task is cancelled itself, and not something that its step waited for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _end_process(error: Exception) -> None:
    """Have the process end, and wait for that: whoever runs the loop ends it, and until then it is as it is."""
    ending.fail(error)
    await asyncio.Event().wait()


async def _rest(rest: Rest) -> None:
    if callable(rest):
        await rest()
    else:
        await asyncio.sleep(rest)


def _look_at(task: asyncio.Task[Any], name: str) -> None:
    if task.cancelled() or (error := task.exception()) is None or isinstance(error, ServiceError):
        return
    _state.counts[name] += 1
    _logger.error("%s failed", name, exc_info=error)
