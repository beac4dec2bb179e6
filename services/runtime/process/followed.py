"""A value that may change while the process runs: it stands in a file, which somebody replaces.

The file is looked at whenever the value is asked for, which takes a microsecond or two. Kubernetes replaces a
mounted file by pointing the link `..data` of its directory elsewhere; a stat follows links, and sees that as well as a
rename. What cannot be read in the middle of a replacement leaves the value that was there.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Generic, Protocol, TypeVar
from weakref import WeakSet

FILE_BYTES_MAX: Final = 64 * 1024
"""More than any key, URL or list of them has; a wrong path must not bring gigabytes in."""

T = TypeVar("T")
Stamp = tuple[int, int, int]
"""When, which and how large: what differs between a file and the one that took its place."""
_logger = logging.getLogger(__name__)


def stamp_of(path: str | Path) -> Stamp:
    """Return what tells the file from another under its path. Raises OSError where there is none."""
    stat = os.stat(path)
    return stat.st_mtime_ns, stat.st_ino, stat.st_size


class Watched(Protocol):
    """Something of files that are followed."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def is_unfit(self) -> bool:
        """Whether what is in the files now cannot be used, so that something older is."""


_WATCHED: Final[WeakSet[Watched]] = WeakSet()


def watch_fitness(watched: Watched) -> None:
    """Have `unfit` tell of it for as long as it is there."""
    _WATCHED.add(watched)


def unfit() -> Mapping[str, bool]:
    """Return by name whether what files say now cannot be used."""
    found: dict[str, bool] = {}
    for one in list(_WATCHED):
        found[one.name] = found.get(one.name, False) or one.is_unfit
    return found


class Followed(Generic[T]):
    """A value as it is now; this one stays what it is."""

    def __init__(self, value: T) -> None:
        self._value = value

    def current(self) -> T:
        """Return the value as it is now. Never raises."""
        return self._value

    def candidates(self) -> tuple[T, ...]:
        """Return the value as it is now and, if there was one, the value before: while one takes the other's place,
        whoever checks it may know either.
        """
        return (self.current(),)

    def __repr__(self) -> str:
        return "Followed(…)"


class FollowedFile(Followed[T]):
    """What `parse` makes of a file's text, without the white space around it."""

    def __init__(self, path: Path, parse: Callable[[str], T], *, name: str) -> None:
        """Read the file; `name` is what logs call the value. Raises ValueError with the end of a sentence about it."""
        self._path = str(path)
        self._parse = parse
        self.name = name
        self._unfit: Stamp | None = None
        self._complaint: str | None = None
        self._before: tuple[T, ...] = ()
        try:
            self._stamp = stamp_of(path)
            super().__init__(self._read())
        except OSError as error:
            raise ValueError(f"names a file that cannot be read: {error.strerror}") from error
        watch_fitness(self)

    @property
    def is_unfit(self) -> bool:
        """Whether the file cannot be used as it is now, so that the value is an older one's."""
        self.current()
        return self._complaint is not None

    def current(self) -> T:
        """Return the value as the file has it; the one known until now if nothing good is in the file."""
        try:
            stamp = stamp_of(self._path)
            if stamp == self._stamp:
                self._complaint = None  # it is the good one again
            elif stamp != self._unfit:
                self._take(self._read(), stamp=stamp)
        except OSError as error:  # asked for again at the next use: it is being replaced, or we are out of files
            self._complain(f"cannot be read: {error.strerror}")
        except ValueError as error:
            self._unfit = stamp  # is not looked into again
            self._complain(str(error))
        return self._value

    def candidates(self) -> tuple[T, ...]:
        return (self.current(), *self._before)

    def _take(self, value: T, *, stamp: Stamp) -> None:
        self._stamp, self._unfit, self._complaint = stamp, None, None
        if value != self._value:
            self._value, self._before = value, (self._value,)
            _logger.info("%s was read anew", self.name)

    def _complain(self, problem: str) -> None:
        """Say once what is the matter, for as long as it is."""
        if problem != self._complaint:
            self._complaint = problem
            _logger.warning("%s stays what it is, since the new one %s", self.name, problem)

    def _read(self) -> T:
        with open(self._path, "rb") as file:
            content = file.read(FILE_BYTES_MAX + 1)
        if len(content) > FILE_BYTES_MAX:
            raise ValueError(f"has more than {FILE_BYTES_MAX} bytes")
        try:
            text = content.decode().strip()
        except UnicodeDecodeError:
            raise ValueError("is not UTF-8") from None  # its message shows what is in there
        if not text:
            raise ValueError("is empty")
        return self._parse(text)


def once(value: Followed[T] | None) -> T | None:
    """Return a value as it is at the start, for what is used once."""
    return None if value is None else value.current()
