"""How a process ends: in order, quickly with open streams, with the right exit code, saying so in JSON."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from batzen._channel import make_channel
from batzen.version import build
from local.issuer import Issuer
from tests.eventually import WITHIN_S, eventually
from tests.refusals import details_of, reason_of
from tests.runtime.echo import SERVICE, bearer

HELLO = StringValue(value="hello")
ROOT = Path(__file__).parents[2]
EXIT_S_MAX = 30.0
"""Half of the grace that a call which does not end by itself would be given."""
SAYS_ITS_LOOP = """
import asyncio
from services.runtime.process.lifecycle import run

async def main():
    print(type(asyncio.get_running_loop()).__module__, flush=True)

run(main, service="test")
"""


@dataclass(kw_only=True)
class Process:
    """A process that serves, and a channel to it."""

    process: asyncio.subprocess.Process
    channel: aio.Channel
    folder: Path

    def watch(self, name: str) -> Any:
        method = self.channel.unary_stream(f"/{SERVICE}/{name}", StringValue.SerializeToString, StringValue.FromString)
        return method(HELLO)

    async def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, float, list[dict[str, Any]]]:
        """Send the signal; return exit code, seconds until the exit, and the log."""
        begun = time.monotonic()
        self.process.send_signal(number)
        output, _ = await asyncio.wait_for(self.process.communicate(), WITHIN_S)
        assert self.process.returncode is not None
        return self.process.returncode, time.monotonic() - begun, [json.loads(line) for line in output.splitlines()]


async def appeared(path: Path) -> str:
    """Return the text of a file that another process makes."""
    await eventually(path.exists)
    return path.read_text()


@asynccontextmanager
async def started(folder: Path, behaviour: str = "serve") -> AsyncIterator[Process]:
    issuer = Issuer(folder / "issuer", now=lambda: datetime.now(UTC))
    arguments = ["-m", "tests.runtime.shutdown_service", str(issuer.jwks), str(folder / "port"), behaviour]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        port = await appeared(folder / "port")
        token = issuer.mint("payer_1", roles={"payer"})
        async with make_channel(f"127.0.0.1:{port}", timeout_s=WITHIN_S, metadata=lambda: bearer(token)) as channel:
            yield Process(process=process, channel=channel, folder=folder)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_streams_end_with_where_to_resume_and_the_process_with_0(tmp_path: Path, number: signal.Signals) -> None:
    async with started(tmp_path) as service:
        stream, stubborn = service.watch("Watch"), service.watch("Stubborn")
        health = health_pb2_grpc.HealthStub(service.channel).Watch(health_pb2.HealthCheckRequest())
        await asyncio.gather(stream.read(), stubborn.read(), health.read())
        ending = asyncio.create_task(service.end(number))
        errors = []
        for call in (stream, stubborn):
            with pytest.raises(aio.AioRpcError) as caught:
                await call.read()
            errors.append(caught.value)
        last_health = await health.read()
        code, seconds, log = await ending

    info = details_of(errors[0])
    assert (errors[0].code(), info.reason, info.metadata["revision"]) == (
        grpc.StatusCode.UNAVAILABLE,
        "SHUTTING_DOWN",
        "7",
    )
    assert (errors[1].code(), reason_of(errors[1])) == (grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")
    assert last_health.status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert code == 0
    assert seconds < EXIT_S_MAX
    assert [entry["message"] for entry in log if entry["message"] != "call"][-1] == "Ended"
    assert {entry["service"] for entry in log} == {"test"}
    assert (log[0]["message"], log[0]["version"], log[0]["commit"]) == ("Starting", build().version, build().commit)


async def test_a_unary_call_under_way_is_answered(tmp_path: Path) -> None:
    async with started(tmp_path) as service:
        echo = service.channel.unary_unary(f"/{SERVICE}/Echo", StringValue.SerializeToString, StringValue.FromString)
        call = asyncio.ensure_future(echo(HELLO))
        await appeared(tmp_path / "port.started")
        code, _, _ = await service.end()

        assert await call == HELLO
        assert code == 0


async def test_a_reader_that_does_not_read_does_not_hold_up_the_end_and_others_are_answered(tmp_path: Path) -> None:
    async with started(tmp_path) as service:
        unread = service.watch("Endless")
        await unread.read()
        echo = service.channel.unary_unary(f"/{SERVICE}/Echo", StringValue.SerializeToString, StringValue.FromString)
        call = asyncio.ensure_future(echo(HELLO))
        await appeared(tmp_path / "port.started")
        code, _, _ = await service.end()

        assert await call == HELLO
        assert code == 0


async def test_a_process_runs_on_uvloop() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", SAYS_ITS_LOOP), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()

    assert process.returncode == 0
    assert output.splitlines()[0] == b"uvloop"


async def test_a_process_that_cannot_start_says_why_and_fails(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.runtime.shutdown_service", "none", str(tmp_path / "port"), "fail"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await asyncio.wait_for(process.communicate(), WITHIN_S)

    entry = json.loads(output.splitlines()[-1])
    assert process.returncode == 1
    assert entry["level"] == "ERROR"
    assert "cannot start" in entry["exception"]


async def test_a_process_that_is_still_starting_ends_at_once(tmp_path: Path) -> None:
    async with started(tmp_path, "never-start") as service:
        code, seconds, _ = await service.end()

    assert code == 0
    assert seconds < EXIT_S_MAX
