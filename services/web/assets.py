"""Files that browsers load, under names that change with their content, so that they may be kept for ever.

Compressed once, at the start: `/static/page.5f2c….css`. A stylesheet or a module names another file as `asset:<name>`,
`url("asset:vendor/inter.woff2")`, and gets the path of that; so its own name changes with that file too.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

PREFIX: Final = "/static"
COMPRESSED: Final = frozenset({".css", ".js", ".svg", ".txt", ".json"})
TYPES: Final = {".js": "text/javascript", ".css": "text/css", ".woff2": "font/woff2", ".svg": "image/svg+xml"}
NAMING: Final = frozenset({".css", ".js"})
"""What may name other files."""
_NAMED: Final = re.compile(rb"asset:([A-Za-z0-9./_-]+)")
FOREVER: Final = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """One file."""

    name: str
    path: str
    """Where it is loaded from."""
    content: bytes
    compressed: bytes | None
    media_type: str
    digest: str


class Assets:
    """All files of some folders, by name (`page.css`, `vendor/uplot-1.6.32.esm.js`)."""

    def __init__(self, folders: Sequence[Path]) -> None:
        files = {file.relative_to(folder).as_posix(): file for folder in folders for file in _files(folder)}
        self._by_name: dict[str, Asset] = {}
        for name in files:
            _load(name, files, self._by_name)
        self._by_path = {asset.path: asset for asset in self._by_name.values()}

    def url(self, name: str) -> str:
        """Return where a file is loaded from. KeyError if there is no such file."""
        return self._by_name[name].path

    def named(self, name: str) -> Asset:
        """Return a file by its name."""
        return self._by_name[name]

    def names(self) -> Sequence[str]:
        """Return the names of all files."""
        return sorted(self._by_name)

    async def endpoint(self, request: Request) -> Response:
        """Answer with a file."""
        asset = self._by_path.get(request.url.path)
        if asset is None:
            return Response(status_code=404)
        headers = {"Cache-Control": FOREVER, "Vary": "Accept-Encoding"}
        if asset.compressed is not None and "gzip" in request.headers.get("accept-encoding", ""):
            return Response(
                asset.compressed, media_type=asset.media_type, headers=headers | {"Content-Encoding": "gzip"}
            )
        return Response(asset.content, media_type=asset.media_type, headers=headers)


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in {*COMPRESSED, ".woff2"})


def _load(name: str, files: Mapping[str, Path], loaded: dict[str, Asset]) -> Asset:
    """Load a file after those that it names. KeyError for one that is not there."""
    if name not in loaded:
        content = files[name].read_bytes()
        if files[name].suffix in NAMING:
            content = _NAMED.sub(lambda named: _load(named[1].decode(), files, loaded).path.encode(), content)
        loaded[name] = _asset(files[name], name, content)
    return loaded[name]


def _asset(file: Path, name: str, content: bytes) -> Asset:
    digest = hashlib.sha256(content).hexdigest()
    stem, suffix = name[: -len(file.suffix)], file.suffix
    return Asset(
        name=name,
        path=f"{PREFIX}/{stem}.{digest[:12]}{suffix}",
        content=content,
        compressed=gzip.compress(content, 9, mtime=0) if suffix in COMPRESSED else None,
        media_type=TYPES.get(suffix) or mimetypes.guess_type(file.name)[0] or "application/octet-stream",
        digest=digest,
    )
