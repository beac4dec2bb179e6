"""Files are served under names that change with what is in them, and with what is in the files that they name."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Final

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


VENDORED: Final = Path(__file__).parents[2] / "services/web/static/vendor"


def _unlike(folder: Path) -> list[str]:
    """Return the files of others that are not the ones that were looked at, and those that are gone."""
    sums = {name: sum_ for sum_, name in map(str.split, (folder / "SHA256SUMS").read_text().splitlines())}
    there = {
        file.name: sha256(file.read_bytes()).hexdigest()
        for file in folder.iterdir()
        if file.name != "SHA256SUMS" and not file.name.endswith("-LICENSE.txt")
    }
    return sorted({name for name, _ in sums.items() ^ there.items()})


def test_files_of_others_are_the_ones_that_were_looked_at_have_a_licence_and_are_loaded() -> None:
    assert _unlike(VENDORED) == []
    templates = "".join(file.read_text() for file in VENDORED.parents[2].glob("*/templates/**/*.html"))
    for file in VENDORED.iterdir():
        if file.suffix != ".txt" and file.name != "SHA256SUMS":
            assert f"vendor/{file.name}" in templates
            assert (VENDORED / f"{file.name.partition('-')[0]}-LICENSE.txt").is_file()


def test_a_file_of_others_that_was_changed_or_added_is_found(tmp_path: Path) -> None:
    (tmp_path / "SHA256SUMS").write_text(f"{sha256(b'one').hexdigest()}  one.js\n{sha256(b'').hexdigest()}  gone.js\n")
    (tmp_path / "one.js").write_bytes(b"other")
    (tmp_path / "new.js").write_bytes(b"new")
    (tmp_path / "one-LICENSE.txt").write_bytes(b"free")

    assert _unlike(tmp_path) == ["gone.js", "new.js", "one.js"]
