"""What `make up` keeps of the stand-in goes with the databases, or begins anew with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from local.postgres import EmbeddedPostgres
from local.stand_in import OUTDATED, StandIn, stand_in_of
from local.storage import identity

THERE = "7000000000000000001"
"""What tells a server from another."""
SERVER = "postgresql://someone:secret@db.example:5432/postgres"


def _ran(directory: Path, *, server_url: str | None = None) -> StandIn:
    """Return the stand-in of a run that came up."""
    stand_in = stand_in_of(directory, server_url=server_url, identity=None, forget=False)
    stand_in.begin()
    stand_in.state_file.touch()
    stand_in.confirm(THERE)
    return stand_in


def test_the_next_run_has_the_same_account_and_secrets(tmp_path: Path) -> None:
    first = _ran(tmp_path)

    second = stand_in_of(tmp_path, server_url=None, identity=THERE, forget=False)
    second.begin()

    assert (first.is_kept, second.is_kept) == (False, True)
    assert second.stripe == first.stripe
    assert second.state_file.exists()
    assert (tmp_path / "stand-in.json").stat().st_mode & 0o777 == 0o600


def test_another_password_is_no_other_server(tmp_path: Path) -> None:
    _ran(tmp_path, server_url=SERVER)

    def is_kept(url: str) -> bool:
        return stand_in_of(tmp_path, server_url=url, identity=THERE, forget=False).is_kept

    assert is_kept(SERVER.replace("secret", "other"))
    assert is_kept(f"{SERVER}?password=other")
    assert not is_kept(SERVER.replace("db.example", "other"))


@pytest.mark.parametrize("server_url", [None, SERVER])
@pytest.mark.parametrize("now", [None, "made anew"])
def test_it_begins_anew_with_a_server_that_was_made_anew(
    tmp_path: Path, server_url: str | None, now: str | None
) -> None:
    _ran(tmp_path, server_url=server_url)

    again = stand_in_of(tmp_path, server_url=server_url, identity=now, forget=False)

    assert (again.is_kept, again.why_anew) == (False, OUTDATED)


async def test_a_server_is_known_whether_it_runs_or_not(server: EmbeddedPostgres, tmp_path: Path) -> None:
    assert await identity(tmp_path, server_url=None) is None
    assert list(tmp_path.iterdir()) == []
    assert await identity(tmp_path, server_url=server.admin_url) == server.identity()


@pytest.mark.parametrize("lost", ["stand-in.json", "stand-in.db", "format", "torn"])
def test_it_begins_anew_where_state_and_databases_do_not_belong_together(tmp_path: Path, lost: str) -> None:
    first = _ran(tmp_path)
    record = tmp_path / "stand-in.json"
    if lost == "torn":
        record.write_text("{")
    elif lost == "format":
        record.write_text(json.dumps(json.loads(record.read_text()) | {"belongs_to": "another release"}))
    else:
        (tmp_path / lost).unlink()

    again = stand_in_of(tmp_path, server_url=None, identity=THERE, forget=False)
    again.begin()

    assert not again.is_kept
    assert again.stripe.api_key != first.stripe.api_key
    assert again.why_anew == ("" if lost == "stand-in.json" else OUTDATED)
    assert list(tmp_path.iterdir()) == []


def test_a_start_that_dies_before_all_is_there_leads_to_a_new_beginning(tmp_path: Path) -> None:
    _ran(tmp_path)
    forgetting = stand_in_of(tmp_path, server_url=None, identity=THERE, forget=True)
    forgetting.begin()
    forgetting.state_file.touch()  # the stand-in runs, and the databases are not empty yet

    assert not stand_in_of(tmp_path, server_url=None, identity=THERE, forget=False).is_kept
