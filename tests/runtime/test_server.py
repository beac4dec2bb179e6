"""The server factory: a whole access table or no start, health, reflection, refusals before any handler runs."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.wrappers_pb2 import StringValue
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from local.issuer import Issuer
from services.runtime.rpc.access import Allow
from services.runtime.rpc.call_context import current_access
from services.runtime.rpc.health import FAILURES_TO_UNREADY, Health, probed
from services.runtime.rpc.identity import TokenVerifier
from services.runtime.rpc.jwks import KeySet
from services.runtime.rpc.reflection import ALPHA, V1
from services.runtime.rpc.server import running_server
from tests.eventually import WITHIN_S
from tests.runtime.echo import ANYBODY, NOW, SERVICE, Echo, echo, refusal, register, serving, unary

HELLO = StringValue(value="hello")
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def health_of(channel: aio.Channel, name: str) -> int:
    check = health_pb2_grpc.HealthStub(channel).Check
    return int((await check(health_pb2.HealthCheckRequest(service=name), timeout=WITHIN_S)).status)


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ({}, "without a rule: \\['/batzen.test.v1.EchoService/Echo'\\]"),
        (
            {f"/{SERVICE}/Echo": ANYBODY, f"/{SERVICE}/Ehco": ANYBODY},
            "without a method: \\['/batzen.test.v1.EchoService/Ehco'\\]",
        ),
    ],
)
async def test_a_server_with_an_incomplete_table_does_not_start(
    issuer: Issuer, table: dict[str, Allow], problem: str
) -> None:
    verifier = TokenVerifier(KeySet(str(issuer.jwks)), issuer="i", audience="a", now=lambda: NOW)
    with pytest.raises(ValueError, match=problem):
        async with running_server(
            lambda server: register({"Echo": unary(echo)}, server),
            address="127.0.0.1:0",
            access=table,
            verifier=verifier,
            draining=asyncio.Event(),
            now=lambda: NOW,
        ):
            pass


async def test_rules_of_other_services_do_not_matter(issuer: Issuer) -> None:
    access = {"Echo": ANYBODY}
    async with serving(issuer, {"Echo": unary(echo)}, access=access) as service:
        assert await service.unary()(HELLO) == HELLO


async def test_who_may_not_call_is_refused_before_the_handler_runs(issuer: Issuer) -> None:
    async def never(_request: StringValue, _context: object) -> StringValue:
        raise AssertionError("reached")

    access = {"Echo": Allow(roles=frozenset({"operator"}), subjects=frozenset({"orchestrator"}))}
    for token, code in (
        ("", grpc.StatusCode.UNAUTHENTICATED),
        ("rubbish", grpc.StatusCode.UNAUTHENTICATED),
        (issuer.mint("orchestrator", roles={"payer"}), grpc.StatusCode.PERMISSION_DENIED),
        (issuer.mint("gateway", roles={"service"}), grpc.StatusCode.PERMISSION_DENIED),
    ):
        async with serving(issuer, {"Echo": unary(never)}, access=access, token=token) as service:
            assert (await refusal(service.unary()(HELLO))).code() is code


async def test_the_handler_learns_how_far_its_caller_reaches(issuer: Issuer) -> None:
    async def look(_request: StringValue, _context: object) -> StringValue:
        access = current_access()
        return StringValue(value=f"{access.own_only} {','.join(access.own_as)}")

    access = {"Echo": Allow(roles=frozenset({"operator"}), own=frozenset({"payer"}))}
    answers = []
    for roles in ({"payer"}, {"operator"}, {"payer", "operator"}):
        token = issuer.mint("somebody", roles=roles)
        async with serving(issuer, {"Echo": unary(look)}, access=access, token=token) as service:
            answers.append((await service.unary()(HELLO)).value)

    assert answers == ["True payer", "False ", "False "]


async def test_an_unknown_method_is_unimplemented(issuer: Issuer) -> None:
    async with serving(issuer, {"Echo": unary(echo)}) as service:
        assert (await refusal(service.unary("Nothing")(HELLO))).code() is grpc.StatusCode.UNIMPLEMENTED


async def test_health_needs_no_identity_and_has_a_port_of_its_own(issuer: Issuer) -> None:
    async with (
        serving(issuer, {"Echo": unary(echo)}, token="", health_address="127.0.0.1:0") as service,
        aio.insecure_channel(f"127.0.0.1:{service.server.health_port}") as channel,
    ):
        for name in ("", "liveness", "startup", "readiness", SERVICE):
            assert await health_of(channel, name) == SERVING
            assert await health_of(service.channel, name) == SERVING
        with pytest.raises(aio.AioRpcError) as caught:
            await health_of(channel, "nonsense")
        business = channel.unary_unary(f"/{SERVICE}/Echo")
        with pytest.raises(aio.AioRpcError) as not_here:
            await business(b"", timeout=WITHIN_S)

    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert not_here.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_nothing_is_ready_before_the_probe_succeeds(issuer: Issuer) -> None:
    probing, usable = asyncio.Event(), asyncio.Event()

    async def probe() -> None:
        probing.set()
        await usable.wait()

    async with serving(issuer, {"Echo": unary(echo)}, probe=probe) as service:
        await probing.wait()
        assert await health_of(service.channel, "liveness") == SERVING
        for name in ("", "startup", "readiness", SERVICE):
            assert await health_of(service.channel, name) == NOT_SERVING
        watch = health_pb2_grpc.HealthStub(service.channel).Watch(health_pb2.HealthCheckRequest(service="readiness"))
        assert (await watch.read()).status == NOT_SERVING
        usable.set()
        assert (await watch.read()).status == SERVING
        watch.cancel()


async def test_readiness_falls_after_failures_in_a_row_and_rises_at_once() -> None:
    health = Health(["a.Service"])
    outcomes: asyncio.Queue[bool] = asyncio.Queue()
    seen: list[int] = []
    done = asyncio.Event()

    async def probe() -> None:
        seen.append((await health.Check(health_pb2.HealthCheckRequest(service="a.Service"), context=None)).status)
        if outcomes.empty():
            done.set()
        if not await outcomes.get():
            raise ConnectionError

    async with probed(health, probe, interval_s=0, timeout_s=30):
        for outcome in (True, False, False, True, *[False] * FAILURES_TO_UNREADY, True, True):
            outcomes.put_nowait(outcome)
        await done.wait()

    #              start    T        F        F        T        F        F        F            T        T
    assert seen == [NOT_SERVING, SERVING, SERVING, SERVING, SERVING, SERVING, SERVING, NOT_SERVING, SERVING, SERVING]


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_is_off_unless_asked_for(issuer: Issuer, version: str) -> None:
    """Under its name of today and its name of before; each tells of both, and what their messages are."""
    name = f"grpc.reflection.{version}.ServerReflection"

    async def answer_to(service: Echo, **request: str) -> reflection_pb2.ServerReflectionResponse:
        ask = service.channel.stream_stream(
            f"/{name}/ServerReflectionInfo",
            reflection_pb2.ServerReflectionRequest.SerializeToString,
            reflection_pb2.ServerReflectionResponse.FromString,
        )
        call = ask([reflection_pb2.ServerReflectionRequest(**request)])
        answer: reflection_pb2.ServerReflectionResponse = await call.read()
        return answer

    async def services_of(service: Echo) -> set[str]:
        answer = await answer_to(service, list_services="")
        return {entry.name for entry in answer.list_services_response.service}

    async with serving(issuer, {"Echo": unary(echo)}, token="") as service:
        with pytest.raises(aio.AioRpcError) as caught:
            await services_of(service)
    async with serving(issuer, {"Echo": unary(echo)}, token="", reflected=True) as service:
        assert {SERVICE, V1, ALPHA} <= await services_of(service)
        told = await answer_to(service, file_containing_symbol=name)
        [file] = map(FileDescriptorProto.FromString, told.file_descriptor_response.file_descriptor_proto)
        assert file.package == f"grpc.reflection.{version}"
        assert file.service[0].method[0].input_type == f".{file.package}.ServerReflectionRequest"

    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
