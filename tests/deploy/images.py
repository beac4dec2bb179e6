"""The images of the last commit, made once for all tests that look at them or run them."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import dataclass
from typing import Any

import pytest

from deploy.images.build import LOCAL_TAG, RECORD, build
from deploy.images.parts import write_list
from deploy.images.settings import Settings
from deploy.images.tools import PACKAGES, Store
from tests.deploy.times import took


def skip_without(*programs: str) -> None:
    """Skip with what is missing and how to get it."""
    if os.geteuid() != 0:
        pytest.skip("containers are run as root here; podman as another user was not tried")
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        packages = " ".join(PACKAGES.read_text().split())
        pytest.skip(f"{', '.join(missing)} missing: on Debian apt-get install --no-install-recommends {packages}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """What `make image` made, and the store that it lies in."""

    store: Store
    record: dict[str, Any]

    @property
    def commit(self) -> str:
        return str(self.record["commit"]["id"])

    def id(self, name: str) -> str:
        """Return the id of an image."""
        return str(self._image(name)["id"])

    def packed_bytes(self, name: str) -> int:
        return int(self._image(name)["packed_bytes"])

    def inside(self, name: str, program: str, *options: str) -> str:
        """Run a Python program in a container without a network, as a pod would have it; return what it wrote."""
        confined = ("--rm", "--network=none", "--read-only", "--cap-drop=all", "--security-opt=no-new-privileges")
        python = ("--entrypoint", "python", *options, f"localhost/{name}:{LOCAL_TAG}", "-c", program)
        return self.store.podman("run", *confined, *python)

    def config(self, name: str) -> dict[str, Any]:
        """Return what the image says of itself."""
        [found] = json.loads(self.store.podman("image", "inspect", f"localhost/{name}:{LOCAL_TAG}"))
        return dict(found)

    def _image(self, name: str) -> dict[str, Any]:
        [found] = [image for image in self.record["images"] if image["name"] == name]
        return dict(found)


def make_images() -> Images:
    """Build the images as `make image` does."""
    store = Store()
    begun = time.monotonic()
    built = build(store, Settings.from_environ(os.environ), report=lambda step: took(begun, f"so far, {step}"))
    write_list(store, built, built.images[0])
    return Images(store=store, record=json.loads((store.home / RECORD).read_text()))
