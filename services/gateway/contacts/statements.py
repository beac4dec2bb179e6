"""The statements on payers' contacts, each with its name. What they mean is said where `payers` runs them."""

from __future__ import annotations

from typing import Final

KEPT: Final = """
SELECT customer_id, details, contact, contact_read_time FROM customers WHERE tenant_id = $1 AND payer_id = $2"""

READ: Final = """
UPDATE customers SET contact = $4, contact_read_time = $5
WHERE tenant_id = $1 AND payer_id = $2 AND customer_id = $3 AND contact IS NOT DISTINCT FROM $6"""
"""What Stripe was told meanwhile is newer, and stays."""
