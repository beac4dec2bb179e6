"""Reading settings: the environment in, a frozen dataclass of the service out, every problem named at once.

    @classmethod
    def read(cls, read: Reader) -> Self:
        return cls(
            listen=read("BATZEN_LISTEN", address, default="127.0.0.1:7002", doc="Where calls are taken."),
            database_url=read.secret("BATZEN_RUNTIME_DATABASE_URL", text, doc="The service's database."),
        )

    settings = settings_from(os.environ, Settings.read)

What must be chosen has no default. An empty value counts as missing. What is read here is all there is to know about a
setting: docs/settings.md is printed from it, so `read` functions read the same names whatever the values are.

A secret may also stand in a file that <name>_FILE names; it is followed while the process runs (`followed.py`).
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar, cast, overload

from services.runtime.process.followed import Followed, FollowedFile
from services.runtime.process.lifecycle import StartRefused

PORT_MAX: Final = 65_535
PREFIX: Final = "BATZEN_"
"""Of all settings that are ours."""
FILE: Final = "_FILE"
"""At the end of a secret's name: of the file in which it stands."""

T = TypeVar("T")
D = TypeVar("D")
S = TypeVar("S")
_logger = logging.getLogger(__name__)


class SettingsError(StartRefused):
    """The settings cannot be used; the text names each one at fault, and never its value."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Form(Generic[T]):
    """How a setting is written: `parse` makes a value of its text, or raises ValueError with the end of a sentence."""

    parse: Callable[[str], T]
    says: str
    """The form in words, its range with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """What there is to know about a setting."""

    name: str
    form: str
    default: str | None
    """As shown; empty if the setting may be left out, None if it may not."""
    is_secret: bool
    is_followed: bool
    """Whether a new content of its file counts without a new start."""
    doc: str


def settings_from(environ: Mapping[str, str], read: Callable[[Reader], S]) -> S:
    """Read settings; raises one `SettingsError` for all that are missing or wrong."""
    with reading(environ) as reader:
        return read(reader)


def declared_by(read: Callable[[Reader], object]) -> tuple[Declaration, ...]:
    """Return the settings that `read` reads."""
    reader = Reader({})
    read(reader)
    return tuple(reader.declared.values())


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


def warn_of_unknown(environ: Mapping[str, str], known: Collection[Declaration]) -> None:
    """Log the names in `environ` that look like settings of ours and are none: a misspelt one is otherwise not noticed.

    The process starts all the same. What is new in a release is unknown to the one before, which must come up under the
    new configuration when it is rolled back to.
    """
    secrets = [one.name for one in known if one.is_secret]
    names = [*(one.name for one in known), *(name + FILE for name in secrets)]
    ours = {name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX)}
    for name in sorted(environ):
        if not name.startswith(PREFIX) or (ending := name.removeprefix(PREFIX)) in ours:
            continue
        near = difflib.get_close_matches(ending, ours, n=1)
        hint = f"; did you mean {PREFIX}{near[0]}?" if near else ""
        _logger.warning("%s is no setting of this service and is not read%s", name, hint)


class _Missing:
    """Told apart from None, which may be a default."""


_MISSING: Final = _Missing()


class Reader:
    """Values by name. A problem is noted and reading goes on, so that a person mends all of them in one go."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[str] = []
        self.declared: dict[str, Declaration] = {}

    @overload
    def __call__(self, name: str, form: Form[T], *, doc: str, shown: str | None = None) -> T: ...
    @overload
    def __call__(self, name: str, form: Form[T], *, default: D, doc: str, shown: str | None = None) -> T | D: ...
    def __call__(
        self, name: str, form: Form[T], *, default: D | _Missing = _MISSING, doc: str, shown: str | None = None
    ) -> T | D:
        """Return what `form` makes of the text; its ValueError becomes a problem under the setting's name.

        `doc` says in a sentence what the setting means, `shown` what its default is where the value does not say it.
        """
        self._declare(name, form, default, doc=doc, shown=shown)
        value = self._value(name)
        if not value and not isinstance(default, _Missing):
            return default
        return self._parsed(name, value, form)

    @overload
    def secret(self, name: str, form: Form[T], *, is_followed: bool = True, doc: str) -> Followed[T]: ...
    @overload
    def secret(
        self, name: str, form: Form[T], *, default: D, is_followed: bool = True, doc: str
    ) -> Followed[T] | D: ...
    def secret(
        self, name: str, form: Form[T], *, default: D | _Missing = _MISSING, is_followed: bool = True, doc: str
    ) -> Followed[T] | D:
        """Return a secret, given by its name or by a file that `name`_FILE names."""
        self._declare(name, form, default, doc=doc, is_secret=True, is_followed=is_followed)
        value, path = self._value(name), self._value(name + FILE)
        if value and path:
            self.refuse(name, f"is set, and so is {name}{FILE}; one of the two has to go")
            return Followed(cast("T", None))
        if path:
            return self._in_file(name, path, form)
        if not value and not isinstance(default, _Missing):
            return default
        return Followed(self._parsed(name, value, form))

    def is_set(self, name: str) -> bool:
        """Whether there is a text for a setting, be it good or not."""
        return bool(self._value(name))

    def refuse(self, name: str, problem: str) -> None:
        """Note a problem with a setting: the end of a sentence that begins with its name."""
        self.problems.append(f"{name} {problem}")

    def _value(self, name: str) -> str:
        return self._environ.get(name, "").strip()

    def _parsed(self, name: str, value: str, form: Form[T]) -> T:
        try:
            if not value:
                raise ValueError("is not set")
            return form.parse(value)
        except ValueError as error:
            self.refuse(name, str(error))
            return cast("T", None)  # never used: `reading` refuses at its end

    def _in_file(self, name: str, path: str, form: Form[T]) -> Followed[T]:
        try:
            return FollowedFile(Path(path), form.parse, name=name)
        except ValueError as error:
            self.refuse(name + FILE, str(error))
            return Followed(cast("T", None))

    def _declare(
        self,
        name: str,
        form: Form[T],
        default: object,
        *,
        doc: str,
        shown: str | None = None,
        is_secret: bool = False,
        is_followed: bool = False,
    ) -> None:
        if shown is None and not isinstance(default, _Missing):
            shown = (
                "" if default is None or default == () else str(int(default) if isinstance(default, bool) else default)
            )
        self.declared[name] = Declaration(
            name=name, form=form.says, default=shown, is_secret=is_secret, is_followed=is_followed, doc=doc
        )


# Forms: the text in, the value out, ValueError with the end of the sentence "<name> …", which never shows the value.


class Secret(str):
    """A text that does not show itself when printed by accident, and is still the `str` that libraries want.

    Only its `repr` hides it; keep it in a field with `repr=False` all the same.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret('…')"


def _flag(value: str) -> bool:
    if value not in ("0", "1"):
        raise ValueError("is neither 0 nor 1")
    return value == "1"


def _address(value: str) -> str:
    _, colon, port = value.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > PORT_MAX:
        raise ValueError("is not host:port")
    return value


def _directory(value: str) -> Path:
    if not Path(value).is_dir():
        raise ValueError("is not a directory")
    return Path(value)


def _file(value: str) -> Path:
    if not Path(value).is_file():
        raise ValueError("is not a file")
    return Path(value)


text: Final = Form(str, "text")
secret_text: Final[Form[str]] = Form(Secret, "text")
flag: Final = Form(_flag, "0 or 1")
address: Final = Form(_address, "host:port")
"""To listen on or to call; a gRPC target such as `dns:///status:7003` will do."""
path: Final = Form(Path, "path")
directory: Final = Form(_directory, "directory that exists")
file: Final = Form(_file, "file that exists")


def whole_number(*, at_least: int, at_most: int) -> Form[int]:
    """Return the form of a whole number within the bounds, both included."""

    def parse(value: str) -> int:
        digits = value.removeprefix("-")
        if not digits.isascii() or not digits.isdigit() or not at_least <= int(value) <= at_most:
            raise ValueError(f"is not a whole number from {at_least} to {at_most}")
        return int(value)

    return Form(parse, f"whole number from {at_least} to {at_most}")


def part_of_one() -> Form[float]:
    """Return the form of a number from 0 to 1, both included, such as 0.1."""

    def parse(value: str) -> float:
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if not 0.0 <= number <= 1.0:  # refuses "nan", too
            raise ValueError("is not a number from 0 to 1")
        return number

    return Form(parse, "number from 0 to 1")


def one_of(*words: str) -> Form[str]:
    """Return the form of one of the words."""

    def parse(value: str) -> str:
        if value not in words:
            raise ValueError(f"is not one of {', '.join(words)}")
        return value

    return Form(parse, " or ".join(f"`{word}`" for word in words))


def each_of(form: Form[T]) -> Form[tuple[T, ...]]:
    """Return the form of a comma separated list of at least one."""

    def parse(value: str) -> tuple[T, ...]:
        parts = [part.strip() for part in value.split(",") if part.strip()]
        if not parts:
            raise ValueError("names nothing")
        return tuple(form.parse(part) for part in parts)

    return Form(parse, f"{form.says}, several with a comma between them")
