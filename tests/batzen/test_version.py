"""Version and commit: the same answer wherever the code went."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from batzen import version
from tests.batzen.repository import commit_all, git

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with the module and what rules how it is archived."""
    folder = tmp_path / "checkout"
    (folder / "batzen").mkdir(parents=True)
    for name in ("batzen/__init__.py", "batzen/version.py", ".gitattributes"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def said(folder: Path) -> str:
    """Return what the copy in that folder says."""
    program = "from batzen.version import build; print(build())"
    ran = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=True)
    return ran.stdout.strip()


def test_a_checkout_says_its_commit_and_whether_it_was_changed(checkout: Path) -> None:
    commit = commit_all(checkout)
    assert said(checkout) == f"{version.VERSION} (commit {commit})"

    (checkout / "batzen" / "__init__.py").write_text("changed = True")
    assert said(checkout) == f"{version.VERSION} (commit {commit}-dirty)"


def test_an_archive_of_a_commit_says_it_without_git(checkout: Path, tmp_path: Path) -> None:
    commit = commit_all(checkout)
    with tarfile.open(fileobj=io.BytesIO(git(checkout, "archive", "HEAD"))) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", None)  # Python 3.11.4 was the first to have it
        archive.extractall(tmp_path / "archive")  # noqa: S202 of a commit that this test made

    assert said(tmp_path / "archive") == f"{version.VERSION} (commit {commit})"


def test_a_copy_that_nobody_wrote_it_into_says_that_it_is_unknown(checkout: Path) -> None:
    assert said(checkout) == f"{version.VERSION} (commit {version.UNKNOWN})"


def test_the_checkout_around_a_copy_is_not_taken_for_its_own(checkout: Path) -> None:
    """As an environment inside of some other repository would."""
    commit_all(checkout.parent)

    assert said(checkout) == f"{version.VERSION} (commit {version.UNKNOWN})"
