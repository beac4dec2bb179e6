"""The calls on a payer's methods: attach, detach, and which is the default. The subject is the payer.

What happens if the process dies is said in `call_log/execution`. A method is marked as being detached in the statement
that starts the call, so that from then on no payment begins to need it; and not if one needs it already.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from services.gateway.call_log.call import Call, Params
from services.gateway.call_log.operation import Operation
from services.gateway.errors import (
    Amendable,
    MethodInUse,
    MethodLimitReached,
    PaymentMethodNotFound,
    StripeRefused,
)
from services.gateway.payment_methods.domain import METHODS_MAX, Consent, PayerMethods
from services.gateway.payment_methods.store import MethodStore
from services.gateway.stripe_api.client import Provider
from services.gateway.stripe_api.objects import method_facts, text
from services.gateway.stripe_api.outcomes import MISSING
from services.shared.codec import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachMethodParams(Params):
    """What is attached to which customer, and who says that the payer agreed."""

    payment_method_id: str
    customer_id: str
    consent_actor_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DetachMethodParams(Params):
    """What is detached: the method, and those that are the same card, which `prepare` finds."""

    payment_method_id: str
    detached: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SetDefaultMethodParams(Params):
    """What becomes the default."""

    payment_method_id: str


class CustomerGone(Amendable):
    """Stripe does not know the customer any more; send the same call again, for the customer that is made instead."""

    def __init__(self, refusal: StripeRefused, *, customer_id: str) -> None:
        super().__init__(refusal)
        self.customer_id = customer_id
        """Of the call that was refused."""


def customer_gone(refusal: StripeRefused, *, customer_id: str) -> CustomerGone | None:
    """Return what is to be amended where a refusal says that the customer is gone; None where it says anything else."""
    is_of_customer = (refusal.metadata["code"], refusal.metadata["param"]) == (MISSING, "customer")
    return CustomerGone(refusal, customer_id=customer_id) if is_of_customer else None


class AttachMethod(Operation[AttachMethodParams, PayerMethods]):
    """Keeps a method. The bank may be asked, and may decline."""

    name = "method.attach"
    params_type = AttachMethodParams

    def __init__(self, provider: Provider, payers: MethodStore) -> None:
        super().__init__(payers)
        self._provider = provider
        self._payers = payers

    async def prepare(self, payer: PayerMethods, call: Call[AttachMethodParams]) -> AttachMethodParams:
        """Check that it is not another payer's, and that there is room for it."""
        method_id = call.params.payment_method_id
        await self._payers.check_belongs(payer.tenant_id, payer.payer_id, method_id)
        if payer.find(method_id) is None and payer.count >= METHODS_MAX:
            raise MethodLimitReached(max=METHODS_MAX)
        return call.params

    async def send(self, payer: PayerMethods, call: Call[AttachMethodParams], *, is_repeat: bool) -> Json:
        """Attach it. Raises CustomerGone where another customer has to be made first."""
        asked = call.params
        try:
            return await self._provider.payment_methods.attach(
                asked.payment_method_id, {"customer": asked.customer_id}, key=call.key, is_repeat=is_repeat
            )
        except StripeRefused as refusal:
            gone = customer_gone(refusal, customer_id=asked.customer_id)
            if gone is None:
                raise
            raise gone from refusal

    async def look_again(self, payer: PayerMethods, call: Call[AttachMethodParams], refusal: StripeRefused) -> Json:
        """Read the method: it may be attached already, to this customer or to another's."""
        shown = await self._provider.payment_methods.retrieve(call.params.payment_method_id)
        customer_id = method_facts(shown).customer_id if shown is not None else ""
        if shown is not None and customer_id == call.params.customer_id:
            return shown
        if shown is None or customer_id:
            raise PaymentMethodNotFound(field="payment_method_id") from refusal
        raise refusal

    async def look_up(self, payer: PayerMethods, call: Call[AttachMethodParams]) -> Json | None:
        """Read the method: it is attached to the customer, or the call had no effect."""
        shown = await self._provider.payment_methods.retrieve(call.params.payment_method_id)
        if shown is None or method_facts(shown).customer_id != call.params.customer_id:
            return None
        return shown

    def record(self, payer: PayerMethods, call: Call[AttachMethodParams], answer: Json) -> Mapping[str, str]:
        """Keep it."""
        consent = Consent(consent_time=call.create_time, actor_id=call.params.consent_actor_id)
        if payer.customer_id == call.params.customer_id:  # else that customer is gone by now, and the method with it
            payer.keep(method_facts(answer), now=call.create_time, consent=consent)
        return {"payment_method_id": text(answer, "id")}


class DetachMethod(Operation[DetachMethodParams, PayerMethods]):
    """Forgets a method and those that are the same card: at Stripe, for good."""

    name = "method.detach"
    params_type = DetachMethodParams

    def __init__(self, provider: Provider, payers: MethodStore, *, now: Callable[[], datetime]) -> None:
        super().__init__(payers)
        self._provider = provider
        self._payers = payers
        self._now = now

    async def prepare(self, payer: PayerMethods, call: Call[DetachMethodParams]) -> DetachMethodParams:
        """Check that it is the payer's, and that no payment needs it; mark it. One that is not kept is forgotten."""
        same = payer.same_as(call.params.payment_method_id)
        if needing := await self._payers.needing(payer.tenant_id, same):
            raise MethodInUse(payment_ids=",".join(needing))
        payer.begin_detaching(same)
        return replace(call.params, detached=tuple(same))

    async def send(self, payer: PayerMethods, call: Call[DetachMethodParams], *, is_repeat: bool) -> Json:
        """Detach each under a key of its own, made of the call's; one that is detached already is detached."""
        for method_id in call.params.detached:
            try:
                key = f"{call.key}:{method_id}"
                await self._provider.payment_methods.detach(method_id, key=key, is_repeat=is_repeat)
            except StripeRefused:
                if await self._attached(payer, [method_id]):
                    raise
        return {}

    async def look_again(self, payer: PayerMethods, call: Call[DetachMethodParams], refusal: StripeRefused) -> Json:
        """Keep what is still there."""
        left = await self._attached(payer, call.params.detached)
        if not left:
            return {}
        payer.detach([one for one in call.params.detached if one not in left], now=self._now())
        payer.keep_again(left)
        raise refusal

    async def look_up(self, payer: PayerMethods, call: Call[DetachMethodParams]) -> Json | None:
        """Read each: as long as one is there the call is not done."""
        return None if await self._attached(payer, call.params.detached) else {}

    def record(self, payer: PayerMethods, call: Call[DetachMethodParams], answer: Json) -> Mapping[str, str]:
        """Forget them."""
        payer.detach(call.params.detached, now=self._now())
        return {"payment_method_id": call.params.payment_method_id}

    def discarded(self, payer: PayerMethods, call: Call[DetachMethodParams]) -> None:
        """They are kept as before."""
        payer.keep_again(call.params.detached)

    async def _attached(self, payer: PayerMethods, method_ids: Sequence[str]) -> list[str]:
        """Return which of these methods are still attached to the customer that they were kept with."""
        attached = []
        for method_id in method_ids:
            shown = await self._provider.payment_methods.retrieve(method_id)
            if shown is not None and method_facts(shown).customer_id:
                attached.append(method_id)
        return attached


class SetDefaultMethod(Operation[SetDefaultMethodParams, PayerMethods]):
    """Makes a method the default, which is said here alone: Stripe is not asked."""

    name = "method.set_default"
    params_type = SetDefaultMethodParams

    async def prepare(self, payer: PayerMethods, call: Call[SetDefaultMethodParams]) -> SetDefaultMethodParams:
        """Check that it is kept."""
        if payer.find(call.params.payment_method_id) is None:
            raise PaymentMethodNotFound(field="payment_method_id")
        return call.params

    async def send(self, payer: PayerMethods, call: Call[SetDefaultMethodParams], *, is_repeat: bool) -> Json:
        """Nothing is sent."""
        return {}

    async def look_up(self, payer: PayerMethods, call: Call[SetDefaultMethodParams]) -> Json | None:
        """Nothing is at Stripe."""
        return {}

    def record(self, payer: PayerMethods, call: Call[SetDefaultMethodParams], answer: Json) -> Mapping[str, str]:
        """Make it the default, unless it was taken away after the call was started."""
        if payer.find(call.params.payment_method_id) is not None:
            payer.default_id = call.params.payment_method_id
        return {"payment_method_id": call.params.payment_method_id}
