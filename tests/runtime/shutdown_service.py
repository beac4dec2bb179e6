"""A process for the tests of how one ends: serves the methods below, or fails to, and writes its port to a file."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from google.protobuf.wrappers_pb2 import StringValue

from local.issuer import AUDIENCE, ISSUER
from services.errors import ShuttingDown
from services.runtime.process.lifecycle import run, until_terminated
from services.runtime.rpc.identity import TokenVerifier
from services.runtime.rpc.jwks import KeySet
from services.runtime.rpc.limits import Limits
from services.runtime.rpc.server import running_server
from tests.runtime.echo import ANYBODY, SERVICE, register, unary, watch


async def serve(jwks: Path, port_file: Path, *, behaviour: str) -> None:
    draining = asyncio.Event()

    async def cooperative(request: StringValue, _context: object) -> AsyncIterator[StringValue]:
        yield request
        await draining.wait()
        raise ShuttingDown(revision=7)

    async def stubborn(request: StringValue, _context: object) -> AsyncIterator[StringValue]:
        yield request
        await asyncio.Event().wait()

    async def endless(_request: StringValue, _context: object) -> AsyncIterator[StringValue]:
        while True:
            yield StringValue(value="x" * 60_000)

    async def unary_until_drain(request: StringValue, _context: Any) -> StringValue:
        port_file.with_suffix(".started").touch()
        await draining.wait()
        return request

    if behaviour == "fail":
        raise RuntimeError("cannot start")
    if behaviour == "never-start":
        _announce(port_file, 0)
        await asyncio.Event().wait()
    methods = {
        "Watch": watch(cooperative),
        "Stubborn": watch(stubborn),
        "Endless": watch(endless),
        "Echo": unary(unary_until_drain),
    }
    async with running_server(
        partial(register, methods),
        address="127.0.0.1:0",
        access={f"/{SERVICE}/{name}": ANYBODY for name in methods},
        verifier=TokenVerifier(KeySet(str(jwks)), issuer=ISSUER, audience=AUDIENCE, now=lambda: datetime.now(UTC)),
        draining=draining,
        now=lambda: datetime.now(UTC),
        limits=Limits(stop_grace_s=60),  # nothing here is ended by it
    ) as server:
        _announce(port_file, server.port)
        await until_terminated()


def _announce(port_file: Path, port: int) -> None:
    port_file.with_suffix(".new").write_text(str(port))
    port_file.with_suffix(".new").replace(port_file)


if __name__ == "__main__":
    run(partial(serve, Path(sys.argv[1]), Path(sys.argv[2]), behaviour=sys.argv[3]), service="test")
