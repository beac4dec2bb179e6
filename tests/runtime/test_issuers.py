"""Fronts as issuers: each speaks for the people of its row alone, by short assertions that say all they have to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from local.issuer import AUDIENCE, ISSUER, Issuer
from services.errors import Unauthenticated
from services.runtime.rpc.identity import LEEWAY, TOKEN_BYTES_MAX, Caller, TokenVerifier
from services.runtime.rpc.issuers import FurtherIssuer, Verifier, further_issuers, trusted_issuers
from services.runtime.rpc.jwks import KeySet
from services.web.assertions import LIFE, AssertionMinter, Person, key_id
from tests.runtime.echo import NOW

ROWS: Mapping[str, tuple[frozenset[str], frozenset[str]]] = {
    "bff": (frozenset({"payer"}), frozenset({"main"})),
    "console": (frozenset({"operator", "operator_readonly"}), frozenset()),
}
ANNA = Person(tenant_id="main", subject="payer_1", role="payer", auth_time=NOW - timedelta(hours=1))
OLIVIA = Person(tenant_id="main", subject="operator_1", role="operator", auth_time=NOW - timedelta(minutes=2))


class World:
    """The issuer of the settings, two fronts, and what checks the tokens of all of them."""

    def __init__(self, directory: Path) -> None:
        self.time = NOW
        self.first = Issuer(directory / "issuer", now=self.now)
        self.keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ROWS}
        rows = []
        for name, (roles, tenants) in ROWS.items():
            path = directory / f"{name}.json"
            public = ECAlgorithm.to_jwk(self.keys[name].public_key(), as_dict=True)
            path.write_text(json.dumps({"keys": [{**public, "kid": key_id(self.keys[name])}]}))
            rows.append(FurtherIssuer(issuer=name, jwks=str(path), roles=roles, tenants=tenants))
        first = TokenVerifier(KeySet(str(self.first.jwks)), issuer=ISSUER, audience=AUDIENCE, now=self.now)
        self.verifier: Verifier = trusted_issuers(first, rows, audience=AUDIENCE, now=self.now)

    def now(self) -> datetime:
        return self.time

    def minter(self, front: str, *, key: str = "") -> AssertionMinter:
        pem = self.keys[key or front].private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return AssertionMinter(pem.decode, issuer=front, audience=AUDIENCE, now=self.now)

    def signed(self, front: str, **changes: Any) -> str:
        """Return an assertion with some claims changed; None takes one out."""
        claims = {
            "iss": front,
            "aud": AUDIENCE,
            "sub": "payer_1",
            "tenant": "main",
            "roles": ["payer"],
            "act": {"sub": front},
            "auth_time": int(NOW.timestamp()) - 60,
            "iat": int(NOW.timestamp()),
            "exp": int((NOW + LIFE).timestamp()),
        } | changes
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(claims, self.keys[front], algorithm="ES256", headers={"kid": key_id(self.keys[front])})


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_a_front_speaks_for_its_people_and_says_when_they_proved_who_they_are(world: World) -> None:
    payer = await world.verifier.verify(world.minter("bff").mint(ANNA))
    operator = await world.verifier.verify(world.minter("console").mint(OLIVIA))

    assert payer == Caller(
        subject="payer_1",
        tenant_id="main",
        roles=frozenset({"payer"}),
        expire_time=NOW + LIFE + LEEWAY,
        act="bff",
        auth_time=ANNA.auth_time,
    )
    assert (operator.act, operator.roles, operator.auth_time) == ("console", {"operator"}, OLIVIA.auth_time)


async def test_the_first_issuer_speaks_for_everybody_and_no_front_is_between(world: World) -> None:
    caller = await world.verifier.verify(world.first.mint("operator_1", roles={"operator", "service"}, tenant="other"))

    assert (caller.act, caller.auth_time) == ("", None)
    assert caller.roles == {"operator", "service"}


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"roles": ["operator"]}, "of bff, which may not speak for this role"),
        ({"roles": ["payer", "operator"]}, "this role"),
        ({"roles": ["payer", "service"]}, "this role"),
        ({"roles": ["payer", "astronaut"]}, "this role"),
        ({"roles": ["front"]}, "this role"),
        ({"roles": []}, "this role"),
        ({"tenant": "other"}, "of bff, which may not speak for this tenant"),
        ({"exp": int((NOW + LIFE).timestamp()) + 1}, "The assertion lives for too long"),
        ({"iat": int((NOW - timedelta(minutes=2)).timestamp())}, "The assertion lives for too long"),
        ({"act": None}, "name the front"),
        ({"act": "bff"}, "name the front"),
        ({"act": {"sub": "console"}}, "name the front"),
        ({"auth_time": None}, "when its person proved"),
        ({"auth_time": True}, "bearer token"),
        ({"auth_time": int((NOW + timedelta(minutes=1)).timestamp())}, "will prove"),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else None,
)
async def test_an_assertion_that_says_too_much_or_too_little_is_refused_by_name(
    world: World, changes: dict[str, Any], names: str
) -> None:
    await world.verifier.verify(world.signed("bff"))  # good without the change

    with pytest.raises(Unauthenticated, match=names):
        await world.verifier.verify(world.signed("bff", **changes))


async def test_no_front_signs_for_another_or_for_the_first_issuer(world: World) -> None:
    as_console = world.minter("console", key="bff").mint(OLIVIA)
    as_first = world.signed("bff", iss=ISSUER, roles=["service"])

    for forged in (as_console, as_first):
        with pytest.raises(Unauthenticated):
            await world.verifier.verify(forged)


@pytest.mark.parametrize(
    "token",
    ["", "a.b", "a.b.c", "a.e30.c", "a.W10.c", "a.eyJpc3MiOiBbXX0.c", "a." + "W1" * 3000 + ".c", "." * 10, "é.é.é"],
    ids=range(9),
)
async def test_what_is_no_token_is_none(world: World, token: str) -> None:
    with pytest.raises(Unauthenticated):
        await world.verifier.verify(token)


async def test_a_token_that_is_too_long_is_not_read(world: World) -> None:
    token = world.signed("bff", extra="x" * TOKEN_BYTES_MAX)

    with pytest.raises(Unauthenticated):
        await world.verifier.verify(token)


async def test_what_was_good_once_is_not_good_for_ever(world: World) -> None:
    token = world.minter("bff").mint(ANNA)
    await world.verifier.verify(token)
    world.time = NOW + LIFE + LEEWAY

    with pytest.raises(Unauthenticated, match="expired"):
        await world.verifier.verify(token)


def test_a_minter_hands_a_token_out_again_while_it_has_long_enough_to_live(world: World) -> None:
    minter = world.minter("bff")
    first = minter.mint(ANNA)
    world.time = NOW + timedelta(minutes=2, seconds=59)
    again = minter.mint(ANNA)
    world.time = NOW + timedelta(minutes=3)
    later = minter.mint(ANNA)

    assert first == again != later
    assert jwt.decode(later, options={"verify_signature": False})["iat"] == int(world.time.timestamp())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("bff", "is no table"),
        ('{"issuer": "bff"}', "is no table"),
        ('[{"issuer": "bff", "jwks": "a"}]', "is no table"),
        ('[{"issuer": "bff", "jwks": "a", "roles": "payer"}]', "is no table"),
        ('[{"issuer": "bff", "jwks": "a", "roles": ["payer"], "tenants": "main"}]', "is no table"),
        ('[{"issuer": "bff", "jwks": "a", "roles": []}]', "roles"),
        ('[{"issuer": "bff", "jwks": "a", "roles": ["service"]}]', "roles"),
        ('[{"issuer": "bff", "jwks": "a", "roles": ["front"]}]', "roles"),
        ('[{"issuer": "bff", "jwks": "a", "roles": ["payer"], "tenants": ["Not A Tenant"]}]', "tenant"),
        (
            '[{"issuer": "a", "jwks": "a", "roles": ["payer"]}, {"issuer": "a", "jwks": "b", "roles": ["payer"]}]',
            "twice",
        ),
        (json.dumps([{"issuer": f"f{n}", "jwks": "a", "roles": ["payer"]} for n in range(17)]), "more than 16"),
    ],
)
def test_a_table_that_cannot_be_meant_stops_the_start(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        further_issuers.parse(text)


def test_a_table_is_read() -> None:
    row = {"issuer": "bff", "jwks": "https://keys.example", "roles": ["payer"], "tenants": ["main", "other"]}

    assert further_issuers.parse(json.dumps([row])) == (
        FurtherIssuer(
            issuer="bff",
            jwks="https://keys.example",
            roles=frozenset({"payer"}),
            tenants=frozenset({"main", "other"}),
        ),
    )
