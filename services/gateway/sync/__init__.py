"""Keeps the mirror current where no call of ours does: readings at Stripe, and which snapshots show anything new."""
