"""What the images are built from: the files of one commit, and the wheels that its requirements name, by hash."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from batzen.version import VERSION
from deploy.images.base import Base
from deploy.images.tools import Store, ToolFailed, require, run
from local.processes import ROOT

SETS: Final = ("runtime", "image", "sandbox", "postgres")
"""Files of requirements/ whose wheels the images are built from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """Where the code of an image comes from."""

    id: str
    committed: str
    """When, as ISO 8601."""
    version: str
    is_whole: bool
    """Whether nothing lies beside it that is not committed, and so is not in the image."""


def archived(folder: Path) -> Commit:
    """Fill `folder`, emptied before, with the files of the last commit: never with those of the working folder."""
    require("git")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    git = ["git", "-C", str(ROOT)]
    if not (ROOT / ".git").exists():
        raise ToolFailed(f"{ROOT} is no checkout: an image is made from a commit.")
    archive = subprocess.run([*git, "archive", "HEAD"], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.4 was the first to have it
        files.extractall(folder)  # noqa: S202 of a commit of ours
    _open_to_all(folder)
    return Commit(
        id=run([*git, "rev-parse", "HEAD"]).strip(),
        committed=run([*git, "show", "--no-patch", "--format=%cI", "HEAD"]).strip(),
        version=VERSION,
        is_whole=not run([*git, "status", "--porcelain"]).strip(),
    )


def _open_to_all(folder: Path) -> None:
    """Let everybody read and nobody else write, whatever the umask: the image has these rights, and runs as nobody."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def wheels(store: Store, folder: Path, base: Base) -> None:
    """Put the wheels that run on `base` into the context; those that were fetched before need no network."""
    files = [folder / "requirements" / f"{name}.txt" for name in SETS]
    asked = hashlib.sha256(repr((base.python, base.platforms)).encode())
    for file in files:
        asked.update(file.read_bytes())
    kept = store.home / f"wheels-{asked.hexdigest()[:12]}"
    if not kept.exists():
        fresh = kept.with_suffix(".new")
        shutil.rmtree(fresh, ignore_errors=True)
        for file in files:
            _fetch(file, into=fresh, base=base)
        for older in store.home.glob("wheels-*"):
            if older != fresh:
                shutil.rmtree(older)
        fresh.rename(kept)
    (folder / "wheels").mkdir()
    for wheel in kept.iterdir():
        os.link(wheel, folder / "wheels" / wheel.name)


def _fetch(requirements: Path, *, into: Path, base: Base) -> None:
    python = ".".join(map(str, base.python))
    run([
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
        "--require-hashes", "--only-binary=:all:", "--implementation", "cp", "--python-version", python,
        *(f"--platform={name}" for name in base.platforms), "--dest", into, "--requirement", requirements,
    ])  # fmt: skip
