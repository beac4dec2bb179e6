"""How services call each other: deadlines that shrink, our own token, one correlation id, retries in one layer."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from grpc import aio

from batzen import _channel
from batzen._channel import (
    ATTEMPTS_MAX,
    HOP_MARGIN_S,
    JITTER,
    RECONNECT_MAX_S,
    RETRY_WAIT_GROWTH,
    RETRY_WAIT_MAX_S,
    RETRY_WAIT_S,
)
from local.issuer import Issuer
from services.errors import DependencyUnavailable, NotFound, PeerUnavailable, ServiceError, ShuttingDown
from services.runtime.rpc import call_context
from services.runtime.rpc.channels import TokenDirectory, peer_channel
from tests.eventually import WITHIN_S
from tests.mounts import Mount
from tests.refusals import reason_of
from tests.runtime.echo import SERVICE, echo, refusal, serving, unary, watch

HELLO = StringValue(value="hello")
ROOT = Path(__file__).parents[2]
CALL_S = 9.0
"""Far longer than a call takes; what is longer, gRPC rounds up to more than a hundredth on the wire."""


class Gone(NotFound):
    """It is not here."""

    reason = "GONE"


def stub(channel: aio.Channel, method: str = "Echo") -> Any:
    return channel.unary_unary(f"/{SERVICE}/{method}", StringValue.SerializeToString, StringValue.FromString)


@pytest.fixture
def tokens(issuer: Issuer, tmp_path: Path) -> TokenDirectory:
    issuer.write_service_tokens(tmp_path, services=["orchestrator"], tenants=["main", "second"])
    return TokenDirectory(tmp_path / "orchestrator")


@asynccontextmanager
async def two_hops(issuer: Issuer, tokens: TokenDirectory, behind: Any) -> AsyncIterator[Any]:
    """Serve a service that asks the one behind it; yield the front's stub."""

    async def ask(request: StringValue, _context: object) -> StringValue:
        answer: StringValue = await stub(channel)(request)
        return answer

    async with (
        serving(issuer, {"Echo": unary(behind)}) as back,
        peer_channel(back.address, tokens=tokens) as channel,
        serving(issuer, {"Echo": unary(ask)}) as front,
    ):
        yield front.unary()


async def test_a_peer_hears_our_token_the_callers_tenant_and_the_same_correlation(
    issuer: Issuer, tokens: TokenDirectory
) -> None:
    seen: list[Any] = []

    async def look(request: StringValue, _context: object) -> StringValue:
        seen.append(
            (call_context.current_caller().subject, call_context.current_tenant(), call_context.correlation_id())
        )
        return request

    async with two_hops(issuer, tokens, look) as front:
        token = issuer.mint("payer_9", roles={"payer"}, tenant="second")
        await front(HELLO, metadata=(("authorization", f"Bearer {token}"), ("x-correlation-id", "order-7")))

    assert seen == [("orchestrator", "second", "order-7")]


async def test_deadlines_shrink_from_hop_to_hop(issuer: Issuer, tokens: TokenDirectory) -> None:
    seen: list[float] = []

    async def look(request: StringValue, _context: object) -> StringValue:
        remaining_s = call_context.time_remaining()
        assert remaining_s is not None
        seen.append(remaining_s)
        return request

    async with two_hops(issuer, tokens, look) as front:
        await front(HELLO, timeout=CALL_S)

    assert 0 < seen[0] <= CALL_S - HOP_MARGIN_S + 0.01


async def test_a_caller_hears_that_time_ran_out_behind(
    issuer: Issuer, tokens: TokenDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(_request: StringValue, _context: object) -> StringValue:
        await asyncio.Event().wait()
        raise AssertionError

    margin_s = WITHIN_S / 2  # or a busy machine may need all of it to say so
    monkeypatch.setattr(_channel, "HOP_MARGIN_S", margin_s)
    async with two_hops(issuer, tokens, never) as front:
        error = await refusal(front(HELLO, timeout=margin_s + 0.3))

    # By the front, in time: its own call ended HOP_MARGIN_S before its caller's.
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "outcome" in str(error.details())


async def test_a_job_acts_for_a_tenant_with_a_deadline_of_its_own(issuer: Issuer, tokens: TokenDirectory) -> None:
    seen: list[Any] = []

    async def look(request: StringValue, _context: object) -> StringValue:
        seen.append((call_context.current_tenant(), call_context.correlation_id(), call_context.time_remaining()))
        return request

    async with (
        serving(issuer, {"Echo": unary(look)}) as back,
        peer_channel(back.address, tokens=tokens, timeout_s=CALL_S) as channel,
    ):
        with call_context.acting_for("second", correlation="job-7"):
            await stub(channel)(HELLO)
        with pytest.raises(LookupError):
            await stub(channel)(HELLO)

    tenant_id, correlation, remaining_s = seen[0]
    assert (tenant_id, correlation) == ("second", "job-7")
    assert 0 < remaining_s <= CALL_S + 0.01  # gRPC rounds up to a hundredth on the wire


async def test_what_outlives_a_call_leaves_its_deadline_and_caller_behind(issuer: Issuer) -> None:
    seen: list[Any] = []

    async def look(request: StringValue, _context: object) -> StringValue:
        with call_context.acting_for(call_context.current_tenant(), correlation=call_context.correlation_id()):
            seen.append((call_context.time_remaining(), call_context.correlation_id()))
            with pytest.raises(LookupError):
                call_context.current_caller()
        assert call_context.current_caller().subject == "payer_1"
        return request

    async with serving(issuer, {"Echo": unary(look)}) as service:
        await service.unary()(HELLO, metadata=(("x-correlation-id", "order-7"),))

    assert seen == [(None, "order-7")]


def test_a_renewed_token_is_read_and_a_missing_one_is_a_dependency_away(tmp_path: Path) -> None:
    mount = Mount(tmp_path / "tokens", {})
    tokens = TokenDirectory(tmp_path / "tokens")
    nothing_good: list[dict[str, str]] = [{}, {"main.jwt": ""}, {"main.jwt": "x" * 5000}, {"main.jwt": "é"}]
    for files in nothing_good:
        mount.replace(files)
        with pytest.raises(DependencyUnavailable):
            tokens.token("main")

    mount.replace({"main.jwt": "first\n"})
    assert tokens.token("main") == "first"
    mount.replace({"main.jwt": "second"})
    assert tokens.token("main") == "second"
    for files in nothing_good:  # as in the middle of being replaced: the token that we have may still be good
        mount.replace(files)
        assert tokens.token("main") == "second"
    with pytest.raises(ValueError, match="tenant"):
        tokens.token("../main")


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED])
async def test_a_call_that_may_not_have_arrived_is_tried_again(issuer: Issuer, code: grpc.StatusCode) -> None:
    attempts = 0

    async def flaky(request: StringValue, context: Any) -> StringValue:
        nonlocal attempts
        attempts += 1
        if attempts < ATTEMPTS_MAX:
            await context.abort(code, "try again")
        return request

    async with serving(issuer, {"Echo": unary(flaky)}) as service:
        assert await service.unary()(HELLO) == HELLO

    assert attempts == ATTEMPTS_MAX


@pytest.mark.parametrize(
    ("code", "attempts_expected"),
    [
        (grpc.StatusCode.UNAVAILABLE, ATTEMPTS_MAX),
        (grpc.StatusCode.DEADLINE_EXCEEDED, 1),
        (grpc.StatusCode.ABORTED, 1),
        (grpc.StatusCode.INTERNAL, 1),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, 1),
    ],
)
async def test_retries_end_and_nothing_else_is_retried(
    issuer: Issuer, code: grpc.StatusCode, attempts_expected: int
) -> None:
    attempts = 0

    async def fail(_request: StringValue, context: Any) -> StringValue:
        nonlocal attempts
        attempts += 1
        await context.abort(code, "no")
        raise AssertionError

    async with serving(issuer, {"Echo": unary(fail)}) as service:
        assert (await refusal(service.unary()(HELLO))).code() is code

    assert attempts == attempts_expected


async def test_an_outage_is_tried_again_by_one_layer_alone(issuer: Issuer, tokens: TokenDirectory) -> None:
    attempts: Counter[str] = Counter()

    def asking(name: str, channel: aio.Channel) -> Any:
        async def ask(request: StringValue, _context: object) -> StringValue:
            attempts[name] += 1
            answer: StringValue = await stub(channel)(request)
            return answer

        return unary(ask)

    async def away(_request: StringValue, _context: object) -> StringValue:
        attempts["back"] += 1
        raise DependencyUnavailable(dependency="database")

    async with (
        serving(issuer, {"Echo": unary(away)}) as back,
        peer_channel(back.address, tokens=tokens) as to_back,
        serving(issuer, {"Echo": asking("middle", to_back)}) as middle,
        peer_channel(middle.address, tokens=tokens) as to_middle,
        serving(issuer, {"Echo": asking("front", to_middle)}) as front,
    ):
        error = await refusal(front.unary()(HELLO))

    assert (error.code(), reason_of(error)) == (grpc.StatusCode.UNAVAILABLE, "DEPENDENCY_UNAVAILABLE")
    assert attempts == {"front": 1, "middle": 1, "back": ATTEMPTS_MAX}


async def test_no_call_fails_that_begins_when_the_server_is_back_however_long_it_was_away(
    issuer: Issuer, tokens: TokenDirectory
) -> None:
    tried = asyncio.Semaphore(0)

    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        tried.release()

    nobody = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    address = f"127.0.0.1:{nobody.sockets[0].getsockname()[1]}"
    async with peer_channel(address, tokens=tokens) as channel:
        async with nobody:
            channel.get_state(try_to_connect=True)
            for _ in range(8):  # from then on the waits grow no more
                await tried.acquire()
        async with serving(issuer, {"Echo": unary(echo)}, address=address):
            with call_context.acting_for("main"):
                assert await stub(channel)(HELLO) == HELLO


def test_a_calls_retries_outlast_the_wait_for_the_next_connection() -> None:
    waits = [min(RETRY_WAIT_S * RETRY_WAIT_GROWTH**n, RETRY_WAIT_MAX_S) for n in range(ATTEMPTS_MAX - 1)]

    assert sum(waits) * (1 - JITTER) > RECONNECT_MAX_S * (1 + JITTER)


@pytest.mark.parametrize(
    ("outage", "attempts_expected"),
    [
        (DependencyUnavailable(dependency="database"), ATTEMPTS_MAX),
        (ShuttingDown(), ATTEMPTS_MAX),
        (PeerUnavailable(dependency="status"), 1),
    ],
)
async def test_what_was_tried_again_already_says_so(
    issuer: Issuer, outage: ServiceError, attempts_expected: int
) -> None:
    attempts = 0

    async def fail(_request: StringValue, _context: object) -> StringValue:
        nonlocal attempts
        attempts += 1
        raise outage

    async with serving(issuer, {"Echo": unary(fail)}) as service:
        assert reason_of(await refusal(service.unary()(HELLO))) == outage.reason

    assert attempts == attempts_expected


async def test_what_the_caller_cancels_is_not_tried_again(issuer: Issuer) -> None:
    attempts = 0
    started, ended = asyncio.Event(), asyncio.Event()

    async def hold(_request: StringValue, _context: object) -> StringValue:
        nonlocal attempts
        attempts += 1
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    async with serving(issuer, {"Echo": unary(hold), "Other": unary(echo)}) as service:
        call = service.unary()(HELLO)
        await started.wait()
        call.cancel()
        await ended.wait()
        await service.unary("Other")(HELLO)

    assert attempts == 1


async def test_a_stream_is_tried_again_only_before_its_first_response(issuer: Issuer) -> None:
    attempts = 0

    async def flaky(request: StringValue, context: Any) -> AsyncIterator[StringValue]:
        nonlocal attempts
        attempts += 1
        yield request
        await context.abort(grpc.StatusCode.UNAVAILABLE, "resume from 1")

    async with serving(issuer, {"Watch": watch(flaky)}) as service:
        assert (await refusal(service.watch()(HELLO))).details() == "resume from 1"

    assert attempts == 1


async def test_a_refusal_tells_its_reason_and_a_failure_from_elsewhere_has_none(issuer: Issuer) -> None:
    async def refuse(_request: StringValue, _context: object) -> StringValue:
        raise Gone

    async with serving(issuer, {"Echo": unary(refuse)}) as service:
        assert reason_of(await refusal(service.unary()(HELLO))) == "GONE"
        assert reason_of(await refusal(service.unary("Nothing")(HELLO))) is None


def test_servers_and_channels_are_made_in_one_place() -> None:
    makers = re.compile(r"\b(aio\.server|insecure_channel|secure_channel|grpc\.server)\(")
    found = {
        str(path.relative_to(ROOT))
        for part in ("services", "batzen", "local", "sandbox")
        for path in (ROOT / part).rglob("*.py")
        # Generated code mentions channels in its experimental part, which nobody uses.
        if not path.name.endswith("_pb2_grpc.py") and makers.search(path.read_text(encoding="utf-8"))
    }

    assert found == {
        "services/runtime/rpc/server.py",
        "services/runtime/rpc/health_port.py",  # health of a process that serves no gRPC
        "batzen/_channel.py",
        "services/runtime/process/probe.py",  # asks its own container's health once, and ends
        "local/booking_check.py",  # no process of ours: the platform of `make up`
    }
