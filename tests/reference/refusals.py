"""The errors of an RPC, as its comment in the contract lists them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import grpc

_ERRORS: Final = re.compile(
    r"^Errors\b(?P<how>[^\n]*(?:\n(?!- |\n)[^\n]+)*)\n?(?P<list>(?:- .*\n?(?:  .*\n?)*)*)", re.MULTILINE
)
_CODES: Final = rf"(?:`(?:{'|'.join(code.name for code in grpc.StatusCode)})`(?:, )?)+"
_GROUP: Final = re.compile(rf"(?P<codes>{_CODES}) / (?P<reasons>.*?)(?:, (?={_CODES} / )|$)")
"""A status, or several, with its reasons; a line of errors may have several of these."""
_LINE: Final = re.compile(r"- (?P<head>(?:`[^`]*`|[^`:.])+?)(?:[:.](?:\s+(?P<text>.*))?)?", re.DOTALL)
_NAMES: Final = re.compile(r"`([A-Z_]+)`")


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A line of an RPC's errors, or a part of one that names several."""

    codes: Sequence[str]
    reasons: Sequence[str]
    """Empty where they are told in words."""
    whose: str
    """Which reasons, where they are told in words."""
    text: str


def split_errors(comment: str) -> tuple[str, str | None, Sequence[Refusal]]:
    """Return the comment of an RPC without its errors, what is said of them (None without any), and them."""
    found = _ERRORS.search(comment)
    if found is None:
        return comment, None, []
    rest = (comment[: found.start()] + comment[found.end() :]).strip()
    lines = re.split(r"\n(?=- )", found["list"].strip()) if found["list"].strip() else []
    how = " ".join(found["how"].split()).strip(":;,. ")
    return rest, how, [refusal for line in lines for refusal in _refusals(line)]


def _refusals(line: str) -> Iterator[Refusal]:
    found = _LINE.fullmatch(line)
    groups = list(_GROUP.finditer(" ".join(found["head"].split()))) if found else []
    if found is None or not groups:
        raise SystemExit(f"a line of errors that is none: {line!r}")
    for group in groups:
        names = _NAMES.findall(group["reasons"])
        text = " ".join((found["text"] or "").split())
        yield Refusal(
            codes=_NAMES.findall(group["codes"]), reasons=names, whose="" if names else group["reasons"], text=text
        )
