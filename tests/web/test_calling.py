"""docs/calling.md from other languages: the worked examples run, against the services, as they stand there.

The stubs for TypeScript are those that `make stubs-ts` packs, and `buf` is the one of the checks.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode, aio

from batzen.status.v1 import status_pb2 as pb
from batzen.status.v1.status_pb2_grpc import StatusServiceServicer, add_StatusServiceServicer_to_server
from local.start import add_seller
from local.suite import Suite

pytestmark = pytest.mark.web

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / ".batzen/typescript"
EXAMPLE = ROOT / "clients/typescript/examples/pay.ts"
PROGRAM = Path(__file__).parent / "watch_over_a_kill.ts"
BREAKING = Path(__file__).parent / "watch_that_breaks.ts"
BREAKS_MAX = 5
"""Of docs/calling.md."""
OPTIONS = ["--target", "ES2022", "--module", "NodeNext", "--strict", "--skipLibCheck", "--types", "node"]
SELLER = "seller_1"
"""Of the documents, which `make up` has, too."""
WITHIN_S = 120.0


@pytest.fixture(scope="module")
async def environment(suite: Suite) -> dict[str, str]:
    """What a program of a shop's is told."""
    async with suite.client("service", sub="shop") as batzen:
        await add_seller(batzen, SELLER)
    addresses = {
        f"BATZEN_{name.upper()}_ADDRESS": f"127.0.0.1:{suite.ports[name]}" for name in ("orchestrator", "status")
    }
    return {**os.environ, **addresses, "BATZEN_TOKEN": suite.token("service", sub="shop"), "SELLER": SELLER}


@pytest.fixture(scope="module")
async def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the programs, checked and compiled beside the package as one that installed it has it."""
    if not (PACKAGE / "lib/index.js").exists() or shutil.which("node") is None:
        pytest.skip("no npm when the TypeScript stubs were made: `make stubs-ts`")
    folder = tmp_path_factory.mktemp("typescript")
    (folder / "package.json").write_text('{"type": "module"}')
    modules = folder / "node_modules"
    modules.mkdir()
    (modules / "batzen-stubs").symlink_to(PACKAGE)
    for name in ("@grpc", "@types"):
        (modules / name).symlink_to(PACKAGE / "node_modules" / name)
    for program in (EXAMPLE, PROGRAM, BREAKING):
        shutil.copy(program, folder)
    async with running(
        [str(PACKAGE / "node_modules/.bin/tsc"), *OPTIONS, EXAMPLE.name, PROGRAM.name, BREAKING.name], cwd=folder
    ) as tsc:
        said, _ = await tsc.communicate()
    assert tsc.returncode == 0, said.decode()
    return folder


@asynccontextmanager
async def running(
    command: list[str], *, cwd: Path, env: Mapping[str, str] | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Yield a program that runs; it is ended, if it does not end by itself."""
    pipe, out = asyncio.subprocess.PIPE, asyncio.subprocess.STDOUT
    process = await asyncio.create_subprocess_exec(*command, cwd=cwd, env=env, stdin=pipe, stdout=pipe, stderr=out)
    try:
        async with asyncio.timeout(WITHIN_S):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_the_worked_example_in_typescript(compiled: Path, environment: Mapping[str, str]) -> None:
    async with running(["node", "pay.js"], cwd=compiled, env=environment) as node:
        said, _ = await node.communicate()
    lines = said.decode().splitlines()
    assert node.returncode == 0, lines
    assert lines[0] == "QUANTITY_OUT_OF_RANGE lines[0].quantity must be at most 10000 { quantity_max: '10000' }"
    assert (lines[1], lines[2], lines[-1].split()[1]) == ("1n INITIALIZED", "2n REQUIRES_PAYMENT_METHOD", "SUCCEEDED")


async def test_a_watch_in_typescript_goes_on_over_a_killed_status(
    suite: Suite, compiled: Path, environment: Mapping[str, str]
) -> None:
    async with running(["node", PROGRAM.with_suffix(".js").name], cwd=compiled, env=environment) as node:
        assert node.stdin is not None
        assert node.stdout is not None
        first = json.loads(await node.stdout.readline())
        assert (first["again"], first["total"]) == (first["paymentId"], "12000")
        assert [json.loads(await node.stdout.readline()) for _ in range(2)] == [
            {"heard": "1 INITIALIZED"}, {"heard": "2 REQUIRES_PAYMENT_METHOD"},
        ]  # fmt: skip
        await suite.kill("status")
        node.stdin.write(b"go\n")
        await suite.start("status")
        lines = (await node.stdout.read()).decode().splitlines()
        assert await node.wait() == 0, lines

    last = json.loads(lines[-1])
    assert [one.split()[0] for one in last["heard"]] == [str(place + 1) for place in range(len(last["heard"]))]
    assert last["heard"][-1].endswith(" SUCCEEDED")
    assert last["stopped"] == ["3", "4"]
    assert last["ofState"] == {
        "code": "FAILED_PRECONDITION",
        "reason": "PAYMENT_STATE",
        "metadata": {"state": "SUCCEEDED"},
        "message": "The payment's state does not allow this; read it, then decide. It is SUCCEEDED.",
    }
    assert last["ofField"] == {
        "code": "INVALID_ARGUMENT",
        "reason": "FIELD_MISSING",
        "fields": [{"field": "lines", "description": "must be given", "reason": "FIELD_MISSING"}],
        "correlationId": "of-node-2",
    }
    assert last["unknown"] == {"code": "NOT_FOUND", "reason": "PAYMENT_NOT_FOUND"}


class Breaking(StatusServiceServicer):
    """Ends each stream with INTERNAL: that of one payment with something new on it, that of the other without."""

    def __init__(self) -> None:
        self.opened: Counter[str] = Counter()

    async def WatchPayment(
        self, request: pb.WatchPaymentRequest, context: aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.WatchPaymentResponse]:
        self.opened[request.payment_id] += 1
        yield pb.WatchPaymentResponse(header=pb.WatchPaymentResponse.Header(current_revision=BREAKS_MAX + 2))
        if request.payment_id == "pay_moving":
            moved = pb.Transition(payment_id=request.payment_id, revision=request.after_revision + 1)
            yield pb.WatchPaymentResponse(updates=pb.WatchPaymentResponse.Updates(transitions=[moved]))
            if moved.revision == BREAKS_MAX + 2:
                return
        await context.abort(StatusCode.INTERNAL, "RST_STREAM")


async def test_a_watch_in_typescript_ends_where_nothing_but_broken_streams_comes(compiled: Path) -> None:
    server, servicer = aio.server(), Breaking()
    add_StatusServiceServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        command = ["node", BREAKING.with_suffix(".js").name]
        async with running(command, cwd=compiled, env={**os.environ, "BATZEN_STATUS_ADDRESS": address}) as node:
            said, _ = await node.communicate()
    finally:
        await server.stop(None)

    heard = [str(revision + 1) for revision in range(BREAKS_MAX + 2)]
    assert json.loads(said) == {"heard": heard, "ended": "INTERNAL"}
    assert servicer.opened == {"pay_moving": BREAKS_MAX + 2, "pay_broken": BREAKS_MAX + 1}


async def test_the_commands_of_the_document(suite: Suite, environment: Mapping[str, str]) -> None:
    """Each block of a shell in docs/calling.md, one after the other."""
    document = (ROOT / "docs/calling.md").read_text()
    blocks = re.findall(r"^```sh\n(.*?)^```", document, re.DOTALL | re.MULTILINE)
    script = "set -eu\n" + "\n".join(block for block in blocks if "buf" in block)
    for name, port in (("orchestrator", 7001), ("status", 7003)):
        script = script.replace(f"127.0.0.1:{port}", f"127.0.0.1:{suite.ports[name]}")
    path = f"{ROOT / '.batzen/venv/bin'}:{environment['PATH']}"
    async with running(["bash", "-c", script], cwd=ROOT, env={**environment, "PATH": path}) as shell:
        said, _ = await shell.communicate()
    text = said.decode()
    assert shell.returncode == 0, text
    assert "batzen.orchestrator.v1.OrchestratorService" in text
    assert "`lines[0].quantity`: must be at most 10000" in text
    [encoded] = re.findall(r"^echo (\S+)", document, re.MULTILINE)
    assert encoded in text, "what the next block reads is what the services say"
    assert '"reason":"QUANTITY_OUT_OF_RANGE"' in text
    assert '"PAYMENT_STATE_SUCCEEDED"' in text
