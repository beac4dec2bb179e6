"""Where each table would lie if rows lay on several servers, and every exception to the rules, each with its reason.

docs/scaling.md prints this; tests/test_sharding.py holds schema and statements to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tests.sharding import Spread

EVERYWHERE: Final = ""
"""In place of a column: a small table that every server has whole."""


@dataclass(frozen=True, slots=True)
class Exempt:
    """A statement that one server does not answer alone."""

    spread: Spread
    reason: str


TABLES: Final[Mapping[str, Mapping[str, str]]] = {
    "status": {
        "payments": "payment_id",
        "transitions": "payment_id",
        "payment_sellers": "payment_id",
        "payment_bookings": "payment_id",
        "compactions": EVERYWHERE,
    },
    "orchestrator": {
        "payments": "payment_id",
        "transitions": "payment_id",
        "requests": "payment_id",
        "quote_outbox": "payment_id",
        "booking_claims": "booking_id",
        "feeds": EVERYWHERE,
        "facts": "payment_id",
        "followed_payments": "payment_id",
        "payment_figures": "subject",
        "notifications": "recipient_id",
        "notification_recipients": "recipient_id",
        "notification_opt_outs": "recipient_id",
        "notification_policies": EVERYWHERE,
        "mails": "recipient_id",
        "webhook_subscriptions": EVERYWHERE,
        "webhook_secrets": EVERYWHERE,
        "webhook_lanes": "subject",
        "webhook_deliveries": "subject",
        "operator_actions": "payment_id",
        "attention_items": "payment_id",
        "diagnosis_rounds": EVERYWHERE,
        "diagnosis_findings": "payment_id",
        "start_switches": EVERYWHERE,
        "start_switch_changes": EVERYWHERE,
        "money_policies": EVERYWHERE,
        "declines": "counted",
    },
    "gateway": {
        "payments": "payment_id",
        "intents": "payment_id",
        "refunds": "payment_id",
        "disputes": "payment_id",
        "movements": "payment_id",
        "ledger_entries": "payment_id",
        "ledger_closings": EVERYWHERE,
        "ledger_days": EVERYWHERE,
        "balance_transactions": "payment_id",
        "balance_reads": EVERYWHERE,
        "reconciliations": EVERYWHERE,
        "reconciliation_findings": EVERYWHERE,
        "deliveries": "payment_id",
        "notices": "payment_id",
        "looks": "payment_id",
        "settlements": "payment_id",
        "receivables": "payment_id",
        "imports": "subject_id",
        "calls": "subject_id",
        "events": "subject",
        "event_runs": "subject",
        "event_polls": EVERYWHERE,
        "customers": "payer_id",
        "personal_keys": "holder",
        "erasures": "payer_id",
        "payment_methods": "payer_id",
        "method_consents": "payer_id",
        "setup_intents": "payer_id",
        "seller_accounts": "seller_id",
        "seller_receipt_names": "seller_id",
        "payouts": "seller_id",
        "payout_readings": "seller_id",
        "replays": "request_id",
        "stripe_accounts": EVERYWHERE,
    },
}
"""The distribution column of each table. Pricing is not split: all uses of a coupon are counted in one row."""

KEYS: Final[Mapping[str, str]] = {
    "webhook_deliveries_delivery_id": "the subject joins the key: the id is made of a fact, which is about one",
    "requests_pkey": "a claim table keyed by (caller, method, request_id) says the payment, and commits before the row",
    "attention_items_pkey": "the payment joins the key: the id is the fact's that raised it, which is of one payment",
    "operator_actions_request": "as `requests_pkey`",
    "facts_pkey": "the payment joins the key: a fact is of one payment, or of none and then of one server",
    "calls_pkey": "the subject joins the key: the id is made of operation and request, which have one subject",
    "erasures_pkey": "the payer joins the key: whoever repeats a request names the same one",
    "calls_request": "the subject joins the key: whoever repeats a request names the same payment, seller or payer",
    "events_pkey": "the subject joins the key: what an event is about is read from its body, and is the same each time",
    "intents_session_id": "as `intents_intent_id`; the session's metadata says the payment, too",
    "intents_intent_id": "a claim table keyed by Stripe's id says the payment; the intent's metadata says it, too",
    "refunds_refund_id": "a claim table keyed by the refund's id, which commits before the refund",
    "refunds_stripe_refund_id": "a claim table keyed by Stripe's id; the refund's metadata says the payment, too",
    "movements_movement_id": "a claim table keyed by the movement's id, which commits before the movement",
    "notices_pkey": "the payment joins the key: its id is made of what happened to one payment, or to none",
    "movements_stripe_id": "as `refunds_stripe_refund_id`; the transfer's metadata says the payment, too",
    "disputes_dispute_id": "a claim table keyed by Stripe's id says the payment; so does the dispute's charge",
    "balance_transactions_pkey": "the payment joins the key: Stripe never gives a balance transaction another source",
    "imports_pkey": "the subject joins the key: it is derived from the record's id, or said with it",
    "ledger_entries_pkey": "the payment joins the key: a fact is of one payment, or of none and then of one server",
    "customers_customer_id": "a claim table keyed by Stripe's id says the payer; the customer's metadata says it, too",
    "payment_methods_pkey": "a claim table keyed by Stripe's id says the payer; so does the method's customer",
    "setup_intents_pkey": "a claim table keyed by Stripe's id says the payer; the intent's metadata says it, too",
    "method_consents_pkey": "the payer joins the key: Stripe never gives a method to another customer",
    "seller_accounts_stripe_account_id": "a claim table keyed by Stripe's id says the seller",
}
"""Unique keys without the distribution column, and what would hold each of them."""

_EACH_BY_ITSELF: Final = "each server is asked for its own, by a loop that nobody waits for"
_BY_CLAIM: Final = "asked by another id: the claim table keyed by it says which server has the row"
_WITH_SUBJECT: Final = "the caller knows the subject, which joins the condition with the key"
_CONSENT: Final = "the payer's consent goes to the payer's server first: it says nothing until a method is kept"
_SPLIT: Final = "what is asked at once is split by server"
_NAMED: Final = "the event alone is stored; whose customer it names is asked by a claim table of customers before"
_PAYER_JOINS: Final = "the payer joins the key: whoever repeats a request names the same one"
_FIGURE: Final = "a figure: the sum, or the oldest, of what each server says"
_TOLD: Final = "whom facts are told: split by server, one transaction over all of them"
_COMPARED: Final = "a reconciliation, which nobody waits for: each server looks through its own"
_OPERATOR: Final = "an operator's, or a start's: every server is asked"

STATEMENTS: Final[Mapping[str, Exempt]] = {
    # Status.
    "status.storage.statements.RECORD_MANY": Exempt(
        Spread.MANY, "a batch is grouped by server: one that is away fails its own group alone"
    ),
    "status.storage.statements.LOOK_UP_MANY": Exempt(Spread.MANY, _SPLIT),
    "status.storage.statements.READ_MANY": Exempt(Spread.MANY, _SPLIT),
    "status.imports.store._KEEP": Exempt(Spread.MANY, _SPLIT),
    "status.imports.store._KNOWN": Exempt(Spread.MANY, _SPLIT),
    "status.storage.statements.FOLLOW": Exempt(Spread.MANY, _SPLIT),
    "status.storage.statements.MOVED_SINCE": Exempt(
        Spread.EVERY, "transaction numbers are a server's own: one horizon and one position for each"
    ),
    "status.changes.log._IS_ORDER_BROKEN": Exempt(Spread.EVERY, _OPERATOR),
    "status.storage.retention._is_awaited": Exempt(Spread.EVERY, _OPERATOR),
    "status.storage.retention._unsorted": Exempt(Spread.EVERY, _OPERATOR),
    # Orchestrator.
    "orchestrator.storage.statements.REQUEST": Exempt(Spread.EVERY, _BY_CLAIM),
    "orchestrator.storage.statements.SAVE": Exempt(
        Spread.EVERY, "its request is found by its key alone; with the payment in that key it is one server's"
    ),
    "orchestrator.storage.statements.SAVE_ACTION": Exempt(
        Spread.EVERY, "its request is found by its key alone; with the payment in that key it is one server's"
    ),
    "orchestrator.operations.attention.LOCK": Exempt(Spread.EVERY, _OPERATOR),
    "orchestrator.operations.stuck.STUCK": Exempt(Spread.EVERY, _OPERATOR),
    "orchestrator.operations.actions.OF_ALL": Exempt(Spread.EVERY, _OPERATOR),
    "orchestrator.operations.actions.OF_ACTOR": Exempt(Spread.EVERY, _OPERATOR),
    "orchestrator.storage.booking_claims.CLAIM": Exempt(
        Spread.MANY, "the bookings of one payment: a claim on each server, given back where another has one"
    ),
    "orchestrator.storage.booking_claims.CLAIMS": Exempt(Spread.MANY, _SPLIT),
    "orchestrator.storage.declines.ADD": Exempt(
        Spread.EVERY, "payer, address and card are of servers of their own, a row for each; what is old goes on each"
    ),
    "orchestrator.storage.declines.BLOCKING": Exempt(
        Spread.MANY, "payer, address and the cards they tried are each looked up where they are; the largest counts"
    ),
    "orchestrator.diagnosis.plan_store._STANDING": Exempt(Spread.MANY, _SPLIT),
    "orchestrator.diagnosis.round_store._FIND_TENANTS": Exempt(Spread.EVERY, _EACH_BY_ITSELF),
    "orchestrator.diagnosis.round_store._KEEP": Exempt(Spread.MANY, _SPLIT),
    "orchestrator.diagnosis.round_store._FINISH": Exempt(Spread.EVERY, _EACH_BY_ITSELF),
    "orchestrator.diagnosis.round_store._PAGE": Exempt(Spread.EVERY, _OPERATOR),
    "orchestrator.diagnosis.round_store._WITH_FINDINGS": Exempt(Spread.EVERY, _EACH_BY_ITSELF),
    "orchestrator.diagnosis.round_store._STANDING": Exempt(Spread.EVERY, _FIGURE),
    "orchestrator.storage.statements.ATTENTION": Exempt(Spread.EVERY, _FIGURE),
    "orchestrator.storage.statements.OUTBOX_WAITING": Exempt(Spread.EVERY, _FIGURE),
    "orchestrator.storage.figures.PLANNED": Exempt(Spread.EVERY, _FIGURE),
    "orchestrator.storage.figures.OPEN_BOOKINGS": Exempt(Spread.EVERY, _FIGURE),
    "orchestrator.storage.statements.FORGET": Exempt(Spread.EVERY, _EACH_BY_ITSELF),
    "orchestrator.facts.store.KEEP": Exempt(Spread.MANY, _TOLD),
    "orchestrator.facts.store.FORGET": Exempt(Spread.EVERY, _EACH_BY_ITSELF),
    "orchestrator.facts.feed_rows.FIND_TENANTS": Exempt(Spread.EVERY, _EACH_BY_ITSELF),
    "orchestrator.facts.feed_rows.SEEN": Exempt(Spread.MANY, _TOLD),
    "orchestrator.facts.feed_rows.FOLLOW": Exempt(Spread.MANY, _TOLD),
    "orchestrator.figures.sink.SPLITS": Exempt(Spread.MANY, _TOLD),
    "orchestrator.figures.sink.ADD": Exempt(Spread.MANY, _TOLD),
    "orchestrator.figures.store.BY_SUBJECT": Exempt(Spread.EVERY, _OPERATOR),
    "orchestrator.notifications.fact_sink.OPT_OUTS": Exempt(Spread.MANY, _TOLD),
    "orchestrator.notifications.store.LAST": Exempt(Spread.MANY, _SPLIT),
    "orchestrator.notifications.store.FORGET": Exempt(Spread.EVERY, _EACH_BY_ITSELF),
    "orchestrator.notifications.fact_sink.TAKE_NUMBERS": Exempt(Spread.MANY, _TOLD),
    "orchestrator.notifications.fact_sink.SHOW": Exempt(Spread.MANY, _TOLD),
    "orchestrator.notifications.fact_sink.MAIL": Exempt(Spread.MANY, _TOLD),
    "orchestrator.mail.store.PAGE": Exempt(Spread.EVERY, _OPERATOR),
    "orchestrator.mail.store.REPLAY": Exempt(Spread.EVERY, _OPERATOR),
    "orchestrator.mail.store.WAITING": Exempt(Spread.EVERY, _FIGURE),
    "orchestrator.mail.store.FORGET": Exempt(Spread.EVERY, _EACH_BY_ITSELF),
    "orchestrator.webhooks_out.sink.DEMAND": Exempt(Spread.MANY, _TOLD),
    "orchestrator.webhooks_out.sink.ADD": Exempt(Spread.MANY, _TOLD),
    "orchestrator.webhooks_out.actions.KNOWN": Exempt(Spread.EVERY, _OPERATOR),
    "orchestrator.webhooks_out.log.PAGE": Exempt(
        Spread.EVERY, "a page of a list: of every server, merged by (create_time, delivery_id)"
    ),
    "orchestrator.webhooks_out.log.TESTED": Exempt(Spread.EVERY, _OPERATOR),
    "orchestrator.webhooks_out.log.OF_PERIOD": Exempt(Spread.EVERY, _OPERATOR),
    "orchestrator.webhooks_out.log.AGAIN": Exempt(Spread.EVERY, _OPERATOR),
    "orchestrator.webhooks_out.log.DEMAND": Exempt(Spread.MANY, _SPLIT),
    "orchestrator.webhooks_out.subscriptions.PAGE": Exempt(Spread.EVERY, _OPERATOR),
    "orchestrator.webhooks_out.upkeep.GIVE_UP": Exempt(Spread.EVERY, _EACH_BY_ITSELF),
    "orchestrator.webhooks_out.upkeep.FORGET": Exempt(Spread.EVERY, _EACH_BY_ITSELF),
    "orchestrator.webhooks_out.upkeep.FORGET_LANES": Exempt(Spread.EVERY, _EACH_BY_ITSELF),
    "orchestrator.webhooks_out.upkeep.FORGET_SUBSCRIPTIONS": Exempt(
        Spread.EVERY, "each server says whether it has deliveries of one that was deleted; then it goes everywhere"
    ),
    "orchestrator.webhooks_out.upkeep.STANDINGS": Exempt(Spread.EVERY, _FIGURE),
    # Gateway.
    "gateway.call_log.store.UNKNOWN": Exempt(Spread.EVERY, _FIGURE),
    "gateway.webhooks.statements.WAITING_SUBJECTS": Exempt(Spread.EVERY, _FIGURE),
    "gateway.call_log.store._CALL": Exempt(Spread.EVERY, _WITH_SUBJECT),
    "gateway.call_log.store._CALL_BY_ID": Exempt(Spread.EVERY, _WITH_SUBJECT),
    "gateway.notices.outbox.WANTED": Exempt(Spread.EVERY, _WITH_SUBJECT),
    "gateway.notices.outbox.DELIVERED": Exempt(Spread.EVERY, _WITH_SUBJECT),
    "gateway.mirror.statements.SAVE": Exempt(Spread.EVERY, _WITH_SUBJECT),
    "gateway.mirror.statements.START": Exempt(Spread.MANY, _CONSENT),
    "gateway.mirror.statements.START_NEW": Exempt(Spread.MANY, _CONSENT),
    "gateway.mirror.statements.FIND": Exempt(Spread.EVERY, _BY_CLAIM),
    "gateway.mirror.statements.PAYMENT_OF": Exempt(Spread.EVERY, _BY_CLAIM),
    "gateway.mirror.statements.REFUND": Exempt(Spread.EVERY, _BY_CLAIM),
    "gateway.mirror.statements.WAKE_SETTLEMENTS": Exempt(
        Spread.EVERY,
        "a seller's payments are on every server, each of which is asked; what is missed is due by its time",
    ),
    "gateway.polling.store._KNOWN": Exempt(Spread.EVERY, _WITH_SUBJECT),
    "gateway.polling.store._JOIN": Exempt(Spread.EVERY, _EACH_BY_ITSELF),
    "gateway.polling.store._POSITION": Exempt(Spread.EVERY, _BY_CLAIM),
    "gateway.polling.store._IS_OURS": Exempt(Spread.EVERY, _BY_CLAIM),
    "gateway.webhooks.statements.DONE": Exempt(Spread.EVERY, _WITH_SUBJECT),
    "gateway.webhooks.statements.STORE": Exempt(Spread.EVERY, _NAMED),
    "gateway.webhooks.statements.STORE_AND_DEMAND": Exempt(Spread.EVERY, _NAMED),
    "gateway.webhooks.statements.STORE_IF_KNOWN": Exempt(
        Spread.EVERY, "the event, its payment and its payer: a statement each, the payment's fence looked at first"
    ),
    "gateway.webhooks.statements.REKEY": Exempt(Spread.EVERY, _WITH_SUBJECT),
    "gateway.webhooks.statements.PAYER_OF": Exempt(Spread.EVERY, _BY_CLAIM),
    "gateway.mirror.statements.OF_PAYER": Exempt(Spread.EVERY, _OPERATOR),
    "gateway.erasure.statements.BEGIN": Exempt(
        Spread.EVERY, "the payer's server destroys the key; before it every server is asked for the payer's payments"
    ),
    "gateway.erasure.statements.EMPTY": Exempt(Spread.EVERY, _OPERATOR),
    "gateway.erasure.statements.END": Exempt(Spread.EVERY, _PAYER_JOINS),
    "gateway.erasure.statements.KNOWN": Exempt(Spread.EVERY, _PAYER_JOINS),
    "gateway.erasure.statements.REMAINS": Exempt(Spread.EVERY, _OPERATOR),
    "gateway.erasure.statements.SEEN": Exempt(Spread.EVERY, _OPERATOR),
    "gateway.erasure.statements.WITH_DUE_WORK": Exempt(Spread.EVERY, _OPERATOR),
    "gateway.personal.statements.DESTROY_DAYS": Exempt(Spread.EVERY, _EACH_BY_ITSELF),
    "gateway.personal.statements.REWRAP": Exempt(Spread.MANY, _SPLIT),
    "gateway.personal.statements.WRAPPED_BY_OTHERS": Exempt(Spread.EVERY, _EACH_BY_ITSELF),
    "gateway.sellers.store.claim": Exempt(Spread.EVERY, _WITH_SUBJECT),
    "gateway.sellers.store.seller_of": Exempt(Spread.EVERY, _BY_CLAIM),
    "gateway.sellers.store.begin_reading": Exempt(Spread.EVERY, _BY_CLAIM),
    "gateway.payouts.store.FAILED_SINCE": Exempt(Spread.EVERY, _FIGURE),
    "gateway.sellers.store.NOTICE": Exempt(Spread.MANY, "of one seller and no payment: they lie together"),
    "gateway.payouts.store.ADD": Exempt(
        Spread.MANY, "all of one seller: the caller knows which, and it joins the rows"
    ),
    "gateway.payment_methods.statements.OWNER": Exempt(Spread.EVERY, _BY_CLAIM),
    "gateway.payment_methods.statements.PAYER_OF": Exempt(Spread.EVERY, _BY_CLAIM),
    "gateway.payment_methods.statements.SETUP": Exempt(Spread.EVERY, _BY_CLAIM),
    "gateway.payment_methods.statements.NEEDING": Exempt(
        Spread.EVERY, "a claim table keyed by the method says which payments need it"
    ),
    "gateway.payment_methods.statements.SAVE": Exempt(Spread.EVERY, _WITH_SUBJECT),
    "gateway.operations.actions.PAGE": Exempt(Spread.EVERY, _OPERATOR),
    "gateway.webhooks.listing.BY_TIME": Exempt(Spread.EVERY, _OPERATOR),
    "gateway.webhooks.listing.OF_SUBJECTS": Exempt(Spread.EVERY, _OPERATOR),
    "gateway.dead_letters.listing._PAYLOADS": Exempt(Spread.EVERY, _OPERATOR),
    "gateway.dead_letters.listing._SUBJECTS": Exempt(Spread.EVERY, _OPERATOR),
    "gateway.stripe_api.platform_account._WITHOUT_ANSWER": Exempt(Spread.EVERY, _OPERATOR),
    "gateway.ledger.statements.OWED": Exempt(Spread.EVERY, _FIGURE),
    "gateway.ledger.statements.LINES": Exempt(Spread.EVERY, "a page: of every server, merged by time"),
    "gateway.ledger.statements.CLOSE": Exempt(Spread.EVERY, "each server closes the days of its own entries"),
    "gateway.ledger.statements.DRIFT": Exempt(Spread.EVERY, "each server looks at its own closings"),
    "gateway.ledger.entry_rows.APPEND": Exempt(
        Spread.MANY, "the facts of no payment lie together; others are split by server"
    ),
    "gateway.balance.store._KEEP": Exempt(Spread.MANY, _SPLIT),
    "gateway.balance.store._MISSING": Exempt(Spread.EVERY, _BY_CLAIM),
    "gateway.balance.store._OWNERS": Exempt(Spread.EVERY, _BY_CLAIM),
    "gateway.reconciliation.ours._CHARGES": Exempt(Spread.EVERY, _BY_CLAIM),
    "gateway.reconciliation.ours._BALANCE": Exempt(Spread.EVERY, _BY_CLAIM),
    "gateway.reconciliation.ours._MOVEMENTS": Exempt(Spread.EVERY, _BY_CLAIM),
    "gateway.reconciliation.ours._DISPUTES": Exempt(Spread.EVERY, _BY_CLAIM),
    "gateway.reconciliation.ours._PAYOUTS": Exempt(Spread.EVERY, _BY_CLAIM),
    "gateway.reconciliation.ours._TRANSACTIONS_BETWEEN": Exempt(Spread.EVERY, _COMPARED),
    "gateway.reconciliation.ours._FACTS_BETWEEN": Exempt(Spread.EVERY, _COMPARED),
    "gateway.mirror.statements.READ_MANY": Exempt(Spread.MANY, _SPLIT),
    "orchestrator.imports.store._KEEP": Exempt(Spread.MANY, _SPLIT),
    "orchestrator.imports.store._KNOWN": Exempt(Spread.MANY, _SPLIT),
    "gateway.imports.statements.KNOWN": Exempt(Spread.EVERY, _WITH_SUBJECT),
    "gateway.imports.statements.KEEP_PAYMENTS": Exempt(Spread.MANY, _SPLIT),
    "gateway.imports.statements.KEEP_CUSTOMERS": Exempt(Spread.MANY, _SPLIT),
    "gateway.imports.statements.KEEP_SELLERS": Exempt(Spread.MANY, _SPLIT),
    "gateway.imports.statements.PAYMENTS_OF": Exempt(Spread.EVERY, _BY_CLAIM),
    "gateway.imports.statements.CUSTOMERS": Exempt(Spread.MANY, _BY_CLAIM),
    "gateway.imports.statements.SELLERS": Exempt(Spread.MANY, _BY_CLAIM),
    "gateway.reconciliation.standing._CAPTURED": Exempt(Spread.EVERY, _COMPARED),
    "gateway.reconciliation.standing._SETTLEMENTS": Exempt(Spread.MANY, _SPLIT),
    "gateway.reconciliation.standing._REDELIVER": Exempt(Spread.MANY, _SPLIT),
    "gateway.diagnosis.store._RECORDS": Exempt(
        Spread.EVERY, "what is kept of payments is split by server; their balance transactions are asked by a claim"
    ),
    "gateway.diagnosis.store._BOOKED": Exempt(Spread.EVERY, _COMPARED),
    "gateway.reconciliation.books._SLICE": Exempt(Spread.EVERY, _COMPARED),
    "gateway.reconciliation.books._UNBALANCED": Exempt(Spread.EVERY, _COMPARED),
    "gateway.reconciliation.books._UNCLASSIFIED": Exempt(Spread.EVERY, _COMPARED),
    "gateway.reconciliation.books._CLEARING_SLICE": Exempt(Spread.EVERY, _COMPARED),
    "gateway.reconciliation.books._CLEARING": Exempt(Spread.EVERY, _COMPARED),
    "gateway.retention.CALLS": Exempt(Spread.EVERY, _EACH_BY_ITSELF),
    "gateway.retention.NOTICES": Exempt(Spread.EVERY, _EACH_BY_ITSELF),
    "gateway.retention.DELIVERIES": Exempt(Spread.EVERY, _EACH_BY_ITSELF),
    "gateway.retention.EVENTS": Exempt(Spread.EVERY, _EACH_BY_ITSELF),
    "gateway.retention.SETUP_INTENTS": Exempt(Spread.EVERY, _EACH_BY_ITSELF),
    "gateway.retention.METHODS": Exempt(Spread.EVERY, _EACH_BY_ITSELF),
    "gateway.retention.CONSENTS": Exempt(Spread.EVERY, _EACH_BY_ITSELF),
    "gateway.retention.EVENT_RUNS": Exempt(Spread.EVERY, _EACH_BY_ITSELF),
    "gateway.disputes.statements.PAYMENT": Exempt(Spread.EVERY, _BY_CLAIM),
    "gateway.disputes.statements.PAGE": Exempt(
        Spread.EVERY, "a page of a list: of every server, merged by (create_time, dispute_id)"
    ),
    "gateway.receivables.store.PAGE": Exempt(
        Spread.EVERY, "a page of a list: of every server, merged by (since, payment_id, attempt, seller_id)"
    ),
    "gateway.receivables.store.COUNT": Exempt(Spread.EVERY, _FIGURE),
    "gateway.mirror.statements.OWING": Exempt(
        Spread.EVERY, "once for each transfer that nets: the first few of every server, merged by (since, payment_id)"
    ),
    "gateway.settlement.metrics.WAITING": Exempt(Spread.EVERY, _FIGURE),
    "gateway.disputes.statements.FIGURES": Exempt(Spread.EVERY, _FIGURE),
    # The engine of due work.
    "work.next_due": Exempt(Spread.EVERY, _EACH_BY_ITSELF),
    "work.claim": Exempt(Spread.EVERY, _EACH_BY_ITSELF),
    "work.renew": Exempt(Spread.MANY, _SPLIT),
    "work.renew(calls)": Exempt(Spread.EVERY, _WITH_SUBJECT),
    "work.finish(calls)": Exempt(Spread.EVERY, _WITH_SUBJECT),
    "work.put_back(calls)": Exempt(Spread.EVERY, _WITH_SUBJECT),
    "work.fail(calls)": Exempt(Spread.EVERY, _WITH_SUBJECT),
    "work.renew(erasures)": Exempt(Spread.EVERY, _PAYER_JOINS),
    "work.finish(erasures)": Exempt(Spread.EVERY, _PAYER_JOINS),
    "work.put_back(erasures)": Exempt(Spread.EVERY, _PAYER_JOINS),
    "work.fail(erasures)": Exempt(Spread.EVERY, _PAYER_JOINS),
    "work.renew(notices)": Exempt(Spread.EVERY, _WITH_SUBJECT),
    "work.finish(notices)": Exempt(Spread.EVERY, _WITH_SUBJECT),
    "work.put_back(notices)": Exempt(Spread.EVERY, _WITH_SUBJECT),
    "work.fail(notices)": Exempt(Spread.EVERY, _WITH_SUBJECT),
}
"""Every other statement names one payment, or one of whatever its tables lie by."""

PARTS: Final = frozenset(
    {
        "gateway.webhooks.statements._STORE",
        "gateway.webhooks.statements._INSERT",
        "gateway.webhooks.statements._DEMAND",
        "gateway.settlement.listing._LISTED",
        "gateway.mirror.statements._NOTICES",
        "gateway.payouts.store._NOTICES",
    }
)
"""Parts of statements, which look like whole ones."""

BUILT: Final[Mapping[str, str]] = {
    "status.listing.listing": "a page of a list: of every server, merged by (open_time, payment_id)",
    "status.changes.log": "a page of the feed: a position for each server",
    "status.storage.retention": "partitions of months, by the owner's role on each server",
    "orchestrator.webhooks_out.lanes": "names the subscription, which every server has, and in it one subject",
    "gateway.dead_letters.replays": "names the row",
    "gateway.notices.notice_rows": "is part of the statement that keeps what was noticed",
    "gateway.ledger.entry_rows": "is part of the statement on the payment whose facts it books",
    "gateway.ledger.statements": "entries: of every server, merged by time; balances: the sum of what each server says",
}
"""Modules that put statements together as they run, which no constant shows."""

FUNCTIONS: Final[Mapping[str, str]] = {
    "outbox_of": "is given the payment, and would be called where that lies",
    "mirror_of": "is given the payment, and would be called where that lies",
    "methods_of": "is given the payer, and would be called where that lies",
    "may_need_method": "is given the method: the claim table keyed by it would hold the lock and the payments",
    "payments_needing": "as may_need_method",
    "ledger_fact_is_balanced": "is of one fact, whose entries lie together",
    "claim_bookings": "is given the bookings of one server, and would be called on each that has some of a payment's",
}
"""Functions in the database that read tables; a plan does not show what they read."""


def table() -> str:
    """Return tables and exceptions as Markdown."""
    lines = ["| service | by | tables |", "| --- | --- | --- |"]
    for service, tables in TABLES.items():
        for column in dict.fromkeys(tables.values()):
            names = ", ".join(f"`{name}`" for name, by in tables.items() if by == column)
            lines.append(f"| {service} | {f'`{column}`' if column else 'on every server'} | {names} |")
    lines += ["", "| unique without it | held by |", "| --- | --- |"]
    lines += [f"| `{name}` | {reason} |" for name, reason in KEYS.items()]
    lines += ["", "| statement | servers | how it would be asked |", "| --- | --- | --- |"]
    lines += [f"| `{name}` | {one.spread.name.lower()} | {one.reason} |" for name, one in STATEMENTS.items()]
    lines += [f"| `{name}`, built | | {reason} |" for name, reason in BUILT.items()]
    return "\n".join(lines) + "\n"
