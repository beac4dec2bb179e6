"""Pages by which the suite is operated, in each of their states: messages as services send them, made into views."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from batzen.gateway.v1.disputes_pb2 import Dispute
from batzen.gateway.v1.ops_pb2 import (
    DeadLetter,
    GetBalancesResponse,
    GetReconciliationResponse,
    Receivable,
    ReplayDeadLettersResponse,
)
from batzen.gateway.v1.ops_pb2 import OperatorAction as GatewayAction
from batzen.gateway.v1.sellers_pb2 import CreateOnboardingLinkResponse, Payout, SellerAccount
from batzen.orchestrator.v1 import ops_pb2 as ops
from batzen.orchestrator.v1.mails_pb2 import Mail, MailState
from batzen.orchestrator.v1.notifications_pb2 import Notification, NotificationRecipient
from batzen.orchestrator.v1.webhooks_pb2 import WebhookDelivery, WebhookSubscription
from batzen.status.v1.status_pb2 import Payment
from batzen.type.v1.money_pb2 import Money
from batzen.type.v1.payment_pb2 import PAYMENT_STATE_PROCESSING, PAYMENT_STATE_SUCCEEDED
from services.console.desk import Shell
from services.console.operating.blocks import Block, Later, Page, Table, View
from services.console.operating.listing import Listing
from services.console.operating.pages import attention as attention_page
from services.console.operating.pages import dead_letters as dead_letters_page
from services.console.operating.pages import disputes as disputes_page
from services.console.operating.pages import notifications as notifications_page
from services.console.operating.pages import reconciliation as reconciliation_page
from services.console.operating.pages import sellers as sellers_page
from services.console.operating.pages import stuck as stuck_page
from services.console.operating.pages import webhooks as webhooks_page
from services.console.operating.pages.audit import LISTING as AUDIT
from services.console.operating.showing import signed
from services.console.operating.views import (
    attention,
    audit,
    dead_letters,
    disputes,
    mails,
    reconciliation,
    sellers,
    stuck,
    subscriptions,
)
from services.web.security.headers import PageKind
from tests.web.state import State

NOW: Final = datetime(2026, 11, 29, 13, 5, tzinfo=UTC)
PAID: Final = "pay_kqzvhwmtrsyxnbdfgjplcaeiou"
OTHER: Final = "pay_whmbtxqznvrkdlsfgycpjaeiou"


def at(**before: int) -> Timestamp:
    """Return an instant before now; with values below 0 one after it."""
    stamp = Timestamp()
    stamp.FromDatetime(NOW - timedelta(**before))
    return stamp


def chf(amount_minor: int) -> Money:
    """Return an amount."""
    return Money(amount_minor=amount_minor, currency_code="CHF")


def state(page: Page, *, may_act: bool = True, template: str = "operating.html") -> State:
    """Return a page in one state."""
    shown = replace(page, blocks=signed(page.blocks, lambda: "form"))
    shell = Shell(here=page.section, operator="anna", may_act=may_act, form="form")
    return State(
        front="console", template=template, values=lambda _: {"shell": shell, "page": shown}, kind=PageKind.CONSOLE
    )


def listed(
    listing: Listing, table: Table, *beside: Block, query: dict[str, str] | None = None, more: bool = False
) -> Page:
    """Return the page of a list, as the list itself makes it."""
    asked = query or {}
    return Page(
        title=listing.title,
        lead=listing.lead,
        section=listing.section,
        path=listing.path,
        crumb=listing.crumb,
        views=listing.views,
        filters=tuple(listing.filters(asked)),
        blocks=(listing.paged(table, asked, token="", next_token="t" if more else ""), *beside),
    )


LETTERS: Final = (
    DeadLetter(
        dead_letter_id="events/pi_3Q9ZkQ2eZvKYlo2C",
        kind=DeadLetter.KIND_WEBHOOK_EVENT,
        payment_id=PAID,
        subject_id="evt_1Q9ZkQ2eZvKYlo2C",
        subject_type="charge.refunded",
        attempt_count=12,
        last_error="PaymentUnknown: there is no payment with this intent",
        hold_time=at(hours=5),
        tries=[
            DeadLetter.Try(
                try_time=at(hours=9), error_class="StripeUnavailable", error="Stripe did not answer in 20 s"
            ),
            DeadLetter.Try(
                try_time=at(hours=5), error_class="PaymentUnknown", error="there is no payment with this intent"
            ),
        ],
        payloads=[
            DeadLetter.Payload(
                subject_id="evt_1Q9ZkQ2eZvKYlo2C",
                subject_type="charge.refunded",
                receive_time=at(hours=10),
                body=json.dumps({"id": "evt_1Q9ZkQ2eZvKYlo2C", "type": "charge.refunded", "livemode": False}).encode(),
            )
        ],
    ),
    DeadLetter(
        dead_letter_id="deliveries/pay_whmbtxqznvrkdlsfgycpjaeiou",
        kind=DeadLetter.KIND_DELIVERY,
        payment_id=OTHER,
        subject_id=OTHER,
        subject_type="reading",
        attempt_count=20,
        last_error="<b>HTML</b> in an error stays text",
        hold_time=at(minutes=12),
    ),
)
ITEMS: Final = (
    ops.AttentionItem(
        item_id="6f1c0b7e-6a0e-4ed5-8a61-0a4f3f6c7d10",
        payment_id=PAID,
        reason="DISPUTE_DUE",
        detail="An answer to the bank is due on 2 December.",
        raise_time=at(days=2),
        raise_revision=7,
    ),
    ops.AttentionItem(
        item_id="0d4b27a4-5b7e-4a3e-9a83-1c0b4cf1c9d2",
        payment_id=OTHER,
        reason="SURPLUS",
        detail="CHF 40.00 was taken twice.",
        raise_time=at(days=1),
        raise_revision=5,
        acknowledge_time=at(hours=20),
        acknowledged_by="bruno",
        note="I call the guest.",
    ),
    ops.AttentionItem(
        item_id="a1f2f6c2-87f3-4f1a-b9a3-1d7d5f1c2b3a",
        payment_id=OTHER,
        reason="REFUND_FAILED",
        detail="The bank sent a refund back.",
        raise_time=at(days=6),
        raise_revision=4,
        resolve_time=at(days=5),
        resolve_revision=6,
    ),
)
STUCK: Final = (
    ops.StuckPayment(
        payment=Payment(payment_id=PAID, state=PAYMENT_STATE_PROCESSING, total=chf(11_340)),
        stuck_time=at(hours=3),
        causes=[
            ops.StuckCause(reason="OUTCOME_UNKNOWN", since_time=at(hours=3), step="intent.confirm"),
            ops.StuckCause(reason="OVERDUE", since_time=at(minutes=8)),
        ],
        failures=7,
        last_error="Stripe did not answer in 20 s",
        next_try_time=at(minutes=-4),
        resolutions=[ops.RESOLUTION_SETTLE_AS_SEEN, ops.RESOLUTION_TRY_NOW],
    ),
    ops.StuckPayment(
        payment=Payment(payment_id=OTHER, state=PAYMENT_STATE_SUCCEEDED, total=chf(1_250_000)),
        stuck_time=at(minutes=30),
        causes=[ops.StuckCause(reason="TRANSITION_REFUSED", since_time=at(minutes=30))],
        resolutions=[ops.RESOLUTION_GIVE_UP_TRANSITIONS],
    ),
)
DISPUTE: Final = Dispute(
    dispute_id="dp_1Q9ZkQ2eZvKYlo2C",
    payment_id=PAID,
    amount=chf(11_340),
    reason="fraudulent",
    state=Dispute.STATE_NEEDS_RESPONSE,
    evidence_due_time=at(days=-2),
    create_time=at(days=5),
    network_reason_code="10.4",
    charge_id="ch_3Q9ZkQ2eZvKYlo2C",
    attempt=1,
    has_evidence=True,
    outstanding=chf(11_340),
    movements=[
        Dispute.Movement(
            balance_transaction_id="txn_1Q9ZkQ2eZvKYlo2C",
            amount=chf(-11_340),
            fee=chf(1_500),
            create_time=at(days=5),
            reporting_category="dispute",
        )
    ],
    evidence={"product_description": "A lesson of 60 minutes on 20 November, held in Zürich.", "receipt": "file_1Q9Z"},
    evidence_actor_id="anna",
)
WON: Final = Dispute(
    dispute_id="dp_1Q8ZkQ2eZvKYlo2D",
    payment_id=OTHER,
    amount=chf(4_000),
    reason="product_not_received",
    state=Dispute.STATE_WON,
    create_time=at(days=40),
    submission_count=1,
    outstanding=chf(0),
)
ASKING: Final = Dispute(
    dispute_id="dp_1Q8ZkQ2eZvKYlo2E",
    payment_id=OTHER,
    amount=chf(4_000),
    reason="unrecognized",
    state=Dispute.STATE_UNDER_REVIEW,
    inquiry=True,
    create_time=at(days=9),
    submission_count=1,
    past_due=True,
    outstanding=chf(0),
)
Difference = GetReconciliationResponse.Difference
RUN: Final = GetReconciliationResponse(
    done=True,
    matched_count=14_211,
    differences=[
        Difference(
            kind=Difference.KIND_AMOUNT,
            stripe_id="txn_1Q9ZkQ2eZvKYlo2C",
            payment_id=PAID,
            ours=chf(11_340),
            theirs=chf(11_430),
            list="charges",
            figure="captured",
            detail="Both have it, with other amounts.",
            find_time=at(minutes=40),
        ),
        Difference(
            kind=Difference.KIND_MISSING_HERE,
            stripe_id="re_1Q9ZkQ2eZvKYlo2C",
            theirs=chf(2_000),
            list="refunds",
            repaired=True,
            repair_reason="It was read again.",
            find_time=at(minutes=38),
        ),
    ],
    unexplained=[chf(90), Money(currency_code="EUR")],
    day_count=7,
    days_done=7,
    sums=[
        GetReconciliationResponse.Sum(
            list="charges", matched_count=9_100, matched=chf(98_120_050), in_transit_count=3, in_transit=chf(30_000)
        ),
        GetReconciliationResponse.Sum(list="refunds", matched_count=511, matched=chf(4_120_000), in_transit=chf(0)),
    ],
    counts=[GetReconciliationResponse.KindCount(kind=Difference.KIND_AMOUNT, count=1)],
    repaired_count=1,
    start_time=at(days=8),
    end_time=at(days=1),
    repair=True,
    actor_id="anna",
    create_time=at(hours=1),
    finish_time=at(minutes=30),
)
RUNNING: Final = GetReconciliationResponse(
    day_count=7,
    days_done=2,
    step="2026-11-23 charges",
    problem="Stripe did not answer in 20 s",
    start_time=at(days=8),
    end_time=at(days=1),
    actor_id="anna",
    create_time=at(minutes=2),
)
ACTIONS: Final = (
    GatewayAction(
        method="Reconcile",
        subject_id="recon_kqzvhwmtrsyxnbdf",
        actor_id="anna",
        asked_json='{"repair": true}',
        outcome_json='{"done": true}',
        create_time=at(hours=1),
    ),
    GatewayAction(
        method="WriteOffReceivable",
        subject_id="writeoff_kqzvhwmtrsyxnbdf",
        actor_id="bruno",
        reason="The seller is bankrupt, INC-9",
        payment_id=PAID,
        asked_json='{"amount_minor": 4000, "currency_code": "CHF"}',
        create_time=at(days=3),
    ),
)
SELLER: Final = SellerAccount(
    seller_id="coach-anna",
    stripe_account_id="acct_1Q9ZkQ2eZvKYlo2C",
    charges_enabled=True,
    payouts_enabled=False,
    transfers_enabled=True,
    details_submitted=True,
    disabled_reason="requirements.past_due",
    requirements=SellerAccount.Requirements(
        past_due=["individual.verification.document"],
        currently_due=["individual.verification.document", "external_account"],
        eventually_due=["individual.id_number"],
        pending_verification=["individual.dob.year"],
        due_time=at(days=-4),
        errors=[
            SellerAccount.RequirementError(
                code="verification_document_expired",
                reason="The document has expired; send one that is valid.",
                requirement="individual.verification.document",
            )
        ],
    ),
    statement_descriptor_suffix="YOGA",
    receipt_name="Anna Berg Yoga",
    vat_id="CHE-123.456.788 MWST",
    observe_time=at(minutes=12),
)
BALANCES: Final = GetBalancesResponse(
    balances=[
        GetBalancesResponse.Balance(account="seller:coach-anna", seller_id="coach-anna", amount=chf(-45_210)),
        GetBalancesResponse.Balance(account="seller:studio-9", seller_id="studio-9", amount=chf(1_200)),
    ]
)
RECEIVABLES: Final = (
    Receivable(payment_id=PAID, attempt=1, seller_id="studio-9", amount=chf(1_200), since_time=at(days=20)),
)
PAYOUTS: Final = (
    Payout(
        payout_id="po_1Q9ZkQ2eZvKYlo2C",
        amount=chf(120_000),
        state="paid",
        arrival_time=at(days=1),
        create_time=at(days=3),
    ),
    Payout(
        payout_id="po_1Q9ZkQ2eZvKYlo2D",
        amount=chf(20_000),
        state="failed",
        failure_code="account_closed",
        arrival_time=at(days=8),
        create_time=at(days=10),
    ),
)
RECEIVER: Final = WebhookSubscription(
    subscription_id="reservations",
    url="https://platform.example/hooks/payments",
    kinds=["PAYMENT_MOVED"],
    form=WebhookSubscription.FORM_LEGACY,
    create_time=at(days=90),
    update_time=at(days=2),
    secrets=[
        WebhookSubscription.Secret(secret_id="s2", create_time=at(hours=2)),
        WebhookSubscription.Secret(secret_id="s1", create_time=at(days=90), expire_time=at(hours=-22)),
    ],
    failing_time=at(minutes=50),
    failures=6,
    waiting_count=41,
    dead_count=2,
)
WORKING: Final = WebhookSubscription(
    subscription_id="warehouse",
    url="https://data.example/in",
    form=WebhookSubscription.FORM_FULL,
    create_time=at(days=9),
    update_time=at(days=9),
)
DELIVERIES: Final = (
    WebhookDelivery(
        delivery_id="msg_kqzvhwmtrsyxnbdf",
        subscription_id="reservations",
        kind="PAYMENT_MOVED",
        payment_id=PAID,
        revision=4,
        state=WebhookDelivery.STATE_WAITING,
        create_time=at(minutes=50),
        next_time=at(minutes=-9),
        try_count=6,
        tries=[
            WebhookDelivery.Try(
                time=at(minutes=6), outcome="REFUSED", status=503, duration=Duration(nanos=84_000_000), answer="busy"
            )
        ],
        body='{"type": "payment.moved"}',
    ),
    WebhookDelivery(
        delivery_id="msg_kqzvhwmtrsyxnbdg",
        subscription_id="reservations",
        kind="PAYMENT_MOVED",
        payment_id=OTHER,
        revision=9,
        state=WebhookDelivery.STATE_DELIVERED,
        create_time=at(days=1),
        end_time=at(days=1),
        try_count=1,
        tries=[
            WebhookDelivery.Try(time=at(days=1), outcome="DELIVERED", status=200, duration=Duration(nanos=31_000_000))
        ],
    ),
)
MAILS: Final = (
    Mail(
        fact_id="f1",
        kind="PAYMENT_RECEIVED",
        recipient=NotificationRecipient.NOTIFICATION_RECIPIENT_PAYER,
        recipient_id="payer-41",
        payment_id=PAID,
        state=MailState.MAIL_STATE_SENT,
        create_time=at(hours=2),
        end_time=at(hours=2),
    ),
    Mail(
        fact_id="f2",
        kind="PAYOUT_FAILED",
        recipient=NotificationRecipient.NOTIFICATION_RECIPIENT_SELLER,
        recipient_id="studio-9",
        state=MailState.MAIL_STATE_GIVEN_UP,
        failure_count=9,
        problem="421 try again later",
        create_time=at(days=3),
        end_time=at(days=1),
    ),
)
TOLD: Final = (
    Notification(
        notification_id="12",
        payment_id=PAID,
        kind="DISPUTE_OPENED",
        values={"amount_minor": "11340", "currency": "CHF"},
        create_time=at(days=5),
    ),
    Notification(
        notification_id="11", payment_id=OTHER, kind="REFUND_FAILED", create_time=at(days=6), read_time=at(days=6)
    ),
)
DECISIONS: Final = (
    ops.OperatorAction(
        action_id=9,
        method="RefundPayment",
        request_id="b3a0c6ef-6b38-4e0e-b3c7-0f1f5c2b8f11",
        caller="anna",
        actor_id="anna",
        reason="The lesson was cancelled.",
        payment_id=PAID,
        asked_json='{"amount": {"amount_minor": 4000, "currency_code": "CHF"}}',
        create_time=at(hours=4),
    ),
    ops.OperatorAction(
        action_id=8,
        method="ResolvePayment",
        request_id="0a1b2c3d-6b38-4e0e-b3c7-0f1f5c2b8f12",
        caller="console",
        actor_id="bruno",
        reason='=HYPERLINK("evil")',
        payment_id=OTHER,
        asked_json='{"resolution": "RESOLUTION_CANCEL"}',
        refusal="RESOLUTION_DOES_NOT_FIT",
        create_time=at(days=1),
    ),
)
ENTRIES: Final = (
    audit.Entry(
        audit_id=3,
        subject="anna",
        what="export",
        about="/disputes",
        detail="show=open",
        client_ip="192.0.2.7",
        correlation_id="5f0e8c1f7a9d4f6f9d0a64c2f5b1c3d7",
        act_time=NOW - timedelta(minutes=3),
    ),
)


def _page(title: str, section: str, crumb: tuple[str, str], blocks: Sequence[Block], lead: str = "") -> Page:
    return Page(title=title, lead=lead, section=section, crumb=crumb, blocks=blocks)


_DEAD = dead_letters_page.LISTING
_ATTENTION = attention_page.LISTING
_STUCK = stuck_page.LISTING
_DISPUTES = disputes_page.LISTING
_REPLAY = dead_letters.replay_form()
_SELLER_VIEWS = (
    View(title="Accounts", path=sellers.PATH, is_here=True),
    View(title="What sellers owe", path=sellers_page.OWED),
    View(title="Payouts", path=sellers_page.PAID_OUT),
)

STATES: Final = {
    "dead-letters": state(
        listed(_DEAD, dead_letters.table(LETTERS, now=NOW, is_filtered=False, replay=_REPLAY), more=True)
    ),
    "dead-letters-read-only": state(
        listed(_DEAD, dead_letters.table(LETTERS, now=NOW, is_filtered=False, replay=None)), may_act=False
    ),
    "dead-letters-empty": state(listed(_DEAD, dead_letters.table((), now=NOW, is_filtered=False, replay=_REPLAY))),
    "dead-letters-none-such": state(
        listed(
            _DEAD,
            dead_letters.table((), now=NOW, is_filtered=True, replay=_REPLAY),
            query={"kind": "event", "error": "Unknown"},
        )
    ),
    "dead-letter": state(
        _page(
            "Dead letter",
            "dead-letters",
            ("Dead letters", dead_letters.PATH),
            dead_letters.details(LETTERS[0], now=NOW),
            "events/pi_3Q9ZkQ2eZvKYlo2C",
        )
    ),
    "dead-letters-replayed": state(
        _page(
            "Replayed",
            "dead-letters",
            ("Dead letters", dead_letters.PATH),
            dead_letters.outcomes(
                ReplayDeadLettersResponse(
                    outcomes=[
                        ReplayDeadLettersResponse.Outcome(dead_letter_id="events/pi_3Q9ZkQ2eZvKYlo2C", succeeded=True),
                        ReplayDeadLettersResponse.Outcome(
                            dead_letter_id="deliveries/pay_whmbtxqznvrkdlsfgycpjaeiou",
                            error="PaymentUnknown: still none",
                        ),
                    ]
                )
            ),
            "What came of each dead letter that was tried again.",
        )
    ),
    "attention": state(listed(_ATTENTION, attention.table(ITEMS, now=NOW, is_filtered=False))),
    "attention-empty": state(listed(_ATTENTION, attention.table((), now=NOW, is_filtered=False))),
    "attention-item": state(
        _page(
            "Attention",
            "attention",
            ("Attention", attention.PATH),
            attention.details(ITEMS[0], now=NOW, may_act=True),
            f"DISPUTE_DUE of {PAID}",
        )
    ),
    "stuck": state(listed(_STUCK, stuck.table(STUCK, now=NOW, is_filtered=False))),
    "stuck-empty": state(listed(_STUCK, stuck.table((), now=NOW, is_filtered=False))),
    "disputes": state(listed(_DISPUTES, disputes.table((DISPUTE, ASKING, WON), now=NOW, is_filtered=False), more=True)),
    "disputes-empty": state(listed(_DISPUTES, disputes.table((), now=NOW, is_filtered=False))),
    "dispute-loading": state(
        _page(
            "Dispute",
            "disputes",
            ("Disputes", disputes.PATH),
            # What comes later stays away here: its address leads nowhere.
            [
                Later(key=one.key, title=one.title, url="") if isinstance(one, Later) else one
                for one in disputes.details(DISPUTE, now=NOW, may_act=True)
            ],
            DISPUTE.dispute_id,
        )
    ),
    "dispute-read-only": state(
        _page(
            "Dispute",
            "disputes",
            ("Disputes", disputes.PATH),
            [
                disputes.evidence(DISPUTE) if isinstance(one, Later) else one
                for one in disputes.details(DISPUTE, now=NOW, may_act=False)
            ],
            DISPUTE.dispute_id,
        ),
        may_act=False,
    ),
    "reconciliations": state(
        listed(
            reconciliation_page.RUNS,
            reconciliation.runs(ACTIONS, now=NOW),
            reconciliation.start_form(first="2026-11-28", last="2026-11-28"),
        )
    ),
    "reconciliations-empty": state(listed(reconciliation_page.RUNS, reconciliation.runs((), now=NOW))),
    "reconciliation": state(
        _page(
            "Reconciliation",
            "reconciliation",
            ("Reconciliations", reconciliation.PATH),
            (*reconciliation.details(RUN, now=NOW), reconciliation.differences(RUN, now=NOW)),
            "recon_kqzvhwmtrsyxnbdf",
        )
    ),
    "reconciliation-running": state(
        _page(
            "Reconciliation",
            "reconciliation",
            ("Reconciliations", reconciliation.PATH),
            (*reconciliation.details(RUNNING, now=NOW), reconciliation.differences(RUNNING, now=NOW)),
            "recon_kqzvhwmtrsyxnbdf",
        )
    ),
    "sellers": state(
        Page(
            title="Sellers",
            lead="What is owed to sellers by the ledger; find one by id to see the account and its onboarding.",
            section="sellers",
            path=sellers.PATH,
            views=_SELLER_VIEWS,
            filters=sellers.finding(""),
            blocks=(sellers.balances(BALANCES),),
        )
    ),
    "sellers-empty": state(
        Page(
            title="Sellers",
            lead="What is owed to sellers by the ledger; find one by id to see the account and its onboarding.",
            section="sellers",
            path=sellers.PATH,
            views=_SELLER_VIEWS,
            filters=sellers.finding(""),
            blocks=(sellers.balances(GetBalancesResponse()),),
        )
    ),
    "seller": state(
        Page(
            title="Sellers",
            lead="What coach-anna may do at Stripe, is owed and owes.",
            section="sellers",
            path=sellers.PATH,
            views=_SELLER_VIEWS,
            filters=sellers.finding("coach-anna"),
            blocks=(
                *sellers.account(SELLER, now=NOW, may_act=True),
                sellers.balances(BALANCES),
                sellers.receivables(RECEIVABLES, now=NOW),
                sellers.payouts(PAYOUTS, now=NOW),
            ),
        )
    ),
    "seller-gone": state(
        Page(
            title="Sellers",
            lead="What coach-anna may do at Stripe, is owed and owes.",
            section="sellers",
            path=sellers.PATH,
            views=_SELLER_VIEWS,
            filters=sellers.finding("coach-anna"),
            blocks=sellers.account(SellerAccount(seller_id="coach-anna", gone=True), now=NOW, may_act=True),
        )
    ),
    "seller-link": state(
        _page(
            "Onboarding link",
            "sellers",
            ("Seller", sellers.PATH),
            (
                sellers.link(
                    CreateOnboardingLinkResponse(
                        url="https://connect.stripe.example/setup/e/acct_1Q9Z/kqzvhwmtrsyxnbdf",
                        expire_time=at(minutes=-5),
                    )
                ),
            ),
            "For coach-anna.",
        )
    ),
    "webhooks": state(
        listed(
            webhooks_page.SUBSCRIPTIONS,
            subscriptions.table((RECEIVER, WORKING), now=NOW),
            subscriptions.put_form(None),
        )
    ),
    "webhooks-empty": state(
        listed(webhooks_page.SUBSCRIPTIONS, subscriptions.table((), now=NOW), subscriptions.put_form(None))
    ),
    "webhook": state(
        _page(
            "reservations",
            "webhooks",
            ("Webhooks", subscriptions.PATH),
            (
                *subscriptions.details(RECEIVER, now=NOW, may_act=True),
                subscriptions.deliveries(
                    DELIVERIES, now=NOW, replay=webhooks_page.replay_form(f"{subscriptions.PATH}/reservations")
                ),
            ),
            "A receiver of webhooks, what it was sent, and what came of that.",
        )
    ),
    "webhook-secret": state(
        _page(
            "New secret",
            "webhooks",
            ("reservations", f"{subscriptions.PATH}/reservations"),
            (subscriptions.secret("whsec_kqzvhwmtrsyxnbdfgjplcaeiou"),),
            "Of reservations.",
        )
    ),
    "webhook-tested": state(
        _page(
            "Test event",
            "webhooks",
            ("reservations", f"{subscriptions.PATH}/reservations"),
            subscriptions.delivery(DELIVERIES[0], now=NOW),
            "Of reservations.",
        )
    ),
    "notifications": state(listed(notifications_page.NOTIFICATIONS, mails.notifications(TOLD, now=NOW))),
    "notifications-empty": state(listed(notifications_page.NOTIFICATIONS, mails.notifications((), now=NOW))),
    "mails": state(
        listed(notifications_page.MAILS, mails.mails(MAILS, now=NOW, is_filtered=False), mails.replay_form())
    ),
    "mails-empty": state(listed(notifications_page.MAILS, mails.mails((), now=NOW, is_filtered=False))),
    "audit": state(listed(AUDIT, audit.decisions(DECISIONS, now=NOW))),
    "audit-at-stripe": state(listed(AUDIT, audit.at_stripe(ACTIONS, now=NOW), query={"source": "gateway"})),
    "audit-front": state(listed(AUDIT, audit.at_this_front(ENTRIES, now=NOW), query={"source": "console"})),
    "audit-empty": state(listed(AUDIT, audit.decisions((), now=NOW), query={"actor": "nobody"})),
}
