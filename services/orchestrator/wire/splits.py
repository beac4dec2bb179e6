"""Writes who gets what of a payment, as the gateway is told it with the charge."""

from __future__ import annotations

from batzen.gateway.v1 import split_pb2
from services.orchestrator.domain.plan import Plan
from services.orchestrator.wire import services
from services.shared.split import LinePart, Split
from services.wire import fill_optional_instant


def seller_parts(split: Split) -> list[split_pb2.SellerPart]:
    """Return each seller's part, in the order of their lines."""
    parts: dict[str, split_pb2.SellerPart] = {}
    for line in split.lines:
        if line.seller_id not in parts:
            parts[line.seller_id] = split_pb2.SellerPart(seller_id=line.seller_id, is_platform=line.is_platform)
        parts[line.seller_id].lines.append(_line(line))
    return list(parts.values())


def settlement_terms(plan: Plan) -> split_pb2.SettlementTerms:
    """Return on which terms the sellers of a payment get their parts."""
    policy = plan.terms.policy
    message = split_pb2.SettlementTerms(
        dispute_recovery=f"DISPUTE_RECOVERY_{policy.dispute_recovery}", nets_receivables=policy.nets_receivables
    )
    fill_optional_instant(message, "pay_time", policy.pay_time(services.ends(plan.quote_request)))
    return message


def _line(line: LinePart) -> split_pb2.LinePart:
    return split_pb2.LinePart(
        line_id=line.line_id,
        gross_minor=line.gross_minor,
        seller_minor=line.seller_minor,
        platform_fee_minor=line.platform_fee_minor,
        fee_vat_minor=line.fee_vat_minor,
        fee_vat_country=line.fee_vat_country,
        platform_vat_minor=line.platform_vat_minor,
        vat_country=line.vat_country,
        vat_minor=line.vat_minor,
        discounts_funded_minor=line.discounts_funded_minor,
        surcharges_minor=line.surcharges_minor,
        rounding_minor=line.rounding_minor,
    )
