"""Each seller of a cart gets its part: by transfers of our own, once, and what is in the way is waited for."""

from __future__ import annotations

import pytest

from sandbox.control import SandboxControl
from tests.gateway.conftest import Gateway
from tests.gateway.samples import Payments
from tests.gateway.settling import Carts, part


@pytest.fixture
def carts(replica: Gateway, payments: Payments, stripe: SandboxControl) -> Carts:
    return Carts(replica, payments, stripe)


async def test_each_seller_of_a_cart_gets_what_the_quote_says(carts: Carts) -> None:
    s1, s2, s3 = await carts.sellers(3)

    payment_id = await carts.paid(part(s1, 10_000), part(s2, 5_000), part(s3, 3_000))

    assert await carts.settled(payment_id) == {s1: 8_500, s2: 4_250, s3: 2_550}
    transfers = await carts.transfers(payment_id)
    [charge] = await carts.payments.charges(payment_id)
    assert [one["source_transaction"] for one in transfers] == [charge["id"]] * 3
    assert all(one["metadata"]["payment_id"] == payment_id for one in transfers)
