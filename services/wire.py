"""Messages of batzen.type.v1 from and to the values that services share: the one converter, for every service."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from batzen.gateway.v1 import observation_pb2
from batzen.type.v1 import diagnosis_pb2, money_pb2, payment_pb2
from services.shared.diagnosis import Check, Disagreement, Figure, Keeper, Saying, Side
from services.shared.payment import Amounts, Attention, Method, P, Part, PaymentError, as_one

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

PartMessage = (
    payment_pb2.PaymentSnapshot.Amounts
    | payment_pb2.PaymentError
    | payment_pb2.PaymentSnapshot.Attention
    | payment_pb2.PaymentSnapshot.Method
)
Facts = payment_pb2.PaymentSnapshot | observation_pb2.PaymentObservation
"""What says all parts of a payment, each in a field of the same name."""


def fill(message: PartMessage, part: Part | None) -> None:
    """Write a part into the field of a message where it lies, which spares a copy; nothing for None."""
    if part is None:
        return
    message.SetInParent()
    for name in part.__slots__:
        if value := getattr(part, name):
            setattr(message, name, value)


def read(kind: type[P], message: PartMessage) -> P:
    """Return the part that a message says; its fields have the names of the message's."""
    return kind(**{name: getattr(message, name) for name in kind.__slots__})


def amounts(facts: Facts) -> Amounts:
    """Return the `amounts` of what is known of a payment; all zero where they are not set."""
    return read(Amounts, facts.amounts)


def last_error(facts: Facts) -> PaymentError | None:
    """Return the `last_error` of what is known of a payment, None where it is not set."""
    return read(PaymentError, facts.last_error) if facts.HasField("last_error") else None


def attentions(facts: Facts) -> tuple[Attention, ...]:
    """Return the `attentions` of what is known of a payment; the one `attention` of a writer that knows of no more."""
    if not facts.attentions and facts.HasField("attention"):
        return (read(Attention, facts.attention),)
    return tuple(read(Attention, one) for one in facts.attentions)


def fill_attentions(message: Facts, attentions: Sequence[Attention]) -> None:
    """Write why a payment needs an operator, also as the one `attention` of readers that know of no more."""
    for one in attentions:
        fill(message.attentions.add(), one)
    fill(message.attention, as_one(attentions))


def method(facts: Facts) -> Method | None:
    """Return the `method` of what is known of a payment, None where it is not set."""
    return read(Method, facts.method) if facts.HasField("method") else None


def money(amount_minor: int, currency_code: str) -> money_pb2.Money:
    """Return the message of an amount."""
    return money_pb2.Money(amount_minor=amount_minor, currency_code=currency_code)


def timestamp(instant: datetime) -> Timestamp:
    """Return the message of an instant."""
    message = Timestamp()
    fill_instant(message, instant)
    return message


def fill_instant(message: Timestamp, instant: datetime) -> None:
    """Write an instant into the field of a message where it lies."""
    since = instant - _EPOCH
    message.seconds = since.days * 86_400 + since.seconds
    message.nanos = since.microseconds * 1_000


def instant(message: Message, name: str) -> datetime | None:
    """Return the instant of a field, None where it is not set."""
    if not message.HasField(name):
        return None
    stored: Timestamp = getattr(message, name)
    return stored.ToDatetime(UTC)


def fill_optional_instant(message: Message, name: str, value: datetime | None) -> None:
    """Write an instant into a field of a message; nothing for None."""
    if value is not None:
        fill_instant(getattr(message, name), value)


def side(one: Side) -> diagnosis_pb2.Side:
    """Return the message of what a keeper says."""
    return diagnosis_pb2.Side(keeper=f"KEEPER_{one.keeper}", problem=one.problem, figures=map(_figure, one.figures))


def _figure(one: Figure) -> diagnosis_pb2.Figure:
    if one.currency_code:
        return diagnosis_pb2.Figure(name=one.name, amount=money(one.amount_minor, one.currency_code))
    return diagnosis_pb2.Figure(name=one.name, text=one.text)


def disagreement(one: Disagreement) -> diagnosis_pb2.Disagreement:
    """Return the message of a disagreement."""
    return diagnosis_pb2.Disagreement(
        check=one.check.name,
        about=one.about,
        meaning=one.check.meaning,
        sayings=[
            diagnosis_pb2.Disagreement.Saying(keeper=f"KEEPER_{each.keeper}", text=each.text) for each in one.sayings
        ],
        remedy=one.check.remedy,
        waits_for=one.waits_for,
    )


def side_in(message: diagnosis_pb2.Side) -> Side:
    """Read what a keeper says."""
    return Side(
        keeper=_keeper(message.keeper), problem=message.problem, figures=tuple(map(_figure_in, message.figures))
    )


def _figure_in(message: diagnosis_pb2.Figure) -> Figure:
    if message.WhichOneof("value") == "amount":
        amount = message.amount
        return Figure(name=message.name, amount_minor=amount.amount_minor, currency_code=amount.currency_code)
    return Figure(name=message.name, text=message.text)


def disagreement_in(message: diagnosis_pb2.Disagreement) -> Disagreement:
    """Read a disagreement."""
    return Disagreement(
        check=Check(name=message.check, meaning=message.meaning, remedy=message.remedy),
        sayings=tuple(Saying(_keeper(one.keeper), one.text) for one in message.sayings),
        about=message.about,
        waits_for=message.waits_for,
    )


def _keeper(number: int) -> Keeper:
    return Keeper(diagnosis_pb2.Keeper.Name(number).removeprefix("KEEPER_"))
