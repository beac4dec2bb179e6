"""The stand-in for Stripe.js in a browser: strict where Stripe is, fields elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import pytest

from sandbox.control import SandboxControl
from sandbox.serving import running
from sandbox.settings import Settings
from sandbox.state import Sandbox
from tests.eventually import WITHIN_S
from tests.web.browser import new_context

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

pytestmark = pytest.mark.web

SECRET_KEY = "sk_test_elements"
RETURN_URL = "http://shop.test/return?order=7"
KEY = "pk_test_x"
PAGE = """<!doctype html><title>Shop</title><form id="form"><div id="element"></div></form>"""
TAKEN = """async ({ url, key, secret }) => {
  await new Promise((resolve, reject) => {
    const script = Object.assign(document.createElement("script"), { src: url, onload: resolve, onerror: reject });
    document.head.append(script);
  });
  window.stripe = Stripe(key, { locale: "en" });
  window.group = stripe.elements({ clientSecret: secret });
  window.heard = [];
  window.element = group.create("payment");
  for (const name of ["ready", "change", "loaderror", "focus"]) element.on(name, (event) => heard.push([name, event]));
  element.on("loaderror", () => { document.title = "not loaded"; });
  element.mount("#element");
}"""


@pytest.fixture(scope="module")
async def stripe() -> AsyncIterator[Sandbox]:
    async with running(Settings(port=0, check_answers=True)) as sandbox:
        yield sandbox


@pytest.fixture
async def control(stripe: Sandbox) -> AsyncIterator[SandboxControl]:
    async with SandboxControl(stripe.base_url) as control:
        yield control
        await control.browsers()


@pytest.fixture
async def shop(browser: Browser, stripe: Sandbox) -> AsyncIterator[Page]:
    """A page of a shop, on another site than the stand-in's."""
    context = await new_context(browser)
    page = await context.new_page()
    await page.goto(f"{stripe.base_url}/_control/health")  # 127.0.0.1; the script comes from localhost
    await page.set_content(PAGE)
    yield page
    await context.close()


async def a_secret(stripe: Sandbox, kind: str = "payment_intents", **form: str) -> str:
    body = {"amount": "6000", "currency": "chf"} if kind == "payment_intents" else {}
    async with httpx.AsyncClient(
        base_url=stripe.base_url, headers={"authorization": f"Bearer {SECRET_KEY}"}, timeout=WITHIN_S
    ) as server:
        return str((await server.post(f"/v1/{kind}", data={**body, **form})).json()["client_secret"])


async def taken(shop: Page, stripe: Sandbox, secret: str) -> None:
    """Put the element into the shop's page, by its other name."""
    url = stripe.base_url.replace("127.0.0.1", "localhost") + "/stripe.js"
    await shop.evaluate(TAKEN, {"url": url, "key": KEY, "secret": secret})


READY = """() => new Promise((done) => {
  element.on("ready", done);
  if (heard.some(([name]) => name === "ready")) done();
})"""


async def entered(shop: Page, number: str = "4242 4242 4242 4242") -> None:
    await shop.evaluate(READY)  # before, nobody hears of what is entered
    frame = shop.frame_locator("iframe[title='Secure payment input frame']")
    await frame.get_by_label("Card number").fill(number)
    await frame.get_by_label("Expiration date").fill("12 / 39")
    await frame.get_by_label("Security code").fill("123")


CONFIRM = """async (params) => {
  const checked = await group.submit();
  return checked.error ? checked : stripe.confirmPayment({ elements: group, redirect: "if_required", ...params });
}"""
TOKEN = """async (url) => {
  const checked = await group.submit();
  return checked.error ? checked : stripe.createConfirmationToken({ elements: group, params: { return_url: url } });
}"""


async def test_a_card_becomes_a_token_and_never_reaches_the_page(shop: Page, stripe: Sandbox) -> None:
    await taken(shop, stripe, await a_secret(stripe))
    await entered(shop)

    made = await shop.evaluate(TOKEN, RETURN_URL)

    frame = next(one for one in shop.frames if "/elements/frame" in one.url)
    assert urlsplit(frame.url).hostname == "localhost" != urlsplit(shop.url).hostname
    assert made["confirmationToken"]["id"].startswith("ctoken_")
    assert made["confirmationToken"]["payment_method_preview"]["card"]["last4"] == "4242"
    heard = await shop.evaluate("heard.map(([name]) => name)")
    assert heard[0] == "ready"
    assert "change" in heard
    assert "424242424242" not in str(made) + await shop.content()


async def test_a_payment_is_confirmed_in_the_page(shop: Page, stripe: Sandbox) -> None:
    secret = await a_secret(stripe)
    await taken(shop, stripe, secret)
    await entered(shop)

    done = await shop.evaluate(CONFIRM, {})

    assert done["paymentIntent"]["status"] == "succeeded"
    assert "metadata" not in done["paymentIntent"], "a publishable key does not see it"
    seen = await shop.evaluate("(secret) => stripe.retrievePaymentIntent(secret)", secret)
    assert seen["paymentIntent"]["id"] == secret.partition("_secret_")[0]


@pytest.mark.parametrize(
    ("number", "code"),
    [("4242", "incomplete_number"), ("4539 1488 0343 6467", "no_test_card"), ("4000 0000 0000 9995", "card_declined")],
)
async def test_what_cannot_be_charged_says_why(shop: Page, stripe: Sandbox, number: str, code: str) -> None:
    await taken(shop, stripe, await a_secret(stripe))
    await entered(shop, number)

    done = await shop.evaluate(CONFIRM, {})

    assert done["error"]["code"] == code


@pytest.mark.parametrize(("button", "status"), [("Complete", "succeeded"), ("Fail", "")])
async def test_a_bank_is_answered_over_the_page(shop: Page, stripe: Sandbox, button: str, status: str) -> None:
    await taken(shop, stripe, await a_secret(stripe))
    await entered(shop, "4000 0000 0000 3220")
    await shop.evaluate(f"() => {{ window.done = ({CONFIRM})({{}}); }}")
    await shop.frame_locator("iframe[title='3-D Secure']").get_by_role("button", name=button).click()

    done: dict[str, Any] = await shop.evaluate("() => window.done")

    if status:
        assert done["paymentIntent"]["status"] == status
    else:
        assert done["error"]["code"] == "payment_intent_authentication_failure"


async def test_a_window_that_is_closed_leaves_the_payment_waiting(shop: Page, stripe: Sandbox) -> None:
    secret = await a_secret(stripe)
    await taken(shop, stripe, secret)
    await entered(shop, "4000 0000 0000 3220")
    await shop.evaluate(f"() => {{ window.done = ({CONFIRM})({{}}); }}")
    await shop.get_by_role("button", name="Close").click()

    done = await shop.evaluate("() => window.done")

    assert done["error"]["code"] == "payment_intent_authentication_failure"
    seen = await shop.evaluate("(secret) => stripe.retrievePaymentIntent(secret)", secret)
    assert seen["paymentIntent"]["status"] == "requires_action"
    await shop.evaluate("(clientSecret) => { window.done = stripe.handleNextAction({ clientSecret }); }", secret)
    await shop.frame_locator("iframe[title='3-D Secure']").get_by_role("button", name="Complete").click()
    assert (await shop.evaluate("() => window.done"))["paymentIntent"]["status"] == "succeeded"


async def test_a_setup_keeps_a_card(shop: Page, stripe: Sandbox) -> None:
    await taken(shop, stripe, await a_secret(stripe, "setup_intents"))
    await entered(shop)

    done = await shop.evaluate(CONFIRM.replace("confirmPayment", "confirmSetup"), {})

    assert done["setupIntent"]["status"] == "succeeded"


@pytest.mark.parametrize(
    ("order", "becomes"),
    [("network_error", (False, False)), ("network_error_after", (True, False)), ("error_of_success", (True, True))],
)
async def test_a_network_that_breaks_tells_nothing_of_the_payment(
    shop: Page, stripe: Sandbox, control: SandboxControl, order: str, becomes: tuple[bool, bool]
) -> None:
    secret = await a_secret(stripe)
    await taken(shop, stripe, secret)
    await entered(shop)
    await control.browsers(confirm=order)

    done = await shop.evaluate(CONFIRM, {})

    assert done["error"]["type"] == "api_connection_error"
    intent = await control.intent(secret.partition("_secret_")[0])
    assert (intent["status"] == "succeeded", "payment_intent" in done["error"]) == becomes


async def test_a_form_that_cannot_be_loaded_says_so(shop: Page, stripe: Sandbox, control: SandboxControl) -> None:
    from playwright.async_api import expect  # noqa: PLC0415 there only with what drives a browser

    await control.browsers(is_load_error=True)
    await taken(shop, stripe, await a_secret(stripe))
    await expect(shop).to_have_title("not loaded")


async def test_a_script_that_is_blocked_is_heard_of(shop: Page, stripe: Sandbox, control: SandboxControl) -> None:
    await control.browsers(is_blocked=True)

    with pytest.raises(Exception, match="evaluate"):
        await taken(shop, stripe, await a_secret(stripe))


MISUSES = {
    "Stripe('sk_test_1')": "publishable key",
    "Stripe('pk_live_1')": "live key",
    "stripe.elements({})": "either a clientSecret or a mode",
    "stripe.elements({ clientSecret: 'pi_1_secret_2', mode: 'payment' })": "either a clientSecret or a mode",
    "stripe.elements({ clientSecret: 'pi_1' })": "should be of the form",
    "stripe.elements({ mode: 'payment', amount: 10.5, currency: 'chf' })": "amount",
    "stripe.elements({ mode: 'payment', amount: 1050, currency: 'CHF' })": "currency",
    "group.create('payment')": "only create one Element",
    "group.create('card')": "no Element of the type",
    "stripe.elements({ clientSecret: 'pi_1_secret_2' }).create('payment').mount('#no')": "applies to no DOM elements",
    "stripe.createConfirmationToken({ elements: group })": "submit() must be called before",
    "stripe.confirmPayment({ elements: group })": "return_url is required",
    "stripe.confirmPayment({ elements: group, confirmParams: { return_url: '/back' } })": "absolute",
    "stripe.handleNextAction({ clientSecret: group.options.clientSecret })": "not in the requires_action state",
}


async def test_what_stripe_refuses_is_refused(shop: Page, stripe: Sandbox) -> None:
    await taken(shop, stripe, await a_secret(stripe))
    said = {}
    for call in MISUSES:
        said[call] = await shop.evaluate(
            f"async () => {{ try {{ await {call}; }} catch (error) {{ return error.message; }} }}"
        )

    assert {call: message for call, message in said.items() if MISUSES[call] not in (message or "")} == {}
