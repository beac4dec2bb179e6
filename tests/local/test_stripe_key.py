"""The key of `make up` is tried before anything starts: what is wrong with it is one sentence."""

from __future__ import annotations

import pytest

from local.environments import Stripe, StripeKeyRefused
from local.stripe_key import tried
from sandbox.control import SandboxControl
from sandbox.serving import running


def asked_at(base: str, key: str) -> Stripe:
    return Stripe.from_environ({"STRIPE_API_KEY": key, "STRIPE_API_BASE": base})


async def test_a_key_is_tried_where_it_would_be_used() -> None:
    async with running() as sandbox, SandboxControl(sandbox.base_url) as control:
        assert (await tried(asked_at(sandbox.base_url, "sk_test_good"))).startswith("acct_1")
        assert await tried(Stripe.stand_in()) == ""

        await control.revoke_key("sk_test_gone_1")
        with pytest.raises(StripeKeyRefused, match=r"^Stripe does not take STRIPE_API_KEY: [^.]*revoked\.$"):
            await tried(asked_at(sandbox.base_url, "sk_test_gone_1"))

    with pytest.raises(StripeKeyRefused, match=r"^STRIPE_API_KEY could not be tried at http://127\.\S+: [^.]*\.$"):
        await tried(asked_at(sandbox.base_url, "sk_test_good"))


@pytest.mark.parametrize(
    ("key", "what"),
    [
        ("sk_live_1", "a live key"),
        ("rk_live_1", "a live key"),
        ("pk_test_1", "no key of Stripe's test mode"),
        ("whsec_1", "no key of Stripe's test mode"),
    ],
)
def test_no_key_but_one_of_the_test_mode_is_used_on_a_laptop(key: str, what: str) -> None:
    with pytest.raises(StripeKeyRefused, match=f"^STRIPE_API_KEY is {what}, and on a laptop") as caught:
        asked_at("http://127.0.0.1:1", key)

    assert key not in str(caught.value)


@pytest.mark.parametrize("every_s", ["0", "soon", "2.5", "3601"])
async def test_a_wrong_pause_between_readings_is_refused_by_name_before_the_key_is_tried(every_s: str) -> None:
    wrong = {"STRIPE_API_KEY": "sk_test_good", "BATZEN_STRIPE_POLL_EVERY_S": every_s}
    said = (
        f"^BATZEN_STRIPE_POLL_EVERY_S is '{every_s}' and is not a whole number from 1 to 3600; without it [^.]* s\\.$"
    )

    with pytest.raises(StripeKeyRefused, match=said):
        await tried(Stripe.from_environ(wrong))
