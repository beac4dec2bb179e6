"""The stand-in's state on disk: a restart, a kill or a power cut forgets nothing that anybody was told.

Every change is on the disk before it is answered and before an event of it is posted: Stripe does not forget either,
and what our services wrote down must be true after a restart. It is one transaction of SQLite a request, of what the
request touched. `World` notes what it hands out or is told to have changed (`touch`), and that is written if it is
another than before; `differences` finds what was changed unnoticed, for tests.
"""

import asyncio
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

from sandbox import hooks, keeping
from sandbox.state import Account, Sandbox
from sandbox.world import World

FORMAT = 5  # of the file; it takes up no other
_SOON_S = 0.05  # until a change that nobody waits for is written: the end of a delivery, a settlement
_REDELIVERED_S = 3 * 86_400  # Stripe tries for three days
_MAGIC = b"SQLite format 3\0"  # how each of its files begins
_REST = ""  # instead of an id: what is kept of an account beside its objects
_KEYS = " keys"  # after an account's name: its idempotency keys, in place of objects
_TABLES = """
PRAGMA locking_mode = EXCLUSIVE;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS kept (
    number INTEGER PRIMARY KEY,
    place  TEXT NOT NULL,
    id     TEXT NOT NULL,
    value  TEXT NOT NULL,
    UNIQUE (place, id)
);
"""
"""`number` is the order in which objects were made; `place` is an account: `<platform>` or `<platform>/<connected>`."""

Change = tuple[str, str, str | None]
"""A place, an id, and what is kept of it from now on; None: nothing."""


class Keeper:
    """Keeps one sandbox in a file, which belongs to one process at a time."""

    def __init__(self, sandbox: Sandbox, file: Path) -> None:
        self._sandbox = sandbox
        self._file = file
        self._timer: asyncio.TimerHandle | None = None
        self._is_changed = False
        self._written: dict[tuple[str, str], int] = {}  # hashes of what is in the file
        self._places: dict[str, Account] = {}  # whose rows are in the file
        self._database = self._opened()

    def read(self) -> None:
        """Take up what the file holds; raises ValueError for a file of another kind or version."""
        try:
            self._take_over()
        except (sqlite3.Error, ValueError, KeyError, TypeError, AttributeError) as mistake:
            self._database.close()
            raise self._unreadable() from mistake

    def note(self) -> None:
        """Something changed: it is written soon, or by `write` before that."""
        self._is_changed = True
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_SOON_S, self.write)

    def write(self) -> None:
        """Have on the disk whatever changed; raises `sqlite3.Error` if that cannot be, and tries again next time."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._is_changed:
            return
        gone = [name for name, account in self._places.items() if self._sandbox.accounts.get(name) is not account]
        for name in gone:
            self._forget(name)
        changes = [change for change in self._touched() if self._is_news(change)]
        with self._database as transaction:
            for name in gone:
                transaction.execute("DELETE FROM kept WHERE place IN (?, ?)", (name, name + _KEYS))
                transaction.execute("DELETE FROM kept WHERE substr(place, 1, ?) = ?", (len(name) + 1, f"{name}/"))
            transaction.executemany("INSERT OR REPLACE INTO about VALUES (?, ?)", self._about())
            transaction.executemany(
                "DELETE FROM kept WHERE place = ? AND id = ?", [change[:2] for change in changes if change[2] is None]
            )
            transaction.executemany(
                "INSERT INTO kept (place, id, value) VALUES (?, ?, ?) "
                "ON CONFLICT (place, id) DO UPDATE SET value = excluded.value",
                [change for change in changes if change[2] is not None],
            )
        self._is_changed = False
        self._note_written(changes)

    def close(self) -> None:
        """Write what is not written yet, and let the file go; raises RuntimeError for what changed unnoticed, if that
        is checked.
        """
        try:
            self.write()
            if self._sandbox.settings.check_answers and (missed := self.differences()):
                raise RuntimeError(f"The sandbox changed and did not note it: {missed}")
        finally:
            self._database.close()

    def differences(self) -> list[tuple[str, str]]:
        """Return what is not in the file as it should be; a state of balance transactions follows from their time."""
        self._is_changed = True
        self.write()
        query = self._database.execute("SELECT place, id, value FROM kept")
        held = {(place, object_id): _timeless(value) for place, object_id, value in query}
        whole = {(place, object_id): _timeless(value) for place, object_id, value in self._whole() if value is not None}
        return sorted(key for key in held.keys() | whole.keys() if held.get(key) != whole.get(key))

    def _opened(self) -> sqlite3.Connection:
        os.close(os.open(self._file, os.O_RDWR | os.O_CREAT, 0o600))  # it holds secrets of webhooks
        with self._file.open("rb") as file:
            if file.read(len(_MAGIC)) not in (b"", _MAGIC):
                raise self._unreadable()
        database = sqlite3.connect(self._file, timeout=0)
        try:
            database.executescript(_TABLES)
        except sqlite3.OperationalError as mistake:
            database.close()
            raise ValueError(f"{self._file} cannot be used: {mistake}; another stand-in may run on it.") from mistake
        except sqlite3.DatabaseError as mistake:
            database.close()
            raise self._unreadable() from mistake
        return database

    def _unreadable(self) -> ValueError:
        return ValueError(f"{self._file} does not hold the state of this stand-in; remove it to start anew.")

    def _take_over(self) -> None:
        sandbox = self._sandbox
        about = dict(self._database.execute("SELECT name, value FROM about"))
        if not about:
            return
        if (about["format"], about["api_version"]) != (str(FORMAT), sandbox.schema.api_version):
            raise ValueError("another version's")
        sandbox.clock.advance(float(about["ahead_s"]))
        sandbox.revoked_keys.update(json.loads(about["revoked_keys"]))
        rows: dict[str, dict[str, str]] = {}
        for place, object_id, value in self._database.execute("SELECT place, id, value FROM kept ORDER BY number"):
            rows.setdefault(place, {})[object_id] = value
            self._written[place, object_id] = hash(value)
        for name in [place for place in rows if "/" not in place and not place.endswith(_KEYS)]:
            self._restore(name, rows)
        if sandbox.settings.seed is not None:
            # The seed's first ids are taken.
            sandbox.chance.seed(f"{sandbox.settings.seed} {sandbox.clock.now()}")

    def _restore(self, name: str, rows: dict[str, dict[str, str]]) -> None:
        """Take up an account: what each part of it has first, and then what is to happen."""
        sandbox = self._sandbox
        account = self._places[name] = sandbox.open_account(name)
        world = account.world
        account.keys.restore([json.loads(one) for one in rows.get(name + _KEYS, {}).values()])
        for place, kept in rows.items():
            if place == name:
                keeping.restore(world, rest=kept.pop(_REST), rows=kept.values())
            elif place.startswith(f"{name}/"):
                one = world.connect_account(place.partition("/")[2])
                keeping.restore(one, rest=kept.pop(_REST), rows=kept.values())
        for one in (world, *world.connected.values()):
            one.take_touched()  # it is as it is in the file
        keeping.take_up(world)
        if sandbox.default_endpoints:
            # The configured endpoint is what the settings say now: address and secrets may be others.
            hooks.replace_configured(world, sandbox.default_endpoints.values())
        keeping.redeliver(world, sandbox.delivery.publish, since=world.clock.seconds() - _REDELIVERED_S)
        self.note()

    def _about(self) -> Iterator[tuple[str, str]]:
        sandbox = self._sandbox
        yield "format", str(FORMAT)
        yield "api_version", sandbox.schema.api_version
        yield "ahead_s", str(sandbox.clock.ahead_s)
        yield "revoked_keys", keeping.text(sorted(sandbox.revoked_keys))

    def _touched(self) -> Iterator[Change]:
        for name, account in self._sandbox.accounts.items():
            for place, world in _places(name, account):
                yield place, _REST, keeping.rest(world)
                for object_id in world.touched:
                    yield place, object_id, keeping.row(world, object_id)
            for key in account.keys.touched:
                yield name + _KEYS, key, account.keys.row(key)

    def _whole(self) -> Iterator[Change]:
        for name, account in self._sandbox.accounts.items():
            for place, world in _places(name, account):
                yield place, _REST, keeping.rest(world)
                for obj in world.everything():
                    yield place, obj["id"], keeping.row(world, obj["id"])
            for key in account.keys.all():
                yield name + _KEYS, key, account.keys.row(key)

    def _is_news(self, change: Change) -> bool:
        place, object_id, value = change
        return self._written.get((place, object_id)) != (None if value is None else hash(value))

    def _forget(self, name: str) -> None:
        """Forget what is in the file of an account that is gone: another of its name is written whole."""
        ours = {name, name + _KEYS}
        for key in [key for key in self._written if key[0] in ours or key[0].startswith(f"{name}/")]:
            del self._written[key]

    def _note_written(self, changes: Iterable[Change]) -> None:
        self._places = dict(self._sandbox.accounts)
        for place, object_id, value in changes:
            if value is None:
                del self._written[place, object_id]
            else:
                self._written[place, object_id] = hash(value)
        for name, account in self._sandbox.accounts.items():
            for _, world in _places(name, account):
                world.take_touched()
            account.keys.touched.clear()


def _places(name: str, account: Account) -> Iterator[tuple[str, World]]:
    """Yield what a platform has and what each of its connected accounts has, with where it is in the file."""
    yield name, account.world
    for account_id, world in account.world.connected.items():
        yield f"{name}/{account_id}", world


def _timeless(value: str) -> object:
    kept = json.loads(value)
    if isinstance(kept, dict) and kept.get("object", {}).get("object") == "balance_transaction":
        del kept["object"]["status"]
    return kept
