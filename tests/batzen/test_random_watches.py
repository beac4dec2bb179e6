"""Whoever watches is told every revision once and in order, whatever order the world does things in.

Hypothesis plays the server of `model.py`, the network between, readers who come, go and dawdle, and the clock; the
client's side is the real one, but for sockets.
"""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from batzen import errors
from batzen.status.v1 import status_pb2 as pb
from batzen.watching.assertions import Assertion
from batzen.watching.backlog import Backlog, Needs
from batzen.watching.figures import Figures
from batzen.watching.limits import WatchLimits
from batzen.watching.seen import Seen
from batzen.watching.session import Session
from batzen.watching.topic import Topic, Verdict
from batzen.watching.watch_registry import WatchRegistry
from tests.batzen.model import History, ManyStream, token

PAYMENTS = ("pay_ann", "pay_bob", "pay_cid")
QUEUE_MAX = 3
WATCHES_MAX = 2
LIMITS = WatchLimits(queue_max=QUEUE_MAX, streams_max=12, patience_s=1e9)


@dataclass(eq=False)
class Person:
    """A reader, what they were told, and what they are reading just now."""

    backlog: Backlog
    topic: Topic
    payment_id: str
    after_revision: int | None
    opened_at: int
    latest_only: bool
    until_settled: bool
    may_see: bool
    told: list[pb.Transition] = field(default_factory=list)
    reading: tuple[Needs, list[pb.Transition], pb.Payment] | None = None


@dataclass(eq=False)
class Wire:
    """A session's stream, if it has one, and what is on its way in both directions."""

    session: Session
    server: ManyStream | None = None
    up: deque[pb.WatchManyRequest] = field(default_factory=deque)
    polls: deque[tuple[Topic, Any, pb.Payment | None, list[pb.Transition]]] = field(default_factory=deque)


class Watching(RuleBasedStateMachine):
    people = Bundle("people")

    def __init__(self) -> None:
        super().__init__()
        self.history = History()
        self.wires: list[Wire] = []
        self.watching: list[Person] = []
        self.figures = Figures()
        self.seen = Seen(payments_max=100)
        self.now = 0.0
        self.token_numbers = {"ann": 1, "bob": 1, "operator": 1}
        self.registry = WatchRegistry(
            limits=LIMITS,
            figures=self.figures,
            chance=random.Random(0),
            saw=self.seen.note,
            began=lambda session: self.wires.append(Wire(session)),
        )

    @initialize()
    def open_payments(self) -> None:
        for payment_id in PAYMENTS:
            self.history.move(payment_id)

    # The world.

    @rule(payment_id=st.sampled_from(PAYMENTS), times=st.integers(1, 2 * QUEUE_MAX))
    def move(self, payment_id: str, times: int) -> None:
        for _ in range(times):
            self.history.move(payment_id)

    @rule(seconds=st.sampled_from((0.01, 10.0)))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    # Readers.

    @rule(
        target=people,
        payment_id=st.sampled_from(PAYMENTS),
        back=st.none() | st.integers(0, 8),
        latest_only=st.booleans(),
        until_settled=st.booleans(),
        who=st.sampled_from((None, None, "ann", "bob", "operator", "forger of ann")),
    )
    def come(self, payment_id: str, back: int | None, latest_only: bool, until_settled: bool, who: str | None) -> Any:
        revision = self.history.revision(payment_id)
        after_revision = None if back is None else max(0, revision - back)
        assertion = None
        may_see = True
        if who is not None:
            is_forged = who.startswith("forger")
            name = who.rpartition(" ")[2]
            forged = token(name, number=99, is_good=False)
            assertion = Assertion(lambda: forged if is_forged else token(name, number=self.token_numbers[name]))
            may_see = not is_forged and name in (payment_id.removeprefix("pay_"), "operator")
        backlog = Backlog(
            queue_max=QUEUE_MAX,
            figures=self.figures,
            after_revision=after_revision,
            latest_only=latest_only,
            until_settled=until_settled,
            assertion=assertion,
        )
        topic = self.registry.join(payment_id, backlog)
        person = Person(backlog, topic, payment_id, after_revision, revision, latest_only, until_settled, may_see)
        self.watching.append(person)
        return person

    @rule(person=consumes(people))
    def go(self, person: Person) -> None:
        self.registry.leave(person.topic, person.backlog)
        self.watching.remove(person)

    @rule(person=people)
    def take(self, person: Person) -> None:
        self._take(person)

    @rule(person=people)
    def begin_to_read(self, person: Person) -> None:
        self._begin_to_read(person)

    @rule(person=people)
    def finish_reading(self, person: Person) -> None:
        self._finish_reading(person)

    # Tokens.

    @rule(name=st.sampled_from(("ann", "operator")), in_time=st.booleans(), expires=st.booleans(), late=st.booleans())
    def get_a_newer_token(self, name: str, in_time: bool, expires: bool, late: bool) -> None:
        """Renewed in time or not, the older ones may expire; the client may say so just then."""
        self.token_numbers[name] += 1
        if in_time:
            self._renew()
            for wire in self.wires:
                self._exchange(wire)
        if expires:
            for number in range(self.token_numbers[name]):
                expired = token(name, number=number)
                self.history.expired.add(expired)
                for wire in self.wires:
                    if wire.server is not None:
                        wire.server.expire(expired)
        if late:
            self._renew()

    # Streams.

    @rule(number=st.integers(0, 5))
    def open_stream(self, number: int) -> None:
        if (wire := self._wire(number)) is not None and wire.server is None:
            wire.server = ManyStream(self.history, watches_max=WATCHES_MAX)

    @rule(number=st.integers(0, 5))
    def lose_stream(self, number: int) -> None:
        if (wire := self._wire(number)) is not None and wire.server is not None:
            self._lose(wire)

    @rule(number=st.integers(0, 5))
    def say(self, number: int) -> None:
        if (wire := self._wire(number)) is not None and wire.server is not None:
            request = wire.session.next_request(now=self.now)
            if request is not None:
                wire.up.append(request)

    @rule(number=st.integers(0, 5))
    def server_reads(self, number: int) -> None:
        if (wire := self._wire(number)) is not None and wire.server is not None and wire.up:
            wire.server.receive(wire.up.popleft())

    @rule(number=st.integers(0, 5), payment_id=st.sampled_from(PAYMENTS), at_most=st.integers(1, 4))
    def server_sends(self, number: int, payment_id: str, at_most: int) -> None:
        if (wire := self._wire(number)) is not None and wire.server is not None:
            wire.server.send(payment_id, at_most=at_most)

    @rule(
        number=st.integers(0, 5),
        payment_id=st.sampled_from(PAYMENTS),
        reason=st.sampled_from(("WATCH_OVERFLOW", "DEPENDENCY_UNAVAILABLE")),
    )
    def server_cancels(self, number: int, payment_id: str, reason: str) -> None:
        if (wire := self._wire(number)) is not None and wire.server is not None and payment_id in wire.server.watches:
            wire.server.cancel(payment_id, grpc.StatusCode.UNAVAILABLE, reason)

    @rule(number=st.integers(0, 5), several=st.integers(1, 5))
    def hear(self, number: int, several: int) -> None:
        if (wire := self._wire(number)) is not None and wire.server is not None and wire.server.events:
            events = [wire.server.events.popleft() for _ in range(min(several, len(wire.server.events)))]
            wire.session.hear(pb.WatchManyResponse(events=events), now=self.now)

    @rule(number=st.integers(0, 5))
    def exchange(self, number: int) -> None:
        """Let everything that is to be said on a stream be said and heard."""
        if (wire := self._wire(number)) is not None:
            self._exchange(wire)

    # Polls.

    @rule(number=st.integers(0, 5), payment_id=st.sampled_from(PAYMENTS))
    def begin_to_poll(self, number: int, payment_id: str) -> None:
        wire = self._wire(number)
        topic = None if wire is None or wire.server is not None else wire.session.topics.get(payment_id)
        asked = None if topic is None else topic.ask()
        if wire is None or topic is None or asked is None:
            return
        code, reason = self.history.refusal(payment_id, asked.token)
        if code is not grpc.StatusCode.OK:
            error = errors.refused(code, reason=reason, message="")
            if topic.refused(asked, error, now=self.now) is Verdict.OVER:
                wire.session.remove(topic)
            return
        payment = self.history.payment(payment_id) if topic.is_opening else None
        transitions = [] if topic.heard is None else self.history.transitions[payment_id][topic.heard :]
        wire.polls.append((topic, asked, payment, transitions))

    @rule(number=st.integers(0, 5))
    def finish_poll(self, number: int) -> None:
        if (wire := self._wire(number)) is not None and wire.polls:
            topic, asked, payment, transitions = wire.polls.popleft()
            if payment is not None:
                topic.opened(asked, revision=payment.revision, payment=payment)
            for update in transitions:
                topic.transition(update)

    # What must hold.

    @invariant()
    def everybody_was_told_what_is_right(self) -> None:
        for person in self.watching:
            written = self.history.transitions[person.payment_id]
            told = person.told
            assert person.may_see or not told, "somebody saw what is not theirs"
            numbers = [update.revision for update in told]
            assert numbers == sorted(set(numbers))
            for update in told:
                truth = written[update.revision - 1]
                assert (update.state, update.settled, update.snapshot) == (truth.state, truth.settled, truth.snapshot)
            if told and person.after_revision is None:
                assert numbers[0] >= person.opened_at, "it began with what was old already"
            if told and not person.latest_only:
                start = numbers[0] if person.after_revision is None else person.after_revision + 1
                assert numbers == list(range(start, start + len(numbers))), "there is a gap"
            if person.until_settled:
                assert not any(update.settled for update in told[:-1])

    @invariant()
    def nobody_costs_more_than_a_queue(self) -> None:
        for person in self.watching:
            assert person.backlog.waiting <= QUEUE_MAX

    @invariant()
    def no_payment_is_on_a_stream_twice(self) -> None:
        for wire in self.wires:
            assert wire.session.to_add <= set(wire.session.topics)
            assert not wire.session.to_add & wire.session.added

    def teardown(self) -> None:
        """In the end, when the world stands still, everybody has what there is."""
        for _ in range(60):
            self.now += 100
            for wire in list(self.wires):
                self._exchange(wire)
            for person in self.watching:
                self._take(person)
                self._finish_reading(person)
                self._begin_to_read(person)
            self.everybody_was_told_what_is_right()
        for person in self.watching:
            self._has_everything(person)

    def _has_everything(self, person: Person) -> None:
        if not person.may_see:
            assert isinstance(person.backlog.error, errors.NotFound | errors.Unauthenticated)
            return
        assert person.backlog.error is None
        written = self.history.transitions[person.payment_id]
        settled = [update.revision for update in written if update.settled]
        if person.backlog.is_over:
            last = person.told[-1].revision if person.told else person.after_revision
            assert person.until_settled
            assert last in settled
        else:
            last = person.told[-1].revision if person.told else person.after_revision
            assert last == len(written)
            assert not person.until_settled or last not in settled

    def _take(self, person: Person) -> None:
        while (update := person.backlog.take()) is not None:
            person.told.append(update)

    def _begin_to_read(self, person: Person) -> None:
        """Read as `Reader` does: what is there now, of which one hears later."""
        backlog = person.backlog
        if person.reading is not None or backlog.is_ready or backlog.needs is Needs.NOTHING:
            return
        assertion = "" if backlog.assertion is None else backlog.assertion.current()
        code, reason = self.history.refusal(person.payment_id, assertion)
        if code is not grpc.StatusCode.OK:
            backlog.fail(errors.refused(code, reason=reason, message=""))
            return
        written = self.history.transitions[person.payment_id]
        page = written[backlog.tail :][:QUEUE_MAX] if backlog.tail is not None else []
        person.reading = (backlog.needs, page, self.history.payment(person.payment_id))

    def _finish_reading(self, person: Person) -> None:
        if person.reading is None:
            return
        needs, page, payment = person.reading
        person.reading = None
        if needs is Needs.PAYMENT:
            person.backlog.begin(payment)
        else:
            person.backlog.fill(page)
        if person.backlog.assertion is not None:
            person.backlog.assertion.is_verified = True

    def _renew(self) -> None:
        for wire in self.wires:
            wire.session.renew()

    def _exchange(self, wire: Wire) -> None:
        if wire.server is None:
            wire.server = ManyStream(self.history, watches_max=WATCHES_MAX)
        while (request := wire.session.next_request(now=self.now)) is not None:
            wire.up.append(request)
        while wire.up:
            wire.server.receive(wire.up.popleft())
        for payment_id in PAYMENTS:
            wire.server.send(payment_id)
        if wire.server.events:
            response = pb.WatchManyResponse(events=wire.server.events)
            wire.server.events.clear()
            wire.session.hear(response, now=self.now)

    def _wire(self, number: int) -> Wire | None:
        return self.wires[number % len(self.wires)] if self.wires else None

    def _lose(self, wire: Wire) -> None:
        wire.server = None
        wire.up.clear()
        wire.session.lost()


STEPS, EXAMPLES, MORE_EXAMPLES, SOAK_EXAMPLES = 60, 50, 400, 20_000


@pytest.mark.parametrize(
    "examples",
    [
        pytest.param(EXAMPLES, id="few"),
        pytest.param(MORE_EXAMPLES, id="more", marks=pytest.mark.faults),
        pytest.param(SOAK_EXAMPLES, id="many", marks=pytest.mark.soak),
    ],
)
def test_everybody_is_told_everything_once_whatever_happens(examples: int) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Watching,
        settings=settings(
            max_examples=examples,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
