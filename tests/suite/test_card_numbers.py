"""No field of any method of any service takes a card's number: each is tried."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any, Final

import grpc
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message_factory import GetMessageClass
from grpc import aio

from batzen._channel import make_channel, streaming
from local.environments import SERVICES
from local.suite import Suite
from services.access import TABLE
from services.runtime.rpc.identity import SERVICE
from tests.refusals import reason_of
from tests.suite.test_access import METHODS, TIMEOUT_S
from tests.test_contracts import ANNOUNCED

CARD: Final = "4242424242424242"
EXEMPT: Final[frozenset[str]] = frozenset()
"""Paths of fields that are not looked through, with the reason beside each. There are none."""

OFFERED: Final = {
    path: method
    for path, method in METHODS.items()
    if method.name not in ANNOUNCED.get(method.containing_service.name, "").split()
}

Step = tuple[FieldDescriptor, ...]


def _texts_of(message: Descriptor, above: Step = ()) -> Iterator[tuple[Step, bool]]:
    """Return the way to each text in a message, and whether it is to be a map's key."""
    for field in message.fields:
        way = (*above, field)
        if field.type == FieldDescriptor.TYPE_STRING:
            yield way, False
        elif field.message_type is not None and field.message_type.GetOptions().map_entry:
            yield way, True
            yield way, False
        elif field.message_type is not None and field.message_type not in [step.message_type for step in above]:
            yield from _texts_of(field.message_type, way)


def _holding(method: MethodDescriptor, way: Step, *, as_key: bool) -> tuple[Any, str]:
    """Return a request with the card's number in one field, and the path by which that is refused."""
    request = message = GetMessageClass(method.input_type)()
    path = ""
    for field in way:
        path += f".{field.name}" if path else field.name
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            getattr(message, field.name)[CARD if as_key else "key"] = "x" if as_key else CARD
            return request, f"{path}[{'…' if as_key else 'key'}]"
        if field.is_repeated:
            path += "[0]"
        if field.message_type is None:
            if field.is_repeated:
                getattr(message, field.name).append(CARD)
            else:
                setattr(message, field.name, CARD)
        else:
            inner = getattr(message, field.name)
            message = inner.add() if field.is_repeated else inner
    return request, path


@pytest.fixture(scope="module")
async def channels(suite: Suite) -> AsyncIterator[dict[str, aio.Channel]]:
    async with AsyncExitStack() as stack:
        yield {
            service: await stack.enter_async_context(
                make_channel(getattr(suite.addresses, service), timeout_s=TIMEOUT_S, metadata=tuple)
            )
            for service in SERVICES
        }


async def _refusal(suite: Suite, channels: dict[str, aio.Channel], path: str, request: Any) -> aio.AioRpcError | None:
    rule, method = TABLE[path], OFFERED[path]
    service = method.containing_service
    role = next(iter(sorted(rule.roles)), SERVICE)
    token = suite.token(role, sub=next(iter(rule.subjects), "somebody"))
    # The gateway declares what it delivers to.
    served_by = "orchestrator" if service.name == "GatewayEventSinkService" else service.full_name.split(".")[1]
    channel, metadata = channels[served_by], (("authorization", f"Bearer {token}"),)
    coding: dict[str, Any] = {"request_serializer": lambda message: message.SerializeToString()}
    try:
        if method.client_streaming or method.server_streaming:
            kind = channel.stream_stream if method.client_streaming else channel.unary_stream
            call = kind(path, **coding)
            requests = [request] if method.client_streaming else request
            async with streaming(call(requests, timeout=TIMEOUT_S, metadata=metadata)) as answers:
                async for _ in answers:
                    pass
        else:
            await channel.unary_unary(path, **coding)(request, timeout=TIMEOUT_S, metadata=metadata)
    except aio.AioRpcError as refusal:
        return refusal
    return None


@pytest.mark.parametrize("path", OFFERED)
async def test_each_text_of_each_method_refuses_a_card_number_by_its_path(
    path: str, suite: Suite, channels: dict[str, aio.Channel]
) -> None:
    tried = 0
    for way, as_key in _texts_of(OFFERED[path].input_type):
        request, field = _holding(OFFERED[path], way, as_key=as_key)
        if field in EXEMPT:
            continue
        refusal = await _refusal(suite, channels, path, request)
        assert refusal is not None, field
        assert (field, refusal.code(), reason_of(refusal)) == (
            field,
            grpc.StatusCode.INVALID_ARGUMENT,
            "CARD_NUMBER_REFUSED",
        )
        told = f"{refusal.details()}{refusal.trailing_metadata()}"
        assert field.encode() in b"".join(
            value if isinstance(value, bytes) else value.encode() for _, value in refusal.trailing_metadata() or ()
        )
        assert CARD not in told
        tried += 1
    assert tried > 0


async def test_what_was_refused_stands_in_no_log(suite: Suite) -> None:
    held = [log.name for log in suite.logs.glob("*.log") if CARD in log.read_text(errors="replace")]

    assert held == []
