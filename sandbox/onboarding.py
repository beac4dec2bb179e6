"""The page of an onboarding link, where a seller answers all that is due."""

from html import escape

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from sandbox import accounts
from sandbox.html import message, page
from sandbox.state import Sandbox
from sandbox.world import Object, World

_TITLE = "Onboarding (test)"


class OnboardingPage:
    """GET opens a link, once; POST of the page it shows answers all that is due, and goes back."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def show(self, request: Request) -> Response:
        """Show the page; a link that was used or is too old leads to its `refresh_url`."""
        found = self._find(request)
        if found is None:
            return message("No such page", "There is no such link.", status=404)
        world, link = found
        if link["is_used"] or world.clock.now() >= link["expires_at"]:
            return RedirectResponse(link["refresh_url"], status_code=303)
        link["is_used"] = True
        self._sandbox.changed()
        account = world.find(link["account"])
        if account is None:
            return message("No such account", "It is not connected any more.", status=404)
        due = escape(", ".join(account["requirements"]["eventually_due"]) or "nothing")
        content = f"""<h1>Tell us about you</h1>
<p>A test page; nobody looks at what is sent. Asked for: {due}.</p>
<form method="post"><button>Send all of it</button></form>"""
        return page(content, title=_TITLE)

    async def submit(self, request: Request) -> Response:
        """Answer everything."""
        found = self._find(request)
        if found is None or not found[1]["is_used"] or found[0].find(found[1]["account"]) is None:
            return message("No such page", "There is no such page.", status=404)
        world, link = found
        accounts.satisfy(world, link["account"])
        return RedirectResponse(link["return_url"], status_code=303)

    def _find(self, request: Request) -> tuple[World, Object] | None:
        account_id, token = request.path_params["account"], request.path_params["token"]
        for world in self._sandbox.worlds():
            link = world.account_links.get(token)
            if link is not None and link["account"] == account_id:
                return world, link
        return None
