"""`protos/google`: what errors carry is there for whoever makes stubs, as the package that we read it with has it."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.rpc import status_pb2

PUBLISHED = Path(status_pb2.__file__).parent
OURS = Path(__file__).parents[1] / "protos" / "google" / "rpc"


@pytest.mark.parametrize("name", ["code", "error_details", "status"])
def test_a_message_of_errors_is_the_published_one(name: str) -> None:
    assert (OURS / f"{name}.proto").read_bytes() == (PUBLISHED / f"{name}.proto").read_bytes()


def test_no_stubs_are_made_of_them_here() -> None:
    """The package has them: made a second time, under our folders, they would hide the package's."""
    assert not list(OURS.parents[2].glob("google*"))
    assert not list((OURS.parents[2] / "batzen").glob("**/google"))
