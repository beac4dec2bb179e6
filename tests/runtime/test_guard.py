"""What stands around every handler: log line, errors, deadline, identity, correlation, the end of streams."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from google.rpc import error_details_pb2
from grpc import aio
from grpc_status import rpc_status

from batzen._channel import streaming
from local.issuer import Issuer
from services.errors import FieldInvalid, InvalidRequest, RequestInProgress
from services.runtime.rpc import call_context, call_log
from services.runtime.rpc.error_status import refusal_of
from services.runtime.rpc.identity import LEEWAY
from services.runtime.rpc.limits import Limits
from services.shared.refusals import to_json
from tests.eventually import WITHIN_S
from tests.logged import said_by
from tests.refusals import details_of, reason_of
from tests.runtime.echo import NOW, bearer, collect, echo, refusal, serving, talk, unary, watch

HELLO = StringValue(value="hello")


def call_lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [record.__dict__["fields"] for record in caplog.records if record.name == "batzen.calls"]


async def generated(request: StringValue, _context: Any) -> AsyncIterator[StringValue]:
    yield request
    yield request


async def written(request: StringValue, context: Any) -> None:
    await context.write(request)
    await context.write(request)


async def repeated(requests: AsyncIterator[StringValue], _context: Any) -> AsyncIterator[StringValue]:
    async for request in requests:
        yield request


async def joined(requests: AsyncIterator[StringValue], _context: Any) -> StringValue:
    return StringValue(value="".join([request.value async for request in requests]))


async def test_every_kind_of_handler_answers(issuer: Issuer) -> None:
    methods = {
        "Echo": unary(echo),
        "Watch": watch(generated),
        "Written": watch(written),
        "Talk": talk(repeated),
        "Collect": collect(joined),
    }
    async with serving(issuer, methods) as service:
        assert await service.unary()(HELLO) == HELLO
        for name in ("Watch", "Written"):
            async with streaming(service.watch(name)(HELLO)) as responses:
                assert [response.value async for response in responses] == ["hello", "hello"]
        async with streaming(service.talk()([HELLO, HELLO])) as responses:
            assert [response.value async for response in responses] == ["hello", "hello"]
        assert (await service.collect()([HELLO, HELLO])).value == "hellohello"


async def test_an_expected_failure_travels_with_reason_field_metadata_and_delay(issuer: Issuer) -> None:
    async def refuse(request: StringValue, _context: object) -> StringValue:
        if request.value == "field":
            raise FieldInvalid(field="lines[2].quantity", detail="must be above 0", given=-1)
        raise RequestInProgress

    async with serving(issuer, {"Echo": unary(refuse)}) as service:
        error = await refusal(service.unary()(StringValue(value="field")))
        delayed = await refusal(service.unary()(HELLO))

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == "`lines[2].quantity`: must be above 0"
    info = details_of(error)
    assert (info.reason, info.domain, info.metadata) == ("FIELD_INVALID", "batzen", {"given": "-1"})
    status = rpc_status.from_call(error)
    bad_request = error_details_pb2.BadRequest()
    assert status is not None
    assert status.details[1].Unpack(bad_request)
    violation = bad_request.field_violations[0]
    assert (violation.field, violation.description) == ("lines[2].quantity", "must be above 0")
    first = FieldInvalid(field="lines[2].quantity", detail="must be above 0", given=-1)
    assert to_json(refusal_of(error)) == to_json(first)  # as a service that calls this one passes it on
    status = rpc_status.from_call(delayed)
    retry = error_details_pb2.RetryInfo()
    assert status is not None
    assert status.details[1].Unpack(retry)
    assert retry.retry_delay.ToTimedelta() == timedelta(milliseconds=200)


@pytest.mark.parametrize("kind", ["Echo", "Watch", "Written", "Talk", "Collect"])
async def test_a_bug_is_opaque_to_the_caller_and_logged_once(
    issuer: Issuer, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    async def fail(_request: object, _context: object) -> StringValue:
        raise RuntimeError("password=hunter2")

    async def fail_generating(_request: object, _context: object) -> AsyncIterator[StringValue]:
        raise RuntimeError("password=hunter2")
        yield HELLO

    async def fail_talking(requests: AsyncIterator[StringValue], _context: object) -> AsyncIterator[StringValue]:
        async for _ in requests:  # or grpc.aio's client may call it an error of its own that it cannot write
            pass
        raise RuntimeError("password=hunter2")
        yield HELLO

    methods = {
        "Echo": unary(fail),
        "Watch": watch(fail_generating),
        "Written": watch(fail),
        "Talk": talk(fail_talking),
        "Collect": collect(fail),
    }
    async with serving(issuer, methods) as service:
        start = {"Echo": service.unary, "Talk": service.talk, "Collect": service.collect}.get(kind, service.watch)(kind)
        error = await refusal(start([HELLO] if kind in ("Talk", "Collect") else HELLO))

    assert error.code() is grpc.StatusCode.INTERNAL
    assert error.details() == "internal error"
    tracebacks = [record for record in said_by(call_log, caplog) if record.exc_info]
    assert len(tracebacks) == 1
    assert call_lines(caplog)[0]["code"] == "INTERNAL"


async def test_a_wrong_response_is_a_bug_and_nothing_of_it_leaks(issuer: Issuer) -> None:
    async def wrong(_request: StringValue, _context: object) -> None:
        return None

    async with serving(issuer, {"Echo": unary(wrong)}) as service:
        error = await refusal(service.unary()(HELLO))

    assert (error.code(), error.details()) == (grpc.StatusCode.INTERNAL, "internal error")


async def test_a_branch_of_the_error_tree_is_a_bug(issuer: Issuer) -> None:
    async def raise_branch(_request: StringValue, _context: object) -> StringValue:
        raise InvalidRequest

    async with serving(issuer, {"Echo": unary(raise_branch)}) as service:
        assert (await refusal(service.unary()(HELLO))).code() is grpc.StatusCode.INTERNAL


async def test_bytes_that_are_no_message_are_the_callers_mistake(issuer: Issuer) -> None:
    async with serving(issuer, {"Echo": unary(echo), "Collect": collect(joined)}) as service:
        garbage = service.channel.unary_unary("/batzen.test.v1.EchoService/Echo")(b"\xff\xff")
        streamed = service.channel.stream_unary("/batzen.test.v1.EchoService/Collect")([b"\xff\xff"])
        assert (await refusal(garbage)).code() is grpc.StatusCode.INVALID_ARGUMENT
        assert (await refusal(streamed)).code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_peers_failure_is_passed_on_only_where_a_retry_helps(issuer: Issuer) -> None:
    peer_code = grpc.StatusCode.OK

    async def ask_peer(_request: StringValue, _context: object) -> StringValue:
        raise aio.AioRpcError(peer_code, aio.Metadata(), aio.Metadata(), details="of the peer")

    answers = {}
    async with serving(issuer, {"Echo": unary(ask_peer)}) as service:
        bare = service.channel.unary_unary(  # each attempt counts here, so no retries
            "/batzen.test.v1.EchoService/Echo", StringValue.SerializeToString, StringValue.FromString
        )
        for peer_code in (
            grpc.StatusCode.UNAVAILABLE,
            grpc.StatusCode.CANCELLED,
            grpc.StatusCode.DEADLINE_EXCEEDED,
            grpc.StatusCode.PERMISSION_DENIED,
        ):
            error = await refusal(bare(HELLO))
            answers[peer_code.name] = (error.code().name, reason_of(error))

    assert answers == {
        "UNAVAILABLE": ("UNAVAILABLE", "DEPENDENCY_UNAVAILABLE"),
        "CANCELLED": ("UNAVAILABLE", "DEPENDENCY_UNAVAILABLE"),
        "DEADLINE_EXCEEDED": ("DEADLINE_EXCEEDED", None),
        "PERMISSION_DENIED": ("INTERNAL", None),
    }


async def test_a_timeout_inside_is_an_unknown_outcome(issuer: Issuer) -> None:
    async def slow(_request: StringValue, _context: object) -> StringValue:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()
        raise AssertionError

    async with serving(issuer, {"Echo": unary(slow)}) as service:
        error = await refusal(service.unary()(HELLO))

    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_handlers_own_abort_is_left_as_it_is(issuer: Issuer, caplog: pytest.LogCaptureFixture) -> None:
    async def abort(_request: StringValue, context: Any) -> StringValue:
        await context.abort(grpc.StatusCode.NOT_FOUND, "gone")
        raise AssertionError

    caplog.set_level(logging.INFO)
    async with serving(issuer, {"Echo": unary(abort)}) as service:
        error = await refusal(service.unary()(HELLO))

    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "gone")
    assert [line["code"] for line in call_lines(caplog)] == ["NOT_FOUND"]


async def test_a_method_not_written_yet_is_unimplemented_but_guarded(issuer: Issuer) -> None:
    def inherited(_request: StringValue, _context: Any) -> StringValue:
        raise AssertionError("never called")

    methods = {"Echo": unary(inherited), "Watch": watch(inherited), "Talk": talk(inherited)}
    async with serving(issuer, methods) as service:
        assert (await refusal(service.unary()(HELLO))).code() is grpc.StatusCode.UNIMPLEMENTED
        assert (await refusal(service.watch()(HELLO))).code() is grpc.StatusCode.UNIMPLEMENTED
        assert (await refusal(service.talk()([HELLO]))).code() is grpc.StatusCode.UNIMPLEMENTED
    async with serving(issuer, methods, token="") as service:
        assert (await refusal(service.unary()(HELLO))).code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_unary_call_needs_a_deadline_that_is_not_too_long(issuer: Issuer) -> None:
    methods = {"Echo": unary(echo), "Watch": watch(generated)}
    async with serving(issuer, methods, limits=Limits(deadline_max_s=WITHIN_S)) as service:
        bare = aio.insecure_channel(service.address)
        token = bearer(issuer.mint("payer_1", roles={"payer"}))
        without = bare.unary_unary("/batzen.test.v1.EchoService/Echo")(b"", metadata=token)
        assert reason_of(await refusal(without)) == "DEADLINE_MISSING"
        assert reason_of(await refusal(service.unary()(HELLO, timeout=2 * WITHIN_S))) == "DEADLINE_TOO_LONG"
        assert await service.unary()(HELLO, timeout=WITHIN_S) == HELLO
        async with streaming(service.watch()(HELLO)) as responses:
            assert len([response async for response in responses]) == 2
        await bare.close()


async def test_the_handler_knows_its_caller_correlation_and_time(issuer: Issuer) -> None:
    seen: list[Any] = []

    async def look(request: StringValue, _context: object) -> StringValue:
        seen.append(
            (
                call_context.current_caller(),
                call_context.current_tenant(),
                call_context.correlation_id(),
                call_context.time_remaining(),
            )
        )
        return request

    async with serving(issuer, {"Echo": unary(look)}) as service:
        call = service.unary()(HELLO, timeout=WITHIN_S, metadata=(("x-correlation-id", "order-7"),))
        await call
        trailing = dict(await call.trailing_metadata())

    caller, tenant_id, correlation, remaining_s = seen[0]
    assert (caller.subject, caller.tenant_id, caller.roles) == ("payer_1", "main", {"payer"})
    assert (tenant_id, correlation) == ("main", "order-7")
    assert 0 < remaining_s <= WITHIN_S * 1.01  # gRPC rounds up to three digits on the wire
    assert trailing["x-correlation-id"] == "order-7"
    with pytest.raises(LookupError):
        call_context.current_caller()


@pytest.mark.parametrize("given", [None, "has blank", "x" * 65, "a\u00fc"])
async def test_a_correlation_id_is_made_when_there_is_no_sane_one(issuer: Issuer, given: str | None) -> None:
    async with serving(issuer, {"Echo": unary(echo), "Watch": watch(generated)}) as service:
        metadata = () if given is None or not given.isascii() else (("x-correlation-id", given),)
        call = service.unary()(HELLO, metadata=metadata)
        await call
        stream = service.watch()(HELLO, metadata=metadata)
        initial = dict(await stream.initial_metadata())
        stream.cancel()

    for made in (dict(await call.trailing_metadata())["x-correlation-id"], initial["x-correlation-id"]):
        assert made != given
        assert len(made) == 32


async def test_one_line_per_call_says_who_what_and_how_it_ended(
    issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    async def refuse(request: StringValue, _context: object) -> StringValue:
        if request.value:
            raise FieldInvalid(field="value", detail="must be empty")
        return request

    caplog.set_level(logging.INFO)
    async with serving(issuer, {"Echo": unary(refuse)}) as service:
        await service.unary()(StringValue())
        await refusal(service.unary()(StringValue(value="secret-of-the-payer")))

    good, bad = call_lines(caplog)
    assert good["code"] == "OK"
    assert bad["code"] == "INVALID_ARGUMENT"
    assert (bad["reason"], bad["field"]) == ("FIELD_INVALID", "value")
    assert bad["method"] == "/batzen.test.v1.EchoService/Echo"
    assert (bad["subject"], bad["tenant"], bad["roles"]) == ("payer_1", "main", ["payer"])
    assert bad["peer"].startswith("ipv4:127.0.0.1:")
    assert isinstance(bad["duration_ms"], float)
    assert "secret-of-the-payer" not in caplog.text
    assert "eyJ" not in caplog.text


async def test_a_call_that_runs_out_of_time_is_logged_as_such(issuer: Issuer, caplog: pytest.LogCaptureFixture) -> None:
    cancelled = asyncio.Event()

    async def slow(_request: StringValue, _context: object) -> StringValue:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    async with serving(issuer, {"Echo": unary(slow)}) as service:
        error = await refusal(service.unary()(HELLO, timeout=0.1))
        await cancelled.wait()

    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert [line["code"] for line in call_lines(caplog)] == ["DEADLINE_EXCEEDED"]


async def test_a_stream_ends_when_its_token_does(issuer: Issuer) -> None:
    async def for_ever(request: StringValue, _context: object) -> AsyncIterator[StringValue]:
        yield request
        await asyncio.Event().wait()

    token = issuer.mint("payer_1", roles={"payer"}, life=timedelta(seconds=60))
    soon = NOW + timedelta(seconds=60) + LEEWAY - timedelta(milliseconds=100)
    async with serving(issuer, {"Watch": watch(for_ever)}, token=token, now=lambda: soon) as service:
        error = await refusal(service.watch()(HELLO))

    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert reason_of(error) == "UNAUTHENTICATED"
    assert "expired" in str(error.details())


async def test_a_stream_whose_reader_stopped_reading_still_ends_with_its_token(issuer: Issuer) -> None:
    ended = asyncio.Event()

    async def flood(_request: StringValue, _context: object) -> AsyncIterator[StringValue]:
        task = asyncio.current_task()
        try:
            while True:
                yield StringValue(value="x" * 60_000)
        finally:
            assert asyncio.current_task() is task
            ended.set()

    token = issuer.mint("payer_1", roles={"payer"}, life=timedelta(seconds=60))
    soon = NOW + timedelta(seconds=60) + LEEWAY - timedelta(milliseconds=100)
    async with serving(issuer, {"Watch": watch(flood)}, token=token, now=lambda: soon) as service:
        call = service.watch()(HELLO)
        await call.read()
        await asyncio.wait_for(ended.wait(), WITHIN_S)
        call.cancel()


async def test_a_generator_is_closed_in_its_own_task_when_the_reader_leaves(issuer: Issuer) -> None:
    closed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def flood(_request: StringValue, _context: object) -> AsyncIterator[StringValue]:
        task = asyncio.current_task()
        try:
            while True:
                yield StringValue(value="x" * 60_000)
        finally:
            closed.set_result(asyncio.current_task() is task)

    async with serving(issuer, {"Watch": watch(flood)}) as service:
        async with streaming(service.watch()(HELLO)) as responses:
            async for _ in responses:
                break
        assert await asyncio.wait_for(closed, WITHIN_S)


async def test_a_caller_has_only_so_many_streams(issuer: Issuer) -> None:
    async def for_ever(request: StringValue, _context: object) -> AsyncIterator[StringValue]:
        yield request
        await asyncio.Event().wait()

    limits = Limits(streams_per_caller_max=2)
    async with serving(issuer, {"Watch": watch(for_ever)}, limits=limits) as service:
        first, second = service.watch()(HELLO), service.watch()(HELLO)
        await asyncio.gather(first.read(), second.read())
        error = await refusal(service.watch()(HELLO))
        other = service.watch()(HELLO, metadata=bearer(issuer.mint("payer_2", roles={"payer"})))
        assert await other.read() == HELLO
        first.cancel()
        second.cancel()
        other.cancel()

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert reason_of(error) == "TOO_MANY_STREAMS"
