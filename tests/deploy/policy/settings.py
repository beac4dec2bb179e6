"""The settings in the manifests are the services' own: every name known, each required one there, every value taken."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

from services.runtime.process.program import MAINTAIN, MIGRATE, SERVE, Program
from services.runtime.process.service import OwnerSettings
from services.runtime.process.settings import FILE, Declaration, SettingsError, settings_from
from tests.deploy.manifests import Manifests, Pod, dig
from tests.deploy.policy.rule import rule
from tests.runtime.test_tls import Authority
from tests.settings import PROGRAMS

BY_SERVICE: Final[dict[str, Program[Any]]] = {program.service: program for program in PROGRAMS}
NOT_OURS: Final = {"PGSSLMODE", "PGSSLROOTCERT"}
"""Read by the database's driver."""
SECRETS: Final = Path("/run/secrets/batzen")
SAMPLES: Final = {
    "BATZEN_PERSONAL_KEY": b"A" * 43 + b"=",
    "BATZEN_WEBHOOK_KEY": b"A" * 43 + b"=",
    "BATZEN_SMTP_URL": b"smtps://user:word@mail.example",
    "BATZEN_UNSUBSCRIBE_KEYS": b"k" * 43,
}
"""Where not every text will do."""


def declared(pod: Pod, container: dict) -> tuple[Declaration, ...]:
    """Return the settings of what a container does."""
    words = container.get("command", [])[3:]
    return BY_SERVICE[pod.service].declarations().get(words[0] if words else SERVE, ())


def sample(name: str, *, is_live: bool) -> bytes:
    """Return what might stand in the file of a setting."""
    if name.endswith("_DATABASE_URL"):
        return b"postgresql+asyncpg://role:word@host/name"
    if name.startswith("BATZEN_TLS_"):
        return _pem()["key" if name.endswith("_KEY") else "certificate"]
    if name == "BATZEN_ASSERTION_KEY":
        return _pem()["key"]
    if name in SAMPLES:
        return SAMPLES[name]
    return (b"sk_live_0" if is_live else b"sk_test_0") if name == "STRIPE_API_KEY" else b"sample"


@cache
def _pem() -> dict[str, bytes]:
    """Return a certificate that certifies itself, and its key."""
    with tempfile.TemporaryDirectory() as folder:
        files = Authority().certify(Path(folder))
        return {"certificate": files.certificate.read_bytes(), "key": files.key.read_bytes()}


def our_containers(manifests: Manifests) -> Iterator[tuple[Pod, dict]]:
    for pod in manifests.suite:
        for container in pod.containers:
            if container.get("name") in ("server", "task"):
                yield pod, container


@rule
def settings_are_known(manifests: Manifests) -> Iterator[str]:
    for pod, container in our_containers(manifests):
        ones = declared(pod, container)
        known = {one.name for one in ones} | {one.name + FILE for one in ones if one.is_secret} | NOT_OURS
        for name in {*manifests.environment(container)} - known:
            yield f"{pod.name} is told {name}, which it does not read"
        for one in dig(container, "env", default=[]):
            if "value" not in one and "valueFrom" not in one:
                yield f"{pod.name} is told no {one['name']}"
        given = [one["name"] for one in dig(container, "env", default=[])]
        yield from (f"{pod.name} is told {name} twice" for name in {one for one in given if given.count(one) > 1})


@rule
def secret_settings_are_files(manifests: Manifests) -> Iterator[str]:
    for pod, container in our_containers(manifests):
        environment = manifests.environment(container)
        for one in declared(pod, container):
            if one.is_secret and one.name in environment:
                yield f"{pod.name} has {one.name} in its environment"


@rule
def settings_are_accepted(manifests: Manifests) -> Iterator[str]:
    """Reads them as the process would, with something sensible in each file that is mounted."""
    if manifests.overlay.startswith("bare"):  # the overlay says who issues tokens
        return
    for pod, container in our_containers(manifests):
        words = container.get("command", [])[3:]
        environment = tuple(sorted(manifests.environment(container).items()))
        problem = problem_of(pod.service, words[0] if words else SERVE, environment, manifests.is_production)
        if problem:
            yield f"{pod.name} would not start: {problem}"


@cache
def problem_of(service: str, command: str, environment: tuple[tuple[str, str], ...], is_live: bool) -> str | None:
    """Return what a process says of its settings."""
    with tempfile.TemporaryDirectory() as folder:
        environ = _in(Path(folder), environment, is_live=is_live)
        try:
            settings_from(environ, _reader(service, command))
        except SettingsError as error:
            return str(error)
    return None


def _reader(service: str, command: str) -> Any:
    program = BY_SERVICE[service]
    if command == MIGRATE:
        return OwnerSettings.read
    if command in program.commands:
        return program.commands[command].read
    return program.maintain.read if command == MAINTAIN and program.maintain else program.read


def _in(folder: Path, environment: Iterable[tuple[str, str]], *, is_live: bool) -> dict[str, str]:
    """Return the environment with the mounted files in `folder`."""
    environ = {}
    for name, value in environment:
        there = folder / Path(value).relative_to(SECRETS) if value.startswith(f"{SECRETS}/") else None
        if there and name.endswith("_DIRECTORY"):
            there.mkdir(parents=True, exist_ok=True)
        elif there:
            there.parent.mkdir(parents=True, exist_ok=True)
            there.write_bytes(sample(name.removesuffix(FILE), is_live=is_live))
        environ[name] = value if there is None else str(there)
    return environ
