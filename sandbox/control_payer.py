"""What a payer does in a browser, and a seller on the onboarding page."""

from typing import Any

import httpx

from sandbox.control_client import ControlClient, Refused, check, kind_of, location

_PUBLISHABLE_KEY = "pk_test_sandbox"


class PayerControl(ControlClient):
    """The pages of Stripe and of banks, answered."""

    async def authenticate(self, intent_id: str, *, succeed: bool) -> dict[str, Any]:
        """Find the 3-D Secure page an intent waits for and press its button, as the payer would; returns the intent."""
        intent = await self.intent(intent_id)
        action = intent["next_action"]
        if action is None:
            raise Refused(f"The intent has a status of {intent['status']}; nothing to authenticate.", status=409)
        of_redirect, of_sdk = action.get("redirect_to_url", {}), action.get("use_stripe_sdk", {})
        await self.answer_3ds(of_redirect.get("url") or of_sdk["stripe_js"], succeed=succeed)
        return await self.intent(intent_id)

    async def browser_confirm(
        self, client_secret: str, *, payment_method: str, return_url: str | None = None
    ) -> dict[str, Any]:
        """Confirm as Stripe.js would, with nothing but the client secret; returns the intent, {"error": …} if declined.

        Without `return_url` the payer is asked by the page itself: `next_action.type` is `use_stripe_sdk`.
        """
        form = {"client_secret": client_secret, "key": _PUBLISHABLE_KEY, "payment_method": payment_method}
        if return_url is not None:
            form["return_url"] = return_url
        intent_id = client_secret.partition("_secret_")[0]
        answer = await self.http.post(f"/v1/{kind_of(intent_id)}s/{intent_id}/confirm", data=form)
        if answer.status_code != httpx.codes.PAYMENT_REQUIRED:
            check(answer)
        return dict(answer.json())

    async def browsers(self, **orders: str | int | bool) -> None:
        """Order what goes wrong in browsers (`sandbox.elements.Orders`); a call without orders ends all of it."""
        await self.post("/browsers", **orders)

    async def pay_session(self, url: str, *, payment_method: str = "pm_card_visa", email: str = "") -> str:
        """Pay on the hosted page at a session's `url`, as the payer would; returns where the browser is sent.

        That is the shop, or the bank's page for `answer_3ds`. A decline is a `Refused` with status 402.
        """
        answer = await self.http.post(url, data={"payment_method": payment_method, "email": email})
        return location(answer)

    async def come_back(self, url: str) -> str:
        """Open the page a bank sent the payer back to; returns where that sends the browser, "" if it is to stay."""
        return location(await self.http.get(url))

    async def answer_3ds(self, url: str, *, succeed: bool) -> str:
        """Press a button of the 3-D Secure page at `url`; returns where the browser is sent, "" if nowhere."""
        return location(await self.http.post(url, data={"outcome": "complete" if succeed else "fail"}))

    async def onboard(self, url: str) -> str:
        """Open an onboarding link and send off all that it asks for; returns where the browser is sent.

        Of a link that was used or is too old that is the `refresh_url`, and nothing is sent off.
        """
        opened = await self.http.get(url)
        if opened.has_redirect_location:
            return location(opened)
        check(opened)
        return location(await self.http.post(url))
