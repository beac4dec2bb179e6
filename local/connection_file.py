"""The file that lets the command line find a suite that stays up, with tokens that do not expire."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Final

from batzen.cli.connection import Connection, NotConnected, find
from batzen.client import Addresses
from local.files import write_private
from local.issuer import SERVICE_TOKEN_LIFE, Issuer

NAME: Final = "connection.json"
SUBJECTS: Final = {"operator": "operator_1", "service": "shop", "payer": "payer_1", "seller": "seller_1"}
"""Whose token of each role is made."""
EXPORTED_LIFE: Final = SERVICE_TOKEN_LIFE
"""A working day: whoever exported a token to a shell is not stopped in the middle of it. It outlives a restart."""
RENEW_S: Final = EXPORTED_LIFE.total_seconds() / 4


@asynccontextmanager
async def written(
    directory: Path, *, addresses: Addresses, issuer: Issuer, logs: Path, stand_in_url: str | None
) -> AsyncIterator[Path]:
    """Keep `connection.json` in the directory while inside, and its tokens fresh."""
    file = directory / NAME

    def write() -> None:
        document = {
            "addresses": asdict(addresses),
            "tokens": {
                role: issuer.mint(subject, roles={role}, life=EXPORTED_LIFE) for role, subject in SUBJECTS.items()
            },
            "logs": str(logs),
            "seller_id": SUBJECTS["seller"] if stand_in_url else None,
            "stand_in_url": stand_in_url,
        }
        write_private(file, json.dumps(document, indent=2))

    async def renew() -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            write()

    write()
    renewing = asyncio.create_task(renew())
    try:
        yield file
    finally:
        renewing.cancel()
        file.unlink(missing_ok=True)


def own_connection(directory: Path, *, addresses: Addresses, role: str) -> Connection | None:
    """Return what the file in the directory says, if that is where `addresses` lead; None if it is not.

    Its tokens are of a laptop's own issuer: whatever else listens at such an address takes none of them.
    """
    try:
        ours = find(environ={}, file=directory / NAME, role=role)
    except NotConnected:
        return None
    return ours if ours.addresses == addresses else None
