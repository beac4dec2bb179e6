"""Reading settings: the environment in, a frozen dataclass of the service out, every problem named at once.

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        with reading(environ) as read:
            return cls(
                listen=read("BATZEN_LISTEN", address, default="127.0.0.1:7002"),
                database_url=read("BATZEN_RUNTIME_DATABASE_URL", Secret),
            )

Values are read once, at the start. What must be chosen has no default. An empty value counts as missing.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar, cast, overload

PORT_MAX: Final = 65_535

T = TypeVar("T")
D = TypeVar("D")


class SettingsError(Exception):
    """The settings cannot be used; the text names each one at fault, and never its value."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@contextmanager
def reading(environ: Mapping[str, str]) -> Generator[Reader]:
    """Read settings inside; raise one `SettingsError` for all that are missing or wrong, before they are used."""
    reader = Reader(environ)
    try:
        yield reader
    except Exception as error:
        if reader.problems:  # a dataclass that checks itself met the stand-in for a value we already complain about
            raise SettingsError(reader.problems) from error
        raise
    if reader.problems:
        raise SettingsError(reader.problems)


class _Missing:
    """Told apart from None, which may be a default."""


_MISSING: Final = _Missing()


class Reader:
    """Values by name. A problem is noted and reading goes on, so that a person mends all of them in one go."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[str] = []

    @overload
    def __call__(self, name: str, parse: Callable[[str], T]) -> T: ...
    @overload
    def __call__(self, name: str, parse: Callable[[str], T], *, default: D) -> T | D: ...
    def __call__(self, name: str, parse: Callable[[str], T], *, default: D | _Missing = _MISSING) -> T | D:
        """Return what `parse` makes of the text; its ValueError becomes a problem under the setting's name."""
        value = self._environ.get(name, "").strip()
        if not value and not isinstance(default, _Missing):
            return default
        try:
            if not value:
                raise ValueError("is not set")
            return parse(value)
        except ValueError as error:
            self.problems.append(f"{name} {error}")
            return cast("T", None)  # never used: `reading` refuses at its end


# Parsers: the text in, the value out, ValueError with the end of the sentence "<name> …".


class Secret(str):
    """A text that does not show itself when printed by accident, and is still the `str` that libraries want.

    Only its `repr` hides it; keep it in a field with `repr=False` all the same.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret('…')"


text = str


def flag(value: str) -> bool:
    """Parse 1 or 0."""
    if value not in ("0", "1"):
        raise ValueError("is neither 0 nor 1")
    return value == "1"


def address(value: str) -> str:
    """Parse `host:port`, to listen on or to call; a gRPC target such as `dns:///status:7003` will do."""
    _, colon, port = value.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > PORT_MAX:
        raise ValueError("is not host:port")
    return value


def whole_number(*, at_least: int, at_most: int) -> Callable[[str], int]:
    """Parse a whole number within the bounds, both included."""

    def parse(value: str) -> int:
        digits = value.removeprefix("-")
        if not digits.isascii() or not digits.isdigit() or not at_least <= int(value) <= at_most:
            raise ValueError(f"is not a whole number from {at_least} to {at_most}")
        return int(value)

    return parse


def one_of(*words: str) -> Callable[[str], str]:
    """Parse one of the words."""

    def parse(value: str) -> str:
        if value not in words:
            raise ValueError(f"is not one of {', '.join(words)}")
        return value

    return parse


def each_of(parse: Callable[[str], T]) -> Callable[[str], tuple[T, ...]]:
    """Parse a comma separated list of at least one."""

    def parse_each(value: str) -> tuple[T, ...]:
        parts = [part.strip() for part in value.split(",") if part.strip()]
        if not parts:
            raise ValueError("names nothing")
        return tuple(parse(part) for part in parts)

    return parse_each


def directory(value: str) -> Path:
    """Parse the path of a directory that exists."""
    if not Path(value).is_dir():
        raise ValueError("is not a directory")
    return Path(value)


def file(value: str) -> Path:
    """Parse the path of a file that exists."""
    if not Path(value).is_file():
        raise ValueError("is not a file")
    return Path(value)
