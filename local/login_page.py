"""Who logs in to the console on this machine: an issuer (OpenID Connect) that asks for no password, only who you are.

It does what a real one does, strictly: a code is good once, for a minute, for who shows the verifier it was asked with,
and a token says when the person chose. A deployment has the platform's own issuer.

    python -m local.login_page URL CONSOLE_URL CLIENT_SECRET_FILE

serves it at URL, of this machine, beside a console that runs out of an image.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
import signal
import sys
from base64 import b64decode
from binascii import Error as Base64Error
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from urllib.parse import unquote, urlencode, urlsplit

import jwt
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jinja2 import Environment

from local.front_keys import FrontKey, front_key
from local.issuer import DEFAULT_TENANT
from local.ports import HOST
from services.console.login.domain import challenge_of
from services.console.login.pages import CALLBACK
from services.web.assertions import key_id

CLIENT_ID: Final = "batzen-console"
CODE_LIFE: Final = timedelta(minutes=1)
TOKEN_LIFE: Final = timedelta(minutes=5)
CODES_MAX: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Somebody:
    """Who can be chosen."""

    subject: str
    name: str
    role: str
    does: str


PEOPLE: Final = (
    Somebody(subject="operator_1", name="Olivia", role="operator", does="acts on payments"),
    Somebody(subject="operator_2", name="Oskar", role="operator", does="acts on payments; the second pair of eyes"),
    Somebody(subject="reader_1", name="Rita", role="operator_readonly", does="looks at everything, changes nothing"),
)
"""Two who act, so that one can release what the other asks for."""
ASKED: Final = (
    "client_id",
    "redirect_uri",
    "response_type",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Code:
    somebody: Somebody
    redirect_uri: str
    nonce: str
    challenge: str
    auth_time: datetime


@dataclass(slots=True)
class LoginPage:
    """The running issuer."""

    port: int
    redirect_uri: str
    """The only address it sends anybody back to."""
    key: FrontKey
    client_secret: str = field(repr=False)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _codes: OrderedDict[str, _Code] = field(default_factory=OrderedDict)

    @property
    def issuer(self) -> str:
        """Its `iss`, and where it is."""
        return f"http://{HOST}:{self.port}"

    @property
    def settings(self) -> Mapping[str, str]:
        """What the console is told of it."""
        return {
            "BATZEN_OIDC_ISSUER": self.issuer,
            "BATZEN_OIDC_CLIENT_ID": CLIENT_ID,
            "BATZEN_OIDC_CLIENT_SECRET": self.client_secret,
        }

    async def metadata(self, _: web.Request) -> web.Response:
        """Say where everything is."""
        return web.json_response(
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/jwks.json",
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["ES256"],
                "code_challenge_methods_supported": ["S256"],
                "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            }
        )

    async def keys(self, _: web.Request) -> web.Response:
        """Return its public key."""
        return web.json_response(json.loads(self.key.jwks.read_bytes()))

    async def ask(self, request: web.Request) -> web.Response:
        """Ask who somebody is."""
        asked = self._asked(request.query)
        page = _PAGE.render(asked=asked, people=PEOPLE, is_proof=request.query.get("prompt") == "login")
        policy = f"default-src 'none'; style-src 'unsafe-inline'; form-action 'self' {_origin(self.redirect_uri)}"
        return web.Response(text=page, content_type="text/html", headers={"Content-Security-Policy": policy})

    async def chosen(self, request: web.Request) -> web.Response:
        """Send who chose back with a code."""
        form = {name: str(value) for name, value in (await request.post()).items()}
        asked = self._asked(form)
        if form.get("as") == "nobody":
            return self._back(asked, error="access_denied")
        somebody = next((one for one in PEOPLE if one.subject == form.get("as")), None)
        if somebody is None:
            raise web.HTTPBadRequest(text="There is nobody of that name.")
        code = secrets.token_urlsafe(32)
        self._codes[code] = _Code(
            somebody=somebody,
            redirect_uri=asked["redirect_uri"],
            nonce=asked["nonce"],
            challenge=asked["code_challenge"],
            auth_time=self.now(),
        )
        if len(self._codes) > CODES_MAX:
            self._codes.popitem(last=False)
        return self._back(asked, code=code)

    async def token(self, request: web.Request) -> web.Response:
        """Give a token for a code, once."""
        if not self._is_client(request.headers.get("authorization", "")):
            return web.json_response({"error": "invalid_client"}, status=401)
        form = await request.post()
        code = self._codes.pop(str(form.get("code", "")), None)
        now = self.now()
        is_good = (
            code is not None
            and now < code.auth_time + CODE_LIFE
            and form.get("grant_type") == "authorization_code"
            and form.get("redirect_uri") == code.redirect_uri
            and challenge_of(str(form.get("code_verifier", ""))) == code.challenge
        )
        if code is None or not is_good:
            return web.json_response({"error": "invalid_grant"}, status=400)
        return web.json_response(
            {
                "access_token": secrets.token_urlsafe(32),
                "token_type": "Bearer",
                "expires_in": int(TOKEN_LIFE.total_seconds()),
                "id_token": self.id_token(code.somebody, nonce=code.nonce, auth_time=code.auth_time),
            }
        )

    def id_token(self, somebody: Somebody, *, nonce: str, auth_time: datetime) -> str:
        """Return what says who somebody is."""
        private = serialization.load_pem_private_key(self.key.private_key.read_bytes(), password=None)
        if not isinstance(private, ec.EllipticCurvePrivateKey):
            raise TypeError(f"{self.key.private_key} is not a key of this issuer")
        now = self.now()
        claims = {
            "iss": self.issuer,
            "aud": CLIENT_ID,
            "sub": somebody.subject,
            "name": somebody.name,
            "tenant": DEFAULT_TENANT,
            "roles": [somebody.role],
            "nonce": nonce,
            "auth_time": int(auth_time.timestamp()),
            "iat": int(now.timestamp()),
            "exp": int((now + TOKEN_LIFE).timestamp()),
        }
        return jwt.encode(claims, private, algorithm="ES256", headers={"kid": key_id(private)})

    def _asked(self, given: Mapping[str, str]) -> dict[str, str]:
        asked = {name: given.get(name, "") for name in ASKED}
        expected = {
            "client_id": CLIENT_ID,
            "redirect_uri": self.redirect_uri,
            "response_type": "code",
            "code_challenge_method": "S256",
        }
        if wrong := [name for name, value in expected.items() if asked[name] != value]:
            raise web.HTTPBadRequest(text=f"This log-in page does not know what to do with {', '.join(wrong)}.")
        if missing := [name for name in ("state", "nonce", "code_challenge") if not asked[name]]:
            raise web.HTTPBadRequest(text=f"A log-in has to have {', '.join(missing)}.")
        return asked

    def _back(self, asked: Mapping[str, str], **answer: str) -> web.Response:
        query = urlencode({**answer, "state": asked["state"], "iss": self.issuer})
        raise web.HTTPSeeOther(f"{asked['redirect_uri']}?{query}")

    def _is_client(self, header: str) -> bool:
        try:
            name, _, secret = b64decode(header.removeprefix("Basic "), validate=True).decode().partition(":")
        except (Base64Error, UnicodeDecodeError):
            return False
        return unquote(name) == CLIENT_ID and hmac.compare_digest(unquote(secret), self.client_secret)


@asynccontextmanager
async def serving_login(
    directory: Path, *, port: int, redirect_uri: str, client_secret: str = ""
) -> AsyncIterator[LoginPage]:
    """Serve on a port of this machine while inside; its key is in `directory`. Without a secret it makes one."""
    secret = client_secret or secrets.token_urlsafe(32)
    page = LoginPage(port=port, redirect_uri=redirect_uri, key=front_key(directory, "login"), client_secret=secret)
    application = web.Application()
    application.add_routes(
        [
            web.get("/.well-known/openid-configuration", page.metadata),
            web.get("/jwks.json", page.keys),
            web.get("/authorize", page.ask),
            web.post("/authorize", page.chosen),
            web.post("/token", page.token),
        ]
    )
    runner = web.AppRunner(application, access_log=None)
    try:
        await runner.setup()
        await web.TCPSite(runner, HOST, port).start()
        yield page
    finally:
        await runner.cleanup()


def _origin(url: str) -> str:
    return "/".join(url.split("/")[:3])


_PAGE: Final = Environment(autoescape=True).from_string(
    """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">
<title>Log in (this machine)</title><style>
body { font: 16px/1.5 Inter, system-ui, sans-serif; margin: 0; min-height: 100dvh; display: grid; place-items: center;
  background: light-dark(#f5f6f8, #0f1216); color: light-dark(#14181f, #eef1f5); }
main { width: min(26rem, calc(100% - 2rem)); box-sizing: border-box; padding: 1.75rem; border-radius: 14px;
  background: light-dark(#fff, #181c22); border: 1px solid light-dark(#e1e5ea, #2b323b); }
h1 { font-size: 1.375rem; margin: 0 0 .25rem; } p { margin: 0 0 1.25rem; color: light-dark(#535d6b, #a9b3c0); }
form { display: grid; gap: .625rem; }
button { font: inherit; text-align: left; padding: .75rem 1rem; border-radius: 8px; cursor: pointer;
  min-height: 2.75rem;
  background: none; color: inherit; border: 1px solid light-dark(#7c8795, #77818e); }
button:hover { border-color: light-dark(#1d4fd7, #7ea6ff); } button span { display: block; font-size: .875rem;
  color: light-dark(#535d6b, #a9b3c0); } button.quiet { border-color: transparent; text-align: center; }
</style></head><body><main><h1>{{ "Who are you, once more?" if is_proof else "Who are you?" }}</h1>
<p>Stands for your own log-in, on this machine alone.</p>
<form method="post" action="/authorize">
{% for name, value in asked.items() %}<input type="hidden" name="{{ name }}" value="{{ value }}">{% endfor %}
{% for one in people %}<button name="as" value="{{ one.subject }}"><strong>{{ one.name }}</strong>
<span>{{ one.does }}</span></button>{% endfor %}
<button name="as" value="nobody" class="quiet">Cancel</button>
</form></main></body></html>"""
)


async def _serve(url: str, console_url: str, *, client_secret: str) -> None:
    """Serve until SIGTERM, with a key of its own for this run."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    port = urlsplit(url).port
    if port is None or url != f"http://{HOST}:{port}":
        raise SystemExit(f"{url} is not http://{HOST}:<port>: it asks for no password, and listens on loopback alone.")
    with TemporaryDirectory() as directory:
        serving = serving_login(
            Path(directory), port=port, redirect_uri=f"{console_url}{CALLBACK}", client_secret=client_secret
        )
        async with serving:
            await ended.wait()


if __name__ == "__main__":
    _url, _console_url, _file = sys.argv[1:]
    asyncio.run(_serve(_url, _console_url, client_secret=Path(_file).read_text(encoding="utf-8").strip()))
