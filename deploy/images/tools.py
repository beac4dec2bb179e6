"""The programs that build and run images, and where they keep what they make."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final

from deploy.images.settings import ImageSettingRefused
from local.processes import ROOT

PACKAGES: Final = ROOT / "deploy" / "images" / "packages.txt"
HOME: Final = ROOT / ".batzen" / "image"
"""Everything that `make image` makes."""
TAIL_LINES: Final = 30
"""Of what a program said, when it failed."""
FILES_MAX: Final = 20_000
PROCESSES_MAX: Final = 4_096
"""Of a container, where the machine allows as much. podman's own defaults are refused where root may not raise them."""


class ToolMissing(Exception):
    """A program is not on this machine; the text says how to get it."""

    def __init__(self, name: str, how: str | None = None) -> None:
        how = how or f"on Debian apt-get install --no-install-recommends {' '.join(PACKAGES.read_text().split())}"
        super().__init__(f"{name} is not on this machine: {how}")


class ToolFailed(Exception):
    """A program ended as it should not; the text ends with its last words."""


def require(*names: str) -> None:
    """Raise `ToolMissing` unless all of these programs are here."""
    for name in names:
        if shutil.which(name) is None:
            raise ToolMissing(name)


def run(command: Sequence[str | Path], *, environ: Mapping[str, str] | None = None, given: str | None = None) -> str:
    """Run a program, `given` what it reads, and return what it wrote; raises `ToolFailed`."""
    arguments = [str(part) for part in command]
    environment = {**os.environ, **(environ or {})}
    done = subprocess.run(arguments, input=given, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = "\n".join((done.stdout + done.stderr).splitlines()[-TAIL_LINES:])
        raise ToolFailed(f"{' '.join(arguments[:6])} … ended with {done.returncode}:\n{said}")
    return done.stdout


class Store:
    """Images and containers in a folder of ours, apart from those that the machine has otherwise."""

    def __init__(self, home: Path = HOME) -> None:
        self.home = home.absolute()

    def buildah(self, *arguments: str | Path) -> str:
        """Run buildah, and return what it wrote."""
        return run(["buildah", *self._globals, *arguments], environ=self.environ)

    def podman(self, *arguments: str | Path) -> str:
        """Run podman, and return what it wrote."""
        return run(self.podman_command(*arguments), environ=self.environ)

    def podman_command(self, *arguments: str | Path) -> list[str]:
        """Return the command line of podman, to be run with `environ`."""
        networks = ("--network-config-dir", str(self.home / "networks"))
        return ["podman", *self._globals, *networks, *map(str, arguments)]

    def image_id(self, name: str) -> str | None:
        """Return the id of an image, or None if it is not here."""
        found: list[dict[str, str]] = json.loads(self.buildah("images", "--json", "--no-trunc"))
        ids = [image["id"] for image in found if name in (image.get("names") or [])]
        return ids[0].removeprefix("sha256:") if ids else None

    @cached_property
    def environ(self) -> dict[str, str]:
        """The settings of both programs, for what this machine is."""
        self.home.mkdir(mode=0o711, parents=True, exist_ok=True)
        file = self.home / "containers.conf"
        file.write_text(_containers_conf())
        return {"CONTAINERS_CONF": str(file)}

    @property
    def _globals(self) -> list[str]:
        # vfs would copy the whole image for each container. Without a mount of its own the folder can be removed.
        return [
            "--storage-driver", "overlay", "--storage-opt", "overlay.skip_mount_home=true",
            "--root", str(self.home / "store"), "--runroot", str(self.home / "run"),
        ]  # fmt: skip


def _containers_conf() -> str:
    """Return settings under which containers run here: with or without systemd, with older cgroups, with few rights."""
    files = _at_most(resource.RLIMIT_NOFILE, FILES_MAX)
    processes = _at_most(resource.RLIMIT_NPROC, PROCESSES_MAX)
    engine = []
    if not Path("/sys/fs/cgroup/cgroup.controllers").exists() and shutil.which("runc"):
        engine.append('runtime = "runc"')  # crun refuses a hierarchy that is half old
    if not Path("/run/systemd/system").exists():
        engine += ['cgroup_manager = "cgroupfs"', 'events_logger = "file"']
    ulimits = f'default_ulimits = ["nofile={files}:{files}", "nproc={processes}:{processes}"]'
    return "\n".join(["[containers]", ulimits, "[engine]", *engine, ""])


def _at_most(limit: int, wanted: int) -> int:
    hard = resource.getrlimit(limit)[1]
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)


__all__ = ["HOME", "ImageSettingRefused", "Store", "ToolFailed", "ToolMissing", "require", "run"]
