"""Events as the API lists them: the record to fall back on when a webhook was lost."""

from fnmatch import fnmatchcase
from typing import Any

from sandbox.answers import page
from sandbox.errors import ApiError, missing
from sandbox.world import Object, World

_KEPT_S = 30 * 86_400


def retrieve(world: World, _params: dict[str, Any], event_id: str) -> Object:
    return world.get("event", event_id)


def list_all(world: World, params: dict[str, Any]) -> Object:
    """List the last 30 days; `type` may end in `*`, `types` holds up to 20 names."""
    if "type" in params and "types" in params:
        raise ApiError("You may only specify one of these parameters: type, types.", param="types")
    patterns = [params["type"]] if "type" in params else params.get("types", ["*"])
    oldest = world.clock.seconds() - _KEPT_S
    for cursor in ("starting_after", "ending_before"):
        if cursor in params and world.get("event", params[cursor])["created"] < oldest:
            raise missing("event", params[cursor], param=cursor)
    delivered = params.get("delivery_success")
    listed = page(
        world.all("event"),
        params,
        url="/v1/events",
        keep=lambda event: (
            event["created"] >= oldest
            and any(fnmatchcase(event["type"], pattern) for pattern in patterns)
            and delivered in (None, event["pending_webhooks"] == 0)
        ),
    )
    # Whose it is says what is sent to a platform; listed for the account itself it is the account's own.
    listed["data"] = [{name: event[name] for name in event if name != "account"} for event in listed["data"]]
    return listed
