"""A value in a file is the file's, however the file is replaced, and stays while there is nothing good in it."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from services.runtime.process import followed as followed_file
from services.runtime.process.followed import FILE_BYTES_MAX, Followed, FollowedFile, unfit
from tests.logged import said_by
from tests.mounts import Mount


def number(text: str) -> int:
    if not text.isdigit():
        raise ValueError("is no number")
    return int(text)


@pytest.fixture
def mount(tmp_path: Path) -> Mount:
    return Mount(tmp_path / "secrets", {"value": "1\n"})


@pytest.fixture
def followed(mount: Mount) -> FollowedFile[int]:
    return FollowedFile(mount.path("value"), number, name="VALUE")


def test_a_mounted_file_is_followed_with_the_value_it_had_before(mount: Mount, followed: FollowedFile[int]) -> None:
    assert followed.candidates() == (1,)

    mount.replace({"value": "2"})
    assert followed.candidates() == (2, 1)

    mount.replace({"value": "3"})
    assert followed.candidates() == (3, 2)
    mount.replace({"value": "3\n"})  # the same again says nothing new
    assert followed.candidates() == (3, 2)


def test_a_file_that_is_renamed_over_or_written_in_place_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "value"
    path.write_text("1")
    followed = FollowedFile(path, number, name="VALUE")
    assert followed.current() == 1

    (tmp_path / "new").write_text("2")
    os.utime(tmp_path / "new", ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    os.replace(tmp_path / "new", path)
    assert followed.current() == 2

    path.write_text("33")
    assert followed.current() == 33


@pytest.mark.parametrize("content", [None, "", " \n", "hunter2", b"\xff", "1" * (FILE_BYTES_MAX + 1)])
def test_what_cannot_be_used_leaves_the_value_and_is_said_once_without_it(
    mount: Mount, followed: FollowedFile[int], content: str | bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    mount.replace({} if content is None else {"value": content})

    with caplog.at_level(logging.INFO):
        assert [followed.current() for _ in range(3)] == [1, 1, 1]

    assert followed.is_unfit
    assert unfit()["VALUE"]
    (said,) = said_by(followed_file, caplog)
    assert said.getMessage().startswith("VALUE stays what it is, since the new one ")
    assert "hunter2" not in caplog.text

    mount.replace({"value": "2"})
    assert followed.candidates() == (2, 1)
    assert not followed.is_unfit


def test_a_value_without_a_file_stays() -> None:
    assert Followed("a").candidates() == ("a",)
