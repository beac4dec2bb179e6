"""Tests that share what takes long to make run in one process, whatever pytest and pytest-xdist make of each other."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.spreading import PROCESSES_OF, group_of

ROOT = Path(__file__).parents[1]
FILES = ("tests/shared/test_amounts.py", "tests/shared/test_cards.py")


def test_the_tests_of_a_file_run_in_one_process_and_those_of_two_files_in_two() -> None:
    command = [sys.executable, "-m", "pytest", "-v", "-n", "2", "--dist", "loadgroup", "--no-loadscope-reorder", *FILES]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    ran = re.findall(r"^\[(gw\d)\].* PASSED ([^:]+)::", said, re.MULTILINE)

    processes = {file: {process for process, of in ran if of == file} for file in FILES}
    assert len(ran) > 2 * len(FILES)
    assert [len(each) for each in processes.values()] == [1, 1]
    assert len(set.union(*processes.values())) == len(FILES)


def test_files_that_share_a_suite_run_in_as_few_processes_as_there_are_suites() -> None:
    for room, processes in PROCESSES_OF.items():
        files = [str(file.relative_to(ROOT)) for file in (ROOT / "tests" / room).glob("test_*.py")]

        assert len({group_of(file) for file in files}) == processes
