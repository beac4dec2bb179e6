"""Notifications, preferences and their policies as messages and as values; what is wrong is refused with its field."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Protocol, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from batzen.orchestrator.v1 import notifications_pb2 as pb
from services.errors import FieldInvalid, FieldMissing, PermissionDenied
from services.orchestrator.domain.errors import NotificationMandatory, UnsubscribeTokenInvalid
from services.orchestrator.facts.domain import FactKind
from services.orchestrator.mail.unsubscribe_tokens import Declined, UnsubscribeTokens
from services.orchestrator.notifications.domain import (
    OPERATORS,
    ChannelSwitch,
    NotificationPolicy,
    OptOut,
    PolicyRecord,
    Preference,
    Recipient,
)
from services.orchestrator.notifications.kinds import TELLINGS, Channel, RecipientKind, Telling, telling
from services.orchestrator.notifications.store import Notification
from services.orchestrator.wire.requests import WHY_CHARACTERS_MAX
from services.runtime.rpc import call_context
from services.runtime.rpc.identity import OPERATOR, OPERATOR_READONLY, PAYER, SELLER, SERVICE
from services.shared import fields
from services.shared.vat_ids import read_vat_id
from services.wire import timestamp

PREFERENCES_MAX: Final = 64
ADDRESS_LINES_MAX: Final = 6
"""Of whoever writes receipts."""
ADDRESSES_MAX: Final = 10
SENDER_CHARACTERS_MAX: Final = 100
NUMBER_END: Final = 2**63
NUMBER_DIGITS_MAX: Final = 19
"""Of a number below that; Python reads none of thousands."""
PAYMENT_ID: Final = "{payment_id}"
TOKEN: Final = "{token}"  # noqa: S105 where one goes

_RECIPIENTS: Final = {pb.NotificationRecipient.Value(f"NOTIFICATION_RECIPIENT_{kind}"): kind for kind in RecipientKind}
_CHANNELS: Final = {pb.NotificationChannel.Value(f"NOTIFICATION_CHANNEL_{channel}"): channel for channel in Channel}
_ROLES: Final = {PAYER: RecipientKind.PAYER, SELLER: RecipientKind.SELLER}

T = TypeVar("T")


class _OfRecipient(Protocol):
    """What every request about a recipient's notifications has."""

    recipient_id: str
    recipient: pb.NotificationRecipient


def recipient_of(request: _OfRecipient, *, is_read_only: bool) -> Recipient:
    """Return whose notifications a request is about: a payer's and a seller's are their own, operators' all theirs."""
    caller, own_as = call_context.current_caller(), call_context.current_access().own_as
    asked = _known(_RECIPIENTS, request.recipient, field="recipient") if request.recipient else None
    if own_as:
        return Recipient(_own_kind(asked, [_ROLES[role] for role in sorted(own_as)]), caller.subject)
    if SERVICE not in caller.roles and caller.roles & {OPERATOR, OPERATOR_READONLY}:
        asked = asked or RecipientKind.OPERATOR
        if asked is not RecipientKind.OPERATOR and not is_read_only:
            raise PermissionDenied
    if asked is None:
        raise FieldMissing(field="recipient")
    if asked is not RecipientKind.OPERATOR:
        return Recipient(asked, fields.identifier(request.recipient_id, field="recipient_id"))
    if request.recipient_id:
        raise FieldInvalid(field="recipient_id", detail="must be empty: operators are told together")
    return Recipient(asked, OPERATORS)


def number_of(notification_id: str, *, field: str) -> int:
    """Return the number that an id says."""
    if not notification_id:
        raise FieldMissing(field=field)
    is_number = len(notification_id) <= NUMBER_DIGITS_MAX and notification_id.isascii() and notification_id.isdecimal()
    if not is_number or int(notification_id) >= NUMBER_END:
        raise FieldInvalid(field=field, detail="must be the id of a notification, a whole number")
    return int(notification_id)


def notification_to_proto(one: Notification) -> pb.Notification:
    """Return what a recipient was told."""
    # A kind of a later release has no line here.
    told = telling(FactKind(one.kind), one.recipient.kind) if one.kind in FactKind.__members__ else None
    message = pb.Notification(
        notification_id=str(one.number),
        category=told.category if told is not None else "",
        priority=f"NOTIFICATION_PRIORITY_{told.priority}" if told is not None else None,
        recipient_id=one.recipient.id,
        recipient=f"NOTIFICATION_RECIPIENT_{one.recipient.kind}",
        payment_id=one.payment_id,
        kind=one.kind,
        values=one.values,
        create_time=timestamp(one.occur_time),
    )
    if one.read_time is not None:
        message.read_time.CopyFrom(timestamp(one.read_time))
    return message


def opt_outs_of(
    request: pb.SetNotificationPreferencesRequest, recipient: Recipient
) -> tuple[list[OptOut], list[OptOut]]:
    """Return what a recipient opts out of, and what they want to be told again."""
    if not request.preferences:
        raise FieldMissing(field="preferences")
    if len(request.preferences) > PREFERENCES_MAX:
        raise FieldInvalid(field="preferences", detail=f"must be at most {PREFERENCES_MAX}")
    out: list[OptOut] = []
    back: list[OptOut] = []
    for place, one in enumerate(request.preferences):
        field = f"preferences[{place}]"
        told = _telling(one.kind, recipient.kind, field=f"{field}.kind")
        opt_out = OptOut(recipient, told.kind, _known(_CHANNELS, one.channel, field=f"{field}.channel"))
        if opt_out in out or opt_out in back:
            raise FieldInvalid(field=field, detail="must have each kind and channel once")
        if one.opted_out and told.is_mandatory:
            raise NotificationMandatory(field=field)
        (out if one.opted_out else back).append(opt_out)
    return out, back


def declined(
    request: pb.UnsubscribeNotificationsRequest, tokens: UnsubscribeTokens | None, *, tenant_id: str
) -> Declined:
    """Return who wants no more mails of which kind, by the token of a link."""
    if not request.token:
        raise FieldMissing(field="token")
    said = None if tokens is None else tokens.read(request.token)
    if said is None or said.tenant_id != tenant_id:
        raise UnsubscribeTokenInvalid(field="token")
    told = telling(said.kind, said.recipient_kind)
    if told is None or told.is_mandatory:
        raise NotificationMandatory(field="token")
    return said


def preference_to_proto(one: Preference) -> pb.NotificationPreference:
    """Return whether a recipient is told a kind by a channel."""
    return pb.NotificationPreference(
        kind=one.kind,
        channel=f"NOTIFICATION_CHANNEL_{one.channel}",
        opted_out=one.is_opted_out,
        mandatory=one.is_mandatory,
    )


def put_policy(request: pb.PutNotificationPolicyRequest, *, now: datetime) -> PolicyRecord:
    """Return what an operator puts; refuse what is wrong."""
    if not request.HasField("policy"):
        raise FieldMissing(field="policy")
    if not request.reason:
        raise FieldMissing(field="reason")
    return PolicyRecord(
        policy=_policy(request.policy),
        actor_id=fields.identifier(request.actor_id, field="actor_id"),
        reason=fields.text(request.reason, field="reason", characters_max=WHY_CHARACTERS_MAX),
        create_time=now,
    )


def record_to_proto(record: PolicyRecord) -> pb.NotificationPolicyRecord:
    """Return a policy as it was put."""
    policy = record.policy
    return pb.NotificationPolicyRecord(
        policy=pb.NotificationPolicy(
            switches=[_switch(one.kind, one.recipient, one.channels) for one in policy.switches],
            operator_addresses=policy.operator_addresses,
            sender_name=policy.sender_name,
            payment_url=policy.payment_url,
            operator_url=policy.operator_url,
            locale=policy.locale,
            time_zone=policy.time_zone,
            unsubscribe_url=policy.unsubscribe_url,
            address=policy.address,
            vat_id=policy.vat_id,
        ),
        actor_id=record.actor_id,
        reason=record.reason,
        create_time=timestamp(record.create_time),
    )


def defaults() -> list[pb.NotificationSwitch]:
    """Return what is told to whom without any policy."""
    return [_switch(one.kind, one.recipient, sorted(one.channels)) for one in TELLINGS]


def _own_kind(asked: RecipientKind | None, kinds: Sequence[RecipientKind]) -> RecipientKind:
    if asked is not None and asked not in kinds:
        raise PermissionDenied
    if asked is None and len(kinds) > 1:
        raise FieldMissing(field="recipient")
    return asked or kinds[0]


def _policy(asked: pb.NotificationPolicy) -> NotificationPolicy:
    if len(asked.operator_addresses) > ADDRESSES_MAX:
        raise FieldInvalid(field="policy.operator_addresses", detail=f"must be at most {ADDRESSES_MAX}")
    return NotificationPolicy(
        switches=_switches(asked.switches),
        operator_addresses=tuple(
            fields.email(one, field=f"policy.operator_addresses[{place}]")
            for place, one in enumerate(asked.operator_addresses)
        ),
        sender_name=_line(asked.sender_name, field="policy.sender_name"),
        payment_url=_link(asked.payment_url, PAYMENT_ID, field="policy.payment_url"),
        operator_url=_link(asked.operator_url, PAYMENT_ID, field="policy.operator_url"),
        locale=fields.locale(asked.locale, field="policy.locale") if asked.locale else "",
        time_zone=_time_zone(asked.time_zone) if asked.time_zone else "",
        unsubscribe_url=_link(asked.unsubscribe_url, TOKEN, field="policy.unsubscribe_url"),
        address=_address(asked.address),
        vat_id=_vat_id(asked.vat_id),
    )


def _address(asked: Sequence[str]) -> tuple[str, ...]:
    if len(asked) > ADDRESS_LINES_MAX:
        raise FieldInvalid(field="policy.address", detail=f"must be at most {ADDRESS_LINES_MAX} lines")
    return tuple(_line(one, field=f"policy.address[{place}]") for place, one in enumerate(asked))


def _vat_id(asked: str) -> str:
    try:
        return read_vat_id(asked) if asked else ""
    except ValueError as error:
        raise FieldInvalid(field="policy.vat_id", detail=str(error)) from error


def _switches(asked: Sequence[pb.NotificationSwitch]) -> tuple[ChannelSwitch, ...]:
    found: dict[Telling, ChannelSwitch] = {}
    for place, one in enumerate(asked):
        field = f"policy.switches[{place}]"
        told = _telling(one.kind, _known(_RECIPIENTS, one.recipient, field=f"{field}.recipient"), field=f"{field}.kind")
        channels = tuple(_known(_CHANNELS, channel, field=f"{field}.channels") for channel in one.channels)
        if told in found or len(set(channels)) != len(channels):
            raise FieldInvalid(field=field, detail="must have each kind and recipient once, and each channel of it")
        found[told] = ChannelSwitch(kind=told.kind, recipient=told.recipient, channels=channels)
    return tuple(found.values())


def _line(value: str, *, field: str) -> str:
    """Return what may stand in a mail's header."""
    if not value.isprintable():
        raise FieldInvalid(field=field, detail="must have printable characters alone")
    return fields.text(value, field=field, characters_max=SENDER_CHARACTERS_MAX)


def _link(value: str, place: str, *, field: str) -> str:
    """Return a URL in which `place` stands for what differs."""
    if not value:
        return ""
    if value.count(place) != 1 or "{" in value.replace(place, ""):
        raise FieldInvalid(field=field, detail=f"must have {place} in it, once")
    fields.url(value.replace(place, "id"), field=field)
    return value


def _time_zone(value: str) -> str:
    problem = FieldInvalid(
        field="policy.time_zone", detail="must be a time zone of the IANA data, such as Europe/Zurich"
    )
    try:
        ZoneInfo(fields.identifier(value, field="policy.time_zone"))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise problem from None
    return value


def _telling(kind: str, recipient: RecipientKind, *, field: str) -> Telling:
    """Return how a kind is told to a recipient; refuse what is not told to them."""
    told = telling(FactKind(kind), recipient) if kind in FactKind.__members__ else None
    if told is None:
        raise FieldInvalid(field=field, detail="must be a recipient that this is told to")
    return told


def _known(values: dict[int, T], number: int, *, field: str) -> T:
    if number not in values:
        enum = pb.NotificationChannel if values is _CHANNELS else pb.NotificationRecipient
        raise FieldInvalid(field=field, detail=fields.one_of(enum.items(), values))
    return values[number]


def _switch(kind: FactKind, recipient: RecipientKind, channels: Sequence[Channel]) -> pb.NotificationSwitch:
    return pb.NotificationSwitch(
        kind=kind,
        recipient=f"NOTIFICATION_RECIPIENT_{recipient}",
        channels=[f"NOTIFICATION_CHANNEL_{one}" for one in channels],
    )
