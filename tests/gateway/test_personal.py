"""Personal data at rest is bound to its payer and field; its keys are wrapped, rotated, and destroyed for good."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import timedelta

import asyncpg
import pytest

from local.databases import ServiceDatabase
from local.personal_key import new_personal_key
from services.gateway.personal.cipher import DataKey, generation_of
from services.gateway.personal.keys import HELD, KNOWN_S, PersonalKeys, day_of, holder_of
from services.gateway.personal.metrics import KeyMetrics
from services.runtime.database.connections import DirectConnections, plain_dsn
from services.runtime.observability.metrics import Meter
from services.runtime.process.clock import Clock
from services.runtime.process.followed import Followed
from services.runtime.process.key_ring import KeyRing, Unreadable, wrapping_key
from tests.gateway.conftest import Gateway
from tests.gateway.samples import new_id
from tests.metrics import Figures
from tests.personal import PERSONAL_KEYS, forms_of

OLD, NEW = bytes(range(32)), bytes(range(1, 33))
KEY = DataKey(bytes(32), generation=3)
NOW = Clock().now
ABOUT = ("main", "payer/p1", "customers.details")


def test_what_is_encrypted_is_read_by_its_key_for_what_it_is_about_alone() -> None:
    encrypted = KEY.encrypt(b"Ada", *ABOUT)

    assert KEY.decrypt(encrypted, *ABOUT) == b"Ada"
    assert generation_of(encrypted) == 3
    assert KEY.encrypt(b"Ada", *ABOUT) != encrypted
    for about in (("other", *ABOUT[1:]), ("main", "payer/p2", ABOUT[2]), (*ABOUT[:2], "events.body"), ABOUT[:2]):
        with pytest.raises(Unreadable):
            KEY.decrypt(encrypted, *about)
    with pytest.raises(Unreadable):
        DataKey(NEW, generation=3).decrypt(encrypted, *ABOUT)


@pytest.mark.parametrize("damage", [lambda one: one[:-1], lambda one: one[:-1] + b"x", lambda one: one[:12]])
def test_what_was_tampered_with_is_not_read(damage: Callable[[bytes], bytes]) -> None:
    with pytest.raises(Unreadable):
        KEY.decrypt(damage(KEY.encrypt(b"Ada", *ABOUT)), *ABOUT)


@pytest.mark.parametrize("text", [b"", b"Ada", b"\x02" + bytes(40), b"\x01" + bytes(16)])
def test_what_is_no_encrypted_text_has_no_generation(text: bytes) -> None:
    with pytest.raises(Unreadable):
        generation_of(text)


def test_the_first_key_wraps_and_each_unwraps() -> None:
    wrapped = KeyRing(Followed((OLD,))).wrap(b"k" * 32, "main", "payer/p1")

    both = KeyRing(Followed((NEW, OLD)))
    assert both.unwrap(wrapped, "main", "payer/p1") == b"k" * 32
    assert both.first_id == KeyRing(Followed((NEW,))).first_id
    with pytest.raises(Unreadable):
        both.unwrap(wrapped, "main", "payer/p2")
    with pytest.raises(Unreadable):
        KeyRing(Followed((NEW,))).unwrap(wrapped, "main", "payer/p1")


@pytest.mark.parametrize(
    "text", ["", "no base 64!", base64.b64encode(bytes(31)).decode(), base64.b64encode(OLD).decode()[:-1]]
)
def test_what_is_no_wrapping_key_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ValueError, match="base64") as refusal:
        wrapping_key.parse(text)
    assert not text or text not in str(refusal.value)
    assert new_personal_key() not in repr(wrapping_key.parse(new_personal_key()))


@pytest.fixture
def keys(replica: Gateway) -> PersonalKeys:
    return replica.parts.keys


async def test_a_holder_has_one_key_whoever_asks_first(keys: PersonalKeys, database: ServiceDatabase) -> None:
    holder = holder_of(new_id("payer"))
    async with DirectConnections(database.runtime_url, application_name="other", size=2) as held:
        other = PersonalKeys(held, KeyRing(PERSONAL_KEYS), now=NOW)
        first, second = await keys.of("main", holder), await other.of("main", holder)
        encrypted = first.encrypt(b"Ada", "main", holder)
        assert second.generation == first.generation == 1
        assert await other.decrypt("main", holder, encrypted) == b"Ada"


async def test_a_key_is_forgotten_after_minutes(database: ServiceDatabase) -> None:
    time_s = 0.0
    async with DirectConnections(database.runtime_url, application_name="other", size=1) as held:
        ours = PersonalKeys(
            held, KeyRing(PERSONAL_KEYS), now=NOW, monotonic=lambda: time_s, metrics=KeyMetrics(meter := Meter())
        )
        await ours.of("main", holder := holder_of(new_id("payer")))
        assert ours.known("main", holder) is not None
        time_s = KNOWN_S
        assert ours.known("main", holder) is None
        await ours.of("main", holder)
        assert ours.known("main", holder) is not None
    figures = Figures.read(await meter.text())
    assert figures.of("batzen_personal_keys_total", outcome="made") == 1


async def test_keys_are_wrapped_anew_after_a_rotation_so_that_the_old_key_may_go(
    keys: PersonalKeys, database: ServiceDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    holder = holder_of(new_id("payer"))
    encrypted = (await keys.of("main", holder)).encrypt(b"Ada", "main", holder)
    async with DirectConnections(database.runtime_url, application_name="rotated", size=2) as held:
        await PersonalKeys(held, KeyRing(Followed((NEW, OLD))), now=NOW).rewrap()
        alone = PersonalKeys(held, KeyRing(Followed((NEW,))), now=NOW)
        assert await alone.decrypt("main", holder, encrypted) == b"Ada"
        await PersonalKeys(held, KeyRing(Followed((b"x" * 32,))), now=NOW).rewrap()
        assert "opens" in caplog.text  # nothing is lost when it was the wrong key
        await PersonalKeys(held, KeyRing(Followed((OLD, NEW))), now=NOW).rewrap()
    assert await keys.decrypt("main", holder, encrypted) == b"Ada"


async def test_the_key_of_a_day_goes_when_its_raw_bodies_are_gone(replica: Gateway, database: ServiceDatabase) -> None:
    now = replica.parts.clock.now
    async with DirectConnections(database.runtime_url, application_name="later", size=1) as held:
        early = now() - HELD - timedelta(days=2)
        of_early = PersonalKeys(held, KeyRing(PERSONAL_KEYS), now=lambda: early)
        holder, key = await of_early.of_day("main")
        encrypted = key.encrypt(b"Ada", "main", holder)
        await of_early.destroy_days()
        assert await of_early.decrypt("main", holder, encrypted) == b"Ada"
        owner = await asyncpg.connect(plain_dsn(database.owner_url))
        kept = new_id("evt")
        await owner.execute(
            """INSERT INTO events (tenant_id, event_id, type, subject, body, holder, state, create_time, receive_time)
               VALUES ('main', $1, 'x', $1, 'x', $2, 'PARKED', $3, $3)""",
            kept, holder, early,
        )  # fmt: skip
        await replica.parts.keys.destroy_days()
        assert await of_early.decrypt("main", holder, encrypted) == b"Ada"  # an operator has not decided about one
        await owner.execute("DELETE FROM events WHERE event_id = $1", kept)

        await replica.parts.keys.destroy_days()

        of_early.forget("main", holder)
        with pytest.raises(Unreadable):
            await of_early.decrypt("main", holder, encrypted)
        row = await owner.fetchrow("SELECT * FROM personal_keys WHERE holder = $1", holder)
        assert (row["wrapped_key"], row["destroy_actor_id"]) == (None, "retention")
        assert await owner.fetchval("SELECT wrapped_key FROM personal_keys WHERE holder = $1", day_of(now())) != b""
        await owner.close()


@pytest.mark.parametrize("place", range(3))
def test_a_text_is_found_in_each_form_that_it_may_stand_in(place: int) -> None:
    text = "Zoë Müller"
    for hidden in (
        text.encode(),
        base64.b64encode(b"?" * place + text.encode() + b"??"),
        base64.urlsafe_b64encode(b"?" * place + text.encode()),
        b"Zo%C3%AB+M%C3%BCller",
        rb"Zo\u00eb M\u00fcller",
        text.encode().hex().encode(),
    ):
        assert any(form in hidden for form in forms_of(text)), hidden
