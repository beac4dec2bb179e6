"""What an image is made of: asked of the image itself, each wheel with its hash, and listed as CycloneDX beside it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from deploy.images.build import Built, Image
from deploy.images.tools import Store, ToolFailed, ToolMissing, run
from local.processes import ROOT

PYTHON: Final = ROOT / ".batzen" / "sbom" / "bin" / "python"
"""Made by `make image`."""
INVENTORY: Final = Path(__file__).with_name("inventory.py")
LISTER: Final = Path(__file__).with_name("sbom.py")


def write_list(store: Store, built: Built, image: Image) -> Path:
    """Write `<image>.cdx.json` beside the store, and return where it is. Raises `ToolMissing` or `ToolFailed`."""
    if not PYTHON.exists():
        raise ToolMissing("what lists the parts of an image", "`make image` makes its environment")
    container = store.buildah("from", "--pull-never", image.id).strip()
    try:
        inside = ("run", "--isolation", "chroot", container, "--")
        found = json.loads(store.buildah(*inside, "python3", "-c", INVENTORY.read_text()))
        released = store.buildah(*inside, "cat", "/etc/os-release")
    finally:
        store.buildah("rm", container)
    [wheels] = store.home.glob("wheels-*")
    parts = {
        "image": {
            "name": image.name,
            "version": built.commit.version,
            "id": image.id,
            "commit": built.commit.id,
            "committed": built.commit.committed,
        },
        "distribution": _distribution(released),
        "debian": [
            dict(zip(("name", "version", "architecture", "source"), entry, strict=True)) for entry in found["debian"]
        ],
        "python": list(_with_hashes(found["python"], wheels)),
    }
    file = store.home / f"{image.name}.cdx.json"
    file.write_text(run([PYTHON, "-I", LISTER], given=json.dumps(parts)))
    return file


def _distribution(released: str) -> str:
    values = dict(line.split("=", 1) for line in released.splitlines() if "=" in line)
    return f"{values.get('ID', 'unknown')}-{values.get('VERSION_ID', 'unknown')}".replace('"', "")


def _with_hashes(found: Iterable[list[str]], wheels: Path) -> Iterable[dict[str, str]]:
    files = {tuple(file.name.split("-")[:2]): file for file in wheels.glob("*.whl")}
    hashes = {(_canonical(name), version): file for (name, version), file in files.items()}
    for name, version, license_ in found:
        file = hashes.get((_canonical(name), version))
        if file is None:
            raise ToolFailed(f"{name} {version} is in the image, and no wheel of it was among those it was built from.")
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        yield {"name": _canonical(name), "version": version, "license": license_, "sha256": sha256}


def _canonical(name: str) -> str:
    """Return the one spelling of a package's name."""
    return re.sub(r"[-_.]+", "-", name).lower()
