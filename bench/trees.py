"""Checkouts that are measured: one of an earlier revision, and a copy of this one as it stands.

Each is in a folder of its own, with stubs of its own contracts, and runs with this environment. A tree is used only
by what is public of any: `batzen up`, the file that this writes, and the RPCs.
"""

from __future__ import annotations

import asyncio
import io
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from local.processes import ROOT


class NoSuchRevision(Exception):
    """The revision is not in this repository, or this folder is no repository; name another with `--before`."""


async def check_out(revision: str, folder: Path) -> None:
    """Put a revision into an empty folder. Raises `NoSuchRevision`."""
    await asyncio.to_thread(_extract, revision, folder)
    await _make_stubs(folder)


async def copy_here(folder: Path) -> None:
    """Put this checkout into an empty folder, with what is not committed."""
    await asyncio.to_thread(_copy, folder)
    await _make_stubs(folder)


def _extract(revision: str, folder: Path) -> None:
    archive = _git("archive", "--format=tar", revision)
    if archive.returncode:
        raise NoSuchRevision(f"{NoSuchRevision.__doc__} ({archive.stderr.decode().strip()})")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(folder, filter="data")


def _copy(folder: Path) -> None:
    listed = _git("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    if listed.returncode:
        raise NoSuchRevision(f"{NoSuchRevision.__doc__} ({listed.stderr.decode().strip()})")
    for name in listed.stdout.decode().split("\0"):
        source, target = ROOT / name, folder / name
        if name and source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def _git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False)  # noqa: S607 whichever is ours


async def _make_stubs(folder: Path) -> None:
    protos = sorted(str(path.relative_to(folder)) for path in (folder / "protos" / "batzen").rglob("*.proto"))
    command = ("-m", "grpc_tools.protoc", "-Iprotos", "--python_out=.", "--grpc_python_out=.", *protos)
    making = await asyncio.create_subprocess_exec(sys.executable, *command, cwd=folder)
    if await making.wait():
        raise RuntimeError(f"the stubs of {folder} could not be made")
