"""Refusals as callers see them, over a real channel."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue
from grpc import aio

from batzen import errors
from batzen._channel import make_channel
from batzen._translation import TranslatingChannel
from batzen.cli.refusing import tell
from local.issuer import Issuer
from services.errors import FailedPrecondition, FieldMissing, NotFound, RequestInProgress
from tests.eventually import WITHIN_S
from tests.runtime import echo


class PaymentNotFound(NotFound):
    """There is no such payment, or it is another's."""

    reason = "PAYMENT_NOT_FOUND"


class PaymentState(FailedPrecondition):
    """The payment's state does not allow this."""

    reason = "PAYMENT_STATE"


class NewerThanTheClient(FailedPrecondition):
    """Something that this client has never heard of."""

    reason = "NOT_IN_ANY_CONTRACT"


async def _refuse(request: StringValue, _: object) -> StringValue:
    match request.value:
        case "missing":
            raise PaymentNotFound
        case "state":
            raise PaymentState(state="CANCELED")
        case "field":
            raise FieldMissing(field="lines[2].quantity")
        case "later":
            raise RequestInProgress
        case "newer":
            raise NewerThanTheClient
        case _:
            raise RuntimeError("password=secret")


async def _refuse_stream(request: StringValue, _: object) -> AsyncIterator[StringValue]:
    yield request
    raise PaymentNotFound


async def _never_answer(request: StringValue, _: object) -> StringValue:
    await asyncio.Event().wait()
    return request


@pytest.fixture
async def channel(tmp_path: Path) -> AsyncIterator[aio.Channel]:
    issuer = Issuer(tmp_path / "issuer", now=lambda: echo.NOW)
    methods = {"Refuse": echo.unary(_refuse), "Watch": echo.watch(_refuse_stream), "Wait": echo.unary(_never_answer)}
    metadata = echo.bearer(issuer.mint("payer_1", roles={"payer"}))
    async with (
        echo.serving(issuer, methods) as served,
        TranslatingChannel(make_channel(served.address, timeout_s=WITHIN_S, metadata=lambda: metadata)) as translating,
    ):
        yield translating


async def _call(channel: aio.Channel, value: str) -> None:
    call = channel.unary_unary(f"/{echo.SERVICE}/Refuse", StringValue.SerializeToString, StringValue.FromString)
    await call(StringValue(value=value))


async def test_a_refusal_is_caught_by_its_reason_and_by_its_code(channel: aio.Channel) -> None:
    with pytest.raises(errors.by_reason["PAYMENT_NOT_FOUND"]) as by_reason:
        await _call(channel, "missing")
    with pytest.raises(errors.NotFound):
        await _call(channel, "missing")

    assert (by_reason.value.code, by_reason.value.reason) == (grpc.StatusCode.NOT_FOUND, "PAYMENT_NOT_FOUND")
    assert by_reason.value.message == PaymentNotFound.__doc__


async def test_a_refusal_brings_metadata_fields_and_when_to_try_again(channel: aio.Channel) -> None:
    with pytest.raises(errors.FailedPrecondition) as state:
        await _call(channel, "state")
    with pytest.raises(errors.InvalidArgument) as field:
        await _call(channel, "field")
    with pytest.raises(errors.Aborted) as later:
        await _call(channel, "later")

    assert dict(state.value.metadata) == {"state": "CANCELED"}
    [violation] = field.value.violations
    assert (violation.field, violation.description) == ("lines[2].quantity", "must be given")
    assert field.value.message == "`lines[2].quantity`: must be given"
    assert timedelta(milliseconds=200) == later.value.retry_after


async def test_the_command_line_names_the_field_and_what_it_has_to_be_once(
    channel: aio.Channel, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(errors.InvalidArgument) as field:
        await _call(channel, "field")

    tell(field.value, as_json=False)
    assert capsys.readouterr().err.count("`lines[2].quantity`: must be given") == 1
    tell(field.value, as_json=True)
    said = json.loads(capsys.readouterr().out)["error"]
    assert said["fields"] == [{"field": "lines[2].quantity", "description": "must be given"}]
    assert said["message"] == "`lines[2].quantity`: must be given"


async def test_a_failure_can_be_named_by_its_correlation_id(channel: aio.Channel) -> None:
    with pytest.raises(errors.Internal) as bug:
        await _call(channel, "bug")

    assert bug.value.correlation_id
    assert "secret" not in str(bug.value)


async def test_a_reason_newer_than_the_client_is_known_by_its_code(channel: aio.Channel) -> None:
    with pytest.raises(errors.FailedPrecondition) as newer:
        await _call(channel, "newer")

    assert newer.value.reason == "NOT_IN_ANY_CONTRACT"


async def test_a_stream_fails_as_a_call_does(channel: aio.Channel) -> None:
    watch = channel.unary_stream(f"/{echo.SERVICE}/Watch", StringValue.SerializeToString, StringValue.FromString)
    responses = aiter(watch(StringValue(value="first")))

    first = await anext(responses)
    with pytest.raises(errors.by_reason["PAYMENT_NOT_FOUND"]):
        await anext(responses)

    assert first.value == "first"


async def test_a_call_that_still_runs_when_the_channel_is_closed_is_cancelled(channel: aio.Channel) -> None:
    call = channel.unary_unary(f"/{echo.SERVICE}/Wait", StringValue.SerializeToString, StringValue.FromString)
    waiting = [asyncio.ensure_future(_answer_of(call(StringValue(value="closed")))) for _ in range(2)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]
    await channel.close()
    with pytest.raises(errors.Cancelled):
        await waiting[1]


async def _answer_of(call: Awaitable[StringValue]) -> StringValue:
    return await call


async def test_nobody_there_is_unavailable_without_a_reason() -> None:
    async with TranslatingChannel(make_channel("127.0.0.1:1", timeout_s=WITHIN_S, metadata=tuple)) as channel:
        with pytest.raises(errors.Unavailable) as unreachable:
            await _call(channel, "anything")

    assert (unreachable.value.reason, unreachable.value.correlation_id) == ("", None)


def test_every_reason_of_the_contracts_has_a_class() -> None:
    assert {"PAYMENT_STATE", "QUOTE_NOT_FOUND", "REVISION_AHEAD", "SELLER_NOT_FOUND"} <= set(errors.by_reason)
    assert all(issubclass(kind, errors.BatzenError) for kind in errors.by_reason.values())
