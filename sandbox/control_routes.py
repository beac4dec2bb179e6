"""How a control is called: JSON in, JSON out, refusals as Stripe words them."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sandbox import browsers
from sandbox.errors import ApiError

Handler = Callable[[Request, dict[str, Any]], Awaitable[Any]]


def routes(table: list[tuple[str, str, Handler]]) -> list[Route]:
    """Return the routes of a table of controls: method, path, what it does."""
    return [Route(f"/_control{path}", _answering(run), methods=[method]) for method, path, run in table]


def _answering(run: Handler) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        if browsers.is_of_another_site(request) or not browsers.is_of_this_machine(request):
            return JSONResponse({"error": {"message": "No page of another site controls this."}}, status_code=403)
        body = await request.body()
        try:
            return JSONResponse(await run(request, json.loads(body) if body else {}))
        except ApiError as refusal:
            return JSONResponse(refusal.body(request_id="req_control"), status_code=refusal.status)
        except (KeyError, TypeError, ValueError) as mistake:
            return JSONResponse({"error": {"message": f"{type(mistake).__name__}: {mistake}"}}, status_code=400)

    return answer
