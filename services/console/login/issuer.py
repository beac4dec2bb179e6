"""Asks the issuer: where its parts are, and who a code is of. One try each; the person tries again."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import aiohttp
import jwt

from services.console.login.domain import Login
from services.console.login.id_token import LoginRefused
from services.console.login.settings import LoginSettings
from services.errors import DependencyUnavailable
from services.runtime.rpc.jwks import Key, KeySet

TIMEOUT_S: Final = 5.0
ANSWER_BYTES_MAX: Final = 64 * 1024
METADATA_LIFE_S: Final = 3600.0
TOKEN_CHARACTERS_MAX: Final = 16 * 1024
METADATA_PATH: Final = "/.well-known/openid-configuration"


class IssuerUnavailable(Exception):
    """The log-in service does not answer, or not as one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Where the parts of the issuer are."""

    authorization: str
    token: str
    keys: KeySet


class Issuer:
    """The issuer of the settings; `async with` the client that it is given."""

    def __init__(
        self, settings: LoginSettings, client: aiohttp.ClientSession, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._client = client
        self._clock = clock
        self._endpoints: Endpoints | None = None
        self._asked_at = 0.0

    async def endpoints(self) -> Endpoints:
        """Return where its parts are, asked once an hour; what was known stays good while it does not answer."""
        if self._endpoints is None or self._clock() - self._asked_at >= METADATA_LIFE_S:
            try:
                self._endpoints = self._read(
                    await self._asked("GET", f"{self._settings.issuer.rstrip('/')}{METADATA_PATH}")
                )
                self._asked_at = self._clock()
            except IssuerUnavailable:
                if self._endpoints is None:
                    raise
        return self._endpoints

    async def redeem(self, code: str, login: Login, *, redirect_uri: str) -> str:
        """Return the ID token that a code is worth. Raises `LoginRefused` where the issuer takes it for none."""
        endpoints = await self.endpoints()
        who = (self._settings.client_id, self._settings.client_secret.current())
        answer = await self._asked(
            "POST",
            endpoints.token,
            data={
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": redirect_uri,
                "code_verifier": login.verifier,
            },
            # Encoded as forms are before they are joined, as OAuth wants it (RFC 6749, 2.3.1).
            authorization=f"Basic {b64encode(':'.join(quote(part, safe='') for part in who).encode()).decode()}",
        )
        token = answer.get("id_token")
        if not isinstance(token, str) or len(token) > TOKEN_CHARACTERS_MAX:
            raise LoginRefused("the issuer gave no ID token for the code")
        return token

    async def key_of(self, token: str) -> Key:
        """Return the issuer's key with which an ID token says it is signed."""
        endpoints = await self.endpoints()
        try:
            key_id = jwt.get_unverified_header(token).get("kid")
        except jwt.PyJWTError as error:
            raise LoginRefused("the ID token is none") from error
        try:
            await endpoints.keys.refresh()
            key = await endpoints.keys.find(key_id) if isinstance(key_id, str) else None
        except DependencyUnavailable as error:
            raise IssuerUnavailable from error
        if key is None:
            raise LoginRefused("the ID token is signed with an unknown key")
        return key

    def _read(self, metadata: Mapping[str, Any]) -> Endpoints:
        if metadata.get("issuer") != self._settings.issuer:
            raise IssuerUnavailable("it is another issuer")
        names = ("authorization_endpoint", "token_endpoint", "jwks_uri")
        found = [metadata.get(name) for name in names]
        scheme = self._settings.issuer.partition("://")[0]
        if not all(isinstance(one, str) and one.startswith(f"{scheme}://") for one in found):
            raise IssuerUnavailable("it does not say where its parts are")
        authorization, token, jwks = (str(one) for one in found)
        kept = self._endpoints.keys if self._endpoints is not None else None
        keys = kept if kept is not None and kept.source == jwks else KeySet(jwks)
        return Endpoints(authorization=authorization, token=token, keys=keys)

    async def _asked(
        self, method: str, url: str, *, data: Mapping[str, str] | None = None, authorization: str = ""
    ) -> Mapping[str, Any]:
        try:
            async with self._client.request(
                method,
                url,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
                headers={"Accept": "application/json"} | ({"Authorization": authorization} if authorization else {}),
                data=data,
            ) as answer:
                content = await answer.content.read(ANSWER_BYTES_MAX)
                if answer.status in (400, 401) and method == "POST":
                    raise LoginRefused(f"the issuer refused the code ({answer.status})")
                if answer.status != 200 or not answer.content.at_eof():
                    raise IssuerUnavailable(f"it answered {answer.status}")
        except (aiohttp.ClientError, TimeoutError) as error:
            raise IssuerUnavailable(type(error).__name__) from error
        try:
            said = json.loads(content)
        except ValueError as error:
            raise IssuerUnavailable("its answer is no JSON") from error
        if not isinstance(said, dict):
            raise IssuerUnavailable("its answer is no object")
        return said
