"""The development issuer: files only their owner reads, keys that last, tokens per service and tenant."""

from __future__ import annotations

import stat
from pathlib import Path

import jwt

from local.issuer import Issuer
from tests.runtime.echo import NOW


def test_keys_and_tokens_are_for_their_owner_only(tmp_path: Path) -> None:
    issuer = Issuer(tmp_path / "issuer", now=lambda: NOW)
    issuer.write_service_tokens(tmp_path / "tokens", services=["gateway"], tenants=["main", "second"])

    written = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert [path.name for path in written if path.suffix == ".jwt"] == ["main.jwt", "second.jwt"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in written} == {0o600}
    assert stat.S_IMODE((tmp_path / "issuer").stat().st_mode) == 0o700
    assert "PRIVATE" not in issuer.jwks.read_text()
    assert '"d"' not in issuer.jwks.read_text()


def test_a_second_start_signs_with_the_same_key(tmp_path: Path) -> None:
    first = Issuer(tmp_path, now=lambda: NOW).mint("payer_1", roles={"payer"})
    second = Issuer(tmp_path, now=lambda: NOW).mint("payer_1", roles={"payer"})

    assert jwt.get_unverified_header(first) == jwt.get_unverified_header(second)
