"""The records that callers kept before, of a payment that was made through the gateway."""

from __future__ import annotations

from datetime import UTC, datetime

from batzen.gateway.v1 import intents_pb2, observation_pb2, ops_pb2, refunds_pb2
from batzen.legacy_records import TransactionType, legacy_payment, legacy_transactions
from batzen.type.v1 import money_pb2, payment_pb2
from tests.gateway.conftest import Gateway
from tests.gateway.samples import AMOUNT_MINOR, Payments


async def test_the_old_records_of_a_payment_are_read_from_what_there_is(payments: Payments, replica: Gateway) -> None:
    payment_id = await payments.paid()
    await payments.gateway.CreateRefund(payments.refund_request(payment_id, 4_000, actor_id="somebody"))
    [charge] = await payments.charges(payment_id)
    [refund] = await payments.refunds(payment_id)
    async with replica.connect_ops() as ops:
        entries = (await ops.ListLedgerEntries(ops_pb2.ListLedgerEntriesRequest(payment_id=payment_id))).entries

    records = [(one.type, one.amount_minor, one.stripe_id) for one in legacy_transactions(entries)]
    assert records == [
        (TransactionType.CHARGE, AMOUNT_MINOR, charge["id"]),
        (TransactionType.REFUND, 4_000, refund["id"]),
    ]
    found = await payments.gateway.GetIntent(intents_pb2.GetIntentRequest(payment_id=payment_id))
    refunds = await payments.gateway.ListRefunds(refunds_pb2.ListRefundsRequest(payment_id=payment_id))
    record = legacy_payment(found, entries=entries, refunds=refunds.refunds)
    assert record.payment_intent_id == await payments.intent_id(payment_id)
    assert (record.charge_id, record.dispute_id, record.setup_intent_id) == (charge["id"], "", "")
    assert [(one.refund_id, one.processed_by) for one in record.refunds] == [(refund["id"], "somebody")]
    assert record.error_retriable is None


def test_what_the_old_record_says_of_an_error_a_dispute_and_a_refund_that_failed() -> None:
    observation = observation_pb2.PaymentObservation(last_error=payment_pb2.PaymentError(recoverable=True))
    setup = intents_pb2.Intent(intent_id="seti_1", is_setup=True)
    entries = []
    for fact, stripe_id, minor in (
        ("refunded", "re_1", -500), ("withdrawn", "dp_1", -700), ("refund_failed", "re_1", 500),
    ):  # fmt: skip
        entry = ops_pb2.LedgerEntry(fact=fact, stripe_id=stripe_id, account="stripe_clearing")
        entry.amount.CopyFrom(money_pb2.Money(amount_minor=minor, currency_code="CHF"))
        entry.value_time.FromDatetime(datetime(2026, 3, 1, tzinfo=UTC))
        entries.append(entry)

    record = legacy_payment(intents_pb2.GetIntentResponse(observation=observation, intents=[setup]), entries=entries)
    assert (record.setup_intent_id, record.dispute_id, record.error_retriable) == ("seti_1", "dp_1", True)
    assert [one.amount_minor for one in legacy_transactions(entries)] == [500, -500]
