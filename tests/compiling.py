"""Compiles what every test process imports, once and on each core: otherwise all of them would, at the same moment.

Pytest rewrites the assertions of each file of tests, which on a fresh clone takes a process as long as all the rest of
its start; and Hypothesis looks for constants in each module of ours.
"""

from __future__ import annotations

import compileall
import fnmatch
import multiprocessing
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest
from _pytest.assertion.rewrite import PYC_TAIL, _read_pyc, _rewrite_test, _write_pyc, assertstate_key, get_cache_dir
from hypothesis.internal.constants_ast import constants_from_module, is_local_module_file

ROOT: Final = Path(__file__).parents[1]
OURS: Final = ("services", "batzen", "local", "sandbox", "deploy", "bench", "tests")
CHUNK: Final = 20
"""Files that a core takes at a time."""

Compile = Callable[[Path], None]


def compile_ahead(config: pytest.Config) -> None:
    """Leave compiled whatever is not, for the processes that this one is about to start."""
    if sys.dont_write_bytecode:
        return
    files = [file for room in OURS for file in sorted((ROOT / room).rglob("*.py"))]
    share = multiprocessing.get_context("fork")  # with our configuration, and with all that is imported
    _working.config = config
    with share.Pool(len(os.sched_getaffinity(0))) as pool:
        for _ in pool.imap_unordered(_compile, files, chunksize=CHUNK):
            pass


class _Working:
    """What a process that compiles has got from the one that it was forked from."""

    config: pytest.Config


_working: Final = _Working()


def _compile(file: Path) -> None:
    if is_rewritten(file, _working.config):
        rewritten(file, _working.config)
    else:
        compileall.compile_file(file, quiet=2)
    if is_local_module_file(str(file)):
        module = ModuleType(file.stem)
        module.__file__ = str(file)
        constants_from_module(module)


def is_rewritten(file: Path, config: pytest.Config) -> bool:
    """Whether pytest loads it with its assertions rewritten."""
    patterns = ["conftest.py", *config.getini("python_files")]
    return any(fnmatch.fnmatch(file.name, pattern) for pattern in patterns)


def rewritten(file: Path, config: pytest.Config) -> Path:
    """Rewrite a file of tests unless that is done, as pytest does when it imports it; return where the result is."""
    kept = get_cache_dir(file) / f"{file.stem}{PYC_TAIL}"
    if _read_pyc(file, kept) is None:
        source_hash, code = _rewrite_test(file, config)
        kept.parent.mkdir(exist_ok=True)
        _write_pyc(config.stash[assertstate_key], code, source_hash, kept)
    return kept
