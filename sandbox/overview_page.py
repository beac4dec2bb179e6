"""The first page of the stand-in: what there is, the pages a payer would be on, and switches for what goes wrong.

It works without script and loads nothing from elsewhere. A form is taken only from this page (browsers.py).
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from sandbox import browsers, forms
from sandbox.delivery import Switches
from sandbox.errors import ApiError
from sandbox.faults import Fault, Kind
from sandbox.html import message
from sandbox.overview import overview
from sandbox.state import Sandbox

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
_PERCENT = 100
_MS = 1000
_TIMES_MAX = 1_000_000
_SECONDS_MAX = 3_600
_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "pages"), autoescape=True, undefined=StrictUndefined
)

Form = dict[str, Any]


class OverviewPage:
    """GET shows it; each form of it is a POST that leads back to it."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def routes(self) -> list[Route]:
        """Return the page, the objects it leads to, and what its forms do."""
        return [
            Route("/", self.show, methods=["GET"]),
            Route("/objects/{id}", self.show_object, methods=["GET"]),
            Route("/faults", self._done(self._order_fault), methods=["POST"]),
            Route("/faults/clear", self._done(self._clear_faults), methods=["POST"]),
            Route("/resume", self._done(self._resume), methods=["POST"]),
            Route("/latency", self._done(self._set_latency), methods=["POST"]),
            Route("/webhooks", self._done(self._set_webhooks), methods=["POST"]),
            Route("/webhooks/release", self._done(self._release), methods=["POST"]),
            Route("/events/{id}/deliver", self._deliver, methods=["POST"]),
        ]

    async def show(self, request: Request) -> Response:
        """Show everything."""
        if not browsers.is_of_this_machine(request):
            return _refused()
        return HTMLResponse(_TEMPLATES.get_template("overview.html").render(overview(self._sandbox)), headers=_HEADERS)

    async def show_object(self, request: Request) -> Response:
        """Show one object as the API has it."""
        if not browsers.is_of_this_machine(request):
            return _refused()
        try:
            _, found = self._sandbox.locate(request.path_params["id"])
        except ApiError as refusal:
            return message("No such object", refusal.message, status=refusal.status)
        text = json.dumps(found, indent=2, ensure_ascii=False)
        page = _TEMPLATES.get_template("object.html").render(id=found["id"], kind=found["object"], text=text)
        return HTMLResponse(page, headers=_HEADERS)

    def _done(self, act: Callable[[Form], None]) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            if not (browsers.is_of_this_machine(request) and browsers.is_of_our_page(request)):
                return _refused()
            try:
                act(forms.read((await request.body()).decode()))
            except (ValueError, KeyError) as mistake:
                return message("That cannot be", str(mistake), status=400)
            return RedirectResponse("/#faults", status_code=303)

        return answer

    async def _deliver(self, request: Request) -> Response:
        """Post an event once more to whoever wants it."""
        if not (browsers.is_of_this_machine(request) and browsers.is_of_our_page(request)):
            return _refused()
        try:
            world, event = self._sandbox.locate(request.path_params["id"])
        except ApiError as refusal:
            return message("No such event", refusal.message, status=refusal.status)
        if event["object"] != "event":
            return message("No such event", "This is something else.", status=404)
        self._sandbox.delivery.redeliver(world, event)
        return RedirectResponse("/#deliveries", status_code=303)

    def _order_fault(self, given: Form) -> None:
        times = str(given.get("times", ""))
        self._sandbox.faults.add(
            Fault(
                kind=Kind(given["kind"]),
                route=str(given.get("route") or "*"),
                after="after" in given,
                times=_number(times, "How often", least=1, most=_TIMES_MAX) if times else None,
                seconds=_number(str(given.get("seconds") or "0"), "Seconds", most=_SECONDS_MAX),
            )
        )

    def _clear_faults(self, _given: Form) -> None:
        self._sandbox.faults.clear()

    def _resume(self, _given: Form) -> None:
        self._sandbox.resume()

    def _set_latency(self, given: Form) -> None:
        self._sandbox.latency_s = _number(given["ms"], "Milliseconds", most=_SECONDS_MAX * _MS) / _MS

    def _set_webhooks(self, given: Form) -> None:
        self._sandbox.delivery.switches = Switches(
            delay_s=_number(given["delay_ms"], "Milliseconds", most=_SECONDS_MAX * _MS) / _MS,
            duplicate=_number(given["duplicate"], "Copies", most=_PERCENT),
            drop=_number(given["drop"], "Percent", most=_PERCENT) / _PERCENT,
            skew_s=_number(given["skew_s"], "Seconds", least=-86_400, most=86_400),
            reorder="reorder" in given,
            hold="hold" in given,
            tamper="tamper" in given,
        )

    def _release(self, _given: Form) -> None:
        self._sandbox.delivery.release()


def _number(text: object, name: str, *, least: int = 0, most: int) -> int:
    try:
        number = int(str(text))
    except ValueError:
        raise ValueError(f"{name} must be a whole number.") from None
    if not least <= number <= most:
        raise ValueError(f"{name} must be from {least} to {most}.")
    return number


def _refused() -> Response:
    return message("Not from here", "This page is for a browser on this machine, and its forms for itself.", status=403)
