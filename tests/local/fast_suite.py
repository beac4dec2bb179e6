"""A suite that starts quickly."""

from __future__ import annotations

from functools import partial

from local.environments import Stripe
from local.suite import running_suite

fast_suite = partial(
    running_suite,
    services=("status",),
    stripe=Stripe(
        api_key="sk_test_none", webhook_secrets="whsec_none", connect_webhook_secrets="whsec_none", is_stand_in=False
    ),
)
"""One service is enough to see how processes are treated."""
