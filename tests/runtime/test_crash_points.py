"""Crash points: recorded once, armed exactly once, free when off, and no commit around them."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.runtime import crash_points

REPOSITORY = Path(__file__).parents[2]
AS_OWNER = ("../status/storage/retention.py",)
"""Takes tables apart with the rights of their owner, as migrations do."""
PASS = """
import pathlib, sys
from services.runtime import crash_points
crash_points.configure(record=None, armed=pathlib.Path(sys.argv[1]), production=False)
for passing in range(1, 4):
    crash_points.reach("journey.step:before_commit")
    print(passing, flush=True)
"""


@pytest.fixture(autouse=True)
def _off_again() -> Iterator[None]:
    yield
    crash_points.configure(record=None, armed=None, production=False)


def _run(armed: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PASS, str(armed)], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )


def test_each_position_is_recorded_once(tmp_path: Path) -> None:
    record = tmp_path / "points"
    crash_points.configure(record=record, armed=None, production=False)

    for position in ("start.plan:begin", "start.plan:after_commit", "start.plan:begin"):
        crash_points.reach(position)

    assert record.read_text() == "start.plan:begin\nstart.plan:after_commit\n"


async def test_a_call_has_a_position_on_each_side(tmp_path: Path) -> None:
    record = tmp_path / "points"
    crash_points.configure(record=record, armed=None, production=False)

    async def answer() -> int:
        return len(record.read_text().splitlines())

    assert await crash_points.call("submit.confirm", answer()) == 1
    assert record.read_text() == "submit.confirm:before\nsubmit.confirm:after\n"


async def test_points_that_are_off_do_nothing() -> None:
    async def answer() -> str:
        return "answer"

    crash_points.reach("not even a name")
    assert await crash_points.call("not even a name", answer()) == "answer"


def test_a_point_is_named_journey_and_step(tmp_path: Path) -> None:
    crash_points.configure(record=tmp_path / "points", armed=None, production=False)

    with pytest.raises(ValueError, match=r"journey\.step"):
        crash_points.reach("nameless:begin")


def test_process_dies_at_the_armed_position_exactly_once(tmp_path: Path) -> None:
    armed = tmp_path / "armed"
    armed.write_text("journey.step:before_commit\n")

    first, second = _run(armed), _run(armed)

    assert (first.returncode, first.stdout) == (-signal.SIGKILL, "")
    assert (second.returncode, second.stdout) == (0, "1\n2\n3\n")
    assert not armed.exists()


def test_process_dies_at_the_passing_that_was_asked_for(tmp_path: Path) -> None:
    armed = tmp_path / "armed"
    armed.write_text("journey.step:before_commit#3")

    died = _run(armed)

    assert (died.returncode, died.stdout) == (-signal.SIGKILL, "1\n2\n")


def test_another_position_lets_the_process_live(tmp_path: Path) -> None:
    armed = tmp_path / "armed"
    armed.write_text("journey.step:after_commit")

    assert _run(armed).returncode == 0
    assert armed.exists()


@pytest.mark.parametrize(
    ("production", "stripe_key"), [(True, None), (True, "sk_test_1"), (False, "sk_live_1"), (False, "rk_live_1")]
)
def test_crash_points_are_refused_where_real_money_moves(
    tmp_path: Path, production: bool, stripe_key: str | None
) -> None:
    for files in ({"record": tmp_path / "f", "armed": None}, {"record": None, "armed": tmp_path / "f"}):
        with pytest.raises(crash_points.CrashPointsForbidden):
            crash_points.configure(**files, production=production, stripe_key=stripe_key)

    crash_points.configure(record=None, armed=None, production=production, stripe_key=stripe_key)


@pytest.mark.parametrize(
    ("pattern", "allowed"),
    [
        (r"\.commit\(", {"database/connections.py"}),
        (r"(engine|conn|connection)\.(begin|begin_twophase)\(", {"database/connections.py"}),
        (r"engine\.connect\(", {"database/connections.py"}),
        (r"\bcreate_async_engine\(", {"database/connections.py"}),
        (
            r"\basyncpg\.(connect|create_pool)\(",
            {"database/connections.py", "database/migrations.py", "database/servers.py", *AS_OWNER},
        ),
        (r"(conn|connection)\.transaction\(", {"database/connections.py", "database/migrations.py", *AS_OWNER}),
    ],
)
def test_nothing_commits_or_connects_outside_the_one_helper(pattern: str, allowed: set[str]) -> None:
    permitted = {(REPOSITORY / "services" / "runtime" / name).resolve() for name in allowed}
    sources = set((REPOSITORY / "services").rglob("*.py")) - permitted

    found = [
        f"{path.relative_to(REPOSITORY)}:{number}: {line.strip()}"
        for path in sorted(sources)
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if re.search(pattern, line)
    ]

    assert found == []
