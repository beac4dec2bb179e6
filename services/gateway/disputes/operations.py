"""Answering a dispute: evidence that is drafted or handed in, and giving it up. Each a recorded call on its payment.

What is handed in is kept at Stripe: the record of a call loses its evidence once there is an answer to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from services.gateway.call_log.call import Call, Params
from services.gateway.call_log.operation import Operation, P, SubjectStore
from services.gateway.disputes.domain import Dispute
from services.gateway.errors import DisputeClosed, DisputeNotFound, StripeRefused
from services.gateway.mirror.payment import MirroredPayment
from services.gateway.stripe_api.client import Provider
from services.gateway.stripe_api.objects import dispute_in, disputes_in, metadata, text
from services.shared.codec import Json

REQUEST: Final = "evidence_request_id"
"""Of a dispute's metadata: which request gave evidence last. A call whose key says no more is found by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeParams(Params):
    """Which dispute, and who decided."""

    dispute_id: str
    actor_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitEvidenceParams(DisputeParams):
    """What is drafted, by Stripe's field names, and whether all that is drafted is handed in."""

    evidence: Mapping[str, str] = field(default_factory=dict)
    submit: bool = False


class _OnDispute(Operation[P, MirroredPayment]):
    """What both calls have: the dispute is known and open, and is read again where Stripe says otherwise."""

    is_delivered = True

    def __init__(self, provider: Provider, payments: SubjectStore[MirroredPayment]) -> None:
        super().__init__(payments)
        self._provider = provider

    async def _read_again(self, payment: MirroredPayment, dispute_id: str, refusal: StripeRefused) -> None:
        """Mirror what is true, and raise what forbids the call: that it is decided, or else the refusal."""
        attempt, known = require_open(payment, dispute_id)
        shown = await self._provider.disputes.of_charge(payment.intents[attempt].charge_id)
        captured_minor = payment.intents[attempt].captured_minor
        payment.apply_disputes(
            attempt,
            disputes_in(shown, currency_code=payment.currency_code, captured_minor=captured_minor),
        )
        require_open(payment, known.dispute_id)
        raise refusal


class SubmitEvidence(_OnDispute[SubmitEvidenceParams]):
    """Drafts evidence at Stripe, and hands in what is drafted where that is asked for."""

    name = "dispute.evidence"
    params_type = SubmitEvidenceParams

    async def prepare(self, payment: MirroredPayment, call: Call[SubmitEvidenceParams]) -> SubmitEvidenceParams:
        """Send nothing to a dispute that is decided."""
        require_open(payment, call.params.dispute_id)
        return call.params

    async def send(self, payment: MirroredPayment, call: Call[SubmitEvidenceParams], *, is_repeat: bool) -> Json:
        """Say always whether it is handed in: by default Stripe would."""
        asked = call.params
        body = {
            **({"evidence": asked.evidence} if asked.evidence else {}),
            "submit": asked.submit,
            "metadata": {"payment_id": payment.payment_id, REQUEST: str(call.request_id)},
        }
        return await self._provider.disputes.update(asked.dispute_id, body, key=call.key, is_repeat=is_repeat)

    async def look_again(
        self, payment: MirroredPayment, call: Call[SubmitEvidenceParams], refusal: StripeRefused
    ) -> Json:
        """Refuse by what is true."""
        await self._read_again(payment, call.params.dispute_id, refusal)
        raise refusal

    async def look_up(self, payment: MirroredPayment, call: Call[SubmitEvidenceParams]) -> Json | None:
        """Find the dispute as this request left it; no other is let through before that is known."""
        shown = await self._provider.disputes.retrieve(call.params.dispute_id)
        return shown if metadata(shown, REQUEST) == str(call.request_id) else None

    def record(self, payment: MirroredPayment, call: Call[SubmitEvidenceParams], answer: Json) -> Mapping[str, str]:
        """Mirror it, with who gave it."""
        _record(payment, answer, lambda known: replace(known, evidence_actor_id=call.params.actor_id))
        return {"dispute_id": call.params.dispute_id}

    def kept(self, params: SubmitEvidenceParams) -> SubmitEvidenceParams:
        """Forget what was said of a person."""
        return replace(params, evidence={})


class AcceptDispute(_OnDispute[DisputeParams]):
    """Gives a dispute up."""

    name = "dispute.accept"
    params_type = DisputeParams

    async def prepare(self, payment: MirroredPayment, call: Call[DisputeParams]) -> DisputeParams:
        """Give up nothing that is decided."""
        require_open(payment, call.params.dispute_id)
        return call.params

    async def send(self, payment: MirroredPayment, call: Call[DisputeParams], *, is_repeat: bool) -> Json:
        """Close it."""
        return await self._provider.disputes.close(call.params.dispute_id, key=call.key, is_repeat=is_repeat)

    async def look_again(self, payment: MirroredPayment, call: Call[DisputeParams], refusal: StripeRefused) -> Json:
        """Refuse by what is true."""
        await self._read_again(payment, call.params.dispute_id, refusal)
        raise refusal

    async def look_up(self, payment: MirroredPayment, call: Call[DisputeParams]) -> Json | None:
        """Find the dispute lost: that it is, whoever gave it up, is what was asked for."""
        shown = await self._provider.disputes.retrieve(call.params.dispute_id)
        return shown if text(shown, "status") == "lost" else None

    def record(self, payment: MirroredPayment, call: Call[DisputeParams], answer: Json) -> Mapping[str, str]:
        """Mirror it, with who gave it up."""
        actor_id, asked = call.params.actor_id, call.create_time
        _record(payment, answer, lambda known: replace(known, accept_actor_id=actor_id, accept_time=asked))
        return {"dispute_id": call.params.dispute_id}


def find(payment: MirroredPayment, dispute_id: str) -> tuple[int, Dispute]:
    """Return a dispute of a payment with its attempt. Raises DisputeNotFound."""
    for intent in payment.intents.values():
        for one in intent.disputes:
            if one.dispute_id == dispute_id:
                return intent.attempt, one
    raise DisputeNotFound


def require_open(payment: MirroredPayment, dispute_id: str) -> tuple[int, Dispute]:
    """Return a dispute that is not decided, with its attempt. Raises DisputeNotFound or DisputeClosed."""
    attempt, known = find(payment, dispute_id)
    if not known.is_open:
        raise DisputeClosed
    return attempt, known


def _record(payment: MirroredPayment, answer: Json, by: Callable[[Dispute], Dispute]) -> None:
    """Mirror what Stripe answered, and by whom that is."""
    attempt, known = find(payment, str(answer["id"]))
    intent = payment.intents[attempt]
    others = [one for one in intent.disputes if one.dispute_id != known.dispute_id]
    payment.intents[attempt] = replace(intent, disputes=(*others, by(known)))
    shown = dispute_in(answer, currency_code=payment.currency_code, captured_minor=intent.captured_minor)
    payment.apply_disputes(attempt, [shown])
