"""Somebody new: a clone in an empty folder, an empty home, no rights, 80 columns, no colour; what they type and see."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final, TextIO

ROOT: Final = Path(__file__).parents[2]
PASSED_ON: Final = (
    *("PIP_", "SSL_", "REQUESTS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"),
    *("NPM_CONFIG_", "npm_config_", "NODE_EXTRA_CA_CERTS"),
)
"""Of the environment: how this machine reaches what pip and npm install from, and nothing else."""
PLAIN_USER: Final = "nobody"
COMMAND_S: Final = 120.0
INSTALL_S: Final = 900.0
STOP_S: Final = 30.0
OFFLINE: Final = """
import fcntl, os, socket, struct, sys
with socket.socket() as probe:
    fcntl.ioctl(probe, 0x8914, struct.pack("16sh", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS: the loopback is up
user, group = map(int, sys.argv[1:3])
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(group); os.setuid(user)
os.execv("/bin/sh", ["/bin/sh", "-c", sys.argv[3]])
"""
"""Run in a network namespace of its own, where there is nothing but the loopback."""
_UNSHARE: Final = ("unshare", *(() if os.geteuid() == 0 else ("--map-root-user",)), "--net")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A command that is over."""

    code: int
    said: str
    seconds: float


@dataclass(slots=True)
class Running:
    """A command that goes on in another terminal."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    came: threading.Condition = field(default_factory=threading.Condition)

    def until(self, text: str, *, timeout_s: float) -> str:
        """Return what it said once `text` is part of it. Raises TimeoutError, also if it ended before."""
        with self.came:
            if not self.came.wait_for(lambda: text in self.said or self.process.poll() is not None, timeout_s):
                raise TimeoutError(f"{text!r} did not come in {timeout_s:.0f} s:\n{self.said}")
        if text not in self.said:
            raise TimeoutError(f"it ended ({self.process.poll()}) before {text!r}:\n{self.said}")
        return self.said

    @property
    def said(self) -> str:
        """What it said so far."""
        return "".join(self.lines)

    def interrupt(self) -> int:
        """Press Ctrl-C, and return the exit code."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(timeout=STOP_S)


class Stranger:
    """Types commands in their checkout; everything is written down."""

    def __init__(self, folder: Path, transcript: TextIO) -> None:
        self.folder = folder
        self.checkout = folder / "batzen"
        self.all_said: list[str] = []
        self._transcript = transcript
        self._user = pwd.getpwnam(PLAIN_USER) if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())

    def arrive(self) -> None:
        """Clone into the empty folder."""
        home = self.folder / "home"
        home.mkdir()
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(self.checkout)], check=True)  # noqa: S607 the one there is
        if os.geteuid() == 0:
            for path in (self.folder, home, self.checkout, *self.checkout.rglob("*")):
                os.chown(path, self._user.pw_uid, self._user.pw_gid, follow_symlinks=False)

    def types(self, command: str, *, timeout_s: float = COMMAND_S, offline: bool = False, **environ: str) -> Ran:
        """Run a command to its end."""
        began = time.monotonic()
        running = self.begins(command, offline=offline, **environ)
        try:
            code = running.process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(running.process.pid, signal.SIGKILL)
            code = running.process.wait()
        with running.came:
            running.came.wait_for(lambda: running.process.stdout is None or running.process.stdout.closed, STOP_S)
        ran = Ran(code=code, said=running.said, seconds=time.monotonic() - began)
        self.note(f"  (exit {ran.code}, {ran.seconds:.1f} s)")
        return ran

    def begins(self, command: str, *, offline: bool = False, **environ: str) -> Running:
        """Start a command in another terminal."""
        named = "".join(f"{name}={value} " for name, value in environ.items())
        self.note(f"\n$ {named}{command}{'    (offline)' if offline else ''}")
        user = {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}
        typed = ["/bin/sh", "-c", command]
        if offline:
            typed = [*_UNSHARE, "--", sys.executable, "-I"]
            typed += ["-S", "-c", OFFLINE, str(self._user.pw_uid), str(self._user.pw_gid), command]
        process = subprocess.Popen(  # type: ignore[call-overload]
            typed,
            cwd=self.checkout,
            env=self._environ() | environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
            **(user if os.geteuid() == 0 and not offline else {}),
        )
        running = Running(process)
        threading.Thread(target=self._read, args=(running, process.stdout), daemon=True).start()
        return running

    def note(self, text: str) -> None:
        """Write into the transcript, and say it."""
        print(text, flush=True)
        print(text, file=self._transcript, flush=True)

    def _read(self, running: Running, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                self.all_said.append(line)
                self.note(f"  {line.rstrip()}")
                with running.came:
                    running.lines.append(line)
                    running.came.notify_all()
        with running.came:
            running.came.notify_all()

    def _environ(self) -> Mapping[str, str]:
        kept = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}
        return kept | {
            "HOME": str(self.folder / "home"),
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "COLUMNS": "80",
            "NO_COLOR": "1",
            "TERM": "dumb",
            "LANG": "C.UTF-8",
        }


def can_be_offline() -> bool:
    """Whether this machine lets us have a network namespace of our own."""
    return shutil.which("unshare") is not None and subprocess.run([*_UNSHARE, "true"], check=False).returncode == 0


@contextmanager
def new_stranger(transcript: Path) -> Iterator[Stranger]:
    """Have a stranger inside; nothing of theirs stays but the transcript."""
    transcript.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="batzen-hour-") as folder, transcript.open("w", encoding="utf-8") as file:
        Path(folder).chmod(0o755)
        stranger = Stranger(Path(folder), file)
        stranger.arrive()
        yield stranger
