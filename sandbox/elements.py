"""What browsers load of the stand-in for Stripe.js: the script, the frame with the fields, and what is ordered to fail.

Pages load it under another host name than their own, so that the frame is of another site, as Stripe's is.
"""

import json
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from sandbox.card_numbers import NUMBERS

_FOLDER: Final = Path(__file__).parent / "browser"
_ANYBODY: Final = {"Access-Control-Allow-Origin": "*", "Cache-Control": "no-store"}
_READY_AFTER_MAX_MS: Final = 60_000
TOKEN_FAILURES: Final = ("", "network_error")
CONFIRM_FAILURES: Final = ("", "network_error", "network_error_after", "error_of_success")
LANGUAGES: Final = ("de", "fr", "it", "en")


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What goes wrong in browsers from now on; a run's own, and not kept."""

    is_blocked: bool = False
    """The script itself cannot be had, as where a blocker or a firewall stops it."""
    is_load_error: bool = False
    """The frame says that its form could not be loaded."""
    ready_after_ms: int = 0
    """How long the frame takes until it is ready."""
    token: str = ""
    """`network_error`: no token can be made."""
    confirm: str = ""
    """`network_error`: nothing was asked of Stripe; `network_error_after`: it was done, and the answer got lost;
    `error_of_success`: the error carries the intent, which succeeded."""

    @classmethod
    def read(cls, given: dict[str, Any]) -> "Orders":
        """Return what was ordered; raises ValueError or TypeError for what is none."""
        orders = cls(**given)
        if orders.token not in TOKEN_FAILURES or orders.confirm not in CONFIRM_FAILURES:
            raise ValueError(f"`token` is one of {TOKEN_FAILURES}, `confirm` one of {CONFIRM_FAILURES}")
        if not 0 <= orders.ready_after_ms <= _READY_AFTER_MAX_MS:
            raise ValueError(f"`ready_after_ms` is 0 to {_READY_AFTER_MAX_MS}")
        return orders


class Elements:
    """Serves them."""

    def __init__(self) -> None:
        self.orders = Orders()

    def routes(self) -> list[BaseRoute]:
        """Return the routes of browsers."""
        return [
            Route("/stripe.js", self._script, methods=["GET"]),
            Route("/elements/frame", self._frame, methods=["GET"]),
            Route("/elements/frame.js", self._frame_script, methods=["GET"]),
            Route("/elements/orders", self._orders, methods=["GET"]),
        ]

    async def control(self, _: Request, given: dict[str, Any]) -> dict[str, Any]:
        """Order what goes wrong; nothing ordered is that all is well."""
        self.orders = Orders.read(given)
        return asdict(self.orders)

    async def _script(self, _: Request) -> Response:
        if self.orders.is_blocked:
            return PlainTextResponse("Blocked.\n", status_code=403)
        return _file("stripe.js")

    async def _frame_script(self, _: Request) -> Response:
        return _file("frame.js")

    async def _orders(self, _: Request) -> Response:
        return JSONResponse(asdict(self.orders), headers=_ANYBODY)

    async def _frame(self, request: Request) -> Response:
        wanted = request.query_params.get("locale", "")[:2]
        return Response(_page(wanted if wanted in LANGUAGES else "en"), media_type="text/html", headers=_ANYBODY)


def _file(name: str) -> Response:
    return Response((_FOLDER / name).read_bytes(), media_type="text/javascript", headers=_ANYBODY)


_TEXTS: Final[dict[str, dict[str, str]]] = {
    "en": {
        "number": "Card number",
        "expiry": "Expiration date",
        "hint": "MM / YY",
        "cvc": "Security code",
        "incomplete_number": "Your card number is incomplete.",
        "no_test_card": "This is no number of a test card. Nothing was sent.",
        "incomplete_expiry": "Your card's expiration date is incomplete.",
        "invalid_expiry": "Your card's expiration date is invalid.",
        "invalid_expiry_year_past": "Your card's expiration date is in the past.",
        "incomplete_cvc": "Your card's security code is incomplete.",
        "unreachable": "An error occurred with our connection to Stripe.",
    },
    "de": {
        "number": "Kartennummer",
        "expiry": "Ablaufdatum",
        "hint": "MM / JJ",
        "cvc": "Sicherheitscode",
        "incomplete_number": "Die Kartennummer ist unvollständig.",
        "no_test_card": "Das ist keine Nummer einer Testkarte. Es wurde nichts gesendet.",
        "incomplete_expiry": "Das Ablaufdatum der Karte ist unvollständig.",
        "invalid_expiry": "Das Ablaufdatum der Karte ist ungültig.",
        "invalid_expiry_year_past": "Das Ablaufdatum der Karte liegt in der Vergangenheit.",
        "incomplete_cvc": "Der Sicherheitscode der Karte ist unvollständig.",
        "unreachable": "Die Verbindung zu Stripe ist gestört.",
    },
    "fr": {
        "number": "Numéro de carte",
        "expiry": "Date d’expiration",
        "hint": "MM / AA",
        "cvc": "Code de sécurité",
        "incomplete_number": "Le numéro de carte est incomplet.",
        "no_test_card": "Ce n’est pas le numéro d’une carte de test. Rien n’a été envoyé.",
        "incomplete_expiry": "La date d’expiration de la carte est incomplète.",
        "invalid_expiry": "La date d’expiration de la carte n’est pas valable.",
        "invalid_expiry_year_past": "La date d’expiration de la carte est passée.",
        "incomplete_cvc": "Le code de sécurité de la carte est incomplet.",
        "unreachable": "La connexion à Stripe est perturbée.",
    },
    "it": {
        "number": "Numero di carta",
        "expiry": "Data di scadenza",
        "hint": "MM / AA",
        "cvc": "Codice di sicurezza",
        "incomplete_number": "Il numero di carta è incompleto.",
        "no_test_card": "Questo non è il numero di una carta di prova. Non è stato inviato nulla.",
        "incomplete_expiry": "La data di scadenza della carta è incompleta.",
        "invalid_expiry": "La data di scadenza della carta non è valida.",
        "invalid_expiry_year_past": "La data di scadenza della carta è passata.",
        "incomplete_cvc": "Il codice di sicurezza della carta è incompleto.",
        "unreachable": "La connessione a Stripe è disturbata.",
    },
}

_STYLE: Final = """
:root { color-scheme: light dark; } * { box-sizing: border-box; } html { height: max-content; }
body { margin: 0; padding: 3px; font: 16px/1.5 system-ui, sans-serif; color: light-dark(#14181f, #eef1f5);
  display: grid; grid-template-columns: 1fr 1fr; gap: .75rem; background: transparent; }
label { display: grid; gap: .25rem; font-size: .875rem; } label:first-of-type, #problem { grid-column: 1 / -1; }
input { font: inherit; font-size: 1rem; width: 100%; min-height: 2.75rem; padding: .5rem .75rem; border-radius: .5rem;
  color: inherit; background: light-dark(#fff, #12161b); border: 1px solid light-dark(#7c8795, #77818e);
  font-variant-numeric: tabular-nums; }
input:focus-visible { outline: 3px solid light-dark(#1d4fd7, #7ea6ff); outline-offset: 0; }
input[aria-invalid] { border-color: light-dark(#ad1f2d, #ff9d9b); }
#problem { margin: 0; font-size: .875rem; color: light-dark(#ad1f2d, #ff9d9b); } #problem:empty { display: none; }
"""


def _page(language: str) -> str:
    texts = _TEXTS[language]
    said = {name: escape(text) for name, text in texts.items()}
    return f"""<!doctype html>
<html lang="{language}"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{said["number"]}</title><style>{_STYLE}</style></head><body>
<label>{said["number"]}
<input id="number" inputmode="numeric" autocomplete="cc-number" maxlength="23"
 placeholder="1234 1234 1234 1234"></label>
<label>{said["expiry"]}
<input id="expiry" inputmode="numeric" autocomplete="cc-exp" maxlength="7" placeholder="{said["hint"]}"></label>
<label>{said["cvc"]}
<input id="cvc" inputmode="numeric" autocomplete="cc-csc" maxlength="4" placeholder="123"></label>
<p id="problem" role="alert"></p>
<script type="application/json" id="texts">{_data(texts)}</script>
<script type="application/json" id="cards">{_data(NUMBERS)}</script>
<script src="/elements/frame.js"></script></body></html>"""


def _data(value: dict[str, str]) -> str:
    return json.dumps(value).replace("<", "\\u003c")
