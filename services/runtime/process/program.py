"""What a service does by the word on its command line: without one it serves, by `migrate` it changes its schema."""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from services.runtime.database.migrations import migrate
from services.runtime.process.lifecycle import run
from services.runtime.process.service import OwnerSettings
from services.runtime.process.settings import Declaration, Reader, declared_by, settings_from, warn_of_unknown

SERVE: Final = "serve"
"""What is done without a word on the command line."""
MIGRATE: Final = "migrate"
CONTRACT: Final = "--contract"
"""After `migrate`: also takes away what the release before needed, once nothing of it runs."""
MAINTAIN: Final = "maintain"

S = TypeVar("S")
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command(Generic[S]):
    """Something a service does: how its settings are read, and what is run with them and the further arguments."""

    read: Callable[[Reader], S]
    run: Callable[[S, Sequence[str]], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program(Generic[S]):
    """The process of a service: what it serves, and what else it does."""

    service: str
    migrations: Path
    read: Callable[[Reader], S]
    serve: Callable[[S], Awaitable[None]]
    maintain: Command[Any] | None = None
    """What has to be looked after now and then, and is by `migrate`, too."""
    commands: Mapping[str, Command[Any]] = field(default_factory=dict)
    """An operator's, by name; each gets the arguments after it."""

    def main(self, arguments: Sequence[str], environ: Mapping[str, str] = os.environ) -> None:
        """Do what the command line says, and end the process with it."""
        others = self._others()
        match arguments:
            case []:
                command: Command[Any] = self._serving()
            case [name, *rest] if name in others and (name in self.commands or not rest):
                command = others[name]
            case [name, option] if (name, option) == (MIGRATE, CONTRACT):
                command = others[MIGRATE]
            case _:
                usage = "|".join(f"{MIGRATE} [{CONTRACT}]" if name == MIGRATE else name for name in others)
                raise SystemExit(f"usage: python -m services.{self.service} [{usage}]")
        run(partial(self._run, command, environ, arguments[1:]), service=self.service)

    def declarations(self) -> dict[str, tuple[Declaration, ...]]:
        """Return the settings that are read, by what is done with them."""
        commands = {SERVE: self._serving(), **self._others()}
        return {name: declared_by(command.read) for name, command in commands.items()}

    async def _run(self, command: Command[Any], environ: Mapping[str, str], rest: Sequence[str]) -> None:
        warn_of_unknown(environ, [one for declared in self.declarations().values() for one in declared])
        await command.run(settings_from(environ, command.read), rest)

    def _serving(self) -> Command[S]:
        async def serve(settings: S, _: Sequence[str]) -> None:
            await self.serve(settings)

        return Command(read=self.read, run=serve)

    def _others(self) -> dict[str, Command[Any]]:
        maintain = {} if self.maintain is None else {MAINTAIN: self.maintain}
        return {MIGRATE: self._migrating(), **maintain, **self.commands}

    def _migrating(self) -> Command[tuple[OwnerSettings, Any]]:
        def read(reader: Reader) -> tuple[OwnerSettings, Any]:
            return OwnerSettings.read(reader), self.maintain and self.maintain.read(reader)

        async def change(settings: tuple[OwnerSettings, Any], options: Sequence[str]) -> None:
            owner, maintained = settings
            applied = await migrate(
                owner.owner_url, self.migrations, runtime_role=owner.runtime_role, contract=CONTRACT in options
            )
            _logger.info("Applied %s", ", ".join(applied) or "nothing, all is there")
            if self.maintain is not None:
                await self.maintain.run(maintained, ())

        return Command(read=read, run=change)
