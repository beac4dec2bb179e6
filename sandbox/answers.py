"""How objects leave the sandbox: lists with cursors, and expanded references."""

from collections.abc import Callable, Iterable
from typing import Any

from sandbox.derive import Schema
from sandbox.errors import ApiError, missing
from sandbox.schema import RESOURCE_OF, ApiSchema
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
    rows = [
        obj
        for obj in found
        if (keep is None or keep(obj)) and ("created" not in params or within(obj["created"], params["created"]))
    ]
    rows.reverse()
    after, before = params.get("starting_after"), params.get("ending_before")
    if after is not None and before is not None:
        raise ApiError("You may only specify one of these parameters: ending_before, starting_after.")
    if before is not None:
        newer = rows[: _position(rows, before, param="ending_before")]
        rows, more = newer[-limit:], len(newer) > limit
    else:
        older = rows if after is None else rows[_position(rows, after, param="starting_after") + 1 :]
        rows, more = older[:limit], len(older) > limit
    return {"object": "list", "data": rows, "has_more": more, "url": url}


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
    if isinstance(value, dict) and (value.get("id"), name) in world.parts:
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
    rows = world.parts[value["id"], parts[0]]
    shown = {"object": "list", "data": rows[:_LIMIT_DEFAULT], "has_more": len(rows) > _LIMIT_DEFAULT}
    return value | {parts[0]: shown | {"url": f"/v1/checkout/sessions/{value['id']}/{parts[0]}"}}


def _cannot_expand(path: str) -> ApiError:
    return ApiError(f"This property cannot be expanded ({path}).", param="expand")


def _position(rows: list[Object], object_id: str, *, param: str) -> int:
    for index, row in enumerate(rows):
        if row["id"] == object_id:
            return index
    raise missing("object", object_id, param=param)


def within(when: int, bounds: int | dict[str, int] | None) -> bool:
    """Whether a time is what a list is asked for: a second, or bounds `gt`, `gte`, `lt`, `lte`."""
    if bounds is None:
        return True
    if isinstance(bounds, int):
        return when == bounds
    return (
        ("gt" not in bounds or when > bounds["gt"])
        and ("gte" not in bounds or when >= bounds["gte"])
        and ("lt" not in bounds or when < bounds["lt"])
        and ("lte" not in bounds or when <= bounds["lte"])
    )
