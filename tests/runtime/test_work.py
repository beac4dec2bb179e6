"""The engine for due work: every row is done, whatever happens to the process, the database, or the row itself."""

from __future__ import annotations

import asyncio
import itertools
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from local.databases import ServiceDatabase
from local.postgres import EmbeddedPostgres
from services.errors import PeerUnavailable
from services.runtime.database.connections import DirectConnections, plain_dsn
from services.runtime.observability.metrics import Meter
from services.runtime.process.clock import Clock
from services.runtime.work import dead_letters as letters
from services.runtime.work import statements
from services.runtime.work.engine import Engine
from services.runtime.work.kinds import (
    SLOTS,
    Backoff,
    RetryLater,
    RetryPolicy,
    Turns,
    Work,
    WorkClass,
    WorkKind,
    problem_of,
)
from services.runtime.work.sampling import waiting_work
from tests.conftest import Databases
from tests.eventually import WITHIN_S, eventually
from tests.metrics import Figures
from tests.runtime.spans import id_of, parent_of, recorded, trace_of

REPOSITORY = Path(__file__).parents[2]
"""For what should happen soon on a busy machine."""
FAST = RetryPolicy(tries_max=3, first_delay=timedelta(milliseconds=1))
SCHEMA = """-- expand
CREATE TABLE errands (
    tenant_id  text        NOT NULL,
    name       text        NOT NULL,
    due_time   timestamptz,
    held_until timestamptz NOT NULL DEFAULT '-infinity',
    fence      bigint      NOT NULL DEFAULT 0,
    failures   integer     NOT NULL DEFAULT 0,
    lapses     integer     NOT NULL DEFAULT 0,
    problem    text,
    dead_time  timestamptz,
    failed_tries jsonb     NOT NULL DEFAULT '[]',
    trace_context text,
    PRIMARY KEY (tenant_id, name)
);
CREATE INDEX errands_due ON errands (tenant_id, due_time) WHERE due_time IS NOT NULL;
CREATE INDEX errands_dead ON errands (tenant_id, dead_time) WHERE dead_time IS NOT NULL;
CREATE TABLE parcels (receiver text NOT NULL, LIKE errands INCLUDING DEFAULTS, PRIMARY KEY (tenant_id, receiver, name));
CREATE INDEX parcels_due ON parcels (tenant_id, receiver, due_time) WHERE due_time IS NOT NULL;
"""

RUN_FOR_EVER = """
import asyncio, sys
from tests.runtime.test_work import errands, engine_on

async def hang(work):
    print("begun", flush=True)
    await asyncio.Event().wait()

async def main():
    async with engine_on(sys.argv[1], errands(hang)) as (engine, _), engine.running():
        await asyncio.Event().wait()

asyncio.run(main())
"""

CUT_OFF = """
SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity
WHERE application_name LIKE 'test%' AND datname = $1"""

Handler = Callable[[Work], Awaitable[None]]


@pytest.fixture(scope="session")
def migrations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("work") / "migrations"
    directory.mkdir()
    (directory / "0001_errands.sql").write_text(SCHEMA)
    return directory


@pytest.fixture
async def database(databases: Databases, migrations: Path) -> AsyncIterator[ServiceDatabase]:
    database = await databases.create("work", migrations=migrations)
    yield database
    await databases.drop(database)


@pytest.fixture
async def admin(database: ServiceDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(plain_dsn(database.owner_url))
    yield connection
    await connection.close()


@pytest.fixture
async def superuser(postgres: EmbeddedPostgres) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(postgres.admin_url)
    yield connection
    await connection.close()


def errands(
    handler: Handler, *, retry: RetryPolicy = FAST, work_class: WorkClass = WorkClass.EVENTS, where: str = "true"
) -> WorkKind:
    return WorkKind(
        name="errands", work_class=work_class, table="errands", key={"name": "text"}, retry=retry, handler=handler,
        where=where,
    )  # fmt: skip


@asynccontextmanager
async def engine_on(
    url: str, *kinds: WorkKind, clock: Clock | None = None, tenants: Sequence[str] | None = None
) -> AsyncIterator[tuple[Engine, DirectConnections]]:
    async with DirectConnections(url, application_name="test", size=4) as held:
        engine = Engine(url, held, clock=clock or Clock(), application_name="test", tenants=tenants)
        engine.register(*kinds)
        yield engine, held


class Diary:
    """A handler that writes down what it did, and can be told what to do."""

    def __init__(self, act: Handler | None = None) -> None:
        self.done: list[str] = []
        self._act = act
        self._news = asyncio.Condition()

    async def __call__(self, work: Work) -> None:
        try:
            if self._act is not None:
                await self._act(work)
        finally:
            async with self._news:
                self.done.append(work.key[0])
                self._news.notify_all()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WITHIN_S), self._news:
            await self._news.wait_for(condition)


async def demand(admin: asyncpg.Connection, *names: str, tenant_id: str = "main") -> None:
    await admin.execute(
        f"""INSERT INTO errands (tenant_id, name, due_time) SELECT $2, n, now() FROM unnest($3::text[]) n
            ON CONFLICT (tenant_id, name) DO UPDATE SET {statements.demand("$1::interval", "errands")}""",
        timedelta(0),
        tenant_id,
        list(names),
    )


async def idle(admin: asyncpg.Connection) -> None:
    await eventually(lambda: admin.fetchval("SELECT count(*) = 0 FROM errands WHERE due_time IS NOT NULL"))


async def test_due_work_is_done_once_and_is_then_done(database: ServiceDatabase, admin: asyncpg.Connection) -> None:
    diary = Diary()
    await demand(admin, "a", "b")
    async with engine_on(database.runtime_url, errands(diary)) as (engine, _), engine.running():
        await idle(admin)
    assert sorted(diary.done) == ["a", "b"]
    assert await admin.fetchval("SELECT count(*) FROM errands WHERE held_until > '-infinity'") == 0


async def test_work_for_later_is_left_until_its_time(database: ServiceDatabase, admin: asyncpg.Connection) -> None:
    diary, clock = Diary(), Clock()
    await admin.execute(
        "INSERT INTO errands (tenant_id, name, due_time) VALUES ('main', 'a', now() + interval '1 hour')"
    )
    async with engine_on(database.runtime_url, errands(diary), clock=clock) as (engine, _):
        assert await engine.once() == 0
        clock.shift += timedelta(hours=2)
        assert await engine.once() == 1
    assert diary.done == ["a"]


async def test_what_comes_while_a_row_is_worked_on_is_worked_on_afterwards(
    database: ServiceDatabase, admin: asyncpg.Connection
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def wait(_: Work) -> None:
        begun.set()
        await go_on.wait()

    diary = Diary(wait)
    await demand(admin, "a")
    async with engine_on(database.runtime_url, errands(diary)) as (engine, _), engine.running():
        await begun.wait()
        await demand(admin, "a")  # the handler may have read already what it works on
        go_on.set()
        await diary.until(lambda: len(diary.done) == 2)
        await idle(admin)
    assert diary.done == ["a", "a"]


async def test_what_runs_for_long_is_told_that_the_process_ends(
    database: ServiceDatabase, admin: asyncpg.Connection
) -> None:
    """Cancelled, it would not come to its end."""
    begun, ending = asyncio.Event(), asyncio.Event()

    async def follow(_: Work) -> None:
        begun.set()
        await ending.wait()

    diary = Diary(follow)
    await demand(admin, "a")
    async with engine_on(database.runtime_url, errands(diary)) as (engine, _):
        engine.when_ending(ending.set)
        async with engine.running():
            await begun.wait()
    assert diary.done == ["a"]


@pytest.mark.parametrize("is_renewed", [False, True])
async def test_what_comes_after_a_lease_ran_out_and_before_its_row_is_let_go_is_worked_on_afterwards(
    database: ServiceDatabase, admin: asyncpg.Connection, is_renewed: bool
) -> None:
    async def stall(work: Work) -> None:
        if diary.done:
            return
        await admin.execute(
            "UPDATE errands SET (due_time, held_until) = (now() - interval '1 second', now() - interval '1 second')"
        )
        await demand(admin, "a")
        if is_renewed:
            keys = ([work.tenant_id], [work.fence], [work.key[0]])
            await admin.execute(statements.renew(work.kind), timedelta(0), *keys)

    diary = Diary(stall)
    await demand(admin, "a")
    async with engine_on(database.runtime_url, errands(diary)) as (engine, _):
        await engine.once()
        await engine.once()
    assert diary.done == ["a", "a"]


async def test_what_comes_while_a_row_is_worked_on_does_not_wait_for_what_the_row_waits_for(
    database: ServiceDatabase, admin: asyncpg.Connection
) -> None:
    async def wait(_: Work) -> None:
        if not diary.done:
            await demand(admin, "a")
            raise RetryLater(timedelta(hours=1))

    diary = Diary(wait)
    await demand(admin, "a")
    async with engine_on(database.runtime_url, errands(diary)) as (engine, _):
        await engine.once()
        await engine.once()
    assert diary.done == ["a", "a"]


async def test_what_comes_during_the_last_try_is_tried_for(
    database: ServiceDatabase, admin: asyncpg.Connection
) -> None:
    async def fail(_: Work) -> None:
        if not diary.done:
            await demand(admin, "a")
        raise ValueError("never")

    diary = Diary(fail)
    await demand(admin, "a")
    once = RetryPolicy(tries_max=1, first_delay=timedelta(milliseconds=1))
    async with engine_on(database.runtime_url, errands(diary, retry=once)) as (engine, held):
        await engine.once()
        assert (await letters.depth(held, engine.kinds[0])).dead == 0
        await engine.once()
        assert (await letters.depth(held, engine.kinds[0])).dead == 1
    assert diary.done == ["a", "a"]


async def test_a_row_is_never_worked_on_twice_at_once(database: ServiceDatabase, admin: asyncpg.Connection) -> None:
    running: set[str] = set()
    overlaps: list[str] = []

    async def work_on(work: Work) -> None:
        if work.key[0] in running:
            overlaps.append(work.key[0])
        running.add(work.key[0])
        await demand(admin, *([work.key[0]] if work.fence < 3 else []))
        running.discard(work.key[0])

    lock = asyncio.Lock()

    async def one_statement_at_a_time(work: Work) -> None:
        async with lock:  # `admin` is one connection
            await work_on(work)

    diary = Diary(one_statement_at_a_time)
    names = [f"errand_{n}" for n in range(40)]
    await demand(admin, *names)
    async with (
        engine_on(database.runtime_url, errands(diary)) as (one, _),
        engine_on(database.runtime_url, errands(diary)) as (other, _),
        one.running(),
        other.running(),
    ):
        await diary.until(lambda: len(diary.done) >= 3 * len(names))
    assert overlaps == []
    assert len(diary.done) == 3 * len(names)


async def test_a_run_is_a_span_that_says_how_it_went_linked_to_what_its_row_names(
    database: ServiceDatabase, admin: asyncpg.Connection
) -> None:
    async def act(work: Work) -> None:
        if work.key[0] == "poison":
            raise ValueError("it is poison")
        if work.key[0] == "later":
            raise RetryLater(timedelta(hours=1))

    await demand(admin, "good", "poison", "later")
    await admin.execute("UPDATE errands SET trace_context = $1 || '/00000000000000' || left(md5(name), 2)", "c" * 32)
    with recorded() as written:
        async with engine_on(database.runtime_url, errands(act)) as (engine, _):
            assert await engine.once() == 3
    runs = [one for one in written.spans() if one.name == "work errands"]
    said = [dict(one.attributes or {}) for one in runs]

    assert sorted(str(one["batzen.outcome"]) for one in said) == ["DONE", "FAILED", "LATER"]
    assert [one["error.type"] for one in said if one["batzen.outcome"] == "FAILED"] == ["ValueError"]
    assert {one["batzen.work"] for one in said} == {"errands"}
    assert {f"{link.context.trace_id:x}" for one in runs for link in one.links} == {"c" * 32}
    assert len({trace_of(one) for one in runs} | {int("c" * 32, 16)}) == 4
    ends = [one for one in written.spans() if one.name == "commit errands.end"]
    assert {parent_of(one) for one in ends} == {id_of(one) for one in runs}


async def test_a_failure_moves_a_row_to_the_back_and_the_others_go_on(
    database: ServiceDatabase, admin: asyncpg.Connection
) -> None:
    async def refuse_poison(work: Work) -> None:
        if work.key[0] == "poison":
            raise ValueError("it is poison")

    diary = Diary(refuse_poison)
    kind = errands(diary, retry=RetryPolicy(tries_max=None, first_delay=timedelta(hours=1)))
    await demand(admin, "poison")
    await demand(admin, *(f"good_{n}" for n in range(SLOTS[WorkClass.EVENTS] * 2)))
    async with engine_on(database.runtime_url, kind) as (engine, _), engine.running():
        await diary.until(lambda: len(diary.done) == SLOTS[WorkClass.EVENTS] * 2 + 1)
    row = await admin.fetchrow("SELECT *, due_time > now() AS is_later FROM errands WHERE name = 'poison'")
    assert (row["failures"], row["problem"], row["is_later"]) == (1, "ValueError: it is poison", True)


@pytest.mark.parametrize("text", ["NUL \0", "half a pair \ud83d", "long " * 10_000], ids=["NUL", "half", "long"])
async def test_a_failure_whose_text_cannot_be_stored_becomes_a_dead_letter_alone(
    database: ServiceDatabase, admin: asyncpg.Connection, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, logger=Engine.__module__)  # pytest's own reports cannot hold such a text

    async def fail(work: Work) -> None:
        if work.key[0] == "poison":
            raise RuntimeError(text)

    diary = Diary(fail)
    await demand(admin, "poison", "good")
    async with engine_on(database.runtime_url, errands(diary)) as (engine, held), engine.running():
        await idle(admin)
        (letter,) = await letters.dead_letters(held, [errands(diary)], tenant_id="main", after=None, limit=10)
    assert diary.done.count("poison") == 3
    assert diary.done.count("good") == 1
    assert (letter.key, letter.failures) == (("poison",), 3)
    assert letter.problem.startswith("RuntimeError: ")


async def test_a_dead_letter_is_replayed_with_fresh_tries_after_a_fix(
    database: ServiceDatabase, admin: asyncpg.Connection
) -> None:
    is_mended = False

    async def fail(_: Work) -> None:
        if not is_mended:
            raise RuntimeError("broken")

    kind = errands(diary := Diary(fail))
    await demand(admin, "a")
    async with engine_on(database.runtime_url, kind) as (engine, held), engine.running():
        await idle(admin)
        assert not await letters.replay(held, kind, ["unknown"], tenant_id="main")
        assert not await letters.replay(held, kind, ["a"], tenant_id="other")
        is_mended = True
        assert await letters.replay(held, kind, ["a"], tenant_id="main")
        engine.wake(WorkClass.EVENTS)
        await idle(admin)
        assert await letters.dead_letters(held, [kind], tenant_id="main", after=None, limit=10) == []
    assert diary.done == ["a"] * 4


async def test_something_new_revives_what_was_given_up(database: ServiceDatabase, admin: asyncpg.Connection) -> None:
    await admin.execute("INSERT INTO errands (tenant_id, name, dead_time, failures) VALUES ('main', 'a', now(), 3)")
    diary = Diary()
    async with engine_on(database.runtime_url, errands(diary)) as (engine, _):
        assert await engine.once() == 0
        await demand(admin, "a")
        assert await engine.once() == 1
    assert await admin.fetchval("SELECT dead_time IS NULL AND failures = 0 FROM errands")


async def test_dead_letters_are_listed_page_by_page(database: ServiceDatabase, admin: asyncpg.Connection) -> None:
    await admin.execute(
        """INSERT INTO errands (tenant_id, name, dead_time, problem)
           SELECT 'main', 'errand_' || n, '2026-01-01'::timestamptz + (n / 3) * interval '1 s', 'broken'
           FROM generate_series(1, 10) n"""
    )
    found: list[letters.DeadLetter] = []
    async with engine_on(database.runtime_url, kind := errands(Diary())) as (_, held):
        after = None
        while page := await letters.dead_letters(held, [kind], tenant_id="main", after=after, limit=3):
            found += page
            after = letters.place_of(page[-1])
    assert sorted(letter.key[0] for letter in found) == sorted(f"errand_{n}" for n in range(1, 11))
    assert [letter.dead_time for letter in found] == sorted(letter.dead_time for letter in found)
    assert letters.read_id(found[0].dead_letter_id) == ("errands", found[0].key)


@pytest.mark.parametrize(
    ("chosen", "names"),
    [
        (letters.Filter(kinds=("errands",)), "abc"),
        (letters.Filter(kinds=("others",)), ""),
        (letters.Filter(about=("B", "C")), "bc"),
        (letters.Filter(dead_before=datetime(2026, 1, 3, tzinfo=UTC)), "ab"),
        (letters.Filter(problem="valueerror"), "ac"),
        (letters.Filter(problem="%"), "c"),
        (letters.Filter(problem="ValueError", about=("C",), dead_before=datetime(2026, 1, 3, tzinfo=UTC)), ""),
    ],
)
async def test_dead_letters_are_found_by_kind_by_what_they_are_about_by_age_and_by_what_went_wrong(
    database: ServiceDatabase, admin: asyncpg.Connection, chosen: letters.Filter, names: str
) -> None:
    await admin.execute(
        """INSERT INTO errands (tenant_id, name, dead_time, problem) VALUES
           ('main', 'a', '2026-01-01Z', 'ValueError: no'), ('main', 'b', '2026-01-02Z', 'KeyError: no'),
           ('main', 'c', '2026-01-03Z', 'ValueError: 100 %')"""
    )
    kind = replace(errands(Diary()), about="upper(w.name)")
    async with engine_on(database.runtime_url, kind) as (_, held):
        found = await letters.dead_letters(held, [kind], tenant_id="main", after=None, limit=9, chosen=chosen)
    assert "".join(letter.key[0] for letter in found) == names


async def test_each_try_that_failed_is_kept_also_over_a_replay_until_it_goes_through(
    database: ServiceDatabase, admin: asyncpg.Connection
) -> None:
    tries = itertools.count(1)

    async def fail(_: Work) -> None:
        if (number := next(tries)) <= statements.TRIES_KEPT_MAX + 3:
            raise RuntimeError(f"try {number} of anna@example.com: {'x' * 600}")

    kind = errands(Diary(fail), retry=RetryPolicy(tries_max=1, first_delay=timedelta(0)))
    await demand(admin, "a")
    async with engine_on(database.runtime_url, kind) as (engine, held):
        for _ in range(statements.TRIES_KEPT_MAX + 3):
            await engine.once()
            await letters.replay(held, kind, ["a"], tenant_id="main")
        await admin.execute("UPDATE errands SET dead_time = now()")
        (letter,) = await letters.dead_letters(held, [kind], tenant_id="main", after=None, limit=9)
        assert await letters.replay(held, kind, ["a"], tenant_id="main")
        await engine.once()

    assert [one.problem.partition(": x")[0] for one in letter.tries] == [
        f"RuntimeError: try {number} of …@…" for number in range(4, statements.TRIES_KEPT_MAX + 4)
    ]
    assert {len(one.problem) for one in letter.tries} == {statements.TRY_CHARACTERS_MAX}
    assert [one.time for one in letter.tries] == sorted(one.time for one in letter.tries)
    assert await admin.fetchval("SELECT failed_tries = '[]' FROM errands")


async def test_what_a_row_keeps_of_a_failure_has_no_value_that_a_database_quotes(admin: asyncpg.Connection) -> None:
    await admin.execute("INSERT INTO errands (tenant_id, name) VALUES ('main', 'Anna')")
    for statement, argument in (
        ("INSERT INTO errands (tenant_id, name) VALUES ('main', $1)", "Anna"),
        ("SELECT $1::integer", "Anna"),
    ):
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError)) as failure:
            await admin.execute(statement, argument)
        problem = problem_of(failure.value)
        assert "Anna" in str(failure.value)
        assert "Anna" not in problem
        assert type(failure.value).__name__ in problem


@pytest.mark.parametrize("text", ["", "errands", "errands/", "/a", "errands/\0", "errands//a"])
def test_what_is_no_id_of_a_dead_letter_is_none(text: str) -> None:
    assert letters.read_id(text) is None


async def test_work_that_waits_counts_no_failure(database: ServiceDatabase, admin: asyncpg.Connection) -> None:
    async def wait_twice(work: Work) -> None:
        if work.fence < 3:
            raise RetryLater(timedelta(milliseconds=5))

    diary = Diary(wait_twice)
    await demand(admin, "a")
    async with engine_on(database.runtime_url, errands(diary)) as (engine, _), engine.running():
        await idle(admin)
    assert diary.done == ["a"] * 3
    assert await admin.fetchval("SELECT failures = 0 AND problem IS NULL FROM errands")


async def test_another_service_being_away_is_a_failure_like_any_other(
    database: ServiceDatabase, admin: asyncpg.Connection
) -> None:
    async def fail(_: Work) -> None:
        raise PeerUnavailable(dependency="status")

    await demand(admin, "a")
    async with engine_on(database.runtime_url, errands(Diary(fail))) as (engine, _):
        await engine.once()
    assert await admin.fetchval("SELECT failures FROM errands") == 1


async def test_the_database_going_away_in_the_middle_never_makes_a_dead_letter(
    database: ServiceDatabase, admin: asyncpg.Connection, superuser: asyncpg.Connection
) -> None:
    outages = 5

    async def lose_the_database(_: Work) -> None:
        nonlocal outages
        if outages == 0:
            return
        outages -= 1
        async with held.statement("test.statement") as connection:
            await superuser.execute(CUT_OFF, database.name)
            await connection.execute("SELECT 1")
        raise AssertionError("the connection should be gone")

    diary, clock = Diary(lose_the_database), Clock()
    await demand(admin, "a")
    kind = errands(diary, retry=RetryPolicy(tries_max=1, first_delay=timedelta(seconds=1)))
    async with engine_on(database.runtime_url, kind, clock=clock) as (engine, held), engine.running():

        async def is_done() -> bool:
            clock.shift += timedelta(minutes=1)  # past whatever lease could not be let go
            return bool(await admin.fetchval("SELECT due_time IS NULL FROM errands"))

        await eventually(is_done)
        assert await letters.dead_letters(held, [kind], tenant_id="main", after=None, limit=10) == []
    assert await admin.fetchval("SELECT failures FROM errands") == 0


async def test_what_a_killed_process_worked_on_is_done_by_another(
    database: ServiceDatabase, admin: asyncpg.Connection
) -> None:
    await demand(admin, "a")
    doomed = await asyncio.create_subprocess_exec(
        sys.executable, "-c", RUN_FOR_EVER, database.runtime_url, stdout=asyncio.subprocess.PIPE, cwd=REPOSITORY
    )
    assert doomed.stdout is not None
    async with asyncio.timeout(WITHIN_S):
        assert await doomed.stdout.readline() == b"begun\n"
    doomed.kill()
    await doomed.wait()
    diary = Diary()
    async with engine_on(database.runtime_url, errands(diary)) as (engine, _), engine.running():
        await idle(admin)
    assert diary.done == ["a"]


async def test_what_kills_its_process_again_and_again_is_begun_ever_more_seldom(
    database: ServiceDatabase, admin: asyncpg.Connection
) -> None:
    clock = Clock()
    leases = []
    await demand(admin, "a")
    async with engine_on(database.runtime_url, kind := errands(Diary()), clock=clock) as (_, held):
        for _ in range(12):
            async with held.statement(None) as connection, connection.transaction():  # in which it is one instant
                rows = await connection.fetch(statements.claim(kind, tenants=False), clock.shift, 1)
                lease = await connection.fetchval("SELECT held_until - now() - $1::interval FROM errands", clock.shift)
            assert len(rows) == 1  # as a process that takes it and dies
            leases.append(lease)
            clock.shift += timedelta(hours=1)
    assert leases[0] == timedelta(seconds=3)
    assert all(later > earlier for earlier, later in itertools.pairwise(leases[1:10]))
    assert leases[-1] < timedelta(hours=1)


async def test_what_runs_long_stays_with_who_runs_it(database: ServiceDatabase, admin: asyncpg.Connection) -> None:
    go_on = asyncio.Event()

    async def wait(_: Work) -> None:
        await go_on.wait()

    diary = Diary(wait)
    await demand(admin, "a")
    async with engine_on(database.runtime_url, errands(diary)) as (engine, _), engine.running():
        await eventually(lambda: admin.fetchval("SELECT held_until > '-infinity' FROM errands"))
        taken = await admin.fetchval("SELECT held_until FROM errands")
        await eventually(lambda: admin.fetchval("SELECT held_until > $1 FROM errands", taken))
        assert await admin.fetchval("SELECT due_time = held_until AND fence = 1 FROM errands")
        go_on.set()
        await idle(admin)
    assert diary.done == ["a"]


async def test_a_process_that_stops_gives_back_what_it_does_not_end(
    database: ServiceDatabase, admin: asyncpg.Connection
) -> None:
    begun = asyncio.Event()

    async def hang(_: Work) -> None:
        begun.set()
        await asyncio.Event().wait()

    await demand(admin, "a")
    async with engine_on(database.runtime_url, errands(hang)) as (engine, _), engine.running(grace_s=0):
        await begun.wait()
    assert await admin.fetchval("SELECT due_time <= now() AND held_until = '-infinity' AND failures = 0 FROM errands")


async def test_a_pile_of_one_class_does_not_hold_up_another(
    database: ServiceDatabase, admin: asyncpg.Connection
) -> None:
    go_on = asyncio.Event()

    async def hang(_: Work) -> None:
        await go_on.wait()

    quick = Diary()
    slow = errands(hang, work_class=WorkClass.EXPIRIES, where="name LIKE 'slow%'")
    other = WorkKind(
        name="quick", work_class=WorkClass.MONEY, table="errands", key={"name": "text"}, retry=FAST, handler=quick,
        where="name NOT LIKE 'slow%'",
    )  # fmt: skip
    held_slow = "SELECT count(*) FROM errands WHERE held_until > now() AND name LIKE 'slow%'"
    await demand(admin, *(f"slow_{n}" for n in range(100)))
    async with engine_on(database.runtime_url, slow, other) as (engine, _), engine.running(grace_s=0):
        await demand(admin, "quick")
        engine.wake(WorkClass.MONEY)
        await quick.until(lambda: quick.done == ["quick"])
        assert await admin.fetchval(held_slow) <= SLOTS[slow.work_class]


async def test_a_tenant_with_a_pile_of_work_takes_turns_with_the_others(
    database: ServiceDatabase, admin: asyncpg.Connection
) -> None:
    room = SLOTS[WorkClass.EVENTS]
    await demand(admin, *(f"pile_{n}" for n in range(room * 20)), tenant_id="big")
    await demand(admin, "a", "b", tenant_id="small")
    await demand(admin, "a", tenant_id="tiny")
    done: list[str] = []

    async def note(work: Work) -> None:
        done.append(work.tenant_id)

    async with engine_on(database.runtime_url, errands(note)) as (engine, _):
        await engine.once()
    assert (done.count("small"), done.count("tiny"), len(done)) == (2, 1, room)


async def test_a_process_works_for_its_own_tenants_alone(database: ServiceDatabase, admin: asyncpg.Connection) -> None:
    await demand(admin, "a", tenant_id="ours")
    await demand(admin, "b", tenant_id="theirs")
    diary = Diary()
    async with engine_on(database.runtime_url, errands(diary), tenants=["ours"]) as (engine, _):
        assert await engine.once() == 1
        assert await engine.once() == 0
    assert diary.done == ["a"]


async def test_an_engine_hears_of_work_that_another_process_makes_due(
    database: ServiceDatabase, admin: asyncpg.Connection, superuser: asyncpg.Connection
) -> None:
    diary = Diary()
    async with (
        engine_on(database.runtime_url, errands(diary)) as (engine, _),
        engine_on(database.runtime_url, errands(diary)) as (elsewhere, _),  # it does not run, so it wakes the other
        engine.running(),
    ):
        listening = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'test-work' AND state = 'idle'"
        await eventually(lambda: superuser.fetchval(listening))
        await demand(admin, "a")
        elsewhere.wake(WorkClass.EVENTS)
        await diary.until(lambda: diary.done == ["a"])
        await idle(admin)


class CountedConnections(DirectConnections):
    """Counts the statements that are made on its connections."""

    count = 0

    def statement(self, point: str | None) -> AbstractAsyncContextManager[asyncpg.Connection]:
        self.count += 1
        return super().statement(point)


async def test_an_idle_engine_makes_one_statement_a_poll(
    database: ServiceDatabase, superuser: asyncpg.Connection
) -> None:
    last = "SELECT max(query_start) FROM pg_stat_activity WHERE application_name = 'idle-work'"
    async with CountedConnections(database.runtime_url, application_name="idle", size=2) as held:
        engine = Engine(database.runtime_url, held, clock=Clock(), application_name="idle")
        engine.register(errands(Diary()), replace(errands(Diary(), work_class=WorkClass.MONEY), name="more"))
        async with engine.running():
            for _ in range(3):
                before = await superuser.fetchval(last)
                await eventually(
                    lambda before=before: superuser.fetchval(f"SELECT ({last}) IS DISTINCT FROM $1", before)
                )
        assert held.count == 0


async def test_work_waits_for_a_database_that_is_away_and_goes_on(
    database: ServiceDatabase, admin: asyncpg.Connection, superuser: asyncpg.Connection
) -> None:
    diary = Diary()
    async with engine_on(database.runtime_url, errands(diary)) as (engine, _), engine.running():
        for name in ("a", "b", "c"):
            await superuser.execute(CUT_OFF, database.name)
            await demand(admin, name)
            engine.wake(WorkClass.EVENTS)
            await idle(admin)
    assert diary.done == ["a", "b", "c"]


def test_a_retry_policy_rests_longer_each_time_up_to_its_limit() -> None:
    policy = RetryPolicy(tries_max=5, first_delay=timedelta(seconds=1), delay_max=timedelta(seconds=5))
    assert [policy.delay(n) for n in range(1, 6)] == [timedelta(seconds=s) for s in (1, 2, 4, 5)] + [None]
    linear = RetryPolicy(tries_max=None, first_delay=timedelta(seconds=1), backoff=Backoff.LINEAR)
    assert [linear.delay(n) for n in (1, 2, 3)] == [timedelta(seconds=s) for s in (1, 2, 3)]
    assert linear.delay(10**9) == linear.delay_max


async def test_a_renewal_that_comes_after_its_row_was_let_go_holds_nothing(admin: asyncpg.Connection) -> None:
    async def nothing(_work: Work) -> None: ...

    kind, shift = errands(nothing), timedelta(0)
    await admin.execute("INSERT INTO errands (tenant_id, name, due_time) VALUES ('main', 'late', now())")
    (row,) = await admin.fetch(statements.claim(kind, tenants=False), shift, 1)
    await admin.fetch(statements.finish(kind), shift, "main", row["fence"], "late")

    await admin.execute(statements.renew(kind), shift, ["main"], [row["fence"]], ["late"])

    assert await admin.fetchval("SELECT held_until = '-infinity' AND due_time IS NULL FROM errands")


def parcels(handler: Handler, *, at_once: int, rests: str = "false") -> WorkKind:
    """Return work in which receivers take turns."""
    return WorkKind(
        name="parcels", work_class=WorkClass.EVENTS, table="parcels", key={"receiver": "text", "name": "text"},
        retry=FAST, handler=handler, turns=Turns(column="receiver", at_once=at_once, rests=rests),
    )  # fmt: skip


async def post(admin: asyncpg.Connection, receiver: str, *names: str, tenant_id: str = "main") -> None:
    await admin.execute(
        "INSERT INTO parcels (tenant_id, receiver, name, due_time) SELECT $1, $2, n, now() FROM unnest($3::text[]) n",
        tenant_id,
        receiver,
        list(names),
    )


async def test_what_takes_turns_and_hangs_has_its_own_slots_alone(
    database: ServiceDatabase, admin: asyncpg.Connection
) -> None:
    go_on = asyncio.Event()

    async def hang(work: Work) -> None:
        if work.key[0] == "slow":
            begun.append(work.key[1])
            await go_on.wait()

    begun: list[str] = []
    diary = Diary(hang)
    names = [f"parcel_{place}" for place in range(SLOTS[WorkClass.EVENTS])]
    await post(admin, "slow", *names)
    await post(admin, "slow", *names, tenant_id="other")
    async with engine_on(database.runtime_url, parcels(diary, at_once=2)) as (engine, _), engine.running():
        await eventually(lambda: len(begun) == 4)
        await post(admin, "good", "late")
        engine.wake(WorkClass.EVENTS)
        await diary.until(lambda: diary.done == ["good"])
        assert len(begun) == 4
        go_on.set()
        await diary.until(lambda: len(diary.done) == 1 + 2 * len(names))
    assert await admin.fetchval("SELECT count(*) FROM parcels WHERE due_time IS NOT NULL") == 0


async def test_what_takes_turns_and_rests_has_nothing_begun_until_it_is_over(
    database: ServiceDatabase, admin: asyncpg.Connection
) -> None:
    diary, clock = Diary(), Clock()
    until = await admin.fetchval("SELECT (now() + interval '1 minute')::text")
    rests = f"g.tenant_id = 'main' AND g.turn = 'tired' AND {{now}} < '{until}'"
    await post(admin, "tired", "a")
    await post(admin, "tired", "a", tenant_id="other")
    await post(admin, "awake", "a")
    kind, meter = parcels(diary, at_once=2, rests=rests), Meter()
    async with engine_on(database.runtime_url, kind, clock=clock) as (engine, held):
        assert await engine.once() == 2
        assert await engine.once() == 0
        await waiting_work(held, [kind], clock=clock, meter=meter)()  # it waits for its rest to end, and not for a slot
        assert Figures.read(await meter.text()).of("batzen_work_due", kind="parcels") == 0
        clock.shift += timedelta(minutes=2)
        assert await engine.once() == 1
    assert sorted(diary.done) == ["awake", "tired", "tired"]


async def test_who_takes_turns_is_worked_on_for_the_process_s_own_tenants_alone(
    database: ServiceDatabase, admin: asyncpg.Connection
) -> None:
    diary = Diary()
    await post(admin, "same", "a")
    await post(admin, "same", "a", tenant_id="other")
    async with engine_on(database.runtime_url, parcels(diary, at_once=2), tenants=["other"]) as (engine, _):
        assert await engine.once() == 1
    assert await admin.fetchval("SELECT tenant_id FROM parcels WHERE due_time IS NOT NULL") == "main"
