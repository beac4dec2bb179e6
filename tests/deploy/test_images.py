"""The images: what is in them and what is not, who they run as, and that the same commit gives the same images."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from batzen.version import VERSION
from deploy.images.base import NAME, find_base
from deploy.images.build import LOCAL_TAG, PACKED_BYTES_MAX, POSTGRES, SANDBOX, SERVICES, build
from deploy.images.settings import Settings
from deploy.images.tools import Store, ToolFailed
from tests.deploy.confined import breaches
from tests.deploy.images import Images, skip_without

pytestmark = pytest.mark.deploy

ROOT = Path(__file__).parents[2]
PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)
BUILDERS = ("pip", "pip3", "gcc", "cc", "g++", "ld", "make", "git", "apt-get", "curl", "wget", "protoc", "buildah")
"""Programs that a service has no use for, and somebody who broke in has."""
LOOK = """
import importlib.util, json, os, pathlib, shutil
from importlib.metadata import distributions
from batzen.version import build
everywhere = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/batzen/venv/bin"
uncompiled = [
    str(path) for path in pathlib.Path("/opt/batzen").rglob("*.py")
    if not pathlib.Path(importlib.util.cache_from_source(str(path))).exists()
]
try:
    pathlib.Path("/opt/batzen/app/mine").write_text("")
    could_write = True
except OSError:
    could_write = False
print(json.dumps({
    "uid": os.getuid(), "gid": os.getgid(), "groups": os.getgroups(), "could_write": could_write,
    "programs": [name for name in %r if shutil.which(name, path=everywhere)],
    "modules": [name for name in %r if importlib.util.find_spec(name)],
    "installed": {part.metadata["Name"].lower().replace("_", "-"): part.version for part in distributions()},
    "uncompiled": uncompiled, "build": str(build()),
    "status": pathlib.Path("/proc/self/status").read_text(),
}))
"""
ABSENT = ("pip", "setuptools", "ensurepip", "grpc_tools", "pytest", "sandbox", "local", "tests", "bench", "deploy")


def seen(images: Images, name: str, *options: str) -> dict[str, Any]:
    return dict(json.loads(images.inside(name, LOOK % (BUILDERS, ABSENT), *options)))


@pytest.fixture(scope="module")
def services(images: Images) -> dict[str, Any]:
    return seen(images, SERVICES)


def test_the_services_run_as_nobody_in_particular_and_can_change_nothing(services: dict[str, Any]) -> None:
    assert (services["uid"], services["gid"]) == (10001, 10001)
    assert not services["could_write"]
    assert breaches(services["status"]) == {}


def test_any_user_will_do(images: Images) -> None:
    """As where a cluster gives each namespace a range of its own."""
    assert seen(images, SERVICES, "--user=777777:777777")["uid"] == 777777


def test_neither_tools_nor_the_stand_in_are_in_the_services_image(services: dict[str, Any]) -> None:
    assert services["programs"] == []
    assert services["modules"] == []


def test_what_is_installed_is_what_the_requirements_say_and_nothing_else(services: dict[str, Any]) -> None:
    pinned = {name.lower().replace("_", "-"): version for name, version in PIN.findall(requirements("runtime"))}
    unneeded = {name for name in pinned if name not in services["installed"]}

    assert {name: pinned.get(name) for name in services["installed"]} == services["installed"]
    assert all(re.search(rf"^{name}==\S+ ;", requirements("runtime"), re.MULTILINE) for name in unneeded)


def requirements(name: str) -> str:
    return (ROOT / "requirements" / f"{name}.txt").read_text()


def test_every_module_is_compiled_already(services: dict[str, Any]) -> None:
    """A read-only root keeps nothing that was compiled at the start."""
    assert services["uncompiled"] == []


def test_code_and_labels_say_version_and_commit(images: Images, services: dict[str, Any]) -> None:
    labels = images.config(SERVICES)["Labels"]

    assert services["build"] == f"{VERSION} (commit {images.commit})"
    assert labels["org.opencontainers.image.version"] == VERSION
    assert labels["org.opencontainers.image.revision"] == images.commit
    assert {"title", "licenses", "created", "base.digest"} <= {key.rpartition("image.")[2] for key in labels}


def test_a_runtime_without_probes_of_its_own_is_told_how_to_ask(images: Images) -> None:
    command = images.config(SERVICES)["Labels"]["batzen.health.command"].split()

    assert command[:2] == ["python", "-m"]
    with pytest.raises(ToolFailed, match="BATZEN_HEALTH_LISTEN is not set"):
        images.store.podman("run", "--rm", "--network=none", f"localhost/{SERVICES}:{LOCAL_TAG}", command[2])


def test_the_services_image_is_small(images: Images) -> None:
    """Measured as it is fetched: each layer compressed."""
    assert 0 < images.packed_bytes(SERVICES) <= PACKED_BYTES_MAX


def test_the_stand_in_is_that_image_and_itself(images: Images) -> None:
    layers = {name: images.config(name)["RootFS"]["Layers"] for name in (SERVICES, SANDBOX)}

    assert layers[SANDBOX][: len(layers[SERVICES])] == layers[SERVICES]
    assert seen(images, SANDBOX)["modules"] == ["sandbox", "local"]
    assert seen(images, SANDBOX)["uid"] == 10001


def test_the_list_of_parts_has_every_wheel_with_its_hash_and_the_packages_of_debian(
    images: Images, services: dict[str, Any]
) -> None:
    listed = json.loads((images.store.home / f"{SERVICES}.cdx.json").read_text())
    wheels = [part for part in listed["components"] if part["purl"].startswith("pkg:pypi/")]
    packages = {part["name"] for part in listed["components"] if part["purl"].startswith("pkg:deb/")}
    hashes = set(re.findall(r"--hash=sha256:([0-9a-f]{64})", requirements("runtime")))

    assert (listed["bomFormat"], listed["specVersion"]) == ("CycloneDX", "1.6")
    assert {part["name"].replace("_", "-"): part["version"] for part in wheels} == services["installed"]
    assert {part["hashes"][0]["content"] for part in wheels} <= hashes
    assert {"libc6", "openssl", "ca-certificates", "tzdata"} <= packages
    assert listed["metadata"]["component"]["hashes"][0]["content"] == images.id(SERVICES)


def test_a_base_that_is_named_by_digest_is_taken_as_it_is(images: Images) -> None:
    """One that is here already, for want of a registry."""
    [known] = json.loads(images.store.podman("image", "inspect", NAME))
    pinned = Settings.from_environ({"BATZEN_IMAGE_BASE": f"{NAME}@{known['Digest']}"})

    base = find_base(images.store, pinned)

    assert base.reference == pinned.base
    assert list(base.python) == images.record["base"]["python"]
    with pytest.raises(ToolFailed):
        find_base(images.store, Settings.from_environ({"BATZEN_IMAGE_BASE": f"{NAME}@sha256:{'0' * 64}"}))


def test_the_same_base_and_commit_give_the_same_ids(images: Images, tmp_path: Path) -> None:
    """In a store without anything that the first build left behind, but for what is fetched."""
    skip_without("buildah")
    settings = Settings.from_environ(os.environ)
    if settings.base is not None:
        pytest.skip("the base is the registry's")
    again = Store(tmp_path / "again")
    again.home.mkdir()
    [archive] = images.store.home.glob("base-*.tar")
    [wheels] = images.store.home.glob("wheels-*")
    (again.home / wheels.name).symlink_to(wheels)

    built = build(again, settings, archive=archive)

    assert {image.name: image.id for image in built.images} == {
        name: images.id(name) for name in (SERVICES, SANDBOX, POSTGRES)
    }
