"""What the first minute of a checkout says while pip installs."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from local.installing import Teller, install

SAID = """Collecting grpcio==1.85.1 (from -r requirements/local.txt (line 7))
  Downloading grpcio-1.85.1-cp311-cp311-manylinux.whl (6.1 MB)
Collecting uvicorn[standard]==0.40 (from -r requirements/local.txt (line 9))
  Using cached uvicorn-0.40-py3-none-any.whl (68 kB)
Installing collected packages: grpcio, uvicorn
"""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_one_line_that_changes() -> None:
    out = Terminal()
    teller = Teller(out, total=2)
    for line in SAID.splitlines():
        teller.heard(line)
    teller.unpacked(1)

    shown = [text.strip() for text in out.getvalue().split("\r")[1:]]
    assert shown == [
        "fetching 1 of 2: grpcio 1.85.1",
        "fetching 1 of 2: grpcio 1.85.1, 6.1 MB",
        "fetching 2 of 2: uvicorn 0.40",
        "fetching 2 of 2: uvicorn 0.40, 68 kB",
        "unpacking 2 packages",
        "unpacking 1 of 2 packages",
    ]
    assert "\n" not in out.getvalue()


def test_a_log_has_a_line_now_and_then() -> None:
    out, times = io.StringIO(), [0.0]
    teller = Teller(out, total=2, now=lambda: times[0])
    for seconds, line in enumerate(SAID.splitlines()):
        times[0] = float(seconds)
        teller.heard(line)

    assert out.getvalue().splitlines() == [
        "  fetching 1 of 2: grpcio 1.85.1",
        "  fetching 2 of 2: uvicorn 0.40",
        "  unpacking 2 packages",
    ]


def test_a_log_hears_the_same_again_only_after_a_while() -> None:
    out, times = io.StringIO(), [0.0]
    teller = Teller(out, total=9, now=lambda: times[0])
    for seconds, count in [(0, 1), (2, 3), (4, 3), (10, 3), (22, 3), (24, 4)]:
        times[0] = float(seconds)
        teller.unpacked(count)

    assert out.getvalue().splitlines() == [f"  unpacking {count} of 9 packages" for count in (1, 3, 3, 4)]


@pytest.mark.parametrize(("code", "last"), [(0, "2 packages are installed after"), (3, "No matching distribution")])
def test_the_end_is_told_and_why_it_failed(tmp_path: Path, code: int, last: str) -> None:
    requirements = tmp_path / "local.txt"
    requirements.write_text(
        "grpcio==1.85.1 \\\n    --hash=sha256:0\nuvicorn[standard]==0.40 \\\n    --hash=sha256:1\n# via x\n"
    )
    pip = [sys.executable, "-c", f"print({SAID!r}); print('No matching distribution') if {code} else 0; exit({code})"]

    out = io.StringIO()
    assert install(requirements, out=out, pip=pip, packages=tmp_path) == code
    assert out.getvalue().splitlines()[-1].strip().startswith(last)
    assert ("pip failed" in out.getvalue()) is (code != 0)
