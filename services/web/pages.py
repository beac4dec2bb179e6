"""Pages: Jinja templates over a view model, nothing else. A template decides nothing about a payment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse

from services.web.assets import Assets
from services.web.security.guard import PAGE_KIND
from services.web.security.headers import PageKind


class Pages:
    """The templates of a front."""

    def __init__(self, folders: Sequence[Path], *, assets: Assets) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(folders),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.globals["asset"] = assets.url

    def render(self, template: str, values: Mapping[str, object]) -> str:
        """Return a page as text."""
        return self._environment.get_template(template).render(values)

    def answer(
        self,
        request: Request,
        template: str,
        values: Mapping[str, object],
        *,
        kind: PageKind = PageKind.PAGE,
        status_code: int = 200,
    ) -> HTMLResponse:
        """Answer with a page of a kind, which says what it may load."""
        request.scope[PAGE_KIND] = kind
        return HTMLResponse(self.render(template, values), status_code=status_code)
