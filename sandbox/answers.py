"""How objects leave the sandbox: lists with cursors, and expanded references."""

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from sandbox.derive import Schema
from sandbox.errors import ApiError, missing
from sandbox.schema import RESOURCE_OF, ApiSchema
from sandbox.shelf import Bounds, Shelf, within
from sandbox.world import Object, World

_LIMIT_DEFAULT = 10
_LIMIT_MAX = 100
_EXPAND_DEPTH_MAX = 4  # as Stripe's


def page(
    found: Iterable[Object], params: dict[str, Any], *, url: str, keep: Callable[[Object], bool] | None = None
) -> Object:
    """Return one page, newest first. `found` is oldest first; `limit`, `starting_after`, `ending_before`, `created`."""
    limit = params.get("limit", _LIMIT_DEFAULT)
    if not 1 <= limit <= _LIMIT_MAX:
        raise ApiError(
            f"This value must be between 1 and {_LIMIT_MAX}.", code="parameter_invalid_integer", param="limit"
        )
    shelf, low, high = _asked(found, params.get("created"))
    after, before = params.get("starting_after"), params.get("ending_before")
    if after is not None and before is not None:
        raise ApiError("You may only specify one of these parameters: ending_before, starting_after.")
    if after is not None:
        high = min(high, _place(shelf, after, param="starting_after"))
    if before is not None:
        low = max(low, _place(shelf, before, param="ending_before") + 1)
    found = shelf.downwards(low, high) if before is None else shelf.upwards(low, high)
    rows = list(islice((obj for obj in found if keep is None or keep(obj)), limit + 1))
    more, rows = len(rows) > limit, rows[:limit]
    return {"object": "list", "data": rows if before is None else rows[::-1], "has_more": more, "url": url}


def expand(world: World, schema: ApiSchema, answer: Object, paths: list[str]) -> Object:
    """Return a copy of an answer in which the references named by `paths` are the objects themselves."""
    for path in paths:
        parts = path.split(".")
        if len(parts) > _EXPAND_DEPTH_MAX:
            raise ApiError(f"You cannot expand more than {_EXPAND_DEPTH_MAX} levels of a property.", param="expand")
        if answer["object"] == "list":
            if parts[0] != "data":
                raise _cannot_expand(path)
            rows = [_expanded(world, schema, row, parts[1:], path=path) for row in answer["data"]]
            answer = answer | {"data": rows}
        else:
            answer = _expanded(world, schema, answer, parts, path=path)
    return answer


def _expanded(world: World, schema: ApiSchema, obj: Object, parts: list[str], *, path: str) -> Object:
    node = schema.schemas[RESOURCE_OF[obj["object"]]]
    expanded: Object = _walk(world, schema, obj, parts, node=node, path=path)
    return expanded


def _walk(world: World, schema: ApiSchema, value: Any, parts: list[str], *, node: Schema, path: str) -> Any:
    if not parts:
        return value
    name = parts[0]
    field = node.get("properties", {}).get(name)
    if field is None:
        raise _cannot_expand(path)
    if isinstance(value, dict) and name in world.parts.get(value.get("id", ""), ()):
        return _with_part(world, value, parts, path=path)
    branches = field.get("anyOf", [field])
    inner = value.get(name) if isinstance(value, dict) else None
    if len(branches) > 1 and {"type": "string"} in branches:
        target = world.find(inner) if isinstance(inner, str) else inner
        if target is None:
            return value
        deeper = schema.schemas[RESOURCE_OF[target["object"]]]
        return value | {name: _walk(world, schema, target, parts[1:], node=deeper, path=path)}
    references = [branch for branch in branches if "$ref" in branch]
    if not references or len(parts) == 1:
        raise _cannot_expand(path)
    if inner is None:
        return value
    return value | {name: _walk(world, schema, inner, parts[1:], node=schema.resolve(references[0]), path=path)}


def _with_part(world: World, value: Object, parts: list[str], *, path: str) -> Object:
    """Return a copy of an object with a list that it shows only when asked."""
    if len(parts) > 1:
        raise _cannot_expand(path)
    rows = world.parts[value["id"]][parts[0]]
    shown = {"object": "list", "data": rows[:_LIMIT_DEFAULT], "has_more": len(rows) > _LIMIT_DEFAULT}
    return value | {parts[0]: shown | {"url": f"/v1/checkout/sessions/{value['id']}/{parts[0]}"}}


def _cannot_expand(path: str) -> ApiError:
    return ApiError(f"This property cannot be expanded ({path}).", param="expand")


def _asked(found: Iterable[Object], created: Bounds) -> tuple[Shelf, int, int]:
    """Return what a list is taken from, and the places in it of what was made in a time."""
    if isinstance(found, Shelf):
        return found, *found.span(created)
    shelf = Shelf(obj for obj in found if created is None or within(obj["created"], created))
    return shelf, *shelf.span(None)


def _place(shelf: Shelf, object_id: str, *, param: str) -> int:
    place = shelf.place(object_id)
    if place is None:
        raise missing("object", object_id, param=param)
    return place
