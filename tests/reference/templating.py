"""The templates of the site."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tests.reference.markdown import inline
from tests.reference.site import Names, relative

FOLDER: Final = Path(__file__).with_name("templates")


class Render(Protocol):
    """Renders a template for a page of the site."""

    def __call__(self, template: str, page: str, /, **values: Any) -> str:
        """Return the HTML of `template` on `page`."""
        ...


def renderer(names: Names) -> Render:
    """Return what renders templates; texts in them are Markdown whose names lead to what they name."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def render(template: str, page: str, /, **values: Any) -> str:
        def md(text: str) -> Markup:
            return Markup(inline(text, named=partial(names.found, on=page)))  # noqa: S704 Markdown of our own sources

        def line(text: str) -> Markup:
            html = inline(text, named=partial(names.found, on=page)).strip()
            return Markup(html.removeprefix("<p>").removesuffix("</p>"))  # noqa: S704 as above

        return environment.get_template(template).render(
            page=page, md=md, line=line, to=partial(relative, on=page), named=partial(names.found, on=page), **values
        )

    return render
