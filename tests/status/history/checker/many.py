"""Judges WatchMany: that each Add is answered once and each watch ends once, and each watch as a WatchPayment. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import replace

from tests.status.history.checker.findings import Finding, Kind
from tests.status.history.checker.timeline import Timeline
from tests.status.history.checker.watches import judge_stretch, may_go_on
from tests.status.history.reports import (
    LEFT,
    Asked,
    Began,
    Broken,
    Came,
    Dropped,
    Ended,
    Event,
    ManyStream,
    Stretch,
)
from tests.status.history.stored import Stored


def judge_many(stream: ManyStream, stored: Stored, lines: dict[str, Timeline]) -> Iterator[Finding]:
    """Say what is wrong with what came on one stream."""
    for event in stream.events:
        if isinstance(event, Broken):
            yield Finding(kind=Kind.PROTOCOL, who=stream.watcher, payment_id="", what=event.what)
    ended = stream.ended
    if ended is not None and not may_go_on(ended):
        yield Finding(
            kind=Kind.END, who=stream.watcher, payment_id="", what=f"{ended.code} {ended.reason} {ended.details}"
        )
    known = {command.payment_id for command in stream.commands}
    for payment_id in sorted(known | {_payment_of(event) for event in stream.events} - {""}):
        watches = _Watches(payment_id, stream)
        yield from watches.told_apart()
        for stretch in watches.stretches:
            yield from judge_stretch(stretch, stored, lines)


def _payment_of(event: Event) -> str:
    return getattr(event, "payment_id", "")


class _Watches:
    """The watches of one payment on one stream, told apart."""

    def __init__(self, payment_id: str, stream: ManyStream) -> None:
        self.stretches: list[Stretch] = []
        self._payment_id = payment_id
        self._stream = stream
        self._commands = deque(command for command in stream.commands if command.payment_id == payment_id)
        self._current: Stretch | None = None

    def told_apart(self) -> Iterator[Finding]:
        """Divide the events among the watches; say what belongs to none, and which Add or Drop was not answered."""
        for event in self._stream.events:
            if _payment_of(event) != self._payment_id:
                continue
            match event:
                case Began():
                    yield from self._created(event)
                case Came() if self._current is None:
                    yield self._finding(f"{event.revision} came while the payment was not watched")
                case Came():
                    self._current.events.append(event)
                case Ended():
                    yield from self._canceled(event)
        if self._stream.ended is None:
            yield from self._unanswered()
        elif self._current is not None:
            self._current.events.append(replace(self._stream.ended, code=LEFT, reason=""))

    def _created(self, began: Began) -> Iterator[Finding]:
        if self._current is not None:
            yield self._finding("created while the watch before it was not canceled")
        asked = self._next_add(began.at_us)
        if asked is None:
            yield self._finding("created, though nobody asked for it")
            return
        self._begin(asked).events.append(began)

    def _canceled(self, ended: Ended) -> Iterator[Finding]:
        if self._current is None:
            asked = self._next_add(ended.at_us)
            if asked is None:
                yield self._finding(f"canceled with {ended.code} {ended.reason}, though it was not watched")
                return
            if ended.code == "OK" or ended.resume_after_revision is not None:
                yield self._finding(f"an Add was refused with {ended.code} and resume {ended.resume_after_revision}")
            self._begin(asked).events.append(ended)
        elif ended.code != "OK":
            self._current.events.append(ended)
        elif not self._commands or self._commands[0].at_us > ended.at_us:
            yield self._finding("canceled with OK, though nobody asked for it")
        else:
            if ended.reason or ended.resume_after_revision is None:
                yield self._finding(f"canceled with OK, {ended.reason!r}, resume {ended.resume_after_revision}")
            if isinstance(self._commands[0], Dropped):
                self._commands.popleft()
            self._current.events.append(replace(ended, code=LEFT))
        self._current = None

    def _next_add(self, at_us: int) -> Asked | None:
        """Take the next Add that had been sent by then; a Drop before it found nothing to drop."""
        while self._commands and self._commands[0].at_us <= at_us:
            command = self._commands.popleft()
            if isinstance(command, Asked):
                return command
        return None

    def _begin(self, asked: Asked) -> Stretch:
        self._current = Stretch(watcher=self._stream.watcher, asked=asked)
        self.stretches.append(self._current)
        return self._current

    def _unanswered(self) -> Iterator[Finding]:
        if self._current is not None and self._commands:
            yield self._finding(f"{type(self._commands[0]).__name__}, and no Canceled", Kind.UNANSWERED)
        adds = sum(isinstance(command, Asked) for command in self._commands)
        if adds:
            yield self._finding(f"{adds} Adds", Kind.UNANSWERED)

    def _finding(self, what: str, kind: Kind = Kind.PROTOCOL) -> Finding:
        return Finding(kind=kind, who=self._stream.watcher, payment_id=self._payment_id, what=what)
