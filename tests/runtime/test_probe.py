"""The command with which a container asks its own health port."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from grpc import aio
from grpc_health.v1 import health_pb2_grpc

from services.runtime.process.probe import main
from services.runtime.rpc.health import LIVENESS, Health


@pytest.fixture
async def health() -> AsyncIterator[tuple[Health, dict[str, str]]]:
    """A health port on all addresses, as in a pod, and the environment that says where."""
    server, servicer = aio.server(), Health(("batzen.test.v1.Service",))
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield servicer, {"BATZEN_HEALTH_LISTEN": f"0.0.0.0:{port}"}
    await server.stop(None)


async def test_it_says_whether_the_process_is_ready(health: tuple[Health, dict[str, str]]) -> None:
    servicer, environ = health
    assert await asyncio.to_thread(main, [], environ) == "readiness: NOT_SERVING"

    servicer.ready(True)
    assert await asyncio.to_thread(main, [], environ) is None


async def test_another_of_its_three_questions_can_be_asked(health: tuple[Health, dict[str, str]]) -> None:
    assert await asyncio.to_thread(main, [LIVENESS], health[1]) is None
    assert await asyncio.to_thread(main, ["nothing"], health[1]) == "nothing: NOT_FOUND"


async def test_a_port_that_nobody_listens_on_is_not_well() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # held, so that nobody else comes to listen there
        environ = {"BATZEN_HEALTH_LISTEN": f"127.0.0.1:{nobody.getsockname()[1]}"}

        assert await asyncio.to_thread(main, [], environ) == "readiness: UNAVAILABLE"


def test_without_a_port_it_says_so() -> None:
    assert main([], {}) == "BATZEN_HEALTH_LISTEN is not set: there is no health port to ask"
