"""Webhook endpoints as the API sees them. Delivery is in delivery.py."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sandbox.answers import page
from sandbox.errors import ApiError
from sandbox.world import Object, World, merge_metadata

_URL_MAX = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredEndpoint:
    """An endpoint that every account has, without having registered it."""

    url: str
    secrets: tuple[str, ...] = field(repr=False)
    enabled_events: tuple[str, ...] = ("*",)
    is_connect: bool = False  # of connected accounts' events, and no other


def create(world: World, params: dict[str, Any]) -> Object:
    """Register an endpoint; only this answer carries its `secret`."""
    if not params["url"].startswith(("http://", "https://")) or len(params["url"]) > _URL_MAX:
        raise ApiError(
            "Invalid URL: An explicit scheme (such as https) must be provided.", code="url_invalid", param="url"
        )
    if params.get("api_version", world.api_version) != world.api_version:
        raise ApiError(f"The sandbox renders events at {world.api_version} only.", status=501, param="api_version")
    endpoint = register(
        world,
        url=params["url"],
        enabled_events=params["enabled_events"],
        description=params.get("description") or None,
        metadata=merge_metadata({}, params.get("metadata", {})),
        is_connect=bool(params.get("connect")),
    )
    return endpoint | {"secret": world.secrets[endpoint["id"]][0]}


def register(
    world: World,
    *,
    url: str,
    enabled_events: list[str],
    description: str | None = None,
    metadata: Object | None = None,
    secrets: tuple[str, ...] = (),
    is_connect: bool = False,
) -> Object:
    endpoint: Object = {
        "id": world.new_id("webhook_endpoint"),
        "object": "webhook_endpoint",
        "api_version": world.api_version,
        "application": None,
        "created": world.clock.seconds(),
        "description": description,
        "enabled_events": enabled_events,
        "livemode": False,
        "metadata": metadata or {},
        "status": "enabled",
        "url": url,
    }
    if is_connect:
        world.connect.add(endpoint["id"])
    world.secrets[endpoint["id"]] = secrets or (f"whsec_{world.token(32)}",)
    return world.add(endpoint)


def register_configured(world: World, configured: ConfiguredEndpoint) -> Object:
    endpoint = register(
        world,
        url=configured.url,
        enabled_events=list(configured.enabled_events),
        secrets=configured.secrets,
        is_connect=configured.is_connect,
    )
    world.configured.add(endpoint["id"])
    return endpoint


def replace_configured(world: World, configured: Iterable[ConfiguredEndpoint]) -> None:
    """Put configured endpoints in the place of those before them."""
    for endpoint in [endpoint for endpoint in world.all("webhook_endpoint") if endpoint["id"] in world.configured]:
        world.remove(endpoint)
    world.configured.clear()
    for one in configured:
        register_configured(world, one)


def retrieve(world: World, _params: dict[str, Any], endpoint_id: str) -> Object:
    return world.get("webhook_endpoint", endpoint_id)


def delete(world: World, _params: dict[str, Any], endpoint_id: str) -> Object:
    endpoint = world.get("webhook_endpoint", endpoint_id)
    world.remove(endpoint)
    return {"id": endpoint_id, "object": "webhook_endpoint", "deleted": True}


def list_all(world: World, params: dict[str, Any]) -> Object:
    return page(world.all("webhook_endpoint"), params, url="/v1/webhook_endpoints")
