"""Makes a profile of one service by its main thread's processor time; runs in every Python below `PYTHONPATH`.

A tree that is measured need not know of it. `BENCH_PROFILED` names the module (`services.gateway`), `BENCH_PROFILE` the
file; SIGUSR1 begins, SIGUSR2 ends and writes `{"a frame;a deeper frame": samples}`. The clock is the thread's own, so
that neither waiting nor a busy machine is in it. The kernel looks at it once a tick, which is every 4 ms on most.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Final

PERIOD_NS: Final = 1_000_000
DEPTH_MAX: Final = 120
_CLOCK_THREAD_CPUTIME_ID: Final = 3
_SIGEV_THREAD_ID: Final = 4


class _SigEvent(ctypes.Structure):
    _fields_ = (
        ("value", ctypes.c_void_p),
        ("signo", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("thread_id", ctypes.c_int),
        ("rest", ctypes.c_char * 44),
    )


class _Spec(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_long) for name in ("every_s", "every_ns", "first_s", "first_ns"))


class _Sampler:
    def __init__(self, file: Path) -> None:
        self._file = file
        self._stacks: Counter[tuple[object, ...]] = Counter()
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._timer = ctypes.c_void_p()
        event = _SigEvent(signo=signal.SIGPROF, notify=_SIGEV_THREAD_ID, thread_id=threading.get_native_id())
        if self._libc.timer_create(_CLOCK_THREAD_CPUTIME_ID, ctypes.byref(event), ctypes.byref(self._timer)):
            raise OSError(ctypes.get_errno(), "timer_create")
        signal.signal(signal.SIGPROF, self._sample)
        signal.signal(signal.SIGUSR1, self._begin)
        signal.signal(signal.SIGUSR2, self._end)

    def _begin(self, *_: object) -> None:
        self._stacks.clear()
        self._tick(PERIOD_NS)

    def _sample(self, _: int, frame: FrameType | None) -> None:
        stack: list[object] = []
        while frame is not None and len(stack) < DEPTH_MAX:
            stack.append(frame.f_code)
            frame = frame.f_back
        self._stacks[tuple(stack)] += 1

    def _end(self, *_: object) -> None:
        self._tick(0)
        written: Counter[str] = Counter()
        for stack, count in self._stacks.items():
            written[";".join(f"{code.co_filename}:{code.co_qualname}" for code in reversed(stack))] += count  # type: ignore[attr-defined]
        beside = self._file.with_suffix(".part")
        beside.write_text(json.dumps(written), encoding="utf-8")
        beside.replace(self._file)

    def _tick(self, period_ns: int) -> None:
        spec = _Spec(every_ns=period_ns, first_ns=period_ns)
        if self._libc.timer_settime(self._timer, 0, ctypes.byref(spec), None):
            raise OSError(ctypes.get_errno(), "timer_settime")


_module = os.environ.get("BENCH_PROFILED")
if _module is not None and sys.orig_argv[-1] == _module:
    _sampler = _Sampler(Path(os.environ["BENCH_PROFILE"]))
