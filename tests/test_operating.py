"""The operator's book: each block of commands is run by a test or says why not, and each link leads somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]
BOOKS: Final = ("docs/operating.md", "docs/runbook.md")
BLOCK: Final = re.compile(r"(?P<before>.*)\n```(?P<language>\w*)\n(?P<text>.*?)\n```", re.DOTALL)
MARKER: Final = re.compile(r"<!-- (?P<kind>ran-by|not-run): (?P<what>.+) -->")
LINK: Final = re.compile(r"\]\((?P<file>[^)#\s]*)(?:#(?P<anchor>[^)\s]+))?\)")
OURS: Final = "tests/test_operating.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Commands of a book, and what is said of who runs them."""

    kind: str
    what: str
    commands: tuple[str, ...]


def blocks(text: str) -> list[Block]:
    """Return the blocks of commands of a book; AssertionError for one of which nothing is said."""
    found = []
    lines = text.splitlines()
    for start, line in enumerate(lines):
        if line != "```sh":
            continue
        marker = MARKER.fullmatch(lines[start - 1])
        assert marker is not None, f"of `{lines[start + 1]}` nothing says who runs it"
        end = lines.index("```", start)
        found.append(Block(kind=marker["kind"], what=marker["what"], commands=tuple(lines[start + 1 : end])))
    return found


ALL: Final = [block for book in BOOKS for block in blocks((ROOT / book).read_text())]


def of(test: str) -> list[str]:
    """Return the commands that a test runs."""
    return [command for block in ALL if block.what == test for command in block.commands]


def anchors(text: str) -> set[str]:
    """Return the anchors of a document's headings."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    "block", [block for block in ALL if block.kind == "ran-by"], ids=lambda block: block.commands[0]
)
def test_the_test_that_runs_a_command_is_there(block: Block) -> None:
    file, _, name = block.what.partition("::")
    text = (ROOT / file).read_text()

    assert not name or re.search(rf"def {name}\(", text)
    assert name or all(command.split()[0] in {"batzen", "python"} for command in block.commands)


def test_a_command_of_which_nothing_is_said_is_found() -> None:
    with pytest.raises(AssertionError, match="nothing says who runs it"):
        blocks("Do this:\n\n```sh\nrm -r data\n```\n")
    assert "```" not in re.sub(
        r"```sh\n.*?\n```", "", "".join((ROOT / book).read_text() for book in BOOKS), flags=re.DOTALL
    )


@pytest.mark.parametrize("book", BOOKS)
def test_every_link_leads_somewhere(book: str) -> None:
    text = (ROOT / book).read_text()

    for link in LINK.finditer(text):
        target = ROOT / book if not link["file"] else (ROOT / book).parent / link["file"]
        assert target.exists(), link[0]
        assert not link["anchor"] or link["anchor"] in anchors(target.read_text()), link[0]


@pytest.mark.parametrize("book", BOOKS)
def test_every_file_and_alert_that_is_named_is_there(book: str) -> None:
    text = (ROOT / book).read_text()
    named = re.findall(r"`((?:tests|deploy|docs)/[\w/.\-]+)`", text)

    assert [name for name in named if not (ROOT / name).exists()] == []
    alerts = set(re.findall(r"^### (Batzen\w+)$", (ROOT / "docs/runbook.md").read_text(), re.MULTILINE))
    assert set(re.findall(r"`(Batzen[A-Z]\w+)`", text)) <= alerts


@pytest.mark.parametrize("command", of(OURS))
def test_a_command_does_what_it_says(command: str) -> None:
    program, *arguments = command.split()
    assert program == "python"

    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
