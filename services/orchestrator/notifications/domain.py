"""Whom a fact is told, by which way: the table of kinds, a tenant's policy, and what recipients opted out of. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from services.orchestrator.facts.domain import Fact, FactKind
from services.orchestrator.notifications.kinds import OF_KIND, TELLINGS, Channel, RecipientKind, Telling

MAILED_WITHIN: Final = timedelta(days=30)
"""What is heard of later than this is told in the app alone: a mail of it would puzzle more than it tells. That happens
where a tenant is followed for the first time, or history was missed and is read anew."""
OPERATORS: Final = ""
"""The id of the operators of a tenant, who are told together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelSwitch:
    """By which ways a tenant tells one kind to one kind of recipient, in place of what the table says."""

    kind: FactKind
    recipient: RecipientKind
    channels: tuple[Channel, ...] = ()
    """None: it is not told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotificationPolicy:
    """How a tenant tells. A field that is added has a default: it is stored as JSON."""

    switches: tuple[ChannelSwitch, ...] = ()
    operator_addresses: tuple[str, ...] = ()
    """Where operators get mail; none is sent to them without."""
    sender_name: str = ""
    """Of mails, before the address; empty: as the service's own setting has it."""
    payment_url: str = ""
    """Where a payer or a seller sees a payment, with `{payment_id}` in it; empty: mails have no link."""
    operator_url: str = ""
    """The same for operators."""
    locale: str = ""
    """Of recipients of whom none is known, and of operators; empty: English."""
    time_zone: str = ""
    """In which mails say dates and times; empty: UTC."""
    unsubscribe_url: str = ""
    """Where mails of a kind are declined, with `{token}` in it; empty: mails have no such link. People come there, and
    the POST of a mail program; `UnsubscribeNotifications` takes the token."""
    address: tuple[str, ...] = ()
    """Of whoever writes receipts, whose name is the sender's; a line each."""
    vat_id: str = ""
    """Of the same."""

    def channels(self, told: Telling) -> frozenset[Channel]:
        """Return by which ways something is told."""
        for switch in self.switches:
            if switch.kind is told.kind and switch.recipient is told.recipient:
                return frozenset(switch.channels)
        return told.channels


@dataclass(frozen=True, slots=True)
class Recipient:
    """One who is told."""

    kind: RecipientKind
    id: str
    """Of the payer or the seller; empty of operators."""

    @classmethod
    def of(cls, kind: str, recipient_id: str) -> Recipient:
        """Return the recipient that a row names."""
        return cls(RecipientKind(kind), recipient_id)


@dataclass(frozen=True, slots=True)
class OptOut:
    """That a recipient does not want to be told a kind by a channel."""

    recipient: Recipient
    kind: FactKind
    channel: Channel


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRecord:
    """A policy as an operator put it."""

    policy: NotificationPolicy
    actor_id: str
    reason: str
    create_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """Whether a recipient is told one kind by one channel."""

    kind: FactKind
    channel: Channel
    is_opted_out: bool
    is_mandatory: bool


def preferences(recipient: Recipient, policy: NotificationPolicy, opt_outs: Collection[OptOut]) -> list[Preference]:
    """Return what a recipient may be told, by which ways, and what of that they opted out of."""
    return [
        Preference(
            kind=telling.kind,
            channel=channel,
            is_opted_out=not telling.is_mandatory and OptOut(recipient, telling.kind, channel) in opt_outs,
            is_mandatory=telling.is_mandatory,
        )
        for telling in TELLINGS
        if telling.recipient is recipient.kind
        for channel in Channel
        if channel in policy.channels(telling)
    ]


@dataclass(frozen=True, slots=True)
class Told:
    """That a fact is told to one recipient by some ways."""

    fact: Fact
    telling: Telling
    recipient: Recipient
    channels: frozenset[Channel]


def concerned(facts: Sequence[Fact]) -> Iterator[tuple[Fact, Telling, Recipient]]:
    """Yield to whom each fact is told by the table, each once."""
    for fact in facts:
        for telling in OF_KIND[fact.kind]:
            for recipient_id in _recipient_ids(fact, telling.recipient):
                yield fact, telling, Recipient(telling.recipient, recipient_id)


def told(
    facts: Sequence[Fact], policy: NotificationPolicy, opt_outs: Collection[OptOut], *, now: datetime
) -> list[Told]:
    """Return whom facts are told, and how; those whom nothing is told are left out."""
    found = []
    for fact, telling, recipient in concerned(facts):
        channels = frozenset(
            channel
            for channel in policy.channels(telling)
            if telling.is_mandatory or OptOut(recipient, fact.kind, channel) not in opt_outs
        )
        if now - fact.occur_time > MAILED_WITHIN or (_is_operator(recipient) and not policy.operator_addresses):
            channels -= {Channel.MAIL}
        if channels:
            found.append(Told(fact, telling, recipient, channels))
    return found


def _is_operator(recipient: Recipient) -> bool:
    return recipient.kind is RecipientKind.OPERATOR


def _recipient_ids(fact: Fact, kind: RecipientKind) -> Sequence[str]:
    if kind is RecipientKind.OPERATOR:
        return (OPERATORS,)
    if kind is RecipientKind.PAYER:
        return (fact.payer_id,) if fact.payer_id else ()
    return tuple(dict.fromkeys(seller_id for seller_id in fact.seller_ids if seller_id))
