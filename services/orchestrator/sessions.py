"""What a payer needs to go on with a payment: put together anew for each answer, and nothing secret of it is stored."""

from __future__ import annotations

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.status.v1 import status_pb2
from batzen.type.v1 import payment_pb2
from services.orchestrator.domain import timings
from services.orchestrator.domain.plan import Plan, Stage
from services.orchestrator.peers import Peers
from services.orchestrator.peers.gateway import CountingAttempt
from services.orchestrator.storage.store import Store
from services.orchestrator.transition_outbox import TransitionOutbox
from services.orchestrator.unit_of_work import UnitOfWork
from services.orchestrator.wire.terms import describe
from services.runtime.rpc import call_context

PAYERS_TURN = frozenset({payment_pb2.PAYMENT_STATE_REQUIRES_PAYMENT_METHOD, payment_pb2.PAYMENT_STATE_REQUIRES_ACTION})


class PaymentSessions:
    """Puts sessions together."""

    def __init__(self, store: Store, outbox: TransitionOutbox, peers: Peers) -> None:
        self._store = store
        self._outbox = outbox
        self._peers = peers

    async def of(self, work: UnitOfWork) -> pb.PaymentSession:
        """Return the session of a held payment."""
        plan = work.plan
        session = pb.PaymentSession(
            payment=await self._outbox.payment(work),
            quote=work.quote or await self._peers.pricing.quote(plan.quote_id or ""),
        )
        describe(session, plan)
        if plan.stage is not Stage.COLLECTING:
            return session
        if work.client_secret or work.checkout_url:
            session.client_secret, session.checkout_url = work.client_secret, work.checkout_url
        elif timings.is_proven(plan):
            await self._fill(session)
        return session

    async def fill(self, session: pb.PaymentSession) -> CountingAttempt:
        """Put in what only the payer may have, of a payment that nobody holds for us, as `_fill` does.

        What it is by then may be of another timing or price than the session says, which somebody chose or took since:
        nobody agreed to that here, so it has nothing to pay with. Nor has it what is of no timing for certain.
        """
        counting = await self._fill(session)
        plan = await self._store.read(call_context.current_tenant(), session.payment.payment_id, payer_id=None)
        if plan is None or not timings.is_proven(plan) or not _is_so(session, plan):
            redact(session)
        return counting

    async def _fill(self, session: pb.PaymentSession) -> CountingAttempt:
        """Put in what only the payer may have, as it is now; return Stripe's ids of the attempt that counts."""
        secrets = await self._peers.gateway.secrets(session.payment.payment_id)
        session.client_secret, session.checkout_url = secrets.client_secret, secrets.checkout_url
        if secrets.redirect_url is not None:
            session.next_action.redirect_url = secrets.redirect_url
        return secrets.counting

    async def refresh(self, session: pb.PaymentSession) -> None:
        """Put that into a session that was stored without, where the payer may still need it.

        Where their bank is, is of what was submitted last. An answer that was given before says nothing of that; one by
        which the payer was sent to their bank has a secret that would confirm it, too.
        """
        if not is_payers_turn(session.payment):
            return
        await self.fill(session)
        plan = await self._store.read(call_context.current_tenant(), session.payment.payment_id, payer_id=None)
        if plan is not None and stands(session.payment, plan):
            return
        session.ClearField("next_action")
        if session.payment.state == payment_pb2.PAYMENT_STATE_REQUIRES_ACTION:
            redact(session)


def _is_so(session: pb.PaymentSession, plan: Plan) -> bool:
    """Whether a payment is of the timing and the price that a session says."""
    now = pb.PaymentSession()
    describe(now, plan)
    agreed = [(one.timing, one.charge_time, one.capture_time) for one in (session, now)]
    is_priced = session.HasField("quote")  # what was imported has no quote
    return agreed[0] == agreed[1] and not (is_priced and session.quote.total.amount_minor != plan.total_minor)


def redact(session: pb.PaymentSession) -> None:
    """Take out what only the payer may have."""
    for name in ("client_secret", "checkout_url", "next_action"):
        session.ClearField(name)


def stands(payment: status_pb2.Payment, plan: Plan) -> bool:
    """Whether a payment still stands as an answer of before says: at that revision, and with nothing begun since."""
    state = payment_pb2.PaymentState.Value(f"PAYMENT_STATE_{plan.latest_snapshot.state}")
    return (payment.revision, payment.state) == (plan.revision, state)


def is_payers_turn(payment: status_pb2.Payment) -> bool:
    """Whether a payment waits for its payer."""
    return payment.state in PAYERS_TURN
