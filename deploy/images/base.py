"""The image that ours lie on: one by digest where a registry has it, else one made here from Debian's packages."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.images.settings import Settings
from deploy.images.tools import Store, require, run

PACKAGES: Final = ("ca-certificates", "libstdc++6", "python3", "tzdata")
"""Beside what every Debian has: Python, what grpc is linked with, whom to trust, when it is where."""
LEFT_OUT: Final = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*")
KEPT: Final = ("/usr/share/doc/*/copyright",)
"""What the licenses ask to come with each copy."""
AGE_DAYS_MAX: Final = 7
"""Then the base is made anew: by then Debian has mended something in most weeks."""
NAME: Final = "localhost/batzen-base"
ASK: Final = "import json, platform as p, sys; print(json.dumps([sys.version_info[:2], p.libc_ver()[1], p.machine()]))"


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """An image that is in the store, and what it has."""

    reference: str
    """By id or digest, never by a tag."""
    python: tuple[int, int]
    glibc: tuple[int, int]
    machine: str

    @property
    def platforms(self) -> list[str]:
        """The names of platforms whose wheels run here, the newest first."""
        major, minor = self.glibc
        oldest = 17  # manylinux2014, which has a name of its own, too
        named = [f"manylinux_{major}_{number}_{self.machine}" for number in range(minor, oldest - 1, -1)]
        return [*named, f"manylinux2014_{self.machine}"]


def find_base(store: Store, settings: Settings, *, archive: Path | None = None) -> Base:
    """Fetch the base that the settings name, or make one from `archive`, or from an archive that is made first."""
    if settings.base is not None:
        store.buildah("pull", "--quiet", "--policy", "missing", settings.base)  # a digest is never newer
        return _asked(store, settings.base)
    file = archive or made_archive(store, settings)
    with tempfile.TemporaryDirectory(dir=store.home) as folder:
        os.link(file, Path(folder) / "base.tar")
        recipe = Path(__file__).with_name("Containerfile.base")
        reproducible = ("--isolation", "chroot", "--timestamp", "0", "--format", "oci")
        image = store.buildah("bud", "--quiet", *reproducible, "--file", recipe, "--tag", NAME, folder)
    return _asked(store, image.split()[-1])


def made_archive(store: Store, settings: Settings) -> Path:
    """Return the archive of a minimal Debian with Python; it is made if there is none of this recipe, or an old one."""
    arguments = [
        "--variant=essential", f"--include={','.join(PACKAGES)}",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT),
        *(f"--dpkgopt=path-include={pattern}" for pattern in KEPT),
        settings.suite,
    ]  # fmt: skip
    recipe = hashlib.sha256(json.dumps([arguments, settings.mirror]).encode()).hexdigest()[:12]
    file = store.home / f"base-{recipe}.tar"
    if not file.exists() or time.time() - file.stat().st_mtime > AGE_DAYS_MAX * 86_400:
        require("mmdebstrap")
        fresh = file.with_suffix(".new.tar")
        mirror = [settings.mirror] if settings.mirror else []
        run(["mmdebstrap", "--quiet", *arguments, fresh, *mirror], environ={"SOURCE_DATE_EPOCH": "0"})
        for older in store.home.glob("base-*.tar"):
            if older != fresh:
                older.unlink()
        shutil.move(fresh, file)
    return file


def _asked(store: Store, reference: str) -> Base:
    """Ask the image itself which Python it has."""
    container = store.buildah("from", "--pull-never", reference).strip()
    try:
        said = store.buildah("run", "--isolation", "chroot", container, "--", "python3", "-c", ASK)
    finally:
        store.buildah("rm", container)
    (major, minor), glibc, machine = json.loads(said.splitlines()[-1])
    libc_major, libc_minor = glibc.split(".")[:2]
    return Base(reference=reference, python=(major, minor), glibc=(int(libc_major), int(libc_minor)), machine=machine)
