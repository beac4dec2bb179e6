"""What anybody may see: the logo of a tenant, and what is said of accessibility."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from services.bff.checkout.messages import accessibility
from services.bff.checkout.room import Room
from services.web.assets import FOREVER


class PublicPages:
    """Answers without a session."""

    def __init__(self, room: Room) -> None:
        self._room = room

    def routes(self) -> list[BaseRoute]:
        """Return the routes."""
        return [
            Route("/tenants/{tenant_id}/{digest}", self.logo, methods=["GET"]),
            Route("/accessibility", self.accessibility, methods=["GET"]),
        ]

    async def logo(self, request: Request) -> Response:
        """Answer with a logo; its address changes with it."""
        logo = self._room.settings.tenants.of(request.path_params["tenant_id"]).logo
        if logo is None or logo.digest != request.path_params["digest"]:
            return Response(status_code=404)
        return Response(logo.content, media_type=logo.media_type, headers={"Cache-Control": FOREVER})

    async def accessibility(self, request: Request) -> Response:
        """Say what holds for everybody, and whom to write to."""
        return self._room.answer(request, accessibility(self._room.anonymous(request)))
