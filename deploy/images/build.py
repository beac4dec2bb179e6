"""Builds the images of the last commit, one from the other, so that the same base and commit give the same ids."""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from deploy.images.base import Base, find_base
from deploy.images.context import Commit, archived, wheels
from deploy.images.settings import Settings
from deploy.images.tools import Store, ToolFailed, require

SERVICES: Final = "batzen"
SANDBOX: Final = "batzen-sandbox"
POSTGRES: Final = "batzen-postgres"
LOCAL_TAG: Final = "local"
"""Beside the version: how the local overlay names what was built last."""
PACKED_BYTES_MAX: Final = 250 * 1000 * 1000
"""Of the services' image, as a node fetches it. A new node takes its first payment that much later."""
TITLES: Final = {
    SERVICES: "Batzen: the four services and the two fronts",
    SANDBOX: "Batzen: a stand-in for Stripe, for laptops and tests",
    POSTGRES: "Batzen: a database server, for laptops and tests",
}
RECORD: Final = "images.json"

Report = Callable[[str], None]
"""Told each step as it is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One image in the store."""

    name: str
    id: str
    packed_bytes: int
    """Its layers, each compressed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What one run made."""

    commit: Commit
    base: Base
    images: tuple[Image, ...]


class TooLarge(Exception):
    """The services' image has grown past what is promised; the text says by how much."""


def build(
    store: Store,
    settings: Settings,
    *,
    archive: Path | None = None,
    report: Report = lambda _: None,
) -> Built:
    """Build all images and record them beside the store. Raises `ToolMissing`, `ToolFailed` or `TooLarge`.

    `archive` takes the place of the base's archive.
    """
    require("buildah")
    store.home.mkdir(mode=0o711, parents=True, exist_ok=True)
    with (store.home / "build.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        context = store.home / "context"
        commit = archived(context)
        report(f"files of commit {commit.id[:12]}")
        base = find_base(store, settings, archive=archive)
        report(f"base {base.reference.rpartition(':')[2][:12]}, Python {'.'.join(map(str, base.python))}")
        wheels(store, context, base)
        report("wheels, by hash")
        make = _Maker(store, context, commit=commit, source=settings.source, report=report)
        try:
            services = make.image(SERVICES, recipe="Containerfile", on=base.reference)
            sandbox = make.image(SANDBOX, recipe="Containerfile.sandbox", on=services.id)
            postgres = make.image(POSTGRES, recipe="Containerfile.postgres", on=base.reference)
        finally:
            store.buildah("rm", "--all")
            store.buildah("rmi", "--prune", "--force")
            shutil.rmtree(context)
        built = Built(commit=commit, base=base, images=(services, sandbox, postgres))
        (store.home / RECORD).write_text(json.dumps(asdict(built), indent=2) + "\n")
    check_size(services)
    return built


def check_size(image: Image) -> None:
    """Raise `TooLarge` for an image that has more than is promised."""
    if image.packed_bytes > PACKED_BYTES_MAX:
        raise TooLarge(f"{image.name} has {image.packed_bytes:,} bytes packed, and {PACKED_BYTES_MAX:,} at most.")


class _Maker:
    """Makes one image after the other from one context."""

    def __init__(self, store: Store, context: Path, *, commit: Commit, source: str | None, report: Report) -> None:
        self._store = store
        self._context = context
        self._commit = commit
        self._source = source
        self._report = report

    def image(self, name: str, *, recipe: str, on: str) -> Image:
        """Build one image on another, named by id or digest, and pack it."""
        labels = [f"--label=org.opencontainers.image.{key}={value}" for key, value in self._labels(name, on).items()]
        tags = [f"--tag=localhost/{name}:{tag}" for tag in (self._commit.version, LOCAL_TAG)]
        # A layer that is kept from an older build has its name in the history, and so in the id.
        # Files of the year 1970 are the same in each build. The format of docker would name the container of the build.
        how = ("--isolation=chroot", "--pull-never", "--timestamp=0", "--format=oci", "--layers", "--no-cache")
        recipe_file = self._context / "deploy" / "images" / recipe
        self._store.buildah(
            "bud", "--quiet", *how, *labels, *tags, f"--build-arg=BASE={on}", "--file", recipe_file, self._context
        )
        identity = self._store.image_id(f"localhost/{name}:{LOCAL_TAG}")
        if identity is None:
            raise ToolFailed(f"{name} was built and is not there.")
        packed = self._pack(name, identity)
        self._report(f"{name} {identity[:12]}, {packed / 1e6:.0f} MB packed")
        return Image(name=name, id=identity, packed_bytes=packed)

    def _labels(self, name: str, on: str) -> dict[str, str]:
        labels = {
            "title": TITLES[name],
            "version": self._commit.version,
            "revision": self._commit.id,
            "created": self._commit.committed,
            "licenses": "Apache-2.0",
            "base.digest": f"sha256:{on.rpartition(':')[2]}",
        }
        return labels | ({"source": self._source} if self._source else {})

    def _pack(self, name: str, identity: str) -> int:
        """Write the image as it is fetched, for machines without a registry between them, and return its bytes."""
        folder = self._store.home / "packed" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self._store.buildah("push", "--quiet", "--format=oci", identity, f"dir:{folder}")
        return sum(file.stat().st_size for file in folder.iterdir())
