"""Payouts to banks, of sellers' accounts and of the platform: mirrored as Stripe reports them. Posts nothing."""
