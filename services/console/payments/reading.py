"""Reads all that the services know of one payment, at once. What one does not say is empty, and named as missing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from batzen.errors import BatzenError
from batzen.gateway.v1 import ops_pb2 as gateway_pb
from batzen.gateway.v1.disputes_pb2 import ListDisputesRequest, ListDisputesResponse
from batzen.gateway.v1.refunds_pb2 import ListRefundsRequest, ListRefundsResponse
from batzen.gateway.v1.transfers_pb2 import ListTransfersRequest, ListTransfersResponse
from batzen.orchestrator.v1 import ops_pb2 as orchestrator_pb
from batzen.orchestrator.v1.mails_pb2 import ListMailsRequest, ListMailsResponse
from batzen.orchestrator.v1.orchestrator_pb2 import GetPaymentPlanRequest, GetPaymentPlanResponse
from batzen.orchestrator.v1.webhooks_pb2 import ListWebhookDeliveriesRequest, ListWebhookDeliveriesResponse
from batzen.status.v1.status_pb2 import ListTransitionsRequest, ListTransitionsResponse
from services.console.desk import Visit, trouble_of
from services.web.failures import Failure

HISTORY_MAX: Final = 200
LEDGER_MAX: Final = 200
BESIDE_MAX: Final = 100
"""Of mails, deliveries, events and actions; more than a payment has."""
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A part of the page that a service did not answer for."""

    what: str
    trouble: Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class AtGateway:
    """What the gateway has."""

    attempts: gateway_pb.ListAttemptsResponse
    events: gateway_pb.ListWebhookEventsResponse
    ledger: gateway_pb.ListLedgerEntriesResponse
    refunds: ListRefundsResponse
    transfers: ListTransfersResponse
    disputes: ListDisputesResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class AtOrchestrator:
    """What the orchestrator has."""

    plan: GetPaymentPlanResponse
    mails: ListMailsResponse
    deliveries: ListWebhookDeliveriesResponse
    diagnosis: orchestrator_pb.DiagnosePaymentResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class Actions:
    """What operators did."""

    orchestrator: orchestrator_pb.ListOperatorActionsResponse
    gateway: gateway_pb.ListOperatorActionsResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """All of it."""

    history: ListTransitionsResponse
    gateway: AtGateway
    orchestrator: AtOrchestrator
    actions: Actions
    missing: Sequence[Missing]


class Reading:
    """Reads for one visit."""

    def __init__(self, visit: Visit, payment_id: str) -> None:
        self._visit = visit
        self._of = payment_id
        self._missing: list[Missing] = []

    async def all(self, *, with_stripe: bool) -> Known:
        """Return all of it; Stripe itself is read only `with_stripe`."""
        request = ListTransitionsRequest(payment_id=self._of, page_size=HISTORY_MAX)
        history, gateway, orchestrator, actions = await asyncio.gather(
            self._part(
                "The history",
                self._visit.calls.status.ListTransitions(request, metadata=self._visit.word),
                ListTransitionsResponse(),
            ),
            self._at_gateway(),
            self._at_orchestrator(with_stripe=with_stripe),
            self._actions(),
        )
        return Known(
            history=history, gateway=gateway, orchestrator=orchestrator, actions=actions, missing=self._missing
        )

    async def _at_gateway(self) -> AtGateway:
        calls, word, of = self._visit.calls, self._visit.word, self._of
        attempts, events, ledger, refunds, transfers, disputes = await asyncio.gather(
            self._part(
                "Attempts",
                calls.gateway_ops.ListAttempts(gateway_pb.ListAttemptsRequest(payment_id=of), metadata=word),
                gateway_pb.ListAttemptsResponse(),
            ),
            self._part(
                "Stripe’s webhooks",
                calls.gateway_ops.ListWebhookEvents(
                    gateway_pb.ListWebhookEventsRequest(payment_id=of, page_size=BESIDE_MAX), metadata=word
                ),
                gateway_pb.ListWebhookEventsResponse(),
            ),
            self._part(
                "The ledger",
                calls.gateway_ops.ListLedgerEntries(
                    gateway_pb.ListLedgerEntriesRequest(payment_id=of, page_size=LEDGER_MAX), metadata=word
                ),
                gateway_pb.ListLedgerEntriesResponse(),
            ),
            self._part(
                "Refunds",
                calls.refunds.ListRefunds(ListRefundsRequest(payment_id=of), metadata=word),
                ListRefundsResponse(),
            ),
            self._part(
                "Transfers",
                calls.transfers.ListTransfers(ListTransfersRequest(payment_id=of, page_size=BESIDE_MAX), metadata=word),
                ListTransfersResponse(),
            ),
            self._part(
                "Disputes",
                calls.disputes.ListDisputes(ListDisputesRequest(payment_id=of, page_size=BESIDE_MAX), metadata=word),
                ListDisputesResponse(),
            ),
        )
        return AtGateway(
            attempts=attempts, events=events, ledger=ledger, refunds=refunds, transfers=transfers, disputes=disputes
        )

    async def _at_orchestrator(self, *, with_stripe: bool) -> AtOrchestrator:
        calls, word, of = self._visit.calls, self._visit.word, self._of
        plan, mails, deliveries, diagnosis = await asyncio.gather(
            self._part(
                "The plan",
                calls.orchestrator.GetPaymentPlan(GetPaymentPlanRequest(payment_id=of), metadata=word),
                GetPaymentPlanResponse(),
            ),
            self._part(
                "Mails",
                calls.orchestrator_ops.ListMails(ListMailsRequest(payment_id=of, page_size=BESIDE_MAX), metadata=word),
                ListMailsResponse(),
            ),
            self._part(
                "Webhooks to subscribers",
                calls.orchestrator_ops.ListWebhookDeliveries(
                    ListWebhookDeliveriesRequest(payment_id=of, page_size=BESIDE_MAX), metadata=word
                ),
                ListWebhookDeliveriesResponse(),
            ),
            self._part(
                "Doctor’s verdict",
                calls.orchestrator_ops.DiagnosePayment(
                    orchestrator_pb.DiagnosePaymentRequest(payment_id=of, with_stripe=with_stripe), metadata=word
                ),
                orchestrator_pb.DiagnosePaymentResponse(),
            ),
        )
        return AtOrchestrator(plan=plan, mails=mails, deliveries=deliveries, diagnosis=diagnosis)

    async def _actions(self) -> Actions:
        calls, word, of = self._visit.calls, self._visit.word, self._of
        orchestrator, gateway = await asyncio.gather(
            self._part(
                "What operators did",
                calls.orchestrator_ops.ListOperatorActions(
                    orchestrator_pb.ListOperatorActionsRequest(payment_id=of, page_size=BESIDE_MAX), metadata=word
                ),
                orchestrator_pb.ListOperatorActionsResponse(),
            ),
            self._part(
                "What operators did by the gateway",
                calls.gateway_ops.ListOperatorActions(
                    gateway_pb.ListOperatorActionsRequest(payment_id=of, page_size=BESIDE_MAX), metadata=word
                ),
                gateway_pb.ListOperatorActionsResponse(),
            ),
        )
        return Actions(orchestrator=orchestrator, gateway=gateway)

    async def _part(self, what: str, answer: Awaitable[Answer], otherwise: Answer) -> Answer:
        try:
            return await answer
        except BatzenError as error:
            self._missing.append(
                Missing(what=what, trouble=trouble_of(error, correlation_id=self._visit.correlation_id))
            )
            return otherwise
