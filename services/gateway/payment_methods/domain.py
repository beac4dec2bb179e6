"""The methods of one payer: which are kept, which is the default, which are the same card. Pure.

Stripe says which methods are attached to a customer. Which of them is the default, and by whose consent each is kept,
is said here alone. Whoever holds the payer's lease changes this in memory; nothing is kept until it is saved.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from services.shared.payment import Method, PaymentError
from services.shared.states import IntentState

METHODS_MAX: Final = 100
"""Kept by one payer; nobody looks through more, and Stripe lists as many at once."""
READ_AGE_MAX: Final = timedelta(days=1)
"""How long the mirror is believed without a reading: webhooks say what changes, and a lost one is made good by then."""


class MethodState(StrEnum):
    """Whether a method is kept."""

    KEPT = "KEPT"
    DETACHING = "DETACHING"
    """It is being taken from Stripe's customer: no payment may begin to need it, and it is not shown."""
    DETACHED = "DETACHED"
    """It can never be used again. Its row says by whose consent it was kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodFacts:
    """A payment method as Stripe shows it."""

    method: Method
    fingerprint: str
    """The same for each method of one card or account; empty where Stripe gives none."""
    customer_id: str
    """Whose it is; empty while it is nobody's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """That the payer agreed to have a method kept."""

    consent_time: datetime
    actor_id: str
    """Who agreed: the payer, or somebody for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptMethod:
    """A method that a payer keeps, or kept."""

    method: Method
    fingerprint: str
    customer_id: str
    state: MethodState = MethodState.KEPT
    keep_time: datetime
    """When it was first seen here: the order of a payer's methods."""
    detach_time: datetime | None = None
    consent: Consent | None = None
    """None for one that was kept without us: in Stripe's dashboard, or before."""

    @property
    def method_id(self) -> str:
        """Its id at Stripe."""
        return self.method.payment_method_id

    @property
    def facts(self) -> MethodFacts:
        """What Stripe showed of it last."""
        return MethodFacts(method=self.method, fingerprint=self.fingerprint, customer_id=self.customer_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupIntent:
    """Stripe's intent to keep a method without a payment, as last seen."""

    setup_intent_id: str
    state: IntentState
    method: Method | None = None
    """What was given last."""
    error: PaymentError | None = None
    """Why that is not kept."""
    consent: Consent
    """By which the method is kept, once it is."""


@dataclass(slots=True, kw_only=True)
class PayerMethods:
    """The methods of one payer, under the payer's lease."""

    tenant_id: str
    payer_id: str
    customer_id: str
    """The payer's customer at Stripe; empty while there is none."""
    fence: int
    methods: dict[str, KeptMethod]
    """By id, in the order in which they were first seen; one that was taken away stays until this is saved."""
    default_id: str
    """Empty where there is none."""
    read_time: datetime | None
    """When all of them were read at Stripe last."""
    unread_time: datetime | None = None
    """When a method was kept last that was not read yet; None where all are known."""
    open_calls: list[tuple[str, uuid.UUID]]
    """Operation and request of the calls that were started and have no answer, the oldest first."""
    setups: dict[str, SetupIntent] = field(default_factory=dict)
    """Setup intents that were seen, and are not saved yet."""
    written: dict[str, KeptMethod] = field(default_factory=dict)
    """The methods as they are in the tables, so that only what changed is written."""
    saved: tuple[str, datetime | None] = ("", None)
    """The default and the time of the reading, likewise."""

    @property
    def subject_id(self) -> str:
        """What calls are made on."""
        return self.payer_id

    def is_to_be_read(self, now: datetime) -> bool:
        """Whether Stripe has to be asked which methods there are."""
        if not self.customer_id:
            return False
        if self.read_time is None or now - self.read_time >= READ_AGE_MAX:
            return True
        return self.unread_time is not None and self.unread_time > self.read_time

    @property
    def is_changed(self) -> bool:
        """Whether it says anything else than the tables."""
        return bool(self.setups) or self.methods != self.written or self.saved != (self.default_id, self.read_time)

    def mark_saved(self) -> None:
        """Take what it says now for what is in the tables."""
        self.methods = {key: one for key, one in self.methods.items() if one.state is not MethodState.DETACHED}
        self.setups = {}
        self.written = dict(self.methods)
        self.saved = (self.default_id, self.read_time)

    def kept(self) -> list[KeptMethod]:
        """Return the methods that are kept, the newest first."""
        kept = [one for one in self.methods.values() if one.state is MethodState.KEPT]
        return sorted(kept, key=_age, reverse=True)

    @property
    def count(self) -> int:
        """How many methods are at Stripe's customer."""
        return sum(one.state is not MethodState.DETACHED for one in self.methods.values())

    def find(self, method_id: str) -> KeptMethod | None:
        """Return a method if it is kept."""
        found = self.methods.get(method_id)
        return found if found is not None and found.state is MethodState.KEPT else None

    def listed(self) -> list[KeptMethod]:
        """Return one method for each fingerprint, the default first and then the newest."""
        kept = self.kept()
        by_fingerprint: dict[str, KeptMethod] = {}
        for one in sorted(kept, key=self._is_not_default):  # stable: of the others the newest comes first
            by_fingerprint.setdefault(one.fingerprint or one.method_id, one)
        return list(by_fingerprint.values())[:METHODS_MAX]

    def same_as(self, method_id: str) -> list[str]:
        """Return the ids of a kept method and of those that are the same card, with which it is removed."""
        known = self.methods.get(method_id)
        if known is None or known.state is MethodState.DETACHED:
            return []
        held = (one for one in self.methods.values() if one.state is not MethodState.DETACHED)
        return [one.method_id for one in held if _is_same(one, known)]

    def shows(self, facts: MethodFacts) -> bool:
        """Whether nothing is new in what Stripe showed of a method once: so it is known here, or it is gone."""
        known = self.methods.get(facts.method.payment_method_id)
        if known is None:
            return not facts.customer_id
        return known.state is MethodState.KEPT and known.facts == facts

    def keep(self, facts: MethodFacts, *, now: datetime, consent: Consent | None = None) -> None:
        """Keep a method as Stripe shows it. The first one becomes the default, and so does the same card anew.

        A consent that is known stands: it is the one by which the method came to be kept.
        """
        method_id = facts.method.payment_method_id
        known = self.methods.get(method_id)
        if known is not None and known.state is not MethodState.DETACHED:
            self.methods[method_id] = replace(
                known, method=facts.method, fingerprint=facts.fingerprint, consent=known.consent or consent
            )
            return
        one = KeptMethod(
            method=facts.method,
            fingerprint=facts.fingerprint,
            customer_id=facts.customer_id,
            keep_time=now,
            consent=consent or (known.consent if known is not None else None),
        )
        default = self.find(self.default_id)
        if default is None or _is_same(default, one):
            self.default_id = method_id
        self.methods[method_id] = one

    def take_setup(self, setup: SetupIntent, kept: MethodFacts | None, *, now: datetime) -> None:
        """Mirror a setup intent. Once it succeeds the method that Stripe shows with it is kept."""
        self.setups[setup.setup_intent_id] = setup
        if setup.state is IntentState.SUCCEEDED and kept is not None and kept.customer_id == self.customer_id:
            self.keep(kept, now=now, consent=setup.consent)

    def begin_detaching(self, method_ids: Iterable[str]) -> None:
        """Show these methods no more: they are about to be taken away."""
        for method_id in method_ids:
            self.methods[method_id] = replace(self.methods[method_id], state=MethodState.DETACHING)

    def keep_again(self, method_ids: Iterable[str]) -> None:
        """Take back that these methods are about to be taken away."""
        for method_id in method_ids:
            known = self.methods.get(method_id)
            if known is not None and known.state is MethodState.DETACHING:
                self.methods[method_id] = replace(known, state=MethodState.KEPT)

    def detach(self, method_ids: Iterable[str], *, now: datetime) -> None:
        """Forget methods that are not at Stripe's customer any more. The newest that is left takes a default's place.

        By whose consent they were kept stays, and nothing of what they were.
        """
        for method_id in method_ids:
            known = self.methods.get(method_id)
            if known is not None and known.state is not MethodState.DETACHED:
                self.methods[method_id] = forgotten(known, now=now)
        if self.find(self.default_id) is None:
            self.default_id = next((one.method_id for one in self.kept()), "")

    def take_all(self, shown: Iterable[MethodFacts], *, now: datetime) -> None:
        """Mirror all methods of the payer's customer, the newest first: what is not among them is gone."""
        found = {facts.method.payment_method_id: facts for facts in shown}
        for place, facts in enumerate(reversed(found.values())):
            self.keep(facts, now=now + timedelta(microseconds=place))
        self.detach([method_id for method_id in self.methods if method_id not in found], now=now)
        self.read_time = now

    def forget_strangers(self, *, now: datetime) -> None:
        """Forget the methods of a customer that is not the payer's any more: they went with it at Stripe."""
        self.detach([key for key, one in self.methods.items() if one.customer_id != self.customer_id], now=now)

    def _is_not_default(self, one: KeptMethod) -> bool:
        return one.method_id != self.default_id


def is_expired(method: Method, now: datetime) -> bool:
    """Whether a card has expired: it is good through the last day of its month, by UTC."""
    return bool(method.expire_year) and (now.year, now.month) > (method.expire_year, method.expire_month)


def forgotten(known: KeptMethod, *, now: datetime) -> KeptMethod:
    """Return what is kept of a method that can never be used again."""
    return replace(
        known,
        method=Method(payment_method_id=known.method_id),
        fingerprint="",
        state=MethodState.DETACHED,
        detach_time=now,
    )


def _age(one: KeptMethod) -> tuple[datetime, str]:
    return one.keep_time, one.method_id


def _is_same(one: KeptMethod, other: KeptMethod) -> bool:
    return one.method_id == other.method_id or (bool(one.fingerprint) and one.fingerprint == other.fingerprint)
