"""The control routes of the money after a charge. sandbox/control_money.py is the client.

`{id}` of an account is a connected account's, the platform's, or a key of the platform's.
"""

from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from sandbox import exchange_rates, fees, payouts, reversals, topups, transfers
from sandbox.balance_transactions import book
from sandbox.control_routes import routes
from sandbox.errors import ApiError, missing
from sandbox.state import Sandbox
from sandbox.world import Object, World


class MoneyControls:
    """Balances, payouts, exchange, what is done in the dashboard, and faults planted in the books."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def routes(self) -> list[Route]:
        return routes(
            [
                ("GET", "/accounts/{id}/balance", self.balance),
                ("POST", "/accounts/{id}/bookings", self.book),
                ("POST", "/accounts/{id}/empty", self.empty),
                ("POST", "/accounts/{id}/exchange", self.exchange),
                ("POST", "/accounts/{id}/fees", self.fees),
                ("POST", "/accounts/{id}/payouts", self.pay_out),
                ("POST", "/accounts/{id}/schedule", self.schedule),
                ("POST", "/accounts/{id}/topups", self.top_up),
                ("POST", "/accounts/{id}/transfers", self.transfer),
                ("POST", "/application_fees/{id}/refunds", self.refund_fee),
                ("POST", "/balance_transactions/{id}", self.change_booking),
                ("DELETE", "/objects/{id}", self.forget),
                ("POST", "/payouts/{id}", self.move_payout),
                ("POST", "/transfers/{id}/reversals", self.reverse),
            ]
        )

    async def balance(self, request: Request, given: dict[str, Any]) -> Any:
        return self._world(request).balance.shown()

    async def book(self, request: Request, given: dict[str, Any]) -> Any:
        """Book a balance transaction of any `kind`, also of no object."""
        source = {"id": given.pop("source"), **{name: given.pop(name) for name in ("currency", "description")}}
        return book(self._world(request), source, **given)

    async def empty(self, request: Request, given: dict[str, Any]) -> Any:
        """Send off all that an account has."""
        return payouts.drain(self._world(request), currency=str(given["currency"]))

    async def exchange(self, request: Request, given: dict[str, Any]) -> Any:
        """Set what the platform settles in, and rates to its default currency."""
        exchange_rates.set_terms(self._world(request), **given)
        return {}

    async def fees(self, request: Request, given: dict[str, Any]) -> Any:
        """Set what Stripe takes of each charge from now on: `per_mille` and `fixed` minor units."""
        self._world(request).processing_fee.update(per_mille=int(given["per_mille"]), fixed=int(given["fixed"]))
        return {}

    async def schedule(self, request: Request, given: dict[str, Any]) -> Any:
        """Pay out what is available once a day, or no more."""
        payouts.schedule(self._world(request), daily=bool(given["daily"]))
        return {}

    async def pay_out(self, request: Request, given: dict[str, Any]) -> Any:
        """Send money off to the bank: all that is available, or so much whether it is or not."""
        world = self._world(request)
        if given.get("amount") is None:
            return payouts.sweep(world, currency=str(given["currency"]))
        return payouts.make(world, **given)

    async def top_up(self, request: Request, given: dict[str, Any]) -> Any:
        return topups.make(self._world(request), **given)

    async def transfer(self, request: Request, given: dict[str, Any]) -> Any:
        return transfers.create(self._world(request), given)

    async def refund_fee(self, request: Request, given: dict[str, Any]) -> Any:
        world, fee = self._found(request, "application_fee")
        return fees.create_refund(world, given, fee["id"])

    async def change_booking(self, request: Request, given: dict[str, Any]) -> Any:
        """Give a balance transaction another `amount` or `fee`."""
        world, row = self._found(request, "balance_transaction")
        if unknown := given.keys() - {"amount", "fee"}:
            raise ValueError(f"unknown figures {sorted(unknown)}")
        row.update(given)
        row["net"] = row["amount"] - row["fee"]
        if "fee" in given:
            details = [{"application": None, "description": "Changed", "type": "stripe_fee"}, *row["fee_details"]]
            row["fee_details"] = [details[-1] | {"amount": given["fee"], "currency": row["currency"]}]
        world.balance.recount(world.all("balance_transaction"))
        return row

    async def forget(self, request: Request, given: dict[str, Any]) -> Any:
        """Remove an object; what refers to it goes on doing so."""
        world, obj = self._sandbox.locate(request.path_params["id"])
        world.remove(obj, entirely=True)
        for payout_id, inside in world.paid_out.items():
            inside.remove(obj["id"])
            world.touch(payout_id)
        world.balance.recount(world.all("balance_transaction"))
        return {}

    async def move_payout(self, request: Request, given: dict[str, Any]) -> Any:
        """Take a payout to its next `status`, or let its contents be known (`reconciled`)."""
        world, payout = self._found(request, "payout")
        if given.pop("reconciled", False):
            return payouts.reconcile(world, payout)
        return payouts.move(world, payout, **given)

    async def reverse(self, request: Request, given: dict[str, Any]) -> Any:
        world, transfer = self._found(request, "transfer")
        return reversals.create(world, given, transfer["id"])

    def _world(self, request: Request) -> World:
        """Return what the named account has, as it is by now."""
        named = request.path_params["id"]
        if named.startswith(("sk_test_", "rk_test_")):
            named = self._sandbox.account(named).world.account_id  # its first use makes it
        for world in self._sandbox.worlds():
            if world.account_id == named:
                world.balance.mature(world.clock.now())
                return world
        raise missing("account", named, param="id", status=404)

    def _found(self, request: Request, kind: str) -> tuple[World, Object]:
        world, obj = self._sandbox.locate(request.path_params["id"])
        if obj["object"] != kind:
            raise ApiError(f"{obj['id']} is not a {kind}.", status=404)
        return world, obj
