"""A running stand-in, the official client on an account of its own, and a receiver of webhooks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import stripe

from sandbox.control import SandboxControl
from sandbox.serving import running
from sandbox.settings import Settings
from sandbox.state import Sandbox
from tests.sandbox.samples import Api, Connect, Receiver, connected

RETRY_S = 0.01


@pytest.fixture(scope="session")
async def sandbox() -> AsyncIterator[Sandbox]:
    """The stand-in of this test process. It holds every answer and every event to the schema."""
    async with running(Settings(port=0, retry_backoff_s=RETRY_S, check_answers=True)) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
async def shared_control(sandbox: Sandbox) -> AsyncIterator[SandboxControl]:
    async with SandboxControl(sandbox.base_url) as control:
        yield control


@pytest.fixture
async def control(shared_control: SandboxControl) -> AsyncIterator[SandboxControl]:
    """Its controls; whatever a test switched on is off again after it."""
    yield shared_control
    await shared_control.clear_faults()
    await shared_control.resume()
    await shared_control.webhooks()
    await shared_control.set_latency(0)


@pytest.fixture
async def connect(sandbox: Sandbox, control: SandboxControl) -> AsyncIterator[Connect]:  # noqa: ARG001 it tidies up
    """`connect()` is `v1` of one more account; `connect(key)` is the account of a key."""
    async with connected(sandbox) as connect:
        yield connect


@pytest.fixture
def v1(connect: Connect) -> Api:
    """The official client's services, on an account nobody else uses."""
    return connect()


@pytest.fixture
async def fresh(tmp_path: Path) -> AsyncIterator[tuple[Api, SandboxControl]]:
    """A stand-in for one test alone, which may move its clock. At its end the state file has all that there is."""
    settings = Settings(
        port=0, seed=7, retry_backoff_s=RETRY_S, check_answers=True, state_file=tmp_path / "stand-in.db"
    )
    async with (
        running(settings) as sandbox,
        SandboxControl(sandbox.base_url) as control,
        connected(sandbox) as connect,
    ):
        yield connect(), control


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver of webhooks; register its `url`."""
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/webhooks/stripe"
    yield receiver
    server.close()


@pytest.fixture
def listen(v1: Api, receiver: Receiver) -> Callable[..., Awaitable[str]]:
    """`secret = await listen()` registers the receiver for the account of `v1`."""

    async def listen(*enabled_events: str) -> str:
        endpoint = await v1.webhook_endpoints.create_async(
            {"url": receiver.url, "enabled_events": list(enabled_events or ["*"]), "api_version": stripe.api_version}
        )
        return str(endpoint.secret)

    return listen
