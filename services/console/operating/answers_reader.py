"""Asks the payers' front what payers answered, by HTTP, in the operator's name; one try, and a page waits no longer.

The word that it is shown is for that front alone: no service takes it, so a front that serves payers never holds
anything by which it could act as an operator.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from http import HTTPStatus
from typing import Final

import aiohttp

from services.web.assertions import AssertionMinter, Person, audience_of
from services.web.front import Front

FRONT: Final = "bff"
PATH: Final = "/v1/satisfaction"
TIMEOUT: Final = aiohttp.ClientTimeout(total=3, connect=1)
"""It answers within milliseconds; the rest of the page does not wait longer."""
ANSWER_BYTES_MAX: Final = 64 * 1024
"""400 days take 25 KB."""
_logger = logging.getLogger(__name__)


class AnswersUnavailable(Exception):
    """The payers' front does not say what payers answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DayAnswers:
    """What payers answered on one day: how often, and the sum of 1 to 5."""

    day: str
    """ISO 8601."""
    answer_count: int
    score_sum: int


class AnswersReader:
    """Asks one front."""

    def __init__(
        self,
        url: str,
        minter: AssertionMinter,
        client: aiohttp.ClientSession,
        *,
        timeout: aiohttp.ClientTimeout = TIMEOUT,
    ) -> None:
        """`minter` makes words that are for that front."""
        self._timeout = timeout
        self._url = url.rstrip("/") + PATH
        self._minter = minter
        self._client = client

    async def days(self, person: Person, first: str, last: str, *, correlation_id: str) -> Sequence[DayAnswers]:
        """Return the days of a span on which payers of the operator's tenant answered. Raises `AnswersUnavailable`."""
        headers = {
            **dict(self._minter.metadata(person)),
            "accept": "application/json",
            "x-correlation-id": correlation_id,
        }
        try:
            async with self._client.get(
                self._url,
                params={"from": first, "to": last},
                headers=headers,
                timeout=self._timeout,
                allow_redirects=False,
            ) as answer:
                if answer.status != HTTPStatus.OK:
                    raise AnswersUnavailable(f"It answered {answer.status}.")
                return read(await _content(answer))
        except (aiohttp.ClientError, TimeoutError, AnswersUnavailable) as error:
            _logger.warning("The payers' front was asked in vain: %r (%s)", error, correlation_id)
            if isinstance(error, AnswersUnavailable):
                raise
            raise AnswersUnavailable("It does not answer.") from error


def asking(url: str | None, front: Front, client: aiohttp.ClientSession) -> AnswersReader | None:
    """Return what asks; None where no front is named."""
    if url is None:
        return None
    settings = front.settings
    minter = AssertionMinter(
        settings.assertion_key.current,
        issuer=settings.assertion_issuer,
        audience=audience_of(FRONT, settings.process.token_audience),
        now=front.now,
    )
    return AnswersReader(url, minter, client)


def read(content: bytes) -> Sequence[DayAnswers]:
    """Return what an answer says. Raises `AnswersUnavailable` where it is none."""
    try:
        return [_day(one) for one in json.loads(content)["days"]]
    except (ValueError, KeyError, TypeError) as error:
        raise AnswersUnavailable("Its answer cannot be read.") from error


def _day(said: Mapping[str, object]) -> DayAnswers:
    day, count, total = str(said["day"]), said["answer_count"], said["score_sum"]
    date.fromisoformat(day)
    if not isinstance(count, int) or not isinstance(total, int) or not 0 < count <= total <= 5 * count:
        raise ValueError("is no count of answers from 1 to 5")
    return DayAnswers(day=day, answer_count=count, score_sum=total)


async def _content(answer: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for chunk in answer.content.iter_any():
        content += chunk
        if len(content) > ANSWER_BYTES_MAX:
            raise AnswersUnavailable("Its answer is too long.")
    return bytes(content)
