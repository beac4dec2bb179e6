"""Who may call what: the one table of the suite. Data only; `services.runtime.rpc.access` says what a rule means.

People act by their role, services by their name. A `payer` and a `seller` reach only what is theirs; another's is
answered as if it did not exist. What moves money or writes the truth is open to one subject alone. A method that is
missing here does not start.
"""

from __future__ import annotations

from typing import Final

from services.runtime.rpc.access import Allow
from services.runtime.rpc.identity import OPERATOR, PAYER, SELLER, SERVICE

_ORCHESTRATOR: Final = Allow(subjects=frozenset({"orchestrator"}))
_GATEWAY: Final = Allow(subjects=frozenset({"gateway"}))
_OPERATORS: Final = Allow(roles=frozenset({OPERATOR}))
_SERVICE: Final = Allow(roles=frozenset({SERVICE}))
_SERVICES: Final = Allow(roles=frozenset({SERVICE, OPERATOR}))
_PAYERS: Final = Allow(roles=frozenset({SERVICE, OPERATOR}), own=frozenset({PAYER}))
_CONCERNED: Final = Allow(roles=frozenset({SERVICE, OPERATOR}), own=frozenset({PAYER, SELLER}))
_RECIPIENTS: Final = Allow(roles=frozenset({SERVICE, OPERATOR}), own=frozenset({PAYER, SELLER}))


def _methods(service: str, rules: dict[Allow, str]) -> dict[str, Allow]:
    return {f"/{service}/{method}": rule for rule, methods in rules.items() for method in methods.split()}


TABLE: Final[dict[str, Allow]] = (
    _methods(
        "batzen.orchestrator.v1.OrchestratorService",
        {
            # The calling service answers for price and booking: a payer's token can never name a price.
            _SERVICES: """StartPayment GetPaymentPlan AttachBooking CapturePayment RetryPayment ReschedulePayment
                PreviewRefund RefundPayment FindPayments""",
            _PAYERS: "GetPaymentSession SubmitPayment SyncPayment CancelPayment PreservePayment ResumePayment",
        },
    )
    | _methods(
        "batzen.orchestrator.v1.OrchestratorOpsService",
        {
            _OPERATORS: "ListStuckPayments ResolvePayment ListAttention AcknowledgeAttention ListOperatorActions "
            "PauseStarts ResumeStarts ListStartSwitches PutPolicy ListPolicies ImportRecords "
            "DiagnosePayment ListDisagreements GetPaymentFigures "
            "PutNotificationPolicy ListNotificationPolicies "
            "PutWebhookSubscription ListWebhookSubscriptions DeleteWebhookSubscription RotateWebhookSecret "
            "TestWebhookSubscription ListWebhookDeliveries ReplayWebhookDeliveries "
            "ListMails ReplayMails"
        },
    )
    | _methods(
        "batzen.orchestrator.v1.NotificationService",
        {
            _RECIPIENTS: """ListNotifications MarkNotificationRead MarkAllNotificationsRead GetNotificationPreferences
                SetNotificationPreferences WatchNotifications""",
            _SERVICE: "UnsubscribeNotifications",
        },
    )
    | _methods(
        "batzen.status.v1.StatusService",
        {
            _ORCHESTRATOR: "OpenPayment RecordTransition SetPaymentLabels ImportPayments",
            _CONCERNED: "GetPayment ListTransitions ListPayments WatchPayment WatchPayments WatchMany",
        },
    )
    | _methods(
        "batzen.pricing.v1.PricingService",
        {
            _SERVICES: "CreateQuote GetQuote ListTaxRates ListFeePlans ListDiscounts",
            _ORCHESTRATOR: "RedeemQuote ReleaseQuote",
            _OPERATORS: "PutTaxRate PutFeePlan PutDiscount",
        },
    )
    | _methods(
        "batzen.gateway.v1.IntentService",
        {
            _ORCHESTRATOR: "CreateIntent ConfirmIntent GetIntent CaptureIntent CancelIntent SyncIntent",
            _SERVICES: "GetLimits",
        },
    )
    | _methods(
        "batzen.gateway.v1.CheckoutService",
        {_ORCHESTRATOR: "CreateCheckoutSession GetCheckoutSession ExpireCheckoutSession"},
    )
    | _methods(
        "batzen.gateway.v1.RefundService",
        {_ORCHESTRATOR: "CreateRefund", _SERVICES: "GetRefund ListRefunds"},
    )
    | _methods(
        "batzen.gateway.v1.PaymentMethodService",
        {
            _PAYERS: """CreateSetupIntent GetSetupIntent CancelSetupIntent ListPaymentMethods AttachPaymentMethod
                DetachPaymentMethod SetDefaultPaymentMethod""",
        },
    )
    | _methods(
        "batzen.gateway.v1.SellerService",
        {_SERVICES: "PutSellerAccount GetSellerAccount CreateOnboardingLink ListPayouts"},
    )
    | _methods(
        "batzen.gateway.v1.TransferService",
        {_ORCHESTRATOR: "CreateTransfer ReverseTransfer", _SERVICES: "ListTransfers"},
    )
    | _methods(
        "batzen.gateway.v1.DisputeService",
        {_SERVICES: "ListDisputes GetDispute SubmitDisputeEvidence", _OPERATORS: "AcceptDispute"},
    )
    | _methods("batzen.gateway.v1.DiagnosisService", {_ORCHESTRATOR: "ExaminePayments ListBookedPayments"})
    | _methods("batzen.gateway.v1.GatewayEventSinkService", {_GATEWAY: "DeliverEvent DeliverNotice"})
    | _methods("batzen.gateway.v1.ContactService", {_ORCHESTRATOR: "GetContact PutContact"})
    | _methods("batzen.gateway.v1.ImportService", {_ORCHESTRATOR: "ImportRecords"})
    | _methods(
        "batzen.gateway.v1.GatewayOpsService",
        {
            _OPERATORS: """ListDeadLetters ReplayDeadLetters ListLedgerEntries GetBalances Reconcile GetReconciliation
                ErasePayer ListReceivables WriteOffReceivable ListOperatorActions
                ListAttempts ListWebhookEvents""",
            _SERVICES: "GetSellerStatement",
        },
    )
)
"""Full method name to rule."""
