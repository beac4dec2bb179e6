"""The hosted page of a Checkout Session, at the session's `url`: a person picks a test card and pays, or turns back."""

from html import escape

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from sandbox import checkout, forms
from sandbox.banks import SEPA_DEBIT, TEST_METHODS, TWINT
from sandbox.cards import Authentication, Card
from sandbox.currencies import shown
from sandbox.errors import ApiError
from sandbox.html import message, page
from sandbox.session_lines import LINE_ITEMS
from sandbox.state import Sandbox
from sandbox.world import Cause, Object, World

_TITLE = "Checkout (test)"
_PLACEHOLDER = "{CHECKOUT_SESSION_ID}"  # what the caller writes into `success_url` in the session's place
_FOREIGN = ("_at", "_be", "_fr", "_ie")  # debits are offered of one country
_SHORTHAND = "pm_card_visa_chargeDeclined"  # a second name of the declining cards


class HostedPage:
    """GET shows what is to be paid, POST pays with a test payment method; both need nothing but the session's id."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def show(self, request: Request) -> Response:
        """Show an open session; a payer who comes back from their bank to a complete one is sent on to the shop."""
        try:
            world, session = self._find(request)
        except ApiError as refusal:
            return message("No such page", refusal.message, status=refusal.status)
        if session["status"] == "complete" and "redirect_status" in request.query_params:
            return _sent_on(session)
        if session["status"] != "open":
            return _over(session)
        return _form(world, session, problem=_last_problem(world, session))

    async def pay(self, request: Request) -> Response:
        """Pay; answers with the way to the bank or the shop, with 402 and the page again after a decline."""
        given = forms.read((await request.body()).decode())
        method = str(given.get("payment_method", ""))
        try:
            world, session = self._find(request)
        except ApiError as refusal:
            return message("No such page", refusal.message, status=refusal.status)
        if session["status"] != "open":
            return _over(session)
        if method not in TEST_METHODS:
            return _form(world, session, problem="Choose a payment method.", status=400)
        world.cause = Cause()
        try:
            intent = checkout.pay(world, session, payment_method=method, email=str(given.get("email", "")) or None)
        except ApiError as refusal:
            return _form(world, session, problem=refusal.message, status=refusal.status)
        if intent["next_action"] is not None:
            return RedirectResponse(intent["next_action"]["redirect_to_url"]["url"], status_code=303)
        return _sent_on(session)

    def _find(self, request: Request) -> tuple[World, Object]:
        world, session = self._sandbox.locate(request.path_params["session"])
        if session["object"] != "checkout.session":
            raise ApiError("There is no such Checkout Session.", status=404)
        return world, session


def _sent_on(session: Object) -> Response:
    return RedirectResponse(session["success_url"].replace(_PLACEHOLDER, session["id"]), status_code=303)


def _over(session: Object) -> Response:
    if session["status"] == "complete":
        return message("All done here", "This page has done its work. You can close it.", status=410)
    return message("This page has expired", "Nothing was paid here. Go back to the shop and try again.", status=410)


def _last_problem(world: World, session: Object) -> str | None:
    intent = checkout.intent_of(world, session) or {}
    error = intent.get("last_payment_error") or intent.get("last_setup_error")
    return str(error["message"]) if error else None


def _form(world: World, session: Object, *, problem: str | None, status: int = 200) -> Response:
    is_setup = session["mode"] == "setup"
    todo = "Save a payment method" if is_setup else f"Pay {_money(session['amount_total'], session['currency'])}"
    alert = f'<p role="alert">{escape(problem)}</p>\n' if problem else ""
    content = f"""<h1>{todo}</h1>
<p>A test page; no money moves.</p>
{alert}{"" if is_setup else _table(world, session)}
<form method="post">
{_email(world, session)}<label>Payment method
<select name="payment_method">
{_options(session["payment_method_types"])}
</select></label>
{_mandate(session)}<button>{todo}</button>
</form>{_back(session)}"""
    return page(content, title=_TITLE, status=status)


def _table(world: World, session: Object) -> str:
    rows = "\n".join(
        f'<tr><th scope="row">{escape(_named(item))}</th><td>{_money(item["amount_total"], item["currency"])}</td></tr>'
        for item in world.parts.get(session["id"], {}).get(LINE_ITEMS, [])
    )
    amount = _money(session["amount_total"], session["currency"])
    total = f'<tfoot><tr><th scope="row">Total</th><td>{amount}</td></tr></tfoot>'
    return f"<table><tbody>\n{rows}\n</tbody>{total}</table>"


def _named(item: Object) -> str:
    quantity = item["quantity"]
    return f"{quantity} x {item['description']}" if quantity > 1 else str(item["description"])


def _email(world: World, session: Object) -> str:
    """Ask for an address unless the customer has one."""
    customer = world.find(session["customer"]) if session["customer"] else None
    if customer is not None and customer.get("email"):
        return ""
    known = escape(session["customer_email"] or "", quote=True)
    return f'<label>E-mail\n<input type="email" name="email" autocomplete="email" value="{known}"></label>\n'


def _back(session: Object) -> str:
    if session["cancel_url"] is None:
        return ""
    return f'\n<p class="back"><a href="{escape(session["cancel_url"], quote=True)}">Back to the shop</a></p>'


def _mandate(session: Object) -> str:
    if SEPA_DEBIT not in session["payment_method_types"]:
        return ""
    what = "what is agreed" if session["mode"] == "setup" else "this amount"
    return f"<p>With a debit you allow the shop to take {what} from your account.</p>\n"


def _options(kinds: list[str]) -> str:
    groups: dict[str, list[str]] = {}
    for method_id, card in TEST_METHODS.items():
        if card.kind in kinds and not method_id.startswith(_SHORTHAND) and not method_id.endswith(_FOREIGN):
            groups.setdefault(_outcome(card), []).append(f'<option value="{method_id}">{escape(_label(card))}</option>')
    return "\n".join(
        f'<optgroup label="{escape(outcome)}">{"".join(options)}</optgroup>' for outcome, options in groups.items()
    )


def _outcome(card: Card) -> str:
    if card.kind != "card":
        return "TWINT" if card.kind == TWINT else "SEPA debit"
    if card.authentication is not Authentication.NEVER:
        return "Asks for 3-D Secure"
    if card.decline is not None:
        return "Is declined"
    return "Pays" if card.dispute is None else "Pays, and is disputed"


def _label(card: Card) -> str:
    if card.kind != "card":
        return _bank_label(card)
    name = f"{card.brand.capitalize()} {card.funding} {card.last4}"
    if card.decline is None:
        return name
    return f"{name}: {card.decline.decline_code or card.decline.code}"


def _bank_label(card: Card) -> str:
    days = _days(card.takes_s // 86_400)
    name = "TWINT" if card.kind == TWINT else f"Account {card.country} {card.last4}"
    return f"{name}: pays {days}" if card.decline is None else f"{name}: {card.decline.code} {days}"


def _days(days: int) -> str:
    return {0: "at once", 1: "after a day"}.get(days, f"after {days} days")


def _money(amount: int, currency: str) -> str:
    return escape(shown(amount, currency=currency).upper())
