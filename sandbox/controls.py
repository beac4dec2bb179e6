"""The control routes: time, faults, webhooks, and what a person would do in Stripe's dashboard.

Everything is under `/_control`, a prefix Stripe does not use. They take and answer JSON; sandbox/control.py is the
client.
"""

from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from sandbox import (
    accounts,
    customers,
    debits,
    disputes,
    holds,
    lifecycle,
    methods,
    radar,
    refunds,
    sessions,
    settlement,
)
from sandbox.control_routes import Handler, routes
from sandbox.controls_money import MoneyControls
from sandbox.controls_webhooks import WebhookControls
from sandbox.declines import GENERIC
from sandbox.errors import ApiError
from sandbox.faults import Fault, Kind
from sandbox.state import Sandbox
from sandbox.world import Object, World


class Controls:
    """The control routes of one sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def routes(self) -> list[Route]:
        table: list[tuple[str, str, Handler]] = [
            ("GET", "/health", self.health),
            ("POST", "/reset", self.reset),
            ("GET", "/clock", self.clock),
            ("POST", "/clock", self.advance),
            ("POST", "/latency", self.latency),
            ("POST", "/keys/revoke", self.revoke),
            ("POST", "/settle", self.settle),
            ("GET", "/faults", self.faults),
            ("POST", "/faults", self.add_fault),
            ("DELETE", "/faults", self.clear_faults),
            ("POST", "/paused", self.paused),
            ("POST", "/resume", self.resume),
            ("POST", "/browsers", self._sandbox.elements.control),
            ("GET", "/objects", self.objects),
            ("GET", "/counts", self.counts),
            ("GET", "/metrics", self.metrics),
            ("DELETE", "/metrics", self.clear_metrics),
            ("GET", "/calls", self.calls),
            ("POST", "/intents/{id}/force", self.force),
            ("POST", "/intents/{id}/finish", self.finish),
            ("POST", "/intents/{id}/cancel", self.cancel),
            ("POST", "/intents/{id}/lapse", self.lapse),
            ("POST", "/intents/{id}/refund", self.refund),
            ("POST", "/intents/{id}/dispute", self.dispute),
            ("POST", "/intents/{id}/fraud_warning", self.warn),
            ("POST", "/intents/{id}/review", self.review),
            ("POST", "/reviews/{id}/close", self.close_review),
            ("POST", "/sessions/{id}/expire", self.expire_session),
            ("POST", "/disputes/{id}", self.move_dispute),
            ("POST", "/accounts/{id}", self.account),
            ("DELETE", "/accounts/{id}", self.disconnect),
            ("POST", "/accounts/{id}/require", self.require),
            ("POST", "/accounts/{id}/capabilities/{name}", self.capability),
            ("DELETE", "/customers/{id}", self.delete_customer),
            ("POST", "/methods/{id}/renew", self.renew),
            ("POST", "/methods/{id}/decline", self.decline),
            ("DELETE", "/methods/{id}", self.detach),
        ]
        parts = (WebhookControls(self._sandbox), MoneyControls(self._sandbox))
        return [*routes(table), *(route for part in parts for route in part.routes())]

    async def health(self, request: Request, given: dict[str, Any]) -> Any:
        return {"api_version": self._sandbox.schema.api_version}

    async def reset(self, request: Request, given: dict[str, Any]) -> Any:
        await self._sandbox.reset()
        return {}

    async def clock(self, request: Request, given: dict[str, Any]) -> Any:
        return {"now": self._sandbox.clock.now()}

    async def advance(self, request: Request, given: dict[str, Any]) -> Any:
        """Move the clock on by `advance_s`; what falls due happens before the answer."""
        self._sandbox.clock.advance(float(given["advance_s"]))
        ran = self._sandbox.agenda.run_due()
        return {"now": self._sandbox.clock.now(), "ran": ran}

    async def latency(self, request: Request, given: dict[str, Any]) -> Any:
        """Add `ms` to every answer of the API, before the effect."""
        self._sandbox.latency_s = float(given["ms"]) / 1000
        return {}

    async def revoke(self, request: Request, given: dict[str, Any]) -> Any:
        """Take a secret or restricted `key` no more, as after it was rolled or expired."""
        self._sandbox.revoked_keys.add(given["key"])
        return {}

    async def settle(self, request: Request, given: dict[str, Any]) -> Any:
        """Let everything that settles later settle now."""
        return {"ran": self._sandbox.agenda.run_all(label=settlement.SETTLEMENT)}

    async def faults(self, request: Request, given: dict[str, Any]) -> Any:
        return {"data": self._sandbox.faults.listed()}

    async def add_fault(self, request: Request, given: dict[str, Any]) -> Any:
        given["kind"] = Kind(given["kind"])
        self._sandbox.faults.add(Fault(**given))
        return {}

    async def clear_faults(self, request: Request, given: dict[str, Any]) -> Any:
        self._sandbox.faults.clear()
        return {}

    async def paused(self, request: Request, given: dict[str, Any]) -> Any:
        """Answer once `count` requests are paused."""
        await self._sandbox.until_paused(int(given["count"]))
        return {}

    async def resume(self, request: Request, given: dict[str, Any]) -> Any:
        self._sandbox.resume()
        return {}

    async def objects(self, request: Request, given: dict[str, Any]) -> Any:
        """List objects of all accounts, oldest first: `type`, and any field or `metadata.<key>` as a filter.

        Of balance transactions only the platforms': what a seller has is a sum of its own.
        """
        kind = request.query_params["type"]
        filters = {name: value for name, value in request.query_params.items() if name != "type"}
        for world in self._sandbox.worlds():
            world.balance.mature(world.clock.now())
        found = [
            obj
            for world in self._sandbox.worlds()
            if world.platform is None or kind != "balance_transaction"
            for obj in world.all(kind)
            if all(_field(obj, name) == value for name, value in filters.items())
        ]
        return {"count": len(found), "data": found}

    async def counts(self, request: Request, given: dict[str, Any]) -> Any:
        totals: dict[str, int] = {}
        for world in self._sandbox.worlds():
            for object_type, count in world.counts().items():
                totals[object_type] = totals.get(object_type, 0) + count
        return totals

    async def metrics(self, request: Request, given: dict[str, Any]) -> Any:
        return {route: asdict(figures) for route, figures in sorted(self._sandbox.metrics.routes.items())}

    async def calls(self, request: Request, given: dict[str, Any]) -> Any:
        return self._sandbox.metrics.about(request.query_params["about"])

    async def clear_metrics(self, request: Request, given: dict[str, Any]) -> Any:
        self._sandbox.metrics.clear()
        return {}

    async def force(self, request: Request, given: dict[str, Any]) -> Any:
        """Change an intent from outside to `outcome`, as a bank or Stripe may: late money after a cancellation."""
        intent_id, world, intent = self._intent(request)
        method = methods.resolve(world, given.get("payment_method", "pm_card_visa"))
        match given["outcome"]:
            case "succeeded":
                lifecycle.force_success(world, intent, method)
            case "declined":
                lifecycle.force_decline(world, intent, method, decline=world.cards[method["id"]].decline or GENERIC)
            case "processing":
                lifecycle.force_processing(world, intent, method)
            case "canceled":
                lifecycle.cancel(world, {"cancellation_reason": "automatic"}, intent_id)
            case unknown:
                raise ValueError(f"unknown outcome {unknown!r}")
        return intent

    async def finish(self, request: Request, given: dict[str, Any]) -> Any:
        """Let the outcome of a debit come now instead of days later."""
        _, world, intent = self._intent(request)
        debits.finish(world, intent)
        return intent

    async def cancel(self, request: Request, given: dict[str, Any]) -> Any:
        intent_id, world, _ = self._intent(request)
        return lifecycle.cancel(world, given, intent_id)

    async def lapse(self, request: Request, given: dict[str, Any]) -> Any:
        """Let a hold lapse before its time."""
        _, world, intent = self._intent(request)
        holds.lapse(world, intent)
        return intent

    async def refund(self, request: Request, given: dict[str, Any]) -> Any:
        intent_id, world, _ = self._intent(request)
        return refunds.create(world, given | {"payment_intent": intent_id})

    async def dispute(self, request: Request, given: dict[str, Any]) -> Any:
        """Let the payer's bank contest the charge of an intent, by the terms of `disputes.open_dispute`."""
        world, charge = self._charge(request)
        return disputes.open_dispute(world, charge, **given)

    async def warn(self, request: Request, given: dict[str, Any]) -> Any:
        """Let the issuer warn of fraud: `fraud_type`."""
        world, charge = self._charge(request)
        return radar.warn(world, charge, **given)

    async def review(self, request: Request, given: dict[str, Any]) -> Any:
        """Put an intent's payment under review: `reason`."""
        world, charge = self._charge(request)
        return radar.open_review(world, charge, **given)

    async def close_review(self, request: Request, given: dict[str, Any]) -> Any:
        world, review = self._sandbox.locate(request.path_params["id"])
        return radar.close_review(world, review, reason=str(given["reason"]))

    async def expire_session(self, request: Request, given: dict[str, Any]) -> Any:
        """Let an open Checkout Session expire by itself, as when its time is over."""
        world, session = self._sandbox.locate(request.path_params["id"])
        return sessions.expire(world, {}, session["id"])

    async def move_dispute(self, request: Request, given: dict[str, Any]) -> Any:
        world, dispute = self._sandbox.locate(request.path_params["id"])
        return disputes.move(world, dispute, **given)

    async def account(self, request: Request, given: dict[str, Any]) -> Any:
        world, account = self._sandbox.locate(request.path_params["id"])
        return accounts.enable(world, account["id"], enabled=bool(given["charges_enabled"]))

    async def disconnect(self, request: Request, given: dict[str, Any]) -> Any:
        """Take an account away from the platform."""
        world, account = self._sandbox.locate(request.path_params["id"])
        return accounts.disconnect(world, account["id"])

    async def require(self, request: Request, given: dict[str, Any]) -> Any:
        """Want `fields` of a seller, at once or within `deadline_s`."""
        world, account = self._sandbox.locate(request.path_params["id"])
        return accounts.require(world, account["id"], **given)

    async def capability(self, request: Request, given: dict[str, Any]) -> Any:
        world, account = self._sandbox.locate(request.path_params["id"])
        name = request.path_params["name"]
        return accounts.set_capability(world, account["id"], name=name, active=bool(given["active"]))

    async def delete_customer(self, request: Request, given: dict[str, Any]) -> Any:
        """Delete a customer as from the dashboard."""
        world, customer = self._sandbox.locate(request.path_params["id"])
        return customers.delete(world, {}, customer["id"])

    async def renew(self, request: Request, given: dict[str, Any]) -> Any:
        """Let the network of a kept card update its expiry: `exp_month`, `exp_year`."""
        world, method = self._method(request)
        return methods.renew(world, method, exp_month=int(given["exp_month"]), exp_year=int(given["exp_year"]))

    async def decline(self, request: Request, given: dict[str, Any]) -> Any:
        """Let the issuer refuse the next charges of a method: `reason`, `times`, `advice_code`."""
        world, method = self._method(request)
        return methods.order_refusals(world, method, **given)

    async def detach(self, request: Request, given: dict[str, Any]) -> Any:
        """Detach a method as from the dashboard."""
        world, method = self._method(request)
        return methods.detach(world, {}, method["id"])

    def _method(self, request: Request) -> tuple[World, Object]:
        world, method = self._sandbox.locate(request.path_params["id"])
        if method["object"] != "payment_method":
            raise ApiError(f"{method['id']} is not a payment method.", status=404)
        return world, method

    def _charge(self, request: Request) -> tuple[World, Object]:
        _, world, intent = self._intent(request)
        return world, world.get("charge", intent["latest_charge"] or "")

    def _intent(self, request: Request) -> tuple[str, World, Object]:
        intent_id = request.path_params["id"]
        world, intent = self._sandbox.locate(intent_id)
        if intent["object"] != "payment_intent":
            raise ApiError(f"{intent_id} is not a payment intent.", status=404)
        return intent_id, world, intent


def _field(obj: Object, name: str) -> str | None:
    value: Any = obj
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return None if value is None else str(value)
