"""Tokens: which are good, which are not, and how keys are replaced while we run."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from jwt.utils import base64url_encode

from local.issuer import AUDIENCE, ISSUER, Issuer
from services.errors import DependencyUnavailable, ServiceError, Unauthenticated
from services.runtime.rpc import identity
from services.runtime.rpc.identity import LEEWAY, TokenVerifier
from services.runtime.rpc.jwks import (
    ADDRESS_COOLDOWN_S,
    ADDRESS_FIRST_COOLDOWN_S,
    ADDRESS_LIFESPAN_S,
    FILE_RECHECK_S,
    KeySet,
)
from tests.mounts import Mount
from tests.runtime.echo import NOW

GOOD: dict[str, Any] = {
    "iss": ISSUER,
    "aud": AUDIENCE,
    "sub": "payer_1",
    "tenant": "main",
    "roles": ["payer", "astronaut"],
    "iat": int(NOW.timestamp()),
    "exp": int(NOW.timestamp()) + 600,
}


class Signer:
    """A key of a kind, published as `jwks.json`."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "jwks.json"
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.publish({**ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True), "kid": "k1"})

    def publish(self, *keys: dict[str, Any]) -> None:
        self.path.write_text(json.dumps({"keys": keys}))

    def sign(self, *, key: Any = None, algorithm: str = "ES256", kid: str | None = "k1", **changes: Any) -> str:
        claims = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
        headers = None if kid is None else {"kid": kid}
        return jwt.encode(claims, key or self.key, algorithm=algorithm, headers=headers)

    def verifier(
        self, *, now: Callable[[], datetime] = lambda: NOW, clock: Callable[[], float] = lambda: 0
    ) -> TokenVerifier:
        return TokenVerifier(KeySet(str(self.path), clock=clock), issuer=ISSUER, audience=AUDIENCE, now=now)


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer(tmp_path)


async def test_a_good_token_names_subject_tenant_known_roles_and_its_end(signer: Signer) -> None:
    caller = await signer.verifier().verify(signer.sign())

    assert (caller.subject, caller.tenant_id, caller.roles) == ("payer_1", "main", {"payer"})
    assert caller.expire_time == NOW + timedelta(seconds=600) + LEEWAY


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "another"},
        {"iss": "another"},
        {"exp": GOOD["iat"] - 31},
        {"iat": GOOD["iat"] + 31},
        {"nbf": GOOD["iat"] + 31},
        *[{name: None} for name in ("exp", "iat", "aud", "iss", "sub", "tenant", "roles")],
        {"exp": "soon"},
        {"exp": True},
        {"exp": 10**30},
        {"iat": -1},
        {"sub": ""},
        {"sub": "x" * 129},
        {"sub": "new\nline"},
        {"tenant": "../main"},
        {"tenant": 7},
        {"roles": "payer"},
        {"roles": [7]},
        {"roles": ["payer"] * 17},
        {"kid": "unknown"},
        {"kid": None},
    ],
)
async def test_a_token_with_anything_wrong_is_refused(signer: Signer, changes: dict[str, Any]) -> None:
    with pytest.raises(Unauthenticated):
        await signer.verifier().verify(signer.sign(**changes))


@pytest.mark.parametrize("changes", [{"exp": GOOD["iat"] - 29}, {"iat": GOOD["iat"] + 29}, {"nbf": GOOD["iat"] + 29}])
async def test_clocks_may_be_half_a_minute_apart(signer: Signer, changes: dict[str, Any]) -> None:
    assert await signer.verifier().verify(signer.sign(**changes))


@pytest.mark.parametrize("token", ["", "a.b.c", "eyJ", "x" * 5000, "é.é.é"])
async def test_rubbish_is_refused(signer: Signer, token: str) -> None:
    with pytest.raises(Unauthenticated):
        await signer.verifier().verify(token)


async def test_a_token_without_signature_is_refused(signer: Signer) -> None:
    token = jwt.encode(GOOD, None, algorithm="none", headers={"kid": "k1"})
    with pytest.raises(Unauthenticated):
        await signer.verifier().verify(token)


async def test_the_public_key_is_no_shared_secret(signer: Signer) -> None:
    public = signer.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    parts = ({"alg": "HS256", "typ": "JWT", "kid": "k1"}, GOOD)
    signed = b".".join(base64url_encode(json.dumps(part).encode()) for part in parts)
    signature = base64url_encode(hmac.digest(public, signed, "sha256"))
    with pytest.raises(Unauthenticated):
        await signer.verifier().verify(b".".join((signed, signature)).decode())


async def test_a_shared_secret_among_the_keys_is_not_used(signer: Signer) -> None:
    secret = b"0123456789abcdef0123456789abcdef"
    shared = {"kty": "oct", "k": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY", "kid": "shared"}
    signer.publish(shared, {**ECAlgorithm.to_jwk(signer.key.public_key(), as_dict=True), "kid": "k1"})
    verifier = signer.verifier()

    assert await verifier.verify(signer.sign())
    with pytest.raises(Unauthenticated):
        await verifier.verify(signer.sign(key=secret, algorithm="HS256", kid="shared"))


async def test_a_key_is_used_only_with_its_own_algorithm(signer: Signer) -> None:
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    with pytest.raises(Unauthenticated):
        await signer.verifier().verify(signer.sign(key=other, algorithm="RS256"))


async def test_rsa_and_edwards_keys_are_taken_too(signer: Signer) -> None:
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    edwards_key = ed25519.Ed25519PrivateKey.generate()
    signer.publish(
        {**RSAAlgorithm.to_jwk(rsa_key.public_key(), as_dict=True), "kid": "r"},
        {**OKPAlgorithm.to_jwk(edwards_key.public_key(), as_dict=True), "kid": "e"},
    )
    verifier = signer.verifier()

    assert await verifier.verify(signer.sign(key=rsa_key, algorithm="RS256", kid="r"))
    assert await verifier.verify(signer.sign(key=edwards_key, algorithm="EdDSA", kid="e"))


async def test_a_known_token_is_refused_once_it_expired(signer: Signer) -> None:
    now = NOW
    verifier = signer.verifier(now=lambda: now)
    token = signer.sign()
    first = await verifier.verify(token)
    now = first.expire_time - timedelta(microseconds=1)
    assert await verifier.verify(token) is first

    now = first.expire_time
    with pytest.raises(Unauthenticated):
        await verifier.verify(token)


async def test_only_so_many_tokens_are_remembered(signer: Signer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "CACHED_TOKENS_MAX", 2)
    verifier = signer.verifier()
    tokens = [signer.sign(sub=f"payer_{number}") for number in range(3)]
    first, second, _ = [await verifier.verify(token) for token in tokens]

    assert await verifier.verify(tokens[1]) is second
    assert await verifier.verify(tokens[0]) is not first


async def test_a_new_key_is_taken_at_once_and_an_old_one_withdrawn_soon(tmp_path: Path) -> None:
    time_s = 0.0
    issuer = Issuer(tmp_path / "issuer", now=lambda: NOW)
    keys = KeySet(str(issuer.jwks), clock=lambda: time_s)
    verifier = TokenVerifier(keys, issuer=ISSUER, audience=AUDIENCE, now=lambda: NOW)
    old = issuer.mint("payer_1", roles={"payer"})
    await verifier.verify(old)

    issuer.rotate()
    await verifier.verify(issuer.mint("payer_1", roles={"payer"}))
    await verifier.verify(old)
    issuer.withdraw_older_keys()
    time_s += FILE_RECHECK_S
    with pytest.raises(Unauthenticated):
        await verifier.verify(old)


async def test_mounted_keys_are_followed_and_no_token_is_refused_meanwhile(tmp_path: Path) -> None:
    issuer = Issuer(tmp_path / "issuer", now=lambda: NOW)
    mount = Mount(tmp_path / "mounted", {"jwks.json": issuer.jwks.read_bytes()})
    keys = KeySet(str(mount.path("jwks.json")), clock=lambda: 0.0)  # looked at for an unknown key alone
    verifier = TokenVerifier(keys, issuer=ISSUER, audience=AUDIENCE, now=lambda: NOW)
    old = issuer.mint("payer_1", roles={"payer"})
    await verifier.verify(old)

    issuer.rotate()
    new = issuer.mint("payer_1", roles={"payer"})
    for nothing_good in ({}, {"jwks.json": ""}):
        mount.replace(nothing_good)
        with pytest.raises(Unauthenticated):
            await verifier.verify(new)
        await verifier.verify(old)
    mount.replace({"jwks.json": issuer.jwks.read_bytes()})

    for token in (new, old):
        await verifier.verify(token)


async def test_a_broken_key_file_leaves_the_known_keys_in_use(signer: Signer) -> None:
    time_s = 0.0
    verifier = signer.verifier(clock=lambda: time_s)
    await verifier.verify(signer.sign())
    for broken in ("{", "[]", '{"keys": 7}', '{"keys": []}', '{"keys": [{"kty": "oct", "k": "AAAA", "kid": "x"}]}'):
        signer.path.write_text(broken)
        time_s += FILE_RECHECK_S
        assert await verifier.verify(signer.sign())
    signer.path.unlink()
    time_s += FILE_RECHECK_S
    assert await verifier.verify(signer.sign())


async def test_without_any_key_the_caller_is_asked_to_try_again(tmp_path: Path, signer: Signer) -> None:
    keys = KeySet(str(tmp_path / "none.json"))
    with pytest.raises(DependencyUnavailable):
        await TokenVerifier(keys, issuer=ISSUER, audience=AUDIENCE, now=lambda: NOW).verify(signer.sign())


class KeyServer:
    """An issuer's address, counting how often it is asked."""

    def __init__(self, path: Path) -> None:
        self.reads = 0
        self.is_broken = False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.reads += 1
                self.send_response(500 if outer.is_broken else 200)
                self.end_headers()
                self.wfile.write(path.read_bytes())

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}/jwks.json"
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self) -> KeyServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


async def test_keys_come_from_an_address_too_and_invented_ids_do_not_hammer_it(signer: Signer) -> None:
    time_s = 0.0
    with KeyServer(signer.path) as server:
        keys = KeySet(server.address, clock=lambda: time_s)
        verifier = TokenVerifier(keys, issuer=ISSUER, audience=AUDIENCE, now=lambda: NOW)
        await verifier.verify(signer.sign())
        for number in range(20):
            with pytest.raises(Unauthenticated):
                await verifier.verify(signer.sign(kid=f"invented-{number}"))
        assert server.reads == 1

        new = ec.generate_private_key(ec.SECP256R1())
        signer.publish({**ECAlgorithm.to_jwk(new.public_key(), as_dict=True), "kid": "k2"})
        time_s += ADDRESS_COOLDOWN_S
        assert await verifier.verify(signer.sign(key=new, kid="k2"))
        assert server.reads == 2


async def test_an_address_that_fails_leaves_the_known_keys_in_use(signer: Signer) -> None:
    time_s = 0.0
    with KeyServer(signer.path) as server:
        keys = KeySet(server.address, clock=lambda: time_s)
        verifier = TokenVerifier(keys, issuer=ISSUER, audience=AUDIENCE, now=lambda: NOW)
        await verifier.verify(signer.sign())
        server.is_broken = True
        time_s += ADDRESS_LIFESPAN_S
        await verifier.verify(signer.sign())
        with pytest.raises(ServiceError):  # waits for the read that goes on beside the calls
            await verifier.verify(signer.sign(kid="k2"))
        assert await verifier.verify(signer.sign())
        assert server.reads == 2


async def test_no_keys_from_an_address_are_asked_for_again_soon(signer: Signer) -> None:
    time_s = 0.0
    with KeyServer(signer.path) as server:
        server.is_broken = True
        keys = KeySet(server.address, clock=lambda: time_s)
        verifier = TokenVerifier(keys, issuer=ISSUER, audience=AUDIENCE, now=lambda: NOW)
        with pytest.raises(DependencyUnavailable):
            await verifier.verify(signer.sign())
        server.is_broken = False
        time_s += ADDRESS_FIRST_COOLDOWN_S
        assert await verifier.verify(signer.sign())
