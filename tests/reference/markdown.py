"""Documents in Markdown as HTML: links that stay on the site, names that lead to what they name, diagrams drawn."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape, unescape
from typing import Any, Final

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import OptionsDict

from tests.reference.sequence import parsed, svg, told
from tests.reference.state_diagram import table

_PRINTED: Final = re.compile(r"<!-- printed: (?P<name>[^>]+?) -->\n.*?<!-- end -->", re.DOTALL)
_COMMENT: Final = re.compile(r"<!--.*?-->", re.DOTALL)
_BREAK: Final = re.compile(r"<br\s*/?>")
_IMAGE: Final = re.compile(r"<img ([^>]*?)/?>")
_HEADING: Final = re.compile(r'<h([23]) id="([^"]+)">([^<]+)</h')
_TAG: Final = re.compile(r"<[^>]*>")
_OUTSIDE: Final = re.compile(r"[a-z]+:")

Link = Callable[[str], str]
"""Makes the address of a link on a page of what stands in the document."""


@dataclass
class Rendered:
    """A document as HTML."""

    title: str
    body: str
    headings: list[tuple[int, str, str]] = field(default_factory=list)
    """How deep, anchor, text."""
    summary: str = ""
    """Its first sentence."""


def rendered(
    text: str, *, link: Link, named: Callable[[str], str | None], parts: Mapping[str, str] | None = None
) -> Rendered:
    """Return a document as HTML; `parts` takes the place of parts that code prints, `named` finds what a name means."""
    places: dict[str, str] = {}

    def placed(found: re.Match[str]) -> str:
        if parts is None or found["name"] not in parts:
            return found[0]
        places[f"part-{len(places)}"] = parts[found["name"]]
        return f"\n@@part-{len(places) - 1}@@\n"

    tokens = _PARSER.parse(_PRINTED.sub(placed, text))
    for i, token in enumerate(tokens):
        if token.type == "th_open" and not tokens[i + 1].content:
            token.tag = tokens[i + 2].tag = "td"  # what heads nothing is no heading
        if aligned := token.attrs.pop("style", None):  # of a column; the site's style has a class for it
            token.attrSet("class", str(aligned).removeprefix("text-align:"))
    result = Rendered(title="", body="")
    env = {"link": link, "named": named}
    _headings(tokens, result)
    body = _RENDERER.render(tokens, _PARSER.options, env)
    for name, html in places.items():
        body = body.replace(f"<p>@@{name}@@</p>", html)
        result.headings += [(int(depth), anchor, text) for depth, anchor, text in _HEADING.findall(html)]
    result.body, result.summary = body, _summary(tokens)
    return result


def inline(text: str, *, named: Callable[[str], str | None]) -> str:
    """Return a comment of code or of a contract as HTML, in paragraphs."""
    return _RENDERER.render(_PARSER.parse(text), _PARSER.options, {"link": lambda one: one, "named": named})


def anchor_of(heading: str, taken: set[str]) -> str:
    """Return the anchor of a heading, as hosts of repositories make it."""
    slug = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
    anchor, i = slug, 0
    while anchor in taken:
        i += 1
        anchor = f"{slug}-{i}"
    taken.add(anchor)
    return anchor


def _headings(tokens: Sequence[Token], result: Rendered) -> None:
    taken: set[str] = set()
    for i, token in enumerate(tokens):
        if token.type != "heading_open":
            continue
        text = _words(tokens[i + 1])
        anchor = anchor_of(text, taken)
        token.attrSet("id", anchor)
        result.headings.append((int(token.tag[1]), anchor, text))
        if not result.title:
            result.title = text


def _words(token: Token) -> str:
    return "".join(one.content if one.type != "softbreak" else " " for one in token.children or [])


def _summary(tokens: Sequence[Token]) -> str:
    for i, token in enumerate(tokens):
        if token.type == "paragraph_open" and token.level == 0:
            words = _TAG.sub("", _words(tokens[i + 1]))
            found = re.match(r"(.{20,}?[.:])(\s|$)", words)
            return (found[1] if found else words).rstrip(":.") + "."
    return ""


class _Renderer(RendererHTML):
    """HTML that is XML as well, so that it can be checked as such."""

    def fence(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Any) -> str:
        token = tokens[idx]
        if token.info.strip() == "mermaid":
            if token.content.startswith("stateDiagram"):
                return table(token.content)
            diagram = parsed(token.content)
            first, *_, last = diagram.participants.values()
            steps = "".join(f"<li>{escape(one)}</li>" for one in told(diagram))
            drawn = svg(diagram, title=f"Sequence from {first} to {last}")
            return (
                f'<figure class="diagram" tabindex="0">{drawn}</figure>'
                f"<details><summary>The same in words</summary><ol>{steps}</ol></details>\n"
            )
        return f'<pre tabindex="0"><code>{escape(token.content, quote=False)}</code></pre>\n'

    def code_inline(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Any) -> str:
        content = tokens[idx].content
        code = f"<code>{escape(content, quote=False)}</code>"
        target = None if env.get("in_link") else env["named"](content)
        return f'<a class="name" href="{escape(target)}">{code}</a>' if target else code

    def link_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Any) -> str:
        token = tokens[idx]
        href = str(token.attrs["href"])
        if _OUTSIDE.match(href):
            token.attrSet("rel", "noreferrer")
        else:
            token.attrSet("href", env["link"](href))
        env["in_link"] = True
        return self.renderToken(tokens, idx, options, env)

    def link_close(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Any) -> str:
        env["in_link"] = False
        return self.renderToken(tokens, idx, options, env)

    def image(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Any) -> str:
        token = tokens[idx]
        return f'<img src="{escape(env["link"](str(token.attrs["src"])))}" alt="{escape(token.content)}"/>'

    def html_block(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Any) -> str:
        return _own(tokens[idx].content, env)

    def html_inline(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Any) -> str:
        return _own(tokens[idx].content, env)

    def table_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Any) -> str:
        return '<div class="wide" tabindex="0"><table>\n'

    def table_close(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Any) -> str:
        return "</table></div>\n"

    def softbreak(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Any) -> str:
        return "\n"


def _own(html: str, env: Any) -> str:
    """Return what is written as HTML in a document: line breaks and pictures; all else is shown as it is written."""
    html = _COMMENT.sub("", html)
    if _BREAK.fullmatch(html):
        return "<br/>"
    if pictures := _IMAGE.findall(html):
        sources = (re.sub(r'src="([^"]*)"', lambda found: f'src="{env["link"](found[1])}"', one) for one in pictures)
        return " ".join(f"<img {one.strip()}/>" for one in sources)
    return escape(unescape(html), quote=False)


_PARSER: Final = MarkdownIt("commonmark", {"xhtmlOut": True, "html": True}).enable("table")
_RENDERER: Final = _Renderer(_PARSER)
