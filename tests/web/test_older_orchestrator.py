"""The front beside an orchestrator of the release before, which knows no choice of a timing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import httpx
import pytest
from grpc import aio

from batzen.client import new_request_id
from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from local.ports import HOST
from local.suite import Suite
from tests.eventually import WITHIN_S
from tests.web import payers
from tests.web.own_bff import own_bff
from tests.web.shop import Shop, a_shop
from tests.web.test_timing_choice import chosen, marked, offered

RESUME = "/batzen.orchestrator.v1.OrchestratorService/ResumePayment"
OURS = ("authorization", "x-")
"""How the metadata begins that callers send, beside what the library does."""


class Older(grpc.GenericRpcHandler):
    """Hands calls on to the suite's orchestrator, and passes over the fields that came with choices."""

    def __init__(self, channel: aio.Channel) -> None:
        self._channel: Any = channel  # of bytes, as they are

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        method = handler_call_details.method
        metadata = [one for one in handler_call_details.invocation_metadata or () if one[0].startswith(OURS)]

        async def call(asked: bytes, context: aio.ServicerContext[Any, Any]) -> bytes:
            if method == RESUME:
                request = pb.ResumePaymentRequest.FromString(asked)
                request.ClearField("timing")
                asked = request.SerializeToString()
            calling = self._channel.unary_unary(method)
            answer: bytes = await calling(asked, metadata=metadata, timeout=context.time_remaining())
            if method != RESUME:
                return answer
            response = pb.ResumePaymentResponse.FromString(answer)
            response.session.ClearField("timings_offered")
            return response.SerializeToString()

        return grpc.unary_unary_rpc_method_handler(call)


@asynccontextmanager
async def older(suite: Suite) -> AsyncIterator[str]:
    """Yield the address of an orchestrator of the release before."""
    async with aio.insecure_channel(suite.addresses.orchestrator) as channel:
        server = aio.server()
        server.add_generic_rpc_handlers((Older(channel),))
        port = server.add_insecure_port(f"{HOST}:0")
        await server.start()
        try:
            yield f"{HOST}:{port}"
        finally:
            await server.stop(None)


@pytest.fixture(scope="module")
async def shop(suite: Suite) -> AsyncIterator[Shop]:
    async with a_shop(suite) as made:
        yield made


async def test_a_choice_that_an_older_orchestrator_passes_over_leads_to_no_payment(suite: Suite, shop: Shop) -> None:
    payer_id = f"payer_{new_request_id()}"
    await payers.keep(suite, payer_id, "pm_card_visa")
    payment_id = await offered(shop, payer_id)
    async with (
        shop.browser(payment_id, payer_id=payer_id) as browser,
        older(suite) as address,
        own_bff(suite, BATZEN_ORCHESTRATOR_ADDRESS=address) as url,
        httpx.AsyncClient(
            base_url=url, cookies=browser.cookies, headers=browser.headers, timeout=WITHIN_S
        ) as beside_older,
    ):
        passed_over = await chosen(beside_older, payment_id, "later")
        same = await chosen(beside_older, payment_id, "now")
        taken = await chosen(browser, payment_id, "later")
        page = await browser.get(f"/pay/{payment_id}/timing")

    assert (passed_over.status_code, "Try again" in passed_over.text) == (503, True)
    assert int(passed_over.headers["retry-after"]) >= 1
    assert (same.status_code, same.headers["location"]) == (303, f"/pay/{payment_id}/method")
    assert (taken.status_code, marked(page.text)) == (303, ["later"])
