"""What is chosen about the images, and what is said where it cannot be."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.images.base import Base
from deploy.images.settings import ImageSettingRefused, Settings
from deploy.images.tools import PACKAGES, ToolMissing, require

ROOT = Path(__file__).parents[2]


def test_nothing_needs_to_be_chosen() -> None:
    settings = Settings.from_environ({})

    assert (settings.base, settings.mirror, settings.source) == (None, None, None)
    assert settings.suite


def test_a_base_is_named_by_digest() -> None:
    pinned = f"registry.example/python@sha256:{'0' * 64}"

    assert Settings.from_environ({"BATZEN_IMAGE_BASE": pinned}).base == pinned
    with pytest.raises(ImageSettingRefused, match="by digest"):
        Settings.from_environ({"BATZEN_IMAGE_BASE": "registry.example/python:latest"})


def test_wheels_are_asked_for_by_what_the_base_can_run() -> None:
    base = Base(reference="0", python=(3, 11), glibc=(2, 19), machine="x86_64")

    assert base.platforms == [
        "manylinux_2_19_x86_64",
        "manylinux_2_18_x86_64",
        "manylinux_2_17_x86_64",
        "manylinux2014_x86_64",
    ]


def test_a_missing_program_is_named_with_how_to_get_it() -> None:
    with pytest.raises(
        ToolMissing, match=f"no-such-builder is not on this machine.* {PACKAGES.read_text().split()[1]}"
    ):
        require("no-such-builder")


def test_without_a_builder_the_command_says_so_and_makes_nothing(tmp_path: Path) -> None:
    environ = {**os.environ, "PATH": str(tmp_path)}
    command = [sys.executable, "-m", "deploy.images"]
    said = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)

    assert said.returncode == 1
    assert said.stderr.startswith("buildah is not on this machine: on Debian apt-get install ")
    assert said.stdout == ""
