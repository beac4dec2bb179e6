"""Records an example of each RPC while tests run: what was really asked, and what was really answered.

python -m pytest -p tests.reference.recorder tests/orchestrator -k booking

An example that is there and still parses is left alone, so that a run adds what is missing and changes nothing else;
`--examples-anew StartPayment,GetQuote` puts new ones in the place of these. What is recorded went through a server of
ours over a real channel.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import grpc
import pytest
from google.protobuf.message import DecodeError, Message
from grpc import aio

from tests.reference.examples import (
    Example,
    as_json,
    faults_of,
    methods,
    read_examples,
    write_examples,
)

MESSAGES_MAX: Final = 3
"""Of a stream; those after it show nothing new."""

_PLAIN_SERVER: Final = aio.server


class Recorder(aio.ServerInterceptor):
    """Keeps the best example of each method that a server of this process answered."""

    def __init__(self) -> None:
        self.best: dict[str, Example] = {}
        self.test = ""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any]]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any]:
        """Listen to a call of ours."""
        handler = await continuation(handler_call_details)
        name = str(handler_call_details.method).lstrip("/")
        if handler is None or name not in methods():
            return handler
        return self._heard(name, handler)

    def _heard(self, name: str, handler: grpc.RpcMethodHandler[Any, Any]) -> grpc.RpcMethodHandler[Any, Any]:
        if handler.request_streaming or handler.response_streaming:
            return self._stream(name, handler)

        async def unary(request: Any, context: Any) -> Any:
            reply = await handler.unary_unary(request, context)
            self._keep(name, [request], [reply])
            return reply

        return grpc.unary_unary_rpc_method_handler(unary, handler.request_deserializer, handler.response_serializer)

    def _stream(self, name: str, handler: grpc.RpcMethodHandler[Any, Any]) -> grpc.RpcMethodHandler[Any, Any]:
        behavior = handler.unary_stream or handler.stream_unary or handler.stream_stream
        make = _KINDS[handler.request_streaming, handler.response_streaming]

        async def serve(request: Any, context: Any) -> Any:
            requests: list[Any] = [] if handler.request_streaming else [request]
            written: list[Any] = []
            given = _listened(request, requests) if handler.request_streaming else request
            try:
                return await behavior(given, _Written(context, written))
            finally:
                self._keep(name, requests, written)

        return make(serve, handler.request_deserializer, handler.response_serializer)

    def _keep(self, name: str, requests: list[Any], responses: list[Any]) -> None:
        method = methods()[name]
        try:
            example = Example(
                test=self.test,
                requests=[as_json(_message(method.input, one)) for one in requests[:MESSAGES_MAX]],
                responses=[as_json(_message(method.output, one)) for one in responses[:MESSAGES_MAX]],
            )
        except DecodeError:
            return  # a test that sends what is no message
        if example.requests and example.responses and self.test:
            best = self.best.get(name)
            if best is None or example.worth > best.worth:
                self.best[name] = example


class _Written:
    """The context of a stream, which notes what is written."""

    def __init__(self, context: Any, written: list[Any]) -> None:
        self._context = context
        self._noted = written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    async def write(self, message: Any) -> None:
        if len(self._noted) < MESSAGES_MAX:
            self._noted.append(message)
        await self._context.write(message)


async def _listened(requests: AsyncIterator[Any], noted: list[Any]) -> AsyncIterator[Any]:
    async for one in requests:
        if len(noted) < MESSAGES_MAX:
            noted.append(one)
        yield one


def _message(kind: type[Message], received: Any) -> Message:
    return received if isinstance(received, Message) else kind.FromString(received)


_KINDS: Final = {
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}

RECORDER: Final = pytest.StashKey[Recorder]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--examples-anew", default="", help="names of RPCs whose examples are put in the place of theirs")


def pytest_configure(config: pytest.Config) -> None:
    recorder = config.stash[RECORDER] = Recorder()

    def listening(*arguments: Any, interceptors: Any = (), **named: Any) -> aio.Server:
        return _PLAIN_SERVER(*arguments, interceptors=(recorder, *(interceptors or ())), **named)

    aio.server = listening


def pytest_runtest_setup(item: pytest.Item) -> None:
    item.config.stash[RECORDER].test = item.nodeid.partition("[")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a process of pytest-xdist has recorded."""
    ours = node.config.stash[RECORDER].best
    for name, told in getattr(node, "workeroutput", {}).get("examples", {}).items():
        example = Example(**told)
        if name not in ours or example.worth > ours[name].worth:
            ours[name] = example


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand over what was recorded, or write it."""
    best = session.config.stash[RECORDER].best
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["examples"] = {name: one.told() for name, one in best.items()}
        return
    kept = read_examples()
    anew = session.config.getoption("--examples-anew").split(",")
    new = {
        name: one
        for name, one in best.items()
        if name not in kept or name.rpartition("/")[2] in anew or faults_of(name, kept[name])
    }
    write_examples(kept | new)
