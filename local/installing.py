"""`python local/installing.py REQUIREMENTS [OPTION …]`: pip's install into this interpreter's environment, as it goes.

The first minute of a checkout is this. Nothing but the standard library is there yet.
"""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Final, TextIO

LOOK_S: Final = 0.5
"""Between two looks at what was unpacked, of which pip says nothing."""
SAY_S: Final = 2.0
"""Between two lines where a line cannot be written over: a file, the log of a CI."""
SAME_S: Final = 20.0
"""Between two that say the same, there: it goes on, and is slow."""
TAIL_LINES: Final = 25
"""Of what pip said, when it failed."""
WIDTH: Final = 78
PINNED: Final = re.compile(r"^[A-Za-z0-9][\w.-]*(?:\[[\w,-]+\])?==", re.MULTILINE)
COLLECTING: Final = re.compile(r"Collecting (?P<name>[^\s=;\[]+)(?:\[[^\]]*\])?==(?P<version>[^\s;]+)")
SIZE: Final = re.compile(r"(?:Downloading|Using cached) .*\((?P<size>[\d.]+ [kMG]?B)\)")
UNPACKING: Final = "Installing collected packages:"


class Teller:
    """Says how far an install has come: in one line that is written over, or in a line now and then."""

    def __init__(self, out: TextIO, *, total: int, now: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._total = total
        self._now = now
        self._said_at = now() - SAY_S
        self._said = ""
        self._collected = 0
        self._name = ""
        self.is_unpacking = False

    def heard(self, line: str) -> None:
        """Take a line of pip's."""
        if found := COLLECTING.search(line):
            self._collected += 1
            self._name = f"{found['name']} {found['version']}"
            self._say(f"fetching {self._collected} of {self._total}: {self._name}")
        elif found := SIZE.search(line):
            self._say(f"fetching {self._collected} of {self._total}: {self._name}, {found['size']}")
        elif line.startswith(UNPACKING):
            self.is_unpacking = True
            self._say(f"unpacking {self._total} packages", at_once=True)

    def unpacked(self, count: int) -> None:
        """Say how many packages lie there by now."""
        self._say(f"unpacking {min(count, self._total)} of {self._total} packages")

    def end(self, text: str) -> None:
        """Say how it ended."""
        self._say(text, at_once=True)
        if self._out.isatty():
            self._out.write("\n")

    def _say(self, text: str, *, at_once: bool = False) -> None:
        text = f"  {text}"[:WIDTH]
        if self._out.isatty():
            self._out.write(f"\r{text.ljust(WIDTH)}")
        elif at_once or self._now() - self._said_at >= (SAME_S if text == self._said else SAY_S):
            self._out.write(f"{text}\n")
            self._said, self._said_at = text, self._now()
        self._out.flush()


def install(requirements: Path, *, out: TextIO, pip: Sequence[str], packages: Path) -> int:
    """Run pip and tell of it; return its exit code, having shown its last words if that is not 0."""
    began = time.monotonic()
    total = len(PINNED.findall(requirements.read_text(encoding="utf-8")))
    before = len(list(packages.glob("*.dist-info")))
    teller = Teller(out, total=total)
    said: list[str] = []
    with subprocess.Popen(
        pip, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None  # noqa: S101 it is asked for above
        lines: SimpleQueue[str | None] = SimpleQueue()
        reading = threading.Thread(target=_read, args=(process.stdout, lines), daemon=True)
        reading.start()
        while (line := _next(lines)) is not None:
            if line:
                said.append(line)
                teller.heard(line)
            elif teller.is_unpacking:
                teller.unpacked(len(list(packages.glob("*.dist-info"))) - before)
    if process.returncode == 0:
        teller.end(f"{total} packages are installed after {time.monotonic() - began:.0f} s")
    else:
        teller.end("pip failed:")
        out.write("".join(said[-TAIL_LINES:]))
    return process.returncode


def _read(stream: IO[str], lines: SimpleQueue[str | None]) -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)


def _next(lines: SimpleQueue[str | None]) -> str | None:
    """Return the next line, "" if none came for a while, None at the end."""
    try:
        return lines.get(timeout=LOOK_S)
    except Empty:
        return ""


def main() -> None:
    """Install what the file in the arguments pins."""
    requirements = Path(sys.argv[1])
    pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-color", "--progress-bar=off"]
    pip += ["--no-input", "--require-hashes", "-r", str(requirements), *sys.argv[2:]]
    packages = Path(sysconfig.get_path("purelib"))
    sys.exit(install(requirements, out=sys.stdout, pip=pip, packages=packages))


if __name__ == "__main__":
    main()
