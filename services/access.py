"""Who may call what: the one table of the suite. Data only; `services.runtime.rpc.access` says what a rule means.

People act by their role, services by their name. A `payer` and a `seller` reach only what is theirs; another's is
answered as if it did not exist. An `operator_readonly` sees what an operator sees, and changes nothing. A front's own
token opens one stream. What moves money or writes the truth is open to one subject alone. A method that is missing here
does not start.
"""

from __future__ import annotations

from typing import Final

from services.runtime.rpc.access import Allow
from services.runtime.rpc.identity import FRONT, OPERATOR, OPERATOR_READONLY, PAYER, SELLER, SERVICE

_ORCHESTRATOR: Final = Allow(subjects=frozenset({"orchestrator"}))
_GATEWAY: Final = Allow(subjects=frozenset({"gateway"}))
_SERVICE: Final = Allow(roles=frozenset({SERVICE}))

_READERS: Final = frozenset({OPERATOR, OPERATOR_READONLY})
"""Who sees all of a tenant."""
_PROVED: Final = frozenset({OPERATOR})
"""Who proves once more who they are, where a front speaks for them, before money moves, before it is said where money,
events or rules go, and before something is gone for good."""

_OPERATORS: Final = Allow(roles=frozenset({OPERATOR}))
_OPERATORS_MONEY: Final = Allow(roles=frozenset({OPERATOR}), proof=_PROVED)
_OPERATORS_READ: Final = Allow(roles=_READERS)
_SERVICES: Final = Allow(roles=frozenset({SERVICE, OPERATOR}))
_SERVICES_MONEY: Final = Allow(roles=frozenset({SERVICE, OPERATOR}), proof=_PROVED)
_SERVICES_READ: Final = Allow(roles=_READERS | {SERVICE})
_ORCHESTRATOR_READS: Final = Allow(roles=_READERS | {SERVICE}, subjects=frozenset({"orchestrator"}))
_PAYERS: Final = Allow(roles=frozenset({SERVICE, OPERATOR}), own=frozenset({PAYER}))
_PAYERS_MONEY: Final = Allow(roles=frozenset({SERVICE, OPERATOR}), own=frozenset({PAYER}), proof=_PROVED)
_PAYERS_READ: Final = Allow(roles=_READERS | {SERVICE}, own=frozenset({PAYER}))
_CONCERNED: Final = Allow(roles=_READERS | {SERVICE}, own=frozenset({PAYER, SELLER}))
_WATCHERS: Final = Allow(roles=_READERS | {SERVICE}, own=frozenset({PAYER, SELLER, FRONT}))
"""Nothing is a front's own: it sees what the assertions in its stream reach."""
_RECIPIENTS: Final = Allow(roles=frozenset({SERVICE, OPERATOR}), own=frozenset({PAYER, SELLER}))
_RECIPIENTS_READ: Final = Allow(roles=_READERS | {SERVICE}, own=frozenset({PAYER, SELLER}))


def _methods(service: str, rules: dict[Allow, str]) -> dict[str, Allow]:
    return {f"/{service}/{method}": rule for rule, methods in rules.items() for method in methods.split()}


TABLE: Final[dict[str, Allow]] = (
    _methods(
        "batzen.orchestrator.v1.OrchestratorService",
        {
            # The calling service answers for price and booking: a payer's token can never name a price.
            _SERVICES_MONEY: "StartPayment CapturePayment RetryPayment ReschedulePayment RefundPayment",
            _SERVICES: "AttachBooking",
            _SERVICES_READ: "GetPaymentPlan PreviewRefund FindPayments",
            _PAYERS_MONEY: "SubmitPayment CancelPayment",
            _PAYERS: "SyncPayment PreservePayment ResumePayment",
            _PAYERS_READ: "GetPaymentSession GetReceipt",
        },
    )
    | _methods(
        "batzen.orchestrator.v1.OrchestratorOpsService",
        {
            _OPERATORS_MONEY: "ResolvePayment PutPolicy PutWebhookSubscription DeleteWebhookSubscription "
            "RotateWebhookSecret",
            _OPERATORS: "AcknowledgeAttention PauseStarts ResumeStarts ImportRecords PutNotificationPolicy "
            "TestWebhookSubscription "
            "ReplayWebhookDeliveries ReplayMails",
            _OPERATORS_READ: "ListStuckPayments ListAttention ListOperatorActions ListStartSwitches ListPolicies "
            "DiagnosePayment ListDisagreements GetPaymentFigures ListNotificationPolicies ListWebhookSubscriptions "
            "ListWebhookDeliveries ListMails",
        },
    )
    | _methods(
        "batzen.orchestrator.v1.NotificationService",
        {
            _RECIPIENTS: "MarkNotificationRead MarkAllNotificationsRead SetNotificationPreferences",
            _RECIPIENTS_READ: "ListNotifications GetNotificationPreferences WatchNotifications",
            _SERVICE: "UnsubscribeNotifications",
        },
    )
    | _methods(
        "batzen.status.v1.StatusService",
        {
            _ORCHESTRATOR: "OpenPayment RecordTransition SetPaymentLabels ImportPayments",
            _CONCERNED: "GetPayment ListTransitions ListPayments WatchPayment WatchPayments",
            _WATCHERS: "WatchMany",
        },
    )
    | _methods(
        "batzen.pricing.v1.PricingService",
        {
            _SERVICES: "CreateQuote",
            _SERVICES_READ: "GetQuote ListTaxRates ListFeePlans ListDiscounts",
            _ORCHESTRATOR: "RedeemQuote ReleaseQuote",
            _OPERATORS_MONEY: "PutTaxRate PutFeePlan PutDiscount",
        },
    )
    | _methods(
        "batzen.gateway.v1.IntentService",
        {
            _ORCHESTRATOR: "CreateIntent ConfirmIntent GetIntent CaptureIntent CancelIntent SyncIntent",
            _SERVICES_READ: "GetLimits",
        },
    )
    | _methods(
        "batzen.gateway.v1.CheckoutService",
        {_ORCHESTRATOR: "CreateCheckoutSession GetCheckoutSession ExpireCheckoutSession"},
    )
    | _methods(
        "batzen.gateway.v1.RefundService",
        {_ORCHESTRATOR: "CreateRefund", _SERVICES_READ: "GetRefund ListRefunds"},
    )
    | _methods(
        "batzen.gateway.v1.PaymentMethodService",
        {
            _PAYERS: """CreateSetupIntent CancelSetupIntent AttachPaymentMethod DetachPaymentMethod
                SetDefaultPaymentMethod""",
            _PAYERS_READ: "GetSetupIntent ListPaymentMethods",
        },
    )
    | _methods(
        "batzen.gateway.v1.SellerService",
        {
            _SERVICES: "PutSellerAccount",
            _SERVICES_MONEY: "CreateOnboardingLink",
            _SERVICES_READ: "ListPayouts",
            _ORCHESTRATOR_READS: "GetSellerAccount",
        },
    )
    | _methods(
        "batzen.gateway.v1.TransferService",
        {_ORCHESTRATOR: "CreateTransfer ReverseTransfer", _SERVICES_READ: "ListTransfers"},
    )
    | _methods(
        "batzen.gateway.v1.DisputeService",
        {
            _SERVICES_READ: "ListDisputes GetDispute",
            _SERVICES_MONEY: "SubmitDisputeEvidence",
            _OPERATORS_MONEY: "AcceptDispute",
        },
    )
    | _methods("batzen.gateway.v1.DiagnosisService", {_ORCHESTRATOR: "ExaminePayments ListBookedPayments"})
    | _methods("batzen.gateway.v1.GatewayEventSinkService", {_GATEWAY: "DeliverEvent DeliverNotice"})
    | _methods("batzen.gateway.v1.ContactService", {_ORCHESTRATOR: "GetContact PutContact"})
    | _methods("batzen.gateway.v1.ImportService", {_ORCHESTRATOR: "ImportRecords"})
    | _methods(
        "batzen.gateway.v1.GatewayOpsService",
        {
            _OPERATORS_MONEY: "WriteOffReceivable ErasePayer",
            _OPERATORS: "ReplayDeadLetters Reconcile",
            _OPERATORS_READ: """ListDeadLetters ListLedgerEntries GetBalances GetReconciliation ListReceivables
                ListOperatorActions ListAttempts ListWebhookEvents""",
            _SERVICES_READ: "GetSellerStatement",
        },
    )
)
"""Full method name to rule."""
