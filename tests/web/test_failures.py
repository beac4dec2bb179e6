"""What refusals of services and of the front are to people and to programs."""

from __future__ import annotations

from datetime import timedelta

import grpc
import pytest

from batzen.errors import by_reason, refused
from services.web.failures import STATUS, TEXTS, Refusal, failure_of
from services.web.texts import LANGUAGES, Texts
from tests.web.catalogues import differences


def test_all_languages_say_the_same() -> None:
    assert differences(TEXTS) == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_reason_has_a_sentence_and_keeps_its_name(language: str) -> None:
    for reason in by_reason:
        failure = failure_of(refused(grpc.StatusCode.FAILED_PRECONDITION, reason=reason, message="no"), language)
        assert (failure.code, failure.status) == (reason, 409)
        assert failure.message.endswith(".")
        assert "{" not in failure.message


@pytest.mark.parametrize("code", list(grpc.StatusCode))
def test_each_status_code_has_a_status_and_a_sentence(code: grpc.StatusCode) -> None:
    failure = failure_of(refused(code, message="no"), "en")

    assert failure.status == STATUS.get(code, 500)
    assert failure.code == code.name
    assert failure.message


def test_what_may_be_gone_the_next_time_says_when() -> None:
    away = failure_of(refused(grpc.StatusCode.UNAVAILABLE, reason="DEPENDENCY_UNAVAILABLE", message="away"), "en")
    lasting = failure_of(refused(grpc.StatusCode.NOT_FOUND, reason="PAYMENT_NOT_FOUND", message="none"), "en")

    assert (away.retryable, away.recoverable, away.retry_after) == (True, True, 1)
    assert (lasting.retryable, lasting.recoverable, lasting.retry_after) == (False, False, None)


def test_a_person_may_try_otherwise_after_some_that_last() -> None:
    failure = failure_of(refused(grpc.StatusCode.FAILED_PRECONDITION, reason="METHOD_REFUSED", message="no"), "de")

    assert (failure.retryable, failure.recoverable) == (False, True)
    assert failure.message == "Diese Zahlungsart geht nicht. Bitte wählen Sie eine andere."


def test_the_front_refuses_with_codes_of_its_own_and_minutes_rounded_up() -> None:
    failure = failure_of(Refusal(429, "TOO_MANY_DECLINES", retry_after=timedelta(seconds=61)), "en", correlation_id="c")

    assert (failure.status, failure.code, failure.retry_after, failure.correlation_id) == (
        429, "TOO_MANY_DECLINES", 61, "c",
    )  # fmt: skip
    assert "wait 2 min" in failure.message


def test_anything_else_is_a_fault_that_tells_nothing() -> None:
    failure = failure_of(ValueError("secret"), "en", correlation_id="c")

    assert (failure.status, failure.code, failure.recoverable) == (500, "INTERNAL", False)
    assert "secret" not in failure.message + failure.explanation


def test_a_language_that_lacks_a_text_or_a_placeholder_is_found(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("texts")
    for language in LANGUAGES:
        (folder / f"{language}.toml").write_text('a = "one {x}"\nb = "two"\n' if language != "fr" else 'a = "un"\n')

    assert differences(Texts(folder)) == ["fr: a wants x", "fr: b is missing"]
