"""What the console takes of the operators' issuer: a whole answer of that very issuer, within its limits."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from services.console.login.domain import new_login
from services.console.login.id_token import LoginRefused
from services.console.login.issuer import ANSWER_BYTES_MAX, METADATA_LIFE_S, Issuer, IssuerUnavailable
from services.console.login.settings import LoginSettings
from services.runtime.process.followed import Followed

LOGIN = new_login(goes_to="/", is_proof=False, now=datetime(2026, 5, 4, tzinfo=UTC))


@dataclass(slots=True)
class Elsewhere:
    """An issuer that answers what a test wants."""

    address: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    status: int = 200
    token_status: int = 200
    token: Any = field(default_factory=lambda: {"id_token": "a.b.c"})
    asked: list[Mapping[str, str]] = field(default_factory=list)

    async def answer(self, _: web.Request) -> web.Response:
        headers = {"Location": f"{self.address}/elsewhere"} if self.status == 302 else None
        return web.json_response(self.metadata, status=self.status, headers=headers)

    async def redeem(self, request: web.Request) -> web.Response:
        self.asked.append({**{k: str(v) for k, v in (await request.post()).items()}, **request.headers})
        return web.json_response(self.token, status=self.token_status)


@asynccontextmanager
async def elsewhere() -> AsyncIterator[tuple[Elsewhere, Issuer, list[float]]]:
    """Yield an issuer, what asks it, and the clock of that: its last entry is now."""
    there, now = Elsewhere(), [0.0]
    application = web.Application()
    application.add_routes(
        [web.get("/.well-known/openid-configuration", there.answer), web.post("/token", there.redeem)]
    )
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    there.address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    there.metadata = {
        "issuer": there.address,
        "authorization_endpoint": f"{there.address}/authorize?a=b",
        "token_endpoint": f"{there.address}/token",
        "jwks_uri": f"{there.address}/jwks.json",
    }
    settings = LoginSettings(
        issuer=there.address,
        client_id="the console",
        client_secret=Followed("s:cret/"),
        roles_claim="roles",
        operator="operator",
        operator_readonly="operator_readonly",
        tenant_id=None,
    )
    async with aiohttp.ClientSession() as client:
        yield there, Issuer(settings, client, clock=lambda: now[-1]), now
    await runner.cleanup()


async def test_a_code_is_redeemed_with_the_secret_and_the_verifier() -> None:
    async with elsewhere() as (there, issuer, _):
        token = await issuer.redeem("code", LOGIN, redirect_uri="https://console.example/login/callback")

    assert token == "a.b.c"
    [asked] = there.asked
    assert b64decode(asked["Authorization"].removeprefix("Basic ")) == b"the%20console:s%3Acret%2F"
    assert (asked["grant_type"], asked["code"], asked["code_verifier"]) == (
        "authorization_code",
        "code",
        LOGIN.verifier,
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "https://evil.example"},
        {"issuer": None},
        {"token_endpoint": None},
        {"jwks_uri": "file:///etc/passwd"},
        {"padding": "x" * ANSWER_BYTES_MAX},
    ],
    ids=["another's", "nobody's", "no way to redeem", "keys of this machine", "without an end"],
)
async def test_metadata_that_is_not_quite_good_is_none(changes: dict[str, Any]) -> None:
    async with elsewhere() as (there, issuer, _):
        await issuer.endpoints()  # good without the change

    async with elsewhere() as (there, issuer, _):
        there.metadata |= changes
        with pytest.raises(IssuerUnavailable):
            await issuer.endpoints()


@pytest.mark.parametrize("status", [302, 404, 500])
async def test_an_issuer_that_sends_elsewhere_or_fails_is_unavailable(status: int) -> None:
    async with elsewhere() as (there, issuer, _):
        there.status = status
        with pytest.raises(IssuerUnavailable):
            await issuer.endpoints()


async def test_what_was_known_holds_while_the_issuer_is_away() -> None:
    async with elsewhere() as (there, issuer, now):
        known = await issuer.endpoints()
        there.status = 500
        now.append(METADATA_LIFE_S)
        assert await issuer.endpoints() is known
        there.status, there.metadata["authorization_endpoint"] = 200, f"{there.address}/new"
        found = await issuer.endpoints()

    assert found == replace(known, authorization=f"{there.address}/new")
    assert found.keys is known.keys, "keys that are known stay known"


@pytest.mark.parametrize(
    ("status", "token", "raised"),
    [
        (400, {"error": "invalid_grant"}, LoginRefused),
        (401, {"error": "invalid_client"}, LoginRefused),
        (200, {}, LoginRefused),
        (200, {"id_token": 7}, LoginRefused),
        (200, ["id_token"], IssuerUnavailable),
        (503, {}, IssuerUnavailable),
    ],
    ids=["used before", "not us", "nothing", "no text", "no object", "down"],
)
async def test_a_code_that_is_worth_nothing_opens_nothing(status: int, token: Any, raised: type[Exception]) -> None:
    async with elsewhere() as (there, issuer, _):
        there.token_status, there.token = status, token
        with pytest.raises(raised):
            await issuer.redeem("code", LOGIN, redirect_uri="https://console.example/login/callback")


@pytest.mark.parametrize("token", ["", "a.b.c", "e30.e30.c"], ids=["empty", "no token", "no key"])
async def test_what_is_signed_with_no_key_of_the_issuer_is_none(token: str) -> None:
    async with elsewhere() as (_, issuer, _now):
        with pytest.raises((LoginRefused, IssuerUnavailable)):
            await issuer.key_of(token)
