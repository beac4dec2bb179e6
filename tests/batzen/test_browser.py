"""The pages that the command line completes: the stand-in's, and no others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from batzen.cli.authentication import Outcome, authenticate
from batzen.cli.browser import Answered, post
from batzen.cli.hosted_page import pay_page
from batzen.cli.pages import PageNotCompleted

BODY = b'<main><p>A test page.</p>\n<p role="alert">Your card isn&#x27;t supported.</p></main>'


@contextmanager
def page(status: int, location: str = "") -> Iterator[tuple[str, list[bytes]]]:
    """Serve a page that answers alike to every form, and keep what it was sent."""
    sent: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            if location:
                self.send_header("Location", location.replace("HERE", f"127.0.0.1:{server.server_port}"))
            self.end_headers()
            self.wfile.write(BODY)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/c/pay/cs_1", sent
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(
    "url",
    [
        "https://checkout.stripe.com/c/pay/cs_1",
        "http://checkout.stripe.com/c/pay/cs_1",
        "https://127.0.0.1/c/pay/cs_1",
        "http://127.0.0.1.example.com/c/pay/cs_1",
        "http://127.0.0.1@example.com/",
        "file:///etc/passwd",
        "",
    ],
)
async def test_no_page_but_the_stand_ins_is_sent_anything(url: str) -> None:
    with pytest.raises(PageNotCompleted, match="open it in a browser"):
        await post(url, {})
    with pytest.raises(PageNotCompleted):
        await authenticate(url, Outcome.SUCCEED)
    with pytest.raises(PageNotCompleted):
        await pay_page(url, payment_method_id="pm_card_visa")


async def test_the_payer_is_sent_on_to_the_shop_or_to_their_bank() -> None:
    with page(303, "http://127.0.0.1:1/returned?session=cs_1") as (url, sent):
        paid = await pay_page(url, payment_method_id="pm_card_visa")
    assert (paid.authentication_url, paid.problem) == ("", "")
    assert sent == [b"payment_method=pm_card_visa&email="]

    with page(303, "http://HERE/3ds/pi_1") as (url, _):
        paid = await pay_page(url, payment_method_id="pm_card_visa")
    assert paid.authentication_url == url.replace("/c/pay/cs_1", "/3ds/pi_1")


async def test_a_decline_is_what_the_page_says() -> None:
    with page(402) as (url, _):
        assert await post(url, {}) == Answered(problem="Your card isn't supported.")
        with pytest.raises(PageNotCompleted, match="supported"):
            await authenticate(url, Outcome.SUCCEED)


@pytest.mark.parametrize("status", [404, 409, 410, 500])
async def test_a_page_that_has_done_its_work_cannot_be_completed(status: int) -> None:
    with page(status) as (url, _), pytest.raises(PageNotCompleted, match=str(status)):
        await post(url, {})


async def test_a_page_that_is_not_there_is_said() -> None:
    with page(303) as (url, _):
        pass
    with pytest.raises(PageNotCompleted, match="cannot be reached"):
        await post(url, {})
