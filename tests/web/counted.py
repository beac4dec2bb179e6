"""What a front of a running suite has counted."""

from __future__ import annotations

import aiohttp

from local.ports import HOST
from local.suite import Suite
from tests.metrics import Figures


async def figures(suite: Suite, front: str) -> Figures:
    """Return the figures of a front as they stand."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{HOST}:{suite.ports[f'{front}-metrics']}/metrics") as answer,
    ):
        return Figures.read(await answer.read())


class Counted:
    """What a front counted since this was taken. Others who use the suite may count, too: ask for at least so much."""

    def __init__(self, suite: Suite, front: str, before: Figures) -> None:
        self._suite = suite
        self._front = front
        self._before = before

    @classmethod
    async def since_now(cls, suite: Suite, front: str) -> Counted:
        return cls(suite, front, await figures(suite, front))

    async def of(self, name: str, **labels: str) -> float:
        """Return by how much a series has grown."""
        return (await figures(self._suite, self._front)).of(name, **labels) - self._before.of(name, **labels)
