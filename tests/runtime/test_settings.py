"""Settings: all problems at once, by name, without their values; secrets from files as well."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from services.runtime.process import settings
from services.runtime.process.followed import FILE_BYTES_MAX, once
from services.runtime.process.settings import (
    Reader,
    Secret,
    SettingsError,
    address,
    declared_by,
    directory,
    each_of,
    file,
    flag,
    one_of,
    part_of_one,
    reading,
    secret_text,
    settings_from,
    text,
    warn_of_unknown,
    whole_number,
)
from tests.logged import said_by

DOC = "Means something."


def test_values_are_parsed_and_defaults_taken_for_what_is_missing_or_empty() -> None:
    environ = {
        "LISTEN": " 127.0.0.1:7001 ",
        "REFLECTION": "1",
        "AGE": "30",
        "EMPTY": "",
        "SECRETS": "a, b",
        "RATIO": "0.25",
    }
    with reading(environ) as read:
        values = (
            read("LISTEN", address, doc=DOC),
            read("REFLECTION", flag, doc=DOC),
            read("AGE", whole_number(at_least=1, at_most=60), doc=DOC),
            read("EMPTY", text, default=None, doc=DOC),
            read("MISSING", flag, default=False, doc=DOC),
            read("SECRETS", each_of(secret_text), doc=DOC),
            read("RATIO", part_of_one(), doc=DOC),
        )

    assert values == ("127.0.0.1:7001", True, 30, None, False, ("a", "b"), 0.25)


def test_every_problem_is_named_at_once_and_no_value_shown(tmp_path: Path) -> None:
    empty, good = tmp_path / "empty", tmp_path / "good"
    empty.touch()
    good.write_text("hunter2")
    environ = {
        "LISTEN": "nowhere",
        "PORT": "host:99999",
        "FLAG": "yes",
        "AGE": "61",
        "NUMBER": "1e3",
        "RATIO": "nan",
        "WORD": "staging",
        "LIST": " , ",
        "DIRECTORY": str(tmp_path / "none"),
        "FILE": str(tmp_path),
        "SECRET": "",
        "NOWHERE_FILE": str(tmp_path / "nowhere"),
        "EMPTY_FILE": str(empty),
        "UNFIT_FILE": str(good),
        "TWICE": "hunter2",
    }

    def read_all(read: Reader) -> None:
        read("LISTEN", address, doc=DOC)
        read("PORT", address, doc=DOC)
        read("FLAG", flag, doc=DOC)
        read("AGE", whole_number(at_least=1, at_most=60), doc=DOC)
        read("NUMBER", whole_number(at_least=1, at_most=60), doc=DOC)
        read("RATIO", part_of_one(), doc=DOC)
        read("WORD", one_of("development", "production"), doc=DOC)
        read("LIST", each_of(text), doc=DOC)
        read("DIRECTORY", directory, doc=DOC)
        read("FILE", file, doc=DOC)
        read.secret("SECRET", secret_text, doc=DOC)
        read.secret("NOWHERE", secret_text, doc=DOC)
        read.secret("EMPTY", secret_text, doc=DOC)
        read.secret("UNFIT", address, doc=DOC)
        read.secret("TWICE", secret_text, doc=DOC)
        read("MISSING", text, doc=DOC)

    with pytest.raises(SettingsError) as caught:
        settings_from(environ | {"TWICE_FILE": str(good)}, read_all)

    assert [problem.split()[0] for problem in caught.value.problems] == [*environ, "MISSING"]
    for value in ("nowhere", "hunter2", str(tmp_path)):
        assert value not in str(caught.value)
    assert "MISSING is not set" in caught.value.problems
    assert "EMPTY_FILE is empty" in caught.value.problems
    assert "TWICE is set, and so is TWICE_FILE; one of the two has to go" in caught.value.problems


def test_a_secret_is_read_from_its_file_without_the_line_end(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("sk_test_1\n")

    with reading({"KEY_FILE": str(path), "PLAIN": "sk_test_2"}) as read:
        in_file = read.secret("KEY", secret_text, doc=DOC)
        plain = read.secret("PLAIN", secret_text, doc=DOC)
        missing = read.secret("MISSING", secret_text, default=None, doc=DOC)

    assert (in_file.current(), plain.current(), once(missing)) == ("sk_test_1", "sk_test_2", None)
    assert "sk_test" not in repr((in_file, plain))


def test_a_file_that_is_too_large_or_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * (FILE_BYTES_MAX + 1))
    (tmp_path / "binary").write_bytes(b"hunter2\xff")

    def read_all(read: Reader) -> None:
        read.secret("A", secret_text, doc=DOC)
        read.secret("B", secret_text, doc=DOC)

    with pytest.raises(SettingsError) as caught:
        settings_from({"A_FILE": f"{tmp_path}/large", "B_FILE": f"{tmp_path}/binary"}, read_all)

    assert caught.value.problems == [f"A_FILE has more than {FILE_BYTES_MAX} bytes", "B_FILE is not UTF-8"]


def test_a_name_that_means_nothing_is_warned_of_with_the_one_that_was_meant(caplog: pytest.LogCaptureFixture) -> None:
    def read_all(read: Reader) -> None:
        read("BATZEN_LISTEN", address, default=None, doc=DOC)
        read.secret("BATZEN_KEY", secret_text, default=None, doc=DOC)

    environ = dict.fromkeys(
        ("BATZEN_LISTEN", "BATZEN_LISSEN", "BATZEN_KEY_FILE", "BATZEN_LISTEN_FILE", "BATZEN_QQ", "HOME"), "hunter2"
    )
    with caplog.at_level(logging.WARNING):
        warn_of_unknown(environ, declared_by(read_all))

    said = [record.getMessage() for record in said_by(settings, caplog)]
    assert [message.split()[0] for message in said] == ["BATZEN_LISSEN", "BATZEN_LISTEN_FILE", "BATZEN_QQ"]
    assert said[0].endswith("did you mean BATZEN_LISTEN?")
    assert said[2].endswith("is not read")
    assert "hunter2" not in caplog.text


def test_a_class_that_checks_itself_does_not_hide_the_problem() -> None:
    with pytest.raises(SettingsError, match="AGE is not set"), reading({}) as read:
        _ = read("AGE", whole_number(at_least=0, at_most=1), doc=DOC) < 0


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
