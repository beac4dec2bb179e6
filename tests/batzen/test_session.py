"""What is said on a stream, and what is made of what is heard, message by message."""

from __future__ import annotations

import random
from typing import Any

import grpc
import pytest

from batzen import errors
from batzen.status.v1 import status_pb2 as pb
from batzen.watching.assertions import Assertion
from batzen.watching.backlog import Backlog
from batzen.watching.figures import Figures
from batzen.watching.limits import COMMANDS_MAX, REQUEST_BYTES, WatchLimits
from batzen.watching.session import Session
from batzen.watching.topic import Topic
from batzen.watching.watch_registry import WatchRegistry
from tests.batzen.model import History, token

LIMITS = WatchLimits(queue_max=8, streams_max=2)
ANN, BOB = "pay_ann", "pay_bob"


class Desk:
    """A registry, and its streams as the test plays them."""

    def __init__(self) -> None:
        self.figures = Figures()
        self.sessions: list[Session] = []
        self.history = History()
        self.registry = WatchRegistry(
            limits=LIMITS,
            figures=self.figures,
            chance=random.Random(0),
            saw=lambda _: None,
            began=self.sessions.append,
        )

    def join(self, payment_id: str, **fields: Any) -> tuple[Topic, Backlog]:
        reader = Backlog(queue_max=LIMITS.queue_max, figures=self.figures, **fields)
        return self.registry.join(payment_id, reader), reader

    def said(self, *, on: int = 0, now: float = 0.0) -> list[str]:
        """What is said next, as `add pay_ann after 3`."""
        request = self.sessions[on].next_request(now=now)
        return [] if request is None else [_in_words(command) for command in request.commands]

    def hears(self, *events: pb.WatchManyResponse.Event, on: int = 0, now: float = 0.0) -> None:
        self.sessions[on].hear(pb.WatchManyResponse(events=events), now=now)


def _in_words(command: pb.WatchManyRequest.Command) -> str:
    match command.WhichOneof("command"):
        case "add":
            after = f" after {command.add.after_revision}" if command.add.HasField("after_revision") else ""
            newest = " newest" if command.add.latest_only else ""
            return f"add {command.add.payment_id}{after}{newest}"
        case "drop":
            return f"drop {command.drop.payment_id}"
        case _:
            return f"renew {command.renew.assertion}"


def created(payment_id: str, revision: int, payment: pb.Payment | None = None) -> pb.WatchManyResponse.Event:
    return pb.WatchManyResponse.Event(
        created=pb.WatchManyResponse.Created(payment_id=payment_id, current_revision=revision, payment=payment)
    )


def canceled(payment_id: str, code: str = "OK", reason: str = "") -> pb.WatchManyResponse.Event:
    number = grpc.StatusCode[code].value[0]
    return pb.WatchManyResponse.Event(
        canceled=pb.WatchManyResponse.Canceled(payment_id=payment_id, code=number, reason=reason)
    )


def transition(update: pb.Transition) -> pb.WatchManyResponse.Event:
    return pb.WatchManyResponse.Event(transition=update)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_what_is_to_be_said_goes_in_as_few_messages_as_may_be(desk: Desk) -> None:
    for number in range(COMMANDS_MAX + 7):
        desk.join(f"pay_{number}")

    assert [len(desk.said()) for _ in range(3)] == [COMMANDS_MAX, 7, 0]


def test_a_message_is_closed_before_it_is_more_than_the_server_takes(desk: Desk) -> None:
    long_token = token("ann" * 800)
    for number in range(200):
        desk.join(f"pay_{number}", assertion=Assertion(long_token))
    sizes = []
    while (request := desk.sessions[0].next_request(now=0.0)) is not None:
        sizes.append(request.ByteSize())

    assert len(sizes) > 1
    assert max(sizes) < REQUEST_BYTES + 2 * len(long_token)


def test_a_payment_that_is_wanted_again_waits_for_the_end_of_its_old_watch(desk: Desk) -> None:
    old, update = desk.history.move(ANN), desk.history.move(ANN)
    topic, reader = desk.join(ANN, after_revision=0)
    assert desk.said() == ["add pay_ann after 0"]
    desk.registry.leave(topic, reader)
    assert desk.said() == ["drop pay_ann"]
    _, again = desk.join(ANN, after_revision=1)
    assert desk.said() == []

    desk.hears(created(ANN, 2), transition(old), transition(update))
    assert again.take() is None
    desk.hears(canceled(ANN))
    assert desk.said() == ["add pay_ann after 1"]
    desk.hears(created(ANN, 2), transition(update))
    assert again.take() == update
    assert desk.figures.received == 1


def test_a_watch_that_ends_before_its_drop_is_said_is_not_dropped(desk: Desk) -> None:
    topic, reader = desk.join(ANN, after_revision=0)
    desk.said()
    desk.registry.leave(topic, reader)
    desk.hears(canceled(ANN, "UNAVAILABLE", "WATCH_OVERFLOW"))
    desk.join(ANN, after_revision=5)

    assert desk.said() == ["add pay_ann after 5"]


def test_a_reader_who_comes_and_goes_before_anything_was_said_leaves_nothing_to_say(desk: Desk) -> None:
    topic, reader = desk.join(ANN)
    desk.registry.leave(topic, reader)

    assert desk.said() == []


def test_a_lost_stream_is_resumed_after_what_was_heard(desk: Desk) -> None:
    desk.history.move(ANN)
    desk.join(ANN)
    desk.join(BOB, after_revision=4)
    desk.said()
    desk.hears(created(ANN, 1, desk.history.payment(ANN)), transition(desk.history.move(ANN)))
    desk.sessions[0].lost()

    assert desk.said() == ["add pay_ann after 2", "add pay_bob after 4"]
    desk.hears(created(ANN, 2), created(BOB, 4))
    assert desk.figures.resumes == 1  # the other had not begun


def test_what_comes_twice_is_told_once(desk: Desk) -> None:
    update = desk.history.move(ANN)
    _, reader = desk.join(ANN, after_revision=0)
    desk.said()
    desk.hears(created(ANN, 1), transition(update), transition(update))

    assert (reader.take(), reader.take()) == (update, None)
    assert desk.figures.duplicates == 1


@pytest.mark.parametrize("reason", ["WATCH_OVERFLOW", "DEPENDENCY_UNAVAILABLE"])
def test_a_watch_that_is_ended_by_the_server_is_added_again_a_little_later(desk: Desk, reason: str) -> None:
    desk.join(ANN, after_revision=3)
    desk.said()
    desk.hears(created(ANN, 3), canceled(ANN, "UNAVAILABLE", reason), now=10.0)
    due = desk.sessions[0].next_due()

    assert due is not None
    assert 10.0 < due < 11.0
    assert desk.said(now=10.0) == []
    assert desk.said(now=due) == ["add pay_ann after 3"]


def test_a_watch_that_is_refused_for_too_long_is_given_up(desk: Desk) -> None:
    _, reader = desk.join(ANN, after_revision=3)
    now = 0.0
    while reader.error is None:
        assert desk.said(now=now) == ["add pay_ann after 3"]
        desk.hears(canceled(ANN, "UNAVAILABLE", "DEPENDENCY_UNAVAILABLE"), now=now)
        now += 10.0

    assert isinstance(reader.error, errors.Unavailable)
    assert now > LIMITS.patience_s
    assert desk.said(now=now + 10) == []


def test_the_newest_alone_is_asked_for_while_nobody_wants_more(desk: Desk) -> None:
    desk.join(ANN, latest_only=True)
    assert desk.said() == ["add pay_ann newest"]
    desk.join(ANN)
    desk.sessions[0].lost()

    assert desk.said() == ["add pay_ann"]


def test_a_full_stream_sends_a_watch_to_another_and_that_is_the_end_when_all_are_full(desk: Desk) -> None:
    readers = [desk.join(payment_id, after_revision=0)[1] for payment_id in (ANN, BOB, "pay_cid")]
    desk.said()
    full = ("RESOURCE_EXHAUSTED", "TOO_MANY_WATCHES")
    desk.hears(created(ANN, 0), canceled(BOB, *full), canceled("pay_cid", *full))
    assert desk.said(on=1) == ["add pay_bob after 0", "add pay_cid after 0"]
    desk.hears(created(BOB, 0), canceled("pay_cid", *full), on=1)

    assert [reader.error is None for reader in readers] == [True, True, False]
    assert isinstance(readers[2].error, errors.by_reason["TOO_MANY_WATCHES"])


class Wallet:
    """Where a user's current token is kept."""

    def __init__(self, subject: str, *, role: str = "payer") -> None:
        self.number = 1
        self._subject, self._role = subject, role

    @property
    def token(self) -> str:
        return token(self._subject, role=self._role, number=self.number)

    def assertion(self) -> Assertion:
        return Assertion(lambda: self.token)


def test_a_newer_token_is_said_once_for_all_watches_of_a_user(desk: Desk) -> None:
    wallet, other = Wallet("ann"), Wallet("bob")
    for payment_id, of in ((ANN, wallet), ("pay_2", wallet), (BOB, other)):
        desk.join(payment_id, after_revision=1, assertion=of.assertion())
    desk.said()
    desk.hears(created(ANN, 1), created("pay_2", 1), created(BOB, 1))
    desk.sessions[0].renew()
    assert desk.said() == []

    wallet.number = 2
    desk.sessions[0].renew()
    desk.sessions[0].renew()
    assert desk.said() == [f"renew {wallet.token}"]
    assert desk.said() == []


def test_part_after_part_everybodys_newer_token_is_said_once(desk: Desk) -> None:
    wallets = [Wallet(f"payer_{number}") for number in range(40)]
    names = [f"pay_{number}" for number in range(40)]
    for payment_id, wallet in zip(names, wallets, strict=True):
        desk.join(payment_id, after_revision=1, assertion=wallet.assertion())
    desk.said()
    desk.hears(*(created(payment_id, 1) for payment_id in names))
    for wallet in wallets:
        wallet.number = 2

    said = []
    for part in range(4):
        desk.sessions[0].renew(part, parts=4)
        said.append(desk.said())
    assert sorted(one for part in said for one in part) == sorted(f"renew {wallet.token}" for wallet in wallets)
    assert all(len(part) < len(wallets) for part in said)


def test_a_token_the_server_has_not_taken_yet_renews_nothing(desk: Desk) -> None:
    wallet = Wallet("ann")
    forger = Assertion(token("ann", number=99, is_good=False))
    desk.join(ANN, after_revision=1, assertion=wallet.assertion())
    desk.said()
    desk.hears(created(ANN, 1))
    desk.join(ANN, after_revision=1, assertion=forger)
    desk.sessions[0].renew()

    assert desk.said() == []


def test_a_renewal_that_crosses_the_end_of_the_watch_is_said_again(desk: Desk) -> None:
    wallet = Wallet("ann")
    _, reader = desk.join(ANN, after_revision=1, assertion=wallet.assertion())
    desk.said()
    desk.hears(created(ANN, 1))
    wallet.number = 2
    desk.sessions[0].renew()
    assert desk.said() == [f"renew {wallet.token}"]
    refusal = canceled(ANN, "UNAUTHENTICATED", "UNAUTHENTICATED")
    desk.hears(refusal)
    assert desk.said(now=1.0) == ["add pay_ann after 1"]
    assert reader.error is None

    desk.hears(refusal)
    assert isinstance(reader.error, errors.Unauthenticated)


def test_one_person_in_two_roles_is_on_two_streams(desk: Desk) -> None:
    desk.join(ANN, assertion=Wallet("both").assertion())
    desk.join(BOB, assertion=Wallet("both", role="seller").assertion())

    assert [desk.said(on=0), desk.said(on=1)] == [["add pay_ann"], ["add pay_bob"]]


def test_readers_of_one_payment_in_two_names_are_on_two_streams(desk: Desk) -> None:
    desk.join(ANN)
    desk.join(ANN, assertion=Wallet("ann").assertion())

    assert [desk.said(on=0), desk.said(on=1)] == [["add pay_ann"], ["add pay_ann"]]
