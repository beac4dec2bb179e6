"""The control routes of webhooks. sandbox/control_webhooks.py is the client."""

from dataclasses import fields
from typing import Any

from starlette.requests import Request
from starlette.routing import Route

from sandbox import hooks
from sandbox.control_routes import routes
from sandbox.delivery import Switches
from sandbox.state import Sandbox


class WebhookControls:
    """Deliveries, held, lost, doubled and counted."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    def routes(self) -> list[Route]:
        return routes(
            [
                ("POST", "/webhooks", self.webhooks),
                ("POST", "/webhooks/endpoint", self.endpoint),
                ("POST", "/webhooks/release", self.release),
                ("POST", "/webhooks/drain", self.drain),
                ("POST", "/webhooks/redeliver", self.redeliver),
                ("GET", "/webhooks/deliveries", self.deliveries),
            ]
        )

    async def webhooks(self, request: Request, given: dict[str, Any]) -> Any:
        """Set all switches: what is not given goes back to its default."""
        self._sandbox.delivery.switches = Switches(**given)
        return {field.name: getattr(self._sandbox.delivery.switches, field.name) for field in fields(Switches)}

    async def endpoint(self, request: Request, given: dict[str, Any]) -> Any:
        """Register an endpoint of every account, present and future, with known secrets (two while one rotates)."""
        configured = hooks.ConfiguredEndpoint(
            url=str(given["url"]),
            secrets=tuple(given["secrets"]),
            enabled_events=tuple(given["enabled_events"]),
            is_connect=bool(given.get("connect")),
        )
        for account in self._sandbox.accounts.values():
            world = account.world
            for known in [known for known in world.all("webhook_endpoint") if known["url"] == configured.url]:
                world.remove(known)
            hooks.register_configured(world, configured)
        self._sandbox.default_endpoints[configured.is_connect] = configured
        return {}

    async def release(self, request: Request, given: dict[str, Any]) -> Any:
        return {"released": self._sandbox.delivery.release()}

    async def drain(self, request: Request, given: dict[str, Any]) -> Any:
        await self._sandbox.delivery.drained()
        return {"held": self._sandbox.delivery.held}

    async def redeliver(self, request: Request, given: dict[str, Any]) -> Any:
        world, event = self._sandbox.locate(given["event"])
        return {"deliveries": self._sandbox.delivery.redeliver(world, event)}

    async def deliveries(self, request: Request, given: dict[str, Any]) -> Any:
        return {"data": list(self._sandbox.delivery.log)}
