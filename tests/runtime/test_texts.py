"""Every text of a request is looked through before its handler runs, and what is refused stands nowhere afterwards."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import StringValue

from batzen.orchestrator.v1 import orchestrator_pb2
from batzen.pricing.v1 import pricing_pb2
from batzen.status.v1 import status_pb2
from local.issuer import Issuer
from services.errors import CardNumberRefused, FieldInvalid
from services.runtime.rpc import call_context
from services.runtime.rpc.texts import GROUPS_MAX, TEXT_CHARACTERS_MAX, check_texts
from tests.refusals import reason_of
from tests.runtime.echo import collect, echo, refusal, serving, talk, unary, watch

CARD = "4242 4242 4242 4242"
DIGITS = "4242"

Start = orchestrator_pb2.StartPaymentRequest
Line = pricing_pb2.Line
Command = status_pb2.WatchManyRequest.Command

HELD = {
    "payer.name": Start(payer=orchestrator_pb2.Payer(name=CARD)),
    "booking_ids[1]": Start(booking_ids=["1", CARD]),
    "lines[1].tax_treatment_reason": Start(lines=[Line(line_id="1"), Line(tax_treatment_reason=CARD)]),
    "labels[note]": Start(labels={"note": CARD}),
    "labels[…]": Start(labels={CARD: "x"}),
    "commands[0].add.payment_id": status_pb2.WatchManyRequest(
        commands=[Command(add=status_pb2.WatchManyRequest.Add(payment_id=CARD))]
    ),
}


def check(message: Message) -> None:
    check_texts(message, message.SerializeToString())


@pytest.mark.parametrize(("field", "message"), HELD.items(), ids=HELD)
def test_a_card_number_is_refused_by_the_path_of_its_field(field: str, message: Message) -> None:
    with pytest.raises(CardNumberRefused) as refused:
        check(message)

    assert refused.value.field == field
    assert DIGITS not in str(refused.value)


def test_a_key_that_is_a_card_number_is_hidden_whatever_else_is_wrong() -> None:
    with pytest.raises(CardNumberRefused) as refused:
        check(Start(labels={CARD: "\0"}))

    assert refused.value.field == "labels[…]"


def test_a_card_number_in_a_field_that_is_not_known_here_is_refused() -> None:
    encoded = Start(request_id="1").SerializeToString() + b"\xfa\x07" + bytes([len(CARD)]) + CARD.encode()

    with pytest.raises(CardNumberRefused) as refused:
        check_texts(Start.FromString(encoded), encoded)

    assert refused.value.field == "127"


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("payer.name", Start(payer=orchestrator_pb2.Payer(name="a\0"))),
        ("labels[…]", Start(labels={"a\0": "x"})),
        ("labels[a]", Start(labels={"a": "\0"})),
    ],
)
def test_a_nul_is_refused_by_the_path_of_its_field(field: str, message: Message) -> None:
    with pytest.raises(FieldInvalid) as refused:
        check(message)

    assert refused.value.field == field


def test_a_request_without_either_passes() -> None:
    check(
        Start(request_id="d2c6c7b5-59d2-4f4e-8f6e-111111111111", client_reference="20261128090407", labels={"a": "b"})
    )
    check(status_pb2.WatchPaymentRequest(after_revision=0))


def test_more_digits_than_can_be_looked_through_at_once_are_refused() -> None:
    with pytest.raises(FieldInvalid) as refused:
        check(Start(booking_ids=["1 " * GROUPS_MAX, "1" * 12]))

    assert refused.value.field == "booking_ids[1]"


def test_a_text_that_is_longer_than_any_field_takes_is_not_looked_through() -> None:
    with pytest.raises(FieldInvalid) as refused:
        check(Start(booking_ids=["4 " * TEXT_CHARACTERS_MAX]))

    assert refused.value.field == "booking_ids[0]"


def test_texts_that_are_long_and_have_few_digits_pass_whatever_their_script() -> None:
    reasons = ["\N{OGHAM LETTER BEITH}" * 200, "Обратное начисление НДС, ст. 161 п. 2. " * 5, "逆向征收增值税" * 28]
    check(
        Start(lines=[Line(line_id=f"{place:064}", tax_treatment_reason=reasons[place % 3]) for place in range(1_000)])
    )


async def test_no_kind_of_handler_sees_a_card_number_and_no_line_of_the_log_has_it(
    issuer: Issuer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    seen = []

    async def see(request: StringValue, _context: object) -> StringValue:
        seen.append(request)
        return request

    async def see_all(requests: AsyncIterator[StringValue], _context: object) -> StringValue:
        seen.extend([request async for request in requests])
        return StringValue()

    async def stream(request: StringValue, _context: object) -> AsyncIterator[StringValue]:
        seen.append(request)
        yield request

    async def stream_all(requests: AsyncIterator[StringValue], _context: object) -> AsyncIterator[StringValue]:
        async for request in requests:
            seen.append(request)
            yield request

    methods = {"Echo": unary(see), "Watch": watch(stream), "Collect": collect(see_all), "Talk": talk(stream_all)}
    message = StringValue(value=CARD)
    async with serving(issuer, methods) as service:
        for call in (
            service.unary()(message),
            service.watch()(message),
            service.collect()([message]),
            service.talk()([message]),
        ):
            error: Any = await refusal(call)
            assert (error.code(), reason_of(error)) == (grpc.StatusCode.INVALID_ARGUMENT, "CARD_NUMBER_REFUSED")
            assert DIGITS not in f"{error.details()}{error.trailing_metadata()}"

    assert seen == []
    assert not [record for record in caplog.records if DIGITS in f"{record.getMessage()}{record.__dict__}"]


async def test_what_is_no_message_is_refused_with_a_reason_by_every_kind_of_handler(issuer: Issuer) -> None:
    async def take_all(requests: AsyncIterator[StringValue], _context: object) -> StringValue:
        return StringValue(value="".join([request.value async for request in requests]))

    async def stream_all(requests: AsyncIterator[StringValue], _context: object) -> AsyncIterator[StringValue]:
        async for request in requests:
            yield request

    async with serving(
        issuer, {"Echo": unary(echo), "Collect": collect(take_all), "Talk": talk(stream_all)}
    ) as service:
        path = "/batzen.test.v1.EchoService"
        for call in (
            service.channel.unary_unary(f"{path}/Echo")(b"\xff\xff"),
            service.channel.stream_unary(f"{path}/Collect")([b"\xff\xff"]),
            service.channel.stream_stream(f"{path}/Talk")([b"\xff\xff"]),
        ):
            error = await refusal(call)
            assert (error.code(), reason_of(error)) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_MALFORMED")


def test_a_correlation_id_that_passes_for_a_card_is_replaced() -> None:
    assert call_context.sane_correlation("4242-4242-4242-4242") != "4242-4242-4242-4242"
    assert call_context.sane_correlation("20261128090407") == "20261128090407"
