"""The page on which a payer "authenticates": 3-D Secure as a form with two buttons."""

from html import escape
from urllib.parse import urlencode, urlsplit, urlunsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from sandbox import forms, lifecycle, setups
from sandbox.banks import TWINT
from sandbox.currencies import shown
from sandbox.errors import ApiError
from sandbox.html import message, page
from sandbox.state import Sandbox
from sandbox.world import Cause, Object, World

_TITLE = "3-D Secure (test)"
_AUTHENTICATE = {"payment_intent": lifecycle.authenticate, "setup_intent": setups.authenticate}


class Authentication:
    """GET shows the page, POST decides; both need the intent's client secret, as Stripe's page does."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def show(self, request: Request) -> Response:
        try:
            world, intent = self._find(request, request.query_params.get("client_secret", ""))
        except ApiError as refusal:
            return message("Nothing to authenticate", refusal.message, status=refusal.status)
        if intent["status"] != "requires_action":
            return message("Nothing to authenticate", "This payment does not wait for authentication.", status=409)
        return page(_question(intent, asks="TWINT" if _is_twint(world, intent) else "Your bank"), title=_TITLE)

    async def decide(self, request: Request) -> Response:
        """Complete or fail; redirects to the return URL with what Stripe appends, or says so where there is none."""
        form = forms.read((await request.body()).decode())
        outcome = form.get("outcome", "")
        if outcome not in ("complete", "fail"):
            return message("Bad request", "`outcome` must be `complete` or `fail`.", status=400)
        try:
            given = form.get("client_secret") or request.query_params.get("client_secret", "")
            world, intent = self._find(request, str(given))
            return_url = _return_url(intent)
            world.cause = Cause()
            _AUTHENTICATE[intent["object"]](world, intent, succeed=outcome == "complete")
        except ApiError as refusal:
            return message("Nothing to authenticate", refusal.message, status=409 if refusal.status == 400 else 404)
        if return_url is None:
            return message("Done", "You can close this page.", status=200)
        return RedirectResponse(returned(intent, return_url), status_code=303)

    def _find(self, request: Request, client_secret: str) -> tuple[World, Object]:
        world, intent = self._sandbox.locate(request.path_params["intent"])
        if intent["object"] not in _AUTHENTICATE or intent["client_secret"] != client_secret:
            raise ApiError("There is no such payment.", status=404)
        return world, intent


def returned(intent: Object, return_url: str) -> str:
    """Return where the payer's browser goes after authentication, with the three parameters Stripe appends."""
    kind = intent["object"]
    succeeded = intent["status"] in ("succeeded", "requires_capture", "processing")
    added = urlencode(
        {
            kind: intent["id"],
            f"{kind}_client_secret": intent["client_secret"],
            "redirect_status": "succeeded" if succeeded else "failed",
        }
    )
    parts = urlsplit(return_url)
    return urlunsplit(parts._replace(query=f"{parts.query}&{added}" if parts.query else added))


def _return_url(intent: Object) -> str | None:
    action = intent["next_action"] or {}
    target = action.get("redirect_to_url", {}).get("return_url")
    return str(target) if target else None


def _is_twint(world: World, intent: Object) -> bool:
    return bool(world.get("payment_method", intent["payment_method"])["type"] == TWINT)


def _question(intent: Object, *, asks: str) -> str:
    if intent["object"] == "setup_intent":
        heading, asked_for = "Confirm your payment method", "keeps it for later"
        facts = "<dt>Amount</dt><dd>Nothing is taken now</dd>"
    else:
        heading, asked_for = "Confirm your payment", "pays"
        facts = f"<dt>Amount</dt><dd>{escape(shown(intent['amount'], currency=intent['currency']).upper())}</dd>"
    secret = escape(intent["client_secret"], quote=True)
    return f"""<h1>{heading}</h1>
<p>{asks} asks you to confirm that it is you who {asked_for}. This is a test page; no money moves.</p>
<dl>{facts}<dt>Payment</dt><dd>{escape(intent["id"])}</dd></dl>
<form method="post">
<input type="hidden" name="client_secret" value="{secret}">
<button name="outcome" value="complete">Complete authentication</button>
<button name="outcome" value="fail">Fail authentication</button>
</form>"""
