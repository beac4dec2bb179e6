"""The stand-in as a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import httpx

from local.ports import HOST, free_ports
from sandbox.control import SandboxControl
from tests.eventually import WITHIN_S

ROOT: Final = Path(__file__).parents[2]
WAIT_S: Final = WITHIN_S


async def started(port: int, *, host: str = HOST, **environment: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "sandbox",
        cwd=ROOT,
        env={**os.environ, "BATZEN_SANDBOX_LISTEN": f"{host}:{port}", **environment},
        stderr=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )


@asynccontextmanager
async def serving(
    port: int | None = None, **environment: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, SandboxControl]]:
    """Serve while inside, by default on a free port; yields the process and its controls."""
    port = port or free_ports()["sandbox"]
    process = await started(port, **environment)
    try:
        async with SandboxControl(f"http://{HOST}:{port}") as control, asyncio.timeout(WAIT_S):
            while process.returncode is None:
                with contextlib.suppress(httpx.ConnectError):
                    await control.health()
                    break
            yield process, control
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
