"""A loop beside the calls meets what no database should say: its process is not ready, and works again or ends.

The right that is taken from a role is one that its loops need, and health does not.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from local.environments import SERVICES
from local.suite import Suite
from services.runtime.database.connections import plain_dsn, role_of
from services.runtime.rpc.health import LIVENESS, READINESS
from services.runtime.work.loops import FAILURES_MAX
from tests.eventually import WITHIN_S, eventually
from tests.suite.journeys import Traveller

RIGHTS: Final = {
    "orchestrator": ("due_work", "SELECT ON quote_outbox"),
    "gateway": ("due_work", "SELECT ON calls"),
    "status": ("watch_resync", "SELECT ON transitions"),
    "pricing": ("forgetting", "DELETE ON requests"),
}
"""One loop of each service, and the right without which it fails; where another needs it too, this one fails first."""
UNREADY: Final = "times in a row, not ready until it works: "
"""What the log says of a loop that has to work; one that only counts fails beside it."""
FAILS_AT_ITS_START: Final = {"pricing"}
"""Its loop does something once an hour, and when the process begins."""
SERVING: Final = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING: Final = health_pb2.HealthCheckResponse.NOT_SERVING
ENDS_WITHIN_S: Final = 60.0
"""After 15 s by the rule; this machine may be busy."""


@asynccontextmanager
async def without(suite: Suite, service: str) -> AsyncIterator[None]:
    """Take from the service's role what a loop needs; it comes back at the end of the block."""
    _, right = RIGHTS[service]
    role = role_of(suite.database_url(service))
    owner = await asyncpg.connect(plain_dsn(suite.owner_url(service)))
    try:
        await owner.execute(f"REVOKE {right} FROM {role}")
        if service in FAILS_AT_ITS_START:
            await suite.stop(service)
            await suite.launch(service)
        yield
    finally:
        await owner.execute(f"GRANT {right} TO {role}")
        await owner.close()


async def health(suite: Suite, service: str, name: str) -> int | None:
    """Return what a probe would see that has patience; None if nobody is there."""
    async with aio.insecure_channel(f"127.0.0.1:{suite.ports[f'{service}-health']}") as channel:
        try:
            answer = await health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(service=name), timeout=WITHIN_S
            )
        except aio.AioRpcError:
            return None
        return int(answer.status)


async def until_ready(suite: Suite, service: str, *, is_ready: bool) -> None:
    wanted = SERVING if is_ready else NOT_SERVING

    async def is_so() -> bool:
        return await health(suite, service, READINESS) == wanted

    await eventually(is_so, what=f"{service} is {'' if is_ready else 'not '}ready")


def said(suite: Suite, service: str, *, after: int) -> list[dict[str, Any]]:
    """Return what a service logged as an error, after so many bytes."""
    text = (suite.logs / f"{service}.log").read_bytes()[after:].decode()
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [line for line in lines if line["level"] == "ERROR"]


def logged(suite: Suite, service: str) -> int:
    return (suite.logs / f"{service}.log").stat().st_size


@pytest.mark.faults
@pytest.mark.parametrize("service", SERVICES)
async def test_a_process_whose_loop_fails_is_not_ready_until_that_is_mended(
    suite: Suite, traveller: Traveller, service: str
) -> None:
    task, _ = RIGHTS[service]
    before = logged(suite, service)
    async with watched(traveller):
        async with without(suite, service):
            await until_ready(suite, service, is_ready=False)
            assert await health(suite, service, LIVENESS) == SERVING
            line = await eventually(
                lambda: next((one for one in said(suite, service, after=before) if UNREADY in one["message"]), None)
            )
        await until_ready(suite, service, is_ready=True)
    assert line["message"].startswith(f"{task} failed 1 {UNREADY}")
    assert "InsufficientPrivilegeError" in line["message"]


@pytest.mark.faults
async def test_a_process_whose_loop_goes_on_failing_ends_with_one_line_that_names_it(
    suite: Suite, traveller: Traveller
) -> None:
    before = {service: logged(suite, service) for service in SERVICES}

    async def ends(service: str) -> int:
        async with without(suite, service), asyncio.timeout(ENDS_WITHIN_S):
            return await suite.ended(service)

    async with watched(traveller):
        codes = await asyncio.gather(*(ends(service) for service in SERVICES))
    assert codes == [1] * len(SERVICES)
    for service in SERVICES:
        task, _ = RIGHTS[service]
        lines = [line["message"] for line in said(suite, service, after=before[service])]
        [last] = [line for line in lines if "the process ends" in line]
        assert last.startswith(f"{task} failed {FAILURES_MAX} times in a row, and the process ends: Insufficient")


@asynccontextmanager
async def watched(traveller: Traveller) -> AsyncIterator[None]:
    """Have a watch open, without which status looks at no history."""
    payment_id = (await traveller.start()).payment.payment_id
    async with traveller.shop.watch(payment_id) as updates:
        await anext(updates)
        yield
