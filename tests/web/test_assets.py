"""Files are served under names that change with what is in them, and with what is in the files that they name."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.web.assets import Assets


def _folder(tmp_path: Path, font: bytes) -> Path:
    folder = tmp_path / font.decode()
    folder.mkdir()
    (folder / "inter.woff2").write_bytes(font)
    (folder / "page.css").write_text('@font-face { src: url("asset:inter.woff2") }')
    return folder


def test_a_stylesheet_gets_the_path_of_the_file_that_it_names_and_is_renamed_with_it(tmp_path: Path) -> None:
    first, second = Assets([_folder(tmp_path, b"one")]), Assets([_folder(tmp_path, b"two")])

    assert first.named("page.css").content.decode() == f'@font-face {{ src: url("{first.url("inter.woff2")}") }}'
    assert first.url("page.css") != second.url("page.css")


def test_a_stylesheet_that_names_no_file_of_ours_keeps_the_front_from_starting(tmp_path: Path) -> None:
    (tmp_path / "page.css").write_text('a { src: url("asset:gone.woff2") }')

    with pytest.raises(KeyError, match=r"gone\.woff2"):
        Assets([tmp_path])
