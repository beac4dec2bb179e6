"""What `make up` keeps of the stand-in goes with the databases, or begins anew with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from local.stand_in import OUTDATED, StandIn, stand_in_of

SERVER = "postgresql://someone:secret@db.example:5432/postgres"


def _ran(directory: Path, *, server_url: str | None = None) -> StandIn:
    """Return the stand-in of a run that came up."""
    stand_in = stand_in_of(directory, server_url=server_url, forget=False)
    stand_in.begin()
    stand_in.state_file.touch()
    stand_in.confirm()
    return stand_in


def test_the_next_run_has_the_same_account_and_secrets(tmp_path: Path) -> None:
    first = _ran(tmp_path)

    second = stand_in_of(tmp_path, server_url=None, forget=False)
    second.begin()

    assert (first.is_kept, second.is_kept) == (False, True)
    assert second.stripe == first.stripe
    assert second.state_file.exists()
    assert (tmp_path / "stand-in.json").stat().st_mode & 0o777 == 0o600


def test_another_password_is_no_other_server(tmp_path: Path) -> None:
    _ran(tmp_path, server_url=SERVER)

    assert stand_in_of(tmp_path, server_url=SERVER.replace("secret", "other"), forget=False).is_kept
    assert not stand_in_of(tmp_path, server_url=SERVER.replace("db.example", "other"), forget=False).is_kept


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

    again = stand_in_of(tmp_path, server_url=None, forget=False)
    again.begin()

    assert not again.is_kept
    assert again.stripe.api_key != first.stripe.api_key
    assert again.why_anew == ("" if lost == "stand-in.json" else OUTDATED)
    assert list(tmp_path.iterdir()) == []


def test_a_start_that_dies_before_all_is_there_leads_to_a_new_beginning(tmp_path: Path) -> None:
    _ran(tmp_path)
    forgetting = stand_in_of(tmp_path, server_url=None, forget=True)
    forgetting.begin()
    forgetting.state_file.touch()  # the stand-in runs, and the databases are not empty yet

    assert not stand_in_of(tmp_path, server_url=None, forget=False).is_kept
