"""What payers say of paying: counted by day, read by who runs the platform alone, and shown among the figures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import aiohttp
import asyncpg
import httpx
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from batzen.client import Client, new_request_id
from batzen.errors import Unauthenticated
from batzen.gateway.v1.ops_pb2 import ListDeadLettersRequest
from local.ports import HOST, free_ports
from local.suite import Suite
from services.bff.api.application import AUDIENCE
from services.console.operating import answers_reader
from services.console.operating.answers_reader import AnswersReader, AnswersUnavailable, DayAnswers
from services.console.operating.blocks import Chart, Table
from services.console.operating.views import satisfaction
from services.runtime.database.connections import plain_dsn
from services.web.assertions import AssertionMinter, Person, audience_of
from tests.eventually import WITHIN_S
from tests.web.logging_in import OPERATOR, READER, logged_in
from tests.web.own_console import own_console

PATH: Final = "/v1/satisfaction"
ZURICH: Final = ZoneInfo("Europe/Zurich")
_ADD: Final = """
INSERT INTO satisfaction_answers (tenant_id, payment_id, payer_id, score, answer_time)
VALUES ($1, $2, 'a_payer', $3, $4)
"""


async def answered(suite: Suite, tenant: str, *answers: tuple[int, datetime]) -> None:
    """Have payers of a tenant answer at some instants."""
    connection = await asyncpg.connect(plain_dsn(suite.database_url("bff")))
    try:
        for score, at in answers:
            await connection.execute(_ADD, tenant, f"pay_{new_request_id()}", score, at)
    finally:
        await connection.close()


async def asked(suite: Suite, token: str, first: str, last: str, *, host: str = "") -> httpx.Response:
    """Ask for the answers of a span."""
    headers = {"authorization": f"Bearer {token}"} | ({"host": host} if host else {})
    async with httpx.AsyncClient(base_url=suite.front_url("bff"), timeout=WITHIN_S) as client:
        return await client.get(PATH, params={"from": first, "to": last}, headers=headers)


def word(suite: Suite, front: str, role: str, *, audience: str, tenant: str = "main") -> str:
    """Return the word of a front for a person, as it signs it itself."""
    environment = suite.env_for(front)
    key = Path(environment["BATZEN_ASSERTION_KEY_FILE"]).read_text(encoding="utf-8")
    now = datetime.now(UTC)
    minter = AssertionMinter(lambda: key, issuer=front, audience=audience, now=lambda: now)
    return minter.mint(Person(tenant_id=tenant, subject="anna", role=role, auth_time=now))


async def test_answers_are_counted_by_day_of_zurich_and_of_the_callers_tenant_alone(suite: Suite) -> None:
    # A day of 25 hours: its first answer is on the day before in UTC, and its last one on the same.
    await answered(
        suite,
        "shop-of-days",
        (1, datetime(2025, 10, 25, 21, 59, tzinfo=UTC)),
        (5, datetime(2025, 10, 25, 22, 0, tzinfo=UTC)),
        (2, datetime(2025, 10, 26, 22, 59, tzinfo=UTC)),
        (4, datetime(2025, 10, 26, 23, 0, tzinfo=UTC)),
    )
    await answered(suite, "another-shop", (3, datetime(2025, 10, 26, 12, tzinfo=UTC)))
    token = suite.token("service", sub="shop", tenant="shop-of-days")

    one = await asked(suite, token, "2025-10-26", "2025-10-26")
    two = await asked(suite, token, "2025-10-25", "2025-10-26")
    none = await asked(suite, token, "2024-01-01", "2025-02-03")

    day = {"day": "2025-10-26", "answer_count": 2, "score_sum": 7}
    assert one.json() == {"days": [day]}
    assert two.json() == {"days": [{"day": "2025-10-25", "answer_count": 1, "score_sum": 1}, day]}
    assert (none.status_code, none.json()) == (200, {"days": []})


@pytest.mark.parametrize(
    ("first", "last", "field"),
    [
        ("2025-01-01", "2026-02-05", "to"),  # 401 days
        ("2025-01-02", "2025-01-01", "to"),
        ("2025-02-30", "2025-03-01", "from"),
        ("0001-01-01", "0001-01-02", "from"),
        ("2025-01-01", "9999-12-31", "to"),
        ("0", "2025-01-01", "from"),
    ],
)
async def test_a_span_that_is_none_is_refused_with_its_field(suite: Suite, first: str, last: str, field: str) -> None:
    answer = await asked(suite, suite.token("service", sub="shop"), first, last)

    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, "FIELD_INVALID", field)


async def test_payers_and_strangers_read_nothing_and_neither_does_a_word_that_is_not_for_the_payers_front(
    suite: Suite,
) -> None:
    suite_audience = suite.env_for("bff")["BATZEN_TOKEN_AUDIENCE"]
    own = audience_of(AUDIENCE, suite_audience)
    tokens = {
        "service": (200, suite.token("service", sub="shop")),
        "operator": (200, suite.token("operator", sub="clerk")),
        "read-only operator": (200, suite.token("operator_readonly", sub="clerk")),
        "the console's word": (200, word(suite, "console", "operator", audience=own)),
        "the console's word for who only reads": (200, word(suite, "console", "operator_readonly", audience=own)),
        "payer": (403, suite.token("payer", sub="somebody")),
        "seller": (403, suite.token("seller", sub="somebody")),
        "the console's word for a payer": (401, word(suite, "console", "payer", audience=own)),
        "the payers' front's own word": (401, word(suite, "bff", "operator", audience=own)),
        "a word for the services": (401, word(suite, "console", "operator", audience=suite_audience)),
        "no token": (401, "none"),
    }
    answers = await asyncio.gather(*(asked(suite, token, "2025-01-01", "2025-01-02") for _, token in tokens.values()))
    async with httpx.AsyncClient(base_url=suite.front_url("bff"), timeout=WITHIN_S) as client:
        nobody = await client.get(PATH, params={"from": "2025-01-01", "to": "2025-01-02"})

    assert {name: answer.status_code for name, answer in zip(tokens, answers, strict=True)} == {
        name: status for name, (status, _) in tokens.items()
    }
    assert nobody.status_code == 401


async def test_the_word_for_the_payers_front_is_good_there_and_nowhere_else(suite: Suite) -> None:
    own = audience_of(AUDIENCE, suite.env_for("bff")["BATZEN_TOKEN_AUDIENCE"])
    token = word(suite, "console", "operator", audience=own)

    inside = await asked(suite, token, "2025-01-01", "2025-01-02", host="bff:7080")
    async with httpx.AsyncClient(base_url=suite.front_url("bff"), timeout=WITHIN_S) as client:
        headers = {"authorization": f"Bearer {token}"}
        payments = await client.get("/v1/payments", headers=headers)
        elsewhere = await client.get("/v1/payments", headers={**headers, "host": "bff:7080"})
    async with Client(token="", addresses=suite.addresses) as batzen:
        with pytest.raises(Unauthenticated):
            await batzen.gateway_ops.ListDeadLetters(
                ListDeadLettersRequest(page_size=1), metadata=(("authorization", f"Bearer {token}"),)
            )

    assert inside.status_code == 200, "it is asked by its name inside of the platform's network"
    assert (payments.status_code, elsewhere.status_code) == (403, 421)


async def test_the_page_of_figures_shows_them_to_operators(suite: Suite) -> None:
    today = datetime.now(ZURICH).date()
    # Inside and outside of the days that are shown, on whichever side of midnight they are.
    lately, long_ago = (datetime.combine(today - timedelta(days=days), time(12), ZURICH) for days in (2, 400))
    await answered(suite, "main", *((score, lately) for score in (5, 4)), (1, long_ago))
    token = suite.token("service", sub="shop")

    async with logged_in(suite, OPERATOR) as operator, logged_in(suite, READER) as reader:
        pages = [await browser.get("/figures", params={"days": "365"}) for browser in (operator, reader)]
    said = (await asked(suite, token, str(today - timedelta(days=364)), str(today))).json()["days"]

    found = [DayAnswers(**one) for one in said]
    _, chart, _ = satisfaction.answers(found, days=[one.day for one in found])
    assert isinstance(chart, Chart)
    assert found
    assert all(chart.says in page.text for page in pages)
    assert all("Mean score, of 1 to 5" in page.text for page in pages)


async def test_a_payers_front_that_is_away_leaves_the_page_of_figures_as_it_is(suite: Suite) -> None:
    nobody = f"http://{HOST}:{free_ports()['bff']}"
    async with own_console(suite, BATZEN_BFF_URL=nobody) as operator:
        page = await operator.get("/figures")

    assert page.status_code == 200
    assert "What payers answered cannot be shown now." in page.text
    assert "By day, the newest first" in page.text


async def test_a_console_that_is_not_told_of_the_payers_front_says_so(suite: Suite) -> None:
    async with own_console(suite, without="BATZEN_BFF_URL") as operator:
        page = await operator.get("/figures")

    assert page.status_code == 200
    assert "BATZEN_BFF_URL is not set" in page.text
    assert "By day, the newest first" in page.text


@asynccontextmanager
async def a_peer(answer: bytes | None) -> AsyncIterator[AnswersReader]:
    """Yield a reader of something at whose address there is another answer than a front's; None: no answer at all."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer or b"")
        if answer is None:
            await reader.read()
        writer.close()

    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    minter = AssertionMinter(key.decode, issuer="console", audience="a", now=lambda: datetime.now(UTC))
    server = await asyncio.start_server(talk, HOST, 0)
    url = f"http://{HOST}:{server.sockets[0].getsockname()[1]}"
    async with server, aiohttp.ClientSession() as client:
        patience_s = 0.2 if answer is None else WITHIN_S
        yield AnswersReader(url, minter, client, timeout=aiohttp.ClientTimeout(total=patience_s))


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (None, "It does not answer."),
        (b"", "It does not answer."),
        (b"no HTTP\r\n\r\n", "It does not answer."),
        (b"HTTP/1.1 503 Away\r\ncontent-length: 0\r\n\r\n", "It answered 503."),
        (b"HTTP/1.1 302 There\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0\r\n\r\n", "It answered 302."),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", "Its answer cannot be read."),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 70000\r\n\r\n" + b" " * 70_000, "Its answer is too long."),
    ],
)
async def test_whatever_is_at_the_address_the_reader_says_why_there_are_no_answers(
    answer: bytes | None, why: str
) -> None:
    person = Person(tenant_id="main", subject="anna", role="operator", auth_time=datetime.now(UTC))
    async with a_peer(answer) as reader:
        with pytest.raises(AnswersUnavailable, match=why):
            await reader.days(person, "2026-11-01", "2026-11-30", correlation_id="c")


def test_a_mean_is_exact_and_a_day_without_an_answer_is_none_and_not_zero() -> None:
    found = [
        DayAnswers(day="2026-11-01", answer_count=3, score_sum=13),
        DayAnswers(day="2026-11-03", answer_count=8, score_sum=33),
    ]
    counts, means, table = satisfaction.answers(found, days=["2026-11-01", "2026-11-02", "2026-11-03"])

    assert isinstance(counts, Chart)
    assert isinstance(means, Chart)
    assert isinstance(table, Table)
    assert counts.lines[0].values == [3, 0, 8]
    assert means.lines[0].values == [433, None, 413]
    assert means.lines[0].texts == ["4.33", "–", "4.13"]
    assert [[cell.text for cell in row.cells] for row in table.rows] == [
        ["3 Nov 2026", "8", "4.13"],
        ["1 Nov 2026", "3", "4.33"],
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b'{"days": [{"day": "soon", "answer_count": 1, "score_sum": 1}]}',
        b'{"days": [{"day": "2026-11-01", "answer_count": 0, "score_sum": 0}]}',
        b'{"days": [{"day": "2026-11-01", "answer_count": 2, "score_sum": 11}]}',
        b'{"days": [{"day": "2026-11-01", "answer_count": 1.5, "score_sum": 3}]}',
    ],
)
def test_an_answer_that_is_none_of_the_front_is_not_shown_as_figures(content: bytes) -> None:
    with pytest.raises(AnswersUnavailable):
        answers_reader.read(content)
