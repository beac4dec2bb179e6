"""What one caller may ask at once and how often, and that others do not feel it."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from google.rpc import error_details_pb2
from grpc import aio
from grpc_status import rpc_status

from local.issuer import Issuer
from services.errors import TooManyCalls
from services.runtime.rpc import callers
from services.runtime.rpc.access import EVERYTHING, Access, Allow
from services.runtime.rpc.callers import Callers
from services.runtime.rpc.identity import PAYER, SERVICE, Caller
from services.runtime.rpc.limits import CallerLimits, Limits
from tests.refusals import reason_of
from tests.runtime.echo import NOW, bearer, echo, serving, unary

HELLO = StringValue(value="hello")

OWN = Access(own_as=frozenset({PAYER}))
RULE = Allow(roles=frozenset({SERVICE}), own=frozenset({PAYER}))
FEW = Limits(
    people=CallerLimits(in_flight_max=2, rate_per_s=1.0, burst=4),
    services=CallerLimits(in_flight_max=3, rate_per_s=1.0, burst=6),
)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refusals are given at once."""
    monkeypatch.setattr(callers, "REFUSAL_PAUSE_S", 0.0)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def caller(subject: str = "payer_1", tenant_id: str = "main") -> Caller:
    return Caller(subject=subject, tenant_id=tenant_id, roles=frozenset({PAYER}), expire_time=NOW)


async def test_a_caller_has_only_so_many_calls_at_once() -> None:
    counted = Callers(FEW, clock=Clock())
    first = await counted.enter(caller(), OWN)
    await counted.enter(caller(), OWN)
    with pytest.raises(TooManyCalls):
        await counted.enter(caller(), OWN)
    await counted.enter(caller("payer_2"), OWN)
    await counted.enter(caller(tenant_id="other"), OWN)
    counted.leave(first)
    await counted.enter(caller(), OWN)


async def test_a_caller_calls_only_so_often() -> None:
    clock = Clock()
    counted = Callers(FEW, clock=clock)
    for _ in range(4):
        counted.leave(await counted.enter(caller(), OWN))
    with pytest.raises(TooManyCalls):
        await counted.enter(caller(), OWN)
    counted.leave(await counted.enter(caller("payer_2"), OWN))
    clock.now += 1.0
    counted.leave(await counted.enter(caller(), OWN))


async def test_who_may_reach_everything_has_limits_of_their_own() -> None:
    counted = Callers(FEW, clock=Clock())
    for _ in range(3):
        await counted.enter(caller("shop"), EVERYTHING)
    with pytest.raises(TooManyCalls):
        await counted.enter(caller("shop"), EVERYTHING)
    await counted.enter(caller("shop"), OWN)


async def test_only_so_many_callers_are_known_and_none_with_a_call_under_way_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(callers, "KNOWN_MAX", 10)
    counted = Callers(FEW, clock=Clock())
    under_way = await counted.enter(caller("first"), OWN)
    for number in range(100):
        counted.leave(await counted.enter(caller(f"payer_{number}"), OWN))
    assert counted.known_count == 10
    counted.leave(under_way)


async def test_a_call_beyond_the_limit_is_refused_with_when_to_come_again(issuer: Issuer) -> None:
    going = asyncio.Event()
    begun = asyncio.Semaphore(0)

    async def wait(request: StringValue, _context: object) -> StringValue:
        begun.release()
        await going.wait()
        return request

    payer = bearer(issuer.mint("payer_1", roles={"payer"}))
    other = bearer(issuer.mint("payer_2", roles={"payer"}))
    async with serving(
        issuer, {"Echo": unary(echo), "Wait": unary(wait)}, access={"Echo": RULE, "Wait": RULE}, limits=FEW
    ) as service:
        waiting = [asyncio.ensure_future(service.unary("Wait")(HELLO, metadata=payer)) for _ in range(2)]
        for _ in waiting:
            await begun.acquire()
        with pytest.raises(aio.AioRpcError) as refusal:
            await service.unary()(HELLO, metadata=payer)
        assert await service.unary()(HELLO, metadata=other) == HELLO
        going.set()
        assert await asyncio.gather(*waiting) == [HELLO, HELLO]
        assert await service.unary()(HELLO, metadata=payer) == HELLO

    assert refusal.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert reason_of(refusal.value) == "TOO_MANY_CALLS"
    assert retry_delay_s(refusal.value) == 1.0


async def test_a_call_that_fails_counts_no_longer_than_it_runs(issuer: Issuer) -> None:
    async def fail(_request: StringValue, _context: object) -> StringValue:
        raise RuntimeError

    limits = Limits(people=CallerLimits(in_flight_max=1, rate_per_s=1.0, burst=100))
    payer = bearer(issuer.mint("payer_1", roles={"payer"}))
    async with serving(issuer, {"Echo": unary(fail)}, access={"Echo": RULE}, limits=limits) as service:
        for _ in range(5):
            with pytest.raises(aio.AioRpcError) as failure:
                await service.unary()(HELLO, metadata=payer)
            assert failure.value.code() is grpc.StatusCode.INTERNAL


def retry_delay_s(error: aio.AioRpcError) -> float | None:
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # an aio error has what a call has
    for detail in status.details if status is not None else ():
        info = error_details_pb2.RetryInfo()
        if detail.Unpack(info):
            return info.retry_delay.ToTimedelta().total_seconds()
    return None
