"""The connection of a test to the sandbox's control routes."""

from types import TracebackType
from typing import Any, Self

import httpx

_TIMEOUT_S = 60.0  # of a wait, too: for requests that are to be held


class Refused(Exception):
    """The sandbox refused; `status` is the HTTP status, the message says why."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


class ControlClient:
    """The connection to one sandbox."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.http = httpx.AsyncClient(base_url=base_url, timeout=_TIMEOUT_S, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self.http.aclose()

    async def objects(self, object_type: str, **filters: str) -> list[dict[str, Any]]:
        """Return objects of a type in every account, oldest first; filter by field: `**{"metadata.payment_id": …}`."""
        return list((await self.get("/objects", {"type": object_type} | filters))["data"])

    async def intent(self, intent_id: str) -> dict[str, Any]:
        """Return a payment or setup intent of whatever account."""
        kind = kind_of(intent_id)
        found = await self.objects(kind, id=intent_id)
        if not found:
            raise Refused(f"No such {kind}: '{intent_id}'", status=404)
        return found[0]

    async def get(self, path: str, params: dict[str, str] | None = None) -> dict[str, Any]:
        """Read any of the control routes."""
        return _checked(await self.http.get(f"/_control{path}", params=params))

    async def post(self, path: str, **given: Any) -> dict[str, Any]:
        """Call any of the control routes."""
        return _checked(await self.http.post(f"/_control{path}", json=given))

    async def delete(self, path: str) -> None:
        """Call one of those that remove something."""
        _checked(await self.http.delete(f"/_control{path}"))


def kind_of(intent_id: str) -> str:
    """Return the kind of intent that an id is of."""
    return "setup_intent" if intent_id.startswith("seti_") else "payment_intent"


def location(answer: httpx.Response) -> str:
    """Return where an answer sends the browser, "" if nowhere; raises `Refused`."""
    if not answer.has_redirect_location:
        check(answer)
    return str(answer.headers.get("location", ""))


def _checked(answer: httpx.Response) -> dict[str, Any]:
    check(answer)
    return dict(answer.json())


def check(answer: httpx.Response) -> None:
    """Raise `Refused` for an answer that says so."""
    if answer.is_success:
        return
    is_json = answer.headers.get("content-type", "").startswith("application/json")
    message = answer.json()["error"]["message"] if is_json else answer.text
    raise Refused(f"{answer.request.method} {answer.request.url}: {message}", status=answer.status_code)
