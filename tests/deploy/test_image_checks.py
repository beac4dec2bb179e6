"""The checks of the images can fail; each is shown what it has to find."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from deploy.images.build import PACKED_BYTES_MAX, Image, TooLarge, check_size
from deploy.images.context import SETS, archived
from deploy.images.parts import LISTER, PYTHON
from deploy.images.tools import ToolFailed, run
from tests.deploy.confined import BOUNDS, breaches

ROOT = Path(__file__).parents[2]
PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)
ID = "0" * 64


@pytest.mark.parametrize("bound", BOUNDS)
def test_each_bound_of_a_process_is_looked_at(bound: str) -> None:
    kept = {key: next(iter(allowed)) for key, allowed in BOUNDS.items()}
    loose = {**kept, bound: "7"}

    assert breaches("\n".join(f"{key}:\t{value}" for key, value in kept.items())) == {}
    assert breaches("\n".join(f"{key}:\t{value}" for key, value in loose.items())) == {bound: ["7"]}
    assert breaches("") == {key: [] for key in BOUNDS}


def test_an_image_that_grew_too_large_is_refused() -> None:
    check_size(Image(name="batzen", id=ID, packed_bytes=PACKED_BYTES_MAX))

    with pytest.raises(TooLarge, match="250,000,001 bytes packed"):
        check_size(Image(name="batzen", id=ID, packed_bytes=PACKED_BYTES_MAX + 1))


def test_what_images_are_made_of_may_be_read_by_all_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        archived(tmp_path / "context")
    finally:
        os.umask(before)

    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "context").rglob("*")} == {0o644, 0o755}
    assert all(path.stat().st_mode & 0o1 for path in (tmp_path / "context").rglob("*") if path.is_dir())


def test_images_are_built_with_the_versions_that_are_tested() -> None:
    tested = dict(PIN.findall((ROOT / "requirements" / "dev.txt").read_text()))
    pinned = {name: PIN.findall((ROOT / "requirements" / f"{name}.txt").read_text()) for name in SETS}
    untested = {name for pins in pinned.values() for name, version in pins if tested.get(name) != version}

    assert untested == {"pip"}, "run make lock"


@pytest.mark.deploy
@pytest.mark.parametrize("wrong", [{"id": "short"}, {"committed": "yesterday"}])
def test_a_list_of_parts_that_does_not_hold_to_its_schema_is_refused(wrong: dict[str, str]) -> None:
    if not PYTHON.exists():
        pytest.skip("`make image` makes the environment of what lists the parts")
    image = {"name": "batzen", "version": "1", "id": ID, "commit": "c", "committed": "2026-01-01T00:00:00+00:00"}
    wheel = {"name": "wheel", "version": "1", "license": "MIT", "sha256": ID}
    parts: dict[str, Any] = {"image": image, "distribution": "debian-1", "debian": [], "python": [wheel]}

    assert json.loads(run([PYTHON, "-I", LISTER], given=json.dumps(parts)))["components"][0]["name"] == "wheel"
    with pytest.raises(ToolFailed):
        run([PYTHON, "-I", LISTER], given=json.dumps({**parts, "image": {**image, **wrong}}))
