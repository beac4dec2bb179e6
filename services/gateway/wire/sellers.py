"""Requests about sellers as domain values, and their accounts and payouts as messages."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

from batzen.gateway.v1 import sellers_pb2
from services.gateway.payouts.domain import Payout
from services.gateway.sellers.domain import (
    Particulars,
    Requirements,
    SellerAccount,
    receipt_name,
    statement_descriptor_suffix,
    vat_id,
)
from services.gateway.wire.ledger import instant
from services.gateway.wire.responses import money, optional_timestamp, timestamp


def asked_particulars(request: sellers_pb2.PutSellerAccountRequest) -> Particulars:
    """Return what is to stand on statements and receipts; refuse what cannot."""
    suffix, name = request.statement_descriptor_suffix, request.receipt_name
    return Particulars(
        statement_descriptor_suffix=statement_descriptor_suffix(suffix, field="statement_descriptor_suffix")
        if request.HasField("statement_descriptor_suffix")
        else None,
        receipt_name=receipt_name(name, field="receipt_name") if request.HasField("receipt_name") else None,
        vat_id=vat_id(request.vat_id, field="vat_id") if request.HasField("vat_id") else None,
    )


def receipt_time(request: sellers_pb2.GetSellerAccountRequest) -> datetime | None:
    """Return of which time the receipt is that is to say what the seller is called; None for now."""
    return instant(request, "receipt_time", unset=None)


def account_to_proto(account: SellerAccount) -> sellers_pb2.SellerAccount:
    """Return the message of a seller's account."""
    details = account.details
    return sellers_pb2.SellerAccount(
        seller_id=account.seller_id,
        stripe_account_id=account.stripe_account_id,
        charges_enabled=account.charges_enabled,
        payouts_enabled=account.payouts_enabled,
        transfers_enabled=account.transfers_enabled,
        requirements_due=details.requirements.currently_due,
        capabilities=details.capabilities,
        requirements=_requirements(details.requirements),
        disabled_reason=details.disabled_reason,
        details_submitted=details.details_submitted,
        gone=account.gone,
        observe_time=optional_timestamp(account.observe_time),
        statement_descriptor_suffix=account.statement_descriptor_suffix,
        receipt_name=account.receipt_name,
        vat_id=account.vat_id,
    )


def payout_to_proto(payout: Payout) -> sellers_pb2.Payout:
    """Return the message of a payout."""
    return sellers_pb2.Payout(
        payout_id=payout.payout_id,
        amount=money(payout.amount_minor, payout.currency_code),
        state=payout.state,
        arrival_time=timestamp(payout.arrival_time),
        create_time=timestamp(payout.create_time),
        failure_code=payout.failure_code,
        is_automatic=payout.automatic,
        reconciliation_status=payout.reconciliation_status,
        seller_id=payout.seller_id,
    )


def _requirements(wanted: Requirements) -> sellers_pb2.SellerAccount.Requirements:
    return sellers_pb2.SellerAccount.Requirements(
        currently_due=wanted.currently_due,
        past_due=wanted.past_due,
        eventually_due=wanted.eventually_due,
        pending_verification=wanted.pending_verification,
        due_time=optional_timestamp(wanted.due_time),
        errors=[sellers_pb2.SellerAccount.RequirementError(**asdict(error)) for error in wanted.errors],
    )
