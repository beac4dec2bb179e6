"""Settings: all problems at once, by name, without their values."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from services.runtime.process.settings import (
    Secret,
    SettingsError,
    address,
    directory,
    each_of,
    file,
    flag,
    one_of,
    reading,
    text,
    whole_number,
)


def test_values_are_parsed_and_defaults_taken_for_what_is_missing_or_empty() -> None:
    environ = {"LISTEN": " 127.0.0.1:7001 ", "REFLECTION": "1", "AGE": "30", "EMPTY": "", "SECRETS": "a, b"}
    with reading(environ) as read:
        values = (
            read("LISTEN", address),
            read("REFLECTION", flag),
            read("AGE", whole_number(at_least=1, at_most=60)),
            read("EMPTY", text, default=None),
            read("MISSING", flag, default=False),
            read("SECRETS", each_of(Secret)),
        )

    assert values == ("127.0.0.1:7001", True, 30, None, False, ("a", "b"))


def test_every_problem_is_named_at_once_and_no_value_shown(tmp_path: Path) -> None:
    environ = {
        "LISTEN": "nowhere",
        "PORT": "host:99999",
        "FLAG": "yes",
        "AGE": "61",
        "NUMBER": "1e3",
        "WORD": "staging",
        "LIST": " , ",
        "DIRECTORY": str(tmp_path / "none"),
        "FILE": str(tmp_path),
        "SECRET": "",
    }

    def read_all() -> None:
        with reading(environ) as read:
            read("LISTEN", address)
            read("PORT", address)
            read("FLAG", flag)
            read("AGE", whole_number(at_least=1, at_most=60))
            read("NUMBER", whole_number(at_least=1, at_most=60))
            read("WORD", one_of("development", "production"))
            read("LIST", each_of(text))
            read("DIRECTORY", directory)
            read("FILE", file)
            read("SECRET", Secret)
            read("MISSING", text)

    with pytest.raises(SettingsError) as caught:
        read_all()

    assert [problem.split()[0] for problem in caught.value.problems] == [*environ, "MISSING"]
    assert "nowhere" not in str(caught.value)
    assert "MISSING is not set" in str(caught.value)


def test_a_class_that_checks_itself_does_not_hide_the_problem() -> None:
    with pytest.raises(SettingsError, match="AGE is not set"), reading({}) as read:
        _ = read("AGE", int) < 0


def test_other_failures_inside_are_left_as_they_are() -> None:
    with pytest.raises(ZeroDivisionError), reading({}):
        raise ZeroDivisionError


def test_a_secret_does_not_show_itself() -> None:
    @dataclass(frozen=True)
    class Settings:
        open_one: str
        hidden: str = field(repr=False)

    settings = Settings(Secret("hunter2"), Secret("hunter2"))

    assert "hunter2" not in repr(settings)
    assert "hunter2" not in repr([Secret("hunter2")])
    assert settings.open_one == "hunter2"
